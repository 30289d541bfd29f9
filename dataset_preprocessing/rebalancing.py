"""A data set with mirrored copies, in which rare poses are repeated: side views are rare among photos.

EG3D, supplement: the range of yaws is divided into nine arcs, and images of the sparse ones are repeated. The counts of
its published set are those of 2, 4, 8 and 16 copies by an arc's distance from the middle one. Here no arc gets fuller
than the fullest one was, so that a set whose poses are even stays as it is.
"""

import json
import math
from collections import defaultdict
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from dataset_preprocessing.mirroring import mirrored_name, mirrored_png
from dataset_preprocessing.packing import new_data_set
from dataset_preprocessing.selection import MANIFEST, MIRROR_SUFFIX, FaceSet, beside, label_yaws, pair_key
from eg3d.geometry.cameras import mirror_label
from groundwork.archive import shown
from groundwork.files import atomic_write
from groundwork.matching import LABEL_FILE

ARCS, MOST_COPIES = 9, 16
GAZE = ".gaze.json"  # ending of what lies beside a set: {"gaze": [[name, [yaw, pitch]], ...]}, radians


def repeats_of(names: list[str], yaws: list[float]) -> list[int]:
    """How often each image shall stand in the set; an image and its mirrored copy equally often.

    The arcs are equal parts of -m to m, with m the largest |yaw|, in radians as the yaws are.
    """
    pairs = defaultdict(list)
    for name, yaw in zip(names, yaws, strict=True):
        pairs[pair_key(name)].append(abs(yaw))
    size = {key: sum(values) / len(values) for key, values in pairs.items()}
    width = 2 * max(size.values(), default=0.0) / ARCS
    # By |yaw|: 0 is the middle arc, and k are the two that are k arcs away.
    arc_of = {key: min(int(yaw / width + 0.5), ARCS // 2) if width else 0 for key, yaw in size.items()}
    arcs = [arc_of[pair_key(name)] for name in names]
    factor = repeats_by_arc([arcs.count(k) / (1 if k == 0 else 2) for k in range(ARCS // 2 + 1)])
    return [factor[k] for k in arcs]


def repeats_by_arc(fill: list[float]) -> list[int]:
    """How often images of an arc stand in the set, by its distance from the middle arc; fill: images in such an arc."""
    return [min(2**k, MOST_COPIES, 2 ** int(math.log2(max(fill) / n))) if n else 1 for k, n in enumerate(fill)]


def repeated_name(name: str, k: int) -> str:
    """`a/x.png` -> `a/x_02.png`, and `x_mirror.png` -> `x_02_mirror.png`, so that a pair stays one; 0 is the image."""
    path = PurePosixPath(name)
    mirror = MIRROR_SUFFIX.search(path.stem)
    stem = path.stem[: mirror.start()] if mirror else path.stem
    return name if k == 0 else str(path.with_name(f"{stem}_{k:02d}{mirror[0] if mirror else ''}{path.suffix}"))


def write_balanced(faces: FaceSet, dest: Path, mirror: bool, rebalance: bool, gaze: dict | None = None) -> dict:
    """The new data set, and beside it DEST.manifest.json, whose content is returned, and with `gaze` DEST.gaze.json.

    Args: mirror: adds the mirrored copies, to images that have none; rebalance: repeats rare poses; gaze: yaw and
    pitch of images by name.
    Unreadable if an image is damaged; ValueError if two images would have one name.
    """
    counts = repeats_of(faces.names, label_yaws(faces)) if rebalance else [1] * len(faces.names)
    turned = mirror_label(faces.labels)
    pairs = {pair_key(name) for name in faces.names if MIRROR_SUFFIX.search(PurePosixPath(name).stem)}
    rows, taken, looks = [], set(), []
    with new_data_set(dest) as write:

        def add(name: str, label: list[float], data: bytes, count: int, look: list[float] | None) -> None:
            for k in range(count):
                if (own := repeated_name(name, k)) in taken:
                    raise ValueError(f"--dest={dest}: two images would have the name {shown(own)}; rename one")
                taken.add(own)
                write(own, data)
                rows.append([own, label])
                looks.append([own, look])

        for row, name in enumerate(tqdm(faces.names, "writing", unit="img")):
            data = faces.read(name)
            look = (gaze or {}).get(name)
            add(name, faces.entries[name], data, counts[row], look)
            if mirror and pair_key(name) not in pairs:
                label = [float(f"{x:.9g}") for x in turned[row].tolist()]
                copy = mirrored_png(data, f"{faces.path}: {shown(name)}")
                add(mirrored_name(name), label, copy, counts[row], look and [-look[0], look[1]])
        write(LABEL_FILE, json.dumps({"labels": rows}).encode())
    by_count = {str(n): counts.count(n) for n in sorted(set(counts))}
    record = {
        "source": str(faces.path), "images": len(faces.names), "mirrored": mirror, "rebalanced": rebalance,
        "images_by_copies": by_count, "written": len(rows),
    }  # fmt: skip
    if gaze is not None:
        atomic_write(beside(dest, GAZE), (json.dumps({"gaze": [row for row in looks if row[1]]}) + "\n").encode())
    atomic_write(beside(dest, MANIFEST), (json.dumps(record, indent=1) + "\n").encode())
    return record
