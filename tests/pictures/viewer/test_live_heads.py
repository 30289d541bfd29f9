"""Drawing for the viewer: the same pictures as everywhere else, planes kept, previews that fit their time."""

import io
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import tiny_generator

from eg3d.checkpoints.loading import load_generator
from eg3d.gaze.networks import load_gaze_network
from eg3d.gaze.term import estimate_gaze
from eg3d.ops.precision import in_precision
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.viewer import live_heads
from eg3d.pictures.viewer.effort import EFFORTS, FULL, Pace, fewer_samples
from eg3d.pictures.viewer.kept_heads import Kept
from eg3d.pictures.viewer.live_heads import LiveHead, packed, turned_gaze
from eg3d.pictures.viewer.surface_normals import normals
from eg3d.pictures.viewer.wanted_view import View
from eg3d.pictures.views import ViewOptions, render_batch, ws_of_seeds


@pytest.fixture(scope="module")
def head():
    return LiveHead("tiny", tiny_generator())


@pytest.fixture(scope="module")
def control():
    return LiveHead("embedded-control", load_generator("embedded-control"))


@pytest.fixture
def planes_made(head, monkeypatch):
    made = []
    planes = head.G.planes
    monkeypatch.setattr(head.G, "planes", lambda *args, **more: (made.append(1), planes(*args, **more))[1])
    return made


def test_a_full_picture_is_the_one_that_samples_have(head):
    view = View(seed=5, yaw=0.3, pitch=-0.1, psi=0.6)
    expected = render_batch(head.G, [5], [(0.3, -0.1)], ViewOptions(psi=0.6)).images
    assert np.array_equal(head.full(view, lambda: None).image, to_uint8(expected)[0])


def test_an_eye_field_draws_as_its_synthesis_does_for_every_gaze(control):
    for gaze, aim in (("25,5", (25.0, 5.0)), ("-20,0", (-20.0, 0.0))):
        view = View(seed=2, yaw=0.2, gaze=gaze)
        ws, label = ws_of_seeds(control.G, [2]), view.label(control.G.orbit)
        from groundwork.draws import Midpoints

        wanted = torch.tensor([aim]).deg2rad()
        with torch.no_grad():
            drawn = control.G.synthesis(ws, label, draws=Midpoints(), noise_mode="const", gaze=wanted)["image"]
        assert np.array_equal(control.full(view, lambda: None).image, to_uint8(drawn)[0])


def test_others_may_draw_between_the_blocks_of_a_whole_picture_and_change_nothing(head):
    """In every pause another view of the same head, and of another one, is drawn with fewer samples."""
    view, pauses = View(seed=50, yaw=0.2), []
    expected = LiveHead("alone", head.G).full(view, lambda: None).image

    def pause():
        pauses.append(1)
        head.preview(View(seed=50 + len(pauses) % 2, yaw=-0.2), "raw-32", 0.1)

    assert np.array_equal(head.full(view, pause).image, expected)
    assert len(pauses) >= 6 and not any(module._forward_pre_hooks for module in head.G.modules())
    assert head.kept.bytes == sum(size for _, size in head.kept._entries.values())


def test_eyes_are_those_that_were_asked_for_though_another_sets_them_on_the_same_head_meanwhile(control):
    view = View(seed=60, gaze="25,0")
    expected = LiveHead("alone", control.G).full(view, lambda: None).image
    others = iter(["-25,0"])

    def pause():
        if gaze := next(others, None):
            control.preview(View(seed=60, gaze=gaze), "full", 0.1)

    assert np.array_equal(control.full(view, pause).image, expected)
    assert np.array_equal(control.full(view, lambda: None).image, expected)


def test_what_others_draw_in_pauses_does_not_count_as_slow(head):
    slow = LiveHead("slow", head.G)
    slow.full(View(seed=70), lambda: time.sleep(0.1))
    assert slow.plane_seconds < 0.1 and slow.pace.seconds[FULL] < 0.1


