"""Options that pretrain.py and train.py share: the set, the networks, the run."""

import shlex
import sys
from pathlib import Path

import click
import torch

from groundwork.command import SWITCH, option_stack, without_effect
from groundwork.files import write_text
from groundwork.places import FOLDER, INPUT_FOLDER, Output
from redirection.gaze_animation.domain_batches import DomainBatches
from redirection.gaze_animation.gaze_animator import AnimatorConfig
from redirection.gaze_animation.portrait_lists import CAMERA, ELSEWHERE, TEST, Domains
from redirection.gaze_animation.portrait_run import Places, PortraitRun, RunConfig
from redirection.gaze_animation.portrait_truth import known_gaze
from redirection.patch_run import OPTIONS, STATE, STATS

NETWORKS = AnimatorConfig()
RUN = RunConfig()
DATA = "../../../dataset/CelebAGaze"  # as published
BY_DISTANCE = "auto"
WEIGHTS = "animator.safetensors"  # of train.py
MORE_WIDTHS = ("widest", "own", "content", "hidden", "neutral_content")  # settings of networks without a published flag
UNUSED = "no published program uses it"


def writes(weights: str):
    """Patterns of the files of a run whose weights have this name."""

    def of(arguments: dict) -> list[str]:
        folders = [str(arguments[name]).removeprefix("./") for name in ("checkpoints_dir", "sample_dir")]
        files = [STATS, OPTIONS, "opt.txt", f"{folders[0]}/{STATE}", f"{folders[0]}/{weights}", f"{folders[1]}/*.jpg"]
        return files

    return of


def box_options(default: str):
    side = f"Of a box in a picture of 256 px; {BY_DISTANCE}: by the distance of the eyes."
    return option_stack(
        click.option("--crop_w", default=default, show_default=True, help=f"Width. {side}"),
        click.option("--crop_h", default=default, show_default=True, help=f"Height. {side}"),
    )


def run_options(weights: str, folder: str):
    """weights: name of the file that is used afterwards; folder: of a run, by default."""
    stack = [
        click.option("--data_dir", type=INPUT_FOLDER, default=DATA, show_default=True,
                     help="Set that prepare.py wrote, or published."),
        click.option("--exper_name", type=Output(FOLDER, writes(weights)), default=folder, show_default=True,
                     help="Run folder; the same command again goes on with the run in it."),
        click.option("--checkpoints_dir", "--checkpoints", default="checkpoints", show_default=True,
                     help="Folder of state and weights, in the run folder."),
        click.option("--sample_dir", default="sample_dir", show_default=True, help="Of sheets, in the run folder."),
        click.option("--test_num", type=click.IntRange(1), default=TEST, show_default=True,
                     help="The last so many pictures of Y are not trained on."),
        click.option("--img_size", "size", type=int, default=NETWORKS.size, show_default=True, help="Side of a face."),
        click.option("--ngf", type=int, default=NETWORKS.ngf, show_default=True, help="First width of Gx, Gy and Gr."),
        click.option("--nef", type=int, default=NETWORKS.nef, show_default=True, help="First width of Er."),
        click.option("--ndf", type=int, default=NETWORKS.ndf, show_default=True, help="Half of the first width of D."),
        click.option("--n_layers_g", type=int, default=NETWORKS.n_layers_g, show_default=True, help="Depth of Gx, Gy."),
        click.option("--n_layers_e", type=int, default=NETWORKS.n_layers_e, show_default=True, help="Depth of Er."),
        click.option("--n_layers_r", type=int, default=NETWORKS.n_layers_r, show_default=True, help="Depth of Gr."),
        click.option("--n_layers_d", type=int, default=NETWORKS.n_layers_d, show_default=True, help="Depth of Dx, Dy."),
        *(click.option(f"--{name}", type=int, default=getattr(NETWORKS, name), show_default=True, help=text)
          for name, text in (("widest", "Most channels of Gx, Gy and Gr, over --ngf."),
                             ("own", "Numbers of the code of a blanked face."),
                             ("content", "Numbers of the code of one eye's content."),
                             ("hidden", "Numbers of the last layer but one of Dx, Dy."))),
        click.option("--neutral-content", **SWITCH, default=False,
                     help="Give Gy the content of the corrected face, which tells no gaze; not in the paper."),
        click.option("--batch_size", type=int, default=RUN.batch, show_default=True, help="Of each domain, a step."),
        click.option("--niter", type=int, default=RUN.steps, show_default=True, help="Steps."),
        click.option("--tick", type=int, default=RUN.tick, show_default=True, help="Steps between lines of numbers."),
        click.option("--sample", type=int, default=RUN.sample, show_default=True, help="Steps between sheets."),
        click.option("--snap", type=int, default=RUN.snapshot, show_default=True, help="Steps between states."),
        click.option("--decay-from", type=int, default=RUN.step.decay_from, show_default=True,
                     help="Step from which learning rates fall to 0."),
        click.option("--legacy-mirror", **SWITCH, default=False,
                     help="Mirror eye positions as published: of X unordered, of Y not at all."),
        click.option("--legacy-spectral", **SWITCH, default=False, help="Spectral norm in its published form."),
        box_options(BY_DISTANCE),
        click.option("--gpu_id", "gpu", help="Number of the GPU that computes, as published.  [default: by --device]"),
        click.option("--dry-run", **SWITCH, default=False, help="Print the settings and stop."),
        *(without_effect(f"--{name}", UNUSED) for name in
          ("inception_path", "n_layers_sr", "norm_sr", "n_blocks", "ds_n", "ds_s", "niter_decay", "lr_sr", "lam_ss",
           "lam_fp", "resize_or_crop", "crop_w_p", "crop_h_p", "display_freq", "save_latest_freq", "save_model_freq",
           "phase")),
        *(without_effect(f"--{name}", "pictures are read by the process itself") for name in
          ("capacity", "num_threads")),
        *(without_effect(f"--{name}", "it is fixed") for name in ("input_nc", "output_nc", "pos_number")),
        without_effect("--log_dir", "numbers are in stats.jsonl"),
        without_effect("--continue_train", "the same command again goes on with the run", is_flag=True),
    ]  # fmt: skip
    return option_stack(*stack)


