"""Says what this machine offers to PyTorch and to our kernels, and which of it is used."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import load_generator
from eg3d.running import cli, machine


@click.command(cls=cli.Command)
@cli.json_option
def main(json_path):
    """Compilers, GPUs, number formats, and which path --ops=auto takes; compiles the CPU's kernels if need be.

    Draws some pictures by kernels and by plain PyTorch, which takes seconds. Changes nothing else and always succeeds:
    what is missing is a line of the report.
    """
    report = machine.examine(lambda: load_generator("embedded"))
    click.echo("\n".join(machine.lines(report)))
    cli.write_json(json_path, report)


if __name__ == "__main__":
    main()
