"""The viewer's page in a real browser: it does what hands do, on a screen and on a phone, and complains of nothing."""

import base64
import io
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Page
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.browser
REPOSITORY = Path(__file__).resolve().parents[3]
NETWORKS = ("embedded-base", "embedded-control")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address that a viewer of two networks has printed; ended by Ctrl-C."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    command = [sys.executable, str(REPOSITORY / "eg3d" / "viewer.py"), "--port=0", "--l2cs-path=embedded-judge"]
    command += [f"--network={name}" for name in NETWORKS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    yield re.search(r"http://\S+", line)[0]
    process.send_signal(2)
    rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and errors.strip() == "interrupted"


@pytest.fixture(scope="module")
def window(address, tmp_path_factory):
    """One browser for all tests: to start it takes a second."""
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture
def page(window, address):
    """page(fragment, width) opens the viewer at a view; afterwards nothing may have complained."""

    def opened(fragment: str = "", width: int = 1280) -> Page:
        window.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=860, deviceScaleFactor=1, mobile=width < 500
        )
        window.call("Page.navigate", url="about:blank")
        window.open(f"{address}#{fragment}", "document.body && document.body.dataset.ready")
        return window

    yield opened
    assert window.problems == []
    own = address.split("?")[0]
    assert all(asked.startswith((own, "data:", "blob:", "about:")) for asked in window.requests)


def settled(page: Page, condition: str = "true") -> str:
    """Waits for the whole picture of the page's view -> that view, as the server has it."""
    end = time.monotonic() + 30
    while True:
        if page.run(
            f"document.body.dataset.whole === 'true' && document.body.dataset.shown === viewText() && {condition}"
        ):
            return page.run("document.body.dataset.shown")
        assert time.monotonic() < end, page.run("JSON.stringify([document.body.dataset, viewText()])")
        time.sleep(0.03)


def number(text: str, name: str) -> float:
    found = re.search(rf"(?:^|&){name}=(-?[\d.]+)", text)
    return float(found[1]) if found else 0.0


def mouse(page: Page, kind: str, x: float, y: float, **more) -> None:
    page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1, **more)


