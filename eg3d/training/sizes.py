"""How many images a run handles at once, and since when: batch, micro-batch and processes may change at a resume.

Every schedule counts images, so it goes on as it began; what the run began with also sets the lengths that grow with
the batch (`eg3d.config.flags.resolve`). Minibatch statistics are taken within a micro-batch, and a sum over other parts
is rounded in another way. So a run that has changed its sizes is not, bit for bit, the run that it would have been.
"""

from dataclasses import replace

from eg3d.config.flags import resolve
from eg3d.config.run import TrainConfig, check_same_run, from_dict
from groundwork.strict_json import parse_json


def sizes_of(config: TrainConfig) -> dict[str, int]:
    """Images per step, images that a process handles at once, processes."""
    return {"batch": config.batch, "batch_gpu": config.micro_batch, "gpus": config.gpus}


def first_sizes(config: TrainConfig) -> list[dict[str, int]]:
    """The history of a run that begins."""
    return [{"from_image": 0, **sizes_of(config)}]


def saved_sizes(state: dict) -> list[dict[str, int]]:
    """The history in a training state; states of older versions have none, because sizes could not change."""
    return state.get("sizes") or first_sizes(saved_config(state))


def saved_config(state: dict) -> TrainConfig:
    """The configuration of the run that left this training state."""
    return from_dict(parse_json(state["config"]))


def sizes_from_here(state: dict, config: TrainConfig) -> list[dict[str, int]]:
    """The history of a run that goes on from a state as `config` says."""
    now = {"from_image": state["images_seen"], **sizes_of(config)}
    before = [entry for entry in saved_sizes(state) if entry["from_image"] < now["from_image"]]
    return before if before and before[-1] | {"from_image": now["from_image"]} == now else [*before, now]


def note_on_sizes(state: dict, config: TrainConfig) -> str | None:
    """A line for the user if the run goes on with other sizes than the state had; else None."""
    old, new = sizes_of(saved_config(state)), sizes_of(config)
    if old == new:
        return None
    changes = ", ".join(
        f"--{name.replace('_', '-')} is {new[name]} (before: {old[name]})" for name in new if new[name] != old[name]
    )
    return (
        f"from image {state['images_seen']} on {changes}; all schedules go on, but the numbers are no longer bit for "
        "bit those of a run without this change"
    )


def going_on(state: dict, cfg: str, flags: dict) -> TrainConfig:
    """The configuration that flags (by their names in TABLE) ask of the run that left `state`.

    Sizes that are not given stay as the run has them. Lengths that grow with the batch stay those of the batch that the
    run began with.
    Errors: ConfigError if something differs that may not, or if the new sizes do not go together.
    """
    saved = saved_config(state)
    began = {"batch": saved_sizes(state)[0]["batch"], "batch_gpu": None, "gpus": None}
    config = resolve(cfg, saved.generator.resolution, **flags | began)
    check_same_run(saved, config)
    batch, gpus, batch_gpu = flags.get("batch"), flags.get("gpus") or 1, flags.get("batch_gpu")
    batch = saved.batch if batch is None else batch
    if batch_gpu is None and saved.batch_gpu and batch % (gpus * saved.batch_gpu) == 0:
        batch_gpu = saved.batch_gpu
    return replace(config, batch=batch, batch_gpu=batch_gpu, gpus=gpus)
