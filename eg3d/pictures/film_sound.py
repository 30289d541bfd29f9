"""Sound of films: whether there is any, and how it gets into another film."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from eg3d.pictures.video import require_ffmpeg
from groundwork.archive import Unreadable
from groundwork.strict_pickle import one_line

LONGEST = 3600  # seconds that copying sound may take


class FilmFacts(NamedTuple):
    """Frames a second, and the codec of the sound ("" if there is none)."""

    fps: float
    sound: str


def film_facts(film: Path) -> FilmFacts:
    """`Unreadable`, one line, for what is no film."""
    reader = require_ffmpeg().read_frames(str(film), pix_fmt="rgb24")
    try:
        facts = next(reader)
    except (OSError, RuntimeError, KeyError, StopIteration) as error:
        raise Unreadable(f"{film} cannot be read as a film ({one_line(str(error), 120)}); replace it") from None
    finally:
        reader.close()
    fps = float(facts.get("fps") or 0)
    if not 0 < fps <= 1000:
        raise Unreadable(f"{film}: does not say how many frames a second it has; convert it to .mp4")
    return FilmFacts(fps, str(facts.get("audio_codec") or ""))


def add_sound(film: Path, source: Path) -> str:
    """Puts the sound of `source` into `film`, an .mp4; -> "copied", "encoded" (again, as AAC) or "" (it is left out).

    Copied if an .mp4 may hold it. The film is replaced when the new one is whole.
    """
    program = require_ffmpeg().get_ffmpeg_exe()
    with tempfile.TemporaryDirectory(prefix=f".{film.name}.", dir=film.resolve().parent) as folder:
        for how, codec in (("copied", "copy"), ("encoded", "aac")):
            whole = Path(folder) / f"{how}.mp4"
            command = [program, "-nostdin", "-v", "error", "-i", str(film), "-i", str(source), "-map", "0:v:0",
                       "-map", "1:a", "-c:v", "copy", "-c:a", codec, "-movflags", "+faststart", str(whole)]  # fmt: skip
            ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST, check=False)
            if ran.returncode == 0 and whole.is_file():
                os.replace(whole, film)
                return how
    return ""
