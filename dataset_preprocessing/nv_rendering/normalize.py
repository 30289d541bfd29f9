"""Data normalisation (Zhang et al. 2018): photos with camera, head pose and gaze -> upright crops and their labels."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
from click.core import ParameterSource

from dataset_preprocessing.nv_rendering import normalized_set
from dataset_preprocessing.nv_rendering.face_table import mpii_rows, read_camera, read_table, table_text
from dataset_preprocessing.nv_rendering.head_pose import MPII_MODEL, read_face_model
from dataset_preprocessing.packing import check_destination, new_data_set
from groundwork.archive import Folder
from groundwork.command import Command, skip_damaged_option, skip_unmatched_option, tell
from groundwork.damage import Damage
from groundwork.matching import match_names
from groundwork.places import FOLDER, INPUT_FILE, INPUT_FOLDER, Output
from groundwork.workers import in_threads
from l2cs.normalization import DISTANCE, FOCAL, SIZE

FORTH = ("focal", "distance", "size", "pose", "face_model")  # options that --inverse has no use for


@click.command(cls=Command)
@click.option("--table", type=INPUT_FILE,
              help="CSV or JSON of faces: file, camera, head pose or landmarks, gaze.")  # fmt: skip
@click.option("--images", type=INPUT_FOLDER, help="With --table: the folder of its photos.")
@click.option("--mpii", type=INPUT_FOLDER, help="Or a folder in MPIIFaceGaze's layout.")
@click.option("--inverse", type=INPUT_FOLDER, help="Or a folder that this script wrote, to be taken back.")
@click.option("--dest", type=Output(FOLDER, ("*",)), required=True, help="New folder to write.")
@click.option("--camera", type=INPUT_FILE,
              help="With --table: camera of all rows without one, OpenCV's .yml or Camera.mat.")  # fmt: skip
@click.option("--face-model", type=INPUT_FILE,
              help="6 or 68 points in mm, .yml or text.  [default: MPIIFaceGaze's six]")  # fmt: skip
@click.option("--pose", type=click.Choice([normalized_set.GIVEN, normalized_set.LANDMARKS]), default="given",
              show_default=True, help="Head pose of the rows, or by their landmarks.")  # fmt: skip
@click.option("--focal", type=click.FloatRange(1, 1e5), default=FOCAL, show_default=True,
              help="Of the virtual camera, px.")  # fmt: skip
@click.option("--distance", type=click.FloatRange(1, 1e5), default=DISTANCE, show_default=True,
              help="Of the virtual camera from the face, mm.")  # fmt: skip
@click.option("--size", type=click.IntRange(16, 4096), default=SIZE, show_default=True, help="Of the crops, px.")
@click.option("--pictures/--no-pictures", default=True, show_default=True,
              help="With --inverse: also draw each crop where it lies in its photo.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Threads that crop.")
@skip_damaged_option
@skip_unmatched_option
def main(table, images, mpii, inverse, dest, camera, face_model, pose, focal, distance, size, pictures, workers,
         skip_damaged, skip_unmatched):  # fmt: skip
    """Writes DEST/Image, DEST/Label/PERSON.label in the GazeHub layout, and DEST/Record.

    Labels are turned into the frame of the normalised crop, never scaled: 2DGaze and 2DHead are "yaw,pitch" in rad,
    positive toward the image's left and up, 0,0 into the lens. Record says the frame of every number.

    --inverse reads such a folder, with its own labels or with estimates in their place, and writes DEST/table.csv,
    with gaze, head pose and landmarks in the camera frame and the pixels of the photos, and DEST/Photo.
    """
    given = [f"--{name}={value}" for name, value in (("table", table), ("mpii", mpii), ("inverse", inverse)) if value]
    if len(given) != 1:
        raise ValueError(f"{' and '.join(given) or 'nothing to read'}: give one of --table, --mpii and --inverse")
    if bool(table) != bool(images):
        raise ValueError("--table and --images, the folder of its photos, are given together")
    if camera and not table:
        raise ValueError(f"--camera={camera}: belongs to --table; add that, or leave it out")
    if inverse:
        context = click.get_current_context()
        chosen = [name for name in FORTH if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if chosen:
            raise ValueError(f"--{chosen[0].replace('_', '-')}: belongs to the way there; the way back has it from the "
                             "records, so leave it out with --inverse")  # fmt: skip
    check_destination(dest)
    if inverse:
        faces = list(normalized_set.way_back(inverse))
        with new_data_set(dest) as write:
            write("table.csv", table_text([face.row for face in faces]).encode())
            shown = in_threads(normalized_set.Back.picture, faces if pictures else [], workers)
            for face, picture in zip(faces, shown, strict=pictures):
                write(f"Photo/{face.crop}", picture)
        click.echo(f"{len(faces)} faces, in the camera frames of their photos -> {dest}")
        return
    rows = mpii_rows(mpii) if mpii else read_table(table, read_camera(camera) if camera else None)
    model = read_face_model(face_model) if face_model else MPII_MODEL
    photos = Folder(mpii or images)
    matched = match_names([row.file for row in rows], photos.pictures).without(photos.unreadable)
    tell(matched.notes(given[0], skip_unmatched))
    rows = [row for row in rows if row.file in matched.pictures]
    view, damage = normalized_set.VirtualCamera(focal, distance, size), Damage(skip_damaged)
    faces, faults = normalized_set.faces_of(rows, view, pose, model, skip_damaged)
    tell([f"left out: {fault}" for fault in faults])
    with new_data_set(dest) as write:
        count = normalized_set.write_set(faces, photos, matched.pictures, write, damage, workers)
        left_out = damage.check(str(photos.path), len(faces))
    for line in left_out:
        click.echo(line)
    click.echo(f"{count} faces -> {dest}")


if __name__ == "__main__":
    main()
