"""What is read and checked before a run starts, and what to do if its memory runs out."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from eg3d.checkpoints.loading import open_checkpoint
from eg3d.config.flags import passed_over, resolve
from eg3d.config.indirect import INDIRECT, IndirectFlags
from eg3d.config.run import TrainConfig
from eg3d.training.records import check_tensorboard
from eg3d.training.run_folder import OWN_NAMES, STATE_FILE, snapshot_paths
from eg3d.training.saved_state import read_state
from eg3d.training.sizes import going_on, note_on_sizes, saved_config
from groundwork.early import exhausted
from groundwork.places import START, resolved, same
from groundwork.settings import contradiction, message


def prepare(outdir: Path, cfg: str, flags: dict) -> tuple[TrainConfig, dict | None]:
    """The configuration and the state of the run that `outdir` holds, None if there is none; all checked."""
    config, state = read_flags(outdir, cfg, flags)
    if state is None:
        check_start_stays(outdir, config)
        check_others_stay(outdir, config)
    check_ready(config, first=state is None)
    return config, state


def check_start_stays(outdir: Path, config: TrainConfig) -> None:
    """ValueError if a new run would write over the checkpoint that it starts from, or delete it (--keep)."""
    given = START.sources(message(config, "{resume:flag}"), config.resume) if config.resume is not None else ()
    for source in given:
        if same(source.path.parent, resolved(outdir)) and source.path.name.startswith(OWN_NAMES):
            raise ValueError(f"{source.label}: lies in --outdir, where a new run would write over it; give another "
                             "--outdir")  # fmt: skip


def check_others_stay(outdir: Path, config: TrainConfig) -> None:
    """ValueError if a new run with --keep would in time delete the snapshots of another one."""
    if config.watch.keep is not None and (found := snapshot_paths(outdir)):
        text = "{path}: is a snapshot of another run, which {watch.keep} would delete; give another --outdir"
        raise contradiction(config, text, path=found[0])


def read_flags(outdir: Path, cfg: str, flags: dict) -> tuple[TrainConfig, dict | None]:
    """What the flags ask for, compared with the state in `outdir` if there is one."""
    latest, path = flags["resume"] == "latest", outdir / STATE_FILE
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path}: is a link that leads to no file; mend it to go on, or remove it for a new run")
    if not latest and not path.exists():
        return resolve(cfg, **flags), None
    state = read_state(path)
    return going_on(state, cfg, flags | ({"resume": saved_config(state).resume} if latest else {})), state


def notes(config: TrainConfig, flags: dict, state: dict | None) -> list[str]:
    """Lines for the user: what changes as the run goes on, and what flags that were not given leave out."""
    found = []
    if config.gaze.weight == 0 and flags["gaze_weight"] is None:
        found.append(
            "no flag asks for the gaze term, so this is plain EG3D; {gaze.l2cs_path:FILE} (a gaze network) adds the "
            "term, {gaze.weight:0} says that it shall be left out"
        )
    if config.augment.mode != "noaug" and flags["augpipe"] is None:
        found.append(
            "{augment.mode} changes colours only, so that cameras stay true; what was published, {augment.pipe:bgc}, "
            "also moves and turns pictures while their cameras stay"
        )
    changes = note_on_sizes(state, config) if state is not None else None
    return [*filter(None, [changes]), *(message(config, text) for text in found), *passed_over(config, flags)]


def check_ready(config: TrainConfig, first: bool) -> None:
    """What would otherwise only show after the data has been read; `first`: it starts from the weights of `resume`."""
    if not config.data.path:
        raise contradiction(
            config.data, "{path:flag} is missing: give a zip or folder with dataset.json, embedded or people"
        )
    if config.watch.tensorboard:
        check_tensorboard()
    if config.resume is not None and first:
        open_checkpoint(config.resume)


LESS_AT_ONCE = (
    "give the same command a smaller {batch_gpu:flag}, which divides {batch}, such as {batch_gpu:flag}={smaller}; it "
    "goes on with what is saved"
)
LEAST_AT_ONCE = (
    "fewer do not go with {batch}, {gpus} and the groups of minibatch statistics: give more {gpus:flag}, or start in "
    "another --outdir, from {resume:SNAPSHOT} if there is one, with a smaller {flags.mbstd_group:flag} and "
    "{batch_gpu:flag}"
)


@contextlib.contextmanager
def advice_on_memory(config: TrainConfig) -> Iterator[None]:
    """Memory that has run out, of whatever device, as one ValueError of a line."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:  # torch.OutOfMemoryError is a RuntimeError
        line = exhausted(error)
        if line is None or "memory" not in line:
            raise
        raise contradiction(
            config,
            "{line}: a process handles {micro_batch} images at once; "
            + (LESS_AT_ONCE if config.smaller_micro_batch else LEAST_AT_ONCE),
            line=line,
            micro_batch=config.micro_batch,
            smaller=config.smaller_micro_batch,
            **{INDIRECT: IndirectFlags()},
        ) from None
