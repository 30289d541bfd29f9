"""Says what a checkpoint is, without trusting it: kind, networks, resolutions, cameras, training, hashes."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints import description
from eg3d.checkpoints.loading import open_checkpoint
from eg3d.rendering.planes import AXES
from eg3d.running import cli
from groundwork.places import GENERATOR


@click.command(cls=cli.Command)
@click.argument("checkpoint", type=GENERATOR)
@click.option("--like", type=GENERATOR, metavar="NETWORK",
              help="Take the networks' arguments from this checkpoint, as convert.py does.")  # fmt: skip
@click.option(
    "--planes",
    type=click.Choice(list(AXES)),
    help="Axes of the planes, whatever the file says: fixed_triplanes if EG3D's branch of that name made it.",
)
@cli.json_option
def main(checkpoint, like, planes, json_path):
    """Describes CHECKPOINT: a .safetensors, published .pkl or .pt file, an embedded name or an https:// address."""
    opened = open_checkpoint(checkpoint, like, planes)
    report = description.describe(opened)
    click.echo("\n".join(description.lines(report)))
    cli.write_json(json_path, report)


if __name__ == "__main__":
    main()
