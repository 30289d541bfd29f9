import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import FFHQ_FOV_DEG, fov_to_intrinsics, lookat_pose, make_label
from eg3d.metrics.gfas import gaze_face_alignment, gaze_face_alignments, slope_with_error
from l2cs.estimator import GazeAngles

LABELS = make_label(lookat_pose([0.4, 0.0, -0.4], [-0.2] * 3), fov_to_intrinsics(FFHQ_FOV_DEG))


def batch(seeds):
    """Views whose `images` are their labels, so that a stand-in estimator can know the truth."""
    labels = LABELS.repeat(len(seeds), 1)
    return SimpleNamespace(
        images=labels, labels=labels, seeds=[s for s in seeds for _ in range(3)], camera=[0, 1, 2] * len(seeds)
    )


class Follows:
    """Estimates `share` of yaw* and pitch*: 0 looks into every camera, 1 along the face."""

    sha256 = "f" * 64

    def __init__(self, share, facts=None):
        self.share, self.facts = share, facts or {}

    def __call__(self, labels):
        target = gaze_target(labels)
        return GazeAngles(self.share * target.yaw, self.share * target.pitch)


def test_eyes_on_the_camera_score_the_values_worked_out_by_hand():
    report = gaze_face_alignment([batch([0, 1]), batch([2])], Follows(0))
    assert report.gfas_legacy == pytest.approx(0.24490, abs=6e-6)
    assert report.gfas_mse_sum == pytest.approx(0.21401, abs=6e-6)
    assert report.gfas_eq1 == pytest.approx(0.34743, abs=6e-6)
    assert report.slope == pytest.approx(0, abs=1e-6)
    assert report.seeds == 3


def test_eyes_along_the_face_score_zero_and_slope_one():
    report = gaze_face_alignment([batch([0, 1])], Follows(1))
    assert report.gfas_mse_sum == pytest.approx(0, abs=1e-10)
    assert report.gfas_eq1 == pytest.approx(0, abs=1e-6)
    assert report.angular_error_deg == pytest.approx(0, abs=1e-3)
    assert report.slope == pytest.approx(1, abs=1e-6)
    assert report.gfas_legacy == pytest.approx(0.16228, abs=6e-6)  # the published targets punish it


def test_half_way_eyes_have_slope_one_half_and_a_quarter_of_the_mean_squares():
    report = gaze_face_alignment([batch([0, 1])], Follows(0.5))
    assert report.slope == pytest.approx(0.5, abs=1e-6)
    assert report.gfas_mse_sum == pytest.approx(0.21401 / 4, abs=2e-6)


class Skewed:
    """Follows the face by 0.3 in yaw and by 0.9 in pitch."""

    def __call__(self, images):
        target = gaze_target(images)
        return GazeAngles(0.3 * target.yaw, 0.9 * target.pitch)


def test_slope_is_that_of_yaw_whatever_pitch_does():
    assert gaze_face_alignment([batch([0, 1])], Skewed()).slope == pytest.approx(0.3, abs=1e-6)


def test_angular_error_is_the_angle_between_the_directions():
    """The frontal camera, 0.1378 rad above the face: eyes on the camera are off by just that."""
    report = gaze_face_alignment([batch([0])], Follows(0))
    assert report.views[1]["angular_error_deg"] == pytest.approx(math.degrees(0.1378), abs=0.01)


class PerSeed:
    """Looks into the camera in the first seed's views and along the face in the second's."""

    def __call__(self, labels):
        target, share = gaze_target(labels), torch.tensor([0.0] * 3 + [1.0] * 3)
        return GazeAngles(share * target.yaw, share * target.pitch)


def test_standard_errors_are_over_seeds():
    report = gaze_face_alignment([batch([5, 9])], PerSeed())
    assert report.per_seed_mse_sum == pytest.approx({5: 0.21401, 9: 0.0}, abs=6e-6)
    assert report.gfas_mse_sum == pytest.approx(0.21401 / 2, abs=6e-6)
    assert report.gfas_mse_sum_se == pytest.approx(0.21401 / 2, abs=6e-6)  # sd of (a, 0) is a / sqrt(2)
    assert report.gfas_eq1_se == pytest.approx(0.34743 / 2, abs=6e-6)
    assert gaze_face_alignment([batch([5])], Follows(0)).gfas_mse_sum_se is None


