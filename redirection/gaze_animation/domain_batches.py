"""What a step of training sees: a batch of each domain, drawn apart, half of the time mirrored.

Every draw is keyed by the seed and the number of the step, so a run that goes on draws what an unbroken one would.
"""

from dataclasses import dataclass

import torch

from groundwork.draws import draw_key
from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.level_faces import SIDE, mirrored
from redirection.gaze_animation.painting_losses import Faces
from redirection.gaze_animation.portrait_lists import Portraits


@dataclass(frozen=True)
class DomainBatches:
    """size: side of a face, px. box: width and height in pictures of 256 px, None: by the distance of the eyes.

    legacy_mirror: as published, where of mirrored batches the eyes of X keep their order and those of Y their places.
    y_gaze: [N, 2], what `Faces` has of each face of y.
    """

    x: Portraits
    y: Portraits
    size: int
    box: tuple[float, float] | None
    batch: int
    seed: int = 0
    legacy_mirror: bool = False
    y_gaze: torch.Tensor | None = None

    def of_step(self, step: int) -> Faces:
        """Faces in [-1, 1] and boxes. ValueError, one line, for a picture that is damaged."""
        turned = torch.rand((), generator=self._generator("mirror", step)) < 0.5
        x, x_eyes = self.x.batch(self._rows("x", len(self.x), step), self.size)
        y_rows = self._rows("y", len(self.y), step)
        y, y_eyes = self.y.batch(y_rows, self.size)
        gaze = None if self.y_gaze is None else self.y_gaze[y_rows]
        if turned:
            x, right_eyes = mirrored(x, x_eyes)
            x_eyes = right_eyes.flip(1) if self.legacy_mirror else right_eyes
            y, right_eyes = mirrored(y, y_eyes)
            y_eyes = y_eyes if self.legacy_mirror else right_eyes
            gaze = None if gaze is None else gaze * gaze.new_tensor([-1.0, 1.0])
        return Faces(as_input(x), self.boxes(x_eyes), as_input(y), self.boxes(y_eyes), gaze)

    def pair(self, row: int) -> Faces:
        """One face of each domain, as they are: that row of Y, and one of X drawn for it."""
        x, x_eyes = self.x.batch(self._rows("x", len(self.x), row)[:1], self.size)
        y, y_eyes = self.y.batch([row], self.size)
        return Faces(as_input(x), self.boxes(x_eyes), as_input(y), self.boxes(y_eyes))

    def boxes(self, eyes: torch.Tensor) -> torch.Tensor:
        return boxes_around(eyes, scaled(self.box, self.size), self.size)

    def _rows(self, domain: str, count: int, step: int) -> torch.Tensor:
        """[batch] rows; all pictures come once before one comes again."""
        places = torch.arange(step * self.batch, (step + 1) * self.batch)
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
