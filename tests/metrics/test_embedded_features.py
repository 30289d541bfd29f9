"""The shipped feature network notices what a distance of pictures must notice, on people it never saw."""

import numpy as np
import pytest
import torch

from eg3d.metrics.detectors import load_world_features
from eg3d.metrics.fid import frechet_distance
from eg3d.metrics.kid import kernel_distance
from eg3d.metrics.moments import FeatureStatistics
from eg3d.metrics.network_file import load_network
from eg3d.metrics.world_features import FEATURES_FILE, Architecture, FeatureNetwork, load_feature_network
from eg3d.world.cartoon.heads import Identity
from eg3d.world.rendered_sets import samples
from eg3d.world.training.fit_features import rendered_heads, spoil
from groundwork.files import WORLD_WEIGHTS

COUNT = 1000


def noise_images(n: int, side: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_the_file_is_small_and_says_how_it_was_made():
    stored = load_network(FEATURES_FILE, "features")
    assert FEATURES_FILE.stat().st_size <= 2_000_000 and FEATURES_FILE.parent == WORLD_WEIGHTS
    assert all(width % 16 == 0 for width in stored.architecture["widths"])
    assert stored.facts["split"] == "features" and stored.facts["explained_variance"] >= 0.5
    assert stored.facts["hair_style_accuracy"] >= 0.8


def test_features_do_not_depend_on_the_batch():
    detector, images = load_world_features(), noise_images(5)
    whole = detector(images)
    assert whole.shape == (5, detector.width) and whole.std(dim=0).mean() > 1e-3
    torch.testing.assert_close(whole, torch.cat([detector(image[None]) for image in images]), rtol=1e-4, atol=1e-5)


def test_colours_are_taken_as_red_green_and_blue():
    network = FeatureNetwork(Architecture(widths=(16, 16), side=8)).eval()
    with torch.no_grad():
        network.stem.weight.zero_()
        network.stem.weight[:, 0] = 1  # a first layer that sees red alone
    red, blue = torch.zeros(2, 1, 3, 8, 8, dtype=torch.uint8).unbind(0)
    red[:, 0], blue[:, 2] = 255, 255
    seen = []
    network.stem.register_forward_hook(lambda module, inputs, out: seen.append(out.mean().item()))
    network(red), network(blue)
    assert seen[0] > 0 > seen[1]


def test_larger_pictures_are_made_smaller_without_aliasing():
    detector, small = load_world_features(), noise_images(4, 64)
    large = small.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    near, noise = detector(large) - detector(small), detector(noise_images(4, 256)) - detector(small)
    assert near.norm() < 0.6 * noise.norm()


def test_other_files_are_one_line(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(FEATURES_FILE.read_bytes()[:-7])
    for path in (tmp_path / "x.safetensors", tmp_path / "none", WORLD_WEIGHTS / "generator.safetensors"):
        with pytest.raises(ValueError, match=str(path)) as error:
            load_feature_network(path)
        assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def heads():
    """Rendered people of the split "test": pictures, and how light their skin is."""
    items = list(samples("faces", "test", COUNT, seed=11))
    images = torch.from_numpy(np.stack([s.rendered.rgb.transpose(2, 0, 1) for s in items]))
    return images, np.array([np.mean(Identity.draw("test", s.identity).skin) for s in items])


def distances(real: torch.Tensor, versions: list[torch.Tensor]) -> tuple[list[float], list[float]]:
    """Frechet and kernel distance of each version of the generated pictures."""
    detector = load_world_features()
    features = [torch.cat([detector(part) for part in images.split(100)]) for images in (real, *versions)]
    statistics = [FeatureStatistics.of(rows) for rows in features]
    return (
        [frechet_distance(statistics[0], other) for other in statistics[1:]],
        [kernel_distance(features[0], rows, subsets=20, subset_size=250).value for rows in features[1:]],
    )


def spoilt(images: torch.Tensor, blur: float = 0.0, noise: float = 0.0) -> torch.Tensor:
    amount = torch.ones(len(images))
    x = spoil((images.float() - 128) / 128, blur * amount, noise * amount, torch.Generator().manual_seed(0))
    return (x * 128 + 128).to(torch.uint8)


def collapsed(images: torch.Tensor, people: int) -> torch.Tensor:
    """As many pictures, of so few people."""
    return images[torch.arange(len(images)) % people]


def paler(images: torch.Tensor, skin: np.ndarray, share: float) -> torch.Tensor:
    """As many pictures, of which a share has the lighter half of the skins."""
    order = np.argsort(skin)
    dark, light = order[: len(order) // 2], order[len(order) // 2 :]
    count = round(share * len(order))
    return images[np.concatenate([np.resize(light, count), np.resize(dark, len(order) - count)])]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blur", "noise", "collapse", "skin"])
def test_distances_grow_with_what_is_wrong(heads, kind):
    images, skin = heads
    half = COUNT // 2
    real, other, skin = images[:half], images[half:], skin[half:]
    versions = {
        "blur": [spoilt(other, blur=sigma) for sigma in (0, 0.5, 0.8, 1.2, 2, 3)],
        "noise": [spoilt(other, noise=std) for std in (0, 0.02, 0.05, 0.1, 0.2)],
        "collapse": [collapsed(other, people) for people in (half, 60, 20, 8, 3)],
        "skin": [paler(other, skin, share) for share in (0.5, 0.65, 0.8, 1.0)],
    }[kind]
    frechet, kernel = distances(real, versions)
    print(kind, [f"{x:.3g}" for x in frechet], [f"{x:.3g}" for x in kernel])
    assert all(less < more for less, more in zip(frechet, frechet[1:], strict=False))
    assert frechet[2] > 1.2 * frechet[0] and frechet[-1] > 2 * frechet[0]
    assert kernel[1:] == sorted(kernel[1:]) and kernel[-1] > 10 * abs(kernel[0])


def test_rendered_heads_are_kept_and_have_all_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("eg3d.world.training.fit_features.CACHE", tmp_path)
    first, again = rendered_heads(3), rendered_heads(3)
    assert first["images"].shape == (3, 3, 64, 64) and first["images"].dtype == torch.uint8
    assert all(torch.equal(first[name], again[name]) for name in first)
    person = Identity.draw("features", 1)
    assert set(np.float32([person.half_width, *person.skin])) <= set(first["numbers"][1].tolist())
    assert first["numbers"].std(dim=0).min() > 0 and len(list(tmp_path.iterdir())) == 1
