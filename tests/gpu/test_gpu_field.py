"""On a CUDA device: the field's kernels against float64. Run by `make gpu-check`.

Inputs are new in every run; memory that nobody wrote to is nan.
"""

import secrets

import pytest
import torch
from oracles import plain_field
from oracles.plain_field import Scene

from eg3d.ops.kernels.field_network import FieldWeights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
ROUNDING = 3e-6  # of the norm; three TF32 products in place of one of float32, exponentials of the special units
# n, rays, samples, c, hidden, colours, height, width
SIZES = {
    "published": (2, 1000, 48, 32, 64, 32, 256, 256),
    "embedded": (4, 1024, 8, 16, 32, 16, 64, 64),
    "odd widths": (3, 777, 5, 12, 24, 5, 64, 32),
    "smallest": (3, 1, 1, 3, 7, 1, 2, 4),
}


@pytest.fixture
def scene():
    """scene(size): random arguments; the seed is in the report of a failure."""
    seed = secrets.randbelow(2**31)
    print(f"seed {seed}")
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return lambda size: Scene(lambda *shape: torch.randn(shape, generator=generator, device=DEVICE), *SIZES[size])


@pytest.fixture
def kernels():
    """Called with every result on memory that was nan."""
    from eg3d.ops.kernels import triton_field

    torch.use_deterministic_algorithms(True, warn_only=True)
    yield triton_field
    torch.use_deterministic_algorithms(False)


def assert_near(result, expected, name):
    assert result.shape == expected.shape and expected.norm() > 0, name
    error = (result.double() - expected).norm() / expected.norm()
    print(f"{name}: relative error {error:.1e}")
    assert error <= ROUNDING, name


def run(kernels, s: Scene) -> dict:
    """Every function of the module, by what it gives."""
    sigma, kept = kernels.field_density(*s.arguments)
    pixels = kernels.field_pixels(*s.arguments, kept, s.sample_weights)
    to_weights = kernels.field_pixels_backward(*s.arguments, kept, s.dpixels)
    dtexels, dweights = kernels.field_backward(*s.arguments, kept, s.dsigma, s.sample_weights, s.dpixels)
    results = {"sigma": sigma, "pixels": pixels, "dsample_weights": to_weights, "dtexels": dtexels}
    return results | dweights._asdict()


@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_equal_the_plain_field(size, scene, kernels):
    s = scene(size)
    results = run(kernels, s)
    *expected, dweights = plain_field.results(*s.arguments, s.dsigma, s.sample_weights, s.dpixels)
    for (name, result), right in zip(results.items(), [*expected, *dweights], strict=True):
        assert_near(result, right.detach(), name)


@pytest.mark.parametrize("given", ["densities", "pixels"])
def test_gradients_of_densities_or_pixels_alone_equal_the_plain_field(given, scene, kernels):
    s = scene("embedded")
    parts = (s.dsigma, None, None) if given == "densities" else (None, s.sample_weights, s.dpixels)
    dtexels, dweights = kernels.field_backward(*s.arguments, None, *parts)
    *_, right, right_weights = plain_field.results(*s.arguments, *parts)
    assert_near(dtexels, right, "dtexels")
    for name, result, wanted in zip(FieldWeights._fields, dweights, right_weights, strict=True):
        if wanted.norm() > 0:
            assert_near(result, wanted, name)
        else:
            assert result.abs().max() == 0


@pytest.mark.parametrize("size", ["published", "embedded"])
def test_equal_inputs_give_equal_bits_and_texel_gradients_within_rounding(size, scene, kernels):
    s = scene(size)
    first = run(kernels, s)
    for _ in range(3):
        for name, result in run(kernels, s).items():
            if name == "dtexels":  # added in whatever order programs come by
                assert (result - first[name]).norm() <= 1e-6 * first[name].norm()
            else:
                assert torch.equal(result, first[name]), name


def test_points_far_outside_touch_nothing(scene, kernels):
    s = scene("embedded")
    far = torch.tensor([float("inf"), float("-inf"), float("nan"), 1e30, -1e30, 1e9, -1e9, 2.0], device=DEVICE)
    s.points = far.repeat(s.points.numel() // len(far)).view_as(s.points)
    results = run(kernels, s)
    assert results["dtexels"].abs().max() == 0 and results["w1"].abs().max() == 0
    assert all(t.isfinite().all() for t in results.values())


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_nothing_overflows_however_large_the_numbers_are(size, scene, kernels):
    s = scene("embedded")
    s.weights = FieldWeights(s.weights.w1, s.weights.b1 + size, s.weights.w2, s.weights.b2 - size)
    assert all(t.isfinite().all() for t in run(kernels, s).values())


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_properties(0).total_memory < 36e9, reason="needs 36 GB"
)
def test_images_behind_the_first_2_to_the_31_numbers_are_what_they_are_alone(scene, kernels):
    s = scene("published")
    n, rays, samples = 350, 64, 2  # of 6.3 million numbers each
    draw = torch.Generator(DEVICE).manual_seed(1)
    s.texels = torch.randn(n, 256, 256, 96, generator=draw, device=DEVICE)
    s.points = (torch.rand(n, rays * samples, 3, generator=draw, device=DEVICE) * 4096).round() / 4096 - 0.5
    s.sample_weights, s.dpixels = torch.rand(n, rays, samples, device=DEVICE), torch.rand(n, rays, 32, device=DEVICE)
    s.dsigma = torch.rand(n, rays * samples, device=DEVICE)
    per_latent = ("sigma", "pixels", "dsample_weights", "dtexels")
    last = {name: t[-1:] for name, t in run(kernels, s).items() if name in per_latent}
    for name in ("texels", "points", "sample_weights", "dpixels", "dsigma"):
        setattr(s, name, getattr(s, name)[-1:].clone())
    alone = run(kernels, s)
    for name, result in last.items():
        assert_near(result, alone[name].double(), name)
