"""The published test commands do what they say."""

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.attributes import Attributes
from redirection.interpgaze.published_sheets import batches, matching
from redirection.patch_sets import read_patches

CURVE, MANIPULATE = (f"redirection/interpgaze/{name}.py" for name in ("test_selected_curve", "attribute_manipulation"))
ATTR = "0P@15P,0V@10V,0H@15H"
GROUPS = Attributes.parse(ATTR)
BOTH = ["--data_dir=set", "-sp", "sheets", "--device=cpu"]


@pytest.fixture
def run(tmp_path, patches, trained, run_script_in):
    def run(script, *flags):
        return run_script_in(tmp_path, script, *BOTH, "-mp", trained, *flags)

    return run


def sheet(path, rows=1):
    picture = np.asarray(Image.open(path)).astype(int)
    assert picture.shape[0] == 32 * rows
    return [picture[:, x : x + 32] for x in range(0, picture.shape[1], 32)]


def test_a_curve_switches_branches_on_and_its_reference_is_another_patch(tmp_path, run):
    ran = run(CURVE, "-bl", "2", "1", "--n_test", "3")
    assert ran.code == 0, ran.stderr
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]  # not 4
    source, first, second, reference = sheet(tmp_path / "sheets" / "0.jpg")
    assert np.abs(source - reference).max() > 40 and np.abs(first - second).max() > 0
    assert run(CURVE, "-bl", "2,1", "--n_test=1", "--steps=3", "-sp", "way").code == 0
    assert np.abs(sheet(tmp_path / "way" / "0.jpg")[3] - first).mean() < 1  # the same draws; 3 pictures a branch
    assert len(sheet(tmp_path / "way" / "0.jpg")) == 8


def test_attributes_come_from_references_of_unseen_people_alone(tmp_path, run):
    flags = ["--filter_target_attr", "15H,NOT15P", "--branch_idx=2", "--n_ref=2", "-bs", "3", "--n_test", "2"]
    ran = run(MANIPULATE, *flags)
    assert ran.code == 0, ran.stderr
    assert len(sheet(tmp_path / "sheets" / "reference.jpg")) == 2
    assert len(sheet(tmp_path / "sheets" / "1.jpg", rows=3)) == 3 and not (tmp_path / "sheets" / "2.jpg").exists()
    assert "only 2 patches" in run(MANIPULATE, *flags, "--n_ref=3", "-sp", "b").stderr  # both eyes of person 3
    assert run(MANIPULATE, *flags, "--n_ref=3", "--legacy-references", "-sp", "c").code == 0
    run(MANIPULATE, *flags, "-s", "0", "-sp", "d")
    assert np.abs(sheet(tmp_path / "d" / "0.jpg", 3)[1] - sheet(tmp_path / "sheets" / "0.jpg", 3)[1]).max() > 0


def test_filters_are_joined_by_and(patches):
    known = read_patches(patches, "train", GROUPS)
    rows = matching(known.labels, GROUPS, "15H,NOT15P,0V")
    assert len(rows) == 4 and (known.angles[rows].abs() == torch.tensor([0.0, 0, 15])).all()


def test_there_are_as_many_batches_as_asked_for():
    draws = torch.Generator().manual_seed(0)
    assert [len(rows) for rows in batches(10, 4, 9, draws)] == [4, 4, 2] and len(list(batches(10, 2, 3, draws))) == 3


WRONG = {
    "attribute": (MANIPULATE, ["--filter_target_attr=9Z", "--branch_idx=0"], "'9Z' is none of 0P,15P"),
    "nobody": (MANIPULATE, ["--filter_target_attr=15P,0P", "--branch_idx=0"], "no patch to take as a reference"),
    "branch": (MANIPULATE, ["--filter_target_attr=0P", "--branch_idx=7"], "numbers from 0 to 3"),
    "decoder": (CURVE, ["--dec_type=v2"], "has decoder v1, not v2"),
    "list": (CURVE, ["-bl", "0", "9"], "numbers from 0 to 3"),
    "words": (CURVE, ["9"], "belongs to no option"),
    "empty": (CURVE, ["--test_folder=set/info"], "has no .jpg and no .png"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_done_is_one_line(tmp_path, run, kind):
    script, flags, says = WRONG[kind]
    ran = run(script, *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.strip().count("\n") == 0
    assert not (tmp_path / "sheets").exists()
