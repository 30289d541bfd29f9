"""check_dataset.py: it finds what was spoilt, and nothing in a sound set."""

import json

import numpy as np
import pytest
import small_set
import torch
from click.testing import CliRunner
from PIL import Image

from dataset_preprocessing.check_dataset import main
from dataset_preprocessing.checking import examine, nearest_point
from dataset_preprocessing.overview import COLUMNS, ROWS, project, span, spread_by_yaw
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def spoilt(change) -> small_set.Members:
    """The small set after change(rows of dataset.json)."""
    files = small_set.members()
    rows = json.loads(files[-1][1])["labels"]
    change(rows)
    return [*files[:-1], ("dataset.json", json.dumps({"labels": rows}).encode())]


def put(row: int, **numbers):
    """Sets numbers of one label: n3=1.0 is its fourth."""
    return lambda rows: [rows[row][1].__setitem__(int(at[1:]), value) for at, value in numbers.items()]


def negate(row: int, columns):
    """Turns axes of one camera round: 0 right, 1 down, 2 forward."""

    def change(rows):
        for column in columns:
            for line in range(3):
                rows[row][1][4 * line + column] *= -1

    return change


def test_a_sound_set_has_neither_errors_nor_warnings_and_its_numbers_are_right(tmp_path):
    path = small_set.write_zip(tmp_path / "faces.zip", [*small_set.members(), ("note.txt", b"-")])
    report, cameras = examine(path)
    assert (report.errors, report.warnings, report.duplicates) == ([], [], [])
    assert (report.images, report.labels, report.other_files) == (4, 4, 1)
    assert (report.sizes, report.modes) == ({"16x16": 4}, {"RGB": 4})
    assert report.cameras["radius"] == pytest.approx([2.7] * 3, abs=1e-6)
    assert report.cameras["focal"] == pytest.approx([FFHQ_FOCAL] * 3, abs=1e-6)
    assert report.cameras["yaw_deg"] == pytest.approx(np.degrees([-0.6, 0, 0.6]), abs=1e-4)
    assert report.cameras["look_at"] == pytest.approx([0, 0, 0.2], abs=1e-5)
    assert report.cameras["look_at_miss"] < 1e-6 and list(cameras) == report.sound


@pytest.mark.parametrize(
    "files, found",
    [
        (spoilt(lambda rows: rows.pop(1)), "1 of 4 images has no label, the first is 00000/img00000001.png"),
        (spoilt(lambda rows: rows.append(["gone.png", rows[0][1]])), "1 of 5 labelled images is missing"),
        (spoilt(lambda rows: rows[1][1].pop()), "00000/img00000001.png is 24 numbers"),
        (spoilt(put(2, n3=float("nan"))), "00000/img00000002.png holds nan"),
        (spoilt(put(2, n0=3.0)), "00000/img00000002.png is not a rotation"),
        (spoilt(put(2, n16=-4.0)), "00000/img00000002.png are -4"),
        (spoilt(negate(2, [0])), "00000/img00000002.png is not a rotation"),  # a mirror image of one
        ([("x.png", b""), *small_set.members()], "x.png cannot be read"),
        (
            [("x.png", small_set.image_bytes(np.zeros((8, 8, 3), np.uint8))), *small_set.members()],
            "another size than most, 16x16: 1 (x.png)",
        ),
        ([("x.png", small_set.image_bytes(np.zeros((8, 9, 3), np.uint8))), *small_set.members()], "not square"),
    ],
)
def test_what_training_would_refuse_is_an_error(tmp_path, files, found):
    path = small_set.write_folder(tmp_path / "faces", files)
    result = run("--data", path, "--json", tmp_path / "report.json")
    assert result.exit_code == 2 and "cannot be trained on" in result.stderr
    assert any(found in error for error in json.loads((tmp_path / "report.json").read_text())["errors"])
    assert any(line.startswith("wrong: ") and found in line for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    "files, found",
    [
        (spoilt(lambda rows: [row.__setitem__(1, rows[0][1]) for row in rows]), "4 of 4 images have the same camera"),
        (spoilt(put(0, n11=4.5)), "radius is far from the median: 1 (00000/img00000000.png)"),
        (spoilt(put(0, n3=0, n7=0, n11=0)), "stands on the origin: 1"),
        (spoilt(put(3, n16=8.0, n20=8.0)), "focal length is far from the median: 1"),
        (spoilt(lambda rows: [put(i, n16=4e3, n20=4e3)(rows) for i in range(4)]), "in pixels?"),
        (spoilt(put(3, n20=4.0)), "pixels are not square"),
        (spoilt(put(3, n18=240.0)), "principal point lies outside"),
        (spoilt(put(3, n3=5.0)), "looks past the point"),
        (spoilt(negate(1, [1, 2])), "looks away from that point"),  # OpenGL's axes
        (spoilt(negate(1, [0, 1])), "upside down"),
        ([("x.png", small_set.members()[0][1]), *spoilt(lambda rows: rows.append(["x.png", rows[3][1]]))],
         "equal pixels in: 1 (00000/img00000000.png = x.png)"),
        (small_set.members(side=24), "24x24 is no power of two"),
        ([("x.png", small_set.image_bytes(np.zeros((16, 16, 4), np.uint8))),
          *spoilt(lambda rows: rows.append(["x.png", rows[3][1]]))], "transparent, drawn on white: 1 (x.png)"),
    ],
)  # fmt: skip
def test_what_is_unusual_is_a_warning_but_no_error(tmp_path, files, found):
    path = small_set.write_folder(tmp_path / "faces", files)
    report, _ = examine(path)
    assert report.errors == [] and any(found in warning for warning in report.warnings), report.warnings
    json.dumps(report.to_json(), allow_nan=False)
    assert run("--data", path).exit_code == 0


