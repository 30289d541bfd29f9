"""How the shipped weights of GazeAnimation are made (`make embedded WORLD=people`, stage animator)."""

import sys
from pathlib import Path

from eg3d.world.training.recipes import call, people_portraits, train_face_judge
from groundwork.files import REPOSITORY
from redirection.eye_reader import OF_FACES
from redirection.gaze_animation.animator_file import EMBEDDED
from redirection.gaze_animation.eye_content_file import NAME
from redirection.gaze_animation.painting_options import WEIGHTS

NETWORKS = (
    "--test_num=64 --img_size=128 --ngf=16 --nef=16 --ndf=8 --n_layers_g=4 --n_layers_e=2 --n_layers_r=2 "
    "--n_layers_d=5 --widest=4 --own=16 --content=24 --hidden=256 --neutral-content --batch_size=4"
)
PRETRAIN = "--niter=2000 --decay-from=1000 --lr_r=1e-3 --tick=100 --sample=500 --snap=200"
TRAIN = (
    "--niter=4000 --decay-from=2000 --lr_g=4e-4 --lr_d=2e-4 --lam_p=5 --vgg_path=embedded --use_sp --reuse-synthesis "
    "--precision=bf16 --known-gaze=1 --known-faces=16 --asked-gaze=2 --lam_r=6 --tick=20 --sample=200 --snap=100"
)


def make_animator(workdir: Path, seed: int, device: str, log: Path) -> None:
    """Renders the portraits, trains PAM, then GCM and GAM, or goes on with them, then the gaze reader, and calibrates
    the weights."""
    scripts, shared = REPOSITORY / "redirection" / "gaze_animation", [f"--seed={seed}", f"--device={device}"]
    data = people_portraits(log)

    def run(script: str, *flags: str) -> None:
        call([sys.executable, scripts / script, *flags, *shared], log)

    eyes, run_folder = workdir / "portrait-eyes", workdir / "portraits"
    run("pretrain.py", f"--data_dir={data}", *NETWORKS.split(), *PRETRAIN.split(), f"--exper_name={eyes}")
    run("train.py", f"--data_dir={data}", *NETWORKS.split(), *TRAIN.split(), f"--exper_name={run_folder}",
        f"--pretrain_path={eyes / 'checkpoints' / NAME}")  # fmt: skip
    train_face_judge("reader", workdir, seed + 1, device, log, OF_FACES)  # another start than the judge's
    run("calibrate.py", f"--weights={run_folder / 'checkpoints' / WEIGHTS}", f"--data={data}", "--l2cs-path=people",
        f"--out={EMBEDDED['embedded']}")  # fmt: skip
