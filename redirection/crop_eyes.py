"""Cuts eye patches out of photos of faces, or renders those of an embedded world, with tables of gaze and head pose."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import re

import click
from tqdm import tqdm

from eg3d.world.worlds import SPLITS, WORLDS
from groundwork.archive import Folder
from groundwork.command import Command, device_option, json_option, pick_device, seed_option, tell, write_json
from groundwork.images import silence_pillow
from groundwork.places import EITHER, FOLDER, INPUT_FOLDER, OUTPUT_FILE, NamedInput, Output
from redirection.attributes import PUBLISHED, Attributes
from redirection.lid_points import MESH, lids_of, load_lids
from redirection.patch_cutting import COLUMBIA_TEST, Face, cut_all, photo_faces, write_sheet
from redirection.world_patches import WorldViews


@click.command(cls=Command)
@click.option("--indir", type=INPUT_FOLDER, help="Folder of photos; its subfolders too.")
@click.option("--world", type=click.Choice(WORLDS), help="Render heads of this world instead.")
@click.option("--outdir", type=Output(FOLDER, ("*",)), required=True, help="New folder to write.")
@click.option("--landmarks", type=NamedInput(EITHER, [MESH]), default=MESH, show_default=True,
              help="Lids by mesh (MTCNN and FaceMesh), a dlib .dat, or a file or folder of 68 points.")  # fmt: skip
@click.option("--size", type=click.IntRange(16, 512), default=64, show_default=True, help="Side of a patch, pixels.")
@click.option("--attr", default=PUBLISHED, show_default=True, help="Attributes of info/gaze.csv.")
@click.option("--test-people", help="Numbers of the people of the test list, 50-56.  [default: Columbia's, 50-56; "
              "of a world: each eighth]")  # fmt: skip
@click.option("--people", type=click.IntRange(1), default=60, show_default=True, help="World: how many people.")
@click.option("--views", type=click.IntRange(1), default=24, show_default=True, help="World: pictures of each.")
@click.option("--between", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="World: part of them that is off Columbia's grid.")  # fmt: skip
@click.option(
    "--render-size", type=click.IntRange(64, 1024), default=256, show_default=True, help="World: px of a face."
)
@click.option("--split", type=click.Choice(SPLITS), default="faces", show_default=True, help="World: whose people.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="World: that render.")
@click.option("--sheet", type=OUTPUT_FILE, help="Also draw the first patches, a PNG file.")
@device_option
@seed_option
@json_option
def main(indir, world, outdir, landmarks, size, attr, test_people, sheet, device, json_path, **o):
    """Writes OUTDIR/all, a folder for each head yaw (N30P ... P30P) and OUTDIR/info.

    A patch is a square of 3.4 times the radius of the smallest circle round the lids' points; those of right eyes are
    mirrored. Photos that are named like Columbia's, 0010_2m_-30P_10V_5H.jpg, get labels; of others there are only
    patches. What could not be cut is in info/rejects.csv. Columbia's photos, and patches of them, are for research.
    """
    if (indir is None) == (world is None):
        raise ValueError("give --indir=FOLDER of photos, or --world=NAME, and not both")
    if outdir.is_file() or (outdir.is_dir() and any(outdir.iterdir())):
        raise ValueError(f"--outdir={outdir}: exists already; give a new or empty folder, so that two sets never mix")
    attributes, test = Attributes.parse(attr), people_of(test_people)
    if world is None:
        silence_pillow()
        folder = Folder(indir)
        names = folder.pictures
        if not names:
            raise ValueError(f"--indir={indir}: holds no pictures{folder.why_empty()}; give a folder of photos")
        source = load_lids(landmarks, names, pick_device(device))
        faces, count = photo_faces(folder, names, source), len(names)
        test = set(COLUMBIA_TEST) if test is None else test
    else:
        views = WorldViews(world, o["split"], o["people"], o["views"], o["between"], o["render_size"], o["seed"])
        faces, count = world_faces(views, o["processes"]), len(views)
    cutting = cut_all(tqdm(faces, total=count, unit="img"), outdir, size, attributes, test)
    click.echo(f"{len(cutting.patches)} patches of {count} pictures -> {outdir}")
    tell([f"{len(cutting.rejects)} eyes or photos were left out: {outdir}/info/rejects.csv"] if cutting.rejects else [])
    if sheet is not None:
        write_sheet(sheet, cutting.sheet)
    write_json(json_path, {"patches": len(cutting.patches), "pictures": count, "rejects": len(cutting.rejects)})


def world_faces(views: WorldViews, processes: int):
    for shown in views.pictures(processes):
        yield Face(f"{shown.name}.png", shown.picture, shown.name, lids_of(shown.points))


def people_of(text: str | None) -> set[int] | None:
    """`1,50-56` -> numbers; None if nothing is asked for."""
    if text is None:
        return None
    people: set[int] = set()
    for part in text.split(","):
        if not (found := re.fullmatch(r"\s*(\d{1,8})(?:-(\d{1,8}))?\s*", part)):
            raise ValueError(f"--test-people={text}: is no list of numbers; write for example 1,50-56")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 0 <= last - first < 100_000:
            raise ValueError(f"--test-people={text}: the range {part.strip()} is none; write for example 50-56")
        people |= set(range(first, last + 1))
    return people


if __name__ == "__main__":
    main()
