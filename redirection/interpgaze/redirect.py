"""Moves head yaw and gaze of an eye patch, or the gaze of a whole face, by InterpGaze."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np

from eg3d.pictures.layout import side_by_side, write_gif, write_png
from eg3d.pictures.video import require_ffmpeg, write_video
from groundwork.archive import read_file
from groundwork.command import SWITCH, Command, device_option, pick_device
from groundwork.images import read_picture
from groundwork.places import EITHER, INPUT_FILE, INPUT_FOLDER, OUTPUT_FILE, NamedInput
from redirection.attributes import PUBLISHED
from redirection.interpgaze.moves import resized
from redirection.interpgaze.pth_files import LABEL
from redirection.interpgaze.redirection_plan import Plan, angles_of, check_patch, name_of, redirected_faces
from redirection.interpgaze.redirector_file import EMBEDDED, read_redirector
from redirection.lid_points import MESH

FILMS = {".gif", ".mp4"}
FPS = 15


@click.command(cls=Command)
@click.option("-mp", "--model_path", type=NamedInput(EITHER, EMBEDDED), default="embedded", show_default=True,
              help="Weights: embedded, a .safetensors of train.py, or a folder of published .pth files.")  # fmt: skip
@click.option("--pth_label", default=LABEL, show_default=True, help="Of .pth files: encoder-LABEL.pth.")
@click.option("--attr", default=PUBLISHED, show_default=True, help="Of .pth files: what they were trained with.")
@click.option(
    "--source", type=INPUT_FILE, required=True, help="Patch (named ..._L.png or ..._R.png), or photo of a face."
)
@click.option("--source-angles", help="P,V,H of the source.  [default: what its name says, else what a network "
              "reads]")  # fmt: skip
@click.option("--target", help="P,V,H that are wanted, in degrees; an empty one stays.")
@click.option("--references", type=INPUT_FOLDER, help="With --target: a set of crop_eyes.py to take a reference from.  "
              "[default: embedded patches]")  # fmt: skip
@click.option(
    "--reference",
    type=INPUT_FILE,
    help="Instead: a patch (named ..._L.png or ..._R.png) or photo of a face, whose attributes are taken.",
)
@click.option("--branch_idx", help="With --reference: branches that move, 1,2.  [default: all but the last]")
@click.option("-s", "--strength", help="With --reference: how far, of each branch or of all; beyond 1 it "
              "extrapolates.  [default: 1]")  # fmt: skip
@click.option("--order", help="Branches that move first, one after the other, 2,1.  [default: all together]")
@click.option("--steps", type=click.IntRange(1, 1000), default=1, show_default=True, help="Pictures on the way.")
@click.option("--landmarks", type=NamedInput(EITHER, [MESH]), default=MESH, show_default=True,
              help="Of a face: lids by mesh, a dlib .dat, or a file or folder of 68 points.")  # fmt: skip
@click.option(
    "--face",
    **SWITCH,
    default=None,
    help="Whether source and reference are photos of faces.  [default: by their names]",
)
@click.option("--out", type=OUTPUT_FILE, required=True, help="FILE.png, with several steps a strip; .gif or .mp4.")
@device_option
def main(model_path, source, target, reference, references, steps, out, device, face, **o):
    """Writes the redirected patch or face.

    Of a face both eyes move. Only what changes in a patch is pasted back, so the rest keeps every bit.
    """
    if (target is None) == (reference is None):
        raise ValueError("give --target=P,V,H or --reference=FILE, and not both")
    if target is not None and (o["branch_idx"] is not None or o["strength"] is not None):
        raise ValueError("--branch_idx and --strength are of --reference; leave them out, --target says how far")
    if target is None and (references is not None or o["source_angles"] is not None):
        raise ValueError("--references and --source-angles are of --target; leave them out, or give --target")
    if out.suffix not in {".png", *FILMS}:
        raise ValueError(f"--out={out}: cannot be written; end the name in .png, .gif or .mp4")
    if out.suffix == ".mp4":
        require_ffmpeg()
    device = pick_device(device)
    redirector = read_redirector(model_path, o["pth_label"], o["attr"])[0].to(device)
    picture = np.asarray(read_picture(read_file(source), str(source)))
    name = name_of(source)
    angles = angles_of(o["source_angles"], "--source-angles") or (name.angles if name else None)
    wanted = None if target is None else angles_of(target, "--target", some=True)
    plan = Plan(redirector, device, references, reference, wanted, steps, o | {"face": face})
    if face is False or (face is None and name is not None and name.eye):
        eye = name.eye if name and name.eye else "L"
        check_patch(picture, source)
        _, frames = plan.frames(picture, eye, angles)
        frames = [resized(frame, picture.shape[0]) for frame in frames]
    else:
        frames = redirected_faces(picture, source, plan, angles, o["landmarks"], device)
    if out.suffix == ".png":
        write_png(out, side_by_side(frames))
    elif out.suffix == ".gif":
        write_gif(out, [*frames, *frames[-2:0:-1]])
    else:
        write_video(out, [*frames, *frames[-2:0:-1]], FPS)
    click.echo(f"{len(frames)} pictures -> {out}")


if __name__ == "__main__":
    main()
