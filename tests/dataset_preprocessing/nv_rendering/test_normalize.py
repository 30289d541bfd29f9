"""normalize.py: photos with known heads and gazes in, crops and labels out, and back."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from dataset_preprocessing.nv_rendering.face_table import mpii_rows, read_table, table_text
from dataset_preprocessing.nv_rendering.head_pose import MPII_MODEL, HeadPose, face_centre
from dataset_preprocessing.nv_rendering.mpii_layout import Camera, PhotoRow, write_person
from l2cs.gaze_labels import read_labels, read_people
from l2cs.normalization import angular_error, distorted_points, rotation_of, rotation_vector

cv2 = pytest.importorskip("cv2", reason="pip install 'gaze-corrected-eg3d[novel-views]'")
SCRIPT = "dataset_preprocessing/nv_rendering/normalize.py"
MATRIX = np.array([[640.0, 0, 310], [0, 655, 250], [0, 0, 1]])
LENS = np.array([-0.12, 0.03, 1e-3, -5e-4, 0.0])
SIZE = (640, 480)
POSES = [
    HeadPose(rotation_of([0.1, -0.4]) @ cv2.Rodrigues(np.array([0, 0, 0.3]))[0], np.array([40.0, -60, 520])),
    HeadPose(rotation_of([-0.2, 0.5]), np.array([-70.0, 10, 610])),
    HeadPose(rotation_of([0.0, 0.0]), np.array([0.0, -30, 480])),
]
INTO_THE_LENS, TO_THE_LEFT, UP = np.zeros(3), np.array([-300.0, 0, 0]), np.array([0, -300.0, 0])
TARGETS = [INTO_THE_LENS, TO_THE_LEFT, UP]


def photo_points(pose: HeadPose) -> np.ndarray:
    """Where the lens shows the six points [6, 2]."""
    seen = pose.points(MPII_MODEL) @ MATRIX.T
    return distorted_points(seen[:, :2] / seen[:, 2:], MATRIX, LENS)


def photo(pose: HeadPose) -> np.ndarray:
    """Grey, with a soft bright spot at each of the six points."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    picture = np.full((SIZE[1], SIZE[0]), 60.0)
    for u, v in photo_points(pose):
        picture += 180 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8)
    return np.uint8(np.clip(picture, 0, 255)).repeat(3).reshape(SIZE[1], SIZE[0], 3)


def write_photos(folder):
    for number, pose in enumerate(POSES):
        (folder / "a b").mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(pose)).save(folder / "a b" / f"{number}.png")


def entries(pose_by: str = "given") -> list[dict]:
    rows = []
    for number, (pose, target) in enumerate(zip(POSES, TARGETS, strict=True)):
        row = dict(zip(("fx", "fy", "cx", "cy"), MATRIX[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), strict=True))
        row |= dict(zip(("k1", "k2", "p1", "p2", "k3"), LENS.tolist(), strict=True))
        row |= {"file": f"a b/{number}.png", "landmarks": photo_points(pose).tolist(), "gaze_target": target.tolist()}
        if pose_by == "given":
            row |= {"head_rotation": rotation_vector(pose.rotation).tolist(),
                    "head_translation": pose.translation.tolist()}  # fmt: skip
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def done(tmp_path_factory, run_script_in):
    """(folder, what normalize.py made of the photos, what --inverse made of that)."""
    folder = tmp_path_factory.mktemp("normalize")
    write_photos(folder / "photos")
    (folder / "table.json").write_text(json.dumps(entries()))
    ran = run_script_in(folder, SCRIPT, "--table=table.json", "--images=photos", "--dest=set", "--size=224",
                        "--focal=480")  # fmt: skip
    assert ran.code == 0, ran.stderr
    assert ran.stdout == "3 faces -> set\n"
    ran = run_script_in(folder, SCRIPT, "--inverse=set", "--dest=back")
    assert ran.code == 0, ran.stderr
    return folder, folder / "set", folder / "back"


