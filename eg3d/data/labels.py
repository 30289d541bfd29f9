"""`dataset.json` of a data set: the label of each image."""

from eg3d.geometry.label_rows import LAYOUT, entries_of
from groundwork.archive import Folder, Zip, shown
from groundwork.matching import LABEL_FILE
from groundwork.strict_json import MOST_BYTES, JsonError, parse_json


def read_entries(archive: Folder | Zip, member: str = LABEL_FILE) -> dict[str, object]:
    """The names and labels of a label file, as `entries_of` gives them; ValueError if it is none."""
    where = f"{archive.path}: {shown(member)}"
    if archive.bytes[member] > MOST_BYTES:
        raise ValueError(f"{where} has {archive.bytes[member]} bytes, at most {MOST_BYTES} are read; is it one?")
    data = archive.read(member)
    try:
        content = parse_json(data, finite=False)
    except JsonError as error:
        raise ValueError(f"{where} is not {LAYOUT} ({error}); write it again") from None
    return entries_of(content, where)
