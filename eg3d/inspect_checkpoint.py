"""Says what a checkpoint is, without trusting it: kind, networks, resolutions, cameras, training, hashes."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints import description
from eg3d.checkpoints.loading import open_checkpoint
from eg3d.running import cli


@click.command(cls=cli.Command)
@click.argument("checkpoint")
@cli.json_option
def main(checkpoint, json_path):
    """Describes CHECKPOINT: a .safetensors, published .pkl or .pt file, an embedded name or an https:// address."""
    cli.check_writable(json_path, "--json")
    opened = open_checkpoint(checkpoint)
    if json_path is not None and json_path.exists() and json_path.samefile(opened.path):
        raise ValueError(f"--json={json_path}: is the checkpoint itself, which would be lost; give another name")
    report = description.describe(opened)
    click.echo("\n".join(description.lines(report)))
    cli.write_json(json_path, report)


if __name__ == "__main__":
    main()
