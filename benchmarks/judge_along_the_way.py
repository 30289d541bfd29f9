"""What a judge reads of *true* pictures along the ways of `redirection/evaluate_faces.py`.

The world renders each face with the gazes that an animation is asked for. What the judge makes of these pictures is the
bound of every method: slope and R^2 along yaw and pitch, and how often the angle to the lens falls from frame to frame.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from pathlib import Path

import click
import numpy as np
import torch
from timing import write_results

from eg3d.running import cli
from eg3d.world.worlds import WORLDS
from groundwork.places import FILE, OUTPUT_FOLDER, NamedInput
from redirection.corrected_faces import ALPHAS, ASKED_PITCH, ASKED_YAW
from redirection.face_judge import FACE_JUDGES, open_judge
from redirection.face_reading import read_gaze, steady_gaze
from redirection.face_scores import animation, falls, off
from redirection.gaze_animation.world_portraits import WorldPortraits
from redirection.lid_points import lids_of
from redirection.patch_judge import JUDGES


@click.command(cls=cli.Command)
@click.option("--world", type=click.Choice(WORLDS), default="people", show_default=True)
@click.option("--people", type=click.IntRange(min=1), default=75, show_default=True, help="As of the test set.")
@click.option("--views", type=click.IntRange(min=1), default=4, show_default=True, help="Of each of them.")
@click.option("--count", type=click.IntRange(min=1), default=300, show_default=True, help="Faces along alpha.")
@click.option("--turned", type=click.IntRange(min=1), default=60, show_default=True, help="Faces along yaw and pitch.")
@click.option("--judge", type=NamedInput(FILE, [*FACE_JUDGES, *JUDGES]), default="embedded", show_default=True)
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
@cli.seed_option
def main(world, people, views, count, turned, judge, results, seed):
    """Renders, reads, and writes a results file."""
    portraits = WorldPortraits(world, "test", people, views, seed=seed, jitter=0)
    reader, half = open_judge(judge), people * views
    yaws, pitches = (np.column_stack(one) for one in ((ASKED_YAW, np.zeros(7)), (np.zeros(3), ASKED_PITCH)))
    found: dict[str, list] = {"alpha": [], "alpha_steady": [], "yaw": [], "pitch": []}
    with click.progressbar(range(min(count, half)), label="faces") as rows:
        for row in rows:
            face = portraits.make(half + row)
            lens, lids = np.array(face.truth.lens), lids_of(face.points)

            def seen(
                away: np.ndarray, index=half + row, lids=lids, points=face.points
            ) -> tuple[np.ndarray, np.ndarray]:
                """One reading and the mean of nine of each true picture, [T, 2] both."""
                frames = portraits.looking(index, away)
                each = [lids] * len(frames), [points] * len(frames)
                return read_gaze(reader, frames, *each), steady_gaze(reader, frames, *each)

            past = np.subtract(face.truth.gaze, lens)
            for name, gaze in zip(("alpha", "alpha_steady"), seen(np.outer(1 - np.array(ALPHAS), past)), strict=True):
                found[name].append(off(gaze, np.tile(lens, (len(gaze), 1))))
            if row < turned:
                found["yaw"].append(seen(yaws)[0] - lens)
                found["pitch"].append(seen(pitches)[0] - lens)
    alpha, steady, yaw, pitch = (np.array(found[name]) for name in found)
    numbers = {
        "faces": len(alpha), "falls_along_alpha": falls(alpha), "falls_but_1_deg": falls(alpha, 1.0),
        "steady_falls_along_alpha": falls(steady), "steady_falls_but_1_deg": falls(steady, 1.0),
        "to_lens": alpha.mean(axis=0).tolist(), "steady_to_lens": steady.mean(axis=0).tolist(), "turned": len(yaw),
        "yaw": animation(ASKED_YAW, yaw[..., 0]), "pitch": animation(ASKED_PITCH, pitch[..., 1]),
    }  # fmt: skip
    click.echo(numbers)
    click.echo(f"written to {write_results(results, f'judge-along-the-way-{world}', torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
