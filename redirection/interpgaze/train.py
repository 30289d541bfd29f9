"""Trains InterpGaze: continuous redirection of head yaw and gaze in eye patches."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import dataclasses
import json
import shlex
import sys

import click

from groundwork.command import SWITCH, Command, device_option, seed_option, without_effect
from groundwork.held_folder import held
from groundwork.places import EITHER, FOLDER, INPUT_FILE, INPUT_FOLDER, NamedInput, Output
from l2cs.set_options import device_of
from redirection.attributes import PUBLISHED
from redirection.interpgaze.alternation import AlternationConfig, LossWeights
from redirection.interpgaze.patch_decoder import DECODERS
from redirection.interpgaze.redirection_run import Run, RunConfig
from redirection.interpgaze.redirector import DIVISORS, SIZES, InterpGazeConfig
from redirection.interpgaze.redirector_file import EMBEDDED, read_redirector
from redirection.interpgaze.vgg_encoder import vgg19_state
from redirection.patch_run import WRITES
from redirection.patch_sets import read_patches

EPOCHS = 10_000  # published default
AGAIN = "the same command again goes on with the run in its folder"


@click.command(cls=Command)
@click.option("--data_dir", type=INPUT_FOLDER, required=True, help="Folder of patches that crop_eyes.py wrote.")
@click.option("-sp", "--save_dir", type=Output(FOLDER, WRITES), default="checkpoints/default2", show_default=True,
              help="Run folder; the same command again goes on with the run in it.")  # fmt: skip
@click.option("--attr", default=PUBLISHED, show_default=True, help="Groups of attributes: one branch each.")
@click.option("--dec_type", type=click.Choice(list(DECODERS)), default="v1", show_default=True, help="Decoder.")
@click.option("-bs", "--batch_size", type=int, default=32, show_default=True, help="Patches a step, 2 or more.")
@click.option("-e", "--epoch", type=click.IntRange(1), help=f"Epochs.  [default: {EPOCHS}]")
@click.option("--steps", type=click.IntRange(1), help="Steps, instead of epochs.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True, help="Of all Adams.")
@click.option("--size", type=click.Choice([str(size) for size in SIZES]), default="128", show_default=True,
              help="Side to which patches are brought.")  # fmt: skip
@click.option("--divisor", type=click.Choice([str(n) for n in DIVISORS]), default="1", show_default=True,
              help="So many times narrower networks.")  # fmt: skip
@click.option("--vgg", type=INPUT_FILE, help="torchvision's VGG-19: start of the encoder, teacher, perceptual term.  "
              "[default: none of these]")  # fmt: skip
@click.option("--start", type=NamedInput(EITHER, EMBEDDED),
              help="Start from these weights: embedded, a .safetensors, or a folder of .pth.")  # fmt: skip
@click.option("--paired", **SWITCH, default=False, help="Also learn from true pictures of one person at other angles.")
@click.option("--only-paired", **SWITCH, default=False, help="Learn from these alone, without the published steps.")
@click.option("--still-heads", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="Share of true targets with the head yaw of the source, so that the gaze alone moves.")  # fmt: skip
@click.option("--eye-weight", type=click.FloatRange(0), default=0.0, show_default=True,
              help="Of the absolute error round the eye, toward true targets.")  # fmt: skip
@click.option("--own-weight", type=click.FloatRange(0), default=1.0, show_default=True,
              help="Of the reconstruction, in steps toward true targets.")  # fmt: skip
@click.option("--cooldown", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="Share of the steps, at the end, in which the learning rate falls to 0.")  # fmt: skip
@click.option("--encoder-every", type=click.IntRange(1), default=5, show_default=True,
              help="Steps from one move of encoder and controller to the next.")  # fmt: skip
@click.option("--gp-weight", type=click.FloatRange(0), default=100.0, show_default=True, help="Gradient penalty.")
@click.option("--tick", type=click.IntRange(1), default=100, show_default=True, help="Steps between lines of numbers.")
@click.option("--snap", type=click.IntRange(1), default=2000, show_default=True, help="Steps between states.")
@click.option("--legacy-heads", **SWITCH, default=False, help="Train D's heads on mixed features, as published.")
@click.option("--legacy-crop", **SWITCH, default=False, help="The published crop: the right edge of a patch.")
@click.option("--legacy-scale", **SWITCH, default=False, help="The published input: values of 0 to 255.")
@click.option("-gpu", "--gpu", help="Number of the GPU that computes, as published.  [default: by --device]")
@click.option("--dry-run", **SWITCH, default=False, help="Print the settings and stop.")
@without_effect("--continue_train", AGAIN, is_flag=True)
@without_effect("-ct", AGAIN, is_flag=True)
@without_effect("--random_crop_bias", "no published code uses it")
@device_option
@seed_option
def main(data_dir, save_dir, vgg, start, gpu, device, dry_run, **o):
    """Trains encoder, controller, decoder and discriminator (Controllable Continuous Gaze Redirection).

    SAVE_DIR receives weights.safetensors, state.pt, stats.jsonl and samples/. Ctrl-C saves and stops. The weights of
    VGG-19, and patches of Columbia's photos, have licences of their own.
    """
    networks = InterpGazeConfig(
        size=int(o["size"]), divisor=int(o["divisor"]), attributes=o["attr"], decoder=o["dec_type"],
        legacy_crop=o["legacy_crop"], legacy_scale=o["legacy_scale"],
    )  # fmt: skip
    training, unseen = (read_patches(data_dir, part, networks.groups) for part in ("train", "test"))
    batch = max(o["batch_size"], 1)
    config = RunConfig(
        networks=networks,
        step=AlternationConfig(
            lr=o["lr"], encoder_every=o["encoder_every"],
            weights=LossWeights(
                discrim_gp=o["gp_weight"], pair_eye=o["eye_weight"], pair_own_mse=o["own_weight"],
                pair_own_per=o["own_weight"],
            ),
            legacy_heads_on_mixed=o["legacy_heads"],
        ),
        steps=o["steps"] or (o["epoch"] or EPOCHS) * max(len(training) // batch, 1),
        batch=batch, paired=o["paired"] or o["only_paired"], unpaired=not o["only_paired"],
        still_heads=o["still_heads"], cooldown=o["cooldown"], tick=o["tick"],
        snapshot=o["snap"], seed=o["seed"],
    )  # fmt: skip
    if dry_run:
        click.echo(json.dumps(dataclasses.asdict(config) | {"patches": len(training), "unseen": len(unseen)}, indent=2))
        return
    device = device_of(device, gpu)
    start = None if start is None else read_redirector(start, attributes=o["attr"])[0]
    with held(save_dir):
        run = Run(config, training, unseen, save_dir, device, None if vgg is None else vgg19_state(vgg), start)
        facts = {"command": shlex.join(["redirection/interpgaze/train.py", *sys.argv[1:]]), "patches": len(training)}
        code = run.train(facts)
    click.echo(f"{run.step} steps -> {save_dir}")
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
