"""What a generator draws, and that networks of the embedded world never judge photos unasked."""

import json
import math
from types import SimpleNamespace

import pytest
import small_set
from click.testing import CliRunner
from tiny_networks import tiny_generator

from dataset_preprocessing.ffhq import pose_estimators
from eg3d import calc_all, calc_id
from eg3d.checkpoints.loading import GENERATORS, save_snapshot
from eg3d.metrics.identity import IdentityNetwork
from eg3d.metrics.network_file import load_network
from eg3d.ops.kernels.backend import available
from eg3d.scores import judges
from eg3d.scores.judges import FILES
from eg3d.scores.origin import drawn_world, trained_on
from groundwork.files import WORLD_WEIGHTS

FACTS = {
    "photos": {"published": {"training_set_kwargs": {"path": "FFHQ_512.zip"}, "augment_pipe": None}},
    "tuned": {"preset": "ffhq", "dataset": {"name": "140"}},
    "world": {"preset": "ffhq", "dataset": {"name": "embedded"}},
    "people": {"preset": "people", "dataset": {"name": "people"}},
    "start": {"preset": "people-64", "dataset": {"name": "small.zip"}},
    "own": {"preset": "embedded", "dataset": {"name": "faces.zip"}},
    "bare": {},
}
CALLS = {
    calc_id: ["--seeds=0", "--landmarks=template", "--json=score.json"],
    calc_all: ["--seeds=0", "--landmarks=template", "--num-gen=4", "--data=data", "--json=score.json"],
}
ASKED = {calc_id: ["--arcface-weights"], calc_all: ["--l2cs-path", "--arcface-weights", "--recon-weights"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, facts in FACTS.items():
        save_snapshot(folder / f"{name}.safetensors", {"G_ema": tiny_generator()}, facts)
    small_set.write_folder(folder / "data", small_set.members(4, side=32))
    return folder


def test_what_a_generator_draws(files):
    found = {name: drawn_world(str(files / f"{name}.safetensors"), 32) for name in FACTS}
    assert found == {
        "photos": "", "tuned": "", "world": "embedded", "people": "people", "own": None, "start": None, "bare": None,
    }  # fmt: skip
    assert {drawn_world(name, 64) for name in ("embedded", "embedded-base")} == {"embedded"}
    assert {drawn_world(name, 128) for name in ("people", "people-base")} == {"people"}
    assert trained_on("people") == trained_on("people-base") == "people"
    sizes = {"bare": (64, 512), "own": (64, 128), "start": (128, 256)}  # the largest of the world, and one beyond it
    for name, (largest, beyond) in sizes.items():
        network = str(files / f"{name}.safetensors")
        assert drawn_world(network, largest) is None and drawn_world(network, beyond) == ""


@pytest.mark.parametrize(("data", "expected"), [("embedded", "embedded"), ("people", "people"), ("FFHQ_512.zip", None)])
def test_the_folder_of_a_run_tells_too(data, expected, files, tmp_path):
    (tmp_path / "training_options.json").write_text(json.dumps({"data": {"path": data}}))
    (tmp_path / "G.safetensors").write_bytes((files / "bare.safetensors").read_bytes())
    assert drawn_world(str(tmp_path / "G.safetensors"), 32) == expected


@pytest.fixture
def run(files, tmp_path, monkeypatch):
    available("cpu")  # compiled kernels, before the cache moves: building them takes seconds
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pose_estimators, "MOST_DISAGREEMENT", math.inf)  # random pictures have no face
    monkeypatch.chdir(files)
    (files / "score.json").unlink(missing_ok=True)

    def run(script, network, *more):
        options = [f"--network={network}.safetensors", "--device=cpu", *CALLS[script], *more]
        return CliRunner().invoke(script.main, options)

    return run


@pytest.mark.parametrize("script", CALLS)
@pytest.mark.parametrize("network", ["photos", "tuned"])
def test_photos_are_not_judged_by_networks_of_the_embedded_world_unasked(script, network, run, files):
    result = run(script, network)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == 2 and not result.stdout and not (files / "score.json").exists()
    for flag in ASKED[script]:  # where the file comes from, and how to do it anyway
        assert f"{flag}={FILES[flag]}" in line and f"{flag}=embedded" in line
    asked = run(script, network, *(f"{flag}=embedded" for flag in ASKED[script]))
    assert asked.exit_code == 0 and "draw" not in asked.stderr, asked.output


@pytest.mark.parametrize("script", CALLS)
def test_a_warning_where_nothing_tells_and_none_where_it_is_the_embedded_world(script, run):
    result = run(script, "bare")
    warnings = [line for line in result.stderr.splitlines() if "nothing tells whether bare.safetensors" in line]
    assert result.exit_code == 0 and len(warnings) == 1, result.output
    assert "nothing tells" not in run(script, "world").stderr


def test_an_embedded_network_that_is_not_made_yet_is_one_line_that_says_how(monkeypatch, tmp_path):
    monkeypatch.setitem(GENERATORS, "people-base", WORLD_WEIGHTS / "people_not_made.safetensors")
    result = CliRunner().invoke(calc_id.main, ["--network=people-base", "--seeds=0"])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "people_not_made.safetensors: there is no such file; `make embedded WORLD=people` trains it" in result.stderr
    with pytest.raises(ValueError, match="not-made.safetensors: there is no such file; `make embedded` trains it"):
        load_network(WORLD_WEIGHTS / "not-made.safetensors", "identity")


@pytest.mark.parametrize("network", ["world", "people"])
def test_what_is_left_out_of_calc_all_follows_the_world(network, run, monkeypatch):
    asked = []
    monkeypatch.setattr(calc_all, "load_judges", lambda gaze, world, **of: asked.append((gaze, world)))
    monkeypatch.setattr(calc_all, "open_dataset_for", lambda data, *of, **more: asked.append(data) or 1 / 0)
    monkeypatch.setitem(CALLS, calc_all, ["--seeds=0", "--num-gen=4"])
    run(calc_all, network)
    world = {"world": "embedded"}.get(network, network)
    assert asked == [((f"{world}-judge", world), world), world]


@pytest.mark.parametrize(("judge", "warned"), [("embedded-judge", True), ("people-judge", False)])
def test_a_gaze_network_of_another_world_is_warned_of(judge, warned, files, monkeypatch, capsys):
    monkeypatch.setattr(judges, "load_gaze_network", lambda *of: SimpleNamespace(sha256="0"))
    judges.load_gaze_judges({"l2cs_path": judge}, [str(files / "people.safetensors")], "cpu")
    said = f"draws the world people, whose heads --l2cs-path={judge} has never seen; let people-judge judge it"
    assert (said in capsys.readouterr().err) == warned


@pytest.mark.parametrize("network", ["embedded", "people"])
def test_heads_of_a_world_are_judged_by_its_own_networks(network, monkeypatch):
    asked = []
    monkeypatch.setattr(IdentityNetwork, "load", lambda *given: asked.append(given[0]))
    monkeypatch.setattr(judges, "load_source", lambda *given: asked.append(given[:2]))
    judges.load_identity_judge(None, None, network, "cpu")
    assert asked == [network, (network, network)]
    asked.clear()
    judges.load_identity_judge("file.pth", None, network, "cpu")
    assert asked == ["file.pth", ("template", network)]  # points of that world's mean face
