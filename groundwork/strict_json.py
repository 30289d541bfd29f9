"""JSON that nobody vouches for: every door reads it here, in bounded memory, and gets plain values or one reason.

Python's `json` also takes NaN, Infinity, numbers that no float holds, the same name twice, halves of a character, any
depth and any size. What stands in such a file then fails far from the door, each time in another way.
"""

import json
import os
import re
from pathlib import Path

from groundwork.files import open_regular

MOST_BYTES = 1 << 27  # of a file; that of FFHQ with mirrored copies has 80 MB. Parsed it takes up to 20 times as much
MOST_DEPTH = 64  # of lists and objects in each other
LONGEST_INTEGER = 20  # characters: 64 bits and a sign


class JsonError(ValueError):
    """Why a text is no JSON that is read here; a short reason, without the file's name."""


def read_json(path: Path, most_bytes: int = MOST_BYTES, finite: bool = True):
    """The value in a JSON file. JsonError for what is no such text; OSError if the file cannot be opened or read.

    finite: as in `parse_json`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise JsonError(f"it has {size} bytes, more than {most_bytes}")
        return parse_json(file.read(most_bytes), finite)


def parse_json(text: bytes | str, finite: bool = True):
    """The value that a JSON text stands for; JsonError for anything else. Bytes may begin with a byte order mark.

    finite: False lets NaN and infinity pass, and makes infinity of integers beyond all measure; for a caller who looks
    at each number and can say whose it is.
    """
    try:
        text = text.encode() if isinstance(text, str) else text
        plain = text.decode(json.detect_encoding(text)).removeprefix("\ufeff")
        integer, number = (_integer, _number) if finite else (_any_integer, float)
        hooks = dict(parse_int=integer, parse_float=number, parse_constant=number)
        value = json.loads(plain, object_pairs_hook=_object, **hooks)
    except UnicodeError as error:
        raise JsonError(f"it holds no text ({error.reason} at {error.start})") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg}, line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsonError("it is nested too deep") from None
    _check_depth(value)
    if re.search(r"\\u[dD][89a-fA-F]", plain):
        _check_characters(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise JsonError(f"the name {twice!r:.60} stands there twice")
    return found


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise JsonError(f"it holds an integer of {len(text)} digits")
    return int(text)


def _any_integer(text: str) -> int | float:
    return int(text) if len(text) < 4000 else float(text)  # Python itself takes 4300 digits


def _number(text: str) -> float:
    value = float(text)
    if value - value != 0:  # NaN or infinite
        raise JsonError(f"it holds {text[:24]}, which is no finite number")
    return value


def _check_depth(value) -> None:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [item for item in level if type(item) in (list, dict)]
        if not level:
            return
        level = [item for holder in level for item in (holder.values() if type(holder) is dict else holder)]
    raise JsonError("it is nested too deep")


def _check_characters(value) -> None:
    """JsonError for half of a character (a lone surrogate), which can be written to no file and no terminal."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise JsonError(f"the text {value!r:.60} holds half of a character") from None
    for item in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        _check_characters(item)
