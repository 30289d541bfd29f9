"""The augmentation of StyleGAN2-ADA (appendix B) a second time: NumPy, float64, points and loops instead of matrices.

Written apart from `augment_pipe.py`. One sample, every transform on.
`r` holds the random value of each transform: U in [0, 1) or n normal, by the names of the transforms.
"""

import numpy as np

SYM6 = np.array([
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
])  # fmt: skip


def input_point(x, y, r, width, height):
    """Centred output pixel -> centred input pixel: every transform undone, the last first."""

    def turn(x, y, angle):
        return np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y

    x, y = x - 0.125 * r["xfrac_x"] * width, y - 0.125 * r["xfrac_y"] * height
    x, y = turn(x, y, (2 * r["rotate_post"] - 1) * np.pi)
    stretch = 2 ** (0.2 * r["aniso"])
    x, y = x / stretch, y * stretch
    x, y = turn(x, y, (2 * r["rotate_pre"] - 1) * np.pi)
    zoom = 2 ** (0.2 * r["scale"])
    x, y = x / zoom, y / zoom
    x -= np.round((2 * r["xint_x"] - 1) * 0.125 * width)
    y -= np.round((2 * r["xint_y"] - 1) * 0.125 * height)
    x, y = turn(x, y, np.pi / 2 * np.floor(4 * r["rotate90"]))
    return (-x if r["xflip"] >= 0.5 else x), y


def moved(image, r):
    """image [C, H, W] -> the same shape."""
    height, width = image.shape[1:]
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = np.array([input_point(x, y, r, width, height) for x in (-cx, cx) for y in (-cy, cy)])

    def margin(reach, centre, side):
        return int(np.ceil(np.clip(reach + 6 - centre, 0, side - 1)))

    left, right = margin(-corners[:, 0].min(), cx, width), margin(corners[:, 0].max(), cx, width)
    top, bottom = margin(-corners[:, 1].min(), cy, height), margin(corners[:, 1].max(), cy, height)
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right)), mode="reflect")

    fine = enlarged(enlarged(padded, 1), 2)  # index 2 i lies on pixel i
    looked_up = np.zeros((len(image), 2 * height + 12, 2 * width + 12))
    for i in range(looked_up.shape[1]):
        for j in range(looked_up.shape[2]):
            x, y = input_point((j - 6) / 2 - cx, (i - 6) / 2 - cy, r, width, height)
            looked_up[:, i, j] = bilinear_at(fine, 2 * (x + cx + left), 2 * (y + cy + top))
    return shrunk(shrunk(looked_up, 1), 2)


def enlarged(image, axis):
    """Zeros between the pixels, then a true convolution with the low-pass of sum 2."""
    n = image.shape[axis]
    taps = SYM6 / SYM6.sum() * 2

    def row(x):
        stuffed = np.zeros(2 * n)
        stuffed[::2] = x
        return np.convolve(stuffed, taps)[5 : 5 + 2 * n]

    return np.apply_along_axis(row, axis, image)


def shrunk(image, axis):
    """Correlation with the low-pass, then every second pixel, of an image 6 fine pixels larger on each side."""
    taps = SYM6 / SYM6.sum()
    n = image.shape[axis] // 2 - 6

    def row(x):
        return [x[2 * o + 1 : 2 * o + 13] @ taps for o in range(n)]

    return np.apply_along_axis(row, axis, image)


def bilinear_at(image, x, y):
    """Colours [C] at a place between the pixels; zero outside."""
    total = np.zeros(len(image))
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                total += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def recoloured(rgb, r):
    """One colour [3] -> the new one."""
    rgb = (rgb + 0.2 * r["brightness"]) * 2 ** (0.5 * r["contrast"])
    if r["lumaflip"] >= 0.5:
        rgb = rgb - 2 * rgb.mean()
    axis, angle = np.ones(3) / np.sqrt(3), (2 * r["hue"] - 1) * np.pi
    along = axis * (axis @ rgb)
    rgb = along + (rgb - along) * np.cos(angle) + np.cross(axis, rgb) * np.sin(angle)
    return rgb.mean() + (rgb - rgb.mean()) * 2 ** r["saturation"]
