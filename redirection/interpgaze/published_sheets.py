"""What the published test commands share: their sources, their references, and sheets of patches in batches."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from eg3d.pictures.layout import side_by_side, stack
from groundwork.command import option_stack
from groundwork.draws import draw_key
from groundwork.files import atomic_write
from groundwork.places import EITHER, FOLDER, INPUT_FOLDER, NamedInput, Output
from redirection.attributes import PUBLISHED, Attributes
from redirection.interpgaze.moves import resized
from redirection.interpgaze.patch_decoder import DECODERS
from redirection.interpgaze.pth_files import LABEL
from redirection.interpgaze.redirector import InterpGaze, network_input, picture
from redirection.interpgaze.redirector_file import EMBEDDED, read_redirector
from redirection.patch_sets import read_images

QUALITY = 95  # of the JPEG files
ENDINGS = {".jpg", ".jpeg", ".png"}

sheet_options = option_stack(
    click.option("--data_dir", type=INPUT_FOLDER, required=True, help="Folder of patches that crop_eyes.py wrote."),
    click.option("-mp", "--model_path", type=NamedInput(EITHER, EMBEDDED), default="embedded",
                 show_default=True, help="Weights: embedded, a .safetensors of train.py, or a folder of published "
                 ".pth files."),
    click.option("--pth_label", default=LABEL, show_default=True, help="Of .pth files: encoder-LABEL.pth."),
    click.option("--attr", default=PUBLISHED, show_default=True, help="Of .pth files: what they were trained with."),
    click.option("--dec_type", type=click.Choice(list(DECODERS)), help="What the weights must have.  [default: what "
                 "they say]"),
    click.option("-sp", "--save_dir", type=Output(FOLDER, ["*.jpg"]), required=True, help="Folder of the sheets."),
    click.option("-bs", "--batch_size", type=click.IntRange(1), default=1, show_default=True, help="Rows of a sheet."),
    click.option("--n_test", type=click.IntRange(1), default=10, show_default=True, help="Sheets, at most."),
    click.option("--test_folder", type=INPUT_FOLDER, help="Patches in this folder, instead of the set's test list."),
    click.option("-gpu", "--gpu", help="Number of the GPU that computes, as published.  [default: by --device]"),
)  # fmt: skip


def open_weights(path: str, label: str, attr: str, decoder: str | None, device) -> InterpGaze:
    """The networks; ValueError, one line, for another decoder than the one asked for."""
    network = read_redirector(path, label, attr)[0].to(device)
    if decoder not in (None, network.config.decoder):
        raise ValueError(f"{path}: has decoder {network.config.decoder}, not {decoder}; leave --dec_type out")
    return network


def patches_in(folder: Path) -> torch.Tensor:
    """uint8 [N, 3, S, S] of the pictures in a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        raise ValueError(f"{folder}: has no .jpg and no .png; give a folder of eye patches")
    return read_images(paths)


def draws_of(seed: int, what: str) -> torch.Generator:
    return torch.Generator().manual_seed(draw_key(seed, what, 0, 0))


def matching(labels: Sequence[torch.Tensor], attributes: Attributes, text: str) -> torch.Tensor:
    """Rows of a set that `0P,NOTL` asks for: all of these attributes, and none of those after NOT.

    Args: labels: float [N, n] for each group
    """
    values, names = torch.cat(list(labels), 1) > 0.5, [name for group in attributes.groups for name in group]
    chosen = torch.ones(len(values), dtype=torch.bool)
    for asked in (part.strip() for part in text.split(",")):
        name = asked.removeprefix("NOT")
        if name not in names:
            raise ValueError(f"--filter_target_attr={text}: '{asked:.40}' is none of {','.join(names)}")
        chosen &= values[:, names.index(name)] != asked.startswith("NOT")
    rows = torch.nonzero(chosen)[:, 0]
    if not len(rows):
        raise ValueError(f"--filter_target_attr={text}: no patch to take as a reference is so; ask for less")
    return rows


def batches(count: int, size: int, most: int, draws: torch.Generator) -> Iterator[torch.Tensor]:
    """Rows of `most` batches at most, in a shuffled order. (Published: one batch more than asked for.)"""
    yield from torch.randperm(count, generator=draws).split(size)[:most]


@torch.no_grad()
def columns_of(
    network: InterpGaze, sources: torch.Tensor, references: torch.Tensor, controls: Sequence[torch.Tensor], device
) -> list[np.ndarray]:
    """uint8 [B, S, S, 3] for each control vector [branches], each patch towards its reference.

    Args: sources, references: uint8 [B, 3, s, s]
    """
    x, r = (network_input(patches, network.config).to(device) for patches in (sources, references))
    of_x, of_r = network.encoder(x), network.encoder(r)
    drawn = []
    for v in controls:
        moved = network.controller(of_x, of_r, v.to(device).expand(len(x), -1))
        rgb = picture(network.draw(x, of_x, moved), network.config)
        drawn.append((rgb * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return drawn


def as_column(patches: torch.Tensor, size: int) -> np.ndarray:
    """uint8 [B, 3, s, s] -> [B, size, size, 3], for a sheet."""
    return np.stack([resized(patch, size) for patch in patches.permute(0, 2, 3, 1).numpy()])


def write_sheet(path: Path, columns: Sequence[np.ndarray]) -> None:
    """A JPEG with a row for each patch of the columns [B, S, S, 3]."""
    sheet = stack([side_by_side(row) for row in zip(*columns, strict=True)])
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=QUALITY)
    atomic_write(path, buffer.getvalue())