def networks_of(o: dict) -> AnimatorConfig:
    """The networks that the options say."""
    names = ("size", "ngf", "nef", "ndf", "n_layers_g", "n_layers_e", "n_layers_r", "n_layers_d", *MORE_WIDTHS)
    return AnimatorConfig(**{name: o[name] for name in names})


def box_of(crop_w: str, crop_h: str) -> tuple[float, ...]:
    """() or (width, height). ValueError for half a box."""
    texts = (crop_w, crop_h)
    if texts == (BY_DISTANCE, BY_DISTANCE):
        return ()
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        wrong = f"--crop_w={crop_w} --crop_h={crop_h}"
        raise ValueError(f"{wrong}: give two numbers of pixels, or {BY_DISTANCE} for both") from None


def run_config(o: dict, **step) -> RunConfig:
    """step: the settings of a step."""
    return RunConfig(
        networks=networks_of(o), steps=o["niter"], batch=o["batch_size"], box=box_of(o["crop_w"], o["crop_h"]),
        legacy_mirror=o["legacy_mirror"], tick=o["tick"], sample=o["sample"], snapshot=o["snap"], seed=o["seed"],
        **step,
    )  # fmt: skip


def batches_of(domains: Domains, config: RunConfig, folder: Path) -> DomainBatches:
    """folder: of the set; what it knows of the gaze is read if the losses need it."""
    size, box, gaze = config.networks.size, config.box or None, None
    if config.step.weights.lam_gaze:
        both = (CAMERA, domains.x.names), (ELSEWHERE, domains.y.names)
        gaze = tuple(torch.from_numpy(known_gaze(folder, domain, names)) for domain, names in both)
    return DomainBatches(
        domains.x, domains.y, size, box, config.batch, config.seed, config.legacy_mirror, gaze, config.reads
    )


def places_of(o: dict) -> Places:
    folder = Path(o["exper_name"])
    return Places(folder, folder / o["checkpoints_dir"], folder / o["sample_dir"])


def settings_text(options: dict, defaults: dict) -> str:
    """opt.txt: one right-aligned `name: value` a line, and what the default is where it was changed, as published."""
    lines = ["----------------- Options ---------------"]
    for name, value in sorted(options.items()):
        note = f"\t[default: {defaults[name]}]" if name in defaults and defaults[name] != value else ""
        lines.append(f"{name:>25}: {value!s:<30}{note}")
    return "\n".join([*lines, "----------------- End -------------------", ""])


def train_and_tell(run: PortraitRun, context: click.Context, script: str, weights: str) -> None:
    """Writes the settings, trains, and says where the weights are; a signal's exit code ends the process."""
    defaults = {param.name: param.default for param in context.command.params}
    write_text(run.places.checkpoints / "opt.txt", settings_text(context.params, defaults))
    code = run.train({"command": shlex.join([f"redirection/gaze_animation/{script}", *sys.argv[1:]])})
    click.echo(f"{run.step} steps -> {run.places.checkpoints / weights}")
    if code:
        sys.exit(code)
