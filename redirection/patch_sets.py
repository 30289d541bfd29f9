"""A set of eye patches in memory, read from the folder that crop_eyes.py writes, or from the published one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from groundwork.archive import Unreadable
from groundwork.files import open_regular
from groundwork.images import open_image, read_picture
from redirection.attributes import Attributes
from redirection.patch_names import PatchName
from redirection.patch_tables import INFO, LABELS, LISTS, read_labels, read_list

MAKE = "make it by redirection/crop_eyes.py"
LARGEST_FILE = 1 << 24  # bytes of a patch
CHUNK = 512  # patches that are resized at once


@dataclass(frozen=True)
class PatchSet:
    """N patches. images uint8 [N, 3, S, S]; labels: float [N, n] for each group of attributes;
    angles [N, 3]: P, V, H in degrees that the patch itself shows; person [N]; eye [N]: 0 is L, 1 is R.
    """

    names: tuple[str, ...]
    images: torch.Tensor
    labels: tuple[torch.Tensor, ...]
    angles: torch.Tensor
    person: torch.Tensor
    eye: torch.Tensor

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        return self.images.shape[-1]

    def subset(self, rows: torch.Tensor) -> "PatchSet":
        return PatchSet(
            tuple(self.names[i] for i in rows.tolist()),
            self.images[rows],
            tuple(group[rows] for group in self.labels),
            self.angles[rows],
            self.person[rows],
            self.eye[rows],
        )

    def resized(self, size: int) -> "PatchSet":
        """The same patches at another size, by an anti-aliased bilinear filter."""
        if size == self.size:
            return self
        parts = [
            F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True).round().byte()
            for part in self.images.split(CHUNK)
        ]
        return replace(self, images=torch.cat(parts))


def read_patches(folder: Path, part: str, attributes: Attributes) -> PatchSet:
    """The patches of one part, "train" or "test", of a folder with all/ and info/ (published: info/ beside dataset/).

    A name says the angles; labels come from info/gaze.csv, or from the names if there is no such file.
    Errors: ValueError, one line, or OSError, for a name, table or picture that is missing or wrong.
    """
    info, pictures = folder / INFO, folder / "all"
    if not pictures.is_dir():
        raise ValueError(f"{folder}: has no folder all; {MAKE}")
    names = read_list(info / LISTS[part])
    if not names:
        raise ValueError(
            f"{info / LISTS[part]}: names no patch; make the set again by redirection/crop_eyes.py, with --test-people "
            "or more people"
        )
    table = read_labels(info / LABELS, attributes) if (info / LABELS).is_file() else None
    try:
        parsed = [PatchName.parse(Path(name).name) for name in names]
    except ValueError as error:
        raise ValueError(f"{info / LISTS[part]}: {error}; {MAKE}") from None
    if nameless := next((name for name, its in zip(names, parsed, strict=True) if not its.eye), None):
        raise ValueError(f"{info / LISTS[part]}: '{nameless:.60}' does not say which eye (_L or _R); {MAKE}")
    rows = []
    for name, its in zip(names, parsed, strict=True):
        if table is not None and name not in table:
            raise ValueError(f"{info / LABELS}: has no row for {name}; make the table again")
        rows.append(
            attributes.labels_of_angles(its.angles, its.eye) if table is None else attributes.labels(table[name])
        )
    return PatchSet(
        tuple(names),
        read_images([pictures / Path(name).name for name in names]),
        tuple(torch.stack(group) for group in zip(*rows, strict=True)),
        torch.tensor([its.shown for its in parsed], dtype=torch.float32),
        torch.tensor([its.person for its in parsed]),
        torch.tensor([int(its.eye == "R") for its in parsed]),
    )


def signed(patches: torch.Tensor) -> torch.Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return patches.float() / 127.5 - 1


def read_images(paths: Sequence[Path]) -> torch.Tensor:
    """uint8 [N, 3, S, S] of square pictures of one size; ValueError, one line, for the first that is another."""
    images: np.ndarray | None = None
    for number, path in enumerate(paths):
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise Unreadable(f"{path}: has more than {LARGEST_FILE} bytes, so it is no patch of an eye")
        with open_image(data, str(path)) as image:
            width, height = image.size
        if images is None:
            if width != height:
                raise ValueError(f"{path}: is {width}x{height}, patches are square; {MAKE}")
            images = np.empty((len(paths), height, width, 3), np.uint8)
        if images.shape[1:3] != (height, width):
            raise ValueError(
                f"{path}: is {width}x{height}, {paths[0].name} is {images.shape[2]}x{images.shape[1]}; bring all "
                "patches to one size (redirection/crop_eyes.py)"
            )
        images[number] = np.asarray(read_picture(data, str(path)))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def split_by_person(parts: Sequence[PatchSet], last: int) -> tuple[PatchSet, PatchSet]:
    """All patches anew: of people up to number `last`, and of the rest. ValueError, one line, if a part is empty."""
    labels = tuple(torch.cat(group) for group in zip(*(part.labels for part in parts), strict=True))
    images, angles, person, eye = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("images", "angles", "person", "eye")
    )
    whole = PatchSet(sum((part.names for part in parts), ()), images, labels, angles, person, eye)
    halves = tuple(whole.subset(torch.nonzero(side)[:, 0]) for side in (person <= last, person > last))
    if not all(map(len, halves)):
        raise ValueError(f"--ids={last}: leaves one part empty, people are {int(person.min())} to {int(person.max())}")
    return halves
