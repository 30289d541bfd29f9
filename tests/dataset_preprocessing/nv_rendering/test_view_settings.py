"""The YAML file of settings: the published keys, ours, and what is wrong with a file in one line."""

import numpy as np
import pytest

from dataset_preprocessing.nv_rendering.view_settings import as_facts, pattern_of, read_settings

PUBLISHED = """
data:
  mpii:
    raw: ./MPIIFaceGaze
    obj: /data/obj
  background_path: ./val_256
supplementary:
  mpii:
    source: ./supplementary/mpii/source_supply
    random_dark_ids: ./supplementary/mpii/random_dark_ids.txt
    random_lightings_ac: ./supplementary/mpii/random_lightings_ac.txt
    random_colors: ./supplementary/mpii/random_colors.txt
    random_bg_ids: ./supplementary/mpii/random_bg_ids.txt
    augmentation_ids: ./supplementary/mpii/augmentation_ids.txt
misc:
  mpii_face_model: ./supplementary/face_model.yml
  dlib_landmark_model: ./supplementary/shape_predictor_68_face_landmarks.dat
  openface_path: ./supplementary/OpenFace.txt
model:
  save_original_headpose: false
  target_pose:
    number_new_views: 16
    mode: xgaze-train
    headpose_file: ./targets/hp_train.npy
"""
SMALL = (
    "data: {mpii: {raw: a, obj: b}}\nmodel: {target_pose: {mode: gaussian}, variants: {picture: 0, picture_dark: 0}}"
)


def read(folder, text, *overrides):
    (folder / "config_path.yaml").write_text(text)
    return read_settings(folder / "config_path.yaml", overrides)


def test_the_published_file_is_read_and_its_paths_start_at_its_folder(tmp_path):
    settings = read(tmp_path, PUBLISHED)
    assert settings.data.mpii.raw == str(tmp_path / "MPIIFaceGaze") and settings.data.mpii.obj == "/data/obj"
    assert settings.model.target_pose.number_new_views == 16 and settings.model.target_pose.mode == "xgaze-train"
    assert settings.supplementary.mpii.augmentation_ids.endswith("supplementary/mpii/augmentation_ids.txt")
    assert not settings.legacy and settings.model.light.ambient == (0.25, 0.75)
    assert settings.model.variants.all == (0.1, 0.1, 0.1, 0.1, 0.3, 0.3)  # the paper's shares
    other = PUBLISHED.split("    number_new_views")[0] + (
        "    number_new_views: 1\n    mode: gaussian\n    sample_target_gaze: True\n    sigma: 20\n"
    )
    pose = read(tmp_path, other).model.target_pose
    assert (pose.mode, pose.sample_target_gaze, pose.sigma) == ("gaussian", True, 20)
    assert str(pattern_of(pose)) == "pattern gaussian, sigma 20 degrees of the gaze"


def test_overrides_win_and_their_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = read(
        tmp_path, SMALL, "model.target_pose.number_new_views=3", "data.mpii.raw=c", "legacy=false",
        "model.light.ambient=[0.5, 0.6]",
    )  # fmt: skip
    assert settings.model.target_pose.number_new_views == 3 and settings.model.light.ambient == (0.5, 0.6)
    assert settings.data.mpii.raw == str(tmp_path / "here" / "c") and settings.data.mpii.obj == str(tmp_path / "b")


def test_patterns_of_ours(tmp_path):
    def pattern(text):
        return pattern_of(read(tmp_path, SMALL.replace("mode: gaussian", text)).model.target_pose)

    draws = np.random.default_rng(0)
    angles = np.degrees([pattern("mode: range, pitch: [-5, 5], yaw: [30, 60]").draw(draws, 0) for _ in range(50)])
    assert np.abs(angles[:, 0]).max() <= 5 and 30 <= angles[:, 1].min() and angles[:, 1].max() <= 60
    listed = pattern("mode: list, number_new_views: 2, poses: [[1, 2], [-3, 40]]")
    assert np.allclose(np.degrees(listed.draw(draws, 1)), (-3, 40))
    grid = pattern("mode: grid, number_new_views: 4, pitch: [0, 10], yaw: [-20, 20]")
    assert np.allclose(np.degrees([grid.draw(draws, view) for view in range(4)]),
                       [(0, -20), (0, 20), (10, -20), (10, 20)])  # fmt: skip
    (tmp_path / "t.txt").write_text("0.1 0.2\n")
    assert np.allclose(pattern("mode: eyediap-cs, headpose_file: t.txt").draw(draws, 5), (0.1, 0.2))
    with pytest.raises(ValueError, match="number_new_views=16: the list has 1 poses"):
        pattern("mode: list, poses: [[1, 2]]")


@pytest.mark.parametrize(
    "text, said",
    [
        (SMALL.replace("mode:", "mod:"), "key model.target_pose.mod is unknown; did you mean model.target_pose.mode"),
        (SMALL + "\nlegcy: true", r"the key legcy is unknown; did you mean legacy\?"),
        (SMALL + "\nzzzqqq: 1", "the key zzzqqq is unknown; there are data, supplementary"),
        (SMALL.replace("gaussian", "gausian"), "model.target_pose.mode='gausian' is unknown: use xgaze-train"),
        (SMALL.replace("raw: a", "raw: 3"), "data.mpii.raw=3 must be a text"),
        (SMALL.replace("raw: a, ", ""), "the settings lack data.mpii.raw"),
        (SMALL.replace("mode: gaussian", "number_new_views: many"), "number_new_views='many' must be an integer"),
        (SMALL.replace("mode: gaussian", "mode: range"), "mode range needs pitch"),
        (SMALL.replace("mode: gaussian", "mode: eyediap-ft"), "mode eyediap-ft needs model.target_pose.headpose_file"),
        (SMALL.replace("picture: 0, ", ""), "the settings lack data.background_path"),
        (SMALL.replace("picture: 0", "picture: .nan"), "model.variants must be shares"),
        (SMALL + "\nlegacy: true", "legacy needs misc.openface_path"),
        (SMALL + "\noutput: {side: 4000}", "output.side=4000 must be from 16 to 1024"),
        (SMALL + "\noutput: {drawn: 100}", "output.drawn=100 must be from 224 to 2048"),
        (SMALL + "\nmodel: {}", "the name 'model' stands there twice"),
        ("a: &x [1]\nb: *x", "holds an alias"),
        ("data: [unclosed", "is no YAML .*line 1"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
        ("just text", "it must hold names with values"),
        ("[" * 5000, "nested too deep"),
        ("", "the configuration lacks data"),
        ("\0", "is no YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path, text, said):
    with pytest.raises(ValueError, match=said) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "config_path.yaml")) and "\n" not in str(error.value)


def test_a_wrong_override_is_named(tmp_path):
    for override, said in (
        ("model.target_pose.sigm=3", "--set model.target_pose.sigm=3: the key .*did you mean model.target_pose.sigma"),
        ("legacy", "--set legacy: is no KEY=VALUE"),
        ("data.background_path=", "has no value; to take a file or folder out write data.background_path='\"\"'"),
        ("model=3", "--set model=3: model must hold names"),
    ):
        with pytest.raises(ValueError, match=said):
            read(tmp_path, SMALL, override)


def test_facts_are_flat_and_plain(tmp_path):
    facts = as_facts(read(tmp_path, SMALL))
    assert facts["model.light.ambient"] == [0.25, 0.75] and facts["model.target_pose.mode"] == "gaussian"