def test_the_same_picture_in_other_files_is_a_duplicate(tmp_path):
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    folder = small_set.write_folder(tmp_path / "faces", small_set.members())
    Image.fromarray(pixels).save(folder / "a.png", compress_level=0)
    Image.fromarray(pixels).save(folder / "b.bmp")
    report, _ = examine(folder)
    assert report.duplicates == [["a.png", "b.bmp"]]


def test_the_look_at_point_is_that_of_the_cameras():
    pose = lookat_pose(torch.linspace(-0.8, 0.8, 9), torch.linspace(0.3, -0.3, 9), pivot=(0.1, -0.2, 0.3))
    assert nearest_point(pose[:, :3, 3], pose[:, :3, 2]).tolist() == pytest.approx([0.1, -0.2, 0.3], abs=1e-5)
    one = nearest_point(pose[:1, :3, 3].double(), pose[:1, :3, 2].double())  # any point of its axis would do
    away = torch.linalg.cross(one - pose[0, :3, 3], pose[0, :3, 2].double()).norm()
    assert away < 1e-5


def test_points_are_projected_as_in_a_pinhole_camera():
    # by hand: 2.7 in front of the origin, x to the right; 0.27 off at distance 2.7 is 0.1 in the plane at 1
    label = make_label(lookat_pose(0, 0, pivot=(0, 0, 0)), intrinsics_matrix(2.0))[0]
    seen = project(torch.tensor([[0.0, 0, 0], [0.27, 0, 0], [0, 0.27, 0]]), label)
    assert torch.allclose(seen, torch.tensor([[0.5, 0.5], [0.7, 0.5], [0.5, 0.3]], dtype=torch.float64), atol=1e-6)


def test_the_contact_sheet_spans_all_yaws_in_order():
    yaw = torch.from_numpy(np.random.RandomState(0).permutation(200) / 200 - 0.5)
    rows = make_label(lookat_pose(yaw, 0.0), intrinsics_matrix(4.0))
    columns = spread_by_yaw({f"{i}": row for i, row in enumerate(rows)})
    shown = [float(yaw[int(name)]) for column in columns for name in column]
    assert len(columns) == COLUMNS and {len(column) for column in columns} == {ROWS}
    assert shown == sorted(shown) and (shown[0], shown[-1]) == (float(yaw.min()), float(yaw.max()))
    assert spread_by_yaw({"one": rows[0]}) == [["one"]]
    assert [span(yaws) for yaws in ([-0.4, 0.3], [-7.6], [-1.2, 2.0])] == ["+0°", "-8°", "-1 to +2°"]


def test_pictures_and_numbers_are_written_once(tmp_path):
    path = small_set.write_folder(tmp_path / "faces", small_set.members())
    outputs = [
        f"--{name}={tmp_path / name}.{end}" for name, end in (("plot", "png"), ("sheet", "png"), ("json", "json"))
    ]
    result = run("--data", path, *outputs)
    assert result.exit_code == 0, result.output
    for name in ("plot.png", "sheet.png"):
        assert min(Image.open(tmp_path / name).size) > 100
    for output in outputs:
        again = run("--data", path, output)
        assert again.exit_code == 2 and "exists" in again.stderr and again.stdout == ""
    inside = run("--data", path, f"--sheet={path / 'sheet.png'}")
    assert inside.exit_code == 2 and "lies inside --data=" in inside.stderr


def test_a_spoilt_set_still_gets_its_pictures(tmp_path):
    files = [("x.png", b""), *spoilt(put(1, n0=9.0))]
    path = small_set.write_folder(tmp_path / "faces", files)
    result = run("--data", path, f"--plot={tmp_path / 'plot.png'}", f"--sheet={tmp_path / 'sheet.png'}")
    assert result.exit_code == 2 and "and 2 more" in result.stderr  # x.png: no image, no label; one rotation
    assert (tmp_path / "plot.png").is_file() and (tmp_path / "sheet.png").is_file()
