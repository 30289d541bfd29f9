"""One picture without a label: whether it is a crop; its crop and camera, as preprocess_in_the_wild.py makes them."""

import tempfile
from pathlib import Path

import torch
from PIL import Image

from dataset_preprocessing.ffhq.cutting import SIDE, cut_face
from dataset_preprocessing.ffhq.manifest import KEPT
from dataset_preprocessing.ffhq.photos import Chain, Rules, Source
from dataset_preprocessing.ffhq.pose_estimators import NoFace, load_pose_estimator
from eg3d.faces.mtcnn import Mtcnn
from groundwork.archive import read_file
from groundwork.images import read_picture

# How far a finished crop may differ from its own crop in size and place, parts of its side: crops of photos differ by
# 0.013 (90 % of them, docs/photos.md), pictures of the embedded worlds, which no chain has cut, by up to 0.15
# (docs/inversion.md).
OF_PHOTOS, OF_WORLDS = 0.05, 0.2


def is_crop(picture: Image.Image, name: str, world: str = "", device="cpu") -> bool:
    """Whether a square picture is a crop already: then the crop of its largest face is nearly the picture itself.

    Args: world, as in `label_of_crop`. ValueError, one line, if no face is found.
    """
    found = Mtcnn(device)(picture)
    if not len(found.scores):
        raise ValueError(f"{name}: no face found; if it is a finished crop all the same: --crop=False")
    points = found.points[(found.boxes[:, 2:] - found.boxes[:, :2]).sum(axis=1).argmax()]
    cut = cut_face(picture, points)
    size = cut.source_px / picture.width
    shift = (points.mean(axis=0) / picture.width - 0.5) - (cut.points.mean(axis=0) / SIDE - 0.5) * size
    return bool(max(abs(size - 1), *abs(shift)) <= (OF_WORLDS if world else OF_PHOTOS))


def crop_and_label(photo: Path, device="cpu") -> tuple[Image.Image, torch.Tensor]:
    """The largest face of a photo as EG3D's crop, 512 px, and its label [25], by FaceMesh; needs `make photos`.

    ValueError, one line with the reason, if there is no face that the rules of --help keep.
    """
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(load_pose_estimator(None, device, mesh=True), Rules(), Path(folder), device, 1)
        (row,) = chain([Source(photo.name, photo, photo.stem, "")])
        for face in row["faces"]:
            if face["fate"] == KEPT:
                crop = read_picture(read_file(Path(folder) / face["crop"]), str(photo))
                return crop, torch.tensor(face["label"])
    reason = row["faces"][0]["reason"] if row["faces"] else row["reason"]
    raise ValueError(f"{photo}: {reason}; preprocess_in_the_wild.py has rules that can be changed")


def label_of_crop(crop: Image.Image, name: str, world: str = "", device="cpu") -> torch.Tensor:
    """The label [25] of a square picture that is a crop already: by a world's network, else by FaceMesh.

    Args: world, `embedded` or `people`; empty: a photo. ValueError, one line with the reason, if there is no face.
    """
    estimator = load_pose_estimator(world or None, device, mesh=not world)
    try:
        (label,) = estimator.labels(estimator.prepare(crop, name)[None])
    except NoFace as reason:
        label = str(reason)
    if isinstance(label, str):
        raise ValueError(f"{name}: has no label, and no camera is found in it: {label}; list it in dataset.json")
    return label.cpu()
