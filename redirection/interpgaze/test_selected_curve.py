"""Switches branches of InterpGaze on, one after the other: a sheet from a source to a reference (published command)."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch

from groundwork.command import Command, device_option, seed_option
from l2cs.set_options import device_of
from redirection.interpgaze.moves import way_to
from redirection.interpgaze.published_sheets import (
    as_column,
    batches,
    columns_of,
    draws_of,
    open_weights,
    patches_in,
    sheet_options,
    write_sheet,
)
from redirection.interpgaze.redirection_plan import branches_of
from redirection.patch_sets import read_patches


@click.command(cls=Command)
@sheet_options
@click.option("-bl", "--branch_list", help="Branches in their order, 1,2 or 1 2.  [default: all]")
@click.option("--steps", type=click.IntRange(1), default=1, show_default=True,
              help="Pictures while a branch moves; 1: only where it has arrived, as published.")  # fmt: skip
@click.argument("more", nargs=-1)
@device_option
@seed_option
def main(data_dir, model_path, save_dir, branch_list, more, steps, seed, device, gpu, **o):
    """Writes SAVE_DIR/0.jpg and so on: source, a picture after each branch, reference.

    References are other patches of the set's test list, drawn by the seed. (Published: at a batch of one, the source
    itself, so that nothing moved.)
    """
    device = device_of(device, gpu)
    network = open_weights(model_path, o["pth_label"], o["attr"], o["dec_type"], device)
    groups, size = network.config.groups, network.config.size
    listed = None if branch_list is None else ",".join([branch_list, *more])
    order = branches_of(listed, "--branch_list", groups.branches) or list(range(groups.branches))
    if branch_list is None and more:
        raise ValueError(f"'{more[0]}' belongs to no option; write --branch_list=1,2")
    unseen = read_patches(data_dir, "test", groups)
    sources = unseen.images if o["test_folder"] is None else patches_in(o["test_folder"])
    if len(unseen) < 2:
        raise ValueError(f"{data_dir}: the test list has one patch, and no other to take as its reference; list more")
    v = torch.zeros(groups.branches)
    v[order] = 1
    controls = way_to(v, len(order) * steps + 1, order)[1:]
    draws, number = draws_of(seed, "test_selected_curve"), -1
    for number, rows in enumerate(batches(len(sources), o["batch_size"], o["n_test"], draws)):
        others = torch.randint(1, len(unseen), (len(rows),), generator=draws)
        if o["test_folder"] is None:
            others = (rows + others) % len(unseen)  # never the source itself
        source, reference = sources[rows], unseen.images[others]
        drawn = columns_of(network, source, reference, controls, device)
        write_sheet(save_dir / f"{number}.jpg", [as_column(source, size), *drawn, as_column(reference, size)])
    click.echo(f"{number + 1} sheets -> {save_dir}")


if __name__ == "__main__":
    main()
