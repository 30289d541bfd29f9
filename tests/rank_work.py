"""What the processes of the tests do; functions by name, for they are started in new processes.

`python rank_work.py twenty_steps FOLDER OUT` under torchrun does the same there.
"""

import contextlib
import dataclasses
import os
import pickle
import resource
import signal
import sys
from multiprocessing import parent_process
from pathlib import Path

import torch
import torch.distributed as dist
from tiny_networks import tiny_estimator
from tiny_run import everything_in_float64, tiny_config

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.augmentation import AugmentConfig
from eg3d.config.eye_control import ControlConfig
from eg3d.config.run import WatchConfig, network_from_dict
from eg3d.data.dataset import ImageDataset
from eg3d.running import distributed
from eg3d.scores.snapshot_metrics import SnapshotMetrics
from eg3d.training import records
from eg3d.training.loop import train
from eg3d.training.trainer import Trainer
from groundwork.command import describe, fail


def shared_config(folder: Path, gpus: int, **changes):
    """16 images a step in micro-batches of 8, with every term, swap, mixing, label noise and augmentation."""
    plain = tiny_config(folder, gaze_weight=2.0)
    return dataclasses.replace(
        plain,
        loss=dataclasses.replace(plain.loss, style_mixing_prob=0.5),
        schedule=dataclasses.replace(plain.schedule, gpc_reg_prob=0.5, gpc_reg_fade_kimg=0.02),
        discriminator=dataclasses.replace(plain.discriminator, disc_c_noise=0.5),
        augment=AugmentConfig(mode="ada", pipe="bgc", kimg=1.0, interval=1),
        **dict(gpus=gpus, batch=16, batch_gpu=8, kimg=1.0) | changes,
    )


def control_config(folder: Path, base: Path, gpus: int):
    """The same for eyes in the generator of a snapshot, with the rig loss, and D told where eyes look."""
    plain, control = shared_config(folder, gpus), ControlConfig(on=True, rig=0.5)
    return dataclasses.replace(
        plain,
        generator=network_from_dict("generator", control.on_base(dataclasses.asdict(plain.generator), 0.08, 0.03)),
        control=control,
        gaze=dataclasses.replace(plain.gaze, cond_d=True),
        augment=dataclasses.replace(plain.augment, pipe="colour"),
        resume=str(base),
    )


def trainer_for(folder: Path, base: Path | None = None) -> Trainer:
    size = distributed.size()
    config = shared_config(folder, size) if base is None else control_config(folder, base, size)
    trainer = Trainer(config, ImageDataset(folder), torch.device("cpu"), gaze_estimator=tiny_estimator())
    trainer.strength.p = 0.5  # as later in a run; from here it moves by what D says
    return trainer


def steps_in_float64(folder: Path, out: Path, count: int, base: Path | None = None) -> int:
    """Weights, averages and statistics after `count` steps."""
    with everything_in_float64():
        trainer = trainer_for(folder, base)
        for _ in range(count):
            trainer.step()
        distributed.check_equal(trainer.networks())
        trainer.stats.collect()
        if distributed.rank() == 0:
            weights = {name: network.state_dict() for name, network in trainer.networks().items()}
            torch.save({"weights": weights, "line": trainer.stats.line(), "p": trainer.strength.p}, out)
    return 0


def note_open_ports(out: Path) -> int:
    """The addresses at which this process and the one that started it listen, as the kernel writes them."""
    distributed.add_up([torch.ones(1)])
    Path(f"{out}.{distributed.rank()}").write_text("\n".join(listening(os.getpid(), parent_process().pid)))
    return 0


def listening(*processes: int) -> list[str]:
    """Local addresses, in hex, of the TCP sockets of processes that wait for connections."""
    links = []
    for link in (link for number in processes for link in Path(f"/proc/{number}/fd").iterdir()):
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(os.readlink(link))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links]


def twenty_steps(folder: Path, out: Path) -> int:
    return steps_in_float64(folder, out, 20)


def gradients_of_the_first_step(folder: Path, out: Path) -> int:
    """Gradients of the four phases, as the optimisers get them, in float32, all at the initial weights: Adam's first
    step is as long for a rounding error as for a gradient.
    """
    trainer, found = trainer_for(folder), []
    for network, optimiser in ((trainer.G, trainer.G_optimiser), (trainer.D, trainer.D_optimiser)):

        def note(*_, network=network):
            grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            found.append(torch.cat(grads))

        optimiser.register_step_pre_hook(note)
        optimiser.param_groups[0]["lr"] = 0.0
    trainer.step()
    if distributed.rank() == 0:
        torch.save(found, out)
    return 0


def one_sick_sample(folder: Path, out: Path) -> int:
    """Gradients of Gmain when one sample of the global batch has no number for a loss."""
    trainer, healthy = trainer_for(folder), Trainer.generator_main

    def sick(self, fakes):
        for term in healthy(self, fakes):
            yield term * torch.tensor([float("nan") if i == 13 else 1.0 for i in fakes.samples])

    trainer.generator_main = sick.__get__(trainer)
    gradients = []
    trainer.G_optimiser.register_step_pre_hook(
        lambda *_: gradients.append(torch.cat([p.grad.flatten() for p in trainer.G.parameters() if p.grad is not None]))
    )
    trainer.step()
    torch.save({"gradient": gradients[0], "finite": trainer.finite}, f"{out}.{distributed.rank()}")
    return 0


