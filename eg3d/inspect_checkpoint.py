"""Says what a checkpoint is, without trusting it: kind, networks, resolutions, cameras, training, hashes."""

import click

from eg3d.checkpoints import description
from eg3d.checkpoints.loading import open_checkpoint
from eg3d.running import cli
from groundwork.places import GENERATOR


@click.command(cls=cli.Command)
@click.argument("checkpoint", type=GENERATOR)
@cli.json_option
def main(checkpoint, json_path):
    """Describes CHECKPOINT: a .safetensors, published .pkl or .pt file, an embedded name or an https:// address."""
    opened = open_checkpoint(checkpoint)
    report = description.describe(opened)
    click.echo("\n".join(description.lines(report)))
    cli.write_json(json_path, report)


if __name__ == "__main__":
    main()
