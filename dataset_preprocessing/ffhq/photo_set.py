"""A folder of photos -> a data set of crops with cameras, and beside it what became of each photo."""

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from dataset_preprocessing.ffhq import labelling, photos, tracking
from dataset_preprocessing.ffhq.cutting import SIDE
from dataset_preprocessing.ffhq.manifest import ENDING, UNREADABLE, Manifest
from dataset_preprocessing.ffhq.pose_estimators import MeshCameras
from dataset_preprocessing.overview import contact_sheet, draw_poses
from dataset_preprocessing.selection import beside
from eg3d.faces.mtcnn import FILES
from eg3d.faces.packaged import FACE_MESH
from eg3d.geometry.cameras import FFHQ_PIVOT
from eg3d.pictures.layout import write_png
from eg3d.running import distributed, processes
from groundwork.archive import Folder, Unreadable, shown
from groundwork.held_folder import held
from groundwork.images import open_image
from groundwork.matching import FACTS_FILE, LABEL_FILE, RENDERED_FILE
from groundwork.places import lies_in, resolved, same

SHEET, PLOT = ".sheet.png", ".cameras.png"  # endings of what lies beside the data set
LOOKED_AT = 25  # pictures whose size says whether a folder holds photos
# What is said about fates of the manifest, after their number.
WORDS = {
    UNREADABLE: "cannot be read",
    "no face": "without a face",
    "unsure": "unsure faces",
    "smaller": "smaller faces of a photo",
    "small": "too small",
    "border": "cut by the border",
    "blurred": "blurred",
    "no camera": "without a camera",
    "mirror": "whose mirror image has another camera",
    "profile": "turned aside too far",
}


