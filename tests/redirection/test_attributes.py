"""Names, groups and labels of attributes."""

import pytest
import torch

from redirection.attributes import PUBLISHED, Attributes, angle_of, mixed_labels


def test_the_published_text_has_five_branches_for_head_vertical_horizontal_side_and_rest():
    groups = Attributes.parse(PUBLISHED)
    assert groups.lengths == (5, 5, 5, 2) and groups.branches == 5 and str(groups) == PUBLISHED
    assert [groups.branch_of(angle) for angle in "PVH"] == [0, 1, 2]
    assert groups.columns[:2] == ("0P", "15P") and groups.columns[-2:] == ("L", "R")


def test_a_group_of_several_angles_moves_none_of_them_alone():
    assert Attributes.parse("0P@10V,L@R").branch_of("P") is None


def test_a_number_sign_turns_a_label_round():
    first, second = Attributes.parse("0P@#15P,#L").labels([1, 1, -1])
    assert first.tolist() == [1, 0] and second.tolist() == [1]


def test_labels_come_from_the_angles_of_a_file_name():
    labels = Attributes.parse(PUBLISHED).labels_of_angles({"P": -30.0, "V": 10.0, "H": 5.0}, "L")
    assert [row.tolist() for row in labels] == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0] * 5, [1, 0]]  # +-5H has no column
    assert Attributes.parse("#15P,L@R").labels_of_angles({"P": 15.0, "V": 0.0, "H": 0.0}, "R")[0].tolist() == [0]


def test_soft_labels_move_with_the_branch_of_their_group():
    labels = [torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0], [1.0]])]
    v = torch.tensor([[0.25, 0.5, 0.9], [1.0, 0.0, 0.9]])
    first, second = mixed_labels(labels, torch.tensor([1, 0]), v)
    assert first.tolist() == [[0.75, 0.25], [1.0, 0.0]] and second.tolist() == [[0.5], [1.0]]


@pytest.mark.parametrize("text", ["", "0P,,L", "0P@0P", "0P@#0P,0P", "a b", "0P@", "x" * 50])
def test_a_wrong_text_is_one_line(text):
    with pytest.raises(ValueError, match="--attr") as error:
        Attributes.parse(text)
    assert "\n" not in str(error.value)


def test_angles_of_names():
    assert angle_of("-15P") == (-15.0, "P") and angle_of("#10V") == (10.0, "V") and angle_of("2.5H") == (2.5, "H")
    assert angle_of("L") is None and angle_of("P") is None and angle_of("15Q") is None
