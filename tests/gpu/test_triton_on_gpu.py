"""On a CUDA device: kernels of the ends of layers and of resampling against float64. Run by `make gpu-check`.

Inputs are new in every run; memory that nobody wrote to is nan.
"""

import secrets

import pytest
import torch

from eg3d.ops.bias_act import bias_act
from eg3d.ops.kernels.backend import kernels_for, using
from eg3d.ops.upfirdn2d import setup_filter, upfirdn2d

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
FIRST, LAST = torch.contiguous_format, torch.channels_last
ROUNDING = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # of the norm
SHAPES = [(4, 128, 256, 256), (2, 512, 16, 16), (4, 3, 512, 512), (3, 70, 37, 41)]


@pytest.fixture(autouse=True)
def insisted():
    """`auto` takes plain PyTorch on a GPU until these tests and the benchmarks have shown that kernels may be taken."""
    with using("kernels"):
        yield


@pytest.fixture(autouse=True)
def poisoned():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def draw():
    """draw(*shape): normal numbers; the seed is in the report of a failure."""
    seed = secrets.randbelow(2**31)
    print(f"seed {seed}")
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, device=DEVICE)


def assert_near(result, expected, dtype=torch.float32):
    assert result.shape == expected.shape and expected.norm() > 0
    error = (result.double() - expected.double()).norm() / expected.double().norm()
    assert error <= ROUNDING[dtype], f"relative error {error:.1e}"


def test_tensors_on_the_gpu_get_kernels(draw):
    for dtype in ROUNDING:
        assert kernels_for(draw(1).to(dtype)).__name__ == "eg3d.ops.kernels.triton_kernels"
    assert kernels_for(draw(1).double()) is None
    with using("torch"):
        assert kernels_for(draw(1)) is None


@pytest.mark.parametrize("layout", [FIRST, LAST], ids=["first", "last"])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("shape", SHAPES)
def test_ends_of_layers_and_their_gradients(shape, dtype, layout, draw):
    n, c, h, w = shape
    x = draw(*shape).to(dtype).to(memory_format=layout)
    kernels = kernels_for(x)
    for maps, clamp in ((n, 1.5), (1, None)):
        tensors = draw(n, c), draw(maps, 1, h, w), draw(c)
        exact = [t.double().requires_grad_() for t in (x, *tensors)]
        shifted = exact[0] * exact[1][:, :, None, None] + exact[2]
        expected = bias_act(shifted, exact[3], "lrelu", gain=1.3, clamp=clamp)
        corners = expected.abs() < 0.01  # there rounding decides which slope holds
        corners = corners if clamp is None else corners | ((expected.abs() - clamp).abs() < 0.02)
        dy = draw(*shape).to(dtype).to(memory_format=layout).masked_fill(corners, 0)
        wanted = torch.autograd.grad(expected, exact, dy.double())

        y = kernels.act(x, *tensors, 1.3, 0.2, clamp)
        assert y.dtype == dtype and y.stride() == x.stride()
        assert_near(y, expected, dtype)
        rest = dy, y, x, tensors[0], tensors[1].shape, 1.3, 0.2, clamp, (True,) * 4
        given = kernels.act_backward(*rest)
        for gradient, right in zip(given, wanted, strict=True):
            assert_near(gradient, right, dtype)
        for gradient, again in zip(given, kernels.act_backward(*rest), strict=True):
            assert torch.equal(gradient, again)  # no atomics


@pytest.mark.parametrize("dtype", ROUNDING)
def test_rows_of_a_matrix_and_their_gradients(dtype, draw):
    x, b = draw(1000, 77).to(dtype), draw(77)
    exact = [t.double().requires_grad_() for t in (x, b)]
    expected = bias_act(*exact, "lrelu")
    dy = draw(1000, 77).to(dtype).masked_fill(expected.abs() < 0.01, 0)
    wanted = torch.autograd.grad(expected, exact, dy.double())
    kernels = kernels_for(x)
    y = kernels.act(x, None, None, b, 2**0.5, 0.2, None)
    assert_near(y, expected, dtype)
    dx, _, _, db = kernels.act_backward(dy, y, None, None, None, 2**0.5, 0.2, None, (True, False, False, True))
    assert_near(dx, wanted[0], dtype)
    assert_near(db, wanted[1], dtype)


RESAMPLINGS = {
    "filter": dict(padding=1, gain=4),
    "up": dict(up=2, padding=(2, 1, 2, 1), gain=4),
    "down": dict(down=2, padding=1, flip_filter=True),
    "cropped": dict(padding=(-1, -2, 3, 0)),
    "mixed": dict(up=(3, 2), down=(2, 1), padding=(2, 1, 0, -3)),
}


@pytest.mark.parametrize("layout", [FIRST, LAST], ids=["first", "last"])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("case", RESAMPLINGS)
def test_resampling_and_its_first_and_second_gradients(case, dtype, layout, draw):
    f = setup_filter().to(DEVICE) + draw(4, 4) / 50  # not symmetric
    for shape in ((2, 64, 129, 131), (2, 3, 64, 64)):
        x = draw(*shape).to(dtype).to(memory_format=layout)
        weight = draw(*upfirdn2d(x, f, **RESAMPLINGS[case]).shape)

        def results(x, f, weight=weight):
            x = x.detach().requires_grad_()
            y = upfirdn2d(x, f, **RESAMPLINGS[case])
            (g,) = torch.autograd.grad((y.pow(2) * weight).sum(), x, create_graph=True)
            return y, g, torch.autograd.grad(g.pow(2).sum(), x)[0]

        exact = results(x.double(), f.double(), weight.double())
        with using("kernels"):
            given = results(x, f)
        assert given[0].is_contiguous(memory_format=layout) and given[0].dtype == dtype
        for steps, (result, right) in enumerate(zip(given, exact, strict=True)):
            error = (result.double() - right).norm() / right.norm()
            limit = ROUNDING[dtype] * (1 + 3 * steps)  # what one step rounds, the next one takes
            assert error <= limit, f"relative error {error:.1e} after {steps} gradients"


def test_a_batch_of_more_than_two_billion_numbers():
    shape = (33, 256, 512, 512)
    if torch.cuda.mem_get_info()[0] < 16 * 2**30:
        pytest.skip("needs 16 GiB of GPU memory")
    x = torch.zeros(shape, dtype=torch.float16, device=DEVICE)
    x[-1] = torch.randn(shape[1:], device=DEVICE)
    kernels = kernels_for(x)
    y = kernels.act(x, None, None, None, 1.0, 0.2, None, out=x.clone())
    assert torch.equal(y[-1:], kernels.act(x[-1:].clone(), None, None, None, 1.0, 0.2, None))
    assert not y[:-1].any()
    f = setup_filter().to(DEVICE)
    y = kernels.upfirdn2d(x, f, (1, 1), (1, 1), (1, 1, 1, 1), False, 1.0)
    assert torch.equal(y[-1:], kernels.upfirdn2d(x[-1:], f, (1, 1), (1, 1), (1, 1, 1, 1), False, 1.0))
