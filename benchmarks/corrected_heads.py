"""Generated heads made to look into the camera: by 3D generators, which draw the head again, and by methods that paint.

The eye field draws cartoon heads whose eyes look past the camera, from the front and from both sides; the same pictures
then go through every method. The eye field draws the same head with another gaze; the corrected generator and the base
draw their own head of the same seed. Methods that paint get the picture alone: eyes are boxed by the mean lids of
rendered heads, GazeAnimation is told nothing else, patch redirectors are told the gaze that was drawn.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from timing import write_results

from eg3d.checkpoints.loading import load_generator
from eg3d.gaze.networks import load_gaze_network
from eg3d.gaze.term import estimate_gaze
from eg3d.geometry.cameras import FFHQ_ORBIT
from eg3d.geometry.head_gaze import gaze_direction, gaze_into_camera
from eg3d.metrics.identity import IdentityTally
from eg3d.pictures.layout import side_by_side, stack, write_png
from eg3d.pictures.text import text_strip
from eg3d.pictures.views import camera_labels, ws_of_seeds
from eg3d.running import cli
from eg3d.scores.controlled_views import pairs
from eg3d.scores.judges import load_identity_judge
from eg3d.world.rendered_sets import vector_to_camera_angles
from eg3d.world.worlds import world_of
from groundwork.draws import Midpoints
from groundwork.places import FILE, OUTPUT_FILE, OUTPUT_FOLDER, NamedInput
from l2cs.estimator import GazeAngles, angular_error
from redirection.corrected_faces import TestFace, by_animator, by_redirector
from redirection.gaze_animation.animator_file import EMBEDDED, open_animator
from redirection.gaze_animation.portrait_truth import Truth
from redirection.lid_points import lids_of
from redirection.methods import open_redirector
from redirection.world_patches import head_yaw_of

FIELD, BASE, CORRECTED = "embedded-control", "embedded-base", "embedded"
CAMERAS = ((0.4, 0.0), (0.0, 0.0), (-0.4, 0.0))  # yaw, pitch parameters, rad
AWAY = (0.2, 0.4)  # rad of yaw past the camera
PITCH = 0.12  # most, rad
MOST_YAW = 0.6  # of the gaze in the head, rad: what the eye field knows
TEMPLATE = 24  # rendered heads whose lids are averaged
SHOWN, BIG = 6, 160  # heads of the picture, px of each


@dataclass(frozen=True)
class Heads:
    """What is corrected. images [N, 3, S, S]; labels [N, 25]; gaze [N, 2] in the head, rad; ws [N, ...]."""

    images: torch.Tensor
    labels: torch.Tensor
    gaze: torch.Tensor
    ws: torch.Tensor
    seeds: list[int]


@click.command(cls=cli.Command)
@click.option("--animator", type=NamedInput(FILE, [*EMBEDDED]), multiple=True, help="Networks of GazeAnimation.")
@click.option("--redirector", multiple=True, help="Of patches: METHOD:PATH (redirection/methods.py).")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="64-95", show_default=True, help="Heads.")
@click.option("--picture", type=OUTPUT_FILE, help="Also draw some of the heads, a PNG file.")
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
@cli.seed_option
def main(animator, redirector, seeds, picture, results, seed):
    """Draws, corrects, measures, and writes a results file. The judge is embedded-judge, which no loss has used."""
    field = load_generator(FIELD, "cpu")
    heads = look_away(field, seeds, seed)
    judge, identity = load_gaze_network("embedded-judge", "cpu"), load_identity_judge(None, None, "embedded", "cpu")
    others = {name: load_generator(name, "cpu") for name in (BASE, CORRECTED)}
    outputs = {
        "nothing": heads.images,
        "3D: eye field": drawn(field, heads.ws, heads.labels, gaze_into_camera(heads.labels)),
        "3D: the base's own head": drawn(others[BASE], ws_of_seeds(others[BASE], heads.seeds), heads.labels),
        "3D: corrected generator": drawn(others[CORRECTED], ws_of_seeds(others[CORRECTED], heads.seeds), heads.labels),
    }
    lids, faces = lids_of_cameras(heads.images.shape[-1]), []
    for number in range(len(heads.seeds)):
        faces.append(face_of(heads, number, lids[number % len(CAMERAS)]))
    methods = {f"GazeAnimation {spec}": by_animator(open_animator(spec)[0]) for spec in animator}
    methods |= {spec: by_redirector(open_redirector(spec, torch.device("cpu"), 64)) for spec in redirector}
    for name, method in methods.items():
        outputs[name] = torch.stack([as_image(method(face)) for face in faces])
    scores = {name: score(heads, images, judge, identity) for name, images in outputs.items()}
    for name, one in scores.items():
        click.echo(f"{name[-48:]:48}  " + ", ".join(f"{key} {value:.3f}" for key, value in one.items()))
    if picture is not None:
        draw(picture, outputs)
    numbers = {"heads": len(seeds), "cameras": CAMERAS, "methods": scores}
    click.echo(f"written to {write_results(results, 'corrected-heads', torch.device('cpu'), numbers)}")


@torch.no_grad()
def look_away(field, seeds, seed: int) -> Heads:
    """Heads of the eye field from all cameras, whose eyes look past the camera: from the side toward the face."""
    labels = camera_labels(*zip(*CAMERAS, strict=True), field.orbit).repeat(len(seeds), 1)
    ws = ws_of_seeds(field, seeds).repeat_interleave(len(CAMERAS), dim=0)
    lens, rng = gaze_into_camera(labels), torch.Generator().manual_seed(seed)
    away, side, pitch = torch.rand((3, len(labels)), generator=rng)
    sign = torch.where(lens[:, 0].abs() < 0.1, (side < 0.5) * 2.0 - 1, -lens[:, 0].sign())
    yaw = lens[:, 0] + sign * (AWAY[0] + away * (AWAY[1] - AWAY[0]))
    gaze = torch.stack([yaw.clamp(-MOST_YAW, MOST_YAW), lens[:, 1] + (pitch * 2 - 1) * PITCH], dim=1)
    names = [head for head in seeds for _ in CAMERAS]
    return Heads(drawn(field, ws, labels, gaze), labels, gaze, ws, names)


@torch.no_grad()
def drawn(G, ws, labels, gaze=None) -> torch.Tensor:
    """Pictures [N, 3, S, S], a latent from a camera each; gaze: of an eye field alone."""
    images = []
    for rows in torch.arange(len(ws)).split(8):
        aim = {} if gaze is None else {"gaze": gaze[rows]}
        images.append(G.synthesis(ws[rows], labels[rows], draws=Midpoints(), noise_mode="const", **aim)["image"])
    return torch.cat(images).clamp(-1, 1)


def lids_of_cameras(size: int) -> list[dict[str, np.ndarray]]:
    """Mean lids, px, of rendered cartoons from each camera: generated heads stand where those do."""
    its, found = world_of("cartoons"), []
    for label in camera_labels(*zip(*CAMERAS, strict=True), FFHQ_ORBIT).numpy():
        ahead = np.array([0.0, 0.0, 1.0])
        people = [its.draw("test", number) for number in range(TEMPLATE)]
        points = [its.render(person, label, ahead, its.size).landmarks for person in people]
        mean = np.mean(points, axis=0) * size / its.size
        found.append(lids_of(mean))
    return found


def face_of(heads: Heads, number: int, lids) -> TestFace:
    """What methods that paint get of a head; there is no true corrected picture."""
    label = heads.labels[number].double().numpy()
    direction = gaze_direction(heads.gaze[number].double()).numpy()
    gaze = np.rad2deg(vector_to_camera_angles(direction @ label[:16].reshape(4, 4)[:3, :3]))
    truth = Truth(heads.seeds[number], float(gaze[0]), float(gaze[1]), 0.0, 0.0, head_yaw_of(label))
    picture = as_picture(heads.images[number])
    return TestFace(f"{number}", picture, picture, lids, truth)


def score(heads: Heads, images: torch.Tensor, judge, identity) -> dict[str, float]:
    """Angle between the gaze that the judge reads and the camera, degrees; identity with the input; what changes."""
    read = [estimate_gaze(*part, judge) for part in zip(images.split(64), heads.labels.split(64), strict=True)]
    angles = GazeAngles(*(torch.cat(values) for values in zip(*read, strict=True)))
    none = torch.zeros(len(images))
    off = angular_error(angles, GazeAngles(none, none)).rad2deg()
    frontal = gaze_into_camera(heads.labels)[:, 0].abs() < 0.1
    tally = IdentityTally(*identity)
    tally.take(tally.read(pairs(heads.images, images, heads.labels, list(range(len(images))))))
    change = (images - heads.images).abs().amax(dim=1) > 4 / 127.5
    return {
        "off_mean": float(off.mean()), "frontal": float(off[frontal].mean()), "turned": float(off[~frontal].mean()),
        "within_7": float((off <= 7).double().mean()), "identity": tally.report().id_similarity_mean,
        "changed": float(change.double().mean()),
    }  # fmt: skip


def as_picture(image: torch.Tensor) -> np.ndarray:
    return ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def as_image(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 127.5 - 1


def draw(path: Path, outputs: dict[str, torch.Tensor]) -> None:
    """One row for each method."""
    rows = []
    for name, images in outputs.items():
        big = torch.nn.functional.interpolate(images[:SHOWN], (BIG, BIG), mode="bicubic")
        rows += [text_strip(SHOWN * BIG, 26, name.partition(":/")[0]), side_by_side([as_picture(one) for one in big])]
    write_png(path, stack(rows))


if __name__ == "__main__":
    main()
