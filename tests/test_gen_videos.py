"""Films: camera paths, curves through latents, what is in a frame, and whole mp4 files or none."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.interpolate import interp1d
from tiny_networks import tiny_generator

from eg3d.checkpoints.loading import save_snapshot
from eg3d.gen_videos import main
from eg3d.geometry.cameras import FFHQ_FOCAL, focal_to_fov, fov_to_intrinsics, lookat_pose
from eg3d.pictures import video
from eg3d.pictures.layout import enlarge, to_uint8
from eg3d.pictures.video import Plan, abreast, closed_curve, film, grey, orbit, path_labels, plan_films, write_video
from eg3d.pictures.views import ViewOptions, camera_labels, render_ws, ws_of_seeds

ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="films need the extra ffmpeg")
VIEW = ViewOptions(psi=1.0, fov_deg=18.0)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for name, seed in (("first", 0), ("second", 1)):
        save_snapshot(folder / f"{name}.safetensors", {"G_ema": tiny_generator(seed)}, {})
    return folder


def run(networks, outdir, *more, names=("first",)):
    args = [f"--network={networks / name}.safetensors" for name in names]
    args += [f"--outdir={outdir}", "--w-frames=4", "--sample_mult=1", "--device=cpu", *more]
    return CliRunner().invoke(main, args)


def read_video(path):
    """(facts, frames uint8 [n, H, W, 3]) of an mp4."""
    reader = ffmpeg.read_frames(str(path))
    facts = next(reader)
    width, height = facts["size"]
    return facts, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


def assert_refused(result, text):
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


def test_orbit_is_the_published_ellipse():
    yaw, pitch = orbit(8)
    assert yaw.tolist() == pytest.approx([0.35 * math.sin(math.pi * i / 4) for i in range(8)])
    assert pitch[[0, 2, 4]].tolist() == pytest.approx([0.2, -0.05, -0.3])


def test_focal_lengths_survive_the_way_through_a_field_of_view():
    for focal in (FFHQ_FOCAL, 1.7074):
        assert fov_to_intrinsics(focal_to_fov(focal))[0, 0].item() == pytest.approx(focal, rel=1e-6)


def test_curve_passes_its_keyframes_closes_smoothly_and_is_near_the_published_one():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 3, 5))).float()
    curve = closed_curve(points)
    for k in range(4):
        assert torch.allclose(curve(k), points[:, k], atol=1e-6)
    assert torch.allclose(curve(4), points[:, 0], atol=1e-6)
    step = 1e-3
    assert torch.allclose((curve(step) - curve(0)) / step, (curve(4) - curve(4 - step)) / step, atol=0.05)
    tiled = np.tile(points.numpy(), (1, 5, 1, 1))  # published: five rounds, cubic, read in the middle one
    published = interp1d(np.arange(-8, 12), tiled, kind="cubic", axis=1)
    for t in (0.3, 1.5, 3.9):
        assert np.allclose(curve(t).numpy(), published(t), atol=0.01)


def test_one_keyframe_stands_still():
    points = torch.randn(3, 1, 2, 2)
    assert torch.equal(closed_curve(points)(0.7), points[:, 0])


def test_seeds_are_shared_out_cell_by_cell():
    assert plan_films([4, 5, 6, 7], (2, 1)) == [Plan("interpolation", [[4, 5], [6, 7]], 2)]
    assert plan_films([1, 2], (1, 2), num_keyframes=3) == [Plan("interpolation", [[1, 2, 1], [2, 1, 2]], 1)]
    assert plan_films([3, 9], interpolate=False) == [Plan("3", [[3]]), Plan("9", [[9]])]
    with pytest.raises(ValueError, match="--grid=2x1: 3 seeds cannot be shared out"):
        plan_films([1, 2, 3], (2, 1))
    with pytest.raises(ValueError, match="--interpolate=False"):
        plan_films([1, 2], (2, 1), interpolate=False)


@pytest.mark.parametrize("keyframes", [1, 2])
def test_every_frame_shows_each_cells_latent_from_the_frames_camera(keyframes):
    G, seeds = tiny_generator(), [0, 1, 2, 3]
    plan = plan_films(seeds[: 2 * keyframes], (2, 1))[0]
    labels = path_labels(None, 6, G, 18.0)
    frames = list(film(G, plan, labels, VIEW, side=32, at_once=4))
    assert len(frames) == 6 and frames[0].shape == (32, 64, 3)
    curve = video.latent_curve(G, plan, VIEW)
    for i in (0, 5):
        for cell in (0, 1):
            ws = curve(i / 6 * keyframes)[cell : cell + 1]
            expected = to_uint8(render_ws(G, ws, labels[i : i + 1])["image"])[0].astype(int)
            assert np.abs(frames[i][:, 32 * cell : 32 * cell + 32] - expected).max() <= 1
    first = ws_of_seeds(G, [seeds[0]], VIEW)
    assert torch.allclose(curve(0)[:1], first, atol=1e-6)


def test_depth_is_light_where_it_is_near_and_spans_each_picture():
    depth = torch.tensor([[2.0, 3.0], [2.5, 2.25]])[None, None].repeat(2, 1, 1, 1) * torch.tensor([1.0, 2]).reshape(
        2, 1, 1, 1
    )
    assert grey(depth)[1, 2].tolist() == [[1, -1], [0, 0.5]]
    assert grey(torch.ones(1, 1, 2, 2)).isfinite().all()


def test_several_networks_stand_under_their_captions_beside_or_below_each_other():
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    beside = next(abreast([[red], [blue]], ["a", "b"]))
    assert beside.shape == (96, 64 + video.GAP + 64, 3)
    assert (beside[32:, :64] == red).all() and (beside[32:, -64:] == blue).all()
    below = next(abreast([[red], [blue]], ["a", "b"], beside=False))
    assert below.shape == (192, 64, 3)
    assert (below[32:96] == red).all() and (below[128:] == blue).all()
    assert (below[:32] < 128).any() and (below[96:128] < 128).any()  # the captions


def test_interpolation_is_one_mp4_and_its_cameras_make_the_same_film_again(networks, tmp_path):
    result = run(networks, tmp_path / "a", "--seeds=0,1", names=("first", "second"))
    assert result.exit_code == 0, result.output + result.stderr
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["interpolation.mp4", "interpolation_cameras.json"]
    facts, frames = read_video(tmp_path / "a" / "interpolation.mp4")
    assert (facts["fps"], facts["codec"], len(frames)) == (60, "h264", 8)
    assert frames[0].shape == (32 + 256, 256 + 8 + 256, 3)
    path = tmp_path / "a" / "interpolation_cameras.json"
    result = run(networks, tmp_path / "b", "--seeds=0,1", f"--camera-path={path}", names=("first", "second"))
    assert result.exit_code == 0, result.output + result.stderr
    again = read_video(tmp_path / "b" / "interpolation.mp4")[1]
    assert np.abs(frames.astype(int) - again).mean() < 0.5
    G = tiny_generator()
    ws = ws_of_seeds(G, [0], ViewOptions(1.0, 14, focal_to_fov(FFHQ_FOCAL)))
    expected = enlarge(
        to_uint8(render_ws(G, ws, path_labels(None, 8, G, focal_to_fov(FFHQ_FOCAL))[:1])["image"])[0], 256
    )
    assert np.abs(frames[0][32:, :256].astype(int) - expected).mean() < 4  # H.264 costs a little


def test_a_path_of_angles_is_followed_frame_by_frame(networks, tmp_path):
    angles = [[0.1 * i, -0.2] for i in range(5)]
    (tmp_path / "path.json").write_text(json.dumps({"cameras": angles}))
    result = run(networks, tmp_path, "--seeds=0", f"--camera-path={tmp_path / 'path.json'}")
    assert result.exit_code == 0, result.output + result.stderr
    written = torch.tensor(json.loads((tmp_path / "interpolation_cameras.json").read_text())["labels"])
    assert torch.allclose(
        written[:, :16].reshape(5, 4, 4), lookat_pose(*torch.tensor(angles).T, (0, 0, 0.2)), atol=1e-6
    )
    assert len(read_video(tmp_path / "interpolation.mp4")[1]) == 5


@pytest.mark.parametrize("side", [96, 768])  # players guess another matrix for large films
def test_a_film_shows_the_colours_of_its_pictures_and_says_by_which_matrix(tmp_path, side):
    colours = np.array([[220, 180, 150], [200, 60, 40], [40, 160, 60], [40, 60, 200], [128, 128, 128], [230, 230, 60]])
    frame = np.repeat(colours, side // 6, axis=0)[None].repeat(side, axis=0).astype(np.uint8)
    write_video(tmp_path / "x.mp4", [frame] * 4)
    program, at = ffmpeg.get_ffmpeg_exe(), str(tmp_path / "x.mp4")
    described = subprocess.run([program, "-hide_banner", "-i", at], capture_output=True, text=True).stderr
    assert re.search(r"yuv420p\(tv, bt709", described), described
    content = (tmp_path / "x.mp4").read_bytes()
    assert content[content.index(b"colrnclx") + 8 :][:7] == bytes([0, 1, 0, 1, 0, 1, 0])  # of the mp4 file itself
    raw = ["-vf", "scale=in_color_matrix=bt709:flags=accurate_rnd", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run([program, "-v", "error", "-i", at, "-frames:v", "1", *raw], capture_output=True).stdout
    shown = np.frombuffer(decoded, np.uint8).reshape(side, side, 3)[side // 2, side // 12 :: side // 6]
    assert np.abs(shown.astype(int) - colours).max() <= 3


def test_orbits_of_single_seeds_are_named_after_them_with_one_shape_each(networks, tmp_path):
    result = run(networks, tmp_path, "--seeds=2,5", "--interpolate=False", "--shapes=True", "--shape-res=16",
                 "--shape-format=.mrc")  # fmt: skip
    assert result.exit_code == 0, result.output + result.stderr
    names = {"2.mp4", "2_cameras.json", "5.mp4", "5_cameras.json", "seed0002.mrc", "seed0005.mrc"}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_shapes_of_an_interpolation_are_one_for_each_frame(networks, tmp_path):
    result = run(
        networks, tmp_path, "--seeds=2,5,6", "--shapes", "--shape-res=8", "--shape-format=.mrc", "--w-frames=1"
    )
    assert result.exit_code == 0, result.output + result.stderr
    shapes = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.mrc"))
    assert shapes == [f"interpolation_2_5/000{i}_shape.mrc" for i in range(3)]
    assert len({(tmp_path / name).read_bytes() for name in shapes}) == 3


@pytest.mark.parametrize(("mode", "grey_ones"), [("image_depth", True), ("image_raw", False)])
def test_depth_and_raw_pictures_can_be_filmed(networks, tmp_path, mode, grey_ones):
    result = run(networks, tmp_path, "--seeds=0", f"--image_mode={mode}", "--nrr=12")
    assert result.exit_code == 0, result.output + result.stderr
    frames = read_video(tmp_path / "interpolation.mp4")[1].astype(int)
    assert (np.abs(frames - frames.mean(axis=3, keepdims=True)).max() < 12) == grey_ones


def test_a_film_that_fails_leaves_nothing_and_keeps_the_old_one(tmp_path):
    def frames():
        yield np.zeros((16, 16, 3), np.uint8)
        raise OSError("gone")

    (tmp_path / "x.mp4").write_bytes(b"old")
    with pytest.raises(OSError, match="gone"):
        write_video(tmp_path / "x.mp4", frames())
    with pytest.raises(ValueError, match="no frame"):
        write_video(tmp_path / "x.mp4", [])
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"] and (tmp_path / "x.mp4").read_bytes() == b"old"


def test_odd_sizes_are_filled_up(tmp_path):
    assert write_video(tmp_path / "x.mp4", [np.full((15, 17, 3), 90, np.uint8)] * 3) == 3
    assert read_video(tmp_path / "x.mp4")[1].shape == (3, 16, 18, 3)


def test_missing_ffmpeg_is_one_line_that_names_the_extra(networks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert_refused(run(networks, tmp_path / "out", "--seeds=0"), "pip install 'gaze-corrected-eg3d[ffmpeg]'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "is no camera path"),
        ("[1, 2]", "is no camera path"),
        ('{"cameras": []}', "is no camera path"),
        ('{"cameras": [[1, 2, 3]]}', "is no camera path"),
        ('{"cameras": [[1, 2], [3]]}', "is no camera path"),
        ('{"cameras": "abc"}', "is no camera path"),
        ('{"cameras": [[1, 2], [NaN, 0]]}', "the camera of frame 1 is not finite"),
        ('{"cameras": [[0, 0], [20, -15]]}', "frame 1 has yaw 20 and pitch -15, as 1 of 2 frames are beyond 3 turns"),
        ('{"cameras": [[0, 0], [0, 10]]}', "are they degrees? They must be radians"),
        (json.dumps({"labels": [[2.0] * 25]}), "frame 0 is not a rotation"),
    ],
)
def test_a_bad_camera_path_is_one_line_that_names_the_file(networks, tmp_path, content, text):
    (tmp_path / "path.json").write_text(content)
    result = run(networks, tmp_path / "out", "--seeds=0", f"--camera-path={tmp_path / 'path.json'}")
    assert_refused(result, text)
    assert "path.json" in result.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--seeds=0-2", "--grid=2x1"], "--grid=2x1"),
        (["--seeds=0", "--grid=wide"], "'wide' is not a grid"),
        (["--seeds=0", "--caption=a", "--caption=b"], "2 --caption for 1 --network"),
        (["--seeds=0-1", "--grid=2x1", "--shapes"], "--shapes"),
        (["--seeds=0", "--camera-path=nowhere.json"], "nowhere.json"),
        (["--seeds=0", f"--outdir={__file__}"], "--outdir"),
    ],
)
def test_bad_options_are_one_line(networks, tmp_path, options, text):
    assert_refused(run(networks, tmp_path / "out", *options), text)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("cameras", "words"),
    [
        (
            [[-15, 0], [0, 0], [15, 0]],
            "2 of 3 frames are beyond one turn or the pole, the first is frame 0 with yaw -15",
        ),
        ([[0, 0], [0.5, 2.5]], "1 of 2 frames are beyond one turn or the pole, the first is frame 1 with yaw 0.5"),
        ([[0, 0], [6.28319, -1.5708]], ""),
    ],
)
def test_angles_that_may_be_degrees_are_warned_of(networks, tmp_path, monkeypatch, cameras, words):
    (tmp_path / "path.json").write_text(json.dumps({"cameras": cameras}))
    monkeypatch.setattr(video, "film", lambda *_, **__: sys.exit(0))
    result = run(networks, tmp_path / "out", "--seeds=0", f"--camera-path={tmp_path / 'path.json'}")
    assert result.exit_code == 0 and words in result.stderr
    assert ("multiply degrees by pi/180" in result.stderr) == bool(words)


def test_labels_of_a_path_keep_their_numbers(tmp_path):
    G = tiny_generator()
    labels = camera_labels([0.1, 0.2], [0.0, 0.1], G.orbit)
    video.write_camera_path(tmp_path / "c.json", labels)
    assert torch.allclose(path_labels(video.read_camera_path(tmp_path / "c.json"), 7, G, 18.0), labels, atol=1e-6)
    for fps in (True, 0, "x", 1e9):
        (tmp_path / "c.json").write_text(json.dumps({"cameras": [[0.0, 0.0]], "fps": fps}))
        with pytest.raises(ValueError, match="c.json: fps is .* from 1 to 240"):
            video.read_camera_path(tmp_path / "c.json")


def test_more_samples_and_rays_on_request():
    G = video.set_quality(tiny_generator(), 2.5, 12)
    assert (G.options.depth_resolution, G.options.depth_resolution_importance) == (15, 15)
    assert G.neural_rendering_resolution == 12
    G = video.set_quality(tiny_generator())
    assert (G.options.depth_resolution, G.neural_rendering_resolution) == (6, 8)


def test_a_wide_grid_of_two_networks_is_stacked_and_the_focal_length_is_the_presets(networks, tmp_path):
    result = run(networks, tmp_path, "--seeds=0,1", "--grid=2,1", "--cfg=Shapenet", names=("first", "second"))
    assert result.exit_code == 0, result.output + result.stderr
    frames = read_video(tmp_path / "interpolation.mp4")[1]
    assert frames.shape == (4, 2 * (32 + 256), 2 * 256, 3)
    labels = json.loads((tmp_path / "interpolation_cameras.json").read_text())["labels"]
    assert labels[0][16] == pytest.approx(1.7074, abs=1e-4)


def test_seeds_are_shuffled_on_request_the_same_way_each_time(networks, tmp_path):
    told = []
    for options in ([], ["--shuffle-seed=1"], ["--shuffle-seed=1"]):
        result = run(networks, tmp_path, "--seeds=0-2", "--interpolate=False", "--w-frames=1", *options)
        assert result.exit_code == 0, result.output + result.stderr
        told.append([line.split("/")[-1] for line in result.stdout.splitlines()])
    assert told[1] == told[2] != told[0] == [f"{seed}.mp4: 1 frames" for seed in range(3)]
    assert sorted(told[1]) == told[0]
