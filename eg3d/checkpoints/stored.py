"""Networks as files hold them: class, constructor's arguments, tensors. What all checkpoint formats share."""

import hashlib
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from eg3d.checkpoints.arguments import PUBLISHED, discriminator_arguments, generator_arguments, own_arguments
from eg3d.models.architectures import DISCRIMINATORS, GENERATORS
from groundwork.strict_pickle import one_line

NAMES = ("G_ema", "G", "D")
MOST_RAYS = 1024  # per side
LARGEST_ARGUMENT, MOST_LAYERS = 1 << 20, 64  # far beyond every network; a damaged file must not build for hours
LONGEST_TEXT = 1000  # characters of a text among the arguments
SHOWN = 3  # tensors in a message
MOST_NUMBERS = 1 << 28  # of one network; published ones have 31 million
SLACK = 1 << 20  # numbers that a network may have beyond its file, so that a tensor that is missing can be named


class CheckpointError(ValueError):
    """What is wrong with a checkpoint: one line that names the file."""

    def __init__(self, message: str):
        super().__init__(one_line(message, 5000))  # a path may have 4096 characters


def like_command(path: str | Path) -> str:
    """How to convert a file that cannot say the arguments of its network."""
    dest = shlex.quote(f"{Path(path).stem}-converted.safetensors")
    return f"python eg3d/convert.py --source={shlex.quote(str(path))} --like=NETWORK --dest={dest}"


@dataclass(frozen=True)
class StoredNetwork:
    """One network of a checkpoint.

    Attributes:
        cls: a name in models/architectures.py; init_kwargs: arguments of its constructor, see arguments.py; None if the
            file does not say them, see bare.py.
        shapes: of every tensor, by state-dict name.
        read: gives the tensors, by the same names; on the CPU, of the type they are stored in.
        rendering_kwargs, neural_rendering_resolution: attributes of a generator; None for a discriminator, and for a
            generator that has none.
    """

    cls: str
    init_kwargs: dict | None
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[], dict[str, torch.Tensor]] = field(repr=False)
    rendering_kwargs: dict | None = None
    neural_rendering_resolution: int | None = None

    @property
    def is_generator(self) -> bool:
        return self.cls in GENERATORS

    def arguments(self) -> dict:
        """Arguments of our class; ValueError for wrong ones."""
        rays = self.neural_rendering_resolution
        if self.is_generator and rays is not None and not 1 <= rays <= MOST_RAYS:
            raise ValueError(f"{rays} rays per side, more than {MOST_RAYS}")
        if self.cls not in PUBLISHED:
            return own_arguments(self.cls, self.init_kwargs)
        if not self.is_generator:
            return discriminator_arguments(self.init_kwargs)
        return generator_arguments(self.init_kwargs, self.rendering_kwargs) | {"neural_rendering_resolution": rays}

    def build(self, where: str) -> nn.Module:
        """The network, on the CPU, float32, ready to train; `where` begins the line of a CheckpointError.

        Strict: a missing, extra or misshapen tensor is an error that names the first ones.
        """
        network = self.build_empty(where)
        difference = compare(network, self.shapes)
        if difference:
            raise CheckpointError(f"{where}: {difference.some()}; the file belongs to another network")
        network.load_state_dict({name: value.float() for name, value in self.read().items()}, assign=True)
        return network

    def build_empty(self, where: str) -> nn.Module:
        """The network with whatever numbers memory holds; at most twice as many as the file has, and SLACK."""
        try:
            check_arguments([self.init_kwargs, self.rendering_kwargs])
            numbers = sum(math.prod(shape) for shape in self.shapes.values())
            if numbers > MOST_NUMBERS:
                raise ValueError(f"the file says {numbers} weights, no network here has so many")
            arguments = self.arguments()
            with _WithoutDraws(numbers):
                network = (GENERATORS | DISCRIMINATORS)[self.cls].network(**arguments)
            if hasattr(network, "neural_rendering_resolution") and self.neural_rendering_resolution is not None:
                network.neural_rendering_resolution = self.neural_rendering_resolution
        except Exception as error:  # wrong arguments fail in many ways; all mean the same to the user
            reason = f"{type(error).__name__}: {' '.join(str(error)[:300].split())}"
            raise CheckpointError(
                f"{where}: its arguments build no {self.cls} ({reason}); if other code made it, take the arguments of "
                f"the network that it is like: {like_command(where)}"
            ) from None
        return network


