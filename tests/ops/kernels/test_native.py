"""The kernels for CPUs against double precision: values, both gradients, and what happens without a compiler."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from oracles import plain_field

from eg3d.config.presets import PRESETS
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.models.generator import TriPlaneGenerator
from eg3d.ops.bias_act import bias_act, modulated_act, scale_channels
from eg3d.ops.kernels import backend, native
from eg3d.ops.kernels.field_network import FieldWeights
from eg3d.rendering.blended import Ball
from eg3d.rendering.planes import AXES, PLANE_AXES
from groundwork.draws import Midpoints
from groundwork.files import cache_folder

try:
    native.compiler()
except OSError:
    pytest.skip("there is no C++ compiler here", allow_module_level=True)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_near(result, expected, tolerance=1e-6):
    assert result.shape == expected.shape
    error, size = (result.double() - expected.double()).norm(), expected.double().norm()
    assert error <= tolerance * size, f"relative error {error / size:.1e}"


# ---------------------------------------------------------------- the end of a layer

CASES = {
    "all": dict(scale=True, noise=3, b=True, clamp=1.0),
    "one map of noise": dict(scale=True, noise=1, b=True),
    "no scale": dict(noise=3, b=True),
    "bias alone": dict(b=True, clamp=0.8),
    "scale alone": dict(scale=True),
}


def layer(case, shape=(3, 32, 37, 41)):  # pixels of several blocks and a rest
    n, c, h, w = shape
    wanted = CASES[case]
    x = draw(*shape).to(memory_format=torch.channels_last)
    tensors = {}
    if "scale" in wanted:
        tensors["scale"] = draw(n, c, seed=1)
    if "noise" in wanted:
        tensors["noise"] = draw(wanted["noise"], 1, h, w, seed=2)
    if "b" in wanted:
        tensors["b"] = draw(c, seed=3)
    return x, tensors, wanted.get("clamp")


def defined(x, scale=None, noise=None, b=None, **kwargs):
    x = x if scale is None else x * scale[:, :, None, None]
    return bias_act(x if noise is None else x + noise, b, **kwargs)


def gradients(function, x, tensors, squared=False):
    """Of a weighted sum to every input; `squared`: of the squared norm of the gradient to x, as R1 takes it."""
    inputs = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, *tensors.values())]
    x = inputs[0] * inputs[0]  # not linear, so that second derivatives reach x
    y = function(x, **dict(zip(tensors, inputs[1:], strict=True)))
    total = (y * y * draw(*y.shape, seed=9).to(y.dtype)).sum()
    if squared:
        total = torch.autograd.grad(total, inputs[0], create_graph=True)[0].square().sum()
    return torch.autograd.grad(total, inputs, allow_unused=True)


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("squared", [False, True], ids=["first", "second"])
def test_layer_ends_have_the_values_and_gradients_of_their_definition(case, act, squared):
    x, tensors, clamp = layer(case)
    kwargs = dict(act=act, gain=1.3, clamp=clamp)
    double = {name: t.double() for name, t in tensors.items()}
    with backend.using("kernels"):
        assert_near(modulated_act(x.clone(), **tensors, **kwargs), defined(x.double(), **double, **kwargs))
        results = gradients(lambda x, **t: modulated_act(x, **t, **kwargs), x, tensors, squared)
    expected = gradients(lambda x, **t: defined(x, **t, **kwargs), x.double(), double, squared)
    for result, reference in zip(results, expected, strict=True):
        if reference is not None:
            assert_near(result, reference, 3e-6)


def test_a_gradient_in_another_layout_is_read_as_what_it_is():
    x, tensors, _ = layer("scale alone")
    dy = draw(*x.shape, seed=4)  # channels first
    with backend.using("kernels"):
        y = scale_channels(x.requires_grad_(), tensors["scale"])
        assert type(y.grad_fn).__name__ == "FusedActBackward"  # or this test would not test the kernel
        assert_near(torch.autograd.grad(y, x, dy)[0], dy * tensors["scale"][:, :, None, None])


@pytest.mark.parametrize("act", ["linear", "lrelu"])
def test_gradients_that_are_not_finite_pass_as_they_are(act):
    """Training looks for them; a kernel that cleans them would hide a run that diverges."""
    x, tensors, _ = layer("scale alone")
    dy = draw(*x.shape, seed=4)
    dy.view(-1)[:3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    results = []
    for ops in ("torch", "kernels"):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        with backend.using(ops):
            y = modulated_act(leaf, tensors["scale"], act=act, gain=1.3)
        results.append(torch.autograd.grad(y, leaf, dy)[0])
    torch.testing.assert_close(*results, equal_nan=True)


@pytest.mark.parametrize(
    "change",
    [
        dict(b=draw(1)), dict(noise=draw(1, 1, 1, 1)), dict(noise=draw(37, 41)), dict(b=draw(32).double()),
        dict(scale=draw(3, 32).bfloat16()),
    ],
    ids=["short bias", "one number", "two axes", "double bias", "half scale"],
)  # fmt: skip
def test_factors_of_unusual_shape_or_type_are_read_as_pytorch_reads_them(change):
    x, tensors, _ = layer("all")
    tensors |= change
    with torch.no_grad():
        with backend.using("torch"):
            expected = modulated_act(x.clone(), **{name: t.float() for name, t in tensors.items()})
        with backend.using("kernels"):
            torch.testing.assert_close(modulated_act(x.clone(), **tensors), expected)


def test_not_a_number_stays_one():
    x, tensors, clamp = layer("all")
    x[0, 3, 5, 7] = torch.nan
    with backend.using("kernels"), torch.no_grad():
        y = modulated_act(x, **tensors, clamp=clamp)
    assert y[0, 3, 5, 7].isnan() and y.isnan().sum() == 1


@pytest.mark.parametrize("which", ["scale", "noise", "b"])
def test_tensors_without_memory_are_refused(which):
    """Their address is 0, and reading there kills the process."""
    x, tensors, _ = layer("all")
    tensors[which] = tensors[which].to("meta")
    with backend.using("kernels"), pytest.raises(ValueError, match="--ops=torch"):
        modulated_act(x, **tensors)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")
def test_fake_tensors_are_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), pytest.raises(ValueError, match="--ops=torch"):
        native.march([torch.randn(2, 3, 6)], [torch.randn(2, 3, 6)])


# ---------------------------------------------------------------- the tri-plane field

SIZES = {  # latents, texels per side, rays, samples, channels, hidden, colours
    "embedded": (2, 8, 5, 7, 16, 32, 16),
    "published": (3, 9, 33, 48, 32, 64, 32),
    "one ray": (1, 4, 1, 1, 16, 16, 48),
}
SCALE = 2 / 0.8


def field(size, seed=0):
    n, side, rays, samples, c, h, o = SIZES[size]
    weights = FieldWeights(
        draw(h, c, seed=seed + 1) / 3, draw(h, seed=seed + 2), draw(1 + o, h, seed=seed + 3) / 3,
        draw(1 + o, seed=seed + 4),
    )  # fmt: skip
    points = draw(n, rays * samples, 3, seed=seed + 5) * 0.3
    points.view(-1)[:3] = torch.tensor([0.4, -0.4, 0.4 + 0.4 / side])  # on the border, and half a texel beyond
    sample_weights = torch.rand((n, rays, samples), generator=torch.Generator().manual_seed(seed))
    return draw(n, side, side, 3 * c, seed=seed), points, weights, sample_weights


@pytest.mark.parametrize("axes", list(AXES.values()), ids=list(AXES))
@pytest.mark.parametrize("size", SIZES)
def test_the_field_has_the_values_and_gradients_of_double_precision(size, axes):
    texels, points, weights, sample_weights = field(size)
    dsigma = draw(*points.shape[:2], seed=7)
    dpixels = draw(
        *sample_weights.shape[:2], len(weights.w2) - 1, seed=8
    ).abs()  # else terms cancel, 34-fold for one ray
    place = texels, points, weights, SCALE, axes
    sigma, pixels, dsample_weights, *expected = plain_field.results(*place, dsigma, sample_weights, dpixels)

    result, kept = native.field_density(*place)
    assert_near(result, sigma)
    assert_near(native.field_pixels(*place, kept, sample_weights), pixels)
    assert_near(native.field_pixels_backward(*place, kept, dpixels), dsample_weights)
    dtexels, dweights = native.field_backward(*place, kept, dsigma, sample_weights, dpixels)
    for gradient, reference in zip((dtexels, *dweights), (expected[0], *expected[1]), strict=True):
        assert_near(gradient, reference, 3e-6)


def test_gradients_of_densities_alone_and_of_pixels_alone_add_up():
    texels, points, weights, sample_weights = field("embedded")
    place = texels, points, weights, SCALE, PLANE_AXES
    sigma, kept = native.field_density(*place)
    dsigma, dpixels = draw(*sigma.shape, seed=7), draw(2, 5, 16, seed=8)
    both = native.field_backward(*place, kept, dsigma, sample_weights, dpixels)
    alone = (
        native.field_backward(*place, kept, dsigma, None, None),
        native.field_backward(*place, kept, None, sample_weights, dpixels),
    )
    assert_near(both[0], alone[0][0] + alone[1][0])
    for total, first, second in zip(both[1], alone[0][1], alone[1][1], strict=True):
        assert_near(total, first + second)


BALLS = (torch.tensor([[[0.3, 0.0, 0.1], [-0.2, 0.1, 0.0]]]), 0.15, 0.4)


def in_balls(first, second, balls=BALLS):
    """sigma and colours of a field, a second one blended in, whose cube has side 1.6 and middle 0.1: by kernels."""
    texels, points, weights, _ = first
    centres, *radii = balls
    blend = second[0], second[2], SCALE / 2, PLANE_AXES, 0.1, (centres.expand(len(points), -1, -1), *radii)
    sigma, (colours, _) = native.field_density(texels, points, weights, SCALE, PLANE_AXES, blend=blend)
    return sigma, colours


@pytest.mark.parametrize("size", ["embedded", "published"])
def test_a_second_field_is_blended_in_as_its_weight_says_and_leaves_all_else(size):
    first, second = field(size), field(size, seed=20)
    texels, points, weights, _ = first

    def alone(texels, weights, points, scale):
        double = FieldWeights(*(w.double() for w in weights))
        return plain_field.field(texels.double(), points.double(), double, scale, PLANE_AXES)

    theirs = alone(texels, weights, points, SCALE), alone(second[0], second[2], points - 0.1, SCALE / 2)
    centres, inner, outer = BALLS
    w = Ball(centres.double(), inner, outer).weight(points.double())
    assert (w == 0).any() and (w == 1).any() and ((w > 0.1) & (w < 0.9)).any()
    sigma, (colours, _) = native.field_density(texels, points, weights, SCALE, PLANE_AXES)
    for result, own, others, before in zip(in_balls(first, second), *theirs, (sigma, colours), strict=True):
        part = w if result.ndim == 2 else w[..., None]
        assert_near(result, torch.lerp(own, others, part))
        assert torch.equal(result[w == 0], before[w == 0])


def test_points_far_away_and_not_a_number_see_nothing():
    texels, _, weights, _ = field("embedded")
    far = torch.tensor([[1e30, -1e30, 5.0], [torch.inf, -torch.inf, 0.41 + 0.1], [torch.nan] * 3]).expand(2, -1, -1)
    sigma, _ = native.field_density(texels, far.contiguous(), weights, SCALE, PLANE_AXES)
    nothing = F.softplus(weights.b1) @ weights.w2[0] + weights.b2[0]
    torch.testing.assert_close(sigma, nothing.expand(2, 3))


def test_the_number_of_threads_changes_no_bit():
    """Training repeats to the bit on one machine, whatever the cores."""
    texels, points, weights, sample_weights = field("published")
    place = texels, points, weights, SCALE, PLANE_AXES
    results, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        sigma, kept = native.field_density(*place)
        pixels = native.field_pixels(*place, kept, sample_weights)
        gradients = _flat(native.field_backward(*place, kept, sigma, sample_weights, pixels))
        results.append([sigma, pixels, *gradients, *in_balls(field("published"), field("published", seed=20))])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def _flat(gradients):
    return [gradients[0], *gradients[1]]


# ---------------------------------------------------------------- building


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


DRAW = """
import torch
from eg3d.ops.kernels.backend import using
from eg3d.ops.bias_act import modulated_act
x = torch.ones(1, 16, 2, 2).to(memory_format=torch.channels_last)
with using("{}"):
    print(modulated_act(modulated_act(x, b=torch.ones(16)), b=torch.ones(16)).mean().item())
