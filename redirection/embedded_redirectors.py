"""How the shipped redirectors are made (`make embedded`, stage redirectors): one set of patches, one recipe each."""

import sys
from dataclasses import replace
from pathlib import Path

from eg3d.world.training.recipes import call, people_patches
from groundwork.files import REPOSITORY, atomic_write
from redirection.attributes import NO_LABELS
from redirection.deepwarp.warp_redirector import EMBEDDED as DEEPWARP
from redirection.eye_reader import ARCHITECTURE, EPOCHS, READER
from redirection.he2019.angle_redirector import EMBEDDED as HE2019
from redirection.interpgaze.gallery import EMBEDDED_REFERENCES, gallery_of, save_gallery
from redirection.interpgaze.redirector_file import EMBEDDED as INTERPGAZE
from redirection.judge_fitting import CONFIG, errors, facts_of, train_judge
from redirection.patch_judge import save_judge
from redirection.patch_run import WEIGHTS
from redirection.patch_sets import read_patches

SCHEDULE = "0,0.001\n25,0.0003\n"  # DeepWarp's learning rate: epochs of 100 steps
# file -> script, its flags for the set and for the run, all others. About 28, 10 and 10 minutes of one core of an AMD
# EPYC. InterpGaze has no reconstruction loss of its own, since its decoder blends the source in.
RECIPES = {
    INTERPGAZE["embedded"]: (
        "interpgaze/train.py", "--data_dir", "--save_dir",
        "--attr=0P@15P@-15P@30P@-30P,0V@10V@-10V,0H@10H@-10H@15H@-15H --dec_type=blend --only-paired "
        "--still-heads=0.6 --eye-weight=1 --own-weight=0 --size=64 --divisor=8 -bs 16 --lr=1e-3 "
        "--cooldown=0.25 --steps=9500 --snap=500",
    ),
    HE2019: (
        "he2019/run.py", "--data_path", "--log_dir",
        "--image_size=32 --width=16 --batch_size=16 --steps=2400 --summary_steps=200 --generator-every=1 "
        "--vgg_path=embedded --paired --lr=5e-4",
    ),
    DEEPWARP: (
        "deepwarp/train.py", "--data_path", "--save_path",
        "--width=32 --batch_size=32 --steps=3200 --angle-unit=15 --lightness --snap=200",
    ),
}  # fmt: skip


def make_redirectors(workdir: Path, seed: int, device: str, log: Path) -> None:
    """Trains all three, or goes on with them, and writes their files, the references and the eye reader."""
    data, schedule = people_patches(log), workdir / "deepwarp-schedule.txt"
    atomic_write(schedule, SCHEDULE.encode())
    for output, (script, of_data, of_run, flags) in RECIPES.items():
        run = workdir / output.stem
        more = [f"--scheduler={schedule}"] if output == DEEPWARP else []
        call([sys.executable, REPOSITORY / "redirection" / script, f"{of_data}={data}", f"{of_run}={run}",
              *flags.split(), *more, f"--seed={seed}", f"--device={device}"], log)  # fmt: skip
        atomic_write(output, (run / WEIGHTS).read_bytes())
    training, unseen = (read_patches(data, part, NO_LABELS) for part in ("train", "test"))
    save_gallery(EMBEDDED_REFERENCES, gallery_of(training), {"patches": len(training)})
    config = replace(CONFIG, name="eye-reader", epochs=EPOCHS, seed=seed + 1)  # another start than the judge's
    reader = train_judge(training, workdir / "eye-reader", device, config, ARCHITECTURE)
    save_judge(READER, reader, facts_of(config, training, errors(reader, unseen)))
