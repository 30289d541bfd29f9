"""How many novel views a second dataset_preprocessing/nv_rendering makes of true meshes of an embedded world."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import shutil
import tempfile
import time
from pathlib import Path

import click
import torch
from options import results_option
from timing import write_results

from dataset_preprocessing.nv_rendering import source_views, view_run
from dataset_preprocessing.nv_rendering.view_writer import Layout, write_part
from dataset_preprocessing.nv_rendering.world_views import VIEWS, Steps
from dataset_preprocessing.synthetic.webcam import Webcam
from eg3d.running.cli import Command, json_option, write_json
from eg3d.world.worlds import WORLDS
from l2cs.view_files import FULL, ViewFile

VIEWS_OF_EACH = 16


def in_one_process(steps: Steps) -> dict[str, float]:
    """CPU milliseconds a view, from reading the mesh to the part that is written; vertices of a mesh."""
    settings = steps.settings()
    sources = [source for person in source_views.people_of(settings)
               for source in source_views.sources_of(settings, person)]  # fmt: skip
    source_views.views_of(settings, 0, sources[0])  # what is read and worked out once
    start, vertices = time.process_time(), 0
    for source in sources:
        views = source_views.views_of(settings, 0, source)
        write_part(steps.folder / "part.h5", Layout(), source.row, views)
    cpu = time.process_time() - start
    vertices = len(source_views.placed(settings, sources[0]).face.vertices)
    return {"cpu_ms_per_view": 1000 * cpu / (len(sources) * VIEWS_OF_EACH), "vertices": vertices}


def whole_run(steps: Steps) -> dict[str, float]:
    """Views per second of the clock, with the start of the processes and packing; bytes a view."""
    folder = steps.folder / VIEWS
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    report = view_run.render_all(steps.settings(), folder, 0, steps.workers, tell=lambda line: None)
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
@json_option
@results_option
def main(world, sources, workers, json_path, results):
    """Novel views per second, 224 px, drawn at 448 px: of one process, and of a whole run with several."""
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(Path(folder), Webcam(world=world, people=2, photos=sources // 2), VIEWS_OF_EACH, workers)
        click.echo(steps.photos())
        click.echo(steps.meshes())
        numbers = {"world": world, "workers": workers, **in_one_process(steps), **whole_run(steps)}
    click.echo(f"{numbers['cpu_ms_per_view']:.0f} CPU ms a view ({numbers['vertices']} vertices); {workers} processes: "
               f"{numbers['views_per_second']:.1f} views per second with their start; {numbers['bytes_per_view']:.0f} "
               f"bytes a view, {numbers['size_by_compressed_rows']:.3f} of the compressed rows")  # fmt: skip
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'novel-views-{world}', torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
