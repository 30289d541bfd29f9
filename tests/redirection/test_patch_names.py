"""Names of patches and of Columbia's photos."""

import pytest

from redirection.patch_names import PatchName


def test_a_name_of_a_patch_says_all():
    name = PatchName.parse("0010_2m_-30P_10V_5H_L.jpg")
    assert name == PatchName(10, -30, 10, 5, "L") and str(name) == "0010_2m_-30P_10V_5H_L"
    assert name.folder == "N30P" and name.shown == (-30, 10, 5)


def test_a_patch_of_a_right_eye_shows_head_and_gaze_the_other_way_round():
    assert PatchName.parse("0010_2m_-30P_10V_5H_R.jpg").shown == (30, 10, -5)


def test_a_photo_has_no_eye_and_angles_may_be_fractions():
    name = PatchName.parse("0003_2m_7.5P_-2.5V_0H.png")
    assert name.eye == "" and name.folder == "P7.5P" and str(name.of_eye("R")) == "0003_2m_7.5P_-2.5V_0H_R"
    assert PatchName(1, 0.0, -0.0, 0.0, "L").folder == "0P" and "-0" not in str(PatchName(1, -0.0, 0, 0))


@pytest.mark.parametrize("name", ["me.jpg", "0010_2m_30P_10V.jpg", "0010_2m_95P_0V_0H_L.jpg", "0010_2m_3P_0V_0H_X.jpg"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError):
        PatchName.parse(name)
