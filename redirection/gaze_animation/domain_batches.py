"""What a step of training sees: a batch of each domain, drawn apart, half of the time mirrored.

Every draw is keyed by the seed and the number of the step, so a run that goes on draws what an unbroken one would.
"""

from dataclasses import dataclass

import torch

from groundwork.draws import draw_key
from redirection.gaze_animation.eye_boxes import boxes_around, eye_crops
from redirection.gaze_animation.level_faces import SIDE, mirrored
from redirection.gaze_animation.painting_losses import Faces
from redirection.gaze_animation.portrait_lists import Portraits

MIRROR = torch.tensor([-1.0, 1.0])  # of yaw and pitch
MOST_ASKED = torch.tensor([22.0, 13.0])  # degrees


@dataclass(frozen=True)
class DomainBatches:
    """size: side of a face, px. box: width and height in pictures of 256 px, None: by the distance of the eyes.

    legacy_mirror: as published, where of mirrored batches the eyes of X keep their order and those of Y their places.
    gaze: [N, 2] of x and of y, what `Faces` has of each face, where it is known; reads: how many faces of each domain
    Er reads besides.
    """

    x: Portraits
    y: Portraits
    size: int
    box: tuple[float, float] | None
    batch: int
    seed: int = 0
    legacy_mirror: bool = False
    gaze: tuple[torch.Tensor, torch.Tensor] | None = None
    reads: int = 0

    def of_step(self, step: int) -> Faces:
        """Faces in [-1, 1] and boxes. ValueError, one line, for a picture that is damaged."""
        turned = torch.rand((), generator=self._generator("mirror", step)) < 0.5
        x, x_eyes = self.x.batch(self._rows("x", len(self.x), step), self.size)
        y_rows = self._rows("y", len(self.y), step)
        y, y_eyes = self.y.batch(y_rows, self.size)
        known = {} if self.gaze is None else self._known(y_rows, step)
        if turned:
            x, right_eyes = mirrored(x, x_eyes)
            x_eyes = right_eyes.flip(1) if self.legacy_mirror else right_eyes
            y, right_eyes = mirrored(y, y_eyes)
            y_eyes = y_eyes if self.legacy_mirror else right_eyes
            known = {name: value if name == "read" else value * MIRROR for name, value in known.items()}
            known |= {"read": swapped(known["read"])} if "read" in known else {}
        return Faces(as_input(x), self.boxes(x_eyes), as_input(y), self.boxes(y_eyes), **known)

    def _known(self, y_rows: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        """What `Faces` holds of gazes, before it is mirrored."""
        asked = (torch.rand((len(y_rows), 2), generator=self._generator("asked", step)) * 2 - 1) * MOST_ASKED
        found = {"y_gaze": self.gaze[1][y_rows], "asked": asked}
        if self.reads:
            crops, gazes = [], []
            for name, domain, gaze in (("read-x", self.x, self.gaze[0]), ("read-y", self.y, self.gaze[1])):
                rows = self._rows(name, len(domain), step, self.reads)
                faces, eyes = domain.batch(rows, self.size)
                crops.append(eye_crops(as_input(faces), self.boxes(eyes)))
                gazes.append(gaze[rows])
            found |= {"read": torch.cat(crops), "read_gaze": torch.cat(gazes)}
        return found

    def pair(self, row: int) -> Faces:
        """One face of each domain, as they are: that row of Y, and one of X drawn for it."""
        x, x_eyes = self.x.batch(self._rows("x", len(self.x), row)[:1], self.size)
        y, y_eyes = self.y.batch([row], self.size)
        return Faces(as_input(x), self.boxes(x_eyes), as_input(y), self.boxes(y_eyes))

    def boxes(self, eyes: torch.Tensor) -> torch.Tensor:
        return boxes_around(eyes, scaled(self.box, self.size), self.size)

    def _rows(self, domain: str, count: int, step: int, batch: int | None = None) -> torch.Tensor:
        """[batch] rows; all pictures come once before one comes again."""
        batch = batch or self.batch
        places = torch.arange(step * batch, (step + 1) * batch)
        orders = {
            epoch: torch.randperm(count, generator=self._generator(domain, epoch))
            for epoch in (places // count).unique().tolist()
        }
        return torch.stack([orders[place // count][place % count] for place in places.tolist()])

    def _generator(self, phase: str, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(draw_key(self.seed, phase, 0, number))


def scaled(box: tuple[float, float] | None, size: int) -> tuple[float, float] | None:
    """A box for pictures of 256 px -> the same for pictures of `size`."""
    return None if box is None else (box[0] * size / SIDE, box[1] * size / SIDE)


def as_input(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def swapped(crops: torch.Tensor) -> torch.Tensor:
    """Crops of both eyes [M, 6, s, s] of faces -> those of the mirrored faces."""
    return crops.unflatten(1, (2, 3)).flip(1, 4).flatten(1, 2)
