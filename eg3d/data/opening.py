"""A data set by the name that --data gives it: a zip, a folder, or that of an embedded world."""

from pathlib import Path

from eg3d.data.dataset import ImageDataset
from eg3d.world.rendered_sets import world_faces
from eg3d.world.worlds import NAMES, world_of

WORLD_OF = {name: world for world, name in NAMES.items()}  # --data -> the world that is rendered


def dataset_path(name: str | Path, seed: int = 0) -> Path:
    """The zip or folder of a data set. A world's is rendered on its first use; `seed` says which one of them."""
    world = WORLD_OF.get(str(name))
    return Path(name) if world is None else world_faces(seed=seed, world=world)


def rendered_side(name: str | Path) -> int | None:
    """Pixels per side of the data set of a world; None: this is the name of none."""
    world = WORLD_OF.get(str(name))
    return None if world is None else world_of(world).size


def open_dataset(
    name: str | Path, mirror: bool = False, workers: int = 3, skip_unmatched: bool = False
) -> ImageDataset:
    """The data set itself, as `ImageDataset` opens it."""
    return ImageDataset(dataset_path(name), mirror, workers, skip_unmatched)


def open_dataset_for(
    name: str | Path, resolution: int, mirror: bool = False, skip_unmatched: bool = False
) -> ImageDataset:
    """The data set that a generator's pictures are compared with; ValueError if its images have another size."""
    dataset = open_dataset(name, mirror, skip_unmatched=skip_unmatched)
    if dataset.resolution != resolution:
        raise ValueError(
            f"--data={name}: its images have {dataset.resolution} px, the generator draws {resolution}; "
            "bring them to that size (dataset_preprocessing/dataset_tool.py --resolution)"
        )
    return dataset
