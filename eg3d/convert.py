"""Converts checkpoints: any readable file to ours (.safetensors), or to one for the published code (.pt, .pkl)."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import open_checkpoint, save_snapshot
from eg3d.checkpoints.published import save_state_dict
from eg3d.checkpoints.published_pickle import save_published
from eg3d.checkpoints.stored import NAMES
from eg3d.rendering.planes import AXES
from eg3d.running import cli
from groundwork.files import sha256
from groundwork.places import GENERATOR

SUFFIXES = (".safetensors", ".pt", ".pkl")


@click.command(cls=cli.Command)
@click.option("--source", type=GENERATOR, required=True,
              help="Any checkpoint: .safetensors, published .pkl, .pt, embedded, people, the same with -base, "
              "embedded-control, or an https:// address.")  # fmt: skip
@click.option("--like", type=GENERATOR, metavar="NETWORK",
              help="Take the networks' arguments, renderer and cameras from this checkpoint: for files that do not say "
              "them, such as {'G_ema': state_dict} of inversion tools.")  # fmt: skip
@click.option("--dest", type=cli.OUTPUT_FILE, required=True,
              help="File to write: .safetensors is ours, .pt a state dict with the published names, .pkl a pickle for "
              "the published loader.")  # fmt: skip
@click.option(
    "--planes",
    type=click.Choice(list(AXES)),
    help="Axes of the planes, whatever the file says: fixed_triplanes if EG3D's branch of that name made it.",
)
@click.option("--networks", "names", default=",".join(NAMES), show_default=True,
              help="Which networks to keep, of those the source has.")  # fmt: skip
@click.option("--half", **cli.SWITCH, default=False, help="Store float16: half the size; reading gives float32 back.")
@cli.without_effect("--force-fp16", "a network keeps the formats it was built for; --precision of each script that "
                    "runs it changes them", **cli.SWITCH)  # fmt: skip
def main(source, like, dest, planes, names, half):
    """Converts a checkpoint, its weights bit for bit unless --half."""
    if dest.suffix not in SUFFIXES:
        raise ValueError(f"--dest={dest}: give a name that ends in {' or '.join(SUFFIXES)}, which says the format")
    wanted = names.split(",")
    if unknown := set(wanted) - set(NAMES):
        raise ValueError(f"--networks={names}: there is no {min(unknown)!r}; choose from {', '.join(NAMES)}")
    checkpoint = open_checkpoint(source, like, planes)
    kept = [name for name in dict.fromkeys(wanted) if name in checkpoint.networks]
    if not kept:
        raise ValueError(f"{checkpoint.path}: holds none of {names}, only {', '.join(checkpoint.networks)}")
    for note in checkpoint.notes:
        click.echo(f"note: {note}", err=True)
    networks = {name: checkpoint.network(name).build(str(checkpoint.path)) for name in kept}
    origin = {"file": checkpoint.path.name, "kind": checkpoint.kind, "sha256": sha256(checkpoint.path)}
    facts = checkpoint.facts | {"converted_from": origin}
    if dest.suffix == ".pkl":
        for note in save_published(dest, networks, facts, half):
            click.echo(f"note: {note}", err=True)
    elif dest.suffix == ".pt":
        for obstacle in save_state_dict(dest, networks, facts, half):
            click.echo(f"note: the published code cannot build this network ({obstacle}); ours can", err=True)
    else:
        save_snapshot(dest, networks, facts, half)
    click.echo(f"{dest}: {', '.join(kept)} of {checkpoint.path.name}, {dest.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
