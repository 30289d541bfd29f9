"""Fits the map from degrees to gaze codes of GazeAnimation's networks, and stores it with them."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from groundwork.command import Command, device_option, json_option, pick_device, seed_option, write_json
from groundwork.places import EITHER, INPUT_FOLDER, OUTPUT_FILE, NamedInput
from redirection.gaze_animation.animator_file import EMBEDDED, read_animator_of, save_animator
from redirection.gaze_animation.calibrating import fitted
from redirection.gaze_animation.portrait_lists import ELSEWHERE, read_domain
from redirection.gaze_animation.portrait_truth import read_truth


@click.command(cls=Command)
@click.option("--weights", type=NamedInput(EITHER, [*EMBEDDED]), required=True, help="Networks: a name, or a file.")
@click.option("--data", type=INPUT_FOLDER, required=True, help="Set of prepare.py --world, whose gaze is known.")
@click.option("--out", type=OUTPUT_FILE, required=True, help="FILE.safetensors: the same networks with the map.")
@click.option("--count", type=click.IntRange(20), default=1000, show_default=True, help="Faces that it is fitted on.")
@device_option
@seed_option
@json_option
def main(weights, data, out, count, seed, device, json_path):
    """Reads the codes of faces that look elsewhere, and of their corrections, and fits a 2 x 2 matrix to the degrees
    between them. Do not fit it on the people on whom it is measured."""
    device = pick_device(device)
    animator, _, facts = read_animator_of(weights)
    calibration = fitted(animator.to(device), read_domain(data, ELSEWHERE), read_truth(data), count, seed, device)
    save_animator(out, animator, facts, calibration)
    yaw, pitch = calibration.rmse_deg
    click.echo(f"map of {calibration.faces} faces, off by {yaw:.1f} (yaw) and {pitch:.1f} degrees (pitch) -> {out}")
    write_json(json_path, {"code_per_degree": calibration.code_per_degree, "rmse_deg": calibration.rmse_deg,
                           "faces": calibration.faces})  # fmt: skip


if __name__ == "__main__":
    main()
