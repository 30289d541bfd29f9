"""Fits the map from degrees to gaze codes of GazeAnimation's networks, and stores it with them."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from dataclasses import replace

import click

from groundwork.command import Command, device_option, json_option, pick_device, seed_option, write_json
from groundwork.places import EITHER, GAZE_JUDGE, INPUT_FOLDER, OUTPUT_FILE, NamedInput
from redirection.gaze_animation.aimed_eyes import lens_reads
from redirection.gaze_animation.animator_file import EMBEDDED, read_networks, save_animator
from redirection.gaze_animation.calibrating import as_shown, fitted
from redirection.gaze_animation.camera_gaze import NetworkGaze
from redirection.gaze_animation.portrait_lists import ELSEWHERE, read_domain
from redirection.gaze_animation.portrait_truth import read_truth


@click.command(cls=Command)
@click.option("--weights", type=NamedInput(EITHER, [*EMBEDDED]), required=True, help="Networks: a name, or a file.")
@click.option("--data", type=INPUT_FOLDER, required=True, help="Set of prepare.py --world, whose gaze is known.")
@click.option("--out", type=OUTPUT_FILE, required=True, help="FILE.safetensors: the same networks with the map.")
@click.option("--count", type=click.IntRange(20), default=1000, show_default=True, help="Faces that it is fitted on.")
@click.option("--l2cs-path", type=GAZE_JUDGE, help="Gaze network that reads painted faces: the map is enlarged until "
              "they show what is asked for. Measure by another one.")  # fmt: skip
@click.option("--shown", type=click.IntRange(20), default=60, show_default=True, help="Faces that it reads.")
@click.option("--aim", type=click.IntRange(0), default=100, show_default=True, help="Faces that look into the camera, "
              "of which a gaze reader says what it reads, so that animate.py can aim; 0: it cannot.")  # fmt: skip
@device_option
@seed_option
@json_option
def main(weights, data, out, count, l2cs_path, shown, aim, seed, device, json_path):
    """Reads the codes of faces that look elsewhere, and of their corrections, and fits a 2 x 2 matrix to the degrees
    between them. Do not fit it on the people on whom it is measured."""
    device = pick_device(device)
    animator, facts = read_networks(weights)
    animator, portraits, truth = animator.to(device), read_domain(data, ELSEWHERE), read_truth(data)
    calibration = fitted(animator, portraits, truth, count, seed, device)
    if l2cs_path is not None:
        reader = NetworkGaze(l2cs_path, device).read
        calibration, slopes = as_shown(animator, calibration, portraits, truth, reader, shown, seed, device)
        click.echo(f"before enlarging, a degree asked for showed as {slopes[0]:.2f} of yaw, {slopes[1]:.2f} of pitch")
    if aim:
        reads = lens_reads(data, aim, seed, animator.config.size)
        calibration = replace(calibration, lens_reads=tuple(reads.mean(axis=0).tolist()))
        (yaw, pitch), spread = calibration.lens_reads, reads.std(axis=0)
        click.echo(f"of {len(reads)} faces that look into the lens the gaze reader reads {yaw:.1f} +- {spread[0]:.1f} "
                   f"degrees of yaw, {pitch:.1f} +- {spread[1]:.1f} of pitch")  # fmt: skip
    save_animator(out, animator, facts, calibration)
    yaw, pitch = calibration.rmse_deg
    click.echo(f"map of {calibration.faces} faces, off by {yaw:.1f} (yaw) and {pitch:.1f} degrees (pitch) -> {out}")
    write_json(json_path, {"code_per_degree": calibration.code_per_degree, "rmse_deg": calibration.rmse_deg,
                           "faces": calibration.faces, "lens_reads": calibration.lens_reads})  # fmt: skip


if __name__ == "__main__":
    main()