def why_photos(folder: Path, outdir: Path | None) -> str:
    """Why the pictures of a folder are taken for photos, not crops; "" if they are not, or there are none.

    Pictures among which a label file lies are crops. Others are photos if something is to be written elsewhere, if most
    are not square, or if there are only films.
    """
    if not folder.is_dir() or any((folder / name).exists() for name in (LABEL_FILE, FACTS_FILE, RENDERED_FILE)):
        return ""
    archive = Folder(folder)
    films = not archive.pictures and bool(films_in(archive))
    if outdir is not None and not same(resolved(outdir), resolved(folder)):
        return "--outdir is another folder" if archive.pictures or films else ""
    square, oblong = 0, 0
    for name in archive.pictures[:: max(1, len(archive.pictures) // LOOKED_AT)]:
        try:
            with open_image(archive.read(name), name) as header:
                square, oblong = square + (header.width == header.height), oblong + (header.width != header.height)
        except Unreadable:
            continue
    return "most pictures are not square" if oblong > square else "there are only films" if films else ""


def outputs(outdir: Path) -> list[Path]:
    """What is written beside the data set."""
    return [_beside(outdir, ending) for ending in (ENDING, SHEET, PLOT)]


def _beside(outdir: Path, ending: str) -> Path:
    return beside(Path(os.path.abspath(outdir)), ending)  # "." has no name


def check_outdir(indir: Path, outdir: Path | None) -> None:
    """ValueError unless crops can lie there: beside the photos the next run would take them for photos."""
    if outdir is None:
        raise ValueError("--outdir: photos are cropped into a folder of its own; name one")
    where, source = resolved(outdir), resolved(indir)
    if same(where, source) or lies_in(where, source):
        raise ValueError(f"--outdir={outdir}: lies in --indir={indir}, where the next run would take crops for photos; "
                         "name a folder elsewhere")  # fmt: skip
    labelling.check_place(outdir)


def films_in(folder: Folder) -> list[str]:
    return sorted(name for name in folder.bytes if tracking.is_film(name) and name not in folder.unreadable)


def make(indir: Path, outdir: Path, estimator, rules: photos.Rules, batch: int, device) -> dict:
    """Does what is missing; every process calls it. Returns the facts on rank 0, and {} elsewhere.

    ValueError, before anything is written, if another run works in `outdir`.
    """
    with ExitStack() as stack:
        distributed.by_first(lambda: stack.enter_context(held(outdir)))
        return _made(indir, outdir, estimator, rules, batch, device)


def _made(indir: Path, outdir: Path, estimator, rules: photos.Rules, batch: int, device) -> dict:
    files, notes = distributed.from_first(lambda: labelling.pictures(indir, films_in))
    distributed.tell_once(notes)
    found = distributed.from_first(lambda: photos.sources(Folder(indir), list(files)))
    chain = distributed.together(lambda: photos.Chain(estimator, rules, outdir, device, batch))
    manifest = distributed.by_first(lambda: _opened(outdir, rules, estimator))
    todo = distributed.from_first(lambda: [one for one in found if not manifest.done(one.name, one.stamp, outdir)])
    parts = [one for one in todo if not tracking.is_film(one.name)], [one for one in todo if tracking.is_film(one.name)]
    for part, at_once, title in ((parts[0], batch, "photos"), (parts[1], 1, "films")):
        for rows in processes.batches(part, at_once, chain, title if part else None):
            for row in rows:
                manifest.append(row)
    if distributed.rank() > 0:
        return {}
    manifest.keep_only(files, outdir)
    manifest.begin()
    return _written(manifest, outdir, estimator, len(found) - len(todo))


def _opened(outdir: Path, rules: photos.Rules, estimator) -> Manifest:
    files = [*FILES.values(), *([FACE_MESH] if isinstance(estimator, MeshCameras) else [])]
    about = {"files": [file.facts() for file in files]}  # with their licences
    where = _beside(outdir, ENDING)
    if outdir.is_dir() and not where.exists() and (strangers := Folder(outdir).pictures):
        raise ValueError(f"--outdir={outdir}: holds {shown(strangers[0])} and no {where.name} lies beside it, so what "
                         "this run cuts out would be mixed with it; give a new folder, or remove that one")  # fmt: skip
    manifest = Manifest(where, photos.rules_of(rules, estimator), about)
    manifest.begin()
    return manifest


def _written(manifest: Manifest, outdir: Path, estimator, before: int) -> dict:
    kept = list(manifest.kept())
    rows = [[face["crop"], face["label"]] for face in kept]
    facts = {"estimator": estimator.name, "sha256": estimator.sha256, "landmarks": estimator.landmarks,
             "pictures": len(rows), "labelled": len(rows), "failed": {}, "photos": len(manifest.rows),
             "from_before": before, "fates": manifest.fates(), "manifest": manifest.path.name}  # fmt: skip
    if not rows:
        name, row = next(iter(manifest.rows.items()))
        reason = row["faces"][0]["reason"] if row["faces"] else row["reason"]
        raise ValueError(f"no face became a picture of the data set; {shown(name)}: {reason}; {manifest.path} has the "
                         "reason of each")  # fmt: skip
    labelling.write(outdir, rows, facts)
    cameras = {name: torch.tensor(label) for name, label in rows}
    points = {face["crop"]: np.array(face["crop_points"]) / SIDE for face in kept}
    title = f"{outdir.name}: {len(rows)} crops of {len(manifest.rows)} photos"
    write_png(_beside(outdir, SHEET), contact_sheet(Folder(outdir), cameras, FFHQ_PIVOT, title, points))
    draw_poses(_beside(outdir, PLOT), torch.stack(list(cameras.values())), outdir.name)
    return facts


def summary(facts: dict) -> list[str]:
    """Lines about the photos and faces that are left out."""
    out = [f"{count} {WORDS[fate]}" for fate, count in facts["fates"].items() if fate in WORDS]
    notes = [f"done before: {facts['from_before']} of {facts['photos']} photos"] if facts["from_before"] else []
    return notes + ([f"left out: {', '.join(out)}; {facts['manifest']} has the reason of each"] if out else [])