"""


@pytest.fixture
def nothing_built(tmp_path, monkeypatch):
    """As in a new process with an empty cache: nothing has been built, loaded or said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    kept = native.library, backend.available, backend._say_once
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


def drawn_plainly(capsys) -> str:
    """What is said to stderr while two layers compute what plain PyTorch computes."""
    exec(DRAW.format("auto"), {})
    said = capsys.readouterr()
    assert said.out.startswith("5.4142")
    return said.err


def test_without_a_compiler_one_line_says_so_and_plain_pytorch_computes(nothing_built, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = drawn_plainly(capsys)
    assert said.count("\n") == 1 and "no C++ compiler" in said
    with pytest.raises(ValueError, match=r"--ops=kernels: no C\+\+ compiler"):
        exec(DRAW.format("kernels"), {})


@pytest.fixture
def quick_compiler(tmp_path, monkeypatch):
    """A compiler that takes the library of this process for its product; a real build takes ten seconds."""
    native.library()
    whole = native._built(cache_folder(), native._identity())
    script = tmp_path / "quick-c++"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *-shared*) for last; do :; done; cp {whole} "$last";; '
        f'*) exec {native.compiler()} "$@";; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return whole.read_bytes()


DAMAGES = [lambda b: b[:5000], lambda b: b"", lambda b: b[:9000] + bytes(4000) + b[13000:]]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_built_again(tmp_path, quick_compiler, damage):
    """Loading half a library kills the process without a word."""
    folder, identity = tmp_path / "kernels", native._identity()
    path = native._built(folder, identity)
    assert path.read_bytes() == quick_compiler and native._built(folder, identity) == path
    path.write_bytes(damage(quick_compiler))
    assert native._built(folder, identity).read_bytes() == quick_compiler
    assert [p.name for p in folder.iterdir()] == [path.name]


