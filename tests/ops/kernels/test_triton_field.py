"""The field's kernels for GPUs, without one: their numbers by Triton's interpreter, and what they compile to.

On a machine with a GPU they are compiled and run there: tests/gpu/test_gpu_field.py.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
from compiled import cubins
from oracles import plain_field
from oracles.plain_field import Scene

from eg3d.ops.kernels.field_network import FieldWeights

triton = pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here the kernels run on the GPU, see tests/gpu")

ROUNDING = 1e-6  # of the norm
# n, rays, samples, c, hidden, colours, height, width; a ray takes the interpreter long, so two or three blocks
SIZES = {
    "odd widths": (2, 10, 5, 12, 24, 5, 8, 4),
    "embedded": (1, 17, 3, 16, 32, 16, 16, 16),
    "published": (1, 17, 2, 32, 64, 32, 8, 16),
    "smallest": (3, 1, 1, 3, 7, 1, 2, 4),
}


@pytest.fixture(autouse=True)
def poisoned():
    """Memory that nobody writes to is nan."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(2).new_empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def kernels(monkeypatch):
    from eg3d.ops.kernels import triton_field

    for name in ("DENSITY", "PIXELS", "SAMPLE_WEIGHTS", "BACKWARD"):  # so that few rays are several blocks
        monkeypatch.setattr(triton_field, name, triton_field.Tile(32, 4))
    return triton_field


def scene(size, **kwargs) -> Scene:
    generator = torch.Generator().manual_seed(0)
    return Scene(lambda *shape: torch.randn(shape, generator=generator), *size, **kwargs)


def assert_near(result, expected, name=""):
    assert result.shape == expected.shape and result.dtype == torch.float32, name
    error, size = (result.double() - expected).norm(), expected.norm()
    assert error <= ROUNDING * size, f"{name}: relative error {error / size:.1e}"


def check(kernels, s: Scene):
    """Values and every gradient, of densities and pixels together."""
    expected = plain_field.results(*s.arguments, s.dsigma, s.sample_weights, s.dpixels)
    sigma, kept = kernels.field_density(*s.arguments)
    assert_near(sigma, expected[0].detach(), "sigma")
    assert_near(kernels.field_pixels(*s.arguments, kept, s.sample_weights), expected[1].detach(), "pixels")
    assert_near(kernels.field_pixels_backward(*s.arguments, kept, s.dpixels), expected[2], "dsample_weights")
    check_backward(kernels, s, expected, s.dsigma, s.sample_weights, s.dpixels)


def check_backward(kernels, s: Scene, expected, *given):
    dtexels, dweights = kernels.field_backward(*s.arguments, None, *given)
    assert_near(dtexels, expected[3], "dtexels")
    assert isinstance(dweights, FieldWeights)
    for name, result, right in zip(FieldWeights._fields, dweights, expected[4], strict=True):
        assert_near(result, right, f"d{name}")


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_equal_the_plain_field(kernels, size):
    check(kernels, scene(SIZES[size]))


@pytest.mark.slow
def test_rays_of_48_samples_equal_the_plain_field_at_the_tiles_of_a_gpu():
    from eg3d.ops.kernels import triton_field

    check(triton_field, scene((1, 70, 48, 32, 64, 32, 16, 8)))


def test_other_axes_are_other_planes(kernels):
    s = scene((1, 20, 2, 4, 8, 3, 8, 4), axes=((0, 1), (0, 2), (2, 1)))
    check(kernels, s)
    # no symmetry hides a wrong plane: exchanging two of them, or width and height, changes what the definition gives
    right = plain_field.field(*s.arguments)[0]
    for axes in ((0, 1), (1, 2), (2, 0)), ((0, 1), (0, 2), (1, 2)), ((0, 1), (2, 1), (0, 2)), ((1, 0), (0, 2), (2, 1)):
        other = plain_field.field(*s.arguments[:3], 2.0, axes)[0]
        assert (other - right).norm() > 0.1 * right.norm()


