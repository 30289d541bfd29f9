import json
import math
import zipfile

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dataset_preprocessing import rebalance_dataset
from dataset_preprocessing.rebalancing import repeated_name, repeats_by_arc, repeats_of
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label

# Rows of EG3D's FFHQ with mirrored copies by number of copies; that many images come of them.
PUBLISHED, IMAGES = {1: 68262, 2: 57980, 4: 12154, 8: 1408, 16: 110}, 245862


def test_the_published_counts_follow_from_the_arcs():
    rows = list(PUBLISHED.values())  # by an arc's distance from the middle one; two arcs share all but the first
    repeats = repeats_by_arc([rows[0], *(n / 2 for n in rows[1:])])
    assert repeats == list(PUBLISHED) and sum(map(math.prod, zip(repeats, rows, strict=True))) == IMAGES


def test_arcs_are_nine_equal_parts_of_the_range_of_yaws():
    inside, edges = [0.49, -0.49] * 99, [0.51, 1.49, -1.51, 2.51, 3.49, -3.51, 4.5]  # the range is 9, an arc 1
    repeats = repeats_of([f"{i}.png" for i in range(len(inside + edges))], inside + edges)
    assert repeats == [1] * len(inside) + [2, 2, 4, 8, 8, 16, 16]


def test_a_set_whose_poses_are_even_stays_as_it_is():
    yaws = [math.radians(i % 91 - 45) for i in range(91 * 20)]
    assert set(repeats_of([f"{i}.png" for i in range(len(yaws))], yaws)) == {1}


def test_no_arc_gets_fuller_than_the_fullest_one_was():
    yaws = [0.0] * 10 + [0.44] * 4 + [-0.44] * 4 + [1.0, -1.0]
    copies = repeats_of([f"{i}.png" for i in range(len(yaws))], yaws)
    assert copies[:10] == [1] * 10 and copies[10:18] == [2] * 8 and copies[18:] == [8, 8]


def test_an_image_and_its_mirrored_copy_are_repeated_equally_often_and_keep_their_names_in_common():
    names = ["a.png", "a_mirror.png", *(f"b{i}.png" for i in range(20))]
    copies = repeats_of(names, [0.31, -0.35, *[0.0] * 19, 1.0])
    assert copies[0] == copies[1] > 1
    assert repeated_name("x/a.png", 0) == "x/a.png" and repeated_name("x/a.png", 2) == "x/a_02.png"
    assert repeated_name("x/a_mirror.png", 2) == "x/a_02_mirror.png"


@pytest.mark.parametrize("yaws", [[], [0.0], [0.3]])
def test_a_set_of_one_pose_stays_as_it_is(yaws):
    assert repeats_of(["a.png"] * len(yaws), yaws) == [1] * len(yaws)


def test_the_script_repeats_images_byte_by_byte_with_their_cameras(tmp_path):
    labels = make_label(lookat_pose(torch.tensor([0.0, 0.0, 0.8]), torch.zeros(3)), intrinsics_matrix(FFHQ_FOCAL))
    rows = [[f"{name}.png", label] for name, label in zip("abc", labels.tolist(), strict=True)]
    (tmp_path / "set").mkdir()
    for name, _ in rows:
        Image.new("RGB", (8, 8), name[0] == "c" and "red" or "blue").save(tmp_path / "set" / name)
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": rows}))
    ran = CliRunner().invoke(rebalance_dataset.main, [f"--data={tmp_path / 'set'}", f"--dest={tmp_path / 'new.zip'}"])
    assert ran.exit_code == 0 and "2 images 1 times, 1 images 4 times: 6 images" in ran.stdout, ran.output
    with zipfile.ZipFile(tmp_path / "new.zip") as archive:
        found = dict(json.loads(archive.read("dataset.json"))["labels"])
        assert list(found) == ["a.png", "b.png", "c.png", "c_01.png", "c_02.png", "c_03.png"]
        assert found["c_03.png"] == rows[2][1] and archive.read("c_03.png") == (tmp_path / "set/c.png").read_bytes()
    assert json.loads((tmp_path / "new.manifest.json").read_text())["images_by_copies"] == {"1": 2, "4": 1}
