"""How far references lead together, and the steps on the way."""

import pytest
import torch

from redirection.attributes import PUBLISHED, Attributes
from redirection.interpgaze.moves import looks_between, way_to
from redirection.interpgaze.redirecting import check_reach, leading, prolonged

GROUPS = Attributes.parse("0P@15P,0V@10V,0H@15H")


def looks(*angles):
    return torch.tensor(angles, dtype=torch.float32)


def test_one_reference_leads_as_on_the_poster():
    groups, source, wanted = Attributes.parse(PUBLISHED), looks([-15, 0, 15]), looks([0, 0, -5])
    v = leading(looks([15, 0, -15]), groups, source, wanted)
    assert v[0, 0].tolist() == pytest.approx([0.5, 0, 2 / 3, 0, 0], abs=1e-6)
    assert leading(looks([15, 0, -15]), groups, source, source).abs().sum() == 0


def test_references_whose_errors_grow_with_their_angle_are_led_by_least_squares():
    references = looks([0, 0, 10], [0, 0, 20])  # as far from the wanted one, so equally near
    v = leading(references, GROUPS, looks([0, 0, 0]), looks([0, 0, 15]))[0, :, 2]
    assert v.tolist() == pytest.approx([15 * 10 / 500, 15 * 20 / 500])
    assert (v * references[:, 2]).sum() == pytest.approx(15)


def test_references_on_the_other_side_lead_only_if_no_others_can():
    references = looks([0, 0, 15], [0, 0, -15])
    there, back = leading(references, GROUPS, looks([0, 0, 0]), looks([0, 0, 12]))[0, :, 2]
    assert there == pytest.approx(0.8, rel=0.02) and abs(back) < 0.01
    there, back = leading(references, GROUPS, looks([0, 0, 15]), looks([0, 0, 18]))[0, :, 2]
    assert there == 0 and back == pytest.approx(-0.1)


def test_no_way_is_prolonged_beyond_twice():
    near = looks([0, 0, 1.0])
    assert leading(near, GROUPS, looks([0, 0, 0]), looks([0, 0, 2]))[0, 0, 2] == pytest.approx(2)
    assert leading(near, GROUPS, looks([0, 0, 0]), looks([0, 0, 20]))[0, 0, 2] < 1


def test_small_moves_are_prolonged_large_ones_hardly_and_none_stays_none():
    shown = looks([0, 0, 3], [0, 0, 3], [0, 0, 3])
    asked = prolonged(shown, looks([0, 0, 2], [0, 15, 23], [0, 0, 3])) - shown
    assert asked[0].tolist() == pytest.approx([0, 0, -(3.25**0.5)])
    assert asked[1].tolist() == pytest.approx([0, 15.027, 20.036], abs=1e-3)
    assert asked[2].tolist() == [0, 0, 0]


def test_what_no_reference_or_branch_leads_to_is_one_line():
    references, front = looks([0, 10, 15], [0, 0, -15]), looks([0, 0, 0])[0]
    for wanted, says in (
        ([0, 21, 0], "V=21: no reference leads"), ([0, -3, 0], "V=-3: no"), ([0, 0, -40], "H=-40: no reference leads"),
        ([5, 0, 0], "P=5: no reference"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            check_reach(references, GROUPS, front, looks(wanted)[0])
    with pytest.raises(ValueError, match="no branch of these weights moves P"):
        check_reach(references, Attributes.parse("0V@10V,0H@15H"), front, looks([5, 0, 0])[0])
    check_reach(references, GROUPS, front, looks([0, -2, 29])[0])


def test_all_branches_move_together_or_one_after_the_other():
    v = torch.tensor([0.0, 1.0, 0.5])
    assert way_to(v, 3).tolist() == [[0, 0, 0], [0, 0.5, 0.25], [0, 1, 0.5]]
    assert way_to(v, 5, [2, 1]).tolist() == [[0, 0, 0], [0, 0, 0.25], [0, 0, 0.5], [0, 0.5, 0.5], [0, 1, 0.5]]
    assert way_to(v, 1).tolist() == [[0, 1, 0.5]]
    assert way_to(torch.zeros(3), 2).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_looks_on_the_way_are_even_and_angles_go_in_the_order_of_their_branches():
    here, there = torch.tensor([5.0, 0, -10]), torch.tensor([5.0, 8, 10])
    assert looks_between(here, there, GROUPS, 3).tolist() == [[5, 0, -10], [5, 4, 0], [5, 8, 10]]
    in_turn = looks_between(here, there, GROUPS, 5, order=[2])
    assert in_turn.tolist() == [[5, 0, -10], [5, 0, 0], [5, 0, 10], [5, 4, 10], [5, 8, 10]]
    assert looks_between(here, there, GROUPS, 1).tolist() == [[5, 8, 10]]
    assert looks_between(here, here, GROUPS, 2).tolist() == [[5, 0, -10], [5, 0, -10]]
