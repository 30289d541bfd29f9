"""docs/gaze_term.md, "In your own training loop": its code, run on a generator that knows nothing of EG3D."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from eg3d.gaze.networks import load_gaze_network
from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gaze_term.md"
LOOP = re.search(r"## In your own training loop\n.*?```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]
PIXELS = torch.stack(torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="xy"), dim=-1)
WHITE, BROWN, RED = torch.tensor([[0.9, 0.9, 0.9], [-0.5, -0.7, -0.9], [0.4, -0.5, -0.5]])


class Cartoon(nn.Module):
    """A face of flat discs; z is its skin. A linear function of the camera moves its eyes, and is zero at first."""

    def __init__(self):
        super().__init__()
        self.look = nn.Linear(25, 2)
        nn.init.zeros_(self.look.weight)
        nn.init.zeros_(self.look.bias)

    def forward(self, z, cameras):
        skin, moved = torch.tensor([0.45, 0.1, -0.2]) + 0.15 * z, 3.5 * torch.tanh(self.look(cameras))
        discs = [((32, 34), (19, 25), skin), ((32, 37), (2, 1.5), 0.6 * skin - 0.2), ((32, 45), (6, 1.2), RED)]
        for eye in torch.tensor([[22.5, 29.0], [41.5, 29.0]]):
            discs += [(eye, (5.5, 4.5), WHITE), (eye + moved, (2.8, 2.8), BROWN)]
        image = torch.full((len(z), 3, 64, 64), 0.2)
        for centre, radii, colour in discs:
            away = (PIXELS - torch.as_tensor(centre).expand(len(z), 2)[:, None, None]) / torch.tensor(radii)
            covered = torch.sigmoid(3 * min(radii) * (1 - away.square().sum(-1).clamp(min=1e-6).sqrt()))[:, None]
            image = image + (colour.expand(len(z), 3)[:, :, None, None] - image) * covered
        return image


def some_cameras(count: int) -> torch.Tensor:
    yaw, pitch = torch.rand(2, count) * 0.8 - 0.4
    return make_label(lookat_pose(yaw, pitch), intrinsics_matrix(FFHQ_FOCAL))


def slope(x: torch.Tensor, y: torch.Tensor) -> float:
    """Of y on x: 0, the eyes follow the camera; 1, they follow the face."""
    return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


@torch.no_grad()
def slopes(generator, network) -> tuple[float, float]:
    """Of yaw and pitch as the network reads them against their targets."""
    cameras = some_cameras(48)
    found, target = network(generator(torch.randn(48, 1), cameras)), gaze_target(cameras)
    return slope(target.yaw, found.yaw), slope(target.pitch, found.pitch)


def run(loop: str) -> nn.Module:
    """The document's loop on a new cartoon; `adversarial` stands for whatever else one trains for."""
    generator = Cartoon()
    world = dict(
        generator=generator,
        adversarial=lambda images: (images.mean() - 0.1).square(),
        batches=[(torch.randn(8, 1), some_cameras(8)) for _ in range(20)],
        optimiser=torch.optim.Adam(generator.parameters(), lr=0.02),
    )
    exec(loop, world)
    return generator


@pytest.fixture(scope="module")
def judge():
    return load_gaze_network("embedded-judge")


def test_eight_lines_turn_the_eyes_of_a_generator_that_knows_nothing_of_eg3d(judge):
    torch.manual_seed(0)
    assert sum(map(bool, LOOP.splitlines())) == 8 and "weight=5.0" in LOOP
    before, after = slopes(Cartoon(), judge), slopes(run(LOOP), judge)
    assert max(map(abs, before)) < 0.05
    assert min(after) > 0.6 and max(after) < 1.6


def test_the_same_loop_without_the_term_leaves_the_eyes_on_the_camera(judge):
    torch.manual_seed(0)
    assert max(map(abs, slopes(run(LOOP.replace("weight=5.0", "weight=0.0")), judge))) < 0.25
