import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from eg3d.ops import warp as warping
from eg3d.ops.bands import amplify_bands, filter_bank
from eg3d.ops.grid_sample import sample_at
from eg3d.ops.warp import SYM6, rotation, scaling, translation, warp


def double(*shape, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_(requires_grad)


def smooth(height: int, width: int) -> torch.Tensor:
    """A picture without a symmetry and without detail, [1, 1, H, W]."""
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return (torch.sin(x / 9) + torch.cos(y / 7 + x / 30))[None, None]


def test_sym6_is_an_orthogonal_low_pass():
    taps = torch.tensor(SYM6, dtype=torch.float64)
    assert taps.sum().item() == pytest.approx(math.sqrt(2), abs=1e-9)
    for shift in range(6):  # with itself shifted by an even number of taps
        product = (taps[2 * shift :] * taps[: len(taps) - 2 * shift]).sum().item()
        assert product == pytest.approx(float(shift == 0), abs=1e-9)


def test_enlarging_and_shrinking_alone_give_back_the_image():
    x = double(1, 2, 9, 14)
    nearly_nothing = translation(1e-12, 0)
    torch.testing.assert_close(warping._warp_one(x, nearly_nothing), x, rtol=0, atol=2e-6)
    assert torch.equal(warp(x, torch.eye(3)[None]), x)


def test_a_shift_by_whole_pixels_moves_them_and_reflects_what_comes_in():
    x = double(1, 1, 6, 7)
    moved = warp(x, translation(-2.0, 1.0)[None])  # reads two pixels further left, one further down
    inside = F.pad(x, (2, 0, 0, 1), mode="reflect")[:, :, 1:, :7]
    torch.testing.assert_close(moved, inside, rtol=0, atol=5e-6)


# The centroid of the taps, sum(j h_j) / sum(h_j) = 5.09826, lies this far beyond tap 5, in pixels of the image.
# Enlarging shifts by as much and shrinking shifts back, which cancels if the picture was not turned in between.
LOPSIDED_PX = 0.09826 / 2


@pytest.mark.parametrize(
    "to_input",
    [
        torch.eye(3, dtype=torch.float64) + 1e-12,
        scaling(-1, 1),
        rotation(math.pi / 2),
        rotation(math.pi),
        translation(0.3, -2.2),
        rotation(0.7) @ scaling(0.8, 1.2) @ translation(1.5, 0.25),
    ],
    ids=["nothing", "flip", "quarter turn", "half turn", "shift", "everything"],
)
def test_a_slope_is_read_where_the_matrix_says_up_to_the_lopsidedness_of_sym6(to_input):
    y, x = torch.meshgrid(torch.arange(30.0).double() - 14.5, torch.arange(40.0).double() - 19.5, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    points[:2] += LOPSIDED_PX
    read_x, read_y, _ = to_input @ points
    expected = (3 * (read_x - LOPSIDED_PX) - 2 * (read_y - LOPSIDED_PX)).view(30, 40)
    changed = warp((3 * x - 2 * y)[None, None], to_input[None])[0, 0]
    middle = (slice(11, 19), slice(16, 24))  # away from the edges, where the slope is reflected
    torch.testing.assert_close(changed[middle], expected[middle], rtol=0, atol=1e-4)


def test_half_a_pixel_of_a_smooth_picture_lies_between_its_neighbours():
    x = smooth(20, 26)
    moved = warp(x, translation(0.5, 0.0)[None])
    torch.testing.assert_close(moved[..., 3:-3], (x[..., 3:-3] + x[..., 4:-2]) / 2, rtol=0, atol=0.005)


def test_zooming_in_shows_the_middle_and_zooming_out_reflects():
    x = smooth(33, 33)
    inward = warp(x, scaling(0.5, 0.5)[None])
    torch.testing.assert_close(inward[..., ::2, ::2], x[..., 8:25, 8:25], rtol=0, atol=0.02)
    outward = warp(x, scaling(2, 2)[None])
    torch.testing.assert_close(outward[..., 9:24, 9:24], x[..., 2:31:2, 2:31:2], rtol=0, atol=0.02)
    assert outward[..., 2, 2].item() == pytest.approx(x[..., 12, 12].item(), abs=0.05)  # (2 - 16) * 2 + 16 = -12


def test_what_a_sample_becomes_does_not_depend_on_its_batch():
    x = double(3, 2, 12, 10)
    matrices = torch.stack([rotation(0.3), scaling(2.5, 1.8), translation(0.4, -7.0)])
    together = warp(x, matrices)
    for i in range(3):
        assert torch.equal(together[i : i + 1], warp(x[i : i + 1], matrices[i : i + 1]))


def test_first_and_second_gradients_of_the_warp():
    x = double(2, 1, 5, 6, requires_grad=True)
    matrices = torch.stack([rotation(0.3) @ scaling(1.2, 0.9), translation(0.4, -1.7)])
    assert gradcheck(lambda x: warp(x, matrices), x)
    assert gradgradcheck(lambda x: warp(x, matrices), x)
    assert gradgradcheck(lambda x: warp(x, matrices).square(), x)


def test_look_ups_are_those_of_pytorch_in_value_and_gradient():
    x, grid = double(2, 3, 5, 6, requires_grad=True), double(2, 4, 7, 2)
    expected = F.grid_sample(x, grid, align_corners=False)
    assert torch.equal(sample_at(x, grid), expected)
    weights = double(*expected.shape)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (sample_at(x, grid), expected)]
    assert torch.equal(*gradients)
    assert gradgradcheck(lambda x: sample_at(x, grid).square(), x)


def test_filter_bank_has_the_published_taps():
    bank = filter_bank()
    assert bank.shape == (4, 43)
    high = [0.03125, 0, -0.28125, 0.5, -0.28125, 0, 0.03125]
    assert bank[3, 18:25].tolist() == pytest.approx(high, abs=1e-9)
    assert bank[3].abs().sum().item() == pytest.approx(sum(map(abs, high)), abs=1e-9)
    assert bank[0, 21].item() == pytest.approx(0.125, abs=1e-9)
    assert bank[0, [0, -1]].tolist() == pytest.approx([-0.0000305] * 2, abs=5e-8)
    impulse = torch.zeros(43, dtype=torch.float64)
    impulse[21] = 1
    torch.testing.assert_close(bank.sum(dim=0), impulse, rtol=0, atol=1e-9)


def test_equal_gains_scale_the_image_and_the_lowest_band_holds_its_mean():
    x = double(2, 3, 24, 30)
    same = amplify_bands(x, torch.tensor([[1.0] * 4, [3.0] * 4]))
    torch.testing.assert_close(same[0], x[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(same[1], 9 * x[1], rtol=0, atol=1e-8)  # once along each axis
    grey = amplify_bands(torch.full((2, 1, 24, 24), 0.5), torch.tensor([[1.0, 0, 0, 0], [0.0, 1, 1, 1]]))
    torch.testing.assert_close(grey[0], torch.full((1, 24, 24), 0.5), rtol=0, atol=1e-6)
    torch.testing.assert_close(grey[1], torch.zeros(1, 24, 24), rtol=0, atol=1e-6)


def test_images_too_small_for_the_filter_bank_are_refused_in_one_line():
    with pytest.raises(ValueError, match="21 x 30 px are too small for imgfilter, which needs 22 px"):
        amplify_bands(torch.zeros(1, 3, 30, 21), torch.ones(1, 4))