def test_labels_are_those_of_a_gaze_known_in_the_normalised_frame(done):
    """Worked out by hand: whoever looks into the lens has 0, 0; who looks beside it has the angle at the face."""
    _, made, _ = done
    faces = read_labels(made / "Label" / "all.label", made / "Image", 90)
    yaw, pitch = faces.angles.numpy().T
    assert (yaw[0], pitch[0]) == pytest.approx((0, 0), abs=1e-6)
    centres = [face_centre(pose) for pose in POSES]
    assert yaw[1] > 0.3 and pitch[2] > 0.4, "left is positive, up is positive"
    for number in (1, 2):  # the angle between the direction to the lens and that to the target
        expected = angular_error(-centres[number], TARGETS[number] - centres[number])
        got = np.degrees(np.arccos(np.cos(yaw[number]) * np.cos(pitch[number])))
        assert got == pytest.approx(expected, abs=1e-3), "turned by R, not scaled by S"


def test_landmarks_are_seen_in_the_crop_where_the_record_says(done):
    _, made, _ = done
    record = json.loads((made / "Record" / "all.json").read_text())
    assert set(record) == {"frames", "focal", "distance", "size", "rows"}
    for row, pose in zip(record["rows"], POSES, strict=True):
        picture = np.asarray(Image.open(made / "Image" / row["crop"])).astype(float)[..., 0]
        # the virtual camera is that of the head, at 300 mm of the centre, by hand
        turned = pose.points(MPII_MODEL) @ np.array(row["rotation"]).T * (1, 1, row["scale"])
        expected = turned[:, :2] / turned[:, 2:] * 480 + 112
        np.testing.assert_allclose(row["landmarks_norm"], expected, atol=1e-3)
        for x, y in expected:
            window = picture[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8] - 60
            rows, columns = np.mgrid[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8]
            spot = (window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()
            assert np.abs(np.subtract(spot, (x, y))).max() < 0.5


def test_every_number_of_a_label_has_its_frame_in_the_record(done):
    _, made, _ = done
    frames = json.loads((made / "Record" / "all.json").read_text())["frames"]
    header = (made / "Label" / "all.label").read_text().split("\n")[0].split()
    assert header[:5] == ["Face", "Left", "Right", "Origin", "WhichEye"]
    assert set(header[5:]) <= set(frames) and all("frame" in frames[name] for name in header[5:] if name != "Smat")


def test_the_way_back_gives_gaze_head_landmarks_and_pictures_of_the_photos(done):
    folder, _, back = done
    rows = read_table(back / "table.csv")
    for number, (row, pose, target) in enumerate(zip(rows, POSES, TARGETS, strict=True)):
        assert row.file == f"a b/{number}.png"
        np.testing.assert_allclose(row.gaze_target, target, atol=1e-4)
        np.testing.assert_allclose(row.landmarks, photo_points(pose), atol=1e-4)
        np.testing.assert_allclose(row.rotation, pose.rotation, atol=1e-6)
        np.testing.assert_allclose(row.centre, face_centre(pose), atol=1e-5)
        np.testing.assert_allclose(row.camera.matrix, MATRIX)
        shown = np.asarray(Image.open(back / "Photo" / "a_b" / f"{number}.png")).astype(float)
        assert shown.shape == (480, 640, 3)
        x, y = photo_points(pose).mean(axis=0).astype(int)
        inside = slice(y - 25, y + 25), slice(x - 25, x + 25)
        assert np.abs(shown[inside] - photo(pose)[inside]).mean() < 4


def test_the_way_back_of_the_table_is_the_way_there(done, run_script, tmp_path):
    folder, made, back = done
    ran = run_script(SCRIPT, f"--table={back / 'table.csv'}", f"--images={folder / 'photos'}", "--dest=again",
                     "--size=224", "--focal=480")  # fmt: skip
    assert ran.code == 0, ran.stderr
    old, new = (where / "Label" / "all.label" for where in (made, tmp_path / "again"))
    for a, b in zip(old.read_text().split(), new.read_text().split(), strict=True):
        if "," in a:
            np.testing.assert_allclose([float(x) for x in b.split(",")], [float(x) for x in a.split(",")], atol=1e-4)


@pytest.mark.parametrize("lens", [0, 1])
def test_a_camera_with_skew_goes_there_and_back(run_script, tmp_path, lens):
    """Where a skewed camera sees a point is told by its matrix; OpenCV leaves the skew out."""
    skewed, pose = MATRIX + np.array([[0, 60.0, 0], [0, 0, 0], [0, 0, 0]]), POSES[0]
    rays = cv2.projectPoints(pose.points(MPII_MODEL), np.zeros(3), np.zeros(3), np.eye(3), lens * LENS)[0][:, 0]
    points = np.c_[rays, np.ones(6)] @ skewed[:2].T
    picture = np.full((SIZE[1], SIZE[0]), 20.0)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    for u, v in points:
        picture += 200 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8)
    (tmp_path / "photos/a b").mkdir(parents=True)
    Image.fromarray(np.uint8(np.clip(picture, 0, 255))).convert("RGB").save(tmp_path / "photos/a b/0.png")
    row = entries()[0] | {"skew": 60.0, "landmarks": points.tolist()} | {f"k{k}": lens * LENS[k - 1] for k in (1, 2)}
    row |= {"p1": lens * LENS[2], "p2": lens * LENS[3]}
    (tmp_path / "table.json").write_text(json.dumps([row]))
    assert run_script(SCRIPT, "--table=table.json", "--images=photos", "--dest=set").code == 0
    crop = np.asarray(Image.open(tmp_path / "set/Image/a_b/0.png"))[..., 0]
    for u, v in json.loads((tmp_path / "set/Record/all.json").read_text())["rows"][0]["landmarks_norm"]:
        assert crop[round(v), round(u)] > 180
    assert run_script(SCRIPT, "--inverse=set", "--dest=back").code == 0
    (found,) = read_table(tmp_path / "back/table.csv")
    np.testing.assert_allclose(found.camera.matrix, skewed)
    np.testing.assert_allclose(found.landmarks, points, atol=1e-4)
    shown = np.asarray(Image.open(tmp_path / "back/Photo/a_b/0.png"))[..., 0]
    assert all(shown[round(v), round(u)] > 160 for u, v in points)