def test_previews_of_a_new_head_have_rough_planes_if_exact_ones_take_too_long(head, planes_made):
    entered = []

    @contextmanager
    def roughly():
        with in_precision(head.G, "bf16"):
            entered.append(1)
            yield

    seen, view = LiveHead("rough", head.G, roughly=roughly), View(seed=80)
    exact = LiveHead("exact", head.G).preview(view, "full", 1.0).image
    for seconds, count in ((0.0, 0), (9.0, 1), (9.0, 2)):  # of one head they are kept
        seen.plane_seconds = seconds
        for yaw in (0.0, 0.2):
            seen.preview(View(seed=81 + count, yaw=yaw), "full", 1.0)
    assert len(entered) == 4 and len(planes_made) == 4  # `exact` made one; a context is entered for kept ones too
    rough = seen.preview(view, "full", 1.0).image.astype(int)
    assert not np.array_equal(rough, exact) and np.abs(rough - exact).mean() < 3
    whole = seen.full(view, lambda: None).image
    seen.plane_seconds = 9.0
    assert np.array_equal(whole, exact) and np.array_equal(seen.preview(view, "full", 1.0).image, exact)
    assert all(module.block_dtype is None for module in head.G.modules() if hasattr(module, "block_dtype"))


def test_only_a_large_picture_that_moves_loses_anything_on_its_way():
    picture = np.linspace(0, 255, 200 * 200 * 3).reshape(200, 200, 3).astype(np.uint8)
    for image, moving in ((picture, True), (picture, False), (picture[:160, :160], True)):
        sent = np.asarray(Image.open(io.BytesIO(packed(image, moving)))).astype(int)
        off = np.abs(sent - image)
        assert (0 < off.max() <= 6) if moving and image is picture else off.max() == 0


def test_planes_are_made_once_for_a_head_and_again_for_another(head, planes_made):
    for yaw in (0.0, 0.1, 0.2):
        head.full(View(seed=100, yaw=yaw), lambda: None)
    assert len(planes_made) == 1
    head.full(View(seed=101), lambda: None)
    head.full(View(seed=100, psi=0.5), lambda: None)
    assert len(planes_made) == 3


def test_the_store_forgets_the_oldest_and_stays_small():
    kept, made = Kept(most_bytes=3 * 400), []

    def get(key):
        return kept.get(key, lambda: made.append(key) or torch.zeros(100))

    for key in "abcadae":  # a is asked for again and again, and stays
        get(key)
        assert kept.bytes <= 1200
    assert "".join(made) == "abcde" and "a" in kept and "b" not in kept
    kept.get("huge", lambda: torch.zeros(10000))  # what is larger than the store alone is kept until the next
    assert "huge" in kept and kept.bytes == 40000


def test_mixing_goes_from_one_head_to_the_other_and_rows_are_those_that_are_named(head):
    first, second = (head.ws(View(seed=seed)) for seed in (1, 2))
    assert torch.allclose(head.ws(View(seed=1, other=2, blend=1.0)), second, atol=1e-6)
    assert torch.allclose(head.ws(View(seed=1, other=2, blend=0.5)), (first + second) / 2, atol=1e-6)
    fine = head.ws(View(seed=1, other=2, blend=1.0, rows="fine"))
    changed = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(fine[0], first[0], strict=True)]
    assert changed == sorted(changed) and any(changed) and not all(changed)


