"""Pose accuracy: the cameras pictures were rendered from against those estimated from the pictures."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.config.presets import ray_ranges
from eg3d.geometry.doubts import camera_doubts
from eg3d.metrics.pose import pose_report
from eg3d.metrics.pose_files import estimate_beside, estimate_facts, match, other_world, read_labels, read_world
from eg3d.running import cli
from groundwork.matching import FACTS_FILE
from groundwork.places import FILE, INPUT_FILE, Input


@click.command(cls=cli.Command)
@click.option("--file1", type=INPUT_FILE, required=True,
              help="Rendering cameras: labels_generate.json of eg3d/gen_samples_pose.py.")  # fmt: skip
@click.option("--file2", type=Input(FILE, lambda path: [path.parent / FACTS_FILE]), required=True,
              help="Estimated cameras: dataset.json of preprocess_in_the_wild.py.")  # fmt: skip
@cli.skip_unmatched_option
@cli.json_option
def main(file1, file2, skip_unmatched, json_path):
    """Mean squared difference of pitch, yaw and roll, errors in degrees, and the published number; lower is better.

    Pictures are matched by name; those in which the estimator found no face count as failed.
    """
    if (found := estimate_beside(file1, file2)) is not None:
        cli.tell([f"--file2={file2}: there is no such file; {found}, beside the pictures, is taken"])
        file2 = found
    rendered, estimated = read_labels(file1, "--file1"), read_labels(file2, "--file2")
    rendered, estimated, failed, notes = match(rendered, estimated, file1, file2, skip_unmatched)
    doubts = [f"{file}: {line}" for file, labels in ((file1, rendered), (file2, estimated))
              for line in camera_doubts(labels, ray_ranges())]  # fmt: skip
    facts = estimate_facts(file2)
    cli.tell(notes, doubts + other_world(read_world(file1), facts))
    report = pose_report(rendered, estimated, failed)
    click.echo("\n".join(report.lines()))
    click.echo(f"estimated by               {facts.get('estimator', 'unknown')}")
    cli.write_json(json_path, report.to_dict() | {"file1": str(file1), "file2": str(file2), "estimate": facts})


if __name__ == "__main__":
    main()