def test_per_view_values_keep_the_views_apart():
    views = gaze_face_alignment([batch([0, 1])], Follows(0)).views
    assert [v["yaw_target"] for v in views] == pytest.approx([0.4348, 0, -0.4348], abs=6e-5)
    assert [v["pitch_target"] for v in views] == pytest.approx([-0.1243, -0.1378, -0.1243], abs=6e-5)
    assert sum(v["mse"] for v in views) == pytest.approx(0.21401, abs=6e-6)
    assert [v["legacy"] for v in views] == pytest.approx([0.11245, 0.02, 0.11245], abs=6e-6)


def test_two_networks_judge_the_same_views_and_views_are_consumed_once():
    views = iter([batch([0]), batch([1])])
    reports = gaze_face_alignments(views, {"a": Follows(0), "b": Follows(1, {"painted_eyes_slope": 0.07})})
    assert reports["a"].slope == pytest.approx(0, abs=1e-6)
    assert reports["b"].slope == pytest.approx(1, abs=1e-6)
    assert reports["a"].slope_painted_eyes is None
    assert reports["b"].slope_painted_eyes == 0.07
    assert "not measured" in reports["a"].lines()[-1]
    assert "0.070" in reports["b"].lines()[-1]


def test_report_is_plain_json_with_the_network_that_judged():
    plain = json.loads(json.dumps(gaze_face_alignment([batch([0])], Follows(0)).to_dict(), allow_nan=False))
    assert plain["gaze_network"] == "f" * 64
    assert plain["seeds"] == 1
    assert plain["slope_se"] is None


def test_scores_refuse_no_seed_and_a_seed_given_twice():
    with pytest.raises(ValueError, match="at least one seed"):
        gaze_face_alignment([], Follows(0))
    with pytest.raises(ValueError, match="every seed once"):
        gaze_face_alignment([batch([3, 3])], Follows(0))


def test_slope_ignores_a_constant_offset():
    x = np.tile([0.4, 0.0, -0.4], 4)
    slope, error = slope_with_error(x, 0.3 * x + 0.2, np.repeat(np.arange(4), 3))
    assert slope == pytest.approx(0.3)
    assert error == pytest.approx(0, abs=1e-12)


def test_slope_error_follows_the_seeds_not_the_number_of_views():
    """Seeds with slopes of their own around 0.3: the error is that of their mean, however many views each has."""
    slopes = np.random.default_rng(0).normal(0.3, 0.1, 200)

    def measure(views):
        x = np.tile(np.linspace(-0.4, 0.4, views), len(slopes))
        return slope_with_error(x, np.repeat(slopes, views) * x, np.repeat(np.arange(len(slopes)), views))

    for views in (3, 30):
        slope, error = measure(views)
        assert slope == pytest.approx(slopes.mean())
        assert error == pytest.approx(slopes.std(ddof=1) / math.sqrt(len(slopes)), rel=0.01)


def test_slope_is_undefined_without_spread_in_yaw():
    assert slope_with_error(np.zeros(6), np.arange(6.0), np.repeat([0, 1], 3)) == (None, None)


class Blind(Follows):
    """Finds no face in one view of the first head."""

    def __call__(self, labels):
        found = super().__call__(labels)
        nothing = torch.arange(len(labels)) == 1
        return GazeAngles(*(angle.masked_fill(nothing, torch.nan) for angle in found))


def test_a_head_whose_face_is_missed_once_is_left_out_whole_and_counted():
    report = gaze_face_alignment([batch([5, 9])], Blind(0, {"limits": "yaw near the lens"}))
    whole = gaze_face_alignment([batch([9])], Follows(0))
    assert report.views_failed == 1 and report.seeds == 1 and list(report.per_seed_mse_sum) == [9]
    assert report.gfas_mse_sum == whole.gfas_mse_sum and report.slope == whole.slope
    *numbers, left_out, footnote = report.lines()
    assert all(line.endswith("   *") for line in numbers) and footnote == "* yaw near the lens"
    assert left_out == "pictures without a face     1   (all views of these heads are left out)"
    assert whole.views_failed == 0 and "without a face" not in "".join(whole.lines())


def test_a_network_that_finds_no_whole_head_gives_no_score():
    with pytest.raises(ValueError, match="finds no face in 1 of 3 pictures, so no head is left"):
        gaze_face_alignment([batch([5])], Blind(0))
