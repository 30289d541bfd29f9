"""Photos of faces -> EG3D's crops and their cameras; or the cameras of pictures that are such crops already."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing.ffhq import labelling, photo_set
from dataset_preprocessing.ffhq.fitted_cameras import MODES
from dataset_preprocessing.ffhq.photos import Rules
from dataset_preprocessing.ffhq.pose_estimators import load_pose_estimator
from eg3d.metrics.landmark_sources import READERS
from eg3d.metrics.pose_files import read_world
from eg3d.running import cli, distributed, processes
from groundwork.archive import shown
from groundwork.damage import Damage
from groundwork.matching import FACTS_FILE, LABEL_FILE, RENDERED_FILE
from groundwork.places import FOLDER, INPUT_FOLDER, LANDMARKS, POSE_NETWORK, Output

# The labels of crops belong to the pictures and may lie among them.
OUTDIR = Output(
    FOLDER,
    (LABEL_FILE, FACTS_FILE),
    beside=photo_set.outputs,
    at=lambda outdir, arguments: outdir or arguments["indir"],
    shares=["indir"],
    joins=True,
)

EMBEDDED = (
    "nothing tells whose heads these crops show, so the embedded pose network looks at them, and knows only cartoons; "
    "for heads of the world people give --recon-weights=people; for crops of photos give --pose=mesh, or "
    "--recon-weights=epoch_20.pth (linked from the README of sicxu/Deep3DFaceRecon_pytorch); for photos name another "
    "folder by --outdir"
)
ARE_PHOTOS = "so faces are looked for in them and cut out; if all are finished crops: --crop=False"
RULES = Rules()


def rule_option(flag: str, kind: click.ParamType, text: str):
    """An option that is a rule of what is cut out, with the rule's own default."""
    default = getattr(RULES, flag.lstrip("-").replace("-", "_"))
    return click.option(flag, type=kind, help=f"{text}  [default: {default:g}]")


rule_options = cli.option_stack(
    click.option("--faces", type=click.Choice(["largest", "all"]),
                 help="Of a photo: the largest face, or all.  [default: largest]"),
    click.option("--level", **cli.SWITCH, default=None,
                 help="Turn photos so that the eyes are level; EG3D's chain does not."),
    rule_option("--min-confidence", click.FloatRange(0, 1), "Least probability of a face."),
    rule_option("--min-side", click.IntRange(min=1), "Least pixels of the photo that a crop's side has."),
    rule_option("--max-border", click.FloatRange(0, 1), "Most of a crop that may lie outside the photo."),
    rule_option("--min-sharpness", click.FloatRange(min=0), "Least sharpness of a face; 0 keeps blurred ones."),
    rule_option("--max-yaw", click.FloatRange(0, 90), "Most degrees that a face may be turned aside."),
    rule_option("--max-mirror", click.FloatRange(0, 180),
                "Most degrees between the cameras of a crop and of its mirror image."),
    rule_option("--every", click.IntRange(min=1), "Of a film: every which frame."),
)  # fmt: skip


@click.command(cls=cli.Command)
@click.option("--indir", type=INPUT_FOLDER, required=True, help="Folder of photos, films or crops; its subfolders too.")
@click.option("--outdir", type=OUTDIR, help="Where dataset.json goes, and the crops of photos.  [default: --indir; a "
              "folder of its own for photos]")  # fmt: skip
@click.option("--crop", **cli.SWITCH, default=None,
              help="Whether the pictures are photos.  [default: if no label file of ours lies there, and --outdir is "
              "another folder or most are not square]")  # fmt: skip
@rule_options
@click.option("--pose", type=click.Choice(["mesh", "recon"]),
              help="Cameras by MediaPipe's FaceMesh, or by --recon-weights.  [default: recon if there are weights, "
              "mesh for photos, and for what a generator draws that knows only photos]")  # fmt: skip
@click.option("--recon-weights", type=POSE_NETWORK,
              help="Deep3DFaceRecon's epoch_20.pth, or the world of rendered and generated heads: embedded, people.  "
              "[default for crops: what gen_samples_pose.py says that it draws; else embedded]")  # fmt: skip
@click.option("--landmarks", type=LANDMARKS, default="template", show_default=True,
              help="With --recon-weights, five points: template (where EG3D's crops have them), a JSON file, a "
              "folder of .txt, a dlib .dat, embedded, or people.")  # fmt: skip
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="orig",
    show_default=True,
    help="Cameras' distance is from the world's origin (FFHQ's labels), or the head's centre.",
)
@cli.batch_option(32, "Pictures at a time.")
@cli.skip_damaged_option
@cli.skip_unmatched_option
@cli.process_options
@cli.json_option
def main(**options):
    """Finds faces in photos and films, cuts them out as EG3D does (512 px), and estimates their cameras.

    OUTDIR becomes a data set: crops and dataset.json. Beside it appear OUTDIR.manifest.jsonl (what became of each
    photo and face, and why), OUTDIR.sheet.png (crops with axes and points) and OUTDIR.cameras.png. The command run
    again does only what is missing. Photos need the packages of `make photos`.

    Pictures that are EG3D's crops already, as generated ones are, only get their cameras: dataset.json, the 25-number
    label of each, and pose_estimate.json: how, and what failed. --crop and --crop=False decide which they are.

    Licences: MTCNN's weights are MIT, trained on research data, and its author calls them not for commercial use;
    MediaPipe's FaceMesh is Apache-2.0; Deep3DFaceRecon's weights and your photos have their own.
    """
    processes.start(run, check, **options)


