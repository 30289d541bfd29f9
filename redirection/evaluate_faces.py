"""Measures the correction of whole faces: where they look, how near the true corrected picture is, identity, seams."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.pictures.layout import write_png
from groundwork.command import Command, device_option, json_option, pick_device, seed_option, tell, write_json
from groundwork.places import EITHER, FILE, INPUT_FOLDER, OUTPUT_FILE, Input, NamedInput
from redirection.attributes import PUBLISHED, Attributes
from redirection.corrected_faces import (
    by_animator,
    by_redirector,
    eyes_by_method,
    measure,
    measure_animation,
    nothing,
    read_faces,
    true_picture,
)
from redirection.face_judge import FACE_JUDGES, open_judge
from redirection.gaze_animation.aimed_eyes import can_aim
from redirection.gaze_animation.animator_file import EMBEDDED, open_animator
from redirection.methods import open_redirector
from redirection.patch_judge import JUDGES
from redirection.patch_sets import read_patches

COLUMNS = {
    "off_mean": "angle", "within_5": "5 deg", "within_7": "7 deg", "within_10": "10 deg", "psnr": "PSNR",
    "ssim": "SSIM", "feature_distance": "features", "identity_kept": "identity", "seam": "seam",
}  # fmt: skip


@click.command(cls=Command)
@click.option("--data", type=INPUT_FOLDER, required=True, help="Set of prepare.py --world, with true corrected faces.")
@click.option("--animator", type=NamedInput(FILE, [*EMBEDDED]), multiple=True, help="Networks of GazeAnimation, a name "
              "or a file; several times.")  # fmt: skip
@click.option("--redirector", multiple=True, help="Of patches: a name or METHOD:PATH (redirection/methods.py).")
@click.option("--references", type=Input(EITHER), help="Set of crop_eyes.py, for redirectors that need other patches.")
@click.option("--attr", default=PUBLISHED, show_default=True, help="Attributes of these patches.")
@click.option("--judge", type=NamedInput(FILE, [*FACE_JUDGES, *JUDGES]), default="embedded-faces", show_default=True,
              help="Who reads the gaze: embedded-faces, off both eyes and the points of a face; embedded, off one "
              "patch at a time; a file of train_face_judge.py or train_judge.py; none that was in a loss. Identity and "
              "features are those of a judge of patches: embedded, or its file.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), help="Only so many faces, from the first on.  [default: all]")
@click.option("--animate", type=click.IntRange(0), default=60, show_default=True, help="Faces of which animations "
              "along yaw and pitch are read; along alpha it is all; 0 leaves both out.")  # fmt: skip
@click.option("--sheet", type=OUTPUT_FILE, help="Also draw the eyes of six faces by each method, a PNG file.")
@device_option
@seed_option
@json_option
def main(data, animator, redirector, references, attr, judge, count, animate, sheet, device, seed, json_path):
    """Prints a table for all, frontal (head yaw up to 10 degrees) and turned heads (from 20 degrees on).

    Columns: mean angle between the gaze that the judge reads and the lens; shares within 5, 7 and 10 degrees; PSNR and
    SSIM to the true corrected picture, inside the boxes; distance to it in features of a judge of patches; share of
    faces as alike as two pictures of one person; step across the border of the boxes, 1 if none is seen. `nothing` is
    the input, `true picture` as good as can be: what it lacks is the judge's own error. Patch redirectors are told the
    true gaze.
    """
    del seed  # nothing is drawn
    device = pick_device(device)
    faces, reader = read_faces(data, count), open_judge(judge, device)
    gallery = None if references is None else read_patches(references, "train", Attributes.parse(attr))
    opened = {spec: open_animator(spec, device) for spec in animator}
    methods = {"nothing": nothing, "true picture": true_picture}
    for spec, (networks, calibration) in opened.items():
        methods[f"GazeAnimation {spec}, Gx"] = by_animator(networks, device)
        if can_aim(calibration):
            methods[f"GazeAnimation {spec}, aimed"] = by_animator(networks, device, calibration)
    methods |= {spec: by_redirector(open_redirector(spec, device, 64, gallery)) for spec in redirector}
    report = {"faces": len(faces), "judge": judge, "judge_sha256": reader.sha256, "methods": {}, "animation": {}}
    for name, method in methods.items():
        report["methods"][name] = measure(faces, method, reader)
    for spec, (networks, calibration) in opened.items():
        if animate:
            report["animation"][spec] = measure_animation(faces, networks, calibration, reader, device, animate)
    print_table(report)
    tell([] if opened or redirector else ["no method was given: --animator=embedded, --redirector=METHOD:PATH"])
    if sheet is not None:
        write_png(sheet, eyes_by_method(faces[:: max(1, len(faces) // 6)][:6], methods))
    write_json(json_path, report)


def print_table(report: dict) -> None:
    """One row for each group of faces and method."""
    width = max(map(len, report["methods"]))
    click.echo(f"{'':{width}}  {'heads':8} {' '.join(f'{title:>8}' for title in COLUMNS.values())}")
    for group in ("all", "frontal", "turned"):
        for name, scores in report["methods"].items():
            if group in scores:
                values = " ".join(f"{scores[group][column]:8.2f}" for column in COLUMNS)
                click.echo(f"{name:{width}}  {group:8} {values}")
    for spec, scores in report["animation"].items():
        click.echo(f"animation {spec}: {', '.join(f'{key} {value:.2f}' for key, value in scores.items())}")


if __name__ == "__main__":
    main()
