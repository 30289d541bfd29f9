"""The images of a data set and their labels, matched: what every script reads of a data set first."""

from dataclasses import dataclass, replace
from pathlib import Path

from eg3d.data.labels import read_entries
from groundwork.archive import Folder, Unreadable, Zip, open_archive, shown
from groundwork.matching import FACTS_FILE, LABEL_FILE, RENDERED_FILE, Matched, faceless_in, match_names, unusable_in
from groundwork.strict_json import JsonError, parse_json

FACTS_BYTES = 2**26  # of pose_estimate.json; a name and a reason take some 100


@dataclass(frozen=True)
class LabelledFiles:
    """A data set of which only names and the label file have been read.

    Attributes:
        archive: where the files are.
        images: sorted names of all images in it.
        label_file: its name in the archive; None if there is none.
        folder: what comes before the names that it lists, "" or "FACES/".
        listed: how many images the label file lists.
        labels: what it holds for each image that has a label, unchecked, by the image's name, in its own order.
        matched: which labels and images belong together.
        notes: what the user must know of the label file and of what matches.
        others: a line about files that are not read; None if there are none.
    """

    archive: Folder | Zip
    images: list[str]
    label_file: str | None
    folder: str
    listed: int
    labels: dict[str, object]
    matched: Matched
    notes: list[str]
    others: str | None

    @property
    def where(self) -> str:
        """The label file, as messages name it."""
        return f"{self.archive.path}: {self.label_file or LABEL_FILE}"

    @property
    def all_notes(self) -> list[str]:
        """`notes`, and `others` if there are any."""
        return self.notes + ([f"{self.archive.path}: {self.others}"] if self.others else [])

    @property
    def has_labels(self) -> bool:
        """Whether the label file says anything of any image; null says nothing."""
        return bool(self.labels or self.matched.missing)

    def check_label_file(self) -> None:
        """ValueError if there is none."""
        if self.label_file is None:
            raise ValueError(
                f"{self.where} is missing; it holds every image's camera, see dataset_preprocessing/README.md"
            )

    def settled(self, skip_unmatched: bool) -> "LabelledFiles":
        """The same with notes of what is left out; ValueError if images and labels do not match."""
        where = str(self.archive.path) if self.label_file == LABEL_FILE else self.where
        return replace(self, notes=self.notes + self.matched.notes(where, skip_unmatched))


def open_labelled(path: Path, skip_unmatched: bool = False) -> LabelledFiles:
    """The data set that --data names. ValueError without labels, or if images and labels do not match."""
    files = look_into(path)
    files.check_label_file()
    return files.settled(skip_unmatched)


def look_into(path: Path, flag: str = "--data") -> LabelledFiles:
    """What a folder or zip holds; its label file may lie in a folder of its own. ValueError if it has no images."""
    archive = open_archive(path, flag)
    images = archive.pictures
    if not images:
        raise ValueError(f"{flag}={path}: holds no images{archive.why_empty()}; give another one")
    label_file, notes = _find_label_file(archive, flag)
    folder = (label_file or LABEL_FILE)[: -len(LABEL_FILE)]  # "" or "FACES/"
    others = archive.left_out({folder + LABEL_FILE, folder + FACTS_FILE, folder + RENDERED_FILE})
    if label_file is None:
        return LabelledFiles(archive, images, None, "", 0, {}, match_names([], images), notes, others)
    facts = _facts(archive, folder + FACTS_FILE)
    faceless, unusable = ([folder + name for name in names(facts)] for names in (faceless_in, unusable_in))
    from_root = read_entries(archive, label_file)
    entries = {folder + name: label for name, label in from_root.items()}
    if entries.keys().isdisjoint(images) and not from_root.keys().isdisjoint(images):
        folder, entries = "", from_root  # names count from the label file's folder, or if there are none, from the root
    listed = list(entries)
    if None in entries.values():  # such an image has no label; if it is not there, it is listed all the same
        there = match_names(listed, images).pictures
        listed = [name for name in listed if entries[name] is not None or name not in there]
    matched = match_names(listed, images, faceless, unusable).without(archive.unreadable)
    labels = {image: entries[name] for name, image in matched.pictures.items()}
    return LabelledFiles(archive, images, label_file, folder, len(entries), labels, matched, notes, others)


def _find_label_file(archive: Folder | Zip, flag: str) -> tuple[str | None, list[str]]:
    """`dataset.json` at the root, else the only one in the folders below; and a note that says so."""
    found = sorted(name for name in archive.bytes if name.rpartition("/")[2].lower() == LABEL_FILE)
    below = [name for name in found if name != LABEL_FILE]
    if LABEL_FILE in found:
        notes = [f"{archive.path}: {shown(name)} is not read, {LABEL_FILE} at its root is" for name in below]
        return LABEL_FILE, notes
    if len(found) > 1:
        places = ", ".join(shown(name) for name in found[:3]) + (", ..." if len(found) > 3 else "")
        raise ValueError(
            f"{flag}={archive.path}: {LABEL_FILE} is not at its root, but there are {len(found)} below ({places}); "
            "give the folder of one of them, or a zip of it"
        )
    return (found[0], [f"{archive.path}: {shown(found[0])} is read as its {LABEL_FILE}"]) if found else (None, [])


def _facts(archive: Folder | Zip, name: str) -> object:
    """What preprocess_in_the_wild.py has written beside the labels: which pictures it has found no face in."""
    if archive.bytes.get(name, FACTS_BYTES + 1) > FACTS_BYTES:
        return None
    try:
        return parse_json(archive.read(name))
    except (JsonError, Unreadable):
        return None
