"""Ways of eyes: degrees to codes by a fitted map, corners of a path, alphas, and frames of a moved face."""

import dataclasses

import numpy as np
import pytest
import torch
from known_eyes import grey, lids_at

from redirection.gaze_animation.animator_file import EMBEDDED, open_animator, read_networks, save_animator
from redirection.gaze_animation.calibrating import as_shown
from redirection.gaze_animation.eye_paths import Calibration, along, alphas_of, path_of
from redirection.gaze_animation.gaze_animator import AnimatorConfig, GazeAnimator
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.portrait_truth import Truth
from redirection.gaze_animation.whole_faces import FaceEyes, Fates

TRUE = np.array([[0.03, -0.01], [0.02, 0.05]])


def test_the_map_from_degrees_to_codes_is_found_again_and_undone():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-20, 20, (200, 2))
    camera = rng.normal(0, 3, angles.shape)
    found = Calibration.fit(angles @ TRUE.T + camera, camera, angles)
    assert found.code_per_degree == pytest.approx(TRUE.ravel()) and max(found.rmse_deg) < 1e-9 and found.faces == 200
    assert found.code_at_camera is None
    noisy = Calibration.fit(angles @ TRUE.T + camera + rng.normal(0, 0.05, angles.shape), camera, angles)
    assert noisy.code_per_degree == pytest.approx(TRUE.ravel(), abs=2e-3) and max(noisy.rmse_deg) > 0.5
    asked = torch.tensor([[10.0, -4.0], [0.0, 7.0]])
    assert torch.allclose(found.angles(found.codes(asked)), asked, atol=1e-4)
    assert found.codes(asked)[0].numpy() == pytest.approx(TRUE @ [10, -4], abs=1e-6)


def test_codes_that_do_not_follow_the_gaze_are_refused():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-20, 20, (50, 2))
    with pytest.raises(ValueError, match="too few to calibrate"):
        Calibration.fit(angles[:5], 0 * angles[:5], angles[:5])
    with pytest.raises(ValueError, match="do not follow the gaze"):
        Calibration.fit(np.zeros((50, 2)), np.zeros((50, 2)), angles)
    with pytest.raises(ValueError, match="do not follow the gaze"):
        Calibration.fit(angles, 0 * angles, angles * (1, 0))


def test_codes_that_are_degrees_are_counted_from_one_code_of_the_camera_and_not_from_what_each_correction_misses():
    rng = np.random.default_rng(0)
    angles, misses = rng.uniform(-20, 20, (200, 2)), rng.normal(0, 0.1, (200, 2))
    start = np.array([0.3, -0.2])
    found = Calibration.fit(angles @ TRUE.T + start, start + misses, angles)
    assert found.code_at_camera == pytest.approx(start) and found.code_per_degree == pytest.approx(TRUE.ravel())
    camera, asked = (torch.tensor([one]).double() for one in ([5.0, 7.0], [10.0, 0.0]))
    assert found.code(asked, camera)[0].numpy() == pytest.approx(start + TRUE @ [10, 0])
    own = Calibration(found.code_per_degree, (1.0, 1.0), 30)
    assert own.code(asked, camera)[0].numpy() == pytest.approx([5, 7] + TRUE @ [10, 0])


def test_a_path_goes_through_its_corners_at_one_speed():
    corners = path_of("0,0 -10,0 -10,5")
    way = along(corners, 16)
    assert way[0].tolist() == [0, 0, 0] and way[10] == pytest.approx([-10, 0, 0]) and way[-1].tolist() == [-10, 5, 0]
    assert np.linalg.norm(np.diff(way, axis=0), axis=1) == pytest.approx(np.ones(15))
    assert along(corners[:1], 3).tolist() == [[0, 0, 0]] * 3 and along(corners, 1).tolist() == [[-10, 5, 0]]
    own = along(path_of("gaze 0,0 15,0"), 5)
    assert own.tolist() == [[0, 0, 1], [0, 0, 0.5], [0, 0, 0], [7.5, 0, 0], [15, 0, 0]]


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "nan,0", "0,90", "0;0"])
def test_a_path_that_is_none_is_one_line(text):
    with pytest.raises(ValueError, match="--path"):
        path_of(text)


def test_alphas():
    assert alphas_of("0,0.5,1").tolist() == [0, 0.5, 1] and alphas_of("0:1.4:15") == pytest.approx(np.arange(15) / 10)
    for text in ("", "a", "0:1", "0:1:0", "0:1:x", "nan", "11", "0:1:99999999"):
        with pytest.raises(ValueError, match="--alpha"):
            alphas_of(text)


