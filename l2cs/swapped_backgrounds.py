"""Other surroundings for faces: what lies outside the face mask is replaced while a gaze network trains.

A network that has seen few rooms, or only those of novel views, must not read them. Qin et al. 2022 (arXiv 2201.07927)
render several backgrounds into each view; with the mask that their files hold, each epoch can draw new ones.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from l2cs.gaze_sets import image_files, read_image

KINDS = 3  # a colour, a smooth pattern, a picture (or a pattern with grain if there are none)
MOST_PICTURES = 2000  # of a folder, kept small in memory
PATTERN = 4  # coarse pixels per side of a pattern
GRAIN = 0.2  # standard deviation, of [-1, 1]


def backgrounds_of(folder: Path | None, size: int) -> torch.Tensor | None:
    """Pictures of a folder, at most MOST_PICTURES spread over it, as uint8 [K, 3, size, size]; ValueError for none."""
    if folder is None:
        return None
    files = list(image_files(folder)[0].values())
    chosen = files[:: -(-len(files) // MOST_PICTURES)]
    return torch.from_numpy(np.stack([read_image(file, size) for file in chosen])).permute(0, 3, 1, 2)


def swap_backgrounds(
    images: torch.Tensor, masks: torch.Tensor, share: float, pictures: torch.Tensor | None, generator: torch.Generator
) -> torch.Tensor:
    """Faces before new backgrounds, in a share of the images; the others stay as they are.

    All draws come from `generator` (a CPU one, so that every device trains on the same numbers).
    Args: images [B, 3, S, S] in [-1, 1]; masks [B, 1, S, S] from 0 to 1, 1 on the face; pictures uint8 [K, 3, S, S].
    """
    n, _, size, _ = images.shape
    chosen = torch.rand(n, generator=generator) < share
    kind = torch.randint(KINDS, (n,), generator=generator)
    colour = torch.rand(n, 3, 1, 1, generator=generator) * 2 - 1
    coarse = torch.rand(n, 3, PATTERN, PATTERN, generator=generator) * 2 - 1
    pattern = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)
    grain = torch.randn(n, 3, size, size, generator=generator) * GRAIN
    number = torch.randint(2**31, (n,), generator=generator)
    if pictures is None:
        third = (pattern + grain).clamp(-1, 1)
    else:
        third = (pictures[number % len(pictures)].float() - 128) / 127.5
    choices = torch.stack([colour.expand(-1, -1, size, size), pattern, third])
    background = choices[kind, torch.arange(n)].to(images.device)
    swapped = masks * images + (1 - masks) * background
    return torch.where(chosen.to(images.device)[:, None, None, None], swapped, images)
