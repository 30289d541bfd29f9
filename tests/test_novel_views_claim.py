"""docs/novel_views.md says what the committed results say, its verdict is computed right, and flat eyes are flat."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS, PAGE = REPOSITORY / "benchmarks", REPOSITORY / "docs" / "novel_views.md"


def module_of(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker():
    return module_of("novel_views_page")


def score(*errors, images=(10, 10, 30, 10)) -> dict:
    """As l2cs/evaluate.py writes it, of bins 0 to 15, to 30, to 45 and to 60 degrees of yaw."""
    edges = (0.0, 15.0, 30.0, 45.0, 60.0)
    rows = [
        {"from_deg": low, "to_deg": high, "images": count, "mean_angular_error_deg": error}
        for low, high, count, error in zip(edges, edges[1:], images, errors, strict=False)
    ]
    return {"mean_angular_error_deg": 7.0, "images": sum(images), "by_head": {"yaw": rows, "pitch": rows[:1]}}


def test_the_tables_of_the_page_are_those_of_the_results(maker):
    text = PAGE.read_text()
    assert "<!-- made: cartoons -->" in text
    made = maker.made(text, maker.records_in(BENCHMARKS / "results"))
    assert made == text, "run benchmarks/novel_views_claim.py"


def test_the_far_error_weighs_bins_by_their_images_and_the_verdict_is_of_the_worst_seed(maker):
    assert maker.far_error(score(1, 1, 20, 40)) == pytest.approx(25)
    assert maker.far_error(score(1, 1, 20, None, images=(1, 1, 5, 0))) == pytest.approx(20)
    both = {"sources": {"0": score(1, 1, 20, 20), "1": score(1, 1, 20, 20)},
            "novel": {"0": score(1, 1, 8, 8), "1": score(1, 1, 10.1, 10.1), "2": score(1, 1, 1, 1)}}  # fmt: skip
    assert maker.lower_by(both) == pytest.approx({"0": 0.6, "1": 0.495})
    assert "by 60 %, 49 % (" in maker.verdict(both) and "50 % is not met" in maker.verdict(both)
    del both["novel"]["1"]
    assert "50 % is met" in maker.verdict(both)
    assert maker.verdict({"novel": both["novel"]}) == "The claim is not measured yet."


def test_the_table_has_a_line_for_each_arm_and_a_page_without_results_says_so(maker, tmp_path):
    scores = {"novel": {"0": score(1, 2, 8, 4), "1": score(3, 2, 10, 6)}, "sources": {"0": score(1, 2, 20, None)}}
    record = {"command": "python x", "commit": "abc", "hardware": "a machine", "date": "today",
              "results": {"scores": scores}}  # fmt: skip
    page = "before\n<!-- made: cartoons -->\nold\n<!-- end -->\nbetween\n<!-- made: people -->\n<!-- end -->\nafter\n"
    text = maker.made(page, {"cartoons": record})
    assert "old" not in text and text.startswith("before\n") and text.endswith("after\n")
    assert "| the photos alone | 1.0 | 2.0 | 20.0 | - | 7.0 |" in text.replace("  ", " ")
    assert "| novel views of them | 2.0 | 2.0 | 9.0 | 5.0 | 7.0 | 8.0 (7.0, 9.0) |" in text.replace("  ", " ")
    assert "`python x`, commit abc, a machine, today" in text and text.count("Not measured yet") == 1
    assert "](novel_views_cartoons.png)" in text and max(map(len, text.splitlines())) <= 120
    assert maker.made(text, {"cartoons": record}) == text
    maker.plot(tmp_path / "p.png", scores)
    assert Image.open(tmp_path / "p.png").width == 700


def test_flat_eyes_look_the_same_to_the_camera_and_lie_in_the_plane_of_the_lids():
    rng = np.random.default_rng(0)
    centres = np.array([[-31.5, 0, 560], [31.5, 0, 552]])
    ball = rng.normal(size=(400, 3))
    ball *= 12 / np.linalg.norm(ball, axis=1, keepdims=True)
    skin = rng.uniform(-60, 60, (50, 3)) + [0, 0, 550]
    vertices = np.concatenate([centres[0] + ball, centres[1] + ball, skin])
    part = np.repeat([2, 3, 1], [400, 400, 50])
    turns = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    rim = np.stack([11 * np.cos(turns), 6 * np.sin(turns), -9 + 0.2 * np.cos(turns)], axis=1)
    landmarks = np.zeros((68, 3))
    landmarks[36:42], landmarks[42:48] = centres[0] + rim, centres[1] + rim
    flat = module_of("flat_eyes").flattened(vertices, part, landmarks, centres)
    assert np.allclose(flat[:, :2] / flat[:, 2:], vertices[:, :2] / vertices[:, 2:], atol=1e-12)
    moved = np.abs(flat - vertices).max(axis=1) > 0
    assert 30 < moved[:400].sum() < 250 and 30 < moved[400:800].sum() < 250 and not moved[800:].any()
    depth = flat[:400][moved[:400], 2] - centres[0, 2]
    assert (np.abs(depth + 9) < 0.3).all() and np.ptp(vertices[:400][moved[:400], 2]) > 2
    assert (((vertices - np.repeat(centres, [400, 450], axis=0)) * vertices).sum(axis=1)[moved] < 0).all()


@pytest.mark.slow
def test_the_whole_claim_in_small_and_again_without_making_anything(run_script, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- made: cartoons -->\n<!-- end -->\n")
    flags = ["--people=2", "--photos=16", "--test-people=2", "--test-photos=4", "--views=1", "--images=32", "--seeds=0"]
    flags += [f"--workdir={tmp_path / 'work'}", f"--results={tmp_path / 'results'}", f"--page={page}", "--device=cpu"]
    done = run_script("benchmarks/novel_views_claim.py", *flags, "--arms=sources,novel,novel-flat")
    assert done.code == 0, done.stderr
    assert "novel views, eyes painted flat" in page.read_text() and (tmp_path / "novel_views_cartoons.png").is_file()
    networks = sorted((tmp_path / "work" / "networks").glob("*/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in networks]
    again = run_script("benchmarks/novel_views_claim.py", *flags, "--arms=sources,novel,novel-flat")
    assert again.code == 0 and len(before) == 3 and [path.stat().st_mtime_ns for path in networks] == before
    other = run_script("benchmarks/novel_views_claim.py", *flags, "--views=2")
    assert other.code == 2 and "was made with views 1, now 2; give another folder" in other.stderr
    wrong = run_script("benchmarks/novel_views_claim.py", *flags, "--arms=sources,novell")
    assert wrong.code == 2 and "there is no novell" in wrong.stderr
