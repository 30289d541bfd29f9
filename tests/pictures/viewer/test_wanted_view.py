"""Views as texts: what a link holds comes back, and nothing else is taken for one."""

import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eg3d.geometry.cameras import FFHQ_ORBIT
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.pictures.viewer.wanted_view import READ, View

EYES = (0.0, 0.07, 0.25)


def test_a_view_comes_back_from_its_text():
    view = View(seed=7, psi=0.5, other=9, blend=0.25, rows="fine", yaw=-0.3, pitch=0.1, fov=12.5, gaze="20,-5",
                show="depth")  # fmt: skip
    assert View.parse(view.text()) == view
    assert set(READ) == {field.name for field in fields(View)}  # no field is forgotten
    tiny = View(yaw=0.00005, pitch=-0.000001)  # numbers that Python writes with an exponent
    assert View.parse(tiny.text()) == tiny
    assert View.parse("") == View() and View().text() == ""


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 2**32 - 1))
def test_numbers_survive_a_link_to_a_millionth(yaw, pitch, seed):
    text = f"seed={seed}&yaw={yaw:.6f}&pitch={pitch:.6f}"
    view = View.parse(View.parse(text).text())
    assert view.seed == seed and abs(view.yaw - yaw) < 1e-6 and abs(view.pitch - pitch) < 1e-6


@pytest.mark.parametrize("text, words", [
    ("seed=-1", "no seed"), ("seed=4294967296", "no seed"), ("seed=1e3", "no seed"), ("seed=", "no seed"),
    ("yaw=nan", "no number"), ("yaw=inf", "no number"), ("yaw=9", "between"), ("psi=1_0", "no number"),
    ("pitch=0x1", "no number"), ("fov=0", "between"), ("rows=none", "none of"), ("show=secret", "none of"),
    ("gaze=left", "none of"), ("gaze=20", "none of"), ("gaze=at:9,9", "none of"), ("gaze=1,2,3", "none of"),
    ("gaze=nan,0", "none of"), ("who=1", "has no"), ("seed=1&seed=2", "twice"), ("seed", "no view"),
    ("&".join(["seed=1"] * 30), "no view"), ("x" * 501, "too long"), ("seed=\u0661", "no seed"),
])  # fmt: skip
def test_what_is_no_view_is_one_line(text, words):
    with pytest.raises(ValueError, match=words) as error:
        View.parse(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def gaze_of(text: str, **camera):
    view = View(gaze=text, **camera)
    return view.gaze_in(view.label(FFHQ_ORBIT), EYES)[0]


def test_eyes_at_the_pointer_look_to_its_side_of_the_picture_from_every_camera():
    """Positive yaw looks toward the left edge of a frontal picture, positive pitch up."""
    left, right = gaze_of("at:0.1,0.5"), gaze_of("at:0.9,0.5")
    assert left[0] > 0.3 and right[0] < -0.3 and abs(left[0] + right[0]) < 0.05
    assert gaze_of("at:0.5,0")[1] - gaze_of("at:0.5,1")[1] > 0.5
    for yaw in (-0.5, 0.5):
        view = View(yaw=yaw, gaze="at:0.5,0.5")
        label = view.label(FFHQ_ORBIT)
        into_camera = label[0, :16].reshape(4, 4)[:3, 3] - torch.tensor(EYES)
        along = gaze_direction(view.gaze_in(label, EYES))[0]
        angle = torch.acos(along @ into_camera / into_camera.norm())
        # the middle of the picture is not quite on the eyes' line to the camera, as the pivot is 0.07 below the eyes
        assert math.degrees(angle) < 10


def test_eyes_by_hand_and_along_the_face_do_not_depend_on_the_camera():
    assert torch.equal(gaze_of("face", yaw=0.4), torch.zeros(2))
    assert torch.allclose(gaze_of("20,-5", yaw=0.4), torch.tensor([20.0, -5.0]).deg2rad())
