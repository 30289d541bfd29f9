"""The networks that can be trained and stored, by the names of their classes. A new architecture is a row here."""

from dataclasses import dataclass

from torch import nn

from eg3d.models.discriminator import (
    DiscriminatorConfig,
    DualDiscriminator,
    DummyDualDiscriminator,
    SingleDiscriminator,
)
from eg3d.models.eye_field import EyeField, EyeFieldConfig
from eg3d.models.generator import GeneratorConfig, TriPlaneGenerator
from eg3d.models.photo_head import PhotoEyeField, PhotoHead
from eg3d.models.protocol import NetworkConfig


@dataclass(frozen=True)
class Architecture:
    """A network's class and that of its configuration.

    A generator is built as network(config), a discriminator as network(config, img_resolution, c_dim): pixels per side
    and numbers of the label. Both keep these as attributes of the same names.
    """

    network: type[nn.Module]
    config: type[NetworkConfig]


def _rows(config: type[NetworkConfig], *networks: type[nn.Module]) -> dict[str, Architecture]:
    return {network.__name__: Architecture(network, config) for network in networks}


# A run trains the first class that has the run's kind of configuration. A configuration that names no class is of the
# first row.
GENERATORS = _rows(GeneratorConfig, TriPlaneGenerator, PhotoHead) | _rows(EyeFieldConfig, EyeField, PhotoEyeField)
DISCRIMINATORS = _rows(DiscriminatorConfig, DualDiscriminator, DummyDualDiscriminator, SingleDiscriminator)


def name_of(config: NetworkConfig) -> str:
    """The name of the class that a run with this configuration trains."""
    for name, row in (GENERATORS | DISCRIMINATORS).items():
        if row.config is type(config):
            return name
    raise ValueError(f"{type(config).__name__} belongs to no network: add a row to eg3d/models/architectures.py")


def class_of(config: NetworkConfig) -> type[nn.Module]:
    """The class that a run with this configuration trains."""
    return (GENERATORS | DISCRIMINATORS)[name_of(config)].network
