"""Makes EG3D's data set of FFHQ's photos, or of any photos with landmarks: aligned, cropped, labelled, packed."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from pathlib import Path

import click

from dataset_preprocessing import rebalancing
from dataset_preprocessing.ffhq import aligned_crops, crop_labels, labelling, photo_landmarks
from dataset_preprocessing.ffhq.fitted_cameras import MODES
from dataset_preprocessing.ffhq.pose_estimators import load_pose_estimator
from dataset_preprocessing.packing import check_destination
from dataset_preprocessing.selection import MANIFEST, FaceSet, beside
from eg3d.gaze.networks import load_gaze_network
from eg3d.running import cli
from groundwork.held_folder import held
from groundwork.matching import FACTS_FILE, LABEL_FILE, first_of
from groundwork.places import EITHER, FOLDER, GAZE_JUDGE, INPUT_FILE, INPUT_FOLDER, POSE_NETWORK, NamedInput, Output

LISTED = 10  # reasons for a terminal
OUTDIR = Output(FOLDER, ("*.png", aligned_crops.MANIFEST, LABEL_FILE, FACTS_FILE, crop_labels.GAZE_FILE), joins=True)
PHOTO_LANDMARKS = NamedInput(EITHER, [aligned_crops.MTCNN])
DEST = Output(EITHER, ("*",), beside=lambda dest: [beside(dest, end) for end in (MANIFEST, rebalancing.GAZE)])


@click.command(cls=cli.Command)
@click.option("--indir", type=INPUT_FOLDER, required=True, help="Folder of photos; its subfolders too.")
@click.option("--landmarks", type=PHOTO_LANDMARKS, required=True,
              help="ffhq-dataset-v2.json, JSON {name: 68 or 5 points}, or a folder of .txt; to find the largest face, "
              "mtcnn or a dlib .dat.")  # fmt: skip
@click.option("--outdir", type=OUTDIR, required=True, help="Folder for crops, labels, and manifest.jsonl.")
@click.option("--cropping-params", type=INPUT_FILE,
              help="EG3D's cropping_params.json: five points of each aligned photo.")  # fmt: skip
@click.option("--crop-points", type=click.Choice([aligned_crops.MTCNN, aligned_crops.OWN]),
              help="Without --cropping-params: who places the crop of an aligned photo.  [default: mtcnn, as "
              "EG3D]")  # fmt: skip
@click.option("--labels", type=INPUT_FILE, help="Cameras from a dataset.json, such as NVIDIA's of FFHQ.")
@click.option("--recon-weights", type=POSE_NETWORK, help="Cameras by Deep3DFaceRecon's epoch_20.pth, embedded, or "
              "people.")  # fmt: skip
@click.option("--pose", type=click.Choice(["mesh"]), help="Cameras by MediaPipe's FaceMesh, without a download.")
@click.option("--mode", type=click.Choice(MODES), default="orig", show_default=True,
              help="With --recon-weights: distance from the world's origin (FFHQ's labels) or the head's "
              "centre.")  # fmt: skip
@click.option("--l2cs-path", type=GAZE_JUDGE, help="Also write gaze.json, by this gaze network, or iris.")
@click.option("--dest", type=DEST, help="Also pack a new data set: FILE.zip or a folder.")
@click.option("--mirror", **cli.SWITCH, default=True, show_default=True, help="In DEST: add mirrored copies.")
@click.option("--rebalance", **cli.SWITCH, default=False, help="In DEST: repeat rare poses, up to 16 times.")
@click.option("--most-outside", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Reject a photo that does not show more than this share of its crop.")  # fmt: skip
@click.option("--most-enlarged", type=click.FloatRange(min=0.1), default=4.0, show_default=True,
              help="Reject a photo whose crop would be enlarged more than this.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes that crop.")
@cli.batch_option(32, "Crops at a time, for cameras and gaze.")
@cli.device_option
@cli.json_option
def main(indir, outdir, landmarks, cropping_params, crop_points, labels, recon_weights, pose, mode, l2cs_path, dest,
         mirror, rebalance, most_outside, most_enlarged, workers, batch, device, json_path):  # fmt: skip
    """Photos -> squares of 512 px, their cameras and gaze, and a data set for training.

    Stages: FFHQ's alignment by 68 landmarks, EG3D's crop by five points, cameras, gaze, packing. What is there already
    is not made again. Photos and what belongs to them are matched by name. A photo that gives no crop has a line in
    manifest.jsonl that says why, and the others go on.

    Licences: MTCNN's weights are MIT, trained on research data, and its author calls them not for commercial use;
    MediaPipe's FaceMesh is Apache-2.0; FFHQ's photos, its 68 landmarks (iBUG's terms: no commercial use) and
    Deep3DFaceRecon's weights have their own.
    """
    check(outdir, dest, cropping_params, crop_points, labels=labels, recon_weights=recon_weights, pose=pose)
    click.get_current_context().with_resource(held(outdir))  # to the end of the script
    device = cli.pick_device(device)
    files, notes = labelling.pictures(indir)
    cli.tell(notes)
    five = photo_landmarks.read_crops(cropping_params) if cropping_params else None
    find = landmarks if landmarks == aligned_crops.MTCNN or landmarks.endswith(".dat") else ""
    points = None if find else photo_landmarks.read_landmarks(Path(landmarks))
    photos = aligned_crops.photos_of(indir, files, points, five)
    rules = aligned_crops.Rules(find, crop_points or aligned_crops.MTCNN, most_outside, most_enlarged)
    # Whatever is missing or damaged shows before hours of work.
    table = crop_labels.read_cameras(labels) if labels else None
    estimates = pose or recon_weights
    estimator = load_pose_estimator(recon_weights, device, mode=mode, mesh=bool(pose)) if estimates else None
    network = load_gaze_network(l2cs_path, device) if l2cs_path else None
    lines = aligned_crops.make_crops(photos, outdir, rules, workers)
    crops = aligned_crops.crops_in(lines)
    facts = {"photos": len(lines), "crops": len(crops)}
    click.echo(f"{len(crops)} crops of {len(lines)} photos -> {outdir}")
    cli.tell(aligned_crops.rejections(lines, LISTED))
    if not crops:
        raise ValueError(f"--indir={indir}: no photo gives a crop; {outdir / aligned_crops.MANIFEST} says why")
    if labels or estimator:
        if labels:
            failed = crop_labels.cameras_from(labels, table, outdir, crops)
        else:
            failed = crop_labels.estimate_cameras(outdir, crops, estimator, batch)
        facts["cameras"] = len(crops) - len(failed)
        click.echo(f"{facts['cameras']} cameras -> {outdir / LABEL_FILE}")
        cli.tell(labelling.failures(failed))
    gaze = None
    if network:
        gaze = crop_labels.estimate_gaze(outdir, crops, network, l2cs_path, batch, device)
        facts["gaze"], limits = len(gaze), network.facts.get("limits")
        beside_it = f"   [{limits}]" if limits else ""
        click.echo(f"{len(gaze)} directions of gaze -> {outdir / crop_labels.GAZE_FILE}{beside_it}")
        if without := [crop for crop in crops if crop not in gaze]:
            cli.tell([f"no gaze, as no face is found there: {len(without)} of {len(crops)} crops, {first_of(without)}"])
    if dest is not None:
        record = rebalancing.write_balanced(FaceSet(outdir), dest, mirror, rebalance, gaze)
        facts |= {key: record[key] for key in ("written", "images_by_copies")}
        click.echo(f"{record['written']} images -> {dest}")
    cli.write_json(json_path, facts)


def check(outdir, dest, cropping_params, crop_points, **cameras) -> None:
    """ValueError for options that contradict each other, and for places with what this script did not write."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in cameras.items() if value]
    if len(given) > 1:
        raise ValueError(f"{given[0]}: {given[1]} gives cameras too; give one of the two")
    if cropping_params and crop_points:
        raise ValueError(f"--crop-points={crop_points}: --cropping-params has the points; give one of the two")
    if dest is not None:
        check_destination(dest)
        if not given:
            raise ValueError(f"--dest={dest}: a data set needs cameras; give --labels=FILE, --pose=mesh, or "
                             "--recon-weights=epoch_20.pth (linked from the README of "
                             "sicxu/Deep3DFaceRecon_pytorch)")  # fmt: skip
    labelling.check_place(outdir)


if __name__ == "__main__":
    main()
