"""Our own file of what pre-training learns: Gr and its decoder, safetensors with their configuration."""

from pathlib import Path

import torch

from eg3d.metrics.network_file import filled, load_network, save_network
from groundwork.plain import from_plain
from redirection.gaze_animation.eye_codes import ContentEncoder
from redirection.gaze_animation.gaze_animator import AnimatorConfig
from redirection.gaze_animation.painting_steps import EyeAutoEncoder
from redirection.gaze_animation.published_animator import load_published_content

KIND, NAME = "eye content", "eyes.safetensors"
OF_CONTENT = ("size", "ngf", "n_layers_r", "widest", "content")  # settings that Gr depends on


def save_eyes(path: Path, autoencoder: EyeAutoEncoder, facts: dict) -> None:
    """Writes weights (matrices as float16) and configuration, atomically."""
    save_network(path, KIND, autoencoder, facts)


def content_of(path: Path, config: AnimatorConfig) -> ContentEncoder:
    """Gr of a run folder of pretrain.py, its weights, or a published checkpoint. Errors: ValueError, one line.

    Nothing at that place is an error too: without content codes that were trained, training would go on at random.
    """
    places = [path, path / NAME, path / "checkpoints" / NAME]
    found = next((place for place in places if place.is_file()), None)
    if found is None and path.exists():
        return load_published_content(path, config)
    if found is None:
        raise ValueError(f"{path}: has no {NAME}, so content codes would be random; run pretrain.py first")
    return read_content(found, config)


def read_content(path: Path, config: AnimatorConfig) -> ContentEncoder:
    """Gr of our file, for networks of this configuration. Errors: ValueError, one line, or OSError."""
    stored = load_network(path, KIND)
    try:
        its = from_plain(AnimatorConfig, stored.architecture)
    except ValueError as error:
        raise ValueError(f"{path}: holds no {KIND} network of ours ({error})") from None
    for name in OF_CONTENT:
        if (found := getattr(its, name)) != (wanted := getattr(config, name)):
            raise ValueError(f"{path}: was trained with {name}={found}, not {wanted}; give the same flags")
    # the decoder's spectral vectors tell their form
    form = "rows" if stored.state.get("decoder.deconv0.sn_u", torch.empty(1, 1)).shape[0] > 1 else "vector"
    with torch.random.fork_rng():
        whole = filled(lambda: EyeAutoEncoder(its, form), stored.state, path, f"a {KIND} network")
    return whole.Gr
