"""Does the pre-trained content code of GazeAnimation keep who a person is (Zhang et al. 2020, the claim of PAM)? And
what do mirrored batches cost whose eye boxes are mirrored as published?

Small networks are trained by the published losses in three ways, with the same seeds, steps and portraits, and correct
faces of people whom none has seen. All is made by commands of this repository, which are printed. Stopped, the same
command goes on where it was.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import torch
from timing import write_results

from eg3d.running import cli
from groundwork.files import REPOSITORY
from groundwork.places import INPUT_FOLDER, OUTPUT_FOLDER
from groundwork.strict_json import read_json

SCRIPTS = Path("redirection") / "gaze_animation"
SHOWN = ("off_mean", "within_7", "identity", "identity_kept", "feature_distance", "psnr", "ssim")
PAM = "PAM"  # stands for the folder of the pre-training
ARMS = {  # name -> flags of train.py
    "as here": [f"--pretrain_path={PAM}"],
    "without pre-training": ["--random-content"],
    "published mirroring": [f"--pretrain_path={PAM}", "--legacy-mirror"],
}
NETWORKS = (
    "--img_size=64 --ngf=16 --nef=16 --ndf=8 --n_layers_g=3 --n_layers_e=2 --n_layers_r=2 --n_layers_d=4 --widest=4 "
    "--own=16 --content=24 --hidden=128 --sample=100000 --tick=20"
)
PRETRAIN = "--batch_size=8 --lr_r=1e-3 --snap=200"
TRAIN = (
    "--batch_size=4 --lr_g=4e-4 --lr_d=2e-4 --lam_p=5 --vgg_path=embedded --use_sp --reuse-synthesis --precision=bf16 "
    "--snap=100"
)


@click.command(cls=cli.Command)
@click.option("--data", type=INPUT_FOLDER, required=True, help="Set of prepare.py --world, to learn from.")
@click.option("--test", type=INPUT_FOLDER, required=True, help="Set of other people, with true corrected pictures.")
@click.option("--workdir", type=OUTPUT_FOLDER, default="training-runs/pretraining", show_default=True)
@click.option("--steps", type=click.IntRange(min=2), default=800, show_default=True, help="Of train.py.")
@click.option("--pretrain-steps", type=click.IntRange(min=2), default=800, show_default=True, help="Of pretrain.py.")
@click.option("--count", type=click.IntRange(min=1), default=300, show_default=True, help="Faces of the test set.")
@click.option("--judge", default="embedded", show_default=True, help="As of redirection/evaluate_faces.py.")
@click.option("--arms", default=",".join(ARMS), show_default=True, help="Which networks.")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0-2", show_default=True, help="Of the networks.")
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
@cli.device_option
def main(data, test, workdir, steps, pretrain_steps, count, judge, arms, seeds, results, device):
    """Trains what is not there yet, measures all, and writes a results file."""
    names = arms.split(",")
    if unknown := [name for name in names if name not in ARMS]:
        raise ValueError(f"--arms={arms}: there is no {unknown[0]}; there are {', '.join(ARMS)}")
    set_flags, device_flag = [f"--data_dir={data}", "--test_num=64", *NETWORKS.split()], f"--device={device}"
    scores: dict[str, dict] = {name: {} for name in names}
    for seed in seeds:
        pam = workdir / f"pam-{seed}"
        run("pretrain.py", *set_flags, *PRETRAIN.split(), f"--niter={pretrain_steps}", f"--seed={seed}", device_flag,
            f"--decay-from={pretrain_steps // 2}", f"--exper_name={pam}")  # fmt: skip
        for name in names:
            folder = workdir / f"{name.replace(' ', '-')}-{seed}"
            flags = [flag.replace(PAM, str(pam)) for flag in ARMS[name]]
            run("train.py", *set_flags, *TRAIN.split(), f"--niter={steps}", f"--decay-from={steps // 2}",
                f"--seed={seed}", device_flag, f"--exper_name={folder}", *flags)  # fmt: skip
            report, weights = folder / "faces.json", folder / "checkpoints" / "animator.safetensors"
            if not report.is_file():
                run("../evaluate_faces.py", f"--data={test}", f"--animator={weights}", f"--judge={judge}",
                    f"--count={count}", "--animate=0", device_flag, f"--json={report}")  # fmt: skip
            methods = read_json(report)["methods"]
            scores[name][str(seed)] = next(one["all"] for key, one in methods.items() if key.startswith("GazeAnim"))
            bounds = {key: methods[key]["all"] for key in ("nothing", "true picture")}
    settings = {"steps": steps, "pretrain_steps": pretrain_steps, "faces": count, "judge": judge}
    means = {name: of_seeds(list(one.values())) for name, one in scores.items()}
    for name, mean in means.items():
        click.echo(f"{name}: " + ", ".join(f"{key} {mean[key][0]:.3f} +- {mean[key][1]:.3f}" for key in SHOWN))
    numbers = {"settings": settings, "bounds": bounds, "means": means, "scores": scores}
    click.echo(f"written to {write_results(results, 'gaze-animation-pretraining', torch.device('cpu'), numbers)}")


def of_seeds(scores: list[dict]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of what each seed has."""
    return {key: (float(np.mean(values)), float(np.std(values, ddof=min(1, len(values) - 1))))
            for key in SHOWN if (values := [one[key] for one in scores])}  # fmt: skip


def run(script: str, *arguments: str) -> None:
    """A command of this repository; ValueError if it fails. Each goes on where it was stopped."""
    path = os.path.normpath(SCRIPTS / script)
    click.echo(f"$ {shlex.join(['python', path, *arguments])}")
    if subprocess.run(
        [sys.executable, REPOSITORY / path, *arguments], env=os.environ | {"OMP_NUM_THREADS": "1"}
    ).returncode:
        raise ValueError("the last command failed, see above; the same command goes on from there")


if __name__ == "__main__":
    main()
