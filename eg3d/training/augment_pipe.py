"""Augmentation of what the discriminator sees (StyleGAN2-ADA, Karras et al. 2020, appendix B).

A change of geometry, then one of colour, then optionally filter, noise and cutout. The pipe is an affine function of
the images, and gradients of any order flow through it. Which transforms there are, and which leave the camera label
true: `eg3d/config/augmentation.py`.
"""

import math

import torch

from eg3d.config.augmentation import Transforms
from eg3d.ops.bands import BANDS, amplify_bands
from eg3d.ops.resize import bilinear
from eg3d.ops.warp import rotation, scaling, translation, warp

# The numbers one sample draws, always all of them: what a transform draws does not depend on which others are on.
GATES = (
    "xflip", "rotate90", "xint", "scale", "rotate_pre", "aniso", "rotate_post", "xfrac", "brightness", "contrast",
    "lumaflip", "hue", "saturation", *(f"band{i}" for i in range(BANDS)), "noise", "cutout",
)  # fmt: skip
UNIFORMS = (
    "xflip", "rotate90", "xint_x", "xint_y", "rotate_pre", "rotate_post", "lumaflip", "hue", "cutout_x", "cutout_y",
)  # fmt: skip
NORMALS = (
    "scale", "aniso", "xfrac_x", "xfrac_y", "brightness", "contrast", "saturation", *(f"band{i}" for i in range(BANDS)),
    "noise",
)  # fmt: skip

BAND_POWER = torch.tensor([10.0, 1, 1, 1], dtype=torch.float64) / 13  # of the bands in natural images
CUTOUT_SIZE = 0.5  # of the side


class AugmentPipe:
    """Changes images at random; `p`, a plain number, is the strength at present."""

    def __init__(self, transforms: Transforms, p: float = 0.0):
        self.transforms, self.p = transforms, p

    def __call__(self, images: torch.Tensor, draws) -> torch.Tensor:
        """images [N, 3 or 6, H, W] in [-1, 1] -> the same shape; six channels are two pictures that change alike.

        `draws` gives every sample its own numbers, `KeyedDraws.at(seed, phase, samples, images_seen, device)`: the
        result depends on the sample, not on its place in a micro-batch or a process.
        """
        if images.shape[1] not in (3, 6):
            raise ValueError(f"augmentation takes images of 3 channels or pairs of 6, not of {images.shape[1]}")
        if self.p == 0:
            return images
        return self._apply(images, roll(draws, len(images)), draws)

    def pair(self, pair: dict[str, torch.Tensor], draws) -> dict[str, torch.Tensor]:
        """`image` [N, 3, H, W] and `image_raw` [N, 3, R, R] for D (EG3D, section 4.3), both with the same change.

        As published, the raw one is enlarged to the size of the other and afterwards shrunk again, which blurs it a
        little, whatever p is. A change pixel by pixel commutes with resizing, and is made at the raw one's own size.
        """
        image, raw = pair["image"], pair["image_raw"]
        if self.transforms.per_pixel:
            if self.p == 0:
                return pair
            rolls = roll(draws, len(image))
            return {"image": self._apply(image, rolls, draws), "image_raw": self._apply(raw, rolls, draws)}
        both = self(torch.cat([image, bilinear(raw, image.shape[-1])], dim=1), draws)
        image, enlarged = both.split(3, dim=1)
        return {"image": image, "image_raw": bilinear(enlarged, raw.shape[-1])}

    def _apply(self, images, rolls: dict[str, torch.Tensor], draws) -> torch.Tensor:
        transforms, p = self.transforms, self.p
        if transforms.move_pixels:
            images = warp(images, geometry(transforms, p, rolls, *images.shape[2:]))
        images = recolour(images, colour(transforms, p, rolls))
        if transforms.imgfilter > 0:
            images = amplify_bands(images, band_gains(transforms, p, rolls))
        if transforms.noise > 0:
            sigma = _chosen(rolls, "noise", transforms.noise * p, rolls["noise"].abs() * 0.1, 0.0).to(images)
            images = images + draws.normal(images.shape, images.device).to(images) * sigma[:, None, None, None]
        if transforms.cutout > 0:
            images = images * kept_by_cutout(transforms, p, rolls, *images.shape[2:]).to(images)
        return images


def roll(draws, n: int) -> dict[str, torch.Tensor]:
    """All the numbers of n samples by name, each [n], float64, on the CPU; gates are called `on xflip` and so on."""
    uniform = draws.uniform((n, len(GATES) + len(UNIFORMS))).double()
    normal = draws.normal((n, len(NORMALS))).double()
    names = (*(f"on {name}" for name in GATES), *UNIFORMS, *NORMALS)
    return dict(zip(names, torch.cat([uniform, normal], dim=1).unbind(dim=1), strict=True))


