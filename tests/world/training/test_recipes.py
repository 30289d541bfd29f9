"""What `make embedded` asks of the scripts."""

import pytest
from click.testing import CliRunner

from eg3d import make_embedded
from eg3d.config.flags import resolve
from eg3d.world.training.recipes import CONTROL
from groundwork.files import REPOSITORY


def test_the_recipe_of_the_eye_field_is_the_one_of_its_page_and_a_run_can_have_it():
    page = (REPOSITORY / "docs" / "eye_field.md").read_text()
    for setting, value in CONTROL.items():
        assert f"--{setting.replace('_', '-')}={str(value).removesuffix('.0')} " in page
    config = resolve("embedded", data="x", resume="embedded-base", **CONTROL)
    assert config.control.on and config.control.second_camera and config.gaze.weight == 24


@pytest.mark.parametrize("world", ["cartoons", "people"])
def test_the_stage_of_the_eye_field_trains_by_its_recipe(world, monkeypatch, tmp_path):
    asked = []

    def noted(cfg, outdir, flags, log):
        asked.extend(flags)
        raise ValueError("enough")

    monkeypatch.setattr(make_embedded, "train_generator", noted)
    result = CliRunner().invoke(
        make_embedded.main, [f"--world={world}", "--stages=control", f"--workdir={tmp_path}", "--control-kimg=3"]
    )
    assert result.exit_code and "enough" in result.output
    base = {"cartoons": "embedded-base", "people": "people-base"}[world]
    wanted = {"--gaze-camera-d=True", "--gaze-loss=euclid", "--gaze-rig=20.0", f"--resume={base}", "--kimg=3.0"}
    assert wanted <= set(asked)
