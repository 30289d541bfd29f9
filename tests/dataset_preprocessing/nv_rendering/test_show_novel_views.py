"""The whole way, from photos of a world to views, with known truth."""

import json

import numpy as np
import pytest
from PIL import Image

from dataset_preprocessing.nv_rendering.view_settings import read_settings
from dataset_preprocessing.nv_rendering.world_views import yaml_of
from l2cs.view_files import ViewFile


def test_the_settings_of_a_world_are_read(tmp_path):
    (tmp_path / "config_path.yaml").write_text(yaml_of(5))
    settings = read_settings(tmp_path / "config_path.yaml")
    assert settings.model.target_pose.number_new_views == 5 and settings.model.light.directional == (0, 0.5)
    assert settings.supplementary.mpii.source == str(tmp_path / "photos/supplementary/mpii/source_supply")


@pytest.mark.slow
def test_labels_of_a_world_are_true_and_there_is_a_sheet(tmp_path, run_script):
    script, out = "dataset_preprocessing/nv_rendering/show_novel_views.py", tmp_path / "nv"
    options = [f"--outdir={out}", "--people=2", "--photos=1", "--views=3", "--workers=1", f"--json={out}.json"]
    done = run_script(script, *options)
    assert done.code == 0, done.stderr
    report = json.loads((tmp_path / "nv.json").read_text())
    assert report["gaze_worst_deg"] < 0.1 and report["head_worst_deg"] < 0.1
    sheet = np.asarray(Image.open(out / "sheet.png"))
    assert sheet.shape[1] == 5 * 112
    # The mesh is drawn where the photo shows the head.
    photo, mesh = (sheet[25:137, left : left + 112].astype(float) for left in (0, 112))
    assert np.abs(photo[30:90, 30:80] - mesh[30:90, 30:80]).mean() < 12
    with ViewFile(out / "views/full/p01.h5") as file:
        assert len(file) == 3 and file.masks([0]).any()
    assert "0 sources made, 2 found done" in run_script(script, *options).stdout