@pytest.mark.slow
def test_a_process_survives_a_damaged_library(tmp_path):
    environment = dict(XDG_CACHE_HOME=str(tmp_path))
    assert run(DRAW.format("kernels"), **environment).returncode == 0
    (path,) = (tmp_path / "gaze-corrected-eg3d").glob("*.so")
    path.write_bytes(path.read_bytes()[:5000])
    done = run(DRAW.format("kernels"), **environment)
    assert done.returncode == 0 and done.stdout.startswith("5.4142") and done.stderr == ""


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(nothing_built, tmp_path, monkeypatch, capsys):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'csrc/act.cpp:1: error: it is Sunday' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert "it is Sunday" in drawn_plainly(capsys)
    assert list((tmp_path / "gaze-corrected-eg3d").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_line_too(nothing_built, tmp_path, capsys):
    (tmp_path / "gaze-corrected-eg3d").write_text("a file where the folder should be")
    assert drawn_plainly(capsys).count("\n") == 1


# ---------------------------------------------------------------- other processors


@pytest.mark.robust
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags below are of x86-64")
@pytest.mark.parametrize("flags, instructions, lanes", [(["-mno-avx512f"], "AVX2", 8), (["-march=x86-64"], "SSE2", 4)])
def test_fewer_instructions_give_the_same_pictures_and_a_build_of_their_own(
    flags, instructions, lanes, nothing_built, monkeypatch
):
    def image_and_gradient():
        torch.manual_seed(0)
        G = TriPlaneGenerator(PRESETS["embedded"].generator, 32)
        c = make_label(lookat_pose(0.3, -0.2), intrinsics_matrix(FFHQ_FOCAL))
        ws = G.mapping(torch.randn(1, G.z_dim), c)
        with backend.using("kernels"):
            image = G.synthesis(ws, c, 32, draws=Midpoints(), noise_mode="const")["image"]
            gradients = torch.autograd.grad(
                image.square().mean(), list(G.backbone.synthesis.parameters()), allow_unused=True
            )
        return image.detach(), [gradient for gradient in gradients if gradient is not None]

    expected, gradients = image_and_gradient()
    first = native._identity()
    monkeypatch.setattr(native, "FLAGS", [*native.FLAGS, *flags])
    native.library.cache_clear()
    if instructions.lower() not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no such instructions")
    assert (native.instructions(), native.lanes()) == (instructions, lanes) and native._identity() != first
    found, narrow_gradients = image_and_gradient()
    assert expected.std() > 0.01 and (found - expected).abs().max() <= 5e-6
    for gradient, wide in zip(narrow_gradients, gradients, strict=True):
        assert_near(gradient, wide, 1e-4)


def test_the_processor_is_part_of_a_build_s_identity(monkeypatch):
    """Machines that share a home folder share the cache."""
    run, target = native.subprocess.run, ["-march=x86-64", "-march=native"]
    identities = set()
    for processor in target:
        monkeypatch.setattr(
            native.subprocess, "run",
            lambda command, p=processor, **kwargs: run([p if "march" in word else word for word in command], **kwargs),
        )  # fmt: skip
        identities |= {native._identity(), native._identity()}
    assert len(identities) == 2
