"""The demo: some minutes of gaze-corrected fine-tuning of an embedded base model, before and after."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import GENERATORS, load_generator, locate, save_snapshot
from eg3d.config.flags import resolve
from eg3d.config.presets import PRESETS, ray_ranges
from eg3d.data.opening import open_dataset
from eg3d.gaze.networks import check_differentiable, load_gaze_network
from eg3d.geometry.doubts import camera_doubts
from eg3d.metrics.gfas import gaze_face_alignments
from eg3d.pictures.comparison import write_before_after
from eg3d.pictures.gaze_grid import gaze_grid
from eg3d.pictures.layout import write_png
from eg3d.pictures.views import render_views
from eg3d.running import cli
from eg3d.training.loop import train
from eg3d.world.worlds import NAMES, WORLDS
from groundwork.files import sha256
from groundwork.places import DATA_SET, FOLDER, GAZE_NETWORK, GENERATOR, Output

WRITES = ("heads.png", "compare.png", "turn.gif", "control.png", "report.json", "corrected.safetensors", "run/*")
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(cls=cli.Command)
@click.option("--outdir", type=Output(FOLDER, WRITES), default="out/demo", show_default=True,
              help="Folder for pictures, report and weights.")  # fmt: skip
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True,
              help="Whose preset, and whose networks and data set if they are left out.")  # fmt: skip
@click.option("--network", type=GENERATOR, help="Generator to correct.  [default: the world's base]")
@click.option("--data", type=DATA_SET, help="Data set zip or folder.  [default: the world's, rendered once]")
@cli.skip_unmatched_option
@click.option("--l2cs-path", type=GAZE_NETWORK, help="Gaze network inside the loss.  [default: the world's]")
@click.option("--judge", type=GAZE_NETWORK, help="Gaze network that only scores.  [default: the world's judge]")
@click.option("--kimg", type=POSITIVE, default=5, show_default=True,
              help="Thousand images to fine-tune on.")  # fmt: skip
@click.option("--minutes", type=POSITIVE, default=6, show_default=True,
              help="Stop the fine-tuning after this time even if --kimg is not reached.")  # fmt: skip
@click.option("--gaze-weight", type=POSITIVE, default=PRESETS["embedded"].gaze.weight,
              show_default=True, help="Of the gaze term in the generator's loss.")  # fmt: skip
@click.option(
    "--seeds", type=cli.DISTINCT_SEEDS, default="0-127", show_default=True, help="Scored; the first are drawn."
)
@cli.seed_option
@cli.device_option
@cli.json_option
def main(
    outdir, world, network, data, skip_unmatched, l2cs_path, judge, kimg, minutes, gaze_weight, seeds, seed, device,
    json_path,
):  # fmt: skip
    """Fine-tunes a small 3D GAN with the gaze term and shows what changed.

    Writes heads.png, compare.png, turn.gif, report.json and the corrected weights, and control.png: heads whose gaze is
    set, by the world's shipped weights if there are any.
    """
    device = cli.pick_device(device)
    name = NAMES[world]
    network, data = network or f"{name}-base", data or name
    l2cs_path, judge = l2cs_path or name, judge or f"{name}-judge"
    G = load_generator(network, device)
    estimators = {"judge": load_gaze_network(judge, device), "loss_network": load_gaze_network(l2cs_path, device)}
    check_differentiable(estimators["loss_network"], f"--l2cs-path={l2cs_path}")
    if estimators["judge"].sha256 == estimators["loss_network"].sha256:
        raise ValueError(f"--judge={judge}: holds the same weights as --l2cs-path={l2cs_path}, so it would "
                         "take part in the training that it judges; give another network")  # fmt: skip
    dataset = open_dataset(data, skip_unmatched=skip_unmatched)
    cli.tell(dataset.notes, camera_doubts(dataset.labels, ray_ranges(G)))
    config = resolve(name, dataset.resolution, resume=network, data=data, l2cs_path=l2cs_path, seed=seed,
                     gaze_weight=gaze_weight, kimg=kimg, tick=1, snap=1000)  # fmt: skip

    report = {"before": score(G, locate(network), seeds, estimators, "score before")}
    (outdir / "run" / "stats.jsonl").unlink(missing_ok=True)  # of an earlier demo
    trainer, _ = train(config, outdir / "run", dataset, device, gaze_estimator=estimators["loss_network"],
                       stop_after_s=60 * minutes)  # fmt: skip
    corrected = outdir / "corrected.safetensors"
    save_snapshot(corrected, {"G_ema": trainer.G_ema}, trainer.facts())
    after = load_generator(corrected, device)
    report["after"] = score(after, corrected, seeds, estimators, "score after")
    report["training"] = {"images": trainer.images_seen, "gaze_weight": gaze_weight, "seed": seed}

    was, now = report["before"]["judge"], report["after"]["judge"]
    write_before_after(outdir, (G, after), seeds, (was["slope"], now["slope"]))
    for path in (outdir / "report.json", json_path):
        cli.write_json(path, report)
    click.echo(f"GFAS by a network that took no part: {was['gfas_mse_sum']:.4f} -> {now['gfas_mse_sum']:.4f} "
               f"({now['gfas_mse_sum'] / was['gfas_mse_sum'] - 1:+.0%}, lower is better)")  # fmt: skip
    click.echo(f"slope of the eyes: {was['slope']:.2f} -> {now['slope']:.2f} (0: the camera, 1: the face)")
    click.echo(f"look at {outdir / 'heads.png'}, {outdir / 'compare.png'} and {outdir / 'turn.gif'}")
    draw_control(f"{name}-control", outdir, seeds, device)


def draw_control(network, outdir, seeds, device) -> None:
    """Draws the first heads with several gazes, by shipped weights; nothing while they are not made yet."""
    if GENERATORS[network].is_file():
        write_png(outdir / "control.png", gaze_grid(load_generator(network, device), seeds[:2]))
        click.echo(f"the gaze as an input (docs/eye_field.md): look at {outdir / 'control.png'}")


def score(G, path, seeds, estimators, title) -> dict:
    """Scores of one generator by every gaze network, and which file it was."""
    reports = gaze_face_alignments(render_views(G, seeds, progress=title), estimators)
    weights = {"file": str(path), "sha256": sha256(path)}
    return {"weights": weights} | {name: r.to_dict() for name, r in reports.items()}


if __name__ == "__main__":
    main()
