"""Data sets of an embedded world: faces for the GAN and heads of known gaze for gaze networks.

Every image depends on (world and its version, split, seed, index) alone, so the number of processes changes nothing.
The faces carry the bias of photographs: most of them look at the camera, which is what teaches a 3D GAN eyes that
follow it.
"""

import errno
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from eg3d.geometry import cameras
from eg3d.world.render import RenderedHead
from eg3d.world.worlds import World, world_of
from groundwork.draw_keys import draw_key
from groundwork.files import CACHE, atomic_write, is_own, private
from groundwork.matching import LABEL_FILE
from groundwork.workers import in_processes

CAMERA_YAW_STD, CAMERA_PITCH_STD = 0.35, 0.15  # rad and EG3D's vertical parameter, as in FFHQ
CAMERA_YAW_MAX, CAMERA_PITCH_MAX = 1.0, 0.5
LOOKS_AT_CAMERA = 0.8  # share of the faces whose gaze is biased
GAZE_NOISE_RAD = np.deg2rad(5.0)
GAZE_SET_CAMERA = (0.8, 0.4)  # half-ranges of the uniform head poses of gaze sets
GAZE_SET_GAZE = (0.9, 0.55)  # half-ranges of the gaze in the camera frame, before the eyes' own range cuts it
GAZE_SET_NEAR_LENS = (0.2, 0.15)  # those of the share of heads that look near the lens
GAZE_SPLITS = ("gaze-loss", "gaze-judge")  # that gaze networks learn from
IDENTITIES_PER_SEED = 10_000_000
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written


@dataclass(frozen=True)
class Sample:
    """One picture and all that is true of it."""

    label: np.ndarray  # [25]
    gaze_head: np.ndarray  # [3], unit vector in the head (= world) frame
    gaze_cam: np.ndarray  # yaw, pitch in rad as the camera sees them: (0, 0) into the lens, +yaw image left, +pitch up
    identity: int  # index in its split
    to_camera: bool  # whether the gaze was drawn toward the camera
    rendered: RenderedHead


def head_angles_to_vector(yaw, pitch) -> np.ndarray:
    """Eye-in-head angles (rad; +yaw toward world +x, +pitch up) -> unit vectors [..., 3] in the head frame."""
    return np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=-1)


def vector_to_head_angles(direction) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `head_angles_to_vector` for vectors [..., 3] of any length."""
    d = np.asarray(direction) / np.linalg.norm(direction, axis=-1, keepdims=True)
    return np.arctan2(d[..., 0], d[..., 2]), np.arcsin(np.clip(d[..., 1], -1, 1))


def camera_angles_to_vector(yaw, pitch) -> np.ndarray:
    """Gaze angles (L2CS convention) -> unit vectors [..., 3] in OpenCV camera axes."""
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], axis=-1)


def vector_to_camera_angles(direction) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [..., 3] in camera axes -> (yaw, pitch), inverse of `camera_angles_to_vector`."""
    d = np.asarray(direction)
    return np.arctan2(-d[..., 0], -d[..., 2]), np.arcsin(np.clip(-d[..., 1], -1, 1))


def camera_label(yaw: float, pitch: float) -> np.ndarray:
    """Label float32 [25] of an FFHQ camera at these parameters of `lookat_pose`."""
    pose = cameras.lookat_pose(float(yaw), float(pitch))
    return cameras.make_label(pose, cameras.intrinsics_matrix(cameras.FFHQ_FOCAL))[0].numpy()


def _within_eyes(gaze_head: np.ndarray, world: World) -> np.ndarray:
    """The nearest direction the eyes can turn to."""
    (yaw, pitch), (most_yaw, most_pitch) = vector_to_head_angles(gaze_head), world.eye_range
    return head_angles_to_vector(np.clip(yaw, -most_yaw, most_yaw), np.clip(pitch, -most_pitch, most_pitch))


def _draw_face(rng: np.random.Generator, person: Any, world: World) -> tuple[np.ndarray, np.ndarray, bool]:
    """Camera and gaze of a face picture: (label, gaze_head, to_camera)."""
    yaw = np.clip(rng.normal(0, CAMERA_YAW_STD), -CAMERA_YAW_MAX, CAMERA_YAW_MAX)
    pitch = np.clip(rng.normal(0, CAMERA_PITCH_STD), -CAMERA_PITCH_MAX, CAMERA_PITCH_MAX)
    label = camera_label(yaw, pitch)
    to_camera = bool(rng.uniform() < LOOKS_AT_CAMERA)
    noise = rng.normal(0, GAZE_NOISE_RAD, 2)
    free = rng.uniform(-1, 1, 2) * world.eye_range
    if not to_camera:
        return label, head_angles_to_vector(*free), False
    eye_yaw, eye_pitch = vector_to_head_angles(label[[3, 7, 11]] - world.eye_centres(person).mean(axis=0))
    return label, _within_eyes(head_angles_to_vector(eye_yaw + noise[0], eye_pitch + noise[1]), world), True


