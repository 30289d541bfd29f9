import pytest
import torch
from torch.nn import functional as F

from eg3d.metrics.inception import CLASSES, TENSORS, InceptionV3, load_inception, resize_tf1


def images(n: int = 2, side: int = 48, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture(scope="module")
def weights():
    """A state dict in the layout of torch-fidelity's file, with random numbers that keep activations finite."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in InceptionV3().state_dict().items() if "num_batches" not in name}
    draws, found = torch.Generator().manual_seed(0), {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=draws)
        if value.ndim == 4:
            value *= (2 / value[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            value = 0.5 + torch.rand(shape, generator=draws)
        else:
            value *= 0.1
        found[name] = value
    return found


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def detector(file):
    return load_inception(file)


def test_the_layout_has_472_tensors_with_the_published_names(weights):
    assert len(weights) == 472 and sum(name.endswith(".conv.weight") for name in weights) == 94
    assert weights["fc.weight"].shape == (1008, 2048) and weights["fc.bias"].shape == (1008,)
    for name in ("Conv2d_3b_1x1.conv.weight", "Mixed_5b.branch5x5_2.bn.running_var", "Mixed_6a.branch3x3dbl_3.bn.bias",
                 "Mixed_6e.branch7x7dbl_5.conv.weight", "Mixed_7a.branch7x7x3_4.bn.weight",
                 "Mixed_7c.branch3x3dbl_3b.bn.running_mean", "Mixed_7c.branch_pool.conv.weight"):  # fmt: skip
        assert name in weights


@pytest.mark.parametrize("side", [128, 256, 512])
def test_two_formulations_of_tensorflows_resize_agree(side):
    x = images(1, side).float()
    theta = torch.tensor([[[1.0, 0, 1 / side - 1 / 299], [0, 1, 1 / side - 1 / 299]]])
    grid = F.affine_grid(theta, (1, 3, 299, 299), align_corners=False)
    other = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    found = resize_tf1(x)
    assert (found - other).abs().max() < 0.02  # grey levels
    assert (found - F.interpolate(x, (299, 299), mode="bilinear")).abs().max() > 10  # what must not be taken


def test_resize_by_hand():
    row = torch.tensor([0.0, 3, 6]).expand(1, 1, 3, 3)
    assert resize_tf1(row, 4)[0, 0, 0].tolist() == [0, 2.25, 4.5, 6]  # places 0, 0.75, 1.5, 2.25, the last clamped
    assert resize_tf1(row.mT, 4)[0, 0, :, 0].tolist() == [0, 2.25, 4.5, 6]


def test_features_are_2048_numbers_independent_of_the_batch(detector):
    x = images(3)
    whole = detector(x)
    assert whole.shape == (3, 2048) and whole.dtype == torch.float32
    single = torch.cat([detector(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
    assert detector(x[:0]).shape == (0, 2048) and detector.classifier.shape == (CLASSES, 2048)


def test_features_and_unbiased_logits_are_those_of_torch_fidelity(detector, file):
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    other = extractor("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(file))
    x = images(2, 64)
    features, logits = other(x)
    found = detector(x)
    assert (found - features).abs().max() <= 1e-5 * features.abs().max()
    assert (found @ detector.classifier.T - logits).abs().max() <= 1e-5 * logits.abs().max()


def test_other_weights_are_one_line(tmp_path):
    path = tmp_path / "w.pth"
    other_names = {f"layer{i}": torch.zeros(2) for i in range(TENSORS)}
    for content, words in (
        ({"conv": torch.zeros(2)}, "1 tensors, .* has 472"),
        (other_names, "'Conv2d_1a_3x3.conv.weight' is missing"),
        ([1, 2], "no state dict"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=f"w.pth: .*{words}") as error:
            load_inception(path)
        assert "\n" not in str(error.value)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="not a state dict"):
        load_inception(path)
    with pytest.raises(ValueError, match="no such file"):
        load_inception(tmp_path / "none.pth")
