"""What --gaze-mask, --gaze-cond-d and --freeze-g do on the embedded world: gaze, and change away from the eyes.

Every arm fine-tunes embedded-base by the same command but for its flags. A finished arm is not run again.
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
from eg3d.config.presets import PRESETS
from eg3d.gaze.eye_region import eye_centres, soft_region
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.pictures.layout import enlarge, side_by_side, stack, text_strip, to_uint8, write_png
from eg3d.pictures.views import GFAS_CAMERAS, camera_labels, render_views, ws_of_seeds
from eg3d.running import cli
from groundwork.draws import Midpoints
from groundwork.files import REPOSITORY
from groundwork.places import OUTPUT_FOLDER, OUTPUT_PICTURE

ARMS = {
    "no gaze term": ["--gaze-weight=0"],
    "gaze term alone": [],
    "--gaze-mask": ["--gaze-mask=True"],
    "--gaze-cond-d": ["--gaze-cond-d=True"],
    "--freeze-g=2": ["--freeze-g=2"],
}
NEAR, FAR = 0.5, 0.05  # of the soft region: pixels counted as eyes, and as away from them


@click.command(cls=cli.Command)
@click.option("--workdir", type=OUTPUT_FOLDER, default="training-runs/beyond", show_default=True)
@click.option("--kimg", type=float, default=5, show_default=True, help="Thousand images of each arm.")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0-255", show_default=True, help="Scored.")
@click.option("--picture", type=OUTPUT_PICTURE, default=REPOSITORY / "docs" / "beyond_the_paper.png")
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
def main(workdir, kimg, seeds, picture, results):
    """Trains what is not trained yet, then scores and draws all arms."""
    judge = load_gaze_network("embedded-judge", "cpu")
    base = load_generator("embedded-base", "cpu")
    region, before = eyes_and_pictures(base, seeds)
    numbers = {"untouched base": gaze_numbers(base, seeds, judge)}
    rows = [row("base", before)]
    for name, flags in ARMS.items():
        G = load_generator(trained(workdir / name.strip("-").replace(" ", "-"), kimg, flags), "cpu")
        _, after = eyes_and_pictures(G, seeds)
        change = (after - before).abs().mean(dim=1, keepdim=True) / 2  # of the range from black to white
        numbers[name] = gaze_numbers(G, seeds, judge) | {
            "change_at_the_eyes": change[region > NEAR].mean().item(),
            "change_elsewhere": change[region < FAR].mean().item(),
        }
        rows.append(row(name, after))
        click.echo(f"{name}: {numbers[name]}")
    write_png(picture, stack(rows, gap=4))
    click.echo(f"written to {write_results(results, 'beyond-the-paper', torch.device('cpu'), numbers)}")


def trained(outdir: Path, kimg: float, flags: list[str]) -> str:
    """The last snapshot of an arm, trained if it is not there."""
    last = outdir / f"network-snapshot-{int(kimg):06d}.safetensors"
    if not last.exists():
        command = [sys.executable, str(REPOSITORY / "eg3d" / "train.py"), "--cfg=embedded", "--data=embedded"]
        command += ["--resume=embedded-base", "--gaze-weight=5", f"--kimg={kimg}", "--snap=1000", f"--outdir={outdir}"]
        subprocess.run([*command, *flags], check=True)
    return str(last)


def gaze_numbers(G, seeds, judge) -> dict:
    report = gaze_face_alignment(render_views(G, seeds), judge)
    return {"gfas_mse_sum": report.gfas_mse_sum, "gfas_mse_sum_se": report.gfas_mse_sum_se, "slope": report.slope}


@torch.no_grad()
def eyes_and_pictures(G, seeds) -> tuple[torch.Tensor, torch.Tensor]:
    """How near to an eye each pixel is [n*3, 1, S, S], and the pictures [n*3, 3, S, S] of the three views."""
    gaze = PRESETS["embedded"].gaze
    labels = camera_labels(*zip(*GFAS_CAMERAS, strict=True), G.orbit)
    regions, pictures = [], []
    for seed in seeds:
        ws = ws_of_seeds(G, [seed])
        out = G.synthesis(ws, labels, draws=Midpoints(), noise_mode="const", cache_backbone=True)
        centres = eye_centres(G, ws, (gaze.eye_x, gaze.eye_y), Midpoints(), noise_mode="const")
        region = soft_region(out["image_depth"], labels, centres.expand(len(labels), -1, -1), gaze.mask_radius)
        regions.append(torch.nn.functional.interpolate(region, size=out["image"].shape[-2:], mode="bilinear"))
        pictures.append(out["image"])
    return torch.cat(regions), torch.cat(pictures)


def row(name: str, pictures: torch.Tensor):
    """The first faces from both sides."""
    chosen = to_uint8(pictures[:12])
    return side_by_side([text_strip(150, 96, name, 14), *(enlarge(image, 96) for image in chosen)])


if __name__ == "__main__":
    main()