def test_estimates_in_place_of_labels_come_back_in_the_camera_frame(done, tmp_path, run_script):
    _, made, _ = done
    shutil.copytree(made, tmp_path / "set")
    label = tmp_path / "set" / "Label" / "all.label"
    lines = [line.split(" ") for line in label.read_text().splitlines()]
    lines[1][7] = "0.00000000,0.00000000"
    lines[2][7] = "0.00000000,0.00000000"  # whoever looks to the left is estimated to look into the lens
    label.write_text("\n".join(map(" ".join, lines)) + "\n")
    assert run_script(SCRIPT, "--inverse=set", "--dest=back", "--no-pictures").code == 0
    assert not (tmp_path / "back" / "Photo").exists()
    row = read_table(tmp_path / "back" / "table.csv")[1]
    assert angular_error(row.gaze, -row.centre) < 1e-4


def test_by_landmarks_alone_the_pose_is_found(done, run_script, tmp_path):
    folder, made, _ = done
    table = tmp_path / "table.csv"
    table.write_text(table_text(entries(pose_by="landmarks")))
    ran = run_script(SCRIPT, f"--table={table}", f"--images={folder / 'photos'}", "--dest=set", "--size=64")
    assert ran.code == 0, ran.stderr
    expected, found = (read_labels(where / "Label" / "all.label", where / "Image", 90).angles.numpy()
                       for where in (made, tmp_path / "set"))  # fmt: skip
    assert np.abs(expected - found).max() < 2e-3


def test_mpiifacegazes_layout_gives_a_label_file_for_each_person(tmp_path, run_script):
    for person, pose, target in (("p00", POSES[0], TARGETS[1]), ("p01", POSES[1], TARGETS[2])):
        row = PhotoRow(f"{person}/day01/0005.png", person, photo_points(pose), target, rotation_vector(pose.rotation),
                       pose.translation, face_centre(pose), "left")  # fmt: skip
        write_person(tmp_path / "mpii", person, [row], Camera(MATRIX, LENS))
        (tmp_path / "mpii" / person / "day01").mkdir()
        Image.fromarray(photo(pose)).save(tmp_path / "mpii" / person / "day01" / "0005.png")
    assert [row.person for row in mpii_rows(tmp_path / "mpii")] == ["p00", "p01"]
    ran = run_script(SCRIPT, "--mpii=mpii", "--dest=set")
    assert ran.code == 0, ran.stderr
    people = read_people(tmp_path / "set" / "Label", tmp_path / "set" / "Image")
    assert [list(map(str, faces.paths))[0].split("Image/")[1] for faces in people] == ["p00/day01/0005.png",
                                                                                      "p01/day01/0005.png"]  # fmt: skip
    assert people[0].angles[0, 0] > 0.3 and Image.open(people[0].paths[0]).size == (448, 448)


