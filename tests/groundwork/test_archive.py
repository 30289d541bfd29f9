"""Which files of a folder or a zip belong to a data set, under which names, and what is said of the others."""

import os
import socket
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import small_set

from dataset_preprocessing.ffhq import labelling
from eg3d.data.labelled import look_into
from groundwork import archive
from groundwork.archive import Folder, Unreadable, Zip, open_archive
from l2cs.gaze_sets import image_files

FAULTS = Path(__file__).resolve().parent.parent / "data" / "faults"
PICTURE = small_set.image_bytes(np.zeros((4, 4, 3), np.uint8))


def packed(tmp_path, kind, names):
    """A folder or zip of one small picture under all these names."""
    write = small_set.write_folder if kind == "folder" else small_set.write_zip
    tmp_path.mkdir(exist_ok=True)
    return open_archive(write(tmp_path / f"set{'' if kind == 'folder' else '.zip'}", [(n, PICTURE) for n in names]))


SYSTEM = [
    ".hidden.png", "._a.png", ".DS_Store", "__MACOSX/._a.png", "__MACOSX/sub/a.png", "Thumbs.db", "sub/thumbs.db",
    "desktop.ini", ".ipynb_checkpoints/a-checkpoint.png", "@eaDir/a.png/SYNOFILE_THUMB_M.png", "#recycle/a.png",
    "$RECYCLE.BIN/$a.png", "System Volume Information/a.png", "lost+found/a.png", ".Trash-1000/files/a.png",
    ".git/a.png", ".thumbnails/a.png", "sub/.AppleDouble/a.png", "__pycache__/a.png", "@Recycle/a.png",
    "RECYCLED/a.png", "FOUND.001/a.png", "~snapshot/daily/a.png",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_hidden_and_system_files_never_join_and_are_counted(tmp_path, kind):
    opened = packed(tmp_path, kind, ["a.png", "sub/b.png", *SYSTEM])
    assert opened.pictures == sorted(opened.bytes) == ["a.png", "sub/b.png"]
    assert "hidden or system files were left out" in opened.left_out()
    assert packed(tmp_path / "clean", kind, ["a.png"]).left_out() is None


def test_a_hidden_folder_that_is_named_itself_is_read(tmp_path):
    small_set.write_folder(tmp_path / ".cache", [("a.png", PICTURE)])
    assert Folder(tmp_path / ".cache").pictures == ["a.png"]


def test_b06_ghosts_of_a_mac_are_left_out():
    opened = Zip(FAULTS / "b06_mac_ghost_files/mac.zip")
    assert opened.pictures and not any("._" in name or "MACOSX" in name for name in opened.bytes)
    assert "hidden or system files were left out (" in opened.left_out(["dataset.json"])


NAMES = {
    "00000\\img.png": "00000/img.png",
    ".\\00000\\img.png": "00000/img.png",
    "./00000/img.png": "00000/img.png",
    "./././img.png": "img.png",
    "00000/./img.png": "00000/img.png",
    "00000//img.png": "00000/img.png",
    unicodedata.normalize("NFD", "größe/é.png"): unicodedata.normalize("NFC", "größe/é.png"),
    "日本.png": "日本.png",
}


@pytest.mark.parametrize("written", NAMES)
def test_names_of_members_are_normalised_as_those_of_labels_are(tmp_path, written):
    opened = packed(tmp_path, "zip", [written])
    assert list(opened.bytes) == opened.pictures == [NAMES[written]] == [archive.normalised(written)]
    assert opened.read(NAMES[written]) == PICTURE
    if "/./" not in written and "//" not in written:
        opened = packed(tmp_path, "folder", [written])
        assert opened.pictures == [NAMES[written]] and opened.read(NAMES[written]) == PICTURE


def test_utf8_that_macos_does_not_announce_is_understood(tmp_path):
    data = small_set.zip_bytes([("größe.png", PICTURE)])
    for signature, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = data.index(signature) + at
        data = data[:place] + bytes([data[place], data[place + 1] & ~0x08]) + data[place + 2 :]
    (tmp_path / "mac.zip").write_bytes(data)
    assert zipfile.ZipFile(tmp_path / "mac.zip").namelist() != ["größe.png"]
    assert Zip(tmp_path / "mac.zip").pictures == ["größe.png"]


def test_folders_in_a_zip_of_windows_are_no_files(tmp_path):
    small_set.write_zip(tmp_path / "a.zip", [("sub\\", b""), ("sub\\a.png", PICTURE)])
    assert list(Zip(tmp_path / "a.zip").bytes) == ["sub/a.png"]


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("twins", [("a/b.png", "a\\b.png"), ("é.png", "e\u0301.png")])
def test_two_members_of_one_name_are_an_error(tmp_path, kind, twins):
    with pytest.raises(ValueError, match="twice"):
        packed(tmp_path, kind, twins)


@pytest.mark.parametrize("name", ["..\\a.png", "C:\\a.png", "sub\\..\\..\\a.png"])
def test_no_name_leads_out_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match="leaves the folder"):
        packed(tmp_path, "folder", [name])


def test_b17_members_with_backslashes_have_the_names_of_their_labels():
    opened = Zip(FAULTS / "b17_backslashes_in_a_zip/backslash.zip")
    assert opened.pictures[0] == "00000/img00000000.png" and opened.read(opened.pictures[0]).startswith(b"\x89PNG")