def test_points_that_are_no_multiples_of_anything_are_rounded_little(kernels):
    s = scene((1, 50, 1, 4, 8, 3, 8, 4))
    s.points, s.place = torch.rand(s.points.shape, generator=torch.Generator().manual_seed(1)) - 0.5, (1.7, s.place[1])
    check(kernels, s)


@pytest.mark.parametrize("given", ["densities", "pixels"])
def test_gradients_of_densities_or_pixels_alone_equal_the_plain_field(kernels, given):
    s = scene(SIZES["odd widths"])
    parts = (s.dsigma, None, None) if given == "densities" else (None, s.sample_weights, s.dpixels)
    check_backward(kernels, s, plain_field.results(*s.arguments, *parts), *parts)


@pytest.mark.parametrize("programs", [1, 3, 1000])
def test_gradients_are_the_same_however_many_programs_share_the_work(kernels, programs, monkeypatch):
    s = scene((2, 15, 3, 4, 8, 3, 8, 4))
    monkeypatch.setattr(kernels, "_programs", lambda device: programs)
    parts = s.dsigma, s.sample_weights, s.dpixels
    check_backward(kernels, s, plain_field.results(*s.arguments, *parts), *parts)


def test_points_far_outside_meet_nothing_and_touch_nothing(kernels):
    s = scene((1, 12, 1, 4, 8, 3, 8, 4))
    far = torch.tensor(
        [float("inf"), float("-inf"), float("nan"), 1e30, -1e30, 1e9, -1e9, 2.0, -2.0, 0.75, -0.75, 0.6875]
    )
    s.points[0] = far[:, None]
    weights = s.weights
    empty = torch.nn.functional.softplus(weights.b1) @ weights.w2[0] + weights.b2[0]
    sigma, _ = kernels.field_density(*s.arguments)
    torch.testing.assert_close(sigma, empty.expand(1, 12))
    dtexels, dweights = kernels.field_backward(*s.arguments, None, s.dsigma, s.sample_weights, s.dpixels)
    assert dtexels.abs().max() == 0 and dweights.w1.abs().max() == 0
    assert all(g.isfinite().all() for g in dweights) and dweights.b1.abs().max() > 0


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of NumPy, in tl.sigmoid: the sigmoid is 0
@pytest.mark.parametrize("size", [1e3, -1e3])
def test_nothing_overflows_however_large_the_numbers_are(kernels, size):
    s = scene((1, 20, 2, 4, 8, 3, 8, 4))
    s.weights = FieldWeights(s.weights.w1, s.weights.b1 + size, s.weights.w2, s.weights.b2 - size)
    sigma, kept = kernels.field_density(*s.arguments)
    torch.testing.assert_close(sigma, plain_field.results(*s.arguments, s.dsigma)[0].detach().float())
    pixels = kernels.field_pixels(*s.arguments, kept, s.sample_weights)
    dtexels, dweights = kernels.field_backward(*s.arguments, kept, s.dsigma, s.sample_weights, s.dpixels)
    assert all(t.isfinite().all() for t in (pixels, dtexels, *dweights))


def test_gradients_that_are_views_are_read_as_they_are(kernels):
    s = scene((2, 5, 3, 4, 8, 3, 8, 4))
    expected = plain_field.results(*s.arguments, s.dsigma, s.sample_weights, s.dpixels)
    s.sample_weights, s.dpixels = s.sample_weights.mT.contiguous().mT, s.dpixels.mT.contiguous().mT
    s.dsigma, s.weights = s.dsigma.t().contiguous().t(), FieldWeights(*(w.t().contiguous().t() for w in s.weights))
    assert not s.sample_weights.is_contiguous() and not s.dpixels.is_contiguous() and not s.dsigma.is_contiguous()
    assert_near(kernels.field_pixels(*s.arguments, None, s.sample_weights), expected[1].detach())
    assert_near(kernels.field_pixels_backward(*s.arguments, None, s.dpixels), expected[2])
    check_backward(kernels, s, expected, s.dsigma, s.sample_weights, s.dpixels)