# ------------------------------------------------------------------ bad input


def changed(number: int = 1, **cells) -> list[dict]:
    rows = entries()
    rows[number] = {name: value for name, value in (rows[number] | cells).items() if value is not None}
    return rows


@pytest.mark.parametrize(
    "rows, says",
    [
        (changed(fx=0), "row 2: camera: is no matrix of a camera"),
        (changed(fx=None), "row 2: fx must be 1 finite numbers"),
        (changed(fx=None, fy=None, cx=None, cy=None), "row 2: has no camera"),
        (changed(k1="nan"), "row 2: k1 must be 1 finite numbers"),
        (changed(head_translation=[0, 0, -500]), "behind the camera"),
        (
            changed(head_rotation=None, head_translation=None, landmarks=[1, 2] * 5),
            "row 2: landmarks must be 12 or 136",
        ),
        (changed(head_rotation=None, head_translation=None, landmarks=None), "row 2: has no head"),
        (changed(head_rotation=None), "head_rotation with head_translation"),
        (changed(head_rotation=[1, 0, 0, 0, 2, 0, 0, 0, 1]), "row 2: head_rotation: .* orthogonal"),
        (changed(gaze_target=["x", 1, 2]), "row 2: gaze_target must be 3 finite numbers"),
        (changed(gaze_target=None), "row 2: has no gaze"),
        (changed(gaze_target=None, gaze=[0, 0, 0]), "has no direction"),
        (changed(file="../x.png"), "row 2: file must be the name"),
        (changed(file="a b/9.png"), "1 of 3 labelled images is missing"),
        (changed(person="a/b"), "person must be a name without slashes"),
        (changed(haed_rotation=[0, 0, 0]), "'haed_rotation' is no column"),
        (changed(person="x" * 300), "row 2: person must have at most"),
        (changed(person="a\0b"), "row 2: person must have at most"),
        (changed(camera="a\0b", fx=None, fy=None, cx=None, cy=None), "row 2: camera must be the name of a file"),
        (changed(gaze_target=[1e308, 1e308, 1e308]), "row 2: gaze_target must be 3 finite numbers"),
        (changed(k1=1e9, k2=1e9, landmarks=[1e9] * 12), "row 2 .*: no ray of the camera leads to a landmark"),
        (changed(camera="no.yml", fx=None, fy=None, cx=None, cy=None), "no.yml: there is no such file"),
        ([], "has no row"),
        ([1], "must be a list of objects"),
    ],
)
def test_a_table_that_cannot_be_is_one_line_and_nothing_is_written(done, run_script, tmp_path, rows, says):
    (tmp_path / "table.json").write_text(json.dumps(rows))
    ran = run_script(SCRIPT, "--table=table.json", f"--images={done[0] / 'photos'}", "--dest=set")
    assert ran.code == 2 and ran.stderr.count("\n") == 1, ran.stderr
    assert re.search(says, ran.stderr), ran.stderr
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "text, says",
    [
        ("file,gaze\na,b,c\n", "row 1: has 3 cells"),
        ("file,file\na,b\n", "two columns have one name"),
        ("\xff\xfe", "is no CSV file of text"),
        ("[1, ", "is no JSON"),
        ("", "has no row"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(done, run_script, tmp_path, text, says):
    (tmp_path / "table.csv").write_bytes(text.encode("latin-1"))
    ran = run_script(SCRIPT, "--table=table.csv", f"--images={done[0] / 'photos'}", "--dest=set")
    assert ran.code == 2 and says in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr


def test_rows_and_photos_without_use_are_left_out_if_asked(done, run_script, tmp_path):
    rows = [*changed(0, head_translation=[0, 0, -500]), entries()[2] | {"file": "a b/9.png"}]
    (tmp_path / "table.json").write_text(json.dumps(rows))
    options = ["--table=table.json", f"--images={done[0] / 'photos'}", "--dest=set", "--size=32"]
    ran = run_script(SCRIPT, *options, "--skip-unmatched", "--skip-damaged")
    assert ran.code == 0 and ran.stdout == "2 faces -> set\n", ran.stderr
    assert "behind the camera" in ran.stderr and "left out by --skip-unmatched" in ran.stderr


def test_a_damaged_photo_and_a_damaged_record_are_one_line(done, run_script, tmp_path):
    shutil.copytree(done[0] / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "a b" / "1.png").write_bytes(b"no picture")
    (tmp_path / "table.json").write_text(json.dumps(entries()))
    options = ["--table=table.json", "--images=photos", "--dest=set"]
    ran = run_script(SCRIPT, *options)
    assert ran.code == 2 and "1.png cannot be read as an image" in ran.stderr and not (tmp_path / "set").exists()
    assert run_script(SCRIPT, *options, "--skip-damaged").stdout.endswith("2 faces -> set\n")
    record = tmp_path / "set" / "Record" / "all.json"
    facts = json.loads(record.read_text())
    for change, says in [
        ({"rotation": [[1, 0, 0], [0, 2, 0], [0, 0, 1]]}, "is damaged (a rotation matrix"),
        ({"camera": [[0, 0], [0, 0]]}, "is damaged (camera: must be 3 x 3"),
        ({"scale": "x"}, "is damaged"),
        ({"scale": -1}, "beyond what can be"),
        ({"distortion": [1e308] * 5}, "beyond what can be"),
        ({"distortion": [0] * 8}, "is damaged (lens: must be 4 or 5"),
        ({"landmarks_norm": []}, "must be 6 or 68 finite points"),
        ({"photo_size": [1 << 20, 1 << 20]}, "its photo has no size"),
        ({"photo_size": [-1, -1]}, "its photo has no size"),
        ({"crop": 5}, "is no record of normalised faces (a crop has no name)"),
        ({"crop": "elsewhere.png"}, "does not have the faces of all.json"),
    ]:
        record.write_text(json.dumps(facts | {"rows": [facts["rows"][0] | change, facts["rows"][1]]}))
        ran = run_script(SCRIPT, "--inverse=set", "--dest=back")
        assert ran.code == 2 and says in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr
        assert not (tmp_path / "back").exists()
    record.write_text("[]")
    assert "is no record" in run_script(SCRIPT, "--inverse=set", "--dest=back").stderr


def test_what_to_read_is_named_once(run_script, done, tmp_path):
    photos = f"--images={done[0] / 'photos'}"
    for options, says in [
        ([], "nothing to read"),
        ([photos], "nothing to read"),
        ([f"--mpii={done[0]}", f"--inverse={done[1]}"], "give one of"),
        ([f"--table={done[0] / 'table.json'}"], "are given together"),
        ([f"--inverse={done[0]}"], "holds no Record"),
        ([f"--inverse={done[1]}", "--size=448"], "--size: belongs to the way there"),
        ([f"--inverse={done[1]}", "--pose=given"], "--pose: belongs to the way there"),
        ([f"--mpii={done[0]}", f"--camera={done[0] / 'table.json'}"], "belongs to --table"),
    ]:
        ran = run_script(SCRIPT, *options, "--dest=x")
        assert ran.code == 2 and says in ran.stderr, ran.stderr


def test_a_csv_table_is_read_as_it_was_written(tmp_path):
    (tmp_path / "a.csv").write_text(table_text(entries()))
    (tmp_path / "a.json").write_text(json.dumps(entries()))
    a, b = read_table(tmp_path / "a.csv"), read_table(tmp_path / "a.json")
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-5)
        np.testing.assert_allclose(one.rotation, other.rotation, atol=1e-8)
    assert len(list(csv.reader((tmp_path / "a.csv").open()))) == 4
