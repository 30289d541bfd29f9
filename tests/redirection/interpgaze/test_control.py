"""From degrees to the control vector."""

import pytest

from redirection.attributes import PUBLISHED, Attributes
from redirection.interpgaze.control import control_vector

GROUPS = Attributes.parse(PUBLISHED)
SOURCE, REFERENCE = {"P": -15, "V": 0, "H": 15}, {"P": 15, "V": 0, "H": -15}


def test_the_example_of_the_poster():
    v = control_vector(GROUPS, SOURCE, REFERENCE, {"P": 0, "V": 0, "H": -5})
    assert v.tolist() == pytest.approx([0.5, 0, 2 / 3, 0, 0])


def test_what_is_not_asked_for_stays_and_beyond_the_reference_is_above_one():
    assert control_vector(GROUPS, SOURCE, REFERENCE, {"H": -30}).tolist() == pytest.approx([0, 0, 1.5, 0, 0])
    assert control_vector(GROUPS, SOURCE, REFERENCE, SOURCE).tolist() == [0] * 5


@pytest.mark.parametrize(
    "wanted, says",
    [({"V": 5}, "both have 0 degrees"), ({"H": -60}, "stay below 2"), ({"H": 75}, "stay below 2"), ({"Q": 1}, "'Q'")],
)
def test_what_cannot_be_reached_is_one_line(wanted, says):
    with pytest.raises(ValueError, match=says):
        control_vector(GROUPS, SOURCE, REFERENCE, wanted)


def test_an_angle_without_a_branch_is_refused():
    with pytest.raises(ValueError, match="moves V"):
        control_vector(Attributes.parse("0P@15P,L@R"), SOURCE, REFERENCE | {"V": 10}, {"V": 5})
