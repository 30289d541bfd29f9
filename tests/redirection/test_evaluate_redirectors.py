"""Measuring redirectors, by what is true: the true picture, doing nothing, and eyes that go the wrong way."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from redirection import evaluate
from redirection.gaze_errors import gaze_error
from redirection.methods import Nothing, open_redirector
from redirection.patch_judge import Judge, Reading
from redirection.patch_sets import PatchSet
from redirection.picture_scores import change_outside_lids, iris_colours, psnr, ssim
from redirection.redirection_pairs import draw_pairs
from redirection.redirection_report import PAGE
from redirection.redirection_scores import EXTRAPOLATION, SWEEP, Measuring, continuity

SIZE, NOISE_DEG = 32, 0.4


def drawn(angles: torch.Tensor, person: torch.Tensor) -> torch.Tensor:
    """Patches uint8 [N, 3, S, S] that carry P, V, H and the person in their first pixels."""
    patches = torch.full((len(angles), 3, SIZE, SIZE), 200, dtype=torch.uint8)
    patches[:, 0, 0, :3] = (angles * 2 + 128).round().byte()
    patches[:, 1, 0, 0] = person.byte()
    return patches


class TrueJudge:
    """Reads what `drawn` wrote, with a known error."""

    name, sha256 = "by the pixels", "0" * 64

    def __init__(self, error=0.0):
        self.error = error

    def read(self, patches):
        angles = (patches[:, 0, 0, :3].float() - 128) / 2
        angles = angles + torch.tensor([0.0, 0.0, self.error])
        who = torch.nn.functional.one_hot(patches[:, 1, 0, 0].long(), 8).float()
        return Reading(angles, who, who + angles.sum(1, keepdim=True) / 100, torch.zeros(len(angles), 2))


class Moving:
    """Redirects exactly as far as `factor` says in H."""

    name, size = "moving", SIZE

    def __init__(self, factor=1.0):
        self.factor = factor

    def redirect(self, patches, shown, wanted):
        reached = shown + (wanted - shown) * torch.tensor([1.0, 1.0, self.factor])
        return drawn(reached, patches[:, 1, 0, 0])


@pytest.fixture(scope="module")
def patches() -> PatchSet:
    grid = [(p, v, h) for p in (-15.0, 0.0, 15.0) for v in (-10.0, 0.0, 10.0) for h in (-15.0, -7.5, 5.0, 15.0)]
    angles, person = torch.tensor(grid * 3), torch.arange(3).repeat_interleave(len(grid))
    names = tuple(map(str, range(len(angles))))
    return PatchSet(names, drawn(angles, person), (), angles, person, torch.zeros_like(person))


@pytest.fixture
def measured(patches):
    def run(redirector=None, error=0.0):
        pairs = draw_pairs(patches, 300, 0, 3.0)
        measuring = Measuring(patches, pairs, TrueJudge(error), 0)
        if redirector is None:
            return measuring.of_pictures(measuring.targets)[0], pairs
        return measuring.of_redirector(redirector)[0], pairs

    return run


def test_the_true_picture_scores_the_judges_own_error(measured):
    numbers, _ = measured(error=NOISE_DEG)
    assert numbers["to_label_deg"] == pytest.approx(NOISE_DEG, rel=0.02)  # cos V shortens it
    assert numbers["to_judged_truth_deg"] == pytest.approx(0, abs=1e-4)
    assert numbers["psnr_db"] == 99 and numbers["ssim"] == pytest.approx(1) and abs(numbers["frechet"]) < 1e-6


def test_doing_nothing_scores_the_angle_that_was_asked(measured, patches):
    numbers, pairs = measured(Nothing(SIZE))
    asked = gaze_error(patches.angles[pairs.source], pairs.wanted).mean().item()
    assert numbers["to_label_deg"] == pytest.approx(asked, rel=1e-6) and asked > 5
    assert numbers["extrapolated"]["direction_right"] == 0 and numbers["outside_lids"] == 0
    assert numbers["continuity"]["monotone"] == 0 and numbers["continuity"]["r2"] == 0
    assert numbers["reconstruction_db"] == 99 and numbers["iris_colour_off"] == 0 == numbers["head_yaw_change_deg"]


def test_a_perfect_redirector_has_no_error_and_goes_on_beyond_the_grid(measured):
    numbers, _ = measured(Moving())
    assert numbers["to_label_deg"] == pytest.approx(0, abs=1e-4)
    assert numbers["extrapolated"]["direction_right"] == 1 and numbers["extrapolated"]["pairs"] > 20
    assert numbers["continuity"]["monotone"] == 1 and numbers["continuity"]["asked_rmse_deg"] < 0.3


def test_eyes_that_go_to_the_other_side_are_seen(measured):
    numbers, _ = measured(Moving(factor=-1.0))
    assert numbers["to_label_deg"] > 10 and numbers["extrapolated"]["direction_right"] < 0.6
    assert numbers["continuity"]["monotone"] == 0 and numbers["continuity"]["slope"] < -0.9


def test_mirrored_labels_are_seen(patches, measured):
    wrong = patches.angles * torch.tensor([1.0, 1.0, -1.0])
    pairs = draw_pairs(patches, 300, 0, 3.0)
    other = PatchSet(patches.names, patches.images, (), wrong, patches.person, patches.eye)
    mistaken = Measuring(other, draw_pairs(other, 300, 0, 3.0), TrueJudge(), 0)
    right = Measuring(patches, pairs, TrueJudge(), 0)
    errors = [one.of_pictures(one.targets)[0]["to_label_deg"] for one in (right, mistaken)]
    assert errors[0] < 1e-3 and errors[1] > 10


def test_pairs_are_of_one_eye_and_one_head_pose_and_know_the_grid(patches):
    pairs = draw_pairs(patches, 10_000, 0, 3.0)
    assert (patches.person[pairs.source] == patches.person[pairs.target]).all()
    assert (patches.angles[pairs.source, 0] == patches.angles[pairs.target, 0]).all()
    assert len(pairs) == 3 * 3 * 12 * 11 and (pairs.source != pairs.target).all()
    assert torch.equal(pairs.on_grid, pairs.wanted[:, 2].abs() != 7.5)
    assert torch.equal(draw_pairs(patches, 50, 1, 3.0).source, draw_pairs(patches, 50, 1, 3.0).source)


def test_a_set_without_pairs_is_one_line(patches):
    with pytest.raises(ValueError, match="no eye is there twice at head poses within 3 degrees"):
        draw_pairs(patches.subset(torch.tensor([0, 12, 24])), 10, 0, 3.0)


def test_continuity_of_known_curves():
    asked = torch.tensor(SWEEP)
    numbers = continuity(torch.stack([0.5 * asked + 2, 0.5 * asked + 2]))
    assert numbers["slope"] == pytest.approx(0.5) and numbers["r2"] == pytest.approx(1)
    assert numbers["line_rmse_deg"] < 1e-6 and numbers["largest_jump_deg"] == pytest.approx(1.875)
    stuck = asked.clone()
    stuck[3] = stuck[2]
    assert continuity(torch.stack([asked, stuck]))["monotone"] == 0.5
    assert EXTRAPOLATION > 1


def test_psnr_and_ssim_of_known_pictures():
    a = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    assert psnr(a, a + 10).item() == pytest.approx(20 * torch.tensor(25.5).log10().item(), abs=1e-4)
    bright = (2 * 100 * 110 + 6.5025) / (100**2 + 110**2 + 6.5025)  # only the means differ
    assert ssim(a, a + 10).item() == pytest.approx(bright, abs=1e-4)


def test_only_what_changes_outside_the_lids_counts():
    source = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    inside, outside = source.clone(), source.clone()
    inside[:, :, 28:36, 28:36] = 200
    outside[:, :, 50:56, 28:36] = 200
    assert change_outside_lids(source, source, inside) == 0
    assert change_outside_lids(source, source, outside) > 0.5


def test_the_iris_is_the_darkest_disc_and_its_pupil_does_not_count():
    patch = torch.full((1, 3, 64, 64), 220, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    away = torch.hypot(x - 38.0, y - 30.0)
    patch[0, :, away < 7.5] = torch.tensor([[40], [90], [60]], dtype=torch.uint8)
    patch[0, :, away < 2.5] = 0
    assert iris_colours(patch)[0].tolist() == pytest.approx([40, 90, 60], abs=6)


def test_a_text_that_names_no_redirector_is_one_line():
    for text in ("gazenet", "interpgaze:", "nothing:x"):
        with pytest.raises(
            ValueError, match="names no redirector; give nothing, embedded, interpgaze, he2019, deepwarp"
        ):
            open_redirector(text, "cpu", 64)


def test_the_page_declares_no_name_that_a_browser_keeps_for_itself():
    script = PAGE.read_text(encoding="utf-8").split("<script>")[1]
    declared = re.findall(r"^  (?:const|let) (.*)", script, re.M)
    names = {name for line in declared for name in re.findall(r"(?:^|, )([a-z]\w*) =", line)}
    assert {"data", "scores", "heading"} <= names
    assert not names & {"top", "window", "document", "location"}  # a browser runs nothing of such a script


def test_the_command_writes_table_json_and_page(patches, tmp_path, monkeypatch):
    judge = SimpleNamespace(name="known", sha256="0" * 64, read=TrueJudge(NOISE_DEG).read, network=None)
    monkeypatch.setattr(evaluate, "read_patches", lambda *given: patches)
    monkeypatch.setattr(Judge, "load", classmethod(lambda cls, *given: judge))
    monkeypatch.setattr(evaluate, "errors", lambda *given: {"gaze_error_deg": NOISE_DEG})
    monkeypatch.setattr(
        evaluate, "open_redirector", lambda spec, *given: Nothing(SIZE) if spec == "nothing" else Moving()
    )
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    (tmp_path / "set").mkdir()
    arguments = [
        f"--data={tmp_path / 'set'}",
        "--redirector=embedded",
        "--pairs=100",
        f"--report={page}",
        f"--json={numbers}",
    ]
    ran = CliRunner().invoke(evaluate.main, arguments)
    assert ran.exit_code == 0, ran.output
    rows = json.loads(numbers.read_text())["rows"]
    assert list(rows) == ["true picture", "nothing", "moving"]
    assert rows["moving"]["to_label_deg"] == pytest.approx(rows["true picture"]["to_label_deg"], abs=0.2)
    assert ran.output.count("\n") > 20 and "moving" in ran.output
    text = page.read_text()
    assert "http" not in text.replace("http-equiv", "") and text.count("data:image/webp") == 3 * (1 + 2)
