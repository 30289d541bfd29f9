"""prepare.py and the two-domain layout: a world's truth, photos and who looks into the camera, bad input."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from redirection.gaze_animation.camera_gaze import ListedGaze, NoGaze, off_axis
from redirection.gaze_animation.level_faces import SIDE
from redirection.gaze_animation.portrait_lists import read_domain, read_domains
from redirection.gaze_animation.world_portraits import WorldPortraits
from redirection.lid_points import load_lids

SCRIPT = "redirection/gaze_animation/prepare.py"


@pytest.fixture(scope="module")
def world(tmp_path_factory, run_script_in):
    folder = tmp_path_factory.mktemp("world")
    flags = ["--world=cartoons", "--people=2", "--views=3", "--size=64", "--corrected=2", "--sheet=sheet.png"]
    ran = run_script_in(folder, SCRIPT, *flags, "--outdir=set")
    assert ran.code == 0, ran.stderr
    return folder


def truth_of(folder):
    with (folder / "set" / "truth.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_world_gives_both_domains_of_different_people_who_look_as_the_domain_says(world):
    rows = truth_of(world)
    people = {domain: {row["person"] for row in rows if row["domain"] == domain} for domain in "01"}
    assert len(people["0"]) == len(people["1"]) == 2 and not people["0"] & people["1"]
    off = {domain: [float(row["off_lens"]) for row in rows if row["domain"] == domain] for domain in "01"}
    assert max(off["1"]) < 4 and min(off["0"]) >= 9.5 and max(off["0"]) <= 29


def test_a_world_gives_lists_points_and_true_corrected_pictures(world):
    y, x = (read_domain(world / "set", domain) for domain in "01")
    assert len(x) == len(y) == 6 and not (x.missing or x.outside or x.unlisted)
    points = json.loads((world / "set" / "landmarks.json").read_text())
    for portraits, domain in ((x, "1"), (y, "0")):
        for name, eyes in zip(portraits.names, portraits.eyes, strict=True):
            own = np.array(points[f"{domain}/{name}"]) + 0.5
            assert np.abs(own[36:42].mean(0) * SIDE / 64 - eyes[0]).max() <= 0.6  # rounded, in pixels of 256
            assert np.abs(own[42:48].mean(0) * SIDE / 64 - eyes[1]).max() <= 0.6
    true = sorted(file.stem for file in (world / "set" / "corrected").iterdir())
    assert true == y.names[-2:]
    lids = load_lids(str(world / "set" / "landmarks.json"), [f"0/{name}.jpg" for name in y.names])
    assert lids(np.zeros((64, 64, 3), np.uint8), f"0/{y.names[0]}.jpg")["L"].shape == (6, 2)
    assert (world / "sheet.png").is_file()


def test_the_true_corrected_picture_differs_in_the_eyes_alone():
    made = WorldPortraits("cartoons", people=1, views=1, size=64, corrected=1, jitter=0).make(1)
    change = np.abs(made.picture.astype(int) - made.corrected).max(axis=2)
    rows, columns = np.nonzero(change > 24)
    eyes = made.eyes * 64 / SIDE
    near = np.min([np.hypot(columns + 0.5 - x, rows + 0.5 - y) for x, y in eyes], axis=0)
    assert len(rows) and near.max() < 10


@pytest.mark.slow
def test_what_the_world_calls_gaze_is_where_the_iris_lies():
    """The gaze of Y against the iris in the picture: yaw is positive toward the image's left, pitch up."""
    portraits = WorldPortraits("cartoons", people=8, views=1, size=96, jitter=0, seed=3)
    shown = []
    for index in range(8, 16):
        made = portraits.make(index)
        grey = made.picture.astype(float).mean(axis=2)
        at_x, middle_x = [], []
        for x, y in made.eyes * 96 / SIDE:
            window = grey[int(y) - 4 : int(y) + 5, int(x) - 9 : int(x) + 10]
            dark = window < np.quantile(window, 0.15)
            at_x.append(np.nonzero(dark)[1].mean() + int(x) - 9 + 0.5)
            middle_x.append(x)
        turned = made.truth.gaze_yaw - made.truth.head_yaw
        shown.append((turned, np.mean(middle_x) - np.mean(at_x)))
    assert np.corrcoef(np.array(shown).T)[0, 1] > 0.6


def test_the_split_takes_the_last_lines(world):
    domains = read_domains(world / "set", test_num=2, held_out=1)
    y, x = (read_domain(world / "set", domain) for domain in "01")
    assert domains.y_test.names == y.names[-2:] and domains.y.names == y.names[:-2]
    assert domains.x_held.names == x.names[-1:] and not domains.notes
    images, eyes = domains.y_test.batch([1, 0], 32)
    assert images.shape == (2, 3, 32, 32) and eyes.shape == (2, 2, 2)
    assert eyes[1].numpy() == pytest.approx(y.eyes[-2] / 8)
    with pytest.raises(ValueError, match="6 pictures, and 6 are for tests; give --test_num"):
        read_domains(world / "set", test_num=6)


def layout(folder, lines, pictures=("a", "b")):
    for domain in "01":
        (folder / domain).mkdir(parents=True)
        for name in pictures:
            Image.new("RGB", (64, 64), (90, 90, 90)).save(folder / domain / f"{name}.jpg")
        (folder / f"{domain}.txt").write_text(lines if domain == "0" else "a 79 93 177 93\n")
    return folder


