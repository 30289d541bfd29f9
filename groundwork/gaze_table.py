"""Label files of gaze data sets in the GazeHub layout: a line that names the columns, then a row for each face."""

from pathlib import Path

from groundwork.formats import is_hidden

IMAGE_COLUMNS = ("Face", "Left", "Right")


def label_files(folder: Path) -> list[Path]:
    """All of a folder, by name."""
    return sorted(file for file in folder.glob("*.label") if not is_hidden(file.name))


def read_table(label_file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and (number of the line, its columns) of each row. ValueError if it is no text."""
    try:
        lines = label_file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{label_file}: is not a text file; give a label file in the GazeHub layout") from None
    split = [(number, line.split()) for number, line in enumerate(lines, start=1)]
    return split[0][1] if split else [], [(number, columns) for number, columns in split[1:] if columns]