def test_links_to_folders_are_followed_once_and_never_upwards(tmp_path):
    root = small_set.write_folder(tmp_path / "home" / "set", [("real/a.png", PICTURE)])
    folders = ["elsewhere", "other/deep", "far/inside", "home/se"]
    small_set.write_folder(tmp_path, [(f"{folder}/b.png", PICTURE) for folder in [*folders, "far", "home"]])
    links = {
        "elsewhere/back": "../home/set", "elsewhere/home": "../home", "far/inside/above": "..",
        "home/set/again": "../../elsewhere", "home/set/alias": "real", "home/set/loop": ".",
        "home/set/m": "../../other/deep", "home/set/n": "../../other", "home/set/o": "../../far/inside",
        "home/set/se": "../se", "home/set/shard": "../../elsewhere", "home/set/top": "/", "home/set/up": "..",
    }  # fmt: skip
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    opened = Folder(root)
    assert opened.pictures == ["again/b.png", "m/b.png", "o/b.png", "real/a.png", "se/b.png"]
    assert sorted(opened.repeated) == [
        "again/back", "again/home", "alias", "loop", "n/deep", "o/above", "shard", "top", "up",
    ]  # fmt: skip
    assert (
        opened.left_out()
        == "9 links were left out, to folders read already or above (again/back, again/home, alias, ...)"
    )


def test_links_to_nothing_are_named_when_their_pictures_are_read(tmp_path):
    root = small_set.write_folder(tmp_path / "set", [("a.png", PICTURE)])
    for name in ("gone.png", "shard", "note.txt", "itself.png"):
        (root / name).symlink_to("itself.png" if name == "itself.png" else "nowhere")
    opened = Folder(root)
    assert opened.pictures == ["a.png", "gone.png", "itself.png", "shard"]  # a shard may have held pictures
    for name in opened.pictures[1:]:
        with pytest.raises(Unreadable, match=f"set: {name} is a link to nothing; repair or remove it"):
            opened.read(name)


def test_a_link_inside_a_zip_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        file.writestr(info, "a.png")
    with pytest.raises(Unreadable, match="link.png is a link inside the zip"):
        Zip(tmp_path / "a.zip").read("link.png")


def test_pipes_and_sockets_never_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        opened = Folder(tmp_path)
    assert opened.pictures == ["pipe.png"]
    with pytest.raises(Unreadable, match=r"pipe\.png is a pipe, socket or device, not a file"):
        opened.read("pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(Unreadable, match="is no plain file"):
            archive.read_file(path)


def test_a_folder_that_cannot_be_entered_is_an_error(tmp_path, monkeypatch):
    small_set.write_folder(tmp_path, [("closed/a.png", PICTURE), ("b.png", PICTURE)])
    scandir = os.scandir

    def closed(place):  # root, who runs these tests on some machines, may enter every folder
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError, match="closed"):
        Folder(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_picture_is_known_by_its_content_where_the_ending_says_nothing(tmp_path, kind):
    names = ["a.jfif", "b.jpe", "c.GIF", "d.ppm", "noending", "e.odd", "f.png_large", "g.heic"]
    left = ["x.txt", "x.json", "x.png~", "x.png.bak", "x.jpg.part", "x.mp4", "x.dng"]
    opened = packed(tmp_path, kind, names + left)
    assert opened.pictures == sorted(names)
    line = "7 other files were not read (.bak, .dng, .json, .mp4, .part, .png~, .txt)"
    assert opened.left_out() == line


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_no_picture_is_counted_by_its_ending(tmp_path, kind):
    write = small_set.write_folder if kind == "folder" else small_set.write_zip
    files = [("a.png", PICTURE), ("b", b"text"), ("c.odd", b""), ("d.heic", b"\0\0\0\x1cftypheic\0\0\0\0mif1heic")]
    path = write(tmp_path / "set.zip", [*files, ("dataset.json", b"{}")])
    opened = open_archive(path)
    assert opened.pictures == ["a.png"]
    assert opened.left_out(["dataset.json"]) == (
        "3 other files were not read (.heic, .odd, no ending; .heic needs pillow-heif)"
    )


def test_b19_all_six_are_pictures():
    assert Folder(FAULTS / "b19_pictures_that_are_not_seen/photos").pictures == [
        "a.jpg", "b.png", "c.jfif", "d.jpe", "e.gif", "f.ppm",
    ]  # fmt: skip


def test_no_sidecar_is_opened(tmp_path, monkeypatch):
    small_set.write_folder(tmp_path, [(f"{i}{end}", b"") for i in range(9) for end in (".png", ".json", ".txt")])
    monkeypatch.setattr(archive.Folder, "_read", lambda *_: pytest.fail("was opened"))
    assert len(Folder(tmp_path).pictures) == 9


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_set_of_hidden_and_other_files_says_why_it_is_empty(tmp_path, kind):
    opened = packed(tmp_path, kind, [".faces/a.png", "b.psd"])
    assert opened.why_empty() == " (1 other file was not read (.psd); " + (
        "1 hidden or system file was left out (.faces))" if kind == "folder" else
        "1 hidden or system file was left out (.faces/a.png))"
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"holds no images \(1 other file was not read .*\.faces.*; give another"):
        look_into(opened.path)
    if kind == "folder":
        with pytest.raises(ValueError, match="holds no pictures .1 other .*faces"):
            labelling.pictures(opened.path)
        with pytest.raises(ValueError, match="no images in this folder .1 other .*faces"):
            image_files(opened.path)
