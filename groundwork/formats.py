"""Which files are pictures: by their ending where it is well known, else by their first bytes."""

import functools
import os
import re

ENDINGS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm",
           ".pgm", ".pbm", ".pnm"}  # fmt: skip
# Never pictures that belong to a set, so nobody looks inside: notes beside pictures, copies that editors and browsers
# leave behind, and what no decoder here reads (of raw photos Pillow would show the small preview).
OTHER_ENDINGS = {
    ".json", ".jsonl", ".txt", ".csv", ".tsv", ".md", ".xml", ".yaml", ".yml", ".toml", ".html", ".log", ".lst",
    ".label", ".npy", ".npz", ".mat", ".pt", ".pth", ".pkl", ".bin", ".h5", ".hdf5", ".safetensors", ".tfrecord",
    ".py", ".ipynb", ".zip", ".tar", ".gz", ".7z", ".rar", ".pdf", ".svg", ".psd", ".mp4", ".mov", ".avi", ".mkv",
    ".md5", ".sha256", ".bak", ".old", ".orig", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download",
    ".swp", ".lnk", ".url", ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".orf", ".pef", ".rw2", ".srw", ".raf",
}  # fmt: skip
HEAD_BYTES = 32  # of a file, enough to tell

MAGIC = {  # the first that matches; names are Pillow's
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0",
    "PPM": rb"P[1-6f]\s",
    "JPEG2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ",
    "AVIF": rb"....ftyp(?:avi[fs]|m[is]f1.{4,16}avi[fs])",
    "HEIF": rb"....ftyp(?:hei[cxms]|hev[cxms]|m[is]f1)",
}
PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in MAGIC.items()}

# Names that operating systems, storage boxes and notebooks put beside pictures. Those with a dot in front are hidden
# anyway.
SYSTEM_NAMES = {
    "__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "recycled",
    "found.000", "found.001", "system volume information", "lost+found", "@eadir", "@recycle",
    "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "~snapshot", "desktop db", "desktop df",
    "network trash folder", "temporary items", "thevolumesettingsfolder", "__pycache__",
}  # fmt: skip


def kind_of(head: bytes) -> str | None:
    """Pillow's name of a picture's format, from its first HEAD_BYTES; None if it is no picture we know."""
    return next((kind for kind, pattern in PATTERNS.items() if pattern.match(head)), None)


@functools.cache
def has_decoder(kind: str) -> bool:
    """Whether this installation of Pillow reads a format. HEIF needs the package pillow_heif beside it."""
    from PIL import Image

    if kind == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            return False
        pillow_heif.register_heif_opener()
    Image.preinit()
    if kind not in Image.OPEN:
        Image.init()  # slower: all formats there are
    return kind in Image.OPEN


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name belongs to the system, not to a set of pictures."""
    return part.startswith(".") or part.lower() in SYSTEM_NAMES


def by_ending(name: str) -> bool | None:
    """Whether a file is a picture; None if its ending does not say."""
    ending = os.path.splitext(name)[1].lower()
    if ending in ENDINGS:
        return True
    return False if ending in OTHER_ENDINGS or name.endswith("~") else None