@dataclass(frozen=True)
class Checkpoint:
    """A readable file: its networks by name (of NAMES) and facts about its making.

    kind: 'snapshot' (ours), 'published pickle', 'whole module', 'state dict' or 'tensors' (which lack arguments).
    notes: what the reader had to decide, for the user.
    """

    path: Path
    kind: str
    networks: dict[str, StoredNetwork]
    facts: dict
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if not isinstance(self.facts.get("gaze", {}), dict):
            raise CheckpointError(f"{self.path}: its facts are damaged ('gaze' is no object); make it anew")

    def network(self, name: str) -> StoredNetwork:
        """One network; CheckpointError when the file has none of this name."""
        if name not in self.networks:
            there = ", ".join(sorted(self.networks))
            raise CheckpointError(f"{self.path}: holds no network {name} (only {there}); give another checkpoint")
        return self.networks[name]


@dataclass(frozen=True)
class Difference:
    """How the tensors of a file differ from those of a network. False when they do not."""

    missing: tuple[str, ...]  # the file lacks them
    extra: tuple[str, ...]  # the network lacks them
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # shapes in the file and in the network

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.misshapen)

    def lines(self) -> list[str]:
        """One line for every tensor."""
        return [
            *(f"the tensor {name} is missing" for name in self.missing),
            *(f"the tensor {name} is not part of this network" for name in self.extra),
            *(
                f"the tensor {name} has shape {list(got)}, this network has {list(want)}"
                for name, (got, want) in self.misshapen.items()
            ),
        ]

    def some(self) -> str:
        """The first few lines, and how many there are more."""
        lines = self.lines()
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        return "; ".join(lines[:SHOWN]) + more


def compare(network: nn.Module, shapes: dict[str, tuple[int, ...]]) -> Difference:
    """The tensors of a file, by name, against those of a network."""
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return Difference(
        missing=tuple(name for name in own if name not in shapes),
        extra=tuple(name for name in shapes if name not in own),
        misshapen={name: (shapes[name], own[name]) for name in own if name in shapes and shapes[name] != own[name]},
    )


class _WithoutDraws(TorchFunctionMode):
    """While networks are built: no time is spent on random weights, and hostile arguments claim no memory.

    The meta device does that too, but its first arithmetic imports PyTorch's compiler, which takes longer than loading.
    """

    def __init__(self, numbers: int):
        super().__init__()
        self.numbers = 2 * numbers + SLACK

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.randn, torch.zeros, torch.ones, torch.full, torch.empty):
            size = args[0] if args and not isinstance(args[0], int) else args
            self.numbers -= math.prod(size)
            if self.numbers < 0:
                raise ValueError("they ask for more weights than the file has")
            func = torch.empty if func is torch.randn else func
        return func(*args, **(kwargs or {}))


def check_arguments(value, name: str = "arguments", depth: int = 0) -> None:
    """ValueError for arguments that no network has, before they make the constructor loop or fill the memory."""
    if depth > 8:
        raise ValueError(f"{name} is nested too deep")
    if isinstance(value, dict):
        for key, item in value.items():
            check_arguments(item, str(key)[:60], depth + 1)
    elif isinstance(value, (list, tuple)):
        if len(value) > 1000:
            raise ValueError(f"{name} has {len(value)} items")
        for item in value:
            check_arguments(item, name, depth + 1)
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ValueError(f"{name} is a text of {len(value)} characters")
    elif isinstance(value, (int, float)):
        limit = MOST_LAYERS if name == "num_layers" else LARGEST_ARGUMENT
        if not (math.isfinite(value) and abs(value) <= limit):
            raise ValueError(f"{name}={value:.3g} is more than {limit}")


def as_stored(value: torch.Tensor, half: bool, name: str) -> torch.Tensor:
    """A copy for a file, float16 with `half`; ValueError, with its name, for a tensor that float16 cannot hold."""
    stored = value.detach().cpu()
    if half and stored.is_floating_point():
        stored = stored.half()
        if not stored.isfinite().all():
            raise ValueError(f"{name} has values beyond float16; save it without half precision")
    return stored.clone(memory_format=torch.contiguous_format)


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of tensors: names in order, types, shapes and bytes. The same weights have it in every format."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous().cpu()
        result.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        result.update(value.reshape(-1).view(torch.uint8).numpy())
    return result.hexdigest()
