"""Which gaze network in the loss makes the better corrected generator? Judged by one that no loss has used.

The embedded base is fine-tuned with each network, by the same command, seed and number of images. The judge then reads
the eyes from the three views of GFAS and from views at large yaw. Each network is also measured itself, on heads whose
gaze is known, in the crop in which the loss sees them. A finished run is not run again.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import subprocess
import sys
from pathlib import Path

import click
import torch
from timing import write_results

from eg3d.checkpoints.loading import load_generator
from eg3d.gaze.networks import load_gaze_network
from eg3d.gaze.term import estimate_gaze, gaze_target
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.pictures.views import GFAS_CAMERAS, render_views
from eg3d.running import cli
from eg3d.world.rendered_sets import gaze_samples
from eg3d.world.worlds import NAMES, WORLDS
from groundwork.files import REPOSITORY
from groundwork.places import OUTPUT_FOLDER
from l2cs.estimator import GazeAngles, angular_error
from l2cs.head_bins import errors_by_head

PITCHES = (-0.2, 0.0)  # EG3D's vertical parameter
FAR = tuple((side * yaw, pitch) for yaw in (0.4, 0.6, 0.8) for side in (1, -1) for pitch in PITCHES)
CAMERAS = {"three views": GFAS_CAMERAS, "yaw 0.4 to 0.8": FAR}
EDGES = (0, 11.5, 23, 34.5, 46)  # degrees: 0.2 rad each
KEYS = ("gfas_mse_sum", "gfas_mse_sum_se", "angular_error_deg", "angular_error_deg_se", "slope", "slope_se")


@click.command(cls=cli.Command)
@click.option("--network", "networks", multiple=True, metavar="NAME=FILE",
              help="Gaze network of the loss, besides the shipped one; give it several times.")  # fmt: skip
@click.option("--workdir", type=OUTPUT_FOLDER, default="training-runs/in-the-loss", show_default=True)
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True)
@click.option("--kimg", type=float, default=10, show_default=True, help="Thousand images of each fine-tuning.")
@click.option("--scored", type=cli.DISTINCT_SEEDS, default="0-255", show_default=True, help="Generated heads.")
@click.option("--heads", type=click.IntRange(min=1), default=500, show_default=True, help="Rendered heads.")
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
@cli.seed_option
def main(networks, workdir, world, kimg, scored, heads, results, seed):
    """Fine-tunes what is not there yet, scores all, and writes a results file."""
    name = NAMES[world]
    files = {"shipped": name} | dict(one.partition("=")[::2] for one in networks)
    judge = load_gaze_network(f"{name}-judge", "cpu")
    rendered = gaze_samples("test", heads, seed=1, progress=True, world=world)
    numbers = {"base": {"of the generator": scores(load_generator(f"{name}-base", "cpu"), scored, judge)}}
    for title, path in files.items():
        outdir = workdir / title
        generator = load_generator(fine_tuned(outdir, name, path, kimg, seed), "cpu")
        numbers[title] = {
            "of the generator": scores(generator, scored, judge),
            "of the network": own_errors(load_gaze_network(path, "cpu"), rendered),
        }
        click.echo(f"{title}: {numbers[title]}")
    click.echo(f"written to {write_results(results, f'in-the-loss-{world}', torch.device('cpu'), numbers)}")


def fine_tuned(outdir: Path, name: str, network: str, kimg: float, seed: int) -> str:
    """The last snapshot of a run with this gaze network, trained if it is not there."""
    last = outdir / f"network-snapshot-{int(kimg):06d}.safetensors"
    if not last.exists():
        start = f"{name}-base" if not (outdir / "training-state.pt").exists() else "latest"
        command = [sys.executable, str(REPOSITORY / "eg3d" / "train.py"), f"--cfg={name}", f"--data={name}"]
        command += [f"--resume={start}", "--gaze-weight=5", f"--l2cs-path={network}", f"--kimg={kimg}"]
        subprocess.run([*command, "--snap=1000", f"--seed={seed}", f"--outdir={outdir}"], check=True)
    return str(last)


def scores(generator, seeds, judge) -> dict[str, dict]:
    """Slope and GFAS by the judge, for each set of cameras."""
    reports = {
        name: gaze_face_alignment(render_views(generator, seeds, cameras), judge) for name, cameras in CAMERAS.items()
    }
    return {name: {key: getattr(report, key) for key in KEYS} for name, report in reports.items()}


@torch.no_grad()
def own_errors(network, rendered) -> dict:
    """Errors on rendered heads (`gaze_samples`), in bins of the head's yaw, as the loss sees them."""
    images, angles, labels = (torch.from_numpy(one) for one in rendered)
    found = []
    for rows in torch.arange(len(images)).split(64):
        pictures = images[rows].permute(0, 3, 1, 2).float() / 127.5 - 1
        found.append(torch.stack(estimate_gaze(pictures, labels[rows], network), dim=1))
    error = angular_error(GazeAngles(*torch.cat(found).T), GazeAngles(*angles.T))
    heads = torch.stack(gaze_target(labels), dim=1)
    bins = errors_by_head(error, heads, EDGES)
    return {"mean_angular_error_deg": float(error.mean().rad2deg()), "by_head_yaw": bins["yaw"]}


if __name__ == "__main__":
    main()
