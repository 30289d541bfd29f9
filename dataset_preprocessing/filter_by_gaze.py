"""Keeps the images of a data set whose gaze (or head) is turned: the data preprocessing of Gaze-Corrected EG3D."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing import selection
from dataset_preprocessing.packing import check_destination
from eg3d.config.presets import ray_ranges
from eg3d.data.opening import dataset_path, rendered_side
from eg3d.gaze.networks import check_size, load_gaze_network
from eg3d.geometry.doubts import camera_doubts
from eg3d.running import cli, distributed, processes
from groundwork.damage import Damage
from groundwork.places import DATA_SET, EITHER, GAZE_JUDGE, Output

DEST = Output(
    EITHER,
    ("*",),
    beside=lambda dest: [selection.beside(dest, end) for end in (selection.MANIFEST, selection.HISTOGRAM)],
)


@click.command(cls=cli.Command)
@click.option("--data", type=DATA_SET, required=True, help="Data set to choose from: zip, folder, embedded, or people.")
@click.option("--dest", type=DEST, required=True, help="New data set: FILE.zip or a folder.")
@click.option(
    "--by",
    type=click.Choice(["label", "gaze"]),
    default="label",
    show_default=True,
    help="Yaw of the camera label (the head's), or of the gaze that --l2cs-path estimates.",
)
@click.option("--min-abs-yaw", type=float, default=0.4, show_default=True, help="Keep |yaw| above this, radians.")
@click.option("--max-abs-yaw", type=float, help="Keep |yaw| up to this, radians.  [default: no limit]")
@click.option("--l2cs-path", type=GAZE_JUDGE,
              help="With --by=gaze: gaze network, a weights file, embedded, people, a judge or iris.")  # fmt: skip
@cli.batch_option(64, "Images per estimate.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="With --data=embedded or people: which rendered set.",
)
@cli.skip_damaged_option
@cli.skip_unmatched_option
@cli.process_options
@cli.json_option
def main(**options):
    """Copies the images with min < |yaw| <= max into a new data set, with their labels and in their order.

    Images are copied byte for byte; those that are kept are decoded once, to find damaged ones. An image and its
    mirrored copy (x.png, x_mirror.png) stay or go together. Beside the new data set appear DEST.manifest.json
    (settings, counts, yaw of each kept image) and DEST.histogram.png.
    """
    processes.start(run, check, **options)


def check(data, dest, by, l2cs_path, **_) -> None:
    if by == "gaze" and not l2cs_path:
        raise ValueError("--by=gaze needs --l2cs-path: a gaze network's weights file, embedded or people")
    check_destination(dest)
    if by == "gaze" and (side := rendered_side(data)) is not None:
        check_size(l2cs_path, side, f"--data={data}")


def run(data, dest, by, min_abs_yaw, max_abs_yaw, l2cs_path, batch, seed, skip_damaged, skip_unmatched, device,
        json_path):  # fmt: skip
    """What each process does; only the reading of gaze is shared."""
    source = distributed.first_of_each_machine(lambda: dataset_path(data, seed))
    faces = distributed.together(lambda: selection.FaceSet(source, skip_unmatched))
    distributed.tell_once(faces.notes, camera_doubts(faces.labels, ray_ranges()))
    damage, total = Damage(skip_damaged), len(faces.names)
    settings = {"by": by, "min_abs_yaw": min_abs_yaw, "max_abs_yaw": max_abs_yaw}
    if by == "gaze":
        estimator = distributed.together(lambda: load_gaze_network(l2cs_path, device))
        yaws = selection.estimated_yaws(faces, estimator, batch, device, damage)
        settings |= {"l2cs_path": l2cs_path, "l2cs_sha256": estimator.sha256}
        settings |= {"limits": estimator.facts["limits"]} if "limits" in estimator.facts else {}
    else:
        yaws = selection.label_yaws(faces)
    if distributed.rank() > 0:
        return
    left_out = damage.check(f"--data={data}", total)
    faces = faces.without(damage.faults)
    faces, yaws, faceless = selection.with_face(faces, yaws)
    if faceless:
        settings["without_face"] = len(faceless)
        left_out.append(f"left out, for no face is found: {len(faceless)} images, the first is {faceless[0]}")
    kept = selection.choose(faces.names, yaws, min_abs_yaw, max_abs_yaw)
    if by == "label":
        selection.find_damaged(faces, kept, damage)
        left_out += damage.check(f"--data={data}", len(kept))
        kept = [row for row in kept if faces.names[row] not in damage.faults]
    record = selection.write(faces, yaws, kept, dest, settings)
    limits = f"   [{settings['limits']}]" if "limits" in settings else ""
    click.echo(f"kept {len(kept)} of {len(yaws)} images with |{by} yaw| > {min_abs_yaw:g} rad -> {dest}{limits}")
    for line in left_out:
        click.echo(line)
    cli.write_json(json_path, {key: value for key, value in record.items() if key != "kept"})


if __name__ == "__main__":
    main()
