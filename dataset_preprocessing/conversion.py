"""Brings images with cameras to EG3D's layout: square PNG files of one size, cut together with their intrinsics.

Names are those of EG3D's tool: `00000/img00000123.png`, numbered by the place in the sorted source.
"""

import io
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from dataset_preprocessing.packing import new_data_set
from eg3d.config.presets import ray_ranges
from eg3d.data.labelled import look_into
from eg3d.geometry.cameras import crop_intrinsics, make_label, split_label
from eg3d.geometry.doubts import camera_doubts
from eg3d.geometry.label_rows import label_array
from groundwork.archive import Archive, Unreadable, shown
from groundwork.damage import Damage
from groundwork.images import BACKGROUND, MOST_PIXELS, read_picture, silence_pillow
from groundwork.matching import LABEL_FILE
from groundwork.workers import in_threads

TRANSFORMS = ("center-crop", "center-crop-wide")
LABELS_PER_IMAGE_BYTES = 1000  # a label in JSON, the image's headers and its place in the zip


@dataclass(frozen=True)
class Framing:
    """Which part of an image is kept, and how large it becomes.

    Attributes:
        crop: (left, top, width, height), whole pixels of the source.
        size: (width, height) the crop is resized to.
        side: of the black square in whose middle it is put; `size` is that square, but for wide crops.
    """

    crop: tuple[int, int, int, int]
    size: tuple[int, int]
    side: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, width, height) of the whole square in pixels of the source; it reaches beyond a wide crop."""
        left, top, width, height = self.crop
        x, y = width / self.size[0], height / self.size[1]  # source pixels per pixel
        pad_x, pad_y = ((self.side - n) // 2 for n in self.size)
        return left - pad_x * x, top - pad_y * y, self.side * x, self.side * y

    def of(self, picture: Image.Image) -> Image.Image:
        """The square picture of an RGB picture."""
        left, top, width, height = self.crop
        picture = picture.crop((left, top, left + width, top + height))
        if picture.size != self.size:
            picture = picture.resize(self.size, Image.Resampling.LANCZOS)
        if self.size != (self.side, self.side):
            square = Image.new("RGB", (self.side, self.side))
            square.paste(picture, tuple((self.side - n) // 2 for n in self.size))
            picture = square
        return picture


@dataclass(frozen=True)
class Conversion:
    """What is done to every image.

    Attributes:
        resolution: (width, height), or None to keep that of the source.
        transform: None (stretch to the resolution), or one of TRANSFORMS.
        crop_size: side of a centred square that is cut out first, pixels of the source.
        background: under transparent pixels.
    """

    resolution: tuple[int, int] | None = None
    transform: str | None = None
    crop_size: int | None = None
    background: str = BACKGROUND

    def __post_init__(self):
        if self.transform == "center-crop-wide":
            if self.resolution is None or self.resolution[0] <= self.resolution[1]:
                raise ValueError("--transform=center-crop-wide needs a --resolution=WIDTHxHEIGHT wider than high")
            if self.crop_size is not None:
                raise ValueError("--crop-size cuts a square, --transform=center-crop-wide a wide crop; give only one")
        elif self.resolution is not None and self.resolution[0] != self.resolution[1]:
            width, height = self.resolution
            raise ValueError(f"--resolution={width}x{height}: images for training are square; only "
                             "--transform=center-crop-wide takes a width above the height")  # fmt: skip
        if self.resolution is not None and not is_power_of_two(self.resolution[0]):
            raise ValueError(f"--resolution={self.resolution[0]}: must be a power of two, as the networks are built")
        if self.resolution is not None and self.resolution[0] ** 2 > MOST_PIXELS:
            raise ValueError(f"--resolution={self.resolution[0]}: the most is {math.isqrt(MOST_PIXELS)}")

    def framing(self, width: int, height: int, where: str) -> Framing | None:
        """For an image of this size; None if it is too small for a wide crop. ValueError begins with `where`."""
        if self.transform == "center-crop-wide":
            w, h = self.resolution
            if width < w or height < h:
                return None
            crop = centred(width, height, min(width, round(height * w / h)), min(height, round(width * h / w)))
            return Framing(crop, (w, h), w)
        crop = (0, 0, width, height)
        if self.crop_size is not None:
            if self.crop_size > min(width, height):
                raise ValueError(f"{where} is {width}x{height}, smaller than --crop-size={self.crop_size}")
            crop = centred(width, height, self.crop_size, self.crop_size)
        elif self.transform == "center-crop":
            crop = centred(width, height, min(width, height), min(width, height))
        if self.resolution is not None:
            return Framing(crop, self.resolution, self.resolution[0])
        if crop[2] != crop[3]:
            raise ValueError(f"{where} is {width}x{height}; give --transform=center-crop, or a --resolution")
        if not is_power_of_two(crop[2]):
            raise ValueError(f"{where} gives {crop[2]}x{crop[3]} pixels, no power of two; give --resolution")
        return Framing(crop, crop[2:], crop[2])

    def apply(self, data: bytes, where: str) -> tuple[bytes, Framing, tuple[int, int]] | None:
        """An image file -> PNG file, its framing and the source's (width, height); None if it is too small."""
        picture = read_picture(data, where, self.background)
        framing = self.framing(*picture.size, where)
        if framing is None:
            return None
        out = io.BytesIO()
        framing.of(picture).save(out, "PNG", compress_level=0)  # as EG3D's tool: fast to read
        return out.getvalue(), framing, picture.size


