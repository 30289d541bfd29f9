import pytest
import torch

from l2cs.decode import binning_of, decode, decode_degrees, digitize
from l2cs.estimator import GazeEstimator
from l2cs.model import L2CS, Architecture
from l2cs.preprocess import WINDOWS, preprocess

PUBLISHED_COUNTS = [  # name, parameters with 90 bins, with 28 bins, state-dict entries
    ("ResNet18", 11_270_400, 11_206_788, 126),
    ("ResNet34", 21_378_560, 21_314_948, 222),
    ("ResNet50", 23_883_008, 23_628_932, 324),
    ("ResNet101", 42_875_136, 42_621_060, 630),
    ("ResNet152", 58_518_784, 58_264_708, 936),
]


@pytest.mark.parametrize("name, with_90, with_28, entries", PUBLISHED_COUNTS)
def test_published_networks_have_the_published_number_of_parameters_and_entries(name, with_90, with_28, entries):
    with torch.device("meta"):
        for bins, parameters in ((90, with_90), (28, with_28)):
            model = L2CS(Architecture.published(name, bins))
            assert sum(p.numel() for p in model.parameters()) == parameters
            assert len(model.state_dict()) == entries


def test_an_unknown_architecture_is_refused_instead_of_becoming_another():
    with pytest.raises(ValueError, match="unknown architecture 'resnet50'"):
        Architecture.published("resnet50")


def test_channels_of_small_networks_are_multiples_of_16():
    with pytest.raises(ValueError, match="multiple of 16"):
        Architecture.small(width=12)


def test_yaw_is_the_first_output_and_pitch_the_second(tiny_network):
    with torch.no_grad():
        tiny_network.fc_yaw_gaze.bias.fill_(3)
        tiny_network.fc_pitch_gaze.bias.fill_(-3)
        yaw, pitch = tiny_network.eval()(torch.zeros(1, 3, 32, 32))
    assert yaw.mean() > 1 and pitch.mean() < -1


def test_uniform_logits_decode_to_the_mean_lower_edge():
    assert decode_degrees(torch.zeros(1, 90), binning_of(90)).item() == pytest.approx(-2, abs=1e-4)
    assert decode_degrees(torch.zeros(1, 28), binning_of(28)).item() == pytest.approx(-1.5, abs=1e-4)


def test_all_weight_on_bin_45_decodes_to_exactly_zero():
    logits = torch.full((1, 90), -1e4)
    logits[0, 45] = 1e4
    assert decode(logits, binning_of(90)).item() == 0


def test_class_targets_are_lower_edges_and_the_last_value_stays_in_the_last_bin():
    degrees = torch.tensor([-180.0, -176.1, -176, 0, 3.9, 179.9, 180])
    assert digitize(degrees, binning_of(90)).tolist() == [0, 0, 1, 45, 45, 89, 89]
    assert digitize(torch.tensor([-42.0, 0, 41.9, 42]), binning_of(28)).tolist() == [0, 14, 27, 27]


def test_saturated_pixels_get_only_the_gradient_that_brings_them_back():
    image = torch.tensor([2.0, 2.0, -2.0, -2.0, 0.5]).repeat(16, 16)[:, :16].expand(1, 3, 16, 16).clone()
    image.requires_grad_(True)
    preprocess(image, 16).sum().backward()  # descent would darken every pixel
    assert (image.grad[image > 1] > 0).all()
    assert (image.grad[image < -1] == 0).all()
    assert (image.grad[image == 0.5] > 0).all()


def test_preprocessing_is_the_published_bytes_and_imagenet_statistics():
    white, black = preprocess(torch.ones(1, 3, 8, 8), 16), preprocess(-3 * torch.ones(1, 3, 8, 8), 16)
    assert white.shape == (1, 3, 16, 16)
    assert white[0, 1, 3, 3].item() == pytest.approx((1 - 0.456) / 0.224, rel=1e-5)
    assert black[0, 0, 3, 3].item() == pytest.approx(-0.485 / 0.229, rel=1e-5)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_a_window_is_cut_out_of_the_resized_picture(side):
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    left, top, right, bottom = (round(64 * edge) for edge in WINDOWS["eyes"])
    expected = preprocess(images, 64)[:, :, top:bottom, left:right]
    torch.testing.assert_close(preprocess(images, 64, "eyes"), expected, rtol=1e-4, atol=1e-4)


def test_a_network_with_a_window_sees_the_eyes_and_nothing_else():
    torch.manual_seed(0)
    estimator = GazeEstimator(L2CS(Architecture.small(input_size=64, window="eyes")))
    x = (0.5 * torch.randn(1, 3, 64, 64)).clamp(-1, 1).requires_grad_(True)
    sum(angle.square().sum() for angle in estimator(x)).backward()
    seen = x.grad.abs().sum(dim=(0, 1)) > 0
    assert seen[16:32, 12:52].float().mean() > 0.9
    seen[15:33, 11:53] = False  # a pixel more, for rounding
    assert not seen.any()


def test_windows_are_symmetric_so_that_a_mirrored_face_lies_in_them_too():
    for left, _, right, _ in WINDOWS.values():
        assert left + right == 1


def test_a_window_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="window 'mouth': must be all or eyes"):
        Architecture.small(window="mouth")
