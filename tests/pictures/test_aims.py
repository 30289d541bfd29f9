"""What --gaze asks for, gazes along a film, and that the eyes of drawn heads follow them."""

import math

import pytest
import torch
from tiny_networks import tiny_eye_field as on
from tiny_networks import tiny_generator

from eg3d.geometry.head_gaze import CAMERA, FACE, Aim
from eg3d.pictures import aims, video
from eg3d.pictures.views import ViewOptions, camera_labels, render_ws, ws_of_seeds


def test_a_gaze_is_read_in_degrees():
    assert aims.parse_aim("face") == FACE and aims.parse_aim("camera") == CAMERA
    assert aims.parse_aim("20,-5") == Aim(math.radians(20), math.radians(-5))


@pytest.mark.parametrize("text", ["20", "left", "20,5,1", "nan,0", "91,0", ",", ""])
def test_what_is_no_gaze_is_refused(text):
    with pytest.raises(ValueError, match="is no gaze; write face|is beyond 90 degrees"):
        aims.parse_aim(text)


def test_only_a_generator_whose_gaze_can_be_set_takes_one():
    base = tiny_generator()
    field = on(base)
    aims.aim_eyes([base, field], CAMERA)
    assert field.aim == CAMERA and not hasattr(base, "aim")
    aims.aim_eyes([base], None)
    with pytest.raises(ValueError, match="--gaze: the gaze of this network cannot be set"):
        aims.aim_eyes([base], FACE)


@pytest.mark.parametrize("text", ["face", "camera", "20,-5", "0.1,30"])
def test_a_report_says_the_gaze_as_the_flag_did(text):
    assert aims.aim_facts(aims.parse_aim(text)) == {"gaze": text}
    assert aims.aim_facts(None) == {}


def test_a_gaze_path_is_a_gaze_for_each_frame(tmp_path):
    path = tmp_path / "gaze.json"
    path.write_text('{"gaze": [[30, 0], [0, -10]]}')
    wanted = torch.tensor([[math.pi / 6, 0], [0, -math.pi / 18]])
    assert torch.allclose(aims.gazes(FACE, path, torch.zeros(2, 25)), wanted)
    for text, message in (
        ('{"gaze": [[30, 0]]}', "has 1 gazes for 2 frames"),
        ('{"gaze": [[30, 0], [0, 100]]}', "the gaze of frame 1 is beyond 90"),
        ('{"gaze": [[30, 0], [0]]}', "is no gaze path"),
        ('{"cameras": []}', "is no gaze path"),
        ("[", "is no gaze path"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            aims.read_gaze_path(path, 2)


def test_resting_heads_follow_a_point_round_an_ellipse():
    gaze = aims.gazes(FACE, "circle", torch.zeros(4, 25)).rad2deg()
    assert torch.allclose(gaze, torch.tensor([[0.0, 12], [25, 0], [0, -12], [-25, 0]]), atol=1e-4)


def test_frames_of_a_film_have_their_own_gaze():
    field = on(tiny_generator())
    labels = camera_labels([0.2] * 3, [0.1] * 3, field.orbit)
    gaze = torch.tensor([[0.5, 0.0], [-0.5, 0.2], [0.5, 0.0]])
    plan = video.plan_films([3], interpolate=False)[0]
    frames = list(video.film(field, plan, labels, ViewOptions(), side=32, gaze=gaze))
    assert (frames[0] == frames[2]).all() and (frames[0] != frames[1]).any()
    alone = render_ws(field, ws_of_seeds(field, [3]), labels[:1], gaze[1:2])["image"]
    assert (frames[1] == video.to_uint8(alone)[0]).mean() > 0.99


def test_more_samples_along_rays_are_the_bases():
    field = video.set_quality(on(tiny_generator()), sample_mult=2, rendering_resolution=12)
    assert field.options.depth_resolution == 12 and field.base.neural_rendering_resolution == 12
