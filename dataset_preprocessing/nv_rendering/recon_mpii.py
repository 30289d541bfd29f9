"""Reconstructs the faces of photos in MPIIFaceGaze's layout: coloured meshes with 68 landmarks."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from dataclasses import replace

import click

from dataset_preprocessing.nv_rendering import mesh_files, reconstructing
from dataset_preprocessing.nv_rendering.reconstructing import DDFA, FACEMESH, WORLD, Settings
from eg3d.world.photograph import TRUTH_FILE
from groundwork.command import (
    SWITCH,
    Command,
    device_option,
    json_option,
    pick_device,
    tell,
    without_effect,
    write_json,
)
from groundwork.places import FOLDER, INPUT_FILE, INPUT_FOLDER, NamedInput, Output

LISTED = 10  # photos for a terminal
OUTPUT = Output(FOLDER, ("p*/day*/*", reconstructing.FACTS_FILE))
DDFA_FILES = {"weights": "--ddfa-weights", "configs": "--ddfa-configs", "triangles": "--triangles"}


@click.command(cls=Command)
@click.option("--mpii_path", type=INPUT_FOLDER, required=True, help="Folder with p00/day01/0005.jpg, p00/p00.txt, "
              "p00/Calibration/Camera.mat.")  # fmt: skip
@click.option("--output_dir", type=OUTPUT, required=True, help="Folder for p00/day01/0005.obj, 0005_lm.txt, "
              "0005_crop_params.txt.")  # fmt: skip
@click.option("--regressor", type=NamedInput(FOLDER, [FACEMESH, DDFA, WORLD]), default=FACEMESH, show_default=True,
              help="facemesh (extra photos); 3ddfa, with its files; world: the true mesh of an exported world; or a "
              "folder of meshes in the layout of the output.")  # fmt: skip
@click.option("--ddfa-weights", "weights", type=INPUT_FILE, help="3DDFA's phase1_wpdc_vdc.pth.tar.")
@click.option("--ddfa-configs", "configs", type=INPUT_FOLDER, help="3DDFA's folder train.configs.")
@click.option("--triangles", type=INPUT_FILE, help="3DDFA's tri.mat.")
@click.option("--bbox_init", type=click.Choice(["one", "two"]), default="one", show_default=True,
              help="3ddfa: two looks again, at a box round the landmarks that it has found.")  # fmt: skip
@click.option("--dlib_landmark", **SWITCH, default=True, show_default=True,
              help="3ddfa: the first box is that round 68 landmarks, which FaceMesh finds; else one round the "
              "face.")  # fmt: skip
@click.option("--eyes", type=click.Choice(["balls", "flat"]), default="balls", show_default=True,
              help="facemesh: what lies between the lids is put onto an eyeball, or stays a sheet.")  # fmt: skip
@click.option("--dump_obj", **SWITCH, default=True, show_default=True, help="Write the meshes.")
@click.option("--dump_pts", **SWITCH, default=True, show_default=True, help="Write the 68 landmarks.")
@click.option("--legacy", **SWITCH, default=False, help="As published: the photo keeps its lens's distortion, and "
              "pixels are counted in three ways.")  # fmt: skip
@without_effect("--dlib_bbox", "FaceMesh finds the face, at the annotated landmarks if there are some", **SWITCH)
@without_effect("--dump_ply", "it did nothing in the published program either", **SWITCH)
@click.option("-m", "--mode", type=click.Choice(["cpu", "gpu"]), help="The published name of --device.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes.")
@device_option
@json_option
def main(mpii_path, output_dir, regressor, weights, configs, triangles, bbox_init, dlib_landmark, eyes, dump_obj,
         dump_pts, legacy, mode, workers, device, json_path):  # fmt: skip
    """One photo -> a mesh whose vertices lie on the pixels that they are seen at, with the photo's colours.

    Of several faces the one at the annotated landmarks is taken. What is there already is not made again. A photo
    without a face, or a damaged one, is named in OUTPUT_DIR/reconstruction.json, and the others go on.

    Licences: MPIIFaceGaze's photos and 3DDFA's morphable model are for research only; MediaPipe's FaceMesh is
    Apache-2.0.
    """
    files = {"weights": weights, "configs": configs, "triangles": triangles}
    if eyes == "flat" and regressor != FACEMESH:
        raise ValueError(f"--eyes: belongs to --regressor={FACEMESH}; add that, or leave it out")
    settings = settings_of(regressor, files, legacy, bbox_init == "two", dlib_landmark)
    settings = replace(settings, balls=eyes == "balls")
    if regressor == WORLD:
        if not (mpii_path / TRUTH_FILE).is_file():
            raise ValueError(f"--regressor={WORLD}: {mpii_path} has no {TRUTH_FILE}, so its photos are not those of "
                             "make_mpii.py; give another regressor")  # fmt: skip
        settings = replace(settings, truth=str(mpii_path / TRUTH_FILE))
    device = pick_device({"cpu": "cpu", "gpu": "cuda"}.get(mode, device))
    endings = (mesh_files.CROP_FILE,) + dump_pts * (mesh_files.LANDMARK_FILE,) + dump_obj * (mesh_files.OBJ,)
    photos = reconstructing.photos_of(mpii_path, output_dir)
    reconstructing.regressor_of(settings, str(device))  # what is missing or damaged shows before hours of work
    reconstructing.check_settings(output_dir, settings)
    made, faults = reconstructing.run(photos, settings, output_dir, endings, str(device), workers)
    there = len(photos) - made - len(faults)
    click.echo(f"{made} meshes of {len(photos)} photos -> {output_dir}" + f", {there} were there" * bool(there))
    more = [f"and {len(faults) - LISTED} more, which {output_dir / reconstructing.FACTS_FILE} names"]
    tell([f"no mesh of {name}: {why}" for name, why in list(faults.items())[:LISTED]] + more * (len(faults) > LISTED))
    if len(faults) == len(photos):
        raise ValueError(f"--mpii_path={mpii_path}: no photo gives a mesh; the first: {next(iter(faults.values()))}")
    write_json(json_path, {"photos": len(photos), "made": made, "there": there, "failed": len(faults)})


def settings_of(regressor: str, files: dict, legacy: bool, twice: bool, by_landmarks: bool) -> Settings:
    """ValueError for options that contradict each other."""
    given = {name: str(path.resolve()) for name, path in files.items() if path is not None}
    if regressor == DDFA:
        if lacking := [flag for name, flag in DDFA_FILES.items() if name not in given]:
            raise ValueError(f"--regressor={DDFA}: needs {', '.join(DDFA_FILES.values())}; give {lacking[0]} too")
        return Settings(regressor, legacy, twice, by_landmarks, **given)
    if given or twice or not by_landmarks:
        named = DDFA_FILES[next(iter(given))] if given else "--bbox_init" if twice else "--dlib_landmark"
        raise ValueError(f"{named}: belongs to --regressor={DDFA}; add that, or leave it out")
    return Settings(regressor, legacy)


if __name__ == "__main__":
    main()
