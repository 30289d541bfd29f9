"""Writes an InterpGaze of ours as the .pth files that the published programs read."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from groundwork.command import Command
from groundwork.places import FILE, FOLDER, Input, Output
from redirection.interpgaze.pth_files import LABEL, write_redirector
from redirection.interpgaze.redirector_file import read_redirector


@click.command(cls=Command)
@click.option("-mp", "--model_path", type=Input(FILE), required=True, help="Weights: a .safetensors of train.py.")
@click.option("--outdir", type=Output(FOLDER, ["encoder-*.pth", "interp_net-*.pth", "decoder-*.pth"]), required=True,
              help="Folder that receives encoder-LABEL.pth, interp_net-LABEL.pth and decoder-LABEL.pth.")  # fmt: skip
@click.option("--pth_label", default=LABEL, show_default=True, help="LABEL of the files.")
def main(model_path, outdir, pth_label):
    """Networks of 128 px, full width and decoder v1 alone: the published programs build no others.

    These programs crop patches and do not scale them to 0..1. Weights that were trained without --legacy-crop and
    --legacy-scale need programs in which both are mended.
    """
    for file in write_redirector(outdir, read_redirector(model_path)[0], pth_label):
        click.echo(file)


if __name__ == "__main__":
    main()