def drag(page: Page, selector: str, start, stop) -> None:
    """Drags from one place of an element to another; places are shares of its width and height."""
    page.run(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    box = page.run(
        f"(b => [b.left, b.top, b.width, b.height])(document.querySelector('{selector}').getBoundingClientRect())"
    )
    at = lambda u, v: (box[0] + u * box[2], box[1] + v * box[3])  # noqa: E731
    mouse(page, "mousePressed", *at(*start), buttons=1)
    for step in range(1, 6):
        share = step / 5
        mouse(page, "mouseMoved", *at(*(a + (b - a) * share for a, b in zip(start, stop, strict=True))), buttons=1)
    mouse(page, "mouseReleased", *at(*stop))


def pixels(page: Page, panel: int) -> np.ndarray:
    """The picture of a panel, int [H, W, 3]."""
    data = page.run(f"document.querySelectorAll('figure canvas')[{panel}].toDataURL()").split(",")[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def eyes(page: Page) -> list[list[float]]:
    """Yaw and pitch, degrees, that the gaze network reads in each panel."""
    settled(page, "drawn.facts.eyes.every(Boolean)")
    return (np.degrees(np.array(page.run("drawn.facts.eyes")))).tolist()


def test_a_drag_turns_both_heads_to_the_same_pose(page):
    shown = page("seed=3")
    before = [pixels(shown, panel) for panel in (0, 1)]
    drag(shown, "figure canvas", (0.3, 0.5), (0.5, 0.6))
    view = settled(shown)
    assert -0.45 < number(view, "yaw") < -0.3 and -0.25 < number(view, "pitch") < -0.1
    for panel in (0, 1):
        assert np.abs(pixels(shown, panel) - before[panel]).mean() > 8
    # the faces' arrows come from the camera; eyes along the face would agree with it
    yaw = np.degrees(shown.run("drawn.facts.face"))[0]
    assert yaw < -15 and shown.run("drawn.facts.sides") == [64, 64]


def test_sliders_seed_and_wheel_change_the_picture(page):
    shown = page("seed=3")
    for act, words in (
        ("s = document.getElementById('yaw'); s.value = 0.3; s.dispatchEvent(new Event('input'))", "yaw=0.3"),
        ("s = document.getElementById('seed'); s.value = 12; s.dispatchEvent(new Event('input'))", "seed=12"),
        ("s = document.getElementById('psi'); s.value = 0.4; s.dispatchEvent(new Event('input'))", "psi=0.4"),
        ("document.querySelector('input[value=depth]').click()", "show=depth"),
    ):
        before = pixels(shown, 0)
        shown.run(act)
        assert words in settled(shown) and np.abs(pixels(shown, 0) - before).mean() > 2
    mouse(shown, "mouseMoved", 200, 300)
    shown.call("Input.dispatchMouseEvent", type="mouseWheel", x=200, y=300, deltaX=0, deltaY=300)
    assert number(settled(shown), "fov") > 20
    assert shown.run("location.hash.slice(1)") == shown.run("viewText()")


def test_the_gaze_pad_moves_the_eyes_and_the_judge_sees_it(page):
    shown = page("seed=3")
    shown.run("document.getElementById('arrows').click()")
    drag(shown, "#pad", (0.5, 0.5), (0.15, 0.5))
    assert number(settled(shown), "gaze") > 20
    (base, left), before = eyes(shown), [pixels(shown, panel) for panel in (0, 1)]
    drag(shown, "#pad", (0.2, 0.5), (0.85, 0.5))
    base_again, right = eyes(shown)
    assert left[0] - right[0] > 30 and abs(base[0] - base_again[0]) < 1  # of 49 degrees; the other knows no gaze
    assert np.array_equal(pixels(shown, 0), before[0]) and np.abs(pixels(shown, 1) - before[1]).mean() > 1
    assert shown.run("document.querySelector('input[name=aim]:checked').value") == "hand"


def test_an_arrow_of_an_earlier_picture_is_pale_and_one_at_rest_is_not(page):
    shown = page("seed=3&yaw=0.4")
    shown.run("document.getElementById('arrows').click()")
    eyes(shown)
    orange = lambda: np.abs(pixels(shown, 1) - (242, 92, 5)).sum(axis=2).min()  # noqa: E731
    assert orange() < 30
    preview = "delete drawn.facts.command, drawn.facts.eyes = [null, null]"  # without a reading
    shown.run(f"{preview}, panels[1].read = performance.now(), paint()")  # soon after one
    assert orange() < 30 and "eyes" in shown.run("panels[1].note.textContent")
    shown.run("panels[1].read -= 1000, paint()")
    assert orange() > 60 and "px" in shown.run("panels[1].note.textContent")
    shown.run("drawn.facts.command = 'x', paint()")  # at rest nothing was read: no arrow
    assert orange() > 60 and shown.run("panels[1].eyes") is None


def test_eyes_keep_contact_or_follow_the_pointer(page):
    shown = page("seed=3&yaw=0.4")
    shown.run("document.getElementById('arrows').click()")
    away = eyes(shown)[1][0]
    shown.run("document.querySelector('input[value=camera]').click()")
    assert abs(eyes(shown)[1][0]) < 6 < away  # into the lens; along the face it looked past it
    shown.run("document.querySelector('input[value=pointer]').click()")
    box = shown.run(
        "(b => [b.left, b.top, b.width])(document.querySelectorAll('figure canvas')[1].getBoundingClientRect())"
    )
    seen = []
    for share in (0.05, 0.95):
        mouse(shown, "mouseMoved", box[0] + share * box[2], box[1] + box[2] / 2)
        settled(shown)
        seen.append(eyes(shown)[1][0])
    assert seen[0] - seen[1] > 20


def test_a_link_shows_the_same_view(page):
    view = "seed=21&psi=0.9&other=4&blend=0.3&rows=coarse&yaw=0.2&pitch=-0.1&fov=16&gaze=10,-5"
    shown = page(view)
    assert settled(shown) == view
    assert shown.run("document.getElementById('mix').open") is True
    assert shown.run("[...document.querySelectorAll('input:checked')].map(e => e.value)") == [
        "coarse", "hand", "final"
    ]  # fmt: skip
    first = pixels(shown, 1)
    again = page(view)
    settled(again)
    assert np.array_equal(pixels(again, 1), first)
    assert f"'--draw={view}'" in shown.run("document.getElementById('command').textContent")


def test_a_view_beyond_training_is_dimmed(page):
    shown = page("yaw=0.6")
    assert shown.run("document.getElementById('beyond').hidden") is True
    drag(shown, "figure canvas", (0.6, 0.5), (0.4, 0.5))
    settled(shown)
    assert shown.run("document.getElementById('beyond').hidden") is False
    assert float(shown.run("getComputedStyle(document.querySelector('figure canvas')).opacity")) < 1


def test_everything_can_be_done_by_keyboard(page):
    shown = page("seed=3")
    shown.run("document.getElementById('panels').focus()")
    for key, code in (("ArrowLeft", 37), ("ArrowLeft", 37), ("ArrowUp", 38)):
        shown.press(key, code)
    view = settled(shown)
    assert number(view, "yaw") == pytest.approx(0.1) and number(view, "pitch") == pytest.approx(0.05)
    shown.run("document.getElementById('pad').focus()")
    for _ in range(5):
        shown.press("ArrowRight", 39)
    assert "gaze=-10,0" in settled(shown)
    reached, last = [], "document.activeElement.id || document.activeElement.name || document.activeElement.tagName"
    shown.run("document.getElementById('panels').focus()")
    for _ in range(40):
        shown.press("Tab", 9)
        reached.append(shown.run(last))
    for name in ("seed", "random", "psi", "yaw", "pitch", "fov", "front", "turn", "aim", "pad", "show", "arrows",
                 "effort", "save-png", "save-glb", "copy-link", "record"):  # fmt: skip
        assert name in reached, name


def test_a_phone_shows_heads_and_controls_without_scrolling_sideways(page, tmp_path):
    shown = page("seed=5&gaze=camera", width=400)
    assert shown.run("document.documentElement.scrollWidth") <= 400
    widths = shown.run("[...document.querySelectorAll('figure canvas')].map(c => c.getBoundingClientRect().width)")
    assert min(widths) > 150
    small = shown.run(
        "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.offsetHeight < 36).length"
    )
    assert small == 0  # for fingers
    picture = Image.open(shown.screenshot(tmp_path / "phone.png"))
    assert picture.size == (400, 860) and len(picture.convert("RGB").getcolors(1 << 20)) > 1000


def test_a_recorded_path_is_saved_as_cameras_and_as_a_film(page):
    shown = page("seed=3")
    shown.run("window.got = []; HTMLAnchorElement.prototype.click = () => 0")
    shown.run("URL.createObjectURL = blob => (got.push(blob), 'blob:x')")
    shown.run("document.getElementById('record').click()")
    drag(shown, "figure canvas", (0.3, 0.5), (0.5, 0.6))
    shown.run("new Promise(done => setTimeout(done, 200))")
    shown.run("document.getElementById('record').click()")
    frames = shown.run("pathTaken.length")
    assert frames > 2
    settled(shown)  # what comes of it replaces the command
    wait = (
        "new Promise(done => { const look = setInterval("
        "() => { if (got.length > %d) { clearInterval(look); done(true); } }, 30); })"
    )
    shown.run("document.getElementById('save-cameras').click()")
    assert shown.run(wait % 0)
    assert shown.run("got[0].text().then(t => JSON.parse(t).labels.length)") == frames
    assert "gen_videos.py" in shown.run("document.getElementById('command').textContent")
    shown.run("document.getElementById('save-png').click()")
    assert shown.run(wait % 1) and shown.run("got[1].type") == "image/png"


def test_a_page_of_another_origin_cannot_ask_the_viewer(window, address):
    """Though it knows the token: a browser does not let it send the header, and the server does not answer it."""
    token = re.search("token=(.+)", address)[1]
    window.call("Page.navigate", url="data:text/html,<body>hostile</body>")
    time.sleep(0.3)
    ask = f"fetch('{address.split('?')[0]}view', %s).then(a => a.type + a.status, e => 'refused')"
    with_header = f"{{method: 'POST', headers: {{'X-Viewer-Token': '{token}'}}, body: '{{}}'}}"
    assert window.run(ask % with_header) == "refused"
    assert window.run(ask % "{method: 'POST', mode: 'no-cors', body: '{}'}") == "refused"  # by its own policy
    window.problems.clear()
    window.requests.clear()


def test_a_server_that_has_ended_is_one_line(page, window, address):
    shown = page("seed=3")
    shown.run("window.fetch = () => Promise.reject(new TypeError('gone'))")
    shown.press("ArrowLeft", 37)
    shown.run("turnBy(0.1, 0)")
    shown.run("new Promise(done => setTimeout(done, 100))")
    assert "does not answer" in shown.run("document.getElementById('trouble').textContent")
