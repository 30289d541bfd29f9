"""Where a generator comes from: the run in whose folder its file lies, and the data set of its training."""

import contextlib
from pathlib import Path

from eg3d.checkpoints.loading import GENERATORS, locate, open_checkpoint
from eg3d.training.run_folder import METRIC, OPTIONS_FILE
from groundwork.places import EMBEDDED
from groundwork.strict_json import JsonError, read_json
from groundwork.strict_pickle import one_line

SIZES = {"embedded": 64, "people": 128}  # px, of the pictures of each world's generators


def run_of(network: str) -> tuple[Path | None, str | None]:
    """(folder of the run, name of the snapshot in it) of a generator; None and None if it lies in no such folder."""
    file = locate(network)
    folder = file.resolve().parent
    return (folder, file.name) if (folder / OPTIONS_FILE).is_file() else (None, None)


def beside_in_run(network: Path) -> list[Path]:
    """What belongs to a generator in the folder of a run: options and lines of metrics, and where its data set is."""
    options = network.resolve().parent / OPTIONS_FILE
    if not options.is_file():
        return []
    with contextlib.suppress(ValueError, OSError):  # it is reported when the data set is asked for
        return [options, *options.parent.glob(f"{METRIC}*.jsonl"), Path(trained_on(str(network)))]
    return [options]


def trained_on(network: str) -> str:
    """The data set of a generator's training, if its name, its folder or the file says so; ValueError if not."""
    if network in GENERATORS:
        return network.removesuffix("-base").removesuffix("-control")
    folder, _ = run_of(network)
    if folder is not None:
        options = folder / OPTIONS_FILE
        try:
            path = read_json(options)["data"]["path"]
            if isinstance(path, str):
                return path
            reason = "its data.path is no text"
        except (JsonError, KeyError, TypeError) as error:
            reason = error if isinstance(error, JsonError) else "it names no data.path"
        raise ValueError(f"{options}: cannot be read ({reason}); give --data")
    facts = open_checkpoint(network).facts
    dataset = facts.get("dataset")
    if isinstance(dataset, dict) and dataset.get("name") in EMBEDDED:
        return dataset["name"]
    published = facts.get("published")
    published = published.get("training_set_kwargs") if isinstance(published, dict) else None
    if isinstance(published, dict) and published.get("path"):
        path = one_line(str(published["path"]))
        raise ValueError(f"--data is missing: this network was trained on {path} where it was made; "
                         "give that data set's zip or folder here")  # fmt: skip
    raise ValueError("--data is missing, and the network does not say what it was trained on; give a zip or folder")


def drawn_world(network: str, resolution: int) -> str | None:
    """Which world's heads a generator draws, as --data names it; empty: of none; None where nothing tells.

    resolution: of its pictures.
    """
    with contextlib.suppress(ValueError):
        if (data := trained_on(network)) in EMBEDDED:
            return data
    facts = open_checkpoint(network).facts
    preset = (facts.get("preset") or "embedded").removesuffix("-64").removesuffix("-32")
    if facts.get("published") or preset not in SIZES or resolution > SIZES[preset]:
        return ""
    return None
