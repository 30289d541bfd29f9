"""Faces in photos, and five points of each: MTCNN (Zhang et al. 2016, "Joint Face Detection and Alignment Using
Multi-task Cascaded Convolutional Networks"), the detector that EG3D's photos are cropped by.

Three small networks look one after the other: the first at windows of 12 px in the photo and in shrunk copies of it,
the second at what the first takes for faces, in 24 px, the third at what is left, in 48 px. Their weights lie in the
package `mtcnn`.

The third network's points depend on how its box lies round the face. So it looks at each face again, in several boxes
and mirrored, and the points are the mean. Then a crop that is cropped again stays where it is: docs/photos.md.

The networks do not see the same in a face and in its mirror image. So a photo in which they find nothing is looked at
once more, mirrored.
"""

import io
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.ops import nms

from eg3d.faces.packaged import Package, PackagedFile

PACKAGE = Package(
    module="mtcnn",
    version="1.0.0",
    install="make photos, or: pip install mtcnn==1.0.0",
    licence="MIT; trained on research data, and its author calls the weights not for commercial use (ipazc/mtcnn#53)",
    credit="MTCNN, Zhang et al. 2016; weights of the package mtcnn, Ivan de Paz Centeno",
)
FILES = {
    "P": PackagedFile(
        PACKAGE, "assets/weights/pnet.lz4", "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5"
    ),
    "R": PackagedFile(
        PACKAGE, "assets/weights/rnet.lz4", "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee"
    ),
    "O": PackagedFile(
        PACKAGE, "assets/weights/onet.lz4", "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3"
    ),
}

LONGEST = 1000  # px of the longer side that is searched; larger photos are shrunk first
SMALLEST = 40  # px of a face there
WINDOW, STRIDE = 12, 2  # px: what the first network sees of a face, and how far apart
STEP = 0.709  # from one shrunk copy to the next, 1 / sqrt(2)
THRESHOLDS = (0.6, 0.7, 0.7)  # of the three networks' probabilities
SAME_IN_A_COPY, SAME = 0.5, 0.7  # overlap from which two boxes are one face
AT_ONCE = 512  # boxes that a network looks at together
# The boxes in which a face is looked at again, round its own: (right, down, larger), parts of half a side.
LOOKS = ((0.07, 0.07, 0.9), (-0.07, -0.07, 0.9), (0.07, -0.07, 1.1), (-0.07, 0.07, 1.1))
MIRRORED = [1, 0, 2, 4, 3]  # the five points of a mirrored face


