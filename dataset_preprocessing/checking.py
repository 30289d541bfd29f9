"""Looks at every image and every camera of a data set: what cannot be trained on, and what is merely odd."""

import hashlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dataset_preprocessing.conversion import is_power_of_two
from eg3d.config.presets import ray_ranges
from eg3d.data.labelled import look_into
from eg3d.geometry.cameras import check_labels, split_label, yaw_pitch_of
from eg3d.geometry.doubts import camera_doubts
from eg3d.geometry.label_rows import label_fault
from groundwork.archive import Folder, Zip, shown
from groundwork.command import describe
from groundwork.images import BACKGROUND, decoded, is_transparent, open_image, silence_pillow
from groundwork.matching import LABEL_FILE

ODD_SHARE = 0.2  # radius and focal length may differ from the median by this share; a look-at point, by that of radius
SHOWN = 5  # names in a line
LISTED = 20  # errors for a terminal; the JSON holds all


@dataclass
class Report:
    """What was found; `errors` forbid training, `warnings` ask for a look. All values fit JSON.

    Attributes:
        images, bytes: number of images, and of bytes in their files.
        labels, labels_without_image: entries of dataset.json.
        other_files: neither images nor dataset.json. left_out: of which kinds they are, and hidden files.
        sizes, modes: "64x64" -> images, "RGB" -> images.
        cameras: lowest, median and highest radius, focal length, yaw and pitch (degrees); look_at: the point nearest to
            all optical axes, and look_at_miss, how far the worst passes by.
        duplicates: names of images with equal pixels, by group.
        sound: names of readable images with a proper camera; not in the JSON.
    """

    path: str
    images: int = 0
    bytes: int = 0
    labels: int = 0
    labels_without_image: int = 0
    other_files: int = 0
    left_out: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    cameras: dict = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)

    def to_json(self) -> dict:
        """All but `sound`; names fit for any reader."""
        values = asdict(self)
        del values["sound"]
        values["duplicates"] = [[shown(name) for name in group] for group in self.duplicates]
        return values

    def lines(self) -> list[str]:
        """The report for a terminal."""
        text = [f"{self.path}: {self.images} images, {self.bytes / 1e6:.1f} MB; {self.labels} labels; "
                f"{self.other_files} other files"]  # fmt: skip
        text += [self.left_out] if self.left_out else []
        text += [f"{what}: " + ", ".join(f"{key} ({n})" for key, n in counts.items())
                 for what, counts in (("sizes", self.sizes), ("modes", self.modes)) if counts]  # fmt: skip
        for name in ("radius", "focal", "yaw_deg", "pitch_deg"):
            if name in self.cameras:
                low, middle, high = self.cameras[name]
                text.append(f"{name}: {low:.4g} to {high:.4g}, median {middle:.4g}")
        if "look_at" in self.cameras:
            x, y, z = self.cameras["look_at"]
            text.append(f"look-at: ({x:.3f}, {y:.3f}, {z:.3f}), missed by at most {self.cameras['look_at_miss']:.3g}")
        text += [f"duplicates: {len(self.duplicates)} groups"] if self.duplicates else []
        text += [f"warning: {line}" for line in self.warnings]
        text += [f"wrong: {line}" for line in self.errors[:LISTED]]
        return text + ([f"wrong: and {len(self.errors) - LISTED} more"] if len(self.errors) > LISTED else [])


@dataclass(frozen=True)
class Pixels:
    """What one image file holds; `fault` if it cannot be read, else its size, the file's mode, whether it may be
    transparent, and a digest of its pixels."""

    fault: str | None
    size: str = ""
    mode: str = ""
    transparent: bool = False
    digest: bytes = b""


def examine(path: Path, workers: int = 3, skip_unmatched: bool = False) -> tuple[Report, dict[str, torch.Tensor]]:
    """The report, and the cameras [25] of the sound images by name. ValueError if there is no data set at all.

    Images that training would leave out are not looked at.
    """
    silence_pillow()
    files = look_into(path)
    files.check_label_file()
    archive, names = files.archive, sorted(files.labels)
    report = Report(
        str(path), len(files.images), sum(archive.bytes[name] for name in files.images), files.listed,
        len(files.matched.missing), len(archive.bytes) - len(files.images) - 1,
        files.others,
    )  # fmt: skip
    try:
        report.warnings += files.settled(skip_unmatched).notes
    except ValueError as error:
        report.warnings += files.notes
        report.errors.append(str(error))
        names = sorted(names + files.matched.unlabelled)
    cameras = _cameras(report, files.labels)
    pixels = _images(report, archive, names, workers)
    report.sound = [name for name in names if name in cameras and pixels[name].fault is None]
    sane_cameras(report, cameras)
    return report, cameras


