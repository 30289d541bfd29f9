"""Pictures sorted by GFAS: rendered once, scored once, named together at the end."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_networks import tiny_estimator, tiny_gaze_network, tiny_generator

import eg3d.gen_good_samples
from eg3d.checkpoints.loading import save_snapshot
from eg3d.gen_good_samples import main
from eg3d.metrics.gfas import GazeTally, gaze_face_alignment
from eg3d.pictures.layout import side_by_side, to_uint8
from eg3d.pictures.views import render_views
from l2cs.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze networks here are random
SEEDS = list(range(7))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder / "gaze.safetensors", tiny_gaze_network(0), half=False)
    save_snapshot(folder / "G.safetensors", {"G_ema": tiny_generator()}, {})
    return folder


@pytest.fixture(scope="module")
def scores():
    return gaze_face_alignment(render_views(tiny_generator(), SEEDS), tiny_estimator(0)).per_seed_mse_sum


def run(files, outdir, *more):
    options = [
        f"--network={files / 'G.safetensors'}",
        f"--l2cs-path={files / 'gaze.safetensors'}",
        f"--outdir={outdir}",
    ]
    return CliRunner().invoke(main, [*options, "--seeds=0-6", "--batch=2", "--device=cpu", *more])


def test_pictures_are_named_by_rank_and_hold_the_three_views_of_their_seed(files, scores, tmp_path):
    result = run(files, tmp_path, f"--json={tmp_path / 'x.json'}")
    assert result.exit_code == 0, result.output + result.stderr
    order = sorted(SEEDS, key=scores.get)
    assert order not in (SEEDS, SEEDS[::-1])  # or sorting would not show
    names = [f"sorted_{rank:04d}_seed{seed:04d}.png" for rank, seed in enumerate(order)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*names, "x.json"]
    assert json.loads((tmp_path / "x.json").read_text())["order"] == order
    pixels = np.asarray(Image.open(tmp_path / names[0])).astype(int)
    expected = side_by_side(to_uint8(next(render_views(tiny_generator(), order[:1])).images))
    assert pixels.shape == (32, 96, 3) and np.abs(pixels - expected).max() <= 1


def test_every_view_is_rendered_once_and_scored_once(files, tmp_path, monkeypatch):
    rendered, scored = [], []

    def counted(*args, **kwargs):
        for views in render_views(*args, **kwargs):
            rendered.extend(views.seeds)
            yield views

    class Counted(GazeTally):
        def add(self, batch):
            scored.extend(batch.seeds)
            return super().add(batch)

    monkeypatch.setattr(eg3d.gen_good_samples, "render_views", counted)
    monkeypatch.setattr(eg3d.gen_good_samples, "GazeTally", Counted)
    assert run(files, tmp_path).exit_code == 0
    assert rendered == scored == [seed for seed in SEEDS for _ in range(3)]


def test_a_second_run_replaces_the_pictures_of_the_first_and_no_other_file(files, tmp_path):
    assert run(files, tmp_path).exit_code == 0
    (tmp_path / "sorted_notes.png").write_bytes(b"mine")
    result = run(files, tmp_path, "--seeds=3-5")
    assert result.exit_code == 0 and "in place of 7 of an earlier run" in result.stdout
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 4 and names[-1] == "sorted_notes.png"


def test_a_run_that_fails_leaves_the_earlier_pictures(files, tmp_path, monkeypatch):
    assert run(files, tmp_path).exit_code == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def broken(*args, **kwargs):
        yield from list(render_views(*args, **kwargs))[:2]
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(eg3d.gen_good_samples, "render_views", broken)
    result = run(files, tmp_path, "--seeds=10-20")
    assert result.exit_code == 2 and "the disk is full" in result.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--seeds=1,1"], "the seed 1 is given twice"),
        ([f"--outdir={__file__}"], "--outdir"),
        (["--l2cs-path=nowhere.pkl"], "nowhere.pkl"),
        (["--network=nowhere.pkl"], "nowhere.pkl"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(files, tmp_path, more, text):
    result = run(files, tmp_path / "out", *more)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and text in result.stderr
    assert not (tmp_path / "out").exists()
