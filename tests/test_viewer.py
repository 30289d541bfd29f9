"""eg3d/viewer.py as a user calls it: its address, its one-line errors, and the command that draws a view again."""

import importlib
import io
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from eg3d import viewer
from eg3d.checkpoints.loading import load_generator
from eg3d.pictures.layout import side_by_side, to_uint8
from eg3d.pictures.views import render_batch


def call(*arguments):
    return CliRunner().invoke(viewer.main, [*arguments, "--open=False", "--device=cpu"])


def test_a_saved_view_is_the_networks_own_picture_and_the_same_each_time(tmp_path):
    def saved(name):
        done = call("--network=embedded", "--network=embedded-base", "--draw=#seed=4&yaw=0.4&pitch=-0.2",
                    f"--save={tmp_path / name}")  # fmt: skip
        assert done.exit_code == 0 and done.output == f"{tmp_path / name}: 2 heads\n", done.output
        return (tmp_path / name).read_bytes()

    first = saved("a.png")
    images = [to_uint8(render_batch(load_generator(name), [4], [(0.4, -0.2)]).images)[0]
              for name in ("embedded", "embedded-base")]  # fmt: skip
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(first))), side_by_side(images))
    assert saved("b.png") == first


@pytest.mark.parametrize("arguments, words", [
    (["--draw=seed=x"], "no seed"),
    (["--draw=who=1", "--save=x.png"], "a view has no"),
    (["--network=embedded"] * 6, "at most 6"),
    (["--draw=show=depth&seed=-1"], "no seed"),
    (["--port=70000"], "70000"),
    (["--host=no such host"], "no such host"),
    (["--l2cs-path=missing.pkl"], "missing.pkl"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(arguments, words, tmp_path, monkeypatch):
    pytest.importorskip("uvicorn")
    monkeypatch.chdir(tmp_path)
    done = call("--network=embedded", *arguments)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.output
    assert list(tmp_path.iterdir()) == []


def test_without_its_packages_the_viewer_names_the_extra_and_still_saves(monkeypatch, tmp_path):
    """--save needs no server."""
    import eg3d.pictures.viewer as package

    for name in list(sys.modules):
        if name.partition(".")[0] in ("starlette", "uvicorn") or name == "eg3d.pictures.viewer.server":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(package, "server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "starlette", None)
    done = call("--network=embedded")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and "pip install '.[viewer]'" in done.stderr
    assert call("--network=embedded", f"--save={tmp_path / 'a.png'}").exit_code == 0


def test_the_address_holds_a_new_token_and_the_view(monkeypatch):
    server = pytest.importorskip("eg3d.pictures.viewer.server")
    served = []
    monkeypatch.setattr(server, "serve", lambda made, door: (served.append(made), made.turns.close(), door.close()))
    lines = [call("--network=embedded", "--port=0", "--draw=seed=4&yaw=0.2").stdout.splitlines()[0] for _ in range(2)]
    for line, made in zip(lines, served, strict=True):
        assert line.startswith("embedded: http://127.0.0.1:") and len(made.guard.token) >= 32
        assert line.endswith(f"/?token={made.guard.token}#seed=4&yaw=0.2")
    assert served[0].guard.token != served[1].guard.token


def test_a_browser_is_opened_only_where_there_is_a_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(viewer.sys, "platform", "linux")
    assert not viewer.has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert viewer.has_display()


def test_the_script_does_not_need_the_server_to_be_imported():
    assert importlib.util.find_spec("eg3d.viewer")
    assert not any(name in vars(viewer) for name in ("starlette", "uvicorn"))
