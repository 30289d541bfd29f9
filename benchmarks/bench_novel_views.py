"""How many novel views a second dataset_preprocessing/nv_rendering makes of true meshes of an embedded world."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import resource
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import torch
from options import results_option
from timing import write_results

from dataset_preprocessing.nv_rendering import source_views, view_run
from dataset_preprocessing.nv_rendering.view_settings import ViewSettings
from dataset_preprocessing.nv_rendering.view_writer import Layout, write_part
from dataset_preprocessing.nv_rendering.world_views import VIEWS, Steps
from dataset_preprocessing.synthetic.webcam import Webcam
from eg3d.running.cli import Command, json_option, write_json
from eg3d.world.worlds import WORLDS
from l2cs.view_files import FULL, ViewFile

SIDE = 224  # px of a view
EARLY = 0.1  # share of all views after which the memory should stay as it is


def in_one_process(steps: Steps, side: int) -> dict[str, float]:
    """CPU milliseconds a view, from reading the mesh to the part that is written; vertices of a mesh; the most memory
    of the process, MB, up to a tenth of all views and up to the last."""
    settings = sized(steps, side)
    sources = [source for person in source_views.people_of(settings)
               for source in source_views.sources_of(settings, person)]  # fmt: skip
    next(source_views.views_of(settings, 0, sources[0]))  # what is read and worked out once
    peaks, start = [], time.process_time()

    def watched(source):
        for views in source_views.views_of(settings, 0, source):
            yield views
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    for source in sources:
        write_part(steps.folder / "part.h5", Layout(side), source.row, watched(source))
    cpu = time.process_time() - start
    vertices = len(source_views.placed(settings, sources[0]).face.vertices)
    return {"cpu_ms_per_view": 1000 * cpu / (len(sources) * steps.views), "vertices": vertices,
            "views_of_one_process": len(sources) * steps.views, "early_mb": peaks[int(EARLY * len(peaks))],
            "most_mb": peaks[-1]}  # fmt: skip


def sized(steps: Steps, side: int) -> ViewSettings:
    """The settings of the steps for views of a side, px, drawn twice as large."""
    settings = steps.settings()
    return replace(settings, output=replace(settings.output, side=side, drawn=2 * side))


def whole_run(steps: Steps, side: int) -> dict[str, float]:
    """Views per second of the clock, with the start of the processes and packing; bytes a view."""
    folder = steps.folder / VIEWS
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    report = view_run.render_all(sized(steps, side), folder, 0, steps.workers, tell=lambda line: None)
    seconds = time.perf_counter() - start
    files = sorted((folder / FULL).glob("*.h5"))
    raw = 0
    for path in files:
        with ViewFile(path) as file:
            raw += file.stored_bytes()
    size = sum(path.stat().st_size for path in files)
    return {
        "views": report.views, "views_per_second": report.views / seconds, "bytes_per_view": size / report.views,
        "size_by_compressed_rows": size / raw,
    }  # fmt: skip


@click.command(cls=Command)
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose heads.")
@click.option("--sources", type=click.IntRange(min=2), default=20, show_default=True, help="Photos, of two people.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes of the whole run.")
@click.option("--views", type=click.IntRange(min=1), default=16, show_default=True, help="Of each photo.")
@click.option("--side", type=click.IntRange(16, 1024), default=SIDE, show_default=True, help="Of a view, px.")
@json_option
@results_option
def main(world, sources, workers, views, side, json_path, results):
    """Novel views per second, drawn at twice their side: of one process, and of a whole run with several; and whether
    one process needs more memory for many views than for few."""
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(Path(folder), Webcam(world=world, people=2, photos=sources // 2), views, workers)
        click.echo(steps.photos())
        click.echo(steps.meshes())
        numbers = {"world": world, "workers": workers, "side": side}
        numbers |= in_one_process(steps, side) | whole_run(steps, side)
    click.echo(f"{numbers['views_of_one_process']} views in one process: at most {numbers['early_mb']:.0f} MB up to a "
               f"tenth of them, {numbers['most_mb']:.0f} MB up to the last")  # fmt: skip
    click.echo(f"{numbers['cpu_ms_per_view']:.0f} CPU ms a view ({numbers['vertices']} vertices); {workers} processes: "
               f"{numbers['views_per_second']:.1f} views per second with their start; {numbers['bytes_per_view']:.0f} "
               f"bytes a view, {numbers['size_by_compressed_rows']:.3f} of the compressed rows")  # fmt: skip
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'novel-views-{world}', torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
