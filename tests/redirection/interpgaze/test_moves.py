"""References for wanted angles, and the steps on the way."""

import pytest
import torch

from redirection.attributes import Attributes
from redirection.interpgaze.moves import nearest_reference, way_to
from redirection.patch_sets import read_patches

GROUPS = Attributes.parse("0P@15P,0V@10V,0H@15H")
FRONT = {"P": 0.0, "V": 0.0, "H": 0.0}


def test_a_reference_leads_to_the_wanted_angle_and_nothing_else_moves(patches):
    train = read_patches(patches, "train", GROUPS)
    row, v = nearest_reference(train, GROUPS, FRONT, FRONT | {"H": 10.0})
    assert v[[0, 1, 3]].tolist() == [0, 0, 0]
    assert v[2] * train.angles[row, 2] == pytest.approx(10) and train.angles[row, :2].abs().sum() == 0


def test_where_no_reference_leads_is_one_line(patches):
    train = read_patches(patches, "train", GROUPS)
    for wanted in ({"V": -20.0}, {"H": 60.0}):
        with pytest.raises(ValueError, match="no reference leads to"):
            nearest_reference(train, GROUPS, FRONT, FRONT | wanted)


def test_all_branches_move_together_or_one_after_the_other():
    v = torch.tensor([0.0, 1.0, 0.5])
    assert way_to(v, 3).tolist() == [[0, 0, 0], [0, 0.5, 0.25], [0, 1, 0.5]]
    assert way_to(v, 5, [2, 1]).tolist() == [[0, 0, 0], [0, 0, 0.25], [0, 0, 0.5], [0, 0.5, 0.5], [0, 1, 0.5]]
    assert way_to(v, 1).tolist() == [[0, 1, 0.5]]
    assert way_to(torch.zeros(3), 2).tolist() == [[0, 0, 0], [0, 0, 0]]