def _images(report: Report, archive: Folder | Zip, names: list[str], workers: int) -> dict[str, Pixels]:
    """Decodes all images; notes sizes, modes, faults and duplicates in the report."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        found = tqdm(pool.map(lambda name: read_pixels(archive, name), names), "reading", len(names), unit="img")
        pixels = dict(zip(names, found, strict=True))
    readable = {name: image for name, image in pixels.items() if image.fault is None}
    report.errors += [image.fault for image in pixels.values() if image.fault is not None]
    report.sizes = dict(Counter(image.size for image in readable.values()).most_common())
    report.modes = dict(Counter(image.mode for image in readable.values()).most_common())
    _note(report.errors, f"another size than most, {next(iter(report.sizes), '')}",
          [name for name, image in readable.items() if image.size != next(iter(report.sizes))])  # fmt: skip
    for size in report.sizes:
        width, height = (int(n) for n in size.split("x"))
        if width != height:
            report.errors.append(f"images of {size} are not square; crop them (dataset_tool.py)")
        elif not is_power_of_two(width):
            report.warnings.append(f"{size} is no power of two, as the networks are built (dataset_tool.py)")
    _note(report.warnings, f"transparent, drawn on {BACKGROUND}",
          [name for name, image in readable.items() if image.transparent])  # fmt: skip
    groups = defaultdict(list)
    for name, image in readable.items():
        groups[image.digest].append(name)
    report.duplicates = [group for group in groups.values() if len(group) > 1]
    _note(report.warnings, "equal pixels in", [" = ".join(map(shown, group[:3])) for group in report.duplicates])
    return pixels


def read_pixels(archive: Folder | Zip, name: str) -> Pixels:
    """One image, decoded and forgotten."""
    try:
        with open_image(archive.read(name), shown(name)) as image:
            mode, transparent = image.mode, is_transparent(image)
            picture = decoded(image, shown(name))
    except (ValueError, OSError) as error:
        return Pixels(describe(error))
    size = f"{picture.width}x{picture.height}"
    return Pixels(None, size, mode, transparent, hashlib.blake2s(f"{size} ".encode() + picture.tobytes()).digest())


def _cameras(report: Report, labels: dict[str, object]) -> dict[str, torch.Tensor]:
    """Proper cameras [25], float64, by name; the others are noted as errors."""
    faults = {name: label_fault(labels[name]) for name in sorted(labels)}
    report.errors += [f"the label of {shown(name)} {fault}" for name, fault in faults.items() if fault]
    cameras = {name: torch.tensor(labels[name], dtype=torch.float64) for name, fault in faults.items() if not fault}
    try:  # all at once; one by one only to find those that fail
        check_labels(torch.stack(list(cameras.values())) if cameras else torch.empty(0, 25), LABEL_FILE)
    except ValueError:
        for name in list(cameras):
            try:
                check_labels(cameras[name][None], LABEL_FILE, [shown(name)])
            except ValueError as error:
                report.errors.append(str(error).removeprefix(f"{LABEL_FILE}: "))
                del cameras[name]
    return cameras


def sane_cameras(report: Report, cameras: dict[str, torch.Tensor]) -> None:
    """Describes proper cameras, and warns of those that a face data set should not have."""
    if not cameras:
        return
    names, labels = list(cameras), torch.stack(list(cameras.values()))
    pose, intrinsics = split_label(labels)
    origin, forward, down = pose[:, :3, 3], pose[:, :3, 2], pose[:, :3, 1]
    radius, focal = origin.norm(dim=1), intrinsics[:, 0, 0]
    point = nearest_point(origin, forward)
    toward = point - origin
    miss = torch.linalg.cross(toward, forward, dim=1).norm(dim=1)
    centre = intrinsics[:, :2, 2]
    yaw, pitch = (angle.rad2deg() for angle in yaw_pitch_of(labels))
    values = {"radius": radius, "focal": focal, "yaw_deg": yaw, "pitch_deg": pitch.nan_to_num()}
    report.cameras = {name: [float(f(x.numpy())) for f in (np.min, np.median, np.max)] for name, x in values.items()}
    report.cameras |= {"look_at": point.tolist(), "look_at_miss": float(miss.max())}
    odd = {
        "the camera stands on the origin": radius < 1e-6,
        "the radius is far from the median": (radius / radius.median() - 1).abs() > ODD_SHARE,
        "the focal length is far from the median": (focal / focal.median() - 1).abs() > ODD_SHARE,
        "pixels are not square (fx is not fy)": (intrinsics[:, 1, 1] / focal - 1).abs() > 0.01,
        "the principal point lies outside the image": ((centre < 0) | (centre > 1)).any(dim=1),
        "the camera looks past the point that all look at": miss > ODD_SHARE * radius.median(),
        "the camera looks away from that point; are the axes OpenGL's?": (toward * forward).sum(dim=1) < 0,
        "the camera is upside down": down[:, 1] > 0,
    }
    for what, rows in odd.items():
        _note(report.warnings, what, [names[row] for row in rows.nonzero()[:, 0].tolist()])
    report.warnings += camera_doubts(labels, ray_ranges())
    same = Counter(tuple(label) for label in labels.tolist())
    if len(names) > 1 and (times := max(same.values())) > max(1, len(names) / 2):
        report.warnings.append(f"{times} of {len(names)} images have the same camera")


def nearest_point(origin: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
    """The point [3] with the least squared distances to the rays' lines; of several, the one nearest the origin.

    sum_i (1 - d_i d_i^T) (p - o_i) = 0, solved by the pseudo-inverse, as one camera alone leaves p undecided.
    """
    d = torch.nn.functional.normalize(forward, dim=1)
    across = torch.eye(3, dtype=d.dtype) - d[:, :, None] * d[:, None, :]
    return torch.linalg.pinv(across.sum(dim=0), rtol=1e-6) @ (across @ origin[:, :, None]).sum(dim=0)[:, 0]


def _note(lines: list[str], what: str, names: list[str]) -> None:
    """Adds one line for all the names, if there are any: what, how many, the first of them."""
    if names:
        more = ", ..." if len(names) > SHOWN else ""
        lines.append(f"{what}: {len(names)} ({', '.join(shown(name) for name in names[:SHOWN])}{more})")