def test_lists_and_folders_that_disagree_are_counted_not_skipped_silently(tmp_path):
    folder = layout(
        tmp_path / "s", "a 79 93 177 93 more 1\ngone 79 93 177 93\n\nb 79 93 277 93\nchingy-1 73 89 179 89\n"
    )
    found = read_domain(folder, "0")
    assert found.names == ["a"] and (found.missing, found.outside, found.unlisted) == (2, 1, 0)
    assert found.notes() == [
        "2 lines of 0.txt have no picture in 0/; they are left out",
        "1 lines of 0.txt have eyes outside the picture; they are left out",
    ]
    assert read_domain(folder, "1").unlisted == 1


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("a 79 93 177\n", "line 1 has no four numbers"),
        ("a 79 93 x 93\n", "line 1 has no four numbers"),
        ("a 79 93 nan 93\n", "line 1 has no four numbers"),
        ("a 177 93 79 93\n", "eye at the image's right first"),
        ("../a 79 93 177 93\n", "no name of a picture"),
        ("a 79 93 177 93\na 79 93 177 93\n", "line 2 names a again"),
        ("gone 79 93 177 93\n", "is empty \\(1 lines name no picture"),
        ("", "is empty \\(it has no line\\)"),
    ],
)
def test_a_list_that_is_wrong_is_one_line(tmp_path, lines, says):
    with pytest.raises(ValueError, match=says) as error:
        read_domain(layout(tmp_path / "s", lines), "0")
    assert "\n" not in str(error.value)


def test_a_damaged_portrait_is_one_line(tmp_path):
    folder = layout(tmp_path / "s", "a 79 93 177 93\n")
    (folder / "0" / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(ValueError, match=r"a\.jpg"):
        read_domain(folder, "0").batch([0], 32)


def photos(folder, names, closed=(), at=(100, 90)):
    """Photos with two red and blue discs, their 68 points."""
    points = {}
    (folder / "photos").mkdir()
    for name in names:
        rows = np.zeros((68, 2))
        for first, x in ((36, at[0] - 40), (42, at[0] + 40)):
            high = 1 if name in closed else 8
            rows[first : first + 6] = [
                (x - 12, at[1]), (x - 6, at[1] - high), (x + 6, at[1] - high),
                (x + 12, at[1]), (x + 6, at[1] + high), (x - 6, at[1] + high),
            ]  # fmt: skip
        pixels = np.full((200, 200, 3), 200, np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / name)
        points[name] = rows.tolist()
    (folder / "points.json").write_text(json.dumps(points))


def test_photos_join_the_domain_that_their_labels_say_and_the_rest_is_listed(tmp_path, run_script_in):
    photos(tmp_path, [f"{i}.png" for i in range(6)], closed=["3.png"])
    table = "name,yaw,pitch\n0.png,1,2\n1.png,-12,3\n2.png,6,4\n3.png,0,0\n4.png,0,-15\n"
    (tmp_path / "labels.csv").write_text(table)
    ran = run_script_in(
        tmp_path,
        SCRIPT,
        "--indir=photos",
        "--outdir=set",
        "--landmarks=points.json",
        "--labels=labels.csv",
        "--size=64",
    )
    assert ran.code == 0, ran.stderr
    assert (tmp_path / "set" / "1.txt").read_text() == "0 79 93 177 93\n"
    assert (tmp_path / "set" / "0.txt").read_text() == "1 79 93 177 93\n4 79 93 177 93\n"
    rejects = dict(list(csv.reader((tmp_path / "set" / "rejects.csv").open()))[1:])
    assert rejects["2.png"].startswith("looks 7.2 degrees past the camera")
    assert "closed" in rejects["3.png"] and "no row" in rejects["5.png"]
    assert "3 photos were left out" in ran.stderr


def test_eyes_at_the_border_are_left_out_and_an_empty_domain_is_one_line(tmp_path, run_script_in):
    photos(tmp_path, ["a.png", "b.png"], at=(100, 6))
    (tmp_path / "labels.csv").write_text("name,camera\na,1\nb,1\n")
    flags = ["--indir=photos", "--landmarks=points.json", "--labels=labels.csv", "--size=64", "--outdir=set"]
    ran = run_script_in(tmp_path, SCRIPT, *flags)
    assert ran.code == 2 and "nobody looks into the camera" in ran.stderr and "lie outside the photo" in ran.stderr
    assert ran.stderr.count("error:") == 1 and not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--outdir=set"], "give --indir=FOLDER of photos, or --world=NAME"),
        (["--world=cartoons", "--labels=names", "--outdir=set"], "a world's gaze is known"),
        (["--indir=photos", "--outdir=set", "--landmarks=points.json"], "give --l2cs-path=WEIGHTS"),
        (["--indir=photos", "--outdir=set", "--labels=names", "--away=3"], "is less than --at-camera=5"),
    ],
)
def test_flags_that_do_not_fit_are_one_line(tmp_path, run_script_in, flags, says):
    photos(tmp_path, ["a.png"])
    ran = run_script_in(tmp_path, SCRIPT, *flags)
    assert ran.code == 2 and says in ran.stderr and not (tmp_path / "set").exists()


def test_labels_that_are_wrong_are_one_line(tmp_path):
    path = tmp_path / "labels.csv"
    for text, says in (
        ("photo,yaw\na,1\n", "no columns"),
        ("name,camera\na,2\n", "line 2"),
        ("name,yaw,pitch\na,1,x\n", "line 2"),
        ("name,camera\na,1\na,0\n", "line 3 names a again"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            ListedGaze(path)
    path.write_text("name,camera\na.png,1\n")
    assert ListedGaze(path)(None, None, "sub/a.jpg") == 0
    with pytest.raises(NoGaze):
        ListedGaze(path)(None, None, "b.jpg")


def test_degrees_past_the_camera():
    assert off_axis(3, 4) == pytest.approx(5, abs=0.01) and off_axis(0, 0) == 0 and off_axis(90, 0) == pytest.approx(90)
