"""The kernels for GPUs, without one: their numbers by Triton's interpreter, and that they compile.

On a machine with a GPU they are compiled and run there: tests/gpu/test_triton_on_gpu.py.
"""

import inspect
import itertools
import sys
from types import SimpleNamespace

import pytest
import torch
from compiled import cubins

from eg3d.ops import upfirdn2d as resampling
from eg3d.ops.bias_act import bias_act
from eg3d.ops.kernels import backend, native
from eg3d.ops.upfirdn2d import upfirdn2d

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here the kernels run on the GPU, see tests/gpu")

FIRST, LAST = torch.contiguous_format, torch.channels_last
# Numbers of channels and pixels on both sides of a tile's, and not multiples of it.
SHAPES = [(2, 70, 9, 11), (1, 3, 37, 41), (3, 130, 2, 3), (1, 1, 1, 1)]
ROUNDING = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@pytest.fixture(autouse=True)
def poisoned():
    """Memory that nobody writes to is nan."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def kernels():
    from eg3d.ops.kernels import triton_kernels

    return triton_kernels


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_near(result, expected, dtype=torch.float32):
    assert result.shape == expected.shape
    error, size = (result.double() - expected.double()).norm(), expected.double().norm()
    assert error <= ROUNDING[dtype] * size, f"relative error {error / size:.1e}"


# ---------------------------------------------------------------- the end of a layer


def layer(shape, dtype=torch.float32, layout=FIRST, shared_noise=True):
    n, c, *sides = shape
    x = draw(*shape).to(dtype)
    x = x.to(memory_format=layout) if x.ndim == 4 else x
    noise = draw(1 if shared_noise else n, 1, *sides, seed=2) if sides else None
    return x, {"scale": draw(n, c, seed=1), "noise": noise, "b": draw(c, seed=3)}


def defined(x, scale=None, noise=None, b=None, act="lrelu", clamp=None):
    x = x if scale is None else x * scale.reshape(*scale.shape, *[1] * (x.ndim - 2))
    return bias_act(x if noise is None else x + noise, b, act, gain=1.3, clamp=clamp)


SLOPES = {"linear": 1.0, "relu": 0.0, "lrelu": 0.2}


def check_layer(kernels, x, tensors, act, clamp):
    """Values and every gradient against the definition in float64."""
    tensors = {name: t for name, t in tensors.items() if t is not None}
    exact = [t.double().requires_grad_() for t in (x, *tensors.values())]
    expected = defined(exact[0], **dict(zip(tensors, exact[1:], strict=True)), act=act, clamp=clamp)
    numbers = 1.3, SLOPES[act], clamp
    parts = [tensors.get(name) for name in ("scale", "noise", "b")]
    before = x.clone()
    y = kernels.act(x, *parts, *numbers)
    assert y.dtype == x.dtype and y.stride() == x.stride() and torch.equal(x, before)
    assert_near(y, expected, x.dtype)

    dy = draw(*x.shape, seed=4).to(x.dtype)
    wanted = dict(zip(("x", *tensors), torch.autograd.grad(expected, exact, dy.double()), strict=True))
    noise_shape = tensors["noise"].shape if "noise" in tensors else None
    needs = tuple(name in wanted for name in ("x", "scale", "noise", "b"))
    given = kernels.act_backward(dy, y, x if needs[1] else None, parts[0], noise_shape, *numbers, needs)
    for name, need, gradient in zip(("x", "scale", "noise", "b"), needs, given, strict=True):
        assert (gradient is not None) == need
        if need:
            assert gradient.dtype == (x.dtype if name == "x" else torch.float32), name
            assert_near(gradient, wanted[name], x.dtype)


@pytest.mark.parametrize("layout", [FIRST, LAST])
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_ends_and_their_gradients_equal_the_definition_in_every_shape_and_layout(kernels, shape, layout):
    check_layer(kernels, *layer(shape, layout=layout), act="lrelu", clamp=1.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_ends_in_16_bits_are_rounded_once(kernels, dtype):
    for layout in (FIRST, LAST):
        check_layer(kernels, *layer((2, 70, 9, 11), dtype, layout), act="lrelu", clamp=None)


@pytest.mark.parametrize("act", SLOPES)
def test_every_activation_that_kernels_know_equals_its_definition(kernels, act):
    for clamp in (None, 0.7):
        check_layer(kernels, *layer((2, 5, 3, 4)), act=act, clamp=clamp)


@pytest.mark.parametrize("missing", ["scale", "noise", "b", "scale noise b"])
def test_what_a_layer_end_does_not_have_is_left_out(kernels, missing):
    x, tensors = layer((2, 5, 3, 4), shared_noise=False)
    check_layer(kernels, x, tensors | dict.fromkeys(missing.split()), act="lrelu", clamp=None)


@pytest.mark.parametrize("scaled", [True, False])
def test_rows_of_a_matrix_equal_the_definition(kernels, scaled):
    x, tensors = layer((9, 66) if scaled else (70, 66))
    check_layer(kernels, x, tensors if scaled else tensors | {"scale": None}, act="lrelu", clamp=1.0)


def test_gradients_that_nobody_needs_are_not_made(kernels):
    x, tensors = layer((2, 5, 3, 4))
    y = kernels.act(x, *tensors.values(), 1.3, 0.2, None)
    for only in range(4):
        needs = tuple(i == only for i in range(4))
        given = kernels.act_backward(
            y, y, x, tensors["scale"], tensors["noise"].shape, 1.3, 0.2, None, needs,
        )  # fmt: skip
        assert [g is not None for g in given] == list(needs)


def test_a_gradient_in_another_layout_is_brought_into_line(kernels):
    x, tensors = layer((2, 5, 3, 4), layout=LAST)
    y = kernels.act(x, *tensors.values(), 1.3, 0.2, None)
    dy = draw(*x.shape, seed=4)
    rest = y, x, tensors["scale"], tensors["noise"].shape, 1.3, 0.2, None, (True,) * 4
    other = kernels.act_backward(dy.to(memory_format=LAST), *rest)
    for a, b in zip(kernels.act_backward(dy, *rest), other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_no_gradient_passes_what_was_clamped_whatever_the_clamp_is_rounded_to(kernels, dtype):
    for clamp in (0.7, 256 * 0.5**0.5):
        x = torch.tensor([[-2, -1, -0.01, 0.01, 1, 2]]).to(dtype) * clamp
        y = kernels.act(x, None, None, None, 1.0, 1.0, clamp)
        dx, *_ = kernels.act_backward(torch.ones_like(y), y, None, None, None, 1.0, 1.0, clamp, (True, *[False] * 3))
        assert dx[0, [0, 2, 3, 5]].tolist() == [0, 1, 1, 0]


def test_the_result_may_take_the_place_of_the_input_and_nan_stays_nan(kernels):
    x, tensors = layer((2, 5, 3, 4))
    x[0, 0, 0, 0] = float("nan")
    expected = defined(x, **tensors, clamp=0.5)
    y = kernels.act(x, *tensors.values(), 1.3, 0.2, 0.5, out=x)
    assert y.data_ptr() == x.data_ptr()
    torch.testing.assert_close(y, expected, equal_nan=True)


def test_only_dense_activations_suit(kernels):
    x = draw(2, 6, 4, 4)
    assert kernels.suits(x) and kernels.suits(x.to(memory_format=LAST)) and kernels.suits(x[:, :, 0, 0].contiguous())
    assert not kernels.suits(x[:, ::2]) and not kernels.suits(x.mT[:, :, :2]) and not kernels.suits(x[:, 0])


# ---------------------------------------------------------------- resampling

RESAMPLINGS = {
    "filter": dict(padding=2),
    "up": dict(up=2, padding=(2, 1, 2, 1), gain=4),
    "down": dict(down=2, padding=1),
    "mixed": dict(up=(3, 2), down=(2, 1), padding=(2, 1, 0, 3), flip_filter=True),
    "both": dict(up=2, down=3, padding=(5, 0, 1, 4)),
    "tall": dict(up=(1, 2), down=(2, 3), padding=(1, 2, 3, 0)),
    "cropped": dict(padding=(-1, -2, 3, 0)),
    "cropped up": dict(up=2, padding=(-3, 1, -1, -2), flip_filter=True),
    "cropped down": dict(down=2, padding=(-1, 0, 2, -3)),
}


@pytest.fixture
def dispatched(kernels, monkeypatch):
    """Kernels serve every tensor, as they do on a GPU."""
    calls = []

    def counted(*args):
        calls.append(args)
        return kernels.upfirdn2d(*args)

    monkeypatch.setattr(resampling, "kernels_for", lambda x: SimpleNamespace(upfirdn2d=counted))
    return calls


def definition(x, f, kwargs):
    """By plain PyTorch, in float64, whatever kernels_for says."""
    found, resampling.kernels_for = resampling.kernels_for, lambda x: None
    try:
        return upfirdn2d(x.double(), None if f is None else f.double(), **kwargs)
    finally:
        resampling.kernels_for = found


@pytest.mark.parametrize("case", RESAMPLINGS)
def test_resampling_equals_the_definition(case, dispatched):
    f = draw(4, 3, seed=1)
    for shape, layout in (((2, 3, 7, 10), FIRST), ((1, 70, 5, 6), LAST)):
        x = draw(*shape).to(memory_format=layout)
        dispatched.clear()
        y = upfirdn2d(x, f, **RESAMPLINGS[case])
        assert len(dispatched) == 1 and y.is_contiguous(memory_format=layout)
        assert_near(y, definition(x, f, RESAMPLINGS[case]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_resampling_in_16_bits_is_rounded_once(dtype, dispatched):
    x, f = draw(2, 3, 7, 10).to(dtype), draw(4, 4, seed=1)
    y = upfirdn2d(x, f, **RESAMPLINGS["up"])
    assert y.dtype == dtype
    assert_near(y, definition(x, f, RESAMPLINGS["up"]), dtype)


@pytest.mark.parametrize("taps", [(1, 1), (8, 8), (2, 7)])
def test_filters_of_other_sizes_equal_the_definition(taps, dispatched):
    x, f = draw(1, 18, 9, 13).mT, draw(*taps, seed=1)  # several tiles of pixels and of channels; not dense
    assert_near(upfirdn2d(x, f, up=2, padding=4), definition(x, f, dict(up=2, padding=4)))
    assert dispatched


@pytest.mark.parametrize("case", RESAMPLINGS)
def test_first_and_second_gradients_of_resampling_equal_the_definition(case, dispatched):
    f, kwargs = draw(4, 3, seed=1), RESAMPLINGS[case]

    def gradients(function, x):
        y = function(x)
        (g,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)  # R1 squares a gradient and differentiates it
        return g, torch.autograd.grad(g.pow(2).sum(), x)[0]

    x = draw(2, 3, 6, 7)
    expected = gradients(lambda x: definition(x, f, kwargs), x.double().requires_grad_())
    dispatched.clear()
    for result, right in zip(gradients(lambda x: upfirdn2d(x, f, **kwargs), x.requires_grad_()), expected, strict=True):
        assert_near(result, right)
    assert len(dispatched) >= 4  # forward, its gradient, and both once more


def test_what_the_kernel_does_not_know_takes_the_definition(dispatched, monkeypatch):
    x = draw(1, 2, 12, 12)
    learned = draw(4, 4).requires_grad_()
    for f in (None, draw(9), draw(9, 1), learned):
        torch.testing.assert_close(upfirdn2d(x, f, padding=4), definition(x, f, dict(padding=4)).float())
    assert len(dispatched) == 1  # the identity is a filter of one tap
    with pytest.raises(RuntimeError, match="[Kk]ernel"):
        upfirdn2d(x, draw(4, 4), padding=-6)  # nothing is left: the definition's message
    monkeypatch.setattr(resampling, "kernels_for", lambda x: SimpleNamespace())  # as on a CPU
    upfirdn2d(x, draw(4, 4))
    assert len(dispatched) == 1


# ---------------------------------------------------------------- where there is no GPU to compile for


def launches(dtype, layout):
    """Every launcher, with widths that divide as those of real images do."""

    def empty(*shape):
        return torch.empty(shape, dtype=dtype, memory_format=layout)

    def act():
        from eg3d.ops.kernels import triton_kernels as kernels

        x, scale, noise, b = empty(2, 128, 64, 64), torch.empty(2, 128), torch.empty(2, 1, 64, 64), torch.empty(128)
        kernels.act(x, scale, noise, b, 1.4, 0.2, 256.0)
        kernels.act_backward(x, x, x, scale, noise.shape, 1.4, 0.2, 256.0, (True,) * 4)

    def bare_act():
        from eg3d.ops.kernels import triton_kernels as kernels

        x = empty(2, 3, 5, 7)
        kernels.act(x, None, None, None, 1.0, 1.0, None)
        kernels.act_backward(x, x, None, None, None, 1.0, 1.0, None, (True, False, False, False))

    def filtered():
        from eg3d.ops.kernels import triton_kernels as kernels

        kernels.upfirdn2d(empty(2, 64, 65, 65), torch.empty(4, 4), (1, 1), (1, 1), (1, 1, 1, 1), False, 4.0)

    def enlarged():
        from eg3d.ops.kernels import triton_kernels as kernels

        kernels.upfirdn2d(empty(2, 3, 64, 64), torch.empty(4, 4), (2, 2), (1, 1), (2, 1, 2, 1), False, 4.0)

    return {"act": act, "bare act": bare_act, "filtered": filtered, "enlarged": enlarged}


KERNELS = {
    "act": ["act_kernel", "act_backward_kernel"],
    "bare act": ["act_kernel", "act_backward_kernel"],
    "filtered": ["upfirdn2d_kernel"],
    "enlarged": ["upfirdn2d_kernel"],
}
LAUNCHES = {
    f"{name}, {dtype}, {layout}": launch
    for dtype in ("float32", "float16", "bfloat16")
    for layout in ("contiguous_format", "channels_last")
    for name, launch in launches(getattr(torch, dtype), getattr(torch, layout)).items()
}


@pytest.fixture
def quiet(monkeypatch):
    """A warning of Triton's is an error: a user can do nothing about it."""
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning")


