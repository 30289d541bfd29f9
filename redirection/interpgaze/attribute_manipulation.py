"""Moves one branch of InterpGaze toward references that have the wanted attributes (published command)."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch

from eg3d.pictures.layout import side_by_side
from groundwork.command import SWITCH, Command, device_option, seed_option
from l2cs.set_options import device_of
from redirection.interpgaze.published_sheets import (
    as_column,
    batches,
    columns_of,
    draws_of,
    matching,
    open_weights,
    patches_in,
    sheet_options,
    write_sheet,
)
from redirection.interpgaze.redirection_plan import branches_of, strengths_of
from redirection.patch_sets import read_patches


@click.command(cls=Command)
@sheet_options
@click.option("--filter_target_attr", required=True, help="What references have, 15H,0P, or have not, NOTL.")
@click.option("--branch_idx", required=True, help="Branch that moves, or several: 1,2.")
@click.option("-s", "--strength", default="1", show_default=True, help="How far, of each branch or of all.")
@click.option("--n_ref", type=click.IntRange(1), default=1, show_default=True, help="References, one column each.")
@click.option("--legacy-references", **SWITCH, default=False,
              help="References also from people in training, as published.")  # fmt: skip
@device_option
@seed_option
def main(data_dir, model_path, save_dir, filter_target_attr, branch_idx, strength, n_ref, seed, device, gpu, **o):
    """Writes SAVE_DIR/reference.jpg and 0.jpg and so on: source, then the source moved toward each reference."""
    device = device_of(device, gpu)
    network = open_weights(model_path, o["pth_label"], o["attr"], o["dec_type"], device)
    groups, size = network.config.groups, network.config.size
    chosen = branches_of(branch_idx, "--branch_idx", groups.branches)
    v = torch.zeros(groups.branches)
    v[chosen] = torch.tensor(strengths_of(strength, len(chosen)))
    unseen = read_patches(data_dir, "test", groups)
    sources = unseen.images if o["test_folder"] is None else patches_in(o["test_folder"])
    images, labels = unseen.images, unseen.labels
    if o["legacy_references"]:
        known = read_patches(data_dir, "train", groups)
        images = torch.cat([images, known.images])
        labels = [torch.cat(both) for both in zip(labels, known.labels, strict=True)]
    rows = matching(labels, groups, filter_target_attr)
    draws, number = draws_of(seed, "attribute_manipulation"), -1
    references = images[rows[torch.randperm(len(rows), generator=draws)[:n_ref]]]
    if len(references) < n_ref:
        raise ValueError(f"--n_ref={n_ref}: only {len(references)} patches are {filter_target_attr}; ask for so many")
    write_sheet(save_dir / "reference.jpg", [side_by_side(as_column(references, size))[None]])
    for number, rows in enumerate(batches(len(sources), o["batch_size"], o["n_test"], draws)):
        source = sources[rows]
        columns = [as_column(source, size)]
        for reference in references:
            columns += columns_of(network, source, reference.expand_as(source), [v], device)
        write_sheet(save_dir / f"{number}.jpg", columns)
    click.echo(f"{number + 1} sheets -> {save_dir}")


if __name__ == "__main__":
    main()
