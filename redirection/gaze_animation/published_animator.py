"""GazeAnimation's published checkpoints: TensorFlow's, by the published names of variables."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from redirection.gaze_animation.eye_codes import ContentEncoder
from redirection.gaze_animation.face_critic import FaceCritic
from redirection.gaze_animation.gaze_animator import LEAVES, NETWORKS, AnimatorConfig, GazeAnimator, make_critic
from redirection.tensorflow_checkpoint import TensorflowCheckpoint
from redirection.tensorflow_names import fill_from_variables


def load_published(path: Path, config: AnimatorConfig | None = None) -> GazeAnimator:
    """The four networks of a training checkpoint, in evaluation mode; config: the published one, if None.

    Errors: ValueError, one line: no checkpoint, a damaged one, or the first variable that is missing or does not fit.
    """
    return _filled(lambda: GazeAnimator(config or AnimatorConfig()), NETWORKS, path)


def load_published_content(path: Path, config: AnimatorConfig) -> ContentEncoder:
    """Gr of a pre-training or training checkpoint. Errors: as `load_published`."""
    return _filled(lambda: GazeAnimator(config), ("Gr",), path).Gr


def load_published_critic(path: Path, name: str, config: AnimatorConfig, spectral: str | None) -> FaceCritic:
    """Dx or Dy of a training checkpoint; spectral: None, or "rows" if it was trained with --use_sp."""
    critic = make_critic(config, spectral)
    _fill(critic, name, TensorflowCheckpoint(path), path)
    return critic.eval()


def _filled(build, names: tuple[str, ...], path: Path) -> GazeAnimator:
    variables = TensorflowCheckpoint(path)
    with torch.random.fork_rng():
        animator = build()
    for name in names:
        _fill(getattr(animator, name), name, variables, path)
    return animator.eval().requires_grad_(False)


def _fill(network: torch.nn.Module, scope: str, variables: Mapping[str, np.ndarray], path: Path) -> None:
    try:
        fill_from_variables(network, scope, variables, LEAVES)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