@dataclass(frozen=True)
class Converted:
    """What a conversion did: source names of the written and the dropped images, whether there were cameras, what the
    user must know, and lines about pictures that cannot be read."""

    written: list[str]
    dropped: list[str]
    labelled: bool
    notes: list[str]
    warnings: list[str]
    damaged: list[str]


def is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def centred(width: int, height: int, w: int, h: int) -> tuple[int, int, int, int]:
    """(left, top, w, h) of the middle of an image."""
    return (width - w) // 2, (height - h) // 2, w, h


def convert(
    source: Path,
    dest: Path,
    conversion: Conversion,
    max_images: int | None,
    workers: int = 3,
    skip_unmatched: bool = False,
    skip_damaged: bool = False,
) -> Converted:
    """Writes the data set `dest`; every image or none has a camera. ValueError names the member that is at fault.

    If pictures cannot be read, nothing is written and all of them are named, or with `skip_damaged` left out.
    """
    silence_pillow()
    files, labels = look_into(source, "--source"), None
    archive, names, warnings = files.archive, files.images[:max_images], []
    if files.has_labels:
        files = files.settled(skip_unmatched)
        names = sorted(files.labels)[:max_images]
        labels = label_array(files.labels, names, files.where)
        warnings = camera_doubts(labels, ray_ranges())
    check_room_for(names, archive, conversion, dest)
    damage = Damage(skip_damaged)

    def work(name: str):
        try:
            data, where = archive.read(name), f"{source}: {shown(name)}"
            if not damage.stops:
                return conversion.apply(data, where)
            read_picture(data, where)
        except Unreadable as error:
            return error

    written, dropped, rows, side = [], [], [], None
    with new_data_set(dest) as write, tqdm(total=len(names), desc="converting", unit="img") as bar:
        for index, result in enumerate(in_threads(work, names, workers)):
            bar.update()
            if isinstance(result, Unreadable):
                damage.add(names[index], result)
                continue
            if result is None:
                dropped.append(names[index])
                continue
            data, framing, size = result
            side = side or framing.side
            if framing.side != side:
                raise ValueError(f"{source}: {shown(names[index])} gives {framing.side}x{framing.side} pixels, "
                                 f"the images before it {side}x{side}; give --resolution")  # fmt: skip
            target = f"{index // 1000:05d}/img{index:08d}.png"
            write(target, data)
            written.append(names[index])
            if labels is not None:
                rows.append([target, adjusted(labels[index], size, framing)])
        damaged = damage.check(f"--source={source}", len(names))
        if not written:
            raise ValueError(f"--source={source}: all images are smaller than --resolution; give a lower one")
        if labels is not None:
            write(LABEL_FILE, json.dumps({"labels": rows}).encode())
    return Converted(written, dropped, labels is not None, files.all_notes, warnings, damaged)


def adjusted(label: torch.Tensor, size: tuple[int, int], framing: Framing) -> list[float]:
    """The label [25] of the framed picture, float64; the same to the last bit where nothing is cut off."""
    cam2world, intrinsics = split_label(label[None])
    return make_label(cam2world, crop_intrinsics(intrinsics, size, framing.box))[0].tolist()


def check_room_for(names: list[str], archive: Archive, conversion: Conversion, dest: Path) -> None:
    """ValueError when the disk has no room for these images, to judge by the first that can be read."""
    for name in names:
        try:
            framing = conversion.framing(*_size(archive, name), f"{archive.path}: {shown(name)}")
        except Unreadable:
            continue
        if framing is not None:
            check_room(dest, len(names) * (3 * framing.side**2 + LABELS_PER_IMAGE_BYTES))
        return


def check_room(dest: Path, needed: int) -> None:
    """ValueError, before any work, when the disk has not that many bytes."""
    place = dest.absolute().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(f"--dest={dest}: needs {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB are free in {place}")


def _size(archive: Archive, name: str) -> tuple[int, int]:
    """(width, height) of the upright picture."""
    return read_picture(archive.read(name), f"{archive.path}: {shown(name)}").size
