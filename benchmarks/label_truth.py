"""How true the labels of novel views are, by the eyeballs of a world's meshes, for each way to a source head."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np

from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, HeadPose
from dataset_preprocessing.nv_rendering.target_patterns import Uniform
from dataset_preprocessing.nv_rendering.true_meshes import seen
from dataset_preprocessing.nv_rendering.turning import apply, new_views, source_head
from dataset_preprocessing.synthetic.webcam import Webcam, draw_shot
from eg3d.running.cli import Command, json_option, seed_option, write_json
from eg3d.world.painted_mesh import PaintedMesh, true_mesh
from eg3d.world.photograph import Truth, truth_of
from eg3d.world.render import EYE_AT_LEFT, EYE_AT_RIGHT
from eg3d.world.worlds import WORLDS
from l2cs.normalization import angular_error, undistorted_points

PATTERN = Uniform((-50, 50), (-70, 70))
FREE = 600.0  # mm from the face to the gaze target
WAYS = {"annotated": "annotated pose and centre", "landmarks": "both by six landmarks", "legacy": "as published"}


def turn_between(points: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] that takes the first, about their mean, nearest to the second (Kabsch)."""
    u, _, vt = np.linalg.svd((turned - turned.mean(axis=0)).T @ (points - points.mean(axis=0)))
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def heads_of(shot, truth: Truth, mesh: PaintedMesh) -> dict:
    """The source head by each of WAYS; landmarks are exact, whole pixels as MPIIFaceGaze has them for the six."""
    camera, pose = np.reshape(shot.matrix, (3, 3)), HeadPose(truth.rotation, truth.translation)
    face = seen(pose.points(mesh.vertices), pose.points(mesh.landmarks), mesh.colours, mesh.faces, camera)
    straight = undistorted_points(truth.landmarks, camera, shot.lens)
    six = undistorted_points(np.rint(truth.landmarks[list(LANDMARKS_6)]), camera, shot.lens)
    arguments = face.vertices, face.landmarks, face.crop, camera, six, truth.centre + FREE * truth.gaze
    more = {
        "annotated": dict(pose=pose, centre=truth.centre),
        "landmarks": {},
        "legacy": dict(legacy=True, model68=truth.model, landmarks68=straight),  # the person's own 68 points
    }
    return {way: source_head(*arguments, **options) for way, options in more.items()}


@click.command(cls=Command)
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose heads.")
@click.option("--people", type=click.IntRange(1, 1000), default=15, show_default=True, help="Number of people.")
@click.option("--photos", type=click.IntRange(1, 1000), default=2, show_default=True, help="Photos of each.")
@click.option("--views", type=click.IntRange(1, 1000), default=16, show_default=True, help="Views of each photo.")
@json_option
@seed_option
def main(world, people, photos, views, json_path, seed):
    """Angle, degrees, between the gaze in the label and that of the turned eyeballs; and likewise for the head."""
    webcam = Webcam(world=world, seed=seed, people=people, photos=photos)
    errors = {way: [] for way in WAYS}
    for person in range(people):
        for photo in range(photos):
            shot, _ = draw_shot(webcam, person, photo)
            mesh = true_mesh(shot, detail=0.2)
            for way, head in heads_of(shot, truth_of(shot), mesh).items():
                for view in new_views(head, PATTERN, seed, f"p{person:02}", photo, views):
                    turned = apply(view, head.points)
                    balls = [mesh.part == eye for eye in (EYE_AT_LEFT, EYE_AT_RIGHT)]
                    gazes = [turn_between(mesh.vertices[ball], turned[ball]) @ mesh.gaze for ball in balls]
                    pose = turn_between(mesh.landmarks, apply(view, head.landmarks))
                    third = angular_error(pose[:, 2], view.head[:, 2])
                    errors[way].append((angular_error(np.array(gazes), view.gaze).mean(), third))
    numbers = {}
    for way, meaning in WAYS.items():
        gaze, pose = np.transpose(errors[way])
        numbers[way] = {"gaze_mean_deg": gaze.mean(), "gaze_worst_deg": gaze.max(),
                        "head_mean_deg": pose.mean(), "head_worst_deg": pose.max()}  # fmt: skip
        gaze, pose = (f"{errors.mean():.3f} (worst {errors.max():.3f})" for errors in (gaze, pose))
        click.echo(f"{meaning}: gaze {gaze}, head {pose}")
    write_json(json_path, numbers)


if __name__ == "__main__":
    main()
