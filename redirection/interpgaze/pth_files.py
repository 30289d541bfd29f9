"""The published weight files of InterpGaze: encoder-LABEL.pth, interp_net-LABEL.pth, and so on, in one folder.

They hold tensors only; code in them is never run. Which decoder they are of, how many attributes each group has and how
wide the networks are is read from the shapes.
"""

import io
import re
from pathlib import Path

import torch
from torch import nn

from eg3d.metrics.network_file import read_state
from groundwork.files import atomic_write
from groundwork.filling import filled
from redirection.attributes import PUBLISHED
from redirection.interpgaze.controller import Controller
from redirection.interpgaze.latent_discriminator import LatentDiscriminator
from redirection.interpgaze.patch_decoder import DECODERS
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig, make_critic, make_transform
from redirection.interpgaze.vgg_encoder import Encoder

WHAT = "InterpGaze"
LABEL = "latest"
_PARTS = {"encoder": "encoder", "interp_net": "controller", "decoder": "decoder"}  # file -> name here
_DOTTED = re.compile(r"\.(conv|norm)\.(\d+)\.")  # names of decoder v2 as an old PyTorch wrote them
_NEVER_CALLED = re.compile(r"upool\d+\.unpool_(conv|norm)\.")  # of decoder v2


def load_redirector(folder: Path, label: str = LABEL, attributes: str = PUBLISHED, **more) -> InterpGaze:
    """Encoder, controller and decoder of a published run, in evaluation mode.

    attributes: those it was trained with; the files hold only how many branches there are. more: other fields of
    `InterpGazeConfig`, legacy_crop for example.
    Errors: ValueError, one line: the file, the first tensor that is wrong or missing.
    """
    states = {part: _state(folder, part, label) for part in ("encoder", "interp_net", "decoder")}
    decoder = "v2" if any(name.startswith("recon") for name in states["decoder"]) else "v1"
    config = InterpGazeConfig(attributes=attributes, decoder=decoder, **more)
    branches = {name.split(".")[1] for name in states["interp_net"] if name.startswith("branch.")}
    if branches and len(branches) != config.groups.branches:
        raise ValueError(
            f"{_path(folder, 'interp_net', label)}: has {len(branches)} branches, --attr={attributes} needs "
            f"{config.groups.branches}; give the attributes that these weights were trained with"
        )
    builders = {
        "encoder": lambda: Encoder(config.divisor, config.halvings),
        "interp_net": lambda: Controller(config.width, config.groups.branches),
        "decoder": lambda: DECODERS[decoder](config.divisor, config.halvings),
    }
    redirector = InterpGaze.__new__(InterpGaze)  # its parts come from files, so none is drawn at random first
    nn.Module.__init__(redirector)
    redirector.config = redirector.architecture = config
    for part, state in states.items():
        network = filled(builders[part], state, _path(folder, part, label), f"the {part} of {WHAT}")
        setattr(redirector, _PARTS[part], network)
    return redirector.eval()


def write_redirector(folder: Path, redirector: InterpGaze, label: str = LABEL) -> list[Path]:
    """Encoder, controller and decoder as the published programs read them; returns the files.

    Errors: ValueError, one line, for networks that these programs cannot build.
    """
    config = redirector.config
    for name, value in (("size", 128), ("divisor", 1)):
        if (its := getattr(config, name)) != value:
            raise ValueError(
                f"the published layout has {name} {value} alone, these networks have {its}; train such ones"
            )
    if config.decoder != "v1":
        raise ValueError(
            f"the published programs can build decoder v1 alone, not {config.decoder}; train --dec_type=v1"
        )
    written = []
    for part, name in _PARTS.items():
        state = {f"module.{key}": value for key, value in getattr(redirector, name).state_dict().items()}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(path := _path(folder, part, label), buffer.getvalue())
        written.append(path)
    return written


def load_critic(folder: Path, label: str = LABEL, attributes: str = PUBLISHED) -> LatentDiscriminator:
    """The discriminator of a published run."""
    config = InterpGazeConfig(attributes=attributes)
    state = _state(folder, "discrim", label)
    return filled(lambda: make_critic(config), state, _path(folder, "discrim", label), f"the discriminator of {WHAT}")


def load_transform(folder: Path, label: str = LABEL) -> nn.Conv2d:
    """The KG transform of a published run."""
    state = _state(folder, "KGTransform", label)
    path = _path(folder, "KGTransform", label)
    return filled(lambda: make_transform(InterpGazeConfig()), state, path, f"the KG transform of {WHAT}")


def _path(folder: Path, part: str, label: str) -> Path:
    return folder / f"{part}-{label}.pth"


def _state(folder: Path, part: str, label: str) -> dict[str, torch.Tensor]:
    state, _ = read_state(_path(folder, part, label), f"{WHAT} {part}")  # takes `module.` off
    state = {_DOTTED.sub(r".\1_\2.", name): value for name, value in state.items()}
    return {name: value for name, value in state.items() if not _NEVER_CALLED.match(name)}