def test_a_preview_has_fewer_rays_and_samples_and_the_network_is_as_before(head):
    options, seen = head.G.options, []
    with fewer_samples(head.G, 0.5):
        seen.append(head.G.options.depth_resolution)
    assert seen == [max(4, options.depth_resolution // 2)] and head.G.options == options
    raw = head.preview(View(), "raw-32", 1.0).image
    assert raw.shape == (32, 32, 3) and head.G.options == options


ALL, NAMES = [*EFFORTS.values()], {effort: name for name, effort in EFFORTS.items()}


def noted(pace, **seconds):
    for name, value in seconds.items():
        pace.note(EFFORTS[name.replace("_", "-")], value)


def chosen(pace, seconds: float, gone: float = 0.0) -> str:
    return NAMES[pace.choose(ALL, seconds, gone)]


def test_previews_take_as_much_effort_as_time_allows():
    pace = Pace()
    assert chosen(pace, 0.1) == "full"
    noted(pace, full=2.0)
    assert chosen(pace, 0.1) == "raw"
    noted(pace, raw=0.3)
    assert chosen(pace, 0.1) == "raw"  # a first picture may be slow: another chance
    noted(pace, raw=0.2, raw_64=0.08)
    assert chosen(pace, 0.1) == "raw-64"
    assert chosen(pace, 0.001) == "raw-48"  # never tried
    noted(pace, raw_64=0.08, raw_48=0.02)
    assert chosen(pace, 0.1, gone=0.06) == "raw-48" and chosen(pace, 0.1, gone=0.2) == "raw-48"
    assert chosen(pace, 0.1, gone=0.99) == "raw"  # one that is so late anyway need not be coarse


def test_a_drag_is_never_held_up_by_an_effort_that_is_known_to_take_long():
    pace = Pace()
    noted(pace, full=1.4)
    for _ in range(1000):
        assert chosen(pace, 0.08) == "raw"
        noted(pace, raw=0.03)


def test_a_machine_that_becomes_busy_or_idle_is_so_for_all_efforts():
    pace = Pace()
    for _ in range(2):
        noted(pace, full=2.0, raw=0.06, raw_64=0.02)
    assert chosen(pace, 0.08) == "raw"
    for _ in range(8):
        noted(pace, raw=0.24)
    assert chosen(pace, 0.08) == "raw-64" and pace.seconds[EFFORTS["raw-64"]] == pytest.approx(0.08, rel=0.02)
    for _ in range(12):  # nobody tries `raw` meanwhile
        noted(pace, raw_64=0.02)
    assert chosen(pace, 0.08) == "raw" and pace.seconds[EFFORTS["raw"]] == pytest.approx(0.06, rel=0.02)


def test_the_smallest_effort_is_taken_if_none_is_fast_enough():
    pace = Pace()
    for effort in ALL:
        pace.note(effort, 9.0)
    assert chosen(pace, 0.1) == "raw-32"


def test_however_late_previews_were_a_reading_has_to_be_paid_for_once_only():
    pace = Pace()
    pace.reading = 0.05
    for late in (0.3, 9.0, -0.02, -0.02, -0.02):
        assert pace.may_read(FULL) is (late == 0.3)
        pace.settle(late)
    assert pace.may_read(FULL)


class Clock:
    """A time that passes only by what the parts of a preview are said to take, in seconds."""

    def __init__(self, monkeypatch):
        self.now, self._patch = 0.0, monkeypatch
        monkeypatch.setattr(live_heads, "time", self)

    def perf_counter(self) -> float:
        return self.now

    def takes(self, seconds, of, name: str) -> list[int]:
        """From now on this part takes so long, or what its arguments give -> one entry for every time it is done."""
        part, done = getattr(of, name), []

        def slow(*args, **more):
            done.append(1)
            self.now += seconds(*args) if callable(seconds) else seconds
            return part(*args, **more)

        self._patch.setattr(of, name, slow)
        return done


def test_new_eyes_count_as_part_of_a_preview(control, monkeypatch):
    clock, seen = Clock(monkeypatch), LiveHead("slow eyes", control.G)
    for part, seconds in (("rendered", 0.003), ("picture", 0.012), ("with_gaze", 0.015)):
        clock.takes(seconds, control.G, part)

    def sides(gaze):
        return [seen.preview(View(yaw=0.01 * step, gaze=gaze), "auto", 0.025).image.shape[0] for step in range(8)]

    assert sides("face")[1:] == [64] * 7  # 15 ms; the first has new planes
    assert sides("camera")[3:] == [32] * 5  # whole ones would take 30 ms of 25
    assert sides("face")[1:] == [64] * 7


def test_a_surface_is_previewed_in_its_time_though_the_picture_was_never_seen(monkeypatch):
    """A link may say show=depth; its rays are four times those of the picture."""
    clock, seen = Clock(monkeypatch), LiveHead("slow", tiny_generator())
    clock.takes(lambda planes, label, rays, draws: 0.0005 * rays**2, seen.G, "rendered")
    assert seen.efforts("final", "auto") == [FULL, EFFORTS["raw"]]  # none has more rays than the network's own 8
    for show, most in (("depth", 16), ("normals", 16), ("raw", 8)):
        seen.full(View(show=show), lambda: None)
        sides = [seen.preview(View(show=show), "auto", 0.04).image.shape[0] for _ in range(6)]
        assert sides[2:] == [8] * 4 and seen.preview(View(show=show), "full", 0.04).image.shape[0] == most


def test_packing_is_part_of_the_effort_so_that_previews_do_not_change_their_size_in_turn(monkeypatch):
    clock, seen = Clock(monkeypatch), LiveHead("slow", tiny_generator())
    clock.takes(0.03, seen.G, "rendered")
    clock.takes(lambda image: 0.006 if image.shape[-1] == 32 else 0.001, live_heads, "to_uint8")
    clock.takes(lambda image, moving: 0.006 if len(image) == 32 else 0.001, live_heads, "packed")
    sides = [seen.preview(View(yaw=0.01 * step), "auto", 0.04).image.shape[0] for step in range(8)]
    assert sides[2:] == [8] * 6


def test_a_drag_is_as_fine_as_its_time_allows_though_another_page_changes_heads_meanwhile(monkeypatch):
    clock, seen = Clock(monkeypatch), LiveHead("shared", tiny_generator())
    clock.takes(0.02, seen.G, "rendered")
    clock.takes(0.2, seen.G, "planes")
    seen.preview(View(), "auto", 0.04)
    for step in range(6):
        seen.preview(View(seed=1 + step), "auto", 0.04)
        assert seen.preview(View(yaw=0.1 * step), "auto", 0.04).image.shape[0] == 32


@pytest.mark.parametrize("reading, least, most", [(0.01, 40, 40), (0.05, 8, 12), (0.5, 1, 2)])
def test_a_drag_reads_the_eyes_as_often_as_its_time_allows(control, monkeypatch, reading, least, most):
    """40 previews of 40 ms each, drawn in 27: all are read if that takes 10 ms, every fourth if it takes 50."""
    clock, seen = Clock(monkeypatch), LiveHead("read", control.G, lambda images, labels: (torch.zeros(1),) * 2)
    clock.takes(0.027, control.G, "rendered")
    read = clock.takes(reading, seen, "read_gaze")
    panels = [seen.preview(View(yaw=0.01 * step), "auto", 0.04, read=True) for step in range(40)]
    assert {panel.image.shape[0] for panel in panels} == {64}  # nothing is drawn smaller for the sake of readings
    assert least <= len(read) <= most and [bool(panel.eyes) for panel in panels].count(True) == len(read)
    assert clock.now <= 40 * 0.04 + reading  # reading counts: else `most` of them would take longer
    seen.pace.owed = 0.0
    assert seen.preview(View(), "raw", 0.04, read=True).eyes is None  # it would be read wrongly
    for count in (1, 2):  # at rest always
        assert seen.full(View(), lambda: None, read=True).eyes and len(read) > count


def test_a_drag_that_takes_all_its_time_reads_no_eyes_and_draws_no_less_for_their_sake(control, monkeypatch):
    clock, seen = Clock(monkeypatch), LiveHead("read", control.G, lambda images, labels: (torch.zeros(1),) * 2)
    clock.takes(0.039, control.G, "rendered")
    read = clock.takes(0.05, seen, "read_gaze")
    sides = [seen.preview(View(yaw=0.01 * step), "auto", 0.04, read=True).image.shape[0] for step in range(20)]
    assert len(read) == 1 and sides == [64] * 20
    assert seen.full(View(), lambda: None, read=True).eyes


def test_previews_leave_a_core_to_the_browser(head):
    seen, before = [], torch.get_num_threads()
    reads = lambda images, labels: (seen.append(torch.get_num_threads()), torch.zeros(2))[1]  # noqa: E731
    try:
        for threads, fewer in ((3, 2), (1, 1)):
            torch.set_num_threads(threads)
            LiveHead("threads", head.G, reads).preview(View(), "full", 0.1, read=True)
            assert seen.pop() == fewer and torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_normals_of_a_plane_that_faces_the_camera_are_blue_and_of_a_slope_lean():
    from eg3d.geometry.cameras import FFHQ_ORBIT, split_label
    from eg3d.geometry.rays import camera_rays

    label = View(yaw=0.3, pitch=0.1).label(FFHQ_ORBIT)
    pose, intrinsics = split_label(label)
    _, directions = camera_rays(pose, intrinsics, 16)
    local = directions @ pose[:, :3, :3]  # of rays in camera axes
    facing = (2.0 / local[..., 2]).reshape(1, 1, 16, 16)  # depth 2 along the axis
    assert torch.allclose(normals(facing, label)[0, :, 4, 4], torch.tensor([0.0, 0.0, 1.0]), atol=1e-3)
    # z = 2 + x, as the left wall of a corridor: it faces right and the camera, (1, 0, 1) / sqrt 2
    slope = (2.0 / (local[..., 2] - local[..., 0])).reshape(1, 1, 16, 16)
    assert torch.allclose(normals(slope, label)[0, :, 8, 8], torch.tensor([0.5**0.5, 0.0, 0.5**0.5]), atol=1e-3)


def test_the_face_arrow_is_where_the_gaze_term_wants_the_eyes(head):
    from eg3d.gaze.term import gaze_target

    label = View(yaw=0.4, pitch=-0.2).label(head.G.orbit)
    wanted = gaze_target(label)
    assert turned_gaze(torch.zeros(1, 2), label) == pytest.approx((float(wanted.yaw), float(wanted.pitch)), abs=1e-5)


def test_the_judge_sees_the_eyes_move_where_they_are_told(control):
    judge = load_gaze_network("embedded-judge")
    seeing = LiveHead("x", control.G, lambda images, labels: estimate_gaze(images, labels, judge))
    left, right = (seeing.full(View(seed=1, gaze=gaze), lambda: None, True).eyes for gaze in ("25,0", "-25,0"))
    assert left[0] - right[0] > 0.5  # of 0.87 rad that were asked for
    assert seeing.full(View(seed=1), lambda: None).eyes is None


def test_a_network_of_another_kind_is_drawn_by_its_synthesis():
    class Flat(torch.nn.Module):
        z_dim, resolution, orbit = 4, 8, tiny_generator().orbit

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def mapping(self, z, c, truncation_psi=1.0, truncation_cutoff=None):
            return z * truncation_psi

        def synthesis(self, ws, c, *, draws=None, noise_mode="random"):
            return {"image": torch.tanh(ws[:, :1, None, None].expand(len(ws), 3, 8, 8) + c[:, 3, None, None, None])}

    head = LiveHead("flat", Flat(), lambda images, labels: torch.zeros(2, len(images)))
    assert all(head.preview(View(), effort, 9.0, read=True).eyes for effort in ("auto", "raw-32"))  # all are whole
    assert head.full(View(), lambda: None).image.shape == (8, 8, 3)
    assert head.preview(View(yaw=0.3), "auto", 0.1).image.shape == (8, 8, 3)
    with pytest.raises(ValueError, match="draws no depth"):
        head.full(View(show="depth"), lambda: None)
    assert not head.facts()["solid"] and not head.aimed
