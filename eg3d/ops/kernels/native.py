"""Kernels for CPUs: `csrc/*.cpp`, compiled on first use (seconds) for this processor and kept in the user's cache.

Float32 only. Activations lie channels last; widths are multiples of LANES, whatever the processor's own are. The
functions here take and give tensors and know nothing of gradients; `fused_act.py` and `field.py` make them
differentiable. `triton_kernels.py` is the twin for GPUs.
"""

import ctypes
import functools
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from eg3d.ops.kernels.field_network import FieldWeights
from groundwork.files import cache_folder, is_own

SOURCES = Path(__file__).with_name("csrc")
FLAGS = ["-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]
LANES, WIDEST, MOST_SAMPLES = 16, 64, 256  # of csrc; LANES is the most of all processors

_PTR, _INT, _FLOAT, _THREADS = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
SIGNATURES = {  # name: result, arguments
    "instructions": (ctypes.c_char_p, []),
    "lanes": (ctypes.c_int, []),
    "act_blocks": (_INT, [_INT] * 2),
    "act": (None, [_PTR] * 5 + [_INT] * 4 + [_FLOAT] * 3 + [_THREADS]),
    "act_backward": (None, [_PTR] * 8 + [_INT] * 3 + [_FLOAT] * 3 + [_THREADS]),
    "rgb": (None, [_PTR] * 6 + [_INT] * 5 + [_THREADS]),
    "rgb_backward": (None, [_PTR] * 6 + [_INT] * 4 + [_THREADS]),
    "march": (None, ([_PTR] * 2 + [_INT]) * 2 + [_PTR] * 4 + [_INT, _THREADS]),
    "march_backward": (None, ([_PTR] * 2 + [_INT]) * 2 + [_PTR] * 6 + [_INT, _THREADS]),
    "fine_depths": (None, [_PTR] * 4 + [_INT] * 3 + [_THREADS]),
    "field_density": (None, [_PTR] * 5 + [_THREADS]),
    "field_pixels": (None, [_PTR] * 3 + [_INT] * 3 + [_THREADS]),
    "field_pixels_backward": (None, [_PTR] * 3 + [_INT] * 3 + [_THREADS]),
    "field_backward": (None, [_PTR] * 11 + [_INT, _THREADS]),
}


# ---------------------------------------------------------------- building


def compiler() -> str:
    """The C++ compiler: $CXX, g++, clang++ or c++. Raises: OSError when there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and shutil.which(name):
            return name
    raise OSError("no C++ compiler was found; install g++, or name one in $CXX")


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled sources. Raises: OSError or RuntimeError with a line to show."""
    kernels = ctypes.CDLL(str(_built(cache_folder(), _identity())))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(kernels, name)
        function.restype, function.argtypes = result, arguments
    return kernels


def instructions() -> str:
    """What the kernels compute with: AVX-512, AVX2, NEON, SSE2, or portable (none of these). Raises: as `library`."""
    return library().instructions().decode()


def lanes() -> int:
    """How many numbers the kernels compute at a time. Raises: as `library`."""
    return library().lanes()


def _identity() -> str:
    """Names everything a build depends on: sources, compiler, flags, and the processor with its instructions.

    So machines of different processors may share a cache. What `native` means is in the macros that the compiler
    defines, by which csrc/common.h chooses its lanes, and in the command that it runs.
    """
    about, target = (
        subprocess.run([compiler(), *flags], capture_output=True, text=True, errors="replace", check=False)
        for flags in (["--version"], ["-march=native", "-dM", "-E", "-v", "-x", "c++", os.devnull])
    )
    command = [line for line in target.stderr.splitlines() if "cc1plus" in line or '"-target-cpu"' in line]
    texts = [file.read_text() for file in sorted(SOURCES.iterdir())]
    known = [about.stdout, target.stdout, *command, *FLAGS, *texts]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def _built(folder: Path, identity: str) -> Path:
    """The library of that identity, built if it is missing, damaged (it would kill the process) or not the user's."""
    for path in folder.glob(f"kernels-{identity}-*.so"):
        if is_own(path) and path.name == _name(identity, path.read_bytes()):
            return path
        path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workplace:  # renamed when whole: other processes build too
        built = Path(workplace) / "kernels.so"
        command = [compiler(), *FLAGS, *map(str, sorted(SOURCES.glob("*.cpp"))), "-o", str(built)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            said = done.stderr.strip() or f"exit code {done.returncode}"
            reason = next((line for line in said.splitlines() if "error" in line), said[:200])
            raise RuntimeError(f"{command[0]} could not build {SOURCES}: {reason}")
        built.chmod(0o700)
        return built.replace(folder / _name(identity, built.read_bytes()))


def _name(identity: str, content: bytes) -> str:
    return f"kernels-{identity}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _at(t: torch.Tensor | None) -> int | None:
    """Address of a tensor's numbers; None is a null pointer. Raises: ValueError if it has no numbers in memory."""
    if t is None:
        return None
    address = t.data_ptr()
    if not t.is_cpu or (not address and t.numel()):  # meta and fake tensors have shapes only
        raise ValueError(f"kernels for CPUs were given a tensor without numbers in memory, {t!r:.80}: use --ops=torch")
    return address


# ---------------------------------------------------------------- the end of a layer


def act(x, scale, noise, b, gain: float, slope: float, clamp: float | None, out=None):
    """y = clamp(gain * lrelu(x * scale + noise + b)).

    Args: x [N, C, H, W] channels last, or [N, C]; scale [N, C], noise [N or 1, 1, H, W], b [C], or None; slope below 0;
        out, like x: where y goes, may be x itself.
    """
    y = torch.empty_like(x) if out is None else out
    n, c, pixels = _extent(x)
    maps = 1 if noise is None else len(noise)
    limit = math.inf if clamp is None else clamp
    scale, noise, b = map(_dense, (scale, noise, b))
    library().act(
        _at(x), _at(scale), _at(noise), _at(b), _at(y), n, pixels, c, maps, gain, slope, limit, torch.get_num_threads()
    )
    return y


def act_backward(dy, y, x, scale, noise_shape, gain: float, slope: float, clamp: float | None, needs):
    """Gradients (dx, dscale, dnoise, db) of `act`; None for each that `needs` does not ask for.

    x may be None if scale is None. y may be dy itself if the activation is linear and has no clamp.
    """
    n, c, pixels = _extent(y)
    dense = dy.contiguous(memory_format=torch.channels_last) if dy.ndim == 4 else dy.contiguous()
    dy, y = dense, dense if y is dy else y
    blocks = library().act_blocks(pixels, c)
    need_x, need_scale, need_noise, need_b = needs
    dx = torch.empty_like(y) if need_x else None
    dscale = y.new_zeros(n, blocks, c) if need_scale else None
    dnoise = y.new_empty(n, 1, *y.shape[2:]) if need_noise else None
    db = y.new_zeros(n, blocks, c) if need_b else None
    limit, scale = math.inf if clamp is None else clamp, _dense(scale)
    library().act_backward(
        _at(dy), _at(y), _at(x) if need_scale else None, _at(scale), _at(dx), _at(dscale), _at(dnoise), _at(db),
        n, pixels, c, gain, slope, limit, torch.get_num_threads(),
    )  # fmt: skip
    if need_noise and noise_shape[0] == 1:
        dnoise = dnoise.sum(dim=0, keepdim=True)
    return dx, dscale.sum(dim=1) if need_scale else None, dnoise, db.sum(dim=(0, 1)) if need_b else None


def suits(x: torch.Tensor) -> bool:
    """Whether `act` takes x as it lies in memory."""
    if x.shape[1] % LANES:
        return False
    return x.is_contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.ndim == 2 and x.is_contiguous()


def _extent(x) -> tuple[int, int, int]:
    """(N, C, pixels)."""
    n, c, *sides = x.shape
    return n, c, math.prod(sides)


def _dense(t):
    return None if t is None else t.to(torch.float32).contiguous()


# ---------------------------------------------------------------- the image of a skip architecture


def rgb_fits(x, colours: int, image, f) -> bool:
    """Whether `rgb` takes these. It takes no wide layers: oneDNN computes those faster."""
    if max(x.shape[1], colours) > WIDEST or colours % LANES or x.ndim != 4 or not suits(x):
        return False
    if image is None:
        return f is None
    half = (len(x), colours, x.shape[2] / 2, x.shape[3] / 2)
    return f is not None and f.shape == (4, 4) and image.shape == half and image.dtype == torch.float32 and suits(image)


def rgb(x, weight, bias, image, f):
    """bias + weight x + the image enlarged: [N, K, H, W], all channels last.

    Args: x [N, C, H, W]; weight [N, K, C]; bias [K]; image [N, K, H / 2, W / 2] or None; f [4, 4] as correlated with
        the image between whose numbers zeros stand, gain included.
    """
    (n, c, h, w), k = x.shape, len(bias)
    assert weight.shape == (n, k, c) and weight.dtype == x.dtype == torch.float32
    y = torch.empty((n, k, h, w), dtype=x.dtype, memory_format=torch.channels_last)
    weight, bias, f = weight.mT.contiguous(), _dense(bias), _dense(f)
    library().rgb(_at(x), _at(weight), _at(bias), _at(image), _at(f), _at(y), n, h, w, c, k, torch.get_num_threads())
    return y


def rgb_backward(dy, x, weight, need_x: bool, need_weight: bool):
    """Gradients (dx, dweight [N, K, C], dbias) of `rgb`; None where not needed."""
    (n, c, h, w), k = x.shape, weight.shape[1]
    dy, weight = dy.contiguous(memory_format=torch.channels_last), _dense(weight)
    dx = torch.empty_like(x) if need_x else None
    dweight, db = (x.new_zeros(n, c, k), x.new_zeros(n, k)) if need_weight else (None, None)
    library().rgb_backward(
        _at(dy), _at(x), _at(weight), _at(dx), _at(dweight), _at(db), n, h * w, c, k, torch.get_num_threads()
    )
    return dx, *((dweight.mT, db.sum(dim=0)) if need_weight else (None, None))


# ---------------------------------------------------------------- the tri-plane field


class _Field(ctypes.Structure):
    """`Field` of csrc/field.cpp."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("texels", "points", "w1", "b1", "w2", "b2", "w1_t", "w2_t")]
        + [(name, ctypes.c_int64) for name in ("n", "count", "height", "width", "c", "h", "o")]
        + [("scale", ctypes.c_float), ("axes", ctypes.c_int32 * 6)]
    )


class _Balls(ctypes.Structure):
    """`Balls` of csrc/field.cpp."""

    _fields_ = [("second", _Field), ("centres", _PTR), ("count", _INT)] + [
        (name, _FLOAT) for name in ("middle", "inner", "outer")
    ]


def field_fits(weights: FieldWeights) -> bool:
    """Whether the field's kernels know networks of these widths."""
    widths = (*weights.w1.shape, len(weights.w2) - 1)
    return all(width % LANES == 0 and width <= WIDEST for width in widths)


def field_density(texels, points, weights: FieldWeights, scale: float, axes, recorded: bool = True, blend=None):
    """Density of the field, and what the functions below need of it.

    Args:
        texels: [N, H, W, 3 C], the features of a texel's three planes side by side.
        points: [N, P, 3]; scale: 2 / side of the box; axes: per plane which coordinates index width and height.
        recorded: False when `field_backward` will not be called.
        blend: a second field, by its texels, weights, scale, axes and what is taken from its points first, and the
            balls where it takes the first one's place as `Ball.weight` of rendering/blended.py says: centres [N, K, 3],
            inner and outer radius. None: no second.
    Returns: sigma [N, P], kept: the colours [N, P, O] and features [N, P, C] or None.
    """
    field, alive = _field(texels, points, weights, scale, axes)
    n, count, _ = points.shape
    sigma, colours = points.new_empty(n, count), points.new_empty(n, count, field.o)
    features = points.new_empty(n, count, field.c) if recorded else None
    balls = None
    if blend is not None:
        texels, weights, scale, axes, middle, (centres, *radii) = blend
        second, also_alive = _field(texels, points, weights, scale, axes)
        centres = _dense(centres)
        assert second.o == field.o and centres.shape == (n, centres.shape[1], 3)
        alive += also_alive
        balls = ctypes.byref(_Balls(second, _at(centres), centres.shape[1], middle, *radii))
    library().field_density(
        ctypes.byref(field), balls, _at(sigma), _at(colours), _at(features), torch.get_num_threads()
    )
    del alive
    return sigma, (colours, features)


def field_pixels(texels, points, weights: FieldWeights, scale: float, axes, kept, sample_weights):
    """Weighted sums of colours: sample_weights [N, M, S] -> [N, M, O]; point index = ray * S + sample."""
    (n, rays, samples), (colours, _), sample_weights = sample_weights.shape, kept, sample_weights.contiguous()
    pixels = points.new_empty(n, rays, colours.shape[-1])
    library().field_pixels(
        _at(colours), _at(sample_weights), _at(pixels), n * rays, samples, pixels.shape[-1], torch.get_num_threads()
    )
    return pixels


def field_pixels_backward(texels, points, weights: FieldWeights, scale: float, axes, kept, dpixels):
    """Gradient of `field_pixels` to sample_weights: dpixels [N, M, O] -> [N, M, S]."""
    (n, rays, o), (colours, _), dpixels = dpixels.shape, kept, dpixels.contiguous()
    dsample_weights = points.new_empty(n, rays, points.shape[1] // rays)
    library().field_pixels_backward(
        _at(colours), _at(dpixels), _at(dsample_weights), n * rays, dsample_weights.shape[2], o, torch.get_num_threads()
    )
    return dsample_weights


def field_backward(texels, points, weights: FieldWeights, scale: float, axes, kept, dsigma, sample_weights, dpixels):
    """Gradients to texels and weights; None for what is not given: dsigma [N, P], or sample_weights and dpixels."""
    field, alive = _field(texels, points, weights, scale, axes)
    dtexels = torch.zeros_like(texels)
    per_latent = [w.new_zeros(len(points), *w.shape) for w in weights]
    colours, features = kept
    dsigma, sample_weights, dpixels = map(_dense, (dsigma, sample_weights, dpixels))
    samples = 1 if sample_weights is None else sample_weights.shape[2]
    library().field_backward(
        ctypes.byref(field), _at(features), _at(colours), _at(dsigma), _at(sample_weights), _at(dpixels), _at(dtexels),
        *map(_at, per_latent), samples, torch.get_num_threads(),
    )  # fmt: skip
    del alive
    return dtexels, FieldWeights(*(g.sum(dim=0) for g in per_latent))


def _field(texels, points, weights, scale, axes) -> tuple[_Field, list]:
    """The structure, and the tensors that must live as long as it."""
    assert texels.is_contiguous() and points.is_contiguous() and texels.dtype == points.dtype == torch.float32
    assert len(texels) == len(points) and texels.shape[3] == len(axes) * weights.w1.shape[1]
    weights = FieldWeights(*map(_dense, weights))
    alive = [texels, points, *weights, weights.w1.t().contiguous(), weights.w2[1:].t().contiguous()]
    n, height, width, wide = texels.shape
    numbers = (n, points.shape[1], height, width, wide // len(axes), *weights.w1.shape[:1], len(weights.w2) - 1)
    flat = (ctypes.c_int32 * 6)(*(a for pair in axes for a in pair))
    return _Field(*map(_at, alive), *numbers, scale, flat), alive


# ---------------------------------------------------------------- along a ray


def march_fits(samples: int) -> bool:
    """Whether the functions below take so many samples of a ray, both passes together."""
    return 2 <= samples <= MOST_SAMPLES


def march(sigmas, depths):
    """Densities and depths [N, M, S] of one or two passes -> sample weights like them, total, depth [N, M]."""
    sigmas, depths = [_dense(t) for t in sigmas], [_dense(t) for t in depths]
    weights = [torch.empty_like(t) for t in sigmas]
    total, depth = (sigmas[0].new_empty(sigmas[0].shape[:-1]) for _ in range(2))
    places = _pair(weights)
    library().march(*_passes(sigmas, depths), *places, _at(total), _at(depth), total.numel(), torch.get_num_threads())
    return weights, total, depth


def march_backward(sigmas, depths, dweights, dtotal, ddepth):
    """Gradients of `march` to the densities; those that come in may be None."""
    sigmas, depths, dweights = ([_dense(t) for t in tensors] for tensors in (sigmas, depths, dweights))
    dtotal, ddepth = _dense(dtotal), _dense(ddepth)
    dsigmas = [torch.empty_like(t) for t in sigmas]
    library().march_backward(
        *_passes(sigmas, depths), *_pair(dweights), _at(dtotal), _at(ddepth), *_pair(dsigmas),
        sigmas[0].shape[:-1].numel(), torch.get_num_threads(),
    )  # fmt: skip
    return dsigmas


def fine_depths(sigma, depths, u):
    """Depths of the fine pass: coarse densities, sorted depths [N, M, S], u [N, M, F] in [0, 1) -> [N, M, F]."""
    sigma, depths, u = map(_dense, (sigma, depths, u))
    fine = torch.empty_like(u)
    rays, sizes = sigma.shape[:-1].numel(), (sigma.shape[-1], u.shape[-1])
    library().fine_depths(_at(sigma), _at(depths), _at(u), _at(fine), rays, *sizes, torch.get_num_threads())
    return fine


def _pair(tensors) -> tuple:
    return _at(tensors[0]), _at(tensors[1]) if len(tensors) > 1 else None


def _passes(sigmas, depths) -> list:
    numbers = []
    for sigma, depth in zip(sigmas, depths, strict=True):
        numbers += [_at(sigma), _at(depth), sigma.shape[-1]]
    return numbers if len(sigmas) == 2 else [*numbers, None, None, 0]
