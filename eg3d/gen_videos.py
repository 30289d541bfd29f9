"""Films of a generator, or of several side by side: an orbit round heads, or heads that turn into each other."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import re

import click
import numpy as np
import torch

from eg3d.checkpoints.loading import load_generator, short_names
from eg3d.config.presets import ray_ranges
from eg3d.geometry.cameras import focal_to_fov
from eg3d.geometry.doubts import camera_doubts
from eg3d.geometry.head_gaze import FACE
from eg3d.pictures import video
from eg3d.pictures.aims import aim_eyes, gazes
from eg3d.pictures.views import ViewOptions, conditioning_label
from eg3d.running import cli
from groundwork.places import FILE, GENERATOR, INPUT_FILE, NamedInput


def parse_grid(ctx, param, value: str) -> tuple[int, int]:
    """`4x1` or `4,1` -> (4, 1)."""
    match = re.fullmatch(r"\s*([1-9]\d?)[x,]([1-9]\d?)\s*", value)
    if not match:
        raise click.BadParameter(f"'{value}' is not a grid; write width x height, for example 4x1", ctx, param)
    return int(match[1]), int(match[2])


def files_of(arguments: dict) -> list[str]:
    """Patterns of the files that a call writes."""
    names = ["interpolation"] if arguments["interpolate"] else map(str, arguments["seeds"])
    return [f"{name}{ending}" for name in names for ending in (".mp4", "_cameras.json")]


@click.command(cls=cli.Command)
@click.option("--network", "networks", type=GENERATOR, multiple=True, required=True,
              help="Generator as in gen_samples.py; several are shown beside each other.")  # fmt: skip
@click.option("--caption", "captions", multiple=True, help="Text over each network's pictures.  [default: its name]")
@click.option("--seeds", type=cli.SEEDS, required=True, help="Keyframes, for example 0,1,4-6.")
@cli.outdir_option(files_of)
@click.option("--shuffle-seed", type=click.IntRange(min=0), help="Shuffles the seeds, the same way each time.")
@click.option("--grid", callback=parse_grid, default="1x1", show_default=True, help="Heads at once, width x height.")
@click.option("--num-keyframes", type=click.IntRange(min=1), help="Heads each cell passes.  [default: seeds / cells]")
@click.option("--w-frames", type=click.IntRange(min=1), default=120, show_default=True, help="Frames per keyframe.")
@click.option("--interpolate", type=bool, default=True, show_default=True,
              help="One film, interpolation.mp4; False: an orbit of each seed, 0.mp4.")  # fmt: skip
@click.option("--camera-path", type=INPUT_FILE,
              help="JSON with a camera per frame, and fps, as another film's *_cameras.json.  "
              "[default: orbit]")  # fmt: skip
@cli.gaze_option
@click.option("--gaze-path", type=NamedInput(FILE, ["circle"]), metavar="FILE|circle",
              help='JSON with a gaze per frame, {"gaze": [[yaw, pitch], ...]}, degrees; circle: heads that rest follow '
              "a point.")  # fmt: skip
@click.option("--gaze-blend", type=click.FloatRange(0, 1), default=1, show_default=True,
              help="0: along the face, 1: as --gaze or --gaze-path says, between them a mixture.")  # fmt: skip
@click.option("--trunc", type=float, default=1, show_default=True, help="Truncation psi.")
@cli.trunc_cutoff_option
@click.option("--cfg", type=click.Choice(list(video.FOCAL), case_sensitive=False), default="FFHQ", show_default=True,
              help="The focal length.")  # fmt: skip
@click.option(
    "--image_mode", type=click.Choice(video.IMAGE_MODES), default="image", show_default=True, help="What is drawn."
)
@click.option("--sample_mult", type=click.FloatRange(0.1, 16), default=2, show_default=True,
              help="Multiplies the samples along each ray.")  # fmt: skip
@click.option("--nrr", type=click.IntRange(4, 1024), help="Rays per side.  [default: the network's]")
@cli.shape_options(".ply")
@cli.compute_options
@cli.drawing_options_without_effect
def main(
    networks, captions, seeds, outdir, shuffle_seed, grid, num_keyframes, w_frames, interpolate, camera_path, gaze,
    gaze_path, gaze_blend, trunc, trunc_cutoff, cfg, image_mode, sample_mult, nrr, shapes, precision, device,
):  # fmt: skip
    """Films of seeds: interpolation.mp4, or an orbit of each, 0.mp4; beside each its cameras, *_cameras.json.

    Several networks show the same heads: side by side, or in a wide grid one below the other.
    """
    video.require_ffmpeg()
    if captions and len(captions) != len(networks):
        raise ValueError(f"{len(captions)} --caption for {len(networks)} --network; give one for each, or none")
    if shapes and (len(networks) > 1 or grid != (1, 1)):
        raise ValueError("--shapes: shows one head of one network; leave --grid out and give one --network")
    if shuffle_seed is not None:
        seeds = np.random.RandomState(shuffle_seed).permutation(seeds).tolist()
    plans = video.plan_films(seeds, grid, num_keyframes, interpolate)
    path = video.read_camera_path(camera_path) if camera_path else None
    if gaze is not None and gaze_path:
        raise ValueError(f"--gaze-path={gaze_path}: --gaze says already where the eyes look; give one of the two")
    device = cli.pick_device(device)
    generators = [video.set_quality(load_generator(name, device, precision), sample_mult, nrr) for name in networks]
    aim_eyes(generators, gaze or (FACE if gaze_path or gaze_blend < 1 else None))
    if path:
        doubts = video.angle_doubts(path.get("cameras", []))
        for G in generators if "labels" in path else ():
            doubts += camera_doubts(torch.tensor(path["labels"]), ray_ranges(G))
        cli.tell([], [f"{camera_path}: {line}" for line in dict.fromkeys(doubts)])
    fps = path["fps"] if path else video.FPS
    view = ViewOptions(trunc, trunc_cutoff, focal_to_fov(video.FOCAL[cfg]))
    side = max(video.SMALLEST_SIDE, *(G.resolution for G in generators))
    for plan in plans:
        labels = [video.path_labels(path, w_frames * plan.keyframes, G, view.fov_deg) for G in generators]
        if gaze_path == "circle" and not path:
            labels = [
                conditioning_label(G, view.fov_deg).expand(len(c), -1) for G, c in zip(generators, labels, strict=True)
            ]
        asked = gazes(gaze or FACE, gaze_path, labels[0]) * gaze_blend
        films = [
            video.film(G, plan, c, view, image_mode, side, gaze=asked) for G, c in zip(generators, labels, strict=True)
        ]
        named = captions or short_names(networks)
        frames = (
            films[0] if len(films) == 1 and not captions else video.abreast(films, named, beside=grid[0] <= grid[1])
        )
        video.write_video(outdir / f"{plan.name}.mp4", frames, fps, progress=len(labels[0]))
        video.write_camera_path(outdir / f"{plan.name}_cameras.json", labels[0], fps)
        if shapes:
            video.write_shapes(outdir, generators[0], plan, len(labels[0]), view, shapes)
        click.echo(f"{outdir / plan.name}.mp4: {len(labels[0])} frames")


if __name__ == "__main__":
    main()