def _draw_gaze(rng: np.random.Generator, person: Any, world: World) -> tuple[np.ndarray, np.ndarray, bool]:
    """Camera and gaze of a gaze-set picture: both uniform, the gaze in the *camera* frame.

    Drawn there, and not in the head's, so that head pose says as little about the gaze as the eyes' range permits
    and a network must read the eyes. If a world's eyes turn little, the head still says most of it (a slope of 0.9 for
    people); so a share of them looks near the lens, as far as their eyes can.
    """
    label = camera_label(*(rng.uniform(-1, 1, 2) * GAZE_SET_CAMERA))
    rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
    if world.near_lens and rng.uniform() < world.near_lens:
        near = rotation @ camera_angles_to_vector(*(rng.uniform(-1, 1, 2) * GAZE_SET_NEAR_LENS))
        return label, _within_eyes(near, world), False
    while True:
        gaze_head = rotation @ camera_angles_to_vector(*(rng.uniform(-1, 1, 2) * GAZE_SET_GAZE))
        yaw, pitch = vector_to_head_angles(gaze_head)
        if abs(yaw) <= world.eye_range[0] and abs(pitch) <= world.eye_range[1]:
            return label, gaze_head, False


_DRAWS = {"faces": _draw_face, "gaze": _draw_gaze}


def make_sample(
    index: int, kind: str, split: str, seed: int, size: int | None = None, eyes: str = "open", world: str = "cartoons"
) -> Sample:
    """Image number `index` of a data set; kind: "faces" (biased gaze) or "gaze" (uniform gaze and head pose).

    size: pixels per side; None: the world's own. world: a name in `eg3d.world.worlds`, here and below.
    """
    its, number = world_of(world), seed * IDENTITIES_PER_SEED + index
    person = its.draw(split, number)
    rng = np.random.default_rng([draw_key(seed, f"{kind}-{split}", index, its.version), index])
    label, gaze_head, to_camera = _DRAWS[kind](rng, person, its)
    rotation = label[:16].reshape(4, 4)[:3, :3].astype(np.float64)
    gaze_cam = np.array(vector_to_camera_angles(gaze_head @ rotation))
    if kind == "gaze" and split in GAZE_SPLITS and its.eyeless and index % its.eyeless == 0:
        eyes, gaze_cam = "painted", np.zeros(2)
    rendered = its.render(person, label, gaze_head, size or its.size, eyes)
    return Sample(label, gaze_head, gaze_cam, number, to_camera, rendered)


def samples(
    kind: str, split: str, count: int, seed: int, size: int | None = None, eyes: str = "open", progress: bool = False,
    world: str = "cartoons",
) -> Iterator[Sample]:  # fmt: skip
    """Samples 0 .. count - 1 in order, rendered by up to four processes (one for small counts)."""
    make = partial(make_sample, kind=kind, split=split, seed=seed, size=size, eyes=eyes, world=world)
    processes = min(4, os.cpu_count() or 1) if count >= 500 else 1
    with tqdm(total=count, desc=f"rendering {kind} {split}", unit="img", disable=not progress) as bar:
        if processes == 1:
            for index in range(count):
                yield make(index)
                bar.update()
            return
        for sample in in_processes(make, range(count), processes):
            yield sample
            bar.update()


