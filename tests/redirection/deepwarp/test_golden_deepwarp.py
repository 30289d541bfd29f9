"""Agreement with the re-implementation of DeepWarp (tests/data/redirection_baselines.*); the sampling rule."""

import golden
import pytest
import torch
from golden_redirectors import drawn_picture, tensorflow_value

from redirection.deepwarp.gaze_warp import GazeWarp, sample, warp_losses
from redirection.tensorflow_names import fill_from_variables, variables_of


@pytest.fixture(scope="module")
def case():
    facts, arrays = golden.load("redirection_baselines")
    variables = {name: tensorflow_value(name, shape) for name, shape in facts["dw_variables"].items()}
    pictures = [(0.5 + 0.5 * drawn_picture(name, 41, 51)).clamp(0, 1) for name in ("dw_x", "dw_t")]
    return facts, arrays, variables, pictures


def test_the_names_of_the_variables_are_all_and_only_the_published_ones(case):
    names = [name for name, _ in variables_of(GazeWarp(), "deepwarp").values()]
    assert sorted(names) == sorted(case[0]["dw_variables"])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_both_warps_and_the_losses_equal_the_published_ones(case, mode):
    facts, arrays, variables, (source, target) = case
    network = GazeWarp().train(mode == "train")
    fill_from_variables(network, "deepwarp", variables)
    with torch.no_grad():
        warped = network(source, (arrays["dw_angle"] - arrays["dw_re_angle"]).float())
    losses = warp_losses(warped, target)
    assert losses.keys() == facts[f"dw_losses_{mode}"].keys()
    for name, expected in facts[f"dw_losses_{mode}"].items():
        assert losses[name].item() == pytest.approx(expected, rel=1e-5), name
    golden.assert_golden(golden.stats(warped.output), arrays[f"dw_output_{mode}_stats"], warped.output)
    thin = warped.output[..., 1::2, 1::2].permute(0, 2, 3, 1)
    # Norms by the statistics of two patches enlarge rounding errors: the same in float64 is up to 4e-4 from the stored
    # picture, but only 8e-6 with stored statistics.
    assert (thin - arrays[f"dw_output_{mode}"]).abs().max() < (5e-4 if mode == "train" else 2e-5)


def test_a_sample_outside_or_on_the_last_row_or_column_shows_the_pixel_itself():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    for right, down, first_row in (
        (1, 0, [1, 2, 2, 3]),
        (-1, 0, [0, 0, 1, 2]),
        (0, 2, [0, 1, 2, 3]),
        (0, 1, [4, 5, 6, 3]),
    ):
        flow = torch.tensor([2 * right / 3, 2 * down / 2]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
        assert sample(x, flow)[0, 0, 0].tolist() == pytest.approx(first_row)
    half = torch.tensor([1 / 3, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    assert sample(x, half)[0, 0, 0].tolist() == pytest.approx([0.5, 1.5, 2.5, 3])


def test_without_a_flow_nothing_moves():
    x = torch.rand(2, 3, 41, 51)
    assert torch.allclose(sample(x, torch.zeros(2, 2, 41, 51)), x, atol=1e-5)
