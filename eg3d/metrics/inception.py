"""Inception-v3 of 2015-12-05, the detector of FID, KID and IS, as a graph for torch-fidelity's weights file.

It differs from torchvision's in four places: averages of the pooling branches leave the padding out, the last block
pools by maximum, there are 1008 classes, and pictures are resized as TensorFlow 1 did.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import inception

from eg3d.metrics.detectors import Detector
from eg3d.metrics.network_file import filled, read_state

SIDE, CLASSES, FEATURES = 299, 1008, 2048
TENSORS = 472  # in the weights file


def resize_tf1(images: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """float [N, C, H, W] -> [N, C, side, side]: bilinear, source place = index * in / out, no anti-aliasing.

    Without the half-pixel shift that every framework makes today: with it FID is another number.
    """
    for axis in (2, 3):
        size = images.shape[axis]
        place = torch.arange(side, dtype=torch.float32, device=images.device) * (size / side)
        first = place.floor().long()
        share = (place - first).view(-1, 1) if axis == 2 else place - first
        a, b = images.index_select(axis, first), images.index_select(axis, (first + 1).clamp(max=size - 1))
        images = a + (b - a) * share
    return images


def _average(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _A(inception.InceptionA):
    def _forward(self, x):
        five, three = self.branch5x5_1(x), self.branch3x3dbl_1(x)
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(three))
        return [self.branch1x1(x), self.branch5x5_2(five), three, self.branch_pool(_average(x))]


class _C(inception.InceptionC):
    def _forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = x
        for layer in (self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4,
                      self.branch7x7dbl_5):  # fmt: skip
            double = layer(double)
        return [self.branch1x1(x), seven, double, self.branch_pool(_average(x))]


class _E(inception.InceptionE):
    pool = staticmethod(_average)

    def _forward(self, x):
        three, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return [
            self.branch1x1(x),
            torch.cat([self.branch3x3_2a(three), self.branch3x3_2b(three)], 1),
            torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
            self.branch_pool(self.pool(x)),
        ]


class _LastE(_E):
    pool = staticmethod(lambda x: F.max_pool2d(x, 3, stride=1, padding=1))


class InceptionV3(nn.Module):
    """uint8 [N, 3, H, W] of any size -> [N, 2048], before the classifier `fc`; names as in the weights file."""

    def __init__(self):
        super().__init__()
        conv, a, b, c, d = inception.BasicConv2d, _A, inception.InceptionB, _C, inception.InceptionD
        self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = a(192, 32), a(256, 64), a(288, 64)
        self.Mixed_6a = b(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (
            c(768, channels_7x7=width) for width in (128, 160, 160, 192)
        )
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = d(768), _E(1280), _LastE(2048)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (resize_tf1(images.float()) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2))
        x = F.max_pool2d(self.Conv2d_4a_3x3(x), 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))


def load_inception(path: Path, device="cpu") -> Detector:
    """The detector with torch-fidelity's (= pytorch-fid's) weights; ValueError, one line, for another file."""
    state, digest = read_state(path, "Inception")
    if len(state) != TENSORS:
        raise ValueError(
            f"{path}: holds {len(state)} tensors, torch-fidelity's Inception has {TENSORS}; give that file"
        )
    with torch.device("meta"):
        counters = [name for name in InceptionV3().state_dict() if name.endswith("num_batches_tracked")]
    state |= dict.fromkeys(counters, torch.zeros((), dtype=torch.long))  # the file has none
    network = filled(InceptionV3, state, path, "torch-fidelity's Inception")
    return Detector("inception-2015-12-05", network, FEATURES, digest, device, classifier=network.fc.weight)
