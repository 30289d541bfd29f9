"""Is a judge in reach that errs less than the shipped one, and what does it see of animated eyes?

It learns from many more people (split `gaze-judge`, one picture each), sees both eyes together, and knows the points of
the face that stay when eyes turn. Then both judges read the same faces of split `test`: true pictures from the gaze
that is there to the lens, and what the shipped animator paints, aimed in degrees and along alpha.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import functools
from pathlib import Path

import click
import numpy as np
import torch
from judge_of_faces import said, trained
from judged_people import WAYS, Seen, asked, made, to_learn_from
from timing import write_results

from eg3d.running import cli
from eg3d.world.training.fitting import FitConfig
from groundwork.places import FOLDER, OUTPUT_FOLDER, Output
from redirection.corrected_faces import ALPHAS
from redirection.face_scores import WITHIN, falls, off
from redirection.gaze_animation.world_portraits import WorldPortraits
from redirection.patch_judge import Judge

SIDES = torch.tensor([-1.0, 1.0], dtype=torch.float64)


@click.command(cls=cli.Command)
@click.option("--people", type=click.IntRange(min=64), default=4500, show_default=True, help="That it learns from.")
@click.option("--few", type=click.IntRange(min=64), default=210, show_default=True, help="And as many as the shipped.")
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--count", type=click.IntRange(1, 300), default=300, show_default=True, help="Faces that are read.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="That render.")
@click.option("--workdir", type=Output(FOLDER, ("*",)), required=True, help="Keeps pictures and trainings; the same "
              "command again goes on.")  # fmt: skip
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
@cli.seed_option
def main(people, few, epochs, count, processes, workdir, results, seed):
    """Renders, trains twice, reads, and writes a results file."""
    to_learn = kept(workdir / f"people-{people}.npz", functools.partial(to_learn_from, "gaze-judge"), people, processes)
    test = WorldPortraits("people", "test", 75, 4, seed=1, jitter=0)
    faces = kept(workdir / f"faces-{count}.npz", functools.partial(asked, test), count, processes)
    numbers = {"faces": count, "shipped judge": scores(by_shipped(faces), faces)}
    for number in (few, people):
        longer = round(epochs * min(5.0, people / number))  # so that few people are not seen too seldom
        config = FitConfig(name="face-judge", epochs=longer, batch_size=32, weight_decay=1e-3, seed=seed)
        some = Seen(*(values[:number] for values in vars(to_learn).values()))
        judge = trained(some, config, workdir / f"judge-{number}-{longer}-{seed}")
        flat = faces.patches.reshape(-1, *faces.patches.shape[-4:])
        gaze = said(judge, flat, np.repeat(faces.points, len(WAYS) * len(ALPHAS), axis=0))
        numbers[f"{number} people"] = scores(gaze.reshape(*faces.patches.shape[:3], 2), faces)
    for judge, ways in numbers.items():
        click.echo(f"{judge}: {ways}")
    click.echo(f"written to {write_results(results, 'sharper-judge', torch.device('cpu'), numbers)}")


def kept(path: Path, make, count: int, processes: int) -> Seen:
    """What `make` makes of 0, 1, ... count - 1; rendered if it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = made(make, range(count), processes)
        np.savez(path, **vars(found))
    with np.load(path) as stored:
        return Seen(**stored)


def by_shipped(faces: Seen) -> np.ndarray:
    """[N, WAYS, ALPHAS, 2]: yaw, pitch, mean of both eyes, as the judge of patches reads them."""
    patches = torch.from_numpy(faces.patches)
    angles = Judge.load("embedded").read(patches.flatten(0, 3)).angles.double().unflatten(0, patches.shape[:4])
    return torch.stack([(angles[..., 2] * SIDES).mean(dim=-1), angles[..., 1].mean(dim=-1)], dim=-1).numpy()


def scores(gaze: np.ndarray, faces: Seen) -> dict:
    """Of gazes [N, WAYS, ALPHAS, 2]: degrees to the lens, shares; of true pictures also the judge's own errors."""
    found = {}
    for way, read in zip(WAYS, gaze.swapaxes(0, 1), strict=True):
        to_lens = np.stack([off(read[:, k], faces.lens) for k in range(len(ALPHAS))], axis=1)
        found[way] = {
            "falls": falls(to_lens), "falls_but_1_deg": falls(to_lens, 1.0), "to_lens": to_lens.mean(axis=0).tolist(),
            **{f"within_{limit:g}": float((to_lens[:, -1] <= limit).mean()) for limit in WITHIN},
            "deviation_at_lens": (read[:, -1] - faces.lens).std(axis=0).tolist(),
        }  # fmt: skip
    return found


if __name__ == "__main__":
    main()