class Faces(NamedTuple):
    """Faces of a photo, the surest first; float64 in pixels of the photo, x right, y down, the first pixel spans 0..1.

    boxes [N, 4]: left, top, right, bottom; scores [N] in 0..1; points [N, 5, 2] in the order of `geometry.landmarks`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray


class Mtcnn:
    """`Mtcnn(device)(photo)`; the same numbers every time. Faces smaller than 4 % of the longer side are not found."""

    def __init__(self, device="cpu"):
        self.device = torch.device(device)
        self.networks = {name: network_of(name, weights_of(name)).to(device) for name in FILES}

    @torch.no_grad()
    def __call__(self, photo: Image.Image) -> Faces:
        factor = min(1.0, LONGEST / max(photo.size))
        size = [max(1, round(side * factor)) for side in photo.size]
        small = photo if factor == 1 else photo.resize(size, Image.Resampling.BOX)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).to(self.device)
        boxes, scores, points = self._found(pixels)
        if not len(scores):
            boxes, scores, points = self._found(pixels.flip(2))
            boxes = boxes[:, [2, 1, 0, 3]] * boxes.new_tensor([-1, 1, -1, 1]) + boxes.new_tensor([size[0], 0] * 2)
            points = points[:, MIRRORED] * points.new_tensor([-1, 1]) + points.new_tensor([size[0], 0])
        back = torch.tensor([photo.width / size[0], photo.height / size[1]], dtype=torch.float64)
        boxes, scores, points = (values.double().cpu() for values in (boxes, scores, points))
        return Faces((boxes * back.repeat(2)).numpy(), scores.numpy(), (points * back).numpy())

    def _found(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """uint8 [3, H, W] -> boxes [N, 4], scores [N] and points [N, 5, 2] of its faces, the surest first."""
        sums = summed(pixels)
        boxes, scores = self._sure(sums, self._refined(sums, self._windows(sums)))
        order = scores.argsort(descending=True, stable=True)
        return boxes[order], scores[order], self._points(sums, boxes[order])

    def _windows(self, sums: torch.Tensor) -> torch.Tensor:
        """Photo as `summed` has it -> square boxes [N, 4] that may hold a face."""
        height, width = (side - 1 for side in sums.shape[1:])
        whole = torch.tensor([[0.0, 0.0, width, height]], device=self.device)
        found, scores, scale = [], [], WINDOW / SMALLEST
        while min(size := (round(height * scale), round(width * scale))) >= WINDOW:
            shift, faces = self.networks["P"](cut_out(sums, whole, size))
            row, column = (faces[0] > THRESHOLDS[0]).nonzero().unbind(1)
            scales = torch.tensor([width / size[1], height / size[0]], device=self.device)
            corner = STRIDE * torch.stack([column, row], dim=1)
            boxes = torch.cat([corner, corner + WINDOW], dim=1) * scales.repeat(2)
            score = faces[0, row, column]
            kept = nms(boxes, score, SAME_IN_A_COPY)
            found.append(moved(boxes, shift[0, :, row, column].T)[kept])
            scores.append(score[kept])
            scale *= STEP
        if not found:
            return torch.zeros(0, 4, device=self.device)
        boxes, scores = torch.cat(found), torch.cat(scores)
        return squared(boxes[nms(boxes, scores, SAME)])

    def _refined(self, sums: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Those boxes [N, 4] that the second network takes for faces, moved and square."""
        shift, scores = self._looked_at("R", sums, boxes)
        sure = scores > THRESHOLDS[1]
        boxes, shift, scores = boxes[sure], shift[sure], scores[sure]
        kept = nms(boxes, scores, SAME)
        return squared(moved(boxes[kept], shift[kept]))

    def _sure(self, sums: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The faces among boxes [N, 4], as the third network sees them: boxes [M, 4], scores [M]."""
        shift, _, scores = self._looked_at("O", sums, boxes)
        sure = scores > THRESHOLDS[2]
        boxes, scores = moved(boxes[sure], shift[sure]), scores[sure]
        kept = apart(boxes, scores)
        return boxes[kept], scores[kept]

    def _points(self, sums: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Five points [M, 5, 2] of faces in boxes [M, 4]: the mean of all looks at them."""
        square = squared(boxes)
        centre, half = (square[:, :2] + square[:, 2:]) / 2, (square[:, 2:] - square[:, :2]) / 2
        x, y, size = torch.tensor(LOOKS, device=self.device).T[:, :, None, None]
        centre = centre + torch.cat([x, y], dim=2) * half  # [looks, M, 2]
        looks = torch.cat([centre - half * size, centre + half * size], dim=2).flatten(0, 1).round()
        side = (looks[:, 2:] - looks[:, :2])[:, None]
        plain = self._looked_at("O", sums, looks)[1].unflatten(1, (2, 5)).mT
        mirrored = self._looked_at("O", sums, looks, mirror=True)[1].unflatten(1, (2, 5)).mT[:, MIRRORED]
        mirrored = mirrored * mirrored.new_tensor([-1, 1]) + mirrored.new_tensor([1, 0])
        points = looks[:, None, :2] + (plain + mirrored) / 2 * side
        return points.unflatten(0, (len(LOOKS), len(boxes))).mean(dim=0)

    def _looked_at(
        self, name: str, sums: torch.Tensor, boxes: torch.Tensor, mirror: bool = False
    ) -> tuple[torch.Tensor, ...]:
        """What a network says about each box, or about its mirror image."""
        network = self.networks[name]
        parts = boxes.split(AT_ONCE) if len(boxes) else [boxes]
        seen = (cut_out(sums, part, (network.side, network.side)) for part in parts)
        said = [network(pixels.flip(3) if mirror else pixels) for pixels in seen]
        return tuple(torch.cat(values) for values in zip(*said, strict=True))


# ------------------------------------------------------------------ networks


class WindowNet(nn.Module):
    """The first network: photo [B, 3, H, W] -> shifts [B, 4, h, w] of the windows' edges, faces [B, h, w]."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(3, 10), nn.MaxPool2d(2, ceil_mode=True), *_convolution(10, 16), *_convolution(16, 32)
        )
        self.shift, self.face = nn.Conv2d(32, 4, 1), nn.Conv2d(32, 2, 1)

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(photo)
        return self.shift(features), self.face(features).softmax(dim=1)[:, 1]


class BoxNet(nn.Module):
    """The second network: boxes [N, 3, 24, 24] -> shifts [N, 4] of their edges, faces [N]."""

    side = 24

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(3, 28), _pool(3), *_convolution(28, 48), _pool(3), *_convolution(48, 64, 2)
        )
        self.head = nn.Sequential(nn.Linear(576, 128), nn.PReLU(128))
        self.shift, self.face = nn.Linear(128, 4), nn.Linear(128, 2)

    def forward(self, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.head(_flat(self.body(boxes)))
        return self.shift(features), self.face(features).softmax(dim=1)[:, 1]


class PointNet(nn.Module):
    """The third network: boxes [N, 3, 48, 48] -> shifts [N, 4], points [N, 10] (five x, five y) as parts of the box,
    faces [N]."""

    side = 48

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(3, 32), _pool(3), *_convolution(32, 64), _pool(3), *_convolution(64, 64), _pool(2),
            *_convolution(64, 128, 2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(1152, 256), nn.PReLU(256))
        self.shift, self.points, self.face = nn.Linear(256, 4), nn.Linear(256, 10), nn.Linear(256, 2)

    def forward(self, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.head(_flat(self.body(boxes)))
        return self.shift(features), self.points(features), self.face(features).softmax(dim=1)[:, 1]


def _convolution(inputs: int, outputs: int, side: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, side), nn.PReLU(outputs)


def _pool(side: int) -> nn.Module:
    return nn.MaxPool2d(side, 2, ceil_mode=True)


def _flat(features: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> [N, W*H*C]: the networks were trained on pictures that lie on their side."""
    return features.permute(0, 3, 2, 1).flatten(1)


def weights_of(name: str) -> list[np.ndarray]:
    """The arrays of a network's file, in the order of its layers."""
    data = FILES[name].read()  # the right bytes, or an error: only therefore joblib, which can run code, may read them
    try:
        import joblib
        import lz4.frame  # noqa: F401, joblib needs it for these files
    except ImportError as error:
        raise ValueError(f"the weights of mtcnn need {error.name} to be unpacked; {PACKAGE.install}") from None
    return joblib.load(io.BytesIO(data))


def network_of(name: str, weights: list[np.ndarray]) -> nn.Module:
    """The network filled with its arrays: per layer a weight, a bias and, where one follows, the slopes of a PReLU.

    Convolutions are stored as [h, w, in, out], linear layers as [in, out].
    """
    network = {"P": WindowNet, "R": BoxNet, "O": PointNet}[name]()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.PReLU)]
    parameters = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    with torch.no_grad():
        for parameter, array in zip(parameters, weights, strict=True):
            array = torch.from_numpy(np.array(array, dtype=np.float32))
            if parameter.ndim > 1:
                array = array.permute(3, 2, 0, 1) if parameter.ndim == 4 else array.T
            parameter.copy_(array.reshape(parameter.shape))
    return network.eval().requires_grad_(False)


