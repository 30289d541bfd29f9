"""crop_eyes.py: patches and tables of a world and of photos; what is read back; what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.attributes import PUBLISHED, Attributes
from redirection.patch_sets import read_patches
from redirection.patch_tables import read_table
from redirection.world_patches import WorldViews, head_yaw_of

SCRIPT = "redirection/crop_eyes.py"
ATTRIBUTES = Attributes.parse(PUBLISHED)


@pytest.fixture(scope="module")
def world(tmp_path_factory, run_script_in):
    folder = tmp_path_factory.mktemp("world")
    flags = ["--world=cartoons", "--people=2", "--views=3", "--render-size=128", "--between=0.3", "--size=32"]
    ran = run_script_in(folder, SCRIPT, *flags, "--outdir=set", "--test-people=2", "--sheet=sheet.png")
    assert ran.code == 0, ran.stderr
    return folder


def test_a_world_gives_both_eyes_of_each_picture_in_the_published_layout(world):
    files = sorted(file.name for file in (world / "set" / "all").iterdir())
    assert len(files) == 12
    parted = sorted(file.name for file in (world / "set").glob("*P/*"))
    assert parted == files and (world / "sheet.png").is_file()
    header, rows = read_table(world / "set" / "info" / "gaze.csv")
    assert header == ["name", *ATTRIBUTES.columns] and len(rows) == 12
    assert {row[-2:][0] for row in rows} == {"1", "-1"}


def test_what_was_written_is_read_as_a_set(world):
    train, test = (read_patches(world / "set", part, ATTRIBUTES) for part in ("train", "test"))
    assert set(train.person.tolist()) == {1} and set(test.person.tolist()) == {2} and len(train) == 6
    assert train.images.shape == (6, 3, 32, 32) and [g.shape[1] for g in train.labels] == [5, 5, 5, 2]
    assert torch.equal(train.labels[3][:, 1], train.eye.float())
    picture = np.asarray(Image.open(world / "set" / "all" / train.names[0]))
    assert (train.images[0].permute(1, 2, 0).numpy() == picture).all()
    (world / "set" / "info" / "gaze.csv").rename(world / "kept.csv")
    try:
        from_names = read_patches(world / "set", "train", ATTRIBUTES)
    finally:
        (world / "kept.csv").rename(world / "set" / "info" / "gaze.csv")
    assert all(map(torch.equal, from_names.labels, train.labels))


def test_head_and_gaze_are_as_the_name_says():
    views = WorldViews(people=1, views=1)
    from redirection.world_patches import _camera_and_gaze

    for angles in ({"P": -30.0, "V": 0.0, "H": 0.0}, {"P": 20.0, "V": 10.0, "H": -15.0}):
        label, gaze = _camera_and_gaze(angles)
        assert head_yaw_of(label) == pytest.approx(angles["P"], abs=1e-4)
        x, y, z = gaze @ label[:16].reshape(4, 4)[:3, :3]  # in camera axes: right, down, forward
        assert np.rad2deg(np.arctan2(-x, -z)) == pytest.approx(angles["H"], abs=1e-3)
        assert np.rad2deg(np.arcsin(-y)) == pytest.approx(angles["V"], abs=1e-3)
        assert views.possible(angles)
    assert not views.possible({"P": 60.0, "V": 0.0, "H": -15.0})


def photos(folder, names):
    """Pictures with a dark disc for each eye, and their 68 points."""
    points, rng = {}, np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name in names:
        rows = rng.uniform(40, 60, (68, 2))
        for first, x in ((36, 30), (42, 70)):
            turn = np.arange(6) * np.pi / 3
            rows[first : first + 6] = np.stack([x + 8 * np.cos(turn), 40 + 8 * np.sin(turn)], 1)
        pixels = np.full((100, 100, 3), 200, np.uint8)
        pixels[36:45, 26:35] = (255, 0, 0)
        pixels[36:45, 66:75] = (0, 0, 255)
        Image.fromarray(pixels).save(folder / "photos" / name)
        points[name] = rows.tolist()
    return points


def test_photos_named_as_columbias_get_labels_and_others_only_patches(tmp_path, run_script_in):
    names = ["0010_2m_-15P_10V_5H.png", "0051_2m_0P_0V_-15H.png", "me.png", "lost.png"]
    points = photos(tmp_path, names)
    del points["lost.png"]
    (tmp_path / "points.json").write_text(json.dumps(points))
    ran = run_script_in(
        tmp_path, SCRIPT, "--indir=photos", "--landmarks=points.json", "--outdir=set", "--json=facts.json", "--size=32"
    )
    assert ran.code == 0, ran.stderr
    assert json.loads((tmp_path / "facts.json").read_text()) == {"patches": 6, "pictures": 4, "rejects": 1}
    info = tmp_path / "set" / "info"
    assert read_table(info / "rejects.csv")[1] == [["lost.png", "", "there are no points of it"]]
    assert (info / "gaze-train.txt").read_text().splitlines() == [f"0010_2m_-15P_10V_5H_{eye}.png" for eye in "RL"]
    assert (info / "gaze-test.txt").read_text().splitlines()[0] == "0051_2m_0P_0V_-15H_R.png"  # people 50 to 56
    rows = {row[0]: row[1:] for row in read_table(info / "degrees.csv")[1]}
    assert rows["me_L.png"] == ["me.png", "", "L", "", "", "", "70.500", "40.500", "27.200"]
    right = np.asarray(Image.open(tmp_path / "set" / "N15P" / "0010_2m_-15P_10V_5H_R.png"))
    assert right[16, 16].tolist() == [255, 0, 0]  # the eye at the image's left is the person's right one


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--outdir=new"], "give --indir"),
        (["--indir=photos", "--world=cartoons", "--outdir=new"], "not both"),
        (["--indir=photos", "--outdir=full", "--landmarks=points.json"], "exists already"),
        (["--indir=photos", "--outdir=new", "--landmarks=none.json"], "no such file"),
        (["--indir=photos", "--outdir=new", "--landmarks=empty.json"], "no landmarks"),
        (["--indir=photos", "--outdir=new", "--landmarks=five.json"], "no eye could be cut"),
        (["--world=cartoons", "--outdir=new", "--attr=0P,,"], "--attr"),
        (["--world=cartoons", "--outdir=new", "--test-people=5-"], "--test-people"),
        (["--world=cartoons", "--outdir=new", "--between=0", "--views=106"], "--views=106: the grid has 105"),
    ],
)
def test_wrong_flags_and_files_are_one_line_and_write_nothing(tmp_path, run_script_in, flags, says):
    points = photos(tmp_path, ["me.png"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "points.json").write_text(json.dumps(points))
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "five.json").write_text(json.dumps({"me.png": [[1, 2]] * 5}))
    ran = run_script_in(tmp_path, SCRIPT, *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.strip().count("\n") <= 1
    assert not (tmp_path / "new").exists()


BROKEN = {
    "an attribute that the table lacks": (lambda s: None, "0Q@15Q", "has no column 0Q"),
    "another value": (lambda s: change(s / "info" / "gaze.csv", ",-1,", ",0,"), PUBLISHED, "another value"),
    "a short row": (lambda s: change(s / "info" / "gaze.csv", ",-1\n", "\n"), PUBLISHED, "values, the header"),
    "a patch of another size": (lambda s: resize(next((s / "all").iterdir())), PUBLISHED, "bring all"),
    "a missing patch": (lambda s: next((s / "all").iterdir()).unlink(), PUBLISHED, "0010_2m_"),
    "a name without an eye": (lambda s: change(s / "info" / "gaze-train.txt", "_L", ""), PUBLISHED, "which eye"),
    "another name": (lambda s: change(s / "info" / "gaze-train.txt", "_2m", ""), PUBLISHED, "is no name"),
    "no list": (lambda s: (s / "info" / "gaze-train.txt").write_text(""), PUBLISHED, "names no patch"),
}


def change(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def resize(path):
    Image.open(path).resize((40, 40)).save(path)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_set_that_is_damaged_is_one_line(tmp_path, run_script_in, kind):
    points = photos(tmp_path, ["0010_2m_-15P_10V_5H.png"])
    (tmp_path / "points.json").write_text(json.dumps(points))
    run_script_in(tmp_path, SCRIPT, "--indir=photos", "--landmarks=points.json", "--outdir=set", "--size=32")
    spoil, attributes, says = BROKEN[kind]
    spoil(tmp_path / "set")
    with pytest.raises((ValueError, OSError), match=says) as error:
        read_patches(tmp_path / "set", "train", Attributes.parse(attributes))
    assert "\n" not in str(error.value)
