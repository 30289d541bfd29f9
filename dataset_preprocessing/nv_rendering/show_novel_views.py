"""Shows novel views of an embedded world from end to end, and how true their labels are."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import time

import click

from dataset_preprocessing.nv_rendering.source_views import people_of
from dataset_preprocessing.nv_rendering.view_checks import faults
from dataset_preprocessing.nv_rendering.view_sheets import plot_angles
from dataset_preprocessing.nv_rendering.world_views import VIEWS, Steps, overview, truth_of_views
from dataset_preprocessing.synthetic.webcam import Webcam
from eg3d.pictures.layout import write_png
from eg3d.world.worlds import WORLDS
from groundwork.command import Command, json_option, seed_option, write_json
from groundwork.places import FOLDER, Output
from l2cs.view_files import ViewFile, view_files

WRITES = ("photos/*", "meshes/*", "views/*", "config_path.yaml", "sheet.png", "histograms.png")
SHOWN = 4  # people on the sheet


@click.command(cls=Command)
@click.option("--outdir", type=Output(FOLDER, WRITES), default="out/novel-views", show_default=True,
              help="Folder for photos, meshes, views, sheet.png. A run that was stopped goes on there.")  # fmt: skip
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose heads.")
@click.option("--people", type=click.IntRange(1, 100), default=4, show_default=True, help="Number of people.")
@click.option("--photos", type=click.IntRange(1, 1000), default=2, show_default=True, help="Photos of each.")
@click.option("--views", type=click.IntRange(1, 1000), default=8, show_default=True, help="Novel views of each photo.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes.")
@seed_option
@json_option
def main(outdir, world, people, photos, views, workers, seed, json_path):
    """Takes photos of a world's heads by webcams, reconstructs them (the true mesh), makes novel views, and draws a
    sheet: photo, mesh, views with arrows of gaze and head, masks.

    The commands for photos of your own are the same ones: recon_mpii.py, main.py and readh5.py.
    """
    steps, report = Steps(outdir, Webcam(world=world, seed=seed, people=people, photos=photos), views, workers), {}
    for name, command, step in (
        ("photos", "make_mpii.py", steps.photos), ("meshes", "recon_mpii.py --regressor=world", steps.meshes),
        ("views", "main.py", steps.novel_views),
    ):  # fmt: skip
        start = time.monotonic()
        said = step()
        report[f"{name}_seconds"] = round(time.monotonic() - start, 1)
        click.echo(f"{command}: {said} -> {outdir / name}, {report[f'{name}_seconds']:.0f} s")
    settings, angles = steps.settings(), {"head": [], "gaze": []}
    for path in view_files(outdir / VIEWS):
        with ViewFile(path) as file:
            if found := next(faults(file), None):
                raise ValueError(f"{path}: {found}; remove {outdir / VIEWS}, and run it again")
            angles["head"].append(file.head_pose())
            angles["gaze"].append(file.gaze())
    report |= truth_of_views(outdir)
    click.echo("readh5.py: every row is whole. Against the truth of the world, in degrees: gaze "
               f"{report['gaze_mean_deg']:.3f} (worst {report['gaze_worst_deg']:.3f}), head pose "
               f"{report['head_mean_deg']:.2f} (worst {report['head_worst_deg']:.2f})")  # fmt: skip
    plot_angles(outdir / "histograms.png", angles)
    write_png(outdir / "sheet.png", overview(settings, outdir, people_of(settings)[:SHOWN]))
    click.echo(f"photo, mesh, views, masks and arrows: {outdir / 'sheet.png'}; poses: {outdir / 'histograms.png'}")
    write_json(json_path, report)


if __name__ == "__main__":
    main()
