"""Networks that paint what a test can foresee, and a picture of faces with known lids."""

import numpy as np
import torch

from redirection.eye_patches import LIDS
from redirection.gaze_animation.box_tones import RIM
from redirection.gaze_animation.gaze_animator import AnimatorConfig, EyePair, blank
from redirection.lid_points import LidSource, NoLids


class Painter:
    """Paints eyes in one colour: correction in blue, codes (a, b) in red a and green b. The rest as the networks do."""

    def __init__(self, size=64):
        self.config = AnimatorConfig(size=size, ngf=2, nef=2, n_layers_g=3, own=2, content=2)
        self.asked = []

    def to(self, device):
        return self

    def content(self, faces, boxes):
        return faces.mean(dim=(1, 2, 3)).view(-1, 1)

    def correct(self, faces, boxes, content=None):
        self.asked.append(None if content is None else float(content[0, 0]))
        return self._in_boxes(faces, boxes, (-1.0, -1.0, 1.0))

    def ends(self, faces, boxes):
        content = self.content(faces, boxes)
        return EyePair(torch.tensor([[0.5, 0.0]]), content), EyePair(torch.tensor([[0.1, 0.2]]), content)

    def paint(self, faces, boxes, gaze, content):
        return self._in_boxes(faces, boxes, (float(gaze[0, 0]), float(gaze[0, 1]), -1.0))

    def frame(self, faces, boxes, alpha, ends=None):
        there, camera = ends or self.ends(faces, boxes)
        return self.paint(faces, boxes, alpha * camera.gaze + (1 - alpha) * there.gaze, there.content)

    def _in_boxes(self, faces, boxes, colour):
        inner = boxes + torch.tensor([1.0, 1.0, -1.0, -1.0]) * RIM  # at the border a face goes on as it is
        blanked, mask = blank(faces, inner)
        return blanked + mask * torch.tensor(colour).view(1, 3, 1, 1)


def lids_at(x, y, apart=60.0, height=8.0):
    """Lids of a level face whose eyes' middle is (x, y)."""
    shape = np.array([(-12, 0), (-6, -1), (6, -1), (12, 0), (6, 1), (-6, 1)], float) * (1, height)
    return {"R": shape + (x - apart / 2, y), "L": shape + (x + apart / 2, y)}


def points_of(lids):
    """68 points of a face with these lids; the others lie between its eyes."""
    points = np.repeat(np.concatenate(list(lids.values())).mean(axis=0, keepdims=True), 68, axis=0)
    for eye, which in LIDS.items():
        points[which] = lids[eye]
    return points


class KnownLids(LidSource):
    """A source that knows where lids are: {name: faces}."""

    name = "known"

    def __init__(self, faces):
        self.faces = faces

    def points(self, picture, name):
        return self.every(picture, name)[0]

    def every(self, picture, name):
        found = self.faces(name)
        if not found:
            raise NoLids("no face found")
        return [points_of(lids) for lids in found]


def grey(height=200, width=320, seed=0):
    return np.random.default_rng(seed).integers(80, 120, (height, width, 3), dtype=np.uint8)