def test_frames_show_the_codes_that_were_asked_for(painter):
    picture, face = grey(), dataclasses.replace(FaceEyes.of_lids(lids_at(160, 100)), lids=None)
    x, y = face.eyes[0].astype(int)

    def codes(frames):
        return [frame[y, x, :2] / 127.5 - 1 for frame in frames]

    calibration, fates = Calibration(tuple(TRUE.ravel().tolist()), (1.0, 1.0), 30), Fates()
    frames = moved_frames(
        picture, [face], painter, np.array([[0.0, 0.0], [10.0, 0.0], [0.0, -5.0]]), calibration, fates
    )
    camera = np.array([0.1, 0.2])
    expected = [camera, camera + TRUE @ [10, 0], camera + TRUE @ [0, -5]]
    assert np.array(codes(frames)) == pytest.approx(np.array(expected), abs=0.01) and fates.painted == 1
    there = np.array([0.5, 0.0])  # the code of the photo's own gaze
    own = codes(moved_frames(picture, [face], painter, np.array([(0, 0, 1.0), (0, 0, 0.5)]), calibration, Fates()))
    assert np.array(own) == pytest.approx(np.array([there, (there + camera) / 2]), abs=0.01)
    by_alpha = codes(moved_frames(picture, [face], painter, np.array([0.0, 1.0, 1.5]), None, Fates()))
    assert np.array(by_alpha) == pytest.approx(np.array([[0.5, 0], [0.1, 0.2], [-0.1, 0.3]]), abs=0.01)


class KnownPortraits:
    """Faces of 160 px whose corner pixel says which one it is."""

    domain, eyes = "0", np.array([[55.0, 70.0], [105.0, 70.0]])
    names = [str(i) for i in range(24)]

    def batch(self, rows, size):
        picture = np.full((160, 160, 3), 120, np.uint8)
        picture[0, 0] = rows[0]
        return torch.from_numpy(picture).permute(2, 0, 1)[None], torch.from_numpy(self.eyes)[None]


def test_a_map_is_enlarged_until_painted_eyes_show_what_is_asked_whatever_the_slope_of_the_reader(painter):
    rng, camera, slope = np.random.default_rng(1), np.array([0.1, 0.2]), 0.8
    truth = {("0", str(i)): Truth(i, *rng.uniform(-12, 12, 2), 0, 0, 0) for i in range(24)}
    shows = np.diag([0.5, 0.25]) @ np.linalg.inv(TRUE)  # painted eyes lag behind their codes

    def reader(picture, eyes):
        x, y = eyes[0].astype(int)
        code = picture[y, x, :2] / 127.5 - 1
        own = truth["0", str(picture[0, 0, 0])].gaze if picture[y, x, 0] == picture[y, x, 2] == 120 else None
        return tuple(slope * (shows @ (code - camera) if own is None else np.array(own)))

    before = Calibration(tuple(TRUE.ravel().tolist()), (1.0, 1.0), 30)
    after, slopes = as_shown(painter, before, KnownPortraits(), truth, reader, 24, 0)
    assert slopes == pytest.approx([0.5, 0.25], abs=0.02)
    asked = np.array([8.0, -6.0])
    code = after.codes(torch.from_numpy(asked)[None])[0].numpy()
    assert shows @ code == pytest.approx(asked, abs=0.3)
    assert np.linalg.norm(shows @ before.codes(torch.from_numpy(asked)[None])[0].numpy() - asked) > 3
    with pytest.raises(ValueError, match="of the yaw asked for"):
        as_shown(
            painter,
            before,
            KnownPortraits(),
            truth,
            lambda picture, eyes: truth["0", str(picture[0, 0, 0])].gaze,
            24,
            0,
        )
    with pytest.raises(ValueError, match="reads 0 of 24 faces"):
        as_shown(painter, before, KnownPortraits(), truth, lambda *_: (np.nan, 0.0), 24, 0)


CONFIG = AnimatorConfig(size=32, ngf=2, nef=2, n_layers_g=2, n_layers_e=2, n_layers_r=2, own=4, content=4)


def test_weights_keep_their_map_and_one_that_cannot_be_read_is_one_line(tmp_path):
    animator, path = GazeAnimator(CONFIG), tmp_path / "weights.safetensors"
    calibration = Calibration((1.0, 0.5, 0.0, 2.0), (1.0, 2.0), 40, (0.5, -0.25), (0.1, -2.0))
    save_animator(path, animator, {"steps": 3}, calibration)
    again, found = open_animator(path)
    assert found == calibration and read_networks(path)[1]["steps"] == 3 and again.config == CONFIG
    assert all((a.half() == b.half()).all() for a, b in zip(animator.parameters(), again.parameters(), strict=True))
    plain = {"code_per_degree": [1, 0, 0, 1], "rmse_deg": [1, 1], "faces": 30}
    for broken in (plain | {"code_per_degree": [1, 0, 0, 0]}, {"faces": 1}, "no", plain | {"painted_reads": [0.0] * 6}):
        save_animator(path, animator, {"steps": 3, "calibration": broken})
        with pytest.raises(ValueError, match="calibration cannot be read .*; calibrate the weights again"):
            open_animator(path)
        networks, facts = read_networks(path)  # whoever calibrates again needs no older map
        save_animator(path, networks, facts, calibration)
        assert open_animator(path)[1] == calibration and read_networks(path)[1]["steps"] == 3


def test_weights_that_have_a_name_are_there():
    assert all(path.is_file() for path in EMBEDDED.values())
