"""calc_all.py: the same numbers as the single scripts, one table, and refusals."""

import json
from types import SimpleNamespace

import pytest
import small_set
import torch
from click.testing import CliRunner

from eg3d import calc_all, calc_gaze_control, calc_gfas, calc_id
from eg3d.scores import table as all_scores
from eg3d.scores.judges import Judges
from groundwork.files import WORLD_WEIGHTS, sha256
from l2cs.estimator import GazeEstimator

SEEDS = "0-3"
FEW = ["--seeds", SEEDS, "--num-gen=30", "--l2cs-path=embedded-judge", "--device=cpu"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    data = small_set.write_folder(folder / "data", small_set.members(24, side=64))
    paths = [f"--data={data}", f"--json={folder / 'all.json'}", f"--markdown={folder / 'all.md'}"]
    done = run(calc_all.main, "--network=embedded-base", "--network=embedded", *FEW, *paths)
    assert done.exit_code == 0, done.output
    return done.output, json.loads((folder / "all.json").read_text()), (folder / "all.md").read_text()


def scores(report, network):
    return {row["name"]: row for row in report["networks"][network]["scores"]}


def test_one_line_a_score_and_one_column_a_network(both):
    output, report, markdown = both
    assert [*report["networks"]] == ["embedded-base", "embedded"]
    names = [*scores(report, "embedded")]
    assert names == [*scores(report, "embedded-base")]
    assert {"id_similarity", "pose_mse", "fd_embedded", "kd_embedded", "pr_embedded_recall"} <= set(names)
    assert {"gfas_legacy (embedded-judge)", "gfas_eq1 (embedded-judge)", "pose_legacy25"} <= set(names)
    for name in names:
        assert sum(line.startswith(name + "  ") for line in output.splitlines()) == 1
        assert f"| {name} |" in markdown
    assert markdown.splitlines()[0] == "| score | better | embedded-base | embedded |"


@pytest.mark.slow
def test_a_network_whose_gaze_can_be_set_has_rows_of_its_own(tmp_path):
    data = small_set.write_folder(tmp_path / "data", small_set.members(24, side=64))
    names, found = ["--network=embedded-control", "--network=embedded-base"], tmp_path / "found.json"
    few = ["--seeds=0,1", "--num-gen=8", "--l2cs-path=embedded-judge", "--device=cpu", f"--data={data}"]
    done = run(calc_all.main, *names, *few, f"--json={found}")
    assert done.exit_code == 0, done.output
    with_eyes, without = (scores(json.loads(found.read_text()), name) for name in ("embedded-control", "embedded-base"))
    rows = {name: (row["value"], without[name]["value"]) for name, row in with_eyes.items() if "as asked" in name}
    assert len(rows) == 4 and {value for _, value in rows.values()} == {None}
    single = run(calc_gaze_control.main, "--network=embedded-control", "--seeds=0,1", "--device=cpu", f"--json={found}")
    assert single.exit_code == 0, single.output
    report = json.loads(found.read_text())
    assert rows["gaze as asked, error in degrees"][0] == pytest.approx(report["control"]["angular_error_deg"], abs=1e-3)
    assert rows["gaze as asked, slope of pitch"][0] == pytest.approx(report["control"]["slope_pitch"], abs=1e-4)
    alike = with_eyes["identity with the base's picture"]["value"]
    assert alike == pytest.approx(report["identity_with_base"], abs=1e-5)


def test_the_table_says_how_many_pictures_it_rests_on_and_which_networks_judged(both):
    judge = GazeEstimator.load("embedded-judge", "cpu").sha256[:12]
    wanted = ("Distances: 30 pictures each, to 24 real ones, embedded-features-v1 (", "The rest: 4 heads;",
              f"({judge})", "identity by embedded v1 (", "pose by embedded pose network v1 (")  # fmt: skip
    for text in (both[0], both[2]):
        assert any(all(words in line for words in wanted) for line in text.splitlines())


def test_the_json_names_every_judge_by_its_hash_and_says_what_was_drawn(both):
    report = both[1]
    assert report["judged_by"]["gaze"] == {"embedded-judge": GazeEstimator.load("embedded-judge", "cpu").sha256}
    for judge, file in (("identity", "identity"), ("pose", "face_reader"), ("pictures", "features")):
        assert report["judged_by"][judge]["sha256"] == sha256(WORLD_WEIGHTS / f"{file}.safetensors")
    assert (report["psi_of_heads"], report["psi_of_pictures"], report["samples_real"]) == (0.7, 1.0, 24)
    assert len(report["data_sha256"]) == 64


def test_few_pictures_and_failed_faces_are_said(both):
    assert "warning: fd_embedded: 24 pictures for" in both[0]
    assert scores(both[1], "embedded")["pairs without two faces"]["value"] == 0
    assert scores(both[1], "embedded")["pictures without a pose"]["value"] == 0


def test_scores_of_views_are_those_of_the_single_scripts(both, tmp_path):
    rows = scores(both[1], "embedded")
    done = run(calc_gfas.main, "--network=embedded", "--l2cs-path=embedded-judge", f"--seeds={SEEDS}",
               f"--json={tmp_path / 'gfas.json'}", "--device=cpu")  # fmt: skip
    assert done.exit_code == 0, done.output
    gfas = json.loads((tmp_path / "gfas.json").read_text())["l2cs_path"]
    assert rows["gfas_mse_sum (embedded-judge)"]["value"] == pytest.approx(gfas["gfas_mse_sum"], rel=1e-3)
    assert rows["slope of yaw (embedded-judge)"]["value"] == pytest.approx(gfas["slope"], rel=1e-3)
    done = run(calc_id.main, "--network=embedded", f"--seeds={SEEDS}", f"--json={tmp_path / 'id.json'}", "--device=cpu")
    assert done.exit_code == 0, done.output
    alike = json.loads((tmp_path / "id.json").read_text())
    assert rows["id_similarity"]["value"] == pytest.approx(alike["id_similarity_mean"], abs=1e-4)
    assert rows["id_similarity"]["error"] == pytest.approx(alike["id_similarity_se"], abs=1e-4)


def test_the_correction_shows_in_the_table(both):
    before, after = (scores(both[1], name) for name in ("embedded-base", "embedded"))
    name = "gfas_mse_sum (embedded-judge)"
    assert after[name]["value"] < 0.2 * before[name]["value"] and after[name]["better"] == "lower"


def test_cameras_of_a_batch_are_cut_out_seed_by_seed():
    from eg3d.pictures.views import Views

    n, k = 2, 3
    images = torch.arange(n * k, dtype=torch.float32).reshape(-1, 1, 1, 1)
    views = Views(images, images.reshape(-1, 1), [7, 7, 7, 9, 9, 9], [0, 1, 2] * 2)
    part = views.cameras(1, 3)
    assert part.images.flatten().tolist() == [1, 2, 4, 5]
    assert part.seeds == [7, 7, 9, 9] and part.camera == [0, 1, 0, 1]


def test_a_star_stands_beside_each_number_of_a_gaze_network_with_limits_and_a_footnote_says_them():
    from metrics.test_gfas import Blind, batch

    from eg3d.metrics.gfas import gaze_face_alignment

    def rows(limits: dict) -> list:
        return all_scores._gaze_rows("iris", gaze_face_alignment([batch([5, 9])], Blind(0, limits)))

    *numbers, missed = rows({"limits": "not for pitch"})
    assert len(numbers) == 5 and all(row.name.endswith(" (iris*)") for row in numbers)
    assert missed == all_scores.Row("pictures without a face (iris)", "lower", 1, None)
    assert [row.name for row in rows({})] == [row.name.replace("*", "") for row in numbers]
    one = SimpleNamespace(name="one", sha256="1" * 64, facts={})
    iris = SimpleNamespace(sha256="2" * 64, facts={"limits": "not for pitch"})
    judges = Judges({"other": one, "iris": iris}, one, one, one, one)
    assert judges.footnote(1, 2, 3).endswith(" * iris: not for pitch.") and judges.limits() == {"iris": "not for pitch"}


def test_numbers_keep_four_digits_whatever_their_size():
    rows = [all_scores.Row("a", "lower", 0.00061234, 0.00002), all_scores.Row("b", "higher", None, None)]
    lines = all_scores.table({"x": rows})
    assert lines[1:] == [["a", "lower", "0.0006123 +- 2e-05"], ["b", "higher", "-"]]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--network=embedded", "--network=embedded"], "given twice"),
        (["--network=nobody.safetensors"], "nobody.safetensors"),
        (["--network=embedded", "--data=/nowhere.zip"], "/nowhere.zip"),
        (["--network=embedded", "--num-gen=1"], "num-gen"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    done = run(calc_all.main, *FEW[:2], *arguments)
    assert done.exit_code == 2 and words in done.output
    assert len([line for line in done.output.splitlines() if line.lower().startswith("error")]) == 1
