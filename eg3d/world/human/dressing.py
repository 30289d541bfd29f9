"""A bare head and what it wears -> one mesh: hair, lashes, glasses, clothes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eg3d.world.human.garments import garments
from eg3d.world.human.glasses import glasses
from eg3d.world.human.head_shape import HumanMesh, human_head
from eg3d.world.human.lashes import lashes
from eg3d.world.human.locks import beard_locks, locks
from eg3d.world.human.person import Person
from eg3d.world.human.pieces import Piece


@dataclass(frozen=True)
class DressedMesh:
    """A head with all its pieces. The head's own vertices come first, in its order; see `HumanMesh`, `Piece`.

    vertices, normals f32 [V, 3], faces i32 [F, 3], part u8 [F]; coords f32 [V, 3]: `rest` on the head, the piece's
    own coordinates on a piece; tangents f32 [V, 3]: zero off the strands.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    coords: np.ndarray
    tangents: np.ndarray


def dressed(person: Person, head: HumanMesh) -> DressedMesh:
    """The head of this person (any gaze, any expression) with its hair, lashes, glasses and clothes."""
    pieces = [*worn(person), *lashes(person.face_hair, head), *beard_locks(person.face_hair, head)]
    starts = np.cumsum([len(head.vertices)] + [len(p.vertices) for p in pieces])
    return DressedMesh(
        np.concatenate([head.vertices] + [p.vertices for p in pieces]),
        np.concatenate([head.normals] + [p.normals for p in pieces]),
        np.concatenate([head.faces] + [p.faces + np.int32(at) for p, at in zip(pieces, starts[:-1], strict=True)]),
        np.concatenate([head.part] + [np.full(len(p.faces), p.part, np.uint8) for p in pieces]),
        np.concatenate([head.rest] + [p.coords for p in pieces]),
        np.concatenate([np.zeros_like(head.vertices)] + [p.tangents for p in pieces]),
    )


@lru_cache(maxsize=8)
def worn(person: Person) -> tuple[Piece, ...]:
    """What neither gaze nor expression moves: hair, glasses, clothes."""
    head = human_head(person)
    return (
        *locks(person.hair, head),
        *glasses(person.outfit, head),
        *garments(person.outfit, head),
    )
