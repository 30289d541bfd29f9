"""What is in the report: which heads, which numbers, nothing from the network; and in a real browser, that it works."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from browser import CHROMIUM, Page
from PIL import Image
from tiny_networks import tiny_estimator, tiny_generator

from eg3d.gaze.term import gaze_target
from eg3d.geometry.cameras import FFHQ_ORBIT
from eg3d.metrics.gfas import GazeTally, GfasReport
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.report import (
    NO_FRECHET,
    TURN_CAMERAS,
    TURN_YAWS,
    Subject,
    digits_of,
    gain,
    judges_of,
    measured_of,
    page_data,
    read_scores,
    shown_seeds,
    turns_of,
    write_report,
)
from eg3d.pictures.views import GFAS_CAMERAS, camera_labels, render_views

SEEDS = [3, 7, 8]


def made_report(per_seed: dict[int, float], slope=0.5) -> GfasReport:
    mean = float(np.mean(list(per_seed.values())))
    return GfasReport(
        gfas_eq1=0.3, gfas_eq1_se=0.01, gfas_mse_sum=mean, gfas_mse_sum_se=0.02, gfas_legacy=0.2, gfas_legacy_se=None,
        angular_error_deg=12.0, angular_error_deg_se=0.5, slope=slope, slope_se=0.01, slope_painted_eyes=None,
        seeds=len(per_seed), views=[{}] * 3, gaze_network="0" * 64, crop="none", per_seed_mse_sum=per_seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def subjects():
    """Two tiny networks, each with its scores and its turned heads; the second gains most on seed 8."""
    scores = {
        "plain": dict(zip(SEEDS, (0.2, 0.15, 0.3), strict=True)),
        "</script><b>": dict(zip(SEEDS, (0.1, 0.12, 0.05), strict=True)),
    }
    found = []
    for i, (name, per_seed) in enumerate(scores.items()):
        turns = turns_of(render_views(tiny_generator(i), [8, 3, 7], TURN_CAMERAS), tiny_estimator(0))
        measured = {"fid2k_full": (10.0 + i, 0.5, "lower"), "pr_precision": (0.5 + 0.1 * i, None, "higher")}
        found.append(Subject(name, made_report(per_seed, slope=0.1 + 0.8 * i), turns, measured))
    return found


def test_a_turn_goes_through_the_cameras_of_the_score():
    assert set(GFAS_CAMERAS) <= set(TURN_CAMERAS)
    assert pytest.approx(-0.5) == TURN_YAWS[0] and TURN_YAWS == sorted(TURN_YAWS)


def test_turned_heads_hold_their_pictures_estimates_and_right_angles():
    G = tiny_generator()
    turns = turns_of(render_views(G, [5, 2], TURN_CAMERAS, batch_size=1), tiny_estimator(0))
    assert list(turns) == [5, 2]
    views = next(render_views(G, [2], TURN_CAMERAS))
    with torch.no_grad():
        yaw, pitch = tiny_estimator(0)(views.images)
    assert np.allclose(turns[2].gaze, torch.stack([yaw, pitch], 1), atol=1e-3)
    target = gaze_target(camera_labels(*zip(*TURN_CAMERAS, strict=True), G.orbit))
    assert np.allclose(turns[2].face, torch.stack(target, 1), atol=1e-4)
    strip = np.asarray(Image.open(io.BytesIO(turns[2].pictures))).astype(int)
    assert strip.shape == (32, 32 * len(TURN_CAMERAS), 3)
    assert np.abs(strip[:, -32:] - to_uint8(views.images)[-1]).mean() < 12  # WebP loses a little


def test_large_pictures_are_made_smaller_for_the_page():
    class Views:
        images, labels = torch.zeros(21, 3, 300, 300), camera_labels(*zip(*TURN_CAMERAS, strict=True), FFHQ_ORBIT)
        seeds, camera = [1] * 21, list(range(21))

        def by_seed(self):
            yield 1, self.images

    turns = turns_of([Views()], tiny_estimator(0))
    assert Image.open(io.BytesIO(turns[1].pictures)).size == (256 * 21, 256)


def test_heads_are_sorted_by_gain_and_picked_evenly():
    before, after = made_report({s: 1.0 for s in range(9)}), made_report({s: 0.1 * ((s * 2) % 9) for s in range(9)})
    order = sorted(range(9), key=lambda s: (s * 2) % 9)  # the lower the second score, the larger the gain
    assert shown_seeds([before, after], 20) == order
    assert shown_seeds([before, after], 3) == [order[0], order[4], order[8]]
    assert shown_seeds([before, after], 1) == [order[0]]
    assert shown_seeds([after], 20) == order  # alone: best first
    assert gain([before, after], 0) == pytest.approx(1.0)


def test_the_page_holds_the_numbers_that_were_measured(subjects):
    data = page_data(subjects, {"command": "x"})
    assert [head["seed"] for head in data["heads"]] == [8, 3, 7]
    assert data["heads"][0]["gfas"] == [0.3, 0.05] and data["heads"][0]["gain"] == pytest.approx(0.25)
    assert data["heads"][1]["gaze"][1] == subjects[1].turns[3].gaze
    first = data["heads"][0]["strips"][1].removeprefix("data:image/webp;base64,")
    assert base64.b64decode(first) == subjects[1].turns[8].pictures
    rows = {row["name"]: row for row in data["scores"]}
    assert rows["mean angular error, degrees"]["values"] == [[12.0, 0.5], [12.0, 0.5]]
    assert rows["slope of yaw (0: camera, 1: face)"]["better"] == "one"
    assert rows["pr_precision"] == {
        "name": "pr_precision",
        "digits": 4,
        "better": "higher",
        "values": [[0.5, None], [0.6, None]],
    }
    assert data["frechet"]["values"] == [(10.0, 0.5, "lower"), (11.0, 0.5, "lower")]
    without = page_data([Subject(s.name, s.scores, s.turns) for s in subjects], {})
    assert without["frechet"] is None and without["nofrechet"] == NO_FRECHET and len(without["scores"]) == 5


@pytest.mark.parametrize(
    "values, digits",
    [
        ([(0.0012, 0.0001, "lower"), (0.0019, 0.0002, "lower")], 5),
        ([(12.44, 0.18, "lower"), None], 2),
        ([(12345.0, 321.0, "lower")], 0),
        ([(0.0021, None, "lower")], 6),
        ([(0.0, None, "lower"), None], 4),
    ],
)
def test_a_score_is_shown_to_two_digits_of_its_error(values, digits):
    assert digits_of(values) == digits


def test_the_page_names_who_measured_each_score_and_on_what(tmp_path):
    record = {"results": {"fd_embedded": 1.0}, "network_sha256": "a", "samples_generated": 50, "samples_real": 24,
              "psi": 1.0, "detector": {"name": "embedded-features-v1", "sha256": "abc"}}  # fmt: skip
    (tmp_path / "s.json").write_text(json.dumps({"metrics": [record]}))
    assert judges_of([tmp_path / "s.json"]) == {
        "fd_embedded": "embedded-features-v1, sha256 abc; 50 pictures, 24 real ones, psi 1.0"
    }


def test_the_page_is_one_file_that_asks_the_network_for_nothing_whatever_the_names(subjects, tmp_path):
    write_report(tmp_path / "r.html", subjects, {"a<b": "</script>"})
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script>") == 2
    outside = set(re.findall(r"(?:https?:)?//[\w.]+\w+\.\w+[^\s\"']*", page)) - {"http://www.w3.org/2000/svg"}
    assert not outside and not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", page)
    assert "default-src 'none'" in page
    assert (
        json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["networks"][1]["name"] == "</script><b>"
    )


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"metrics": 3}', '{"metrics": [{"results": {}}]}', '{"metrics": ["x"]}',
        '{"metrics": [{"results": {"fid": "much"}, "network_sha256": "a"}]}',
        '{"metrics": [{"results": {"fid": NaN}, "network_sha256": "a"}]}',
        '{"metrics": [{"results": {"fid": 1}, "standard_errors": {"fid": Infinity}, "network_sha256": "a"}]}',
        '{"metrics": [{"results": {"fid": 1}, "directions": {"fid": 3}, "network_sha256": "a"}]}',
    ],
)  # fmt: skip
def test_a_file_without_scores_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ValueError, match=r"s\.json: holds no scores; give a file that calc_metrics\.py") as error:
        read_scores(tmp_path / "s.json")
    assert "\n" not in str(error.value)


def test_scores_go_to_the_network_whose_weights_were_measured(tmp_path):
    def record(sha, value):
        return {"results": {"kid2k_full": value}, "standard_errors": {}, "directions": {}, "network_sha256": sha}

    (tmp_path / "a.json").write_text(json.dumps({"metrics": [record("bb", 2.0), record("cc", 3.0)]}))
    assert measured_of([tmp_path / "a.json"], ["aa", "bb"]) == [{}, {"kid2k_full": (2.0, None, "lower")}]
    with pytest.raises(ValueError, match=r"a\.json: its scores are of other networks"):
        measured_of([tmp_path / "a.json"], ["aa", "dd"])


def test_scores_measured_differently_are_not_put_side_by_side(tmp_path):
    for name, count in (("a", 300), ("b", 2000)):
        record = {"results": {"fd_embedded": 1.0}, "samples_generated": count, "network_sha256": name}
        (tmp_path / f"{name}.json").write_text(json.dumps({"metrics": [record]}))
    with pytest.raises(ValueError, match=r"b\.json: its fd_embedded was measured with another samples_generated"):
        measured_of([tmp_path / "a.json", tmp_path / "b.json"], ["a", "b"])


def test_a_tally_gives_the_rows_of_each_batch():
    tally = GazeTally(tiny_estimator(0))
    rows = [tally.add(views) for views in render_views(tiny_generator(), range(3), batch_size=2)]
    assert [len(part) for part in rows] == [6, 3] and tally.report().seeds == 3


# ---- in a real browser ----


@pytest.fixture
def page(subjects, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    write_report(tmp_path / "report.html", subjects, {"command": "x"})
    with_browser = Page(tmp_path / "profile")
    try:
        with_browser.open((tmp_path / "report.html").as_uri(), "document.body && document.body.dataset.ready")
        yield with_browser
    finally:
        with_browser.close()


PICTURES = "[...document.querySelectorAll('figure canvas')].map(c => c.toDataURL())"


@pytest.mark.browser
def test_the_slider_turns_every_head_and_nothing_complains(page, tmp_path):
    assert page.run("document.querySelectorAll('figure canvas').length") == 6
    page.run("document.getElementById('arrows').click()")  # arrows move by themselves; the heads have to
    before = page.run(PICTURES)
    assert page.run("document.getElementById('angle').textContent") == "camera at +23°"
    marker = page.run("document.getElementById('marker').getAttribute('x1')")
    page.run("document.getElementById('turn').focus()")
    for _ in range(3):
        page.press("ArrowLeft", 37)
    assert page.run("document.getElementById('angle').textContent") == "camera at +14°"
    after = page.run(PICTURES)
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert page.run("document.getElementById('marker').getAttribute('x1')") != marker
    for _ in range(3):
        page.press("ArrowRight", 39)
    assert page.run(PICTURES) == before
    picture = Image.open(page.screenshot(tmp_path / "shot.png"))
    assert picture.size == (1240, 900) and len(picture.convert("RGB").getcolors(1 << 20)) > 1000
    assert page.problems == []
    assert all(address.startswith(("file://", "data:")) for address in page.requests)


@pytest.mark.browser
def test_arrows_point_along_face_and_eyes_and_can_be_hidden(page):
    def pixels(red, green, blue):
        """How many pixels of the first head have exactly this colour."""
        address = page.run("document.querySelector('figure canvas').toDataURL()")
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB")
        return int((np.asarray(picture) == (red, green, blue)).all(axis=2).sum())

    face, eyes = (11, 107, 203), (242, 92, 5)
    assert pixels(*face) > 50 and pixels(*eyes) > 20
    # the camera at (0.4, -0.2): the head's axis in its frame is the last row of the matrix in EG3D's specification
    assert page.run("offset(data.face[data.start], 100)") == pytest.approx([-41.798, 12.3999], abs=0.02)
    page.run("document.getElementById('arrows').click()")
    assert pixels(*face) == pixels(*eyes) == 0
    assert page.problems == []


@pytest.mark.browser
def test_heads_can_be_sorted_and_turn_by_themselves(page):
    titles = "[...document.querySelectorAll('#heads .title span:first-child')].map(t => t.textContent)"
    assert page.run(titles) == ["seed 8", "seed 3", "seed 7"]
    for value, order in (("seed", [3, 7, 8]), ("0", [7, 3, 8]), ("1", [8, 3, 7])):
        page.run(f"s = document.getElementById('sort'); s.value = '{value}'; s.dispatchEvent(new Event('change'))")
        assert page.run(titles) == [f"seed {seed}" for seed in order]
    page.run("document.getElementById('play').click()")
    moved = page.run(
        "new Promise(done => { const from = at, end = Date.now() + 5000;"
        " const look = setInterval(() => {"
        " if (at !== from || Date.now() > end) { clearInterval(look); done(at); } }, 20); })"
    )
    page.run("document.getElementById('play').click()")
    assert moved != TURN_YAWS.index(0.4)
    stopped = page.run("at")
    assert page.run("new Promise(done => setTimeout(() => done(at), 300))") == stopped
    assert page.problems == []


@pytest.mark.browser
def test_the_table_marks_the_better_value_and_both_plots_are_drawn(page):
    rows = page.run(
        "[...document.querySelectorAll('#scores tbody tr')]"
        ".map(r => [...r.cells].map(c => (c.className ? '*' : '') + c.textContent))"
    )
    assert rows[0] == ["GFAS (sum of mean squares), rad² ↓", "0.2167 ± 0.0200", "*0.0900 ± 0.0200"]
    assert rows[5] == ["fid2k_full ↓", "*10.00 ± 0.50", "11.00 ± 0.50"]
    assert rows[6] == ["pr_precision ↑", "0.5000", "*0.6000"]
    assert page.run("document.querySelectorAll('#plots svg').length") == 2
    assert page.run("document.querySelectorAll('#plots svg')[1].querySelectorAll('circle.point').length") == 2
    assert page.run("document.querySelectorAll('#plots polyline').length") == 2
    assert page.run("document.body.innerHTML.includes('NaN')") is False
    heads = "[...document.querySelectorAll('#verdict div')].map(d => d.textContent)"
    assert [text.split("slope")[0].strip() for text in page.run(heads)] == [
        "Above: the eyes follow the cameraplain", "Below: the eyes follow the face</script><b>",
    ]  # fmt: skip
    assert page.problems == []


@pytest.mark.browser
def test_the_watcher_of_problems_would_notice_one(page):
    page.run("console.error('noticed')")
    page.run("fetch('https://example.invalid/x').catch(() => 0)")
    page.run("new Promise(done => setTimeout(done, 200))")
    assert any("noticed" in problem for problem in page.problems)
    assert any("Content Security Policy" in problem for problem in page.problems)  # the page's own rule stopped it
