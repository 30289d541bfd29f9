"""The embedded references of InterpGaze: patches of the world `people` at many angles, which lead other eyes there."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from eg3d.metrics.network_file import load_configured, save_network
from groundwork.files import WORLD_WEIGHTS
from groundwork.plain import check_types, check_within
from redirection.patch_sets import PatchSet

KIND = "reference patches"
EMBEDDED_REFERENCES = WORLD_WEIGHTS / "people_eye_references.safetensors"
LOOKS = [(p, v, h) for p in (-30, -15, 0, 15, 30) for v in (-10, 0, 10) for h in (-15, 0, 15)]
MOST_PATCHES = 4096


@dataclass(frozen=True, kw_only=True)
class GalleryConfig:
    """count: patches. size: their side, pixels."""

    count: int
    size: int

    def __post_init__(self):
        check_types(self)
        check_within("count", self.count, 1, MOST_PATCHES)
        check_within("size", self.size, 16, 512)

    def build(self) -> "Gallery":
        return Gallery(self)


class Gallery(nn.Module):
    """images uint8 [N, 3, S, S]; angles float [N, 3]: P, V, H in degrees that a patch shows."""

    def __init__(self, config: GalleryConfig):
        super().__init__()
        self.architecture = config
        self.register_buffer("images", torch.zeros(config.count, 3, config.size, config.size, dtype=torch.uint8))
        self.register_buffer("angles", torch.zeros(config.count, 3))

    def __len__(self) -> int:
        return len(self.images)


def gallery_of(patches: PatchSet, looks=LOOKS, each: int = 2) -> Gallery:
    """`each` patches, of different people if there are such, nearest to every look (P, V, H)."""
    rows: list[int] = []
    for look in looks:
        far = (patches.angles - torch.tensor(look, dtype=torch.float32)).abs().sum(1)
        people: set[int] = set()
        for row in far.argsort(stable=True).tolist():
            person = int(patches.person[row])
            if row not in rows and person not in people:
                rows.append(row)
                people.add(person)
            if len(people) == min(each, len(patches.person.unique())):
                break
    gallery = Gallery(GalleryConfig(count=len(rows), size=patches.size))
    gallery.images.copy_(patches.images[rows])
    gallery.angles.copy_(patches.angles[rows])
    return gallery


def save_gallery(path: Path, gallery: Gallery, facts: dict) -> None:
    save_network(path, KIND, gallery, facts)


def load_gallery(path: Path = EMBEDDED_REFERENCES) -> Gallery:
    """Errors: ValueError, one line, for a file that holds none."""
    return load_configured(path, KIND, GalleryConfig)[0]