def test_networks_of_the_presets_fit_and_very_wide_ones_do_not(kernels):
    for size, fits in (((32, 64, 32), True), ((16, 32, 16), True), ((32, 128, 32), False), ((32, 64, 65), False)):
        s = scene((1, 1, 1, *size, 2, 2))
        assert kernels.field_fits(s.weights) == fits


# ---------------------------------------------------------------- where there is no GPU to compile for


def launch(n, rays, samples, c, hidden, colours, side):
    """Every launcher once, on memory that divides as that of real sizes does."""

    def run():
        from eg3d.ops.kernels import triton_field as kernels

        weights = FieldWeights(*(torch.empty(s) for s in ((hidden, c), hidden, (1 + colours, hidden), 1 + colours)))
        texels, points = torch.empty(n, side, side, 3 * c), torch.empty(n, rays * samples, 3)
        field = texels, points, weights, 2.0, plain_field.AXES
        sample_weights, dpixels = torch.empty(n, rays, samples), torch.empty(n, rays, colours)
        kernels.field_density(*field)
        kernels.field_pixels(*field, None, sample_weights)
        kernels.field_pixels_backward(*field, None, dpixels)
        kernels.field_backward(*field, None, torch.empty(n, rays * samples), sample_weights, dpixels)

    return run


LAUNCHES = {"embedded": launch(4, 1024, 8, 16, 32, 16, 64), "published": launch(1, 1024, 48, 32, 64, 32, 256)}
KERNELS = {"density_kernel", "pixels_kernel", "sample_weights_kernel", "backward_kernel"}
# Most bytes of registers that a thread may spill to memory. A step of the published backward pass reads and writes 200
# numbers so, of 8,500 instructions; all attempts to keep more for longer spilled kilobytes.
SPILLS = {"density_kernel": 0, "pixels_kernel": 0, "sample_weights_kernel": 0, "backward_kernel": 800}


def resources(cache: Path) -> dict:
    """{(capability, kernel): (registers a thread, bytes spilled, bytes of shared memory)} of the machine code there."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip(f"there is no {tool}")
    found = {}
    for cubin in cache.rglob("*.cubin"):
        about = json.loads(cubin.with_suffix(".json").read_text())
        text = subprocess.run([tool, "--dump-resource-usage", cubin], capture_output=True, text=True, check=True).stdout
        registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", text).groups())
        found[about["target"]["arch"], cubin.stem] = registers, stack, about["shared"]
    return found


def assert_compiled(size, capabilities, folder):
    try:
        assert triton.knobs.nvidia.ptxas.path
    except RuntimeError as error:
        pytest.skip(f"no ptxas: {error}")
    made = cubins(__file__, [size], capabilities, folder)
    for capability in capabilities:
        assert {kernel for kernel, size in made[f"{capability}"][size] if size} == KERNELS
    used = resources(folder)
    assert used.keys() == {(capability, kernel) for capability in capabilities for kernel in KERNELS}
    for (capability, kernel), (registers, spilled, shared) in sorted(used.items()):
        print(f"{size}, sm_{capability}, {kernel}: {registers} registers, {spilled} B spilled, {shared} B shared")
    for (capability, kernel), (_, spilled, shared) in used.items():
        assert spilled <= SPILLS[kernel], f"{kernel}, sm_{capability}: {spilled} B spilled"
        assert shared <= 2**16, f"{kernel}, sm_{capability}: one program in a core's shared memory"


@pytest.mark.robust
def test_kernels_of_the_embedded_size_compile_without_excessive_spilling(tmp_path):
    assert_compiled("embedded", [90], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("size", LAUNCHES)
def test_kernels_compile_for_every_generation_without_excessive_spilling(size, tmp_path):
    assert_compiled(size, [80, 90], tmp_path)