# Flags that say what to do with a finished crop; of photos the manifest has what cannot be read.
CROPS_ONLY = ("skip_damaged", "skip_unmatched")


def check(indir, outdir, crop, pose, recon_weights, landmarks, **options) -> None:
    if recon_weights in (None, *READERS) and landmarks != "template":
        raise ValueError(f"--landmarks={landmarks}: only --recon-weights needs points, leave it out")
    if pose == "mesh" and recon_weights is not None:
        raise ValueError(f"--pose=mesh: --recon-weights={recon_weights} is for --pose=recon; leave one of them out")
    if pose == "recon" and recon_weights is None:
        raise ValueError("--pose=recon needs --recon-weights: Deep3DFaceRecon's epoch_20.pth, embedded or people")
    if crop:
        photo_set.check_outdir(indir, outdir)
        check_for_photos(options)
    elif crop is False and (given := given_rules(options)):
        raise ValueError(f"--{next(iter(given)).replace('_', '-')}: only photos are cut; leave it out, or add --crop")
    labelling.check_place(outdir or indir)


def check_for_photos(options: dict) -> None:
    """ValueError for a flag that only finished crops can have."""
    for name in CROPS_ONLY:
        if options[name]:
            raise ValueError(f"--{name.replace('_', '-')}: is for finished crops; of photos that cannot be read the "
                             "manifest has the reason, and the others go on; leave it out, or if these are crops add "
                             "--crop=False")  # fmt: skip


def given_rules(options: dict) -> dict:
    return {name: options[name] for name in vars(RULES) if options[name] is not None}


def run(indir, outdir, crop, pose, recon_weights, landmarks, mode, batch, skip_damaged, skip_unmatched, device,
        json_path, **options):  # fmt: skip
    """What each process does."""
    given = given_rules(options)
    elsewhere = None if skip_damaged or skip_unmatched else outdir  # flags of crops
    guessed = distributed.from_first(lambda: photo_set.why_photos(indir, elsewhere)) if crop is None else ""
    if guessed:
        distributed.tell_once([f"{indir}: {guessed}, {ARE_PHOTOS}"])
    photos = bool(guessed) or bool(crop)
    open_choice = recon_weights is None and pose is None
    world = distributed.from_first(lambda: read_world(indir / RENDERED_FILE)) if open_choice and not photos else None
    mesh = pose == "mesh" or (open_choice and (photos or world == ""))
    if photos:
        distributed.together(lambda: photo_set.check_outdir(indir, outdir))
        check_for_photos({"skip_damaged": skip_damaged, "skip_unmatched": skip_unmatched})
    elif given:
        raise ValueError(f"--{next(iter(given)).replace('_', '-')}: these are taken for finished crops; add --crop if "
                         "they are photos")  # fmt: skip

    def load():
        return load_pose_estimator(recon_weights or world, device, landmarks, mode, mesh)

    if photos:
        facts = crop_photos(indir, outdir, distributed.together(load), Rules(**given), batch, device)
    else:
        distributed.tell_once([EMBEDDED] if open_choice and world is None else [])
        facts = label_crops(indir, outdir or indir, load, batch, Damage(skip_damaged), skip_unmatched)
    if distributed.rank() == 0:
        cli.write_json(json_path, facts)


def crop_photos(indir, outdir, estimator, rules: Rules, batch, device) -> dict:
    """The data set of the faces in photos; the facts about it, on rank 0."""
    facts = photo_set.make(indir, outdir, estimator, rules, batch, device)
    if distributed.rank() == 0:
        click.echo(f"{facts['labelled']} crops of {facts['photos']} photos by the {estimator.name} -> {outdir}")
        cli.tell(photo_set.summary(facts))
    return facts


def label_crops(indir, outdir, load, batch, damage: Damage, skip_unmatched) -> dict:
    """Cameras of finished crops; the facts about them, on rank 0."""
    files, others = distributed.from_first(lambda: labelling.pictures(indir))
    files, notes = distributed.from_first(lambda: labelling.expected(indir, files, skip_unmatched))
    distributed.tell_once(others + notes)
    estimator = distributed.together(load)
    rows, failed, unusable = labelling.estimate(files, estimator, batch, damage)
    if distributed.rank() > 0:
        return {}
    left_out = damage.check(f"--indir={indir}", len(files))
    facts = {"estimator": estimator.name, "sha256": estimator.sha256, "landmarks": estimator.landmarks,
             "pictures": len(files), "labelled": len(rows), "failed": failed, "unusable": unusable}  # fmt: skip
    if not rows:
        name, reason = next(iter(failed.items()))
        raise ValueError(
            f"--indir={indir}: no picture could be labelled; {shown(name)}: {reason}; if these are photos, add --crop "
            "and another --outdir"
        )
    labelling.write(outdir, rows, facts)
    click.echo(f"{len(rows)} of {len(files)} cameras by the {estimator.name} -> {outdir / LABEL_FILE}")
    cli.tell(labelling.failures(failed))
    for line in left_out:
        click.echo(line)
    return facts


if __name__ == "__main__":
    main()