def geometry(transforms: Transforms, p: float, rolls, height: int, width: int) -> torch.Tensor:
    """Output pixel -> input pixel, in pixels from the centre, x right, y down: [N, 3, 3].

    A product of inverses: the first transform in the list is the first that happens to the picture.
    """
    t = transforms
    flip = _chosen(rolls, "xflip", t.xflip * p, 1 - 2 * (2 * rolls["xflip"]).floor(), 1.0)
    quarter = _chosen(rolls, "rotate90", t.rotate90 * p, (4 * rolls["rotate90"]).floor(), 0.0)
    whole_x, whole_y = (
        _chosen(rolls, "xint", t.xint * p, (_both_signs(rolls[f"xint_{axis}"]) * 0.125 * side).round(), 0.0)
        for axis, side in (("x", width), ("y", height))
    )
    zoom = _chosen(rolls, "scale", t.scale * p, (0.2 * rolls["scale"]).exp2(), 1.0)
    # Two chances, before and after the stretching, which together come to rotate * p.
    p_rotate = 1 - math.sqrt(min(max(1 - t.rotate * p, 0), 1))
    before, after = (
        _chosen(rolls, f"rotate_{when}", p_rotate, _both_signs(rolls[f"rotate_{when}"]) * math.pi, 0.0)
        for when in ("pre", "post")
    )
    stretch = _chosen(rolls, "aniso", t.aniso * p, (0.2 * rolls["aniso"]).exp2(), 1.0)
    part_x, part_y = (
        _chosen(rolls, "xfrac", t.xfrac * p, rolls[f"xfrac_{axis}"] * 0.125 * side, 0.0)
        for axis, side in (("x", width), ("y", height))
    )
    return (
        scaling(1 / flip, 1.0)
        @ rotation(quarter * (math.pi / 2))
        @ translation(-whole_x, -whole_y)
        @ scaling(1 / zoom, 1 / zoom)
        @ rotation(before)
        @ scaling(1 / stretch, stretch)
        @ rotation(after)
        @ translation(-part_x, -part_y)
    )


def colour(transforms: Transforms, p: float, rolls) -> torch.Tensor:
    """(r, g, b, 1) -> new colour: [N, 3, 4]. Contrast is about 0, mid-grey; luma is the grey axis (1, 1, 1)."""
    t = transforms
    shift = _chosen(rolls, "brightness", t.brightness * p, 0.2 * rolls["brightness"], 0.0)
    contrast = _chosen(rolls, "contrast", t.contrast * p, (0.5 * rolls["contrast"]).exp2(), 1.0)
    negative = _chosen(rolls, "lumaflip", t.lumaflip * p, (2 * rolls["lumaflip"]).floor(), 0.0)
    turn = _chosen(rolls, "hue", t.hue * p, _both_signs(rolls["hue"]) * math.pi, 0.0)
    saturation = _chosen(rolls, "saturation", t.saturation * p, rolls["saturation"].exp2(), 1.0)

    def per_sample(x):
        return x[:, None, None]

    identity = torch.eye(3, dtype=torch.float64)
    grey = torch.full((3, 3), 1 / 3, dtype=torch.float64)  # v v^T, the part along v = (1, 1, 1) / sqrt(3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)  # x -> v x x
    turned = grey + per_sample(turn.cos()) * (identity - grey) + per_sample(turn.sin()) * cross  # Rodrigues
    flipped = per_sample(contrast) * (identity - 2 * per_sample(negative) * grey)
    linear = (grey + per_sample(saturation) * (identity - grey)) @ turned @ flipped
    return torch.cat([linear, linear @ shift[:, None, None].expand(-1, 3, 1)], dim=2)


def recolour(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Applies [N, 3, 4] to the RGB triples of images [N, 3 k, H, W]."""
    matrices = matrices.to(images)[:, None]
    triples = images.unflatten(1, (-1, 3)).flatten(3)
    return (matrices[..., :3] @ triples + matrices[..., 3:]).view_as(images)


def band_gains(transforms: Transforms, p: float, rolls) -> torch.Tensor:
    """Gains [N, 4] of the frequency bands; each change keeps the power of a natural image."""
    total = 1
    for band in range(BANDS):
        name = f"band{band}"
        gains = torch.ones(len(rolls[name]), BANDS, dtype=torch.float64)
        gains[:, band] = _chosen(rolls, name, transforms.imgfilter * p, rolls[name].exp2(), 1.0)
        total = total * gains / (gains.square() @ BAND_POWER).sqrt()[:, None]
    return total


def kept_by_cutout(transforms: Transforms, p: float, rolls, height: int, width: int) -> torch.Tensor:
    """1 outside a rectangle of half the sides, 0 in it: [N, 1, H, W]."""
    size = _chosen(rolls, "cutout", transforms.cutout * p, torch.full_like(rolls["cutout_x"], CUTOUT_SIZE), 0.0)
    x = ((torch.arange(width) + 0.5) / width - rolls["cutout_x"][:, None]).abs() >= size[:, None] / 2
    y = ((torch.arange(height) + 0.5) / height - rolls["cutout_y"][:, None]).abs() >= size[:, None] / 2
    return (x[:, None, None, :] | y[:, None, :, None]).double()


def _chosen(rolls, name: str, probability: float, value: torch.Tensor, neutral: float) -> torch.Tensor:
    """`value` in the samples whose gate is open, which it is with the given probability."""
    return torch.where(rolls[f"on {name}"] < probability, value, torch.full_like(value, neutral))


def _both_signs(uniform: torch.Tensor) -> torch.Tensor:
    return 2 * uniform - 1
