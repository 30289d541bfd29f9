"""What is read and checked before a run starts, and what to do if its memory runs out."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from eg3d.checkpoints.loading import open_checkpoint
from eg3d.config.flags import resolve
from eg3d.config.run import TrainConfig, check_same_run, from_dict
from eg3d.training.records import check_tensorboard
from eg3d.training.run_folder import STATE_FILE
from eg3d.training.saved_state import read_state
from groundwork.settings import contradiction
from groundwork.strict_json import parse_json


def prepare(outdir: Path, cfg: str, flags: dict) -> tuple[TrainConfig, dict | None]:
    """The configuration and the state of the run that `outdir` holds, None if there is none; all checked."""
    config, state = read_flags(outdir, cfg, flags)
    check_ready(config, first=state is None)
    return config, state


def read_flags(outdir: Path, cfg: str, flags: dict) -> tuple[TrainConfig, dict | None]:
    """What the flags ask for, compared with the state in `outdir` if there is one."""
    latest, path = flags["resume"] == "latest", outdir / STATE_FILE
    if not latest and not path.exists():
        return resolve(cfg, **flags), None
    state = read_state(path)
    saved = from_dict(parse_json(state["config"]))
    config = resolve(cfg, saved.generator.resolution, **flags | ({"resume": saved.resume} if latest else {}))
    check_same_run(saved, config)
    return config, state


def check_ready(config: TrainConfig, first: bool) -> None:
    """What would otherwise only show after the data has been read; `first`: it starts from the weights of `resume`."""
    if not config.data.path:
        raise contradiction(config.data, "{path:flag} is missing: give a zip or folder with dataset.json, or embedded")
    if config.watch.tensorboard:
        check_tensorboard()
    if config.resume is not None and first:
        open_checkpoint(config.resume)


@contextlib.contextmanager
def advice_on_memory(config: TrainConfig) -> Iterator[None]:
    """Memory that has run out, of whatever device, as one ValueError of a line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        text = str(error)
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in text
        if not known and "ALLOC_FAILED" not in text:  # of cuDNN and cuBLAS
            raise
        wanted = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
        raise contradiction(
            config,
            "the memory ran out ({wanted}): a process handles {micro_batch} images at once; give a smaller "
            "{batch_gpu:flag}, which divides {batch} (a run that has begun keeps its own: use another --outdir, with "
            "{resume:SNAPSHOT})",
            wanted=wanted[0].lower() if wanted else "no more could be had",
            micro_batch=config.micro_batch,
        ) from None