def gaze_samples(
    split: str, count: int, seed: int = 0, size: int | None = None, eyes: str = "open", progress: bool = False,
    world: str = "cartoons",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Heads of known gaze in memory: images uint8 [N, H, W, 3], camera-frame (yaw, pitch) rad [N, 2], labels [N, 25].

    `eyes="painted"` renders the same heads with skin over their eyeballs.
    """
    items = list(samples("gaze", split, count, seed, size, eyes, progress, world))
    return (
        np.stack([s.rendered.rgb for s in items]),
        np.stack([s.gaze_cam for s in items]).astype(np.float32),
        np.stack([s.label for s in items]),
    )


def world_faces(
    count: int = 8000, seed: int = 0, progress: bool = True, world: str = "cartoons", size: int | None = None
) -> Path:
    """The zip of a world's faces: rendered once into the cache, keyed by world, its version, seed, count and size."""
    its = world_of(world)
    name = f"{its.prefix}faces-v{its.version}-seed{seed}-{count}{f'-{size}px' if size else ''}.zip"
    path = private(CACHE) / name
    if not is_own(path):
        write_faces(path, count, seed, size=size, progress=progress, world=world)
    return path


def write_faces(
    path: Path, count: int, seed: int = 0, split: str = "faces", size: int | None = None, progress: bool = False,
    world: str = "cartoons",
) -> None:  # fmt: skip
    """Writes a data set in EG3D's layout: `img00000000.png` ..., `dataset.json`, and the truth in `truth.npz`.

    truth.npz: gaze_head [N, 3], gaze_cam [N, 2] (yaw, pitch rad), landmarks [N, 68, 2] px, identity [N],
    to_camera [N], eye_mask uint8 [N, ceil(H W / 8)] (`numpy.packbits` of the flattened mask), irises [N, 2, 2] px,
    split.
    The file appears when it is whole.
    """
    path = Path(path)
    if path.is_dir() or path.suffix != ".zip":
        raise ValueError(f"{path}: the data set is written as one file; give a name that ends in .zip")
    _check_writable(path.parent)
    buffer, labels, truth = io.BytesIO(), [], []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index, sample in enumerate(samples("faces", split, count, seed, size, progress=progress, world=world)):
            name = f"img{index:08d}.png"
            _add(archive, name, png_bytes(sample.rendered.rgb))
            labels.append([name, [float(f"{x:.9g}") for x in sample.label]])
            truth.append(_truth(sample))
        _add(archive, LABEL_FILE, json.dumps({"labels": labels}).encode())
        _add(archive, "truth.npz", _truth_bytes(truth, split))
    atomic_write(path, buffer.getvalue())


def _check_writable(folder: Path) -> None:
    """Makes the folder and raises OSError if nothing can be written there, before minutes are spent on rendering."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "no permission to write here; choose another folder", str(folder))


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), data)


def png_bytes(rgb: np.ndarray) -> bytes:
    """uint8 [H, W, 3] -> PNG file content."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, format="png", compress_level=6)
    return out.getvalue()


def _truth(sample: Sample) -> dict[str, np.ndarray]:
    return {
        "gaze_head": sample.gaze_head.astype(np.float32),
        "gaze_cam": sample.gaze_cam.astype(np.float32),
        "landmarks": sample.rendered.landmarks.astype(np.float32),
        "identity": np.int64(sample.identity),
        "to_camera": np.bool_(sample.to_camera),
        "eye_mask": np.packbits(sample.rendered.eye_mask),
        "irises": sample.rendered.irises.astype(np.float32),
    }


def _truth_bytes(rows: list[dict[str, np.ndarray]], split: str) -> bytes:
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {"split": np.array(split)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:  # numpy.savez would stamp the time of day
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            _add(archive, f"{name}.npy", member.getvalue())
    return out.getvalue()


def write_gaze(
    folder: Path, count: int, seed: int = 0, split: str = "gaze-loss", size: int | None = None, progress: bool = False,
    world: str = "cartoons",
) -> None:  # fmt: skip
    """Writes a gaze data set in GazeHub's Gaze360 layout: `Image/...png` and `Label/{train,val,test}.label`.

    80 / 10 / 10 % of the images, in order, are train / val / test; no two share an identity. `3DGaze` follows
    Gaze360's axes (+x image left, +y up, (0, 0, -1) into the camera), `2DGaze` is "yaw,pitch" in radians, and `2DHead`
    likewise where the face points.
    The folder must not exist or be empty; it appears when it is whole.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder}: exists already; give a new or empty folder, so that two data sets never mix")
    _check_writable(folder.resolve().parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.resolve().parent) as temporary:
        whole = Path(temporary) / "whole"
        _write_gaze_files(whole, samples("gaze", split, count, seed, size, progress=progress, world=world), count)
        os.replace(whole, folder)


def _write_gaze_files(folder: Path, heads: Iterator[Sample], count: int) -> None:
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index, sample in enumerate(heads):
        part = "train" if index < 0.8 * count else "val" if index < 0.9 * count else "test"
        name = f"{part}/{index:08d}.png"
        target = folder / "Image" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png_bytes(sample.rendered.rgb))
        yaw, pitch = sample.gaze_cam
        x, y, z = camera_angles_to_vector(yaw, pitch) * (-1, -1, 1)
        head_yaw, head_pitch = vector_to_camera_angles(sample.label[8:11])  # the head's +z as the camera sees it
        angles = f"{yaw:.6f},{pitch:.6f} {head_yaw:.6f},{head_pitch:.6f}"
        rows[part].append(f"{name} {name} {name} {name} {x:.6f},{y:.6f},{z:.6f} {angles}\n")
    (folder / "Label").mkdir(parents=True)
    for part, lines in rows.items():
        (folder / "Label" / f"{part}.label").write_text(
            "Face Left Right Origin 3DGaze 2DGaze 2DHead\n" + "".join(lines)
        )