def short_run(folder: Path, outdir: Path, state_path: Path | None = None, disturb=None, **changes) -> int:
    """train() with two small images a process; `disturb(trainer)` is called before each step."""
    said = os.open(f"{outdir}.stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 2)  # the server that forks the processes of tests has a stderr of its own
    size = distributed.size()
    config = tiny_config(
        folder, **dict(gpus=size, batch=2 * size, batch_gpu=2, kimg=0.016, tick=0.008, snap=1) | changes
    )
    state = distributed.large_from_first(
        lambda: checkpoint.load_state(state_path) if state_path is not None and state_path.exists() else None
    )
    step = Trainer.step

    def disturbed(self):
        if disturb is not None:
            disturb(self)
        step(self)

    Trainer.step = disturbed
    try:
        _, progress = train(config, outdir, ImageDataset(folder), torch.device("cpu"), state)
    except (ValueError, OSError) as error:
        if distributed.size() > 1:
            raise
        fail(describe(error))  # as the script does
    return progress.stop_code


VALUES = {
    "large": torch.arange(2.0**18).view(512, 512), "list": [torch.tensor(3, dtype=torch.int64), {"x": (None, "text")}],
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16), "turned": torch.arange(6).view(2, 3).T,
    "empty": torch.empty(0, 3), "flags": torch.tensor([True, False]),
}  # fmt: skip


def receive(out: Path) -> int:
    """Saves what comes of VALUES on every process, and the largest message that was pickled."""
    sizes, send = [], dist.broadcast_object_list

    def noted(message, **more):
        send(message, **more)
        sizes.append(len(pickle.dumps(message)))

    dist.broadcast_object_list = noted
    value = distributed.large_from_first(lambda: VALUES)
    torch.save({"value": value, "largest": max(sizes)}, f"{out}.{distributed.rank()}")
    return 0


def measured_run(folder: Path, outdir: Path) -> int:
    """A run with metrics at its snapshots."""
    watch = WatchConfig(metrics="fid50k_full,kid50k_full", num_gen=8, detector="embedded")
    config, dataset = tiny_config(folder, gpus=2, batch=4, batch_gpu=2, kimg=0.008, watch=watch), ImageDataset(folder)
    measure = SnapshotMetrics(config, dataset, torch.device("cpu"))
    _, progress = train(config, outdir, dataset, torch.device("cpu"), measure=measure)
    return progress.stop_code


def kill_second(trainer) -> None:
    if distributed.rank() == 1 and trainer.batch_index == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def freeze_second(trainer) -> None:
    if distributed.rank() == 1 and trainer.batch_index == 3:
        os.kill(os.getpid(), signal.SIGSTOP)


def stop_second(trainer) -> None:
    if distributed.rank() == 1 and trainer.batch_index == 2:
        os.kill(os.getpid(), signal.SIGTERM)


# ------------------------------------------------------------------ killing oneself while writing

SIX_STEPS = dict(batch=2, kimg=0.012, tick=0.004)


def kill_in(trainer, owner, name: str, when) -> None:
    """From the fourth step on, the first call of owner.name for whose arguments `when` is true is the last."""
    if trainer.batch_index != 3:
        return
    real = getattr(owner, name)

    def deadly(*args, **kwargs):
        if when(*args):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, deadly)


def die_with_half_a_state(trainer) -> None:
    real = os.fsync

    def half(handle):
        if ".training-state.pt." in os.readlink(f"/proc/self/fd/{handle}"):
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    if trainer.batch_index == 3:
        os.fsync = half


def die_before_the_state_has_its_name(trainer) -> None:
    kill_in(trainer, os, "replace", lambda source, target: Path(target).name == "training-state.pt")


def die_before_the_snapshot_has_its_name(trainer) -> None:
    kill_in(trainer, os, "replace", lambda source, target: Path(target).suffix == ".safetensors")


def die_before_the_line(trainer) -> None:
    kill_in(trainer, records, "append_line", lambda *_: True)


def die_after_the_line(trainer) -> None:
    kill_in(trainer, checkpoint, "save_state", lambda *_: True)


def die_after_the_state(trainer) -> None:
    kill_in(trainer, records, "summary", lambda *_: True)


MOMENTS = {
    name: globals()[f"die_{name.replace(' ', '_')}"]
    for name in (
        "with half a state", "before the state has its name", "before the snapshot has its name", "before the line",
        "after the line", "after the state",
    )
}  # fmt: skip


def small_files_from_the_fourth_step(trainer) -> None:
    """As on a full disk: no file may grow beyond 100 kB."""
    if trainer.batch_index == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))


def fail_second(trainer) -> None:
    if distributed.rank() == 1 and trainer.batch_index == 1:
        raise ValueError("img3.png is damaged")


if __name__ == "__main__":
    sys.exit(
        distributed.launch(
            globals()[sys.argv[1]], tuple(map(Path, sys.argv[2:])), distributed.check_count(None) or 1,
            torch.device("cpu"), wait_minutes=2,
        )
    )  # fmt: skip
