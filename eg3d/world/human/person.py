"""A person of the world of people: every number that makes one differ from another.

Each part draws from a generator of its own, keyed by (version, part, split, index): one more draw in a part changes no
other part, and two splits never share a person.
"""

from dataclasses import dataclass, replace

import numpy as np

from eg3d.world.human.brows import FaceHair
from eg3d.world.human.complexion import Complexion
from eg3d.world.human.hair import Hair
from eg3d.world.human.lamps import Setting
from eg3d.world.human.outfit import Outfit
from eg3d.world.human.physique import Expression, Shape
from groundwork.draw_keys import draw_key

HUMAN_VERSION = (
    1  # raise it when a face, a camera or a gaze of the same index changes: caches and draws are keyed by it
)


@dataclass(frozen=True)
class Person:
    """One person and the setting of the picture; hashable, so geometry can be cached by it."""

    name: str  # split/index it was drawn for
    shape: Shape
    complexion: Complexion
    hair: Hair
    face_hair: FaceHair
    outfit: Outfit
    setting: Setting

    @classmethod
    def draw(cls, split: str, index: int) -> "Person":
        """The person at a place; two splits never share one, because the split is part of the key."""

        def rng(part: str) -> np.random.Generator:
            return np.random.default_rng([draw_key(HUMAN_VERSION, f"{part}-{split}", index, 0), index])

        shape = Shape.draw(rng("shape"))
        traits = shape.male, shape.age, shape.ancestry
        hair = Hair.draw(rng("hair"), *traits)
        return cls(
            name=f"{split}/{index}",
            shape=shape,
            complexion=Complexion.draw(rng("complexion"), *traits),
            hair=hair,
            face_hair=FaceHair.draw(rng("face-hair"), *traits, hair),
            outfit=Outfit.draw(rng("outfit"), *traits),
            setting=Setting.draw(rng("setting")),
        )

    def mirrored(self) -> "Person":
        """The person in a mirror, setting and all."""
        parts = ("shape", "complexion", "hair", "face_hair", "outfit", "setting")
        return replace(self, **{part: getattr(self, part).mirrored() for part in parts})


def drawn_expression(person: Person, picture: int = 0) -> Expression:
    """The expression of a person in one of its pictures."""
    return Expression.draw(np.random.default_rng([draw_key(HUMAN_VERSION, f"expression-{person.name}", picture, 0)]))
