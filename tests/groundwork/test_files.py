"""What a cache holds is used without a question, so nobody but its user may have put it there."""

import os
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from safetensors.torch import save

from eg3d.checkpoints import download
from eg3d.ops.kernels import native
from eg3d.scores import distances
from eg3d.world import rendered_sets, views_of_persons
from eg3d.world.cartoon.heads import WORLD_VERSION
from eg3d.world.human import makehuman
from eg3d.world.training import fit_features, recipes
from groundwork import files


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A cache and a folder for temporary files of this test; no note has been given."""
    for name, variable in (("cache", "XDG_CACHE_HOME"), ("temporary", "TMPDIR")):
        (tmp_path / name).mkdir(mode=0o755)
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setattr(files.tempfile, "tempdir", None)  # PyTorch and others have asked for it before
    files._instead.cache_clear()
    yield tmp_path
    files._instead.cache_clear()
    files._of_this_process.cache_clear()


def in_cache(*below: str) -> Path:
    return Path(os.environ["XDG_CACHE_HOME"], "gaze-corrected-eg3d", *below)


# ---------------------------------------------------------------- which folders are trusted


@pytest.mark.parametrize("above, mode", [(0, 0o777), (0, 0o1777), (0, 0o775), (1, 0o777), (2, 0o770)])
def test_a_folder_that_others_can_write_to_is_not_used(above, mode, places, monkeypatch, capfd):
    monkeypatch.setattr(files, "_is_of_the_user_alone", lambda group: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(places / "cache" / "home"))
    in_cache().mkdir(mode=0o755, parents=True)
    [in_cache(), *in_cache().parents][above].chmod(mode)
    found = files.cache_folder()
    said = capfd.readouterr().err
    assert (
        found == places / "temporary" / f"gaze-corrected-eg3d-{os.geteuid()}" and found.stat().st_mode & 0o777 == 0o700
    )
    assert said.startswith("note: others can write to") and said.count("\n") == 1 and str(found) in said
    assert files.cache_folder() == found and not capfd.readouterr().err, "said once"


def test_a_folder_of_another_user_is_not_used(places, monkeypatch, capfd):
    in_cache().mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    found = files.cache_folder()  # the folder of temporary files is another user's, too
    assert Path(found).parent == places / "temporary" and found.stat().st_mode & 0o777 == 0o700
    assert "gaze-corrected-eg3d belongs to another user" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root gives files away")
def test_folders_of_root_above_the_users_are_trusted(places, monkeypatch):
    in_cache().mkdir()
    os.chown(in_cache(), 54321, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert files.cache_folder() == in_cache()


def test_the_users_own_folder_is_used_and_made_for_the_user_alone(places, capfd):
    (places / "cache").chmod(0o1777)  # as /tmp: what is ours there stays ours
    assert files.cache_folder("metrics") == in_cache("metrics")
    assert {in_cache().stat().st_mode & 0o777, in_cache("metrics").stat().st_mode & 0o777} == {0o700}
    in_cache().chmod(0o755)
    assert files.cache_folder() == in_cache() and capfd.readouterr().err == ""


def test_a_link_is_followed_before_the_folder_is_judged(places, capfd):
    open_to_all = places / "elsewhere"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    in_cache().symlink_to(open_to_all)
    assert files.cache_folder() != in_cache() and f"others can write to {open_to_all}" in capfd.readouterr().err


def test_a_planted_fallback_is_not_used_either(places, capfd):
    in_cache().mkdir()
    in_cache().chmod(0o777)
    planted = places / "temporary" / f"gaze-corrected-eg3d-{os.geteuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    found = files.cache_folder()
    assert found.stat().st_mode & 0o777 == 0o700 and found.parent == planted.parent and found != planted
    assert str(found) in capfd.readouterr().err


def test_a_group_of_the_user_alone_is_the_user(monkeypatch):
    grp, pwd = pytest.importorskip("grp"), pytest.importorskip("pwd")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ann", pw_gid=7))
    groups = {7: SimpleNamespace(gr_name="ann", gr_mem=[]), 8: SimpleNamespace(gr_name="staff", gr_mem=["ann", "bob"])}
    monkeypatch.setattr(grp, "getgrgid", groups.__getitem__)
    assert [files._is_of_the_user_alone(group) for group in (7, 8, 9)] == [True, False, False]
    groups[7].gr_mem.append("bob")
    assert not files._is_of_the_user_alone(7)


def test_files_that_others_own_or_write_to_count_as_missing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    assert not files.is_own(path) and not files.is_own(tmp_path)
    path.write_text("")
    path.chmod(0o644)
    assert files.is_own(path)
    path.chmod(0o646)
    assert not files.is_own(path)
    path.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert not files.is_own(path)


# ---------------------------------------------------------------- every door of a cache
# Each gets a cache in which `plant` puts what it looks for, and says what it has used.


def kernels(monkeypatch):
    monkeypatch.setattr(native, "_identity", lambda: "0" * 16)
    plant(in_cache(native._name("0" * 16, b"planted")))
    used = []
    monkeypatch.setattr(native.ctypes, "CDLL", lambda path: used.append(Path(path).read_bytes()) or MagicMock())
    monkeypatch.setattr(native, "compiler", lambda: "c++")
    monkeypatch.setattr(native.subprocess, "run", lambda command, **_: Path(command[-1]).write_bytes(b"made") * 0
                        or SimpleNamespace(returncode=0, stderr=""))  # fmt: skip
    native.library.__wrapped__()
    return used[0]


def downloads(monkeypatch):
    address = "https://example.org/net.pkl"
    parts = download.parse_address(address, pinned=False)
    monkeypatch.setattr(download.Download, "run", lambda self, title: self.target.write_bytes(b"made"))
    name = download.cached_file(address, parts, None, in_cache(), 100).name
    plant(in_cache(name))
    return download.fetch(address).read_bytes()


def part_of_a_download(monkeypatch):
    folder, address = files.cache_folder(), "https://example.org/net.pkl"
    plant(folder / "net.part")

    def transfer(self, bar):
        if not self.part.exists():
            self.part.write_bytes(b"made")

    monkeypatch.setattr(download.Download, "transfer", transfer)
    download.Download(address, folder / "net", None, 100).run("net")
    return (folder / "net").read_bytes()


def statistics(monkeypatch):
    detector = SimpleNamespace(name="tiny", sha256="0", width=2)
    key = {"version": distances.CACHE_VERSION, "data": "d", "mirror": False, "detector": "0"}
    name = distances._cache_path(key, detector).name
    plant(in_cache("metrics", name), save({"rows": torch.zeros(3, 2)}, {"key": distances.json.dumps(key)}))
    found = distances._read_cache(distances._cache_path(key, detector), key, 2, 3)
    return b"made" if found is None else b"planted"


def faces(monkeypatch):
    monkeypatch.setattr(rendered_sets, "CACHE", in_cache())
    monkeypatch.setattr(rendered_sets, "write_faces", lambda path, *_, **__: path.write_bytes(b"made"))
    plant(in_cache(f"faces-v{WORLD_VERSION}-seed0-3.zip"))
    return rendered_sets.world_faces(3).read_bytes()


def heads(monkeypatch):
    monkeypatch.setattr(fit_features, "CACHE", in_cache())
    plant(in_cache(f"features-v{fit_features.WORLD_VERSION}-seed0-1.npz"), npz(images=np.zeros(1)))
    made = len(fit_features.rendered_heads(1, 0)) == 3
    return b"made" if made else b"planted"


def crowd(monkeypatch):
    names = [field.name for field in views_of_persons.fields(views_of_persons.People)]
    monkeypatch.setattr(views_of_persons, "CACHE", in_cache())
    monkeypatch.setattr(
        views_of_persons, "render_people", lambda *_, **__: views_of_persons.People(*[np.ones(1)] * len(names))
    )
    plant(in_cache(f"people-v{WORLD_VERSION}-test-1x1.npz"), npz(**dict.fromkeys(names, np.zeros(1))))
    return b"made" if views_of_persons.people_set("test", 1, 1).images.all() else b"planted"


def heads_of_people(monkeypatch):
    arrays = dict.fromkeys([field.name for field in makehuman.fields(makehuman.Head)], np.zeros(1))
    monkeypatch.setattr(makehuman, "CACHE", in_cache())
    monkeypatch.setattr(makehuman, "_package", Path)
    monkeypatch.setattr(makehuman, "_read", lambda _: makehuman.Head(**{name: np.ones(1) for name in arrays}))
    plant(in_cache(f"makehuman-{makehuman.SHA256[:12]}-v{makehuman.FORMAT}.npz"), npz(**arrays))
    return b"made" if makehuman.head_data.__wrapped__().vertices.all() else b"planted"


def gaze_sets(monkeypatch):
    monkeypatch.setattr(recipes, "CACHE", in_cache())
    called = []
    monkeypatch.setattr(recipes, "call", lambda command, log: called.append(" ".join(map(str, command))))
    for name in ("gaze-loss", "gaze-test"):
        plant(in_cache(f"{name}-v{WORLD_VERSION}", "Label", "train.label"))
    recipes.train_gaze_network("gaze-loss", Path("work"), "cpu", Path("log"))
    return b"planted" if len(called) == 1 and str(in_cache()) in called[0] else b"made"


def npz(**arrays) -> bytes:
    out = rendered_sets.io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def plant(path: Path, content: bytes = b"planted") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(plant.file)
    for folder in (path.parent, in_cache()):
        folder.chmod(plant.folder)


DOORS = [kernels, downloads, statistics, faces, heads, heads_of_people, crowd]


@pytest.mark.parametrize("door", [*DOORS, gaze_sets], ids=lambda door: door.__name__)
def test_nothing_in_a_folder_that_others_can_write_to_is_used(door, monkeypatch, capfd):
    plant.file, plant.folder = 0o644, 0o777
    assert door(monkeypatch) == b"made" and "others can write to" in capfd.readouterr().err


@pytest.mark.parametrize("door", [*DOORS, part_of_a_download], ids=lambda door: door.__name__)
def test_a_file_that_others_can_write_to_is_not_used(door, monkeypatch):
    """It may be older than the folder's present mode: the note says to take the others' permission away."""
    plant.file, plant.folder = 0o666, 0o755
    assert door(monkeypatch) == b"made"


@pytest.mark.parametrize("door", [*DOORS, gaze_sets, part_of_a_download], ids=lambda door: door.__name__)
def test_what_the_user_has_put_there_is_used(door, monkeypatch):
    """Else the tests above would show nothing."""
    plant.file, plant.folder = 0o644, 0o755
    assert door(monkeypatch) == b"planted"


def test_every_door_of_a_cache_is_in_the_table():
    rooms = [files.REPOSITORY / room for room in ("eg3d", "l2cs", "dataset_preprocessing", "redirection", "groundwork")]
    texts = {path.name: path.read_text() for room in rooms for path in room.rglob("*.py") if path.name != "places.py"}
    assert {name for name, text in texts.items() if "cache_folder" in text or "import CACHE" in text} == {
        "files.py", "native.py", "download.py", "distances.py", "rendered_sets.py", "views_of_persons.py",
        "makehuman.py", "fit_features.py", "recipes.py",
    }  # fmt: skip
