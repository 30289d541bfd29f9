import numpy as np
import torch

from eg3d.metrics.pose import angles_of_label
from eg3d.world.rendered_sets import camera_label
from eg3d.world.views_of_persons import VIEWS, draw_view, render_people, rolled


def test_views_of_a_person_share_the_head_and_nothing_else():
    (a, label_a, gaze_a), (b, label_b, gaze_b) = draw_view(0, "people"), draw_view(VIEWS - 1, "people")
    other, _, _ = draw_view(VIEWS, "people")
    changing = {"light", "ambient", "background", "background_slope", "shirt"}
    for name in vars(a):
        assert (getattr(a, name) == getattr(b, name)) == (name not in changing), name
    assert a.chin != other.chin and a.name != other.name
    assert not np.allclose(label_a, label_b) and not np.allclose(gaze_a, gaze_b)


def test_people_of_training_and_test_differ_from_the_generators():
    chins = {split: {draw_view(i * VIEWS, split)[0].chin for i in range(50)} for split in ("people", "test", "faces")}
    assert not chins["people"] & chins["test"] and not chins["people"] & chins["faces"]


def test_a_view_depends_on_its_place_alone():
    few, more = render_people("people", 1, views=2, size=16), render_people("people", 2, views=2, size=16)
    assert (few.images == more.images[:2]).all() and more.person.tolist() == [0, 0, 1, 1]
    assert more.points.shape == (4, 5, 2) and ((more.points > 0) & (more.points < 1)).all()


def test_rolling_turns_the_camera_about_its_axis_only():
    label = camera_label(0.4, -0.2)
    turned = rolled(label, 0.15)
    assert np.allclose(turned[[2, 3, 6, 7, 10, 11]], label[[2, 3, 6, 7, 10, 11]])  # forward axis and position
    roll = angles_of_label(torch.from_numpy(np.stack([label, turned])))[:, 2]
    assert abs(abs(float(roll[1] - roll[0])) - 0.15) < 0.01
