"""A photo becomes a head: latent and weights of a generator that draw it, in a file that every script takes."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import math
from contextlib import ExitStack
from pathlib import Path

import click

from dataset_preprocessing.ffhq.bare_photo import crop_and_label, is_crop, label_of_crop
from eg3d.checkpoints.loading import load_generator, network_facts, open_checkpoint
from eg3d.config.presets import ray_ranges
from eg3d.data.opening import dataset_path
from eg3d.gaze.networks import check_always_answers, check_differentiable, load_gaze_network
from eg3d.models.eye_field import is_aimed
from eg3d.models.photo_head import PhotoEyeField, PhotoHead
from eg3d.running import cli, distributed, processes
from eg3d.scores.origin import drawn_world
from eg3d.training.inversion.latent_search import TARGETS, SearchConfig
from eg3d.training.inversion.photo_run import ENDINGS, Inversion
from eg3d.training.inversion.photo_sources import Source, digest, label_beside, of_data_set, read_square
from eg3d.training.inversion.picture_distance import load_distance
from eg3d.training.inversion.pivotal_tuning import TuningConfig
from groundwork.archive import read_file
from groundwork.held_folder import held
from groundwork.images import open_image, silence_pillow
from groundwork.places import DATA_SET, GAZE_NETWORK, GENERATOR, INPUT_FILE, WEIGHTS, same

SEARCH, TUNING = SearchConfig(), TuningConfig()
# What is said of a square picture without a label, by whether it seems to be a crop.
GUESSES = {
    True: "its face lies as in a finished crop, so it is taken for one; --crop cuts it out again",
    False: "its face is cut out; if the picture is a finished crop: --crop=False",
}


def files_of(arguments: dict) -> list[str]:
    """Patterns of the files that a call writes."""
    image = arguments.get("image")
    return [f"{Path(image).stem if image else '*'}{ending}" for ending in ENDINGS]


@click.command(cls=cli.Command)
@cli.network_of(GENERATOR)
@click.option("--image", type=INPUT_FILE,
              help="A photo or a square crop; its camera is in a dataset.json beside it, or is estimated.")  # fmt: skip
@click.option("--data", type=DATA_SET, help="In place of --image: a folder or zip with dataset.json, embedded, or "
              "people.")  # fmt: skip
@click.option("--max-images", type=click.IntRange(min=1), help="Of --data: only the first so many.")
@cli.outdir_option(files_of)
@click.option("--crop", **cli.SWITCH, default=None,
              help="Whether to find the face of --image and cut it out.  [default: if it has no label, and does not "
              "look like a finished crop]")  # fmt: skip
@click.option("--target", type=click.Choice(TARGETS), default=SEARCH.target, show_default=True,
              help="What is sought: one row of latent for all layers, or a row for each.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=SEARCH.steps, show_default=True, help="Of the search.")
@click.option("--refine-camera", **cli.SWITCH, default=False, help="Let the camera move too.")
@click.option("--pivotal", **cli.SWITCH, default=True, show_default=True,
              help="Tune the weights too, until they draw the photo (Roich et al. 2021).")  # fmt: skip
@click.option("--pivotal-steps", type=click.IntRange(min=1), default=TUNING.steps, show_default=True,
              help="Of that tuning.")  # fmt: skip
@click.option("--vgg-weights", type=WEIGHTS,
              help="Compare pictures by torchvision's vgg16-397923af.pth, best for photos.  [default: the embedded "
              "feature network]")  # fmt: skip
@click.option("--l2cs-path", type=GAZE_NETWORK,
              help="For a network whose gaze can be set: reads the photo's gaze, and whether set eyes obey.  "
              "[default: that of the network's world; without one the gaze is sought too]")  # fmt: skip
@cli.batch_option(4, "Photos whose latents are sought at a time.")
@cli.seed_option
@cli.skip_unmatched_option
@cli.ops_option
@cli.process_options
@cli.json_option
def main(**options):
    """Turns photos into heads: NAME.safetensors, which every script takes as --network, for any seed and truncation.

    Beside it NAME.png (photo, latent, head, the head turned) and NAME.gif (a turn; eyes that can be set keep contact).
    The same command goes on with a stopped run. With embedded-control, or an eye field of your own, the gaze of the
    head can be set: --gaze of the other scripts.
    """
    processes.start(run, check, **options)


def check(network, image, data, max_images, outdir, crop, l2cs_path, **_) -> None:
    """ValueError for options that contradict each other."""
    if (image is None) == (data is None):
        raise ValueError("give one of --image=FILE and --data=SET")
    if data is not None and crop is not None:
        raise ValueError("--crop: is for --image; photos of a folder become a set by preprocess_in_the_wild.py")
    if image is not None and max_images is not None:
        raise ValueError("--max-images: is for --data; leave it out")
    if image is not None and same(outdir, Path(image).parent):  # me.png may be another photo than me.jpg
        raise ValueError(f"--outdir={outdir}: --image lies there, and a photo of the same name could be lost; give "
                         "another folder")  # fmt: skip
    if str(network).lower().endswith(".onnx"):
        raise ValueError(f"--network={network}: no gradient passes through an ONNX file; give the checkpoint that it "
                         "was made of")  # fmt: skip
    if l2cs_path is not None:
        check_always_answers(l2cs_path, f"--l2cs-path={l2cs_path}")


def run(network, image, data, max_images, outdir, crop, target, steps, refine_camera, pivotal, pivotal_steps,
        vgg_weights, l2cs_path, batch, seed, skip_unmatched, device, json_path):  # fmt: skip
    """What each process does."""
    silence_pillow()
    G = distributed.first_of_each_machine(lambda: load_generator(network, device))
    if isinstance(G, PhotoHead | PhotoEyeField):
        raise ValueError(f"--network={network}: is one head already; give the generator it was made of")
    world = drawn_world(network, G.resolution)
    gaze_network = distributed.together(lambda: load_reader(G, network, world, l2cs_path, pivotal, device))
    work = Inversion(
        G=G,
        search=SearchConfig(target=target, steps=steps, camera=refine_camera, gaze=gaze_network is None),
        tuning=TuningConfig(steps=pivotal_steps) if pivotal else None,
        distance=distributed.together(lambda: load_distance(vgg_weights, device)),
        outdir=outdir, facts=open_checkpoint(network).facts, origin=network_facts(network),
        gaze_network=gaze_network, seed=seed, device=device, progress=distributed.rank() == 0,
    )  # fmt: skip

    def find():
        if image is not None:
            source, note = of_image(image, crop, world or "", ray_ranges(G), device)
            return [source], note
        return of_data_set(dataset_path(data), ray_ranges(G), skip_unmatched)

    sources, notes = distributed.together(find)
    distributed.tell_once(notes)
    sources = sources[:max_images]
    with ExitStack() as stack:
        distributed.by_first(lambda: stack.enter_context(held(outdir)))
        names = distributed.from_first(lambda: [source.name for source in sources if not work.is_done(source)])
        todo = [source for source in sources if source.name in set(names)]
        title = "photos" if len(todo) > 1 else None
        rows = [row for part in processes.batches(todo, batch, work, title, "photo") for row in part]
    if distributed.rank() == 0:
        report(rows, len(sources) - len(todo), outdir)
        cli.write_json(json_path, {"photos": rows, "from_before": len(sources) - len(todo)}
                       | work.origin | work.settings())  # fmt: skip


def load_reader(G, network: str, world: str | None, given: str | None, in_loss: bool, device):
    """The gaze network of a generator whose gaze can be set: --l2cs-path, else that of its world; None: no such one.

    in_loss: whether gradients must pass through it.
    """
    if not is_aimed(G):
        if given is not None:
            raise ValueError(f"--l2cs-path={given}: the gaze of --network={network} cannot be set; leave it out, or "
                             "give embedded-control")  # fmt: skip
        return None
    name = given or world
    if not name:
        return None
    found = load_gaze_network(name, device)
    if in_loss:
        check_differentiable(found, f"--l2cs-path={name}")
    return found


def of_image(image: Path, crop: bool | None, world: str, ranges, device) -> tuple[Source, list[str]]:
    """The photo that --image names, with its camera: listed, or estimated as preprocess_in_the_wild.py does.

    And a note, if it had to be seen whether it is a crop already; ValueError, with that note, if no camera is found.
    """
    data, guess = read_file(image), None
    with open_image(data, str(image)) as header:
        oblong = header.width != header.height
    if crop is None and oblong:
        crop = True
    picture, label = (None, None) if crop else (read_square(image), label_beside(image, ranges))
    if crop is None and label is None:
        finished = is_crop(picture, str(image), world, device)
        crop, guess = not finished, GUESSES[finished]
    sha256 = digest(data + b"cut out", None) if crop else digest(data, label)
    try:
        if crop:
            picture, label = crop_and_label(image, device)
        elif label is None:
            label = label_of_crop(picture, str(image), world, device)
    except ValueError as error:
        raise ValueError(f"{error} ({guess})" if guess else str(error)) from None
    return Source(image.stem, lambda: (picture, label), lambda: sha256), [f"{image}: {guess}"] if guess else []


def report(rows: list[dict], before: int, outdir: Path) -> None:
    """A line for each photo: what was reached, and the gaze with which the head looks as in the photo."""
    for row in rows:
        gaze = row["gaze_rad"]
        degrees = gaze and ", eyes as in the photo: --gaze=" + ",".join(f"{math.degrees(x):.1f}" for x in gaze)
        click.echo(f"{row['name']}: {row['psnr_latent']:.1f} dB from its latent, {row['psnr']:.1f} dB as a head"
                   f"{degrees or ''}")  # fmt: skip
    done = f", {before} before" if before else ""
    click.echo(f"{len(rows)} photo{'s' * (len(rows) != 1)} inverted{done} -> {outdir}")


if __name__ == "__main__":
    main()