def assert_compiled(names, capabilities, folder):
    import triton

    try:
        assert triton.knobs.nvidia.ptxas.path
    except RuntimeError as error:
        pytest.skip(f"no ptxas: {error}")
    made = cubins(__file__, names, capabilities, folder)
    for name, capability in itertools.product(names, capabilities):
        built = [kernel for kernel, size in made[f"{capability}"][name] if size]
        assert built == KERNELS[name.split(",")[0]], f"{name}, sm_{capability}"


@pytest.mark.robust
def test_kernels_compile_to_machine_code(tmp_path, quiet):
    names = [f"{name}, float16, contiguous_format" for name in ("act", "filtered", "enlarged")]
    assert_compiled(names, [80, 90], tmp_path)


@pytest.mark.slow
def test_kernels_compile_in_every_format_and_layout_for_every_generation(tmp_path, quiet):
    assert_compiled(list(LAUNCHES), [80, 90, 100], tmp_path)


# ---------------------------------------------------------------- where they cannot be had


def test_kernels_for_gpus_offer_what_those_for_cpus_offer(kernels):
    offered = {name for name, value in vars(native).items() if getattr(value, "__module__", "") == native.__name__}
    for name in {name for name in kernels.__all__ if name != "upfirdn2d"}:
        assert name in offered
        ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (kernels, native))
        assert list(ours) == [one for one in theirs if one != "blend"], name  # which is for a CPU alone


def test_a_gpu_that_is_too_old_and_one_that_triton_cannot_reach_are_named(kernels, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GTX 1080")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    with pytest.raises(RuntimeError, match=r"GTX 1080 has compute capability 6\.1"):
        kernels.check_gpu()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    with pytest.raises(RuntimeError, match="Triton cannot reach GTX 1080: .*driver"):
        kernels.check_gpu()


def test_without_triton_the_reason_is_one_line(monkeypatch):
    import eg3d.ops.kernels

    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "eg3d.ops.kernels.triton_kernels", raising=False)
    monkeypatch.delattr(eg3d.ops.kernels, "triton_kernels", raising=False)
    module, reason = backend.available.__wrapped__("cuda")
    assert module is None and reason.startswith("Triton is not installed") and "\n" not in reason
