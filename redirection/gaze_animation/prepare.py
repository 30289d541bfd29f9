"""Makes a set of portraits for GazeAnimation: people who look into the camera, and people who look elsewhere."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
from tqdm import tqdm

from eg3d.world.worlds import SPLITS, WORLDS
from groundwork.archive import Folder
from groundwork.command import Command, device_option, json_option, pick_device, seed_option, tell, write_json
from groundwork.images import silence_pillow
from groundwork.places import EITHER, FILE, FOLDER, GAZE_JUDGE, INPUT_FOLDER, OUTPUT_FILE, NamedInput, Output
from redirection.gaze_animation.camera_gaze import NAMES, load_gaze_source
from redirection.gaze_animation.level_faces import SIDE
from redirection.gaze_animation.portrait_lists import CAMERA, ELSEWHERE, TEST
from redirection.gaze_animation.portrait_making import (
    Making,
    Rules,
    photo_portraits,
    world_made,
    write_set,
    write_sheet,
)
from redirection.gaze_animation.world_portraits import WorldPortraits
from redirection.lid_points import MESH, load_lids

RULES = Rules()


@click.command(cls=Command)
@click.option("--indir", type=INPUT_FOLDER, help="Folder of photos; its subfolders too.")
@click.option("--world", type=click.Choice(WORLDS), help="Render people of this world instead.")
@click.option("--outdir", type=Output(FOLDER, ("*",)), required=True, help="New folder to write.")
@click.option("--size", type=click.IntRange(32, 1024), default=SIDE, show_default=True, help="Side of a portrait, px.")
@click.option(
    "--landmarks",
    type=NamedInput(EITHER, [MESH]),
    default=MESH,
    show_default=True,
    help="Photos: lids by mesh (MTCNN and FaceMesh), a dlib .dat, or a file or folder of 68 points.",
)
@click.option(
    "--l2cs-path",
    type=GAZE_JUDGE,
    help="Photos: gaze network that says who looks into the camera; weights, embedded, people, iris.",
)
@click.option(
    "--labels",
    type=NamedInput(FILE, [NAMES]),
    help="Photos, instead: a table (name and camera, or name, yaw and pitch), or names like Columbia's.",
)
@click.option(
    "--at-camera",
    type=click.FloatRange(0, 90),
    default=RULES.at_camera,
    show_default=True,
    help="Photos: most degrees past the camera of people who look into it.",
)
@click.option(
    "--away",
    type=click.FloatRange(0, 90),
    default=RULES.away,
    show_default=True,
    help="Photos: least degrees of people who look elsewhere; between the two a photo is left out.",
)
@click.option(
    "--least-open",
    type=click.FloatRange(0, 1),
    default=RULES.least_open,
    show_default=True,
    help="Photos: least height of an eye over its width; what is closed is left out.",
)
@click.option("--people", type=click.IntRange(1), default=100, show_default=True, help="World: of each domain.")
@click.option("--views", type=click.IntRange(1), default=8, show_default=True, help="World: pictures of each person.")
@click.option(
    "--jitter",
    type=click.FloatRange(0, 2),
    default=0.5,
    show_default=True,
    help="World: how far faces move in their portraits; 1 is as in the published set.",
)
@click.option(
    "--corrected",
    type=click.IntRange(0),
    default=TEST,
    show_default=True,
    help="World: of how many of the last in 0/ the true corrected picture is made.",
)
@click.option("--split", type=click.Choice(SPLITS), default="faces", show_default=True, help="World: whose people.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="World: that render.")
@click.option("--sheet", type=OUTPUT_FILE, help="Also draw the first portraits of each domain, a PNG file.")
@device_option
@seed_option
@json_option
def main(indir, world, outdir, size, landmarks, l2cs_path, labels, sheet, device, json_path, **o):
    """Writes OUTDIR/1 with 1.txt (X: look into the camera) and OUTDIR/0 with 0.txt (Y: look elsewhere).

    A portrait is a square with level eyes. A line of a list is a name and the eyes' places in a picture of 256 px. Of
    a world, X and Y are different people, and truth.csv, landmarks.json and corrected/ say what is true. Of photos,
    rejects.csv says what was left out and why. The last 300 of 0.txt are for tests (test_num).
    """
    if (indir is None) == (world is None):
        raise ValueError("give --indir=FOLDER of photos, or --world=NAME, and not both")
    if outdir.is_file() or (outdir.is_dir() and any(outdir.iterdir())):
        raise ValueError(f"--outdir={outdir}: exists already; give a new or empty folder, so that two sets never mix")
    if o["away"] < o["at_camera"]:
        raise ValueError(f"--away={o['away']:g}: is less than --at-camera={o['at_camera']:g}; give a larger one")
    making = Making()
    if world is None:
        silence_pillow()
        folder = Folder(indir)
        if not (names := folder.pictures):
            raise ValueError(f"--indir={indir}: holds no pictures{folder.why_empty()}; give a folder of photos")
        device = pick_device(device)
        gaze = load_gaze_source(l2cs_path, labels, device)
        rules = Rules(o["at_camera"], o["away"], o["least_open"])
        bar = tqdm(names, unit="img")
        made = photo_portraits(folder, bar, load_lids(landmarks, names, device), gaze, rules, size, making.rejects)
    else:
        if (given := l2cs_path or labels) is not None:
            raise ValueError(f"{given}: a world's gaze is known; leave --l2cs-path and --labels out")
        its = {name: o[name] for name in ("split", "people", "views", "jitter", "corrected", "seed")}
        portraits = WorldPortraits(world, size=size, **its)
        made = world_made(tqdm(portraits.all(o["processes"]), total=len(portraits), unit="img"))
    write_set(made, outdir, making)
    at_camera, elsewhere = (len(making.names[domain]) for domain in (CAMERA, ELSEWHERE))
    click.echo(f"{at_camera} look into the camera, {elsewhere} elsewhere -> {outdir}")
    tell([f"{len(making.rejects)} photos were left out: {outdir}/rejects.csv"] if making.rejects else [])
    if sheet is not None:
        write_sheet(sheet, making)
    write_json(json_path, {"camera": at_camera, "elsewhere": elsewhere, "rejects": len(making.rejects)})


if __name__ == "__main__":
    main()