# ------------------------------------------------------------------ boxes [N, 4]: left, top, right, bottom


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """0..255 -> what the networks see."""
    return (pixels.float() - 127.5) / 128


def moved(boxes: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Boxes whose edges move by `shift` [N, 4], parts of their width and height."""
    return boxes + shift * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def squared(boxes: torch.Tensor) -> torch.Tensor:
    """The boxes as squares of their longer side, round the same centres."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def apart(boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Which boxes are left if each takes away the less sure ones that it covers, or that cover it: part of a face in
    the box of another is one face. The overlap counts as a part of the smaller box."""
    corner = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    other = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    shared = (other - corner).clamp(min=0).prod(dim=2) / torch.minimum(area[:, None], area[None]).clamp(min=1e-9)
    kept: list[int] = []
    for number in scores.argsort(descending=True, stable=True).tolist():
        if all(shared[number, other] <= SAME for other in kept):
            kept.append(number)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def summed(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [3, H, W] -> [3, H+1, W+1], the sum of all pixels above and left of each corner."""
    return F.pad(pixels.int().cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32), (1, 0, 1, 0))


def cut_out(sums: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The pixels of boxes [N, 4], rounded to whole ones, averaged to `size` (h, w); black outside the photo.

    `sums`: of `summed`. An average over cells of whole pixels, which overlap where the box has no multiple of `size`,
    as torch's "area" does: -> [N, 3, h, w] as the networks see it.
    """
    start = boxes[:, :2].round().long()
    sides = (boxes[:, 2:].round().long() - start).clamp(min=1)

    def cells(axis: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where the cells begin and end in the photo, [N, count], and how many pixels they have, also outside."""
        number, side = torch.arange(count, device=boxes.device), sides[:, axis, None]
        low = start[:, axis, None] + number * side // count
        high = start[:, axis, None] + ((number + 1) * side + count - 1) // count
        most = sums.shape[2 - axis] - 1
        return low.clamp(0, most), high.clamp(0, most), high - low

    def corner(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return sums[:, y[:, :, None], x[:, None, :]]  # [3, N, h, w]

    (y0, y1, h), (x0, x1, w) = cells(1, size[0]), cells(0, size[1])
    total = corner(y1, x1) - corner(y0, x1) - corner(y1, x0) + corner(y0, x0)
    return normalised(total.float() / (h[:, :, None] * w[:, None, :])).transpose(0, 1)
