"""DeepWarp: its run goes on exactly, its schedule, its box in a square patch, the film; wrong input is one line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.attributes import Attributes
from redirection.deepwarp.gaze_warp import GazeWarp, WarpConfig
from redirection.deepwarp.rate_schedule import rate_at, read_schedule
from redirection.deepwarp.warp_file import angle_difference, box_rows, read_warp, save_warp
from redirection.deepwarp.warp_redirector import WarpRedirector
from redirection.deepwarp.warp_run import WarpRun, WarpRunConfig
from redirection.patch_sets import read_patches

TRAIN, REDIRECT = "redirection/deepwarp/train.py", "redirection/deepwarp/redirect.py"
SMALL = WarpConfig(height=26, width=32, lightness=True, unit_deg=15.0)


@pytest.fixture
def run(tmp_path, gaze_set, run_script_in):
    return lambda script, *flags: run_script_in(tmp_path, script, *flags)


def started(folder, gaze_set, **more):
    training, unseen = (read_patches(gaze_set, part, Attributes.parse("L@R")) for part in ("train", "test"))
    config = WarpRunConfig(networks=SMALL, steps=200, batch=8, tick=10, **more)
    return WarpRun(config, training, unseen, folder, torch.device("cpu"))


def make_steps(run, count):
    losses = []
    for _ in range(count):
        losses.append(run.losses_of_step()["output_loss"])
        run.step += 1
    return losses


def test_a_run_that_goes_on_equals_an_unbroken_one(tmp_path, gaze_set):
    whole, first = (started(tmp_path / name, gaze_set) for name in ("whole", "parts"))
    make_steps(whole, 3)
    make_steps(first, 1)
    first.save({})
    second = started(tmp_path / "parts", gaze_set)
    make_steps(second, 2)
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, second.networks.state_dict()[name]), name


def test_it_learns_to_move_an_eye(tmp_path, gaze_set):
    losses = make_steps(started(tmp_path / "r", gaze_set), 80)  # 40 are not enough with every machine's rounding
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


def test_the_first_line_of_a_schedule_holds_from_the_start_and_published_epoch_0_learns_nothing(tmp_path):
    (tmp_path / "s").write_text("1,0.001\n30,0.0005\n")
    schedule = read_schedule(tmp_path / "s")
    assert [rate_at(schedule, epoch) for epoch in (0, 1, 29, 30, 99)] == [1e-3, 1e-3, 1e-3, 5e-4, 5e-4]
    assert [rate_at(schedule, epoch, legacy=True) for epoch in (0, 1)] == [0.0, 1e-3]


@pytest.mark.parametrize("text", ["", "1;2\n", "1,x\n", "5,1e-3\n2,1e-3\n", "0,inf\n", "0,-1\n"])
def test_a_wrong_schedule_is_one_line(tmp_path, text):
    (tmp_path / "s").write_text(text)
    with pytest.raises(ValueError, match="s: (line 1|give one line)"):
        read_schedule(tmp_path / "s")


def test_in_the_published_epoch_0_no_weight_changes(tmp_path, gaze_set):
    legacy = started(tmp_path / "r", gaze_set, schedule=((1, 1e-3),), legacy_schedule=True)
    before = [p.detach().clone() for p in legacy.networks.parameters()]
    make_steps(legacy, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, legacy.networks.parameters(), strict=True))


def test_the_box_is_the_middle_of_the_square_and_the_published_one_fits():
    assert box_rows(SMALL) == slice(3, 29) and box_rows(WarpConfig()) == slice(5, 46)


def test_the_difference_is_source_minus_wanted_horizontal_first():
    shown, wanted = torch.tensor([[5.0, 10, 15]]), torch.tensor([[9.0, 0, -15]])
    assert angle_difference(shown, wanted, SMALL)[0].tolist() == pytest.approx([2, 10 / 15])
    assert angle_difference(shown, wanted, WarpConfig())[0].tolist() == pytest.approx([30 / 90, 10 / 90])


def test_lightness_mixes_white_into_what_is_moved_and_nothing_else():
    torch.manual_seed(0)
    lit, plain = GazeWarp(SMALL).eval(), GazeWarp(WarpConfig(height=26, width=32, unit_deg=15.0)).eval()
    plain.load_state_dict({name: v for name, v in lit.state_dict().items() if not name.startswith("lightness")})
    x, angle = torch.rand(2, 3, 26, 32), torch.rand(2, 2)
    with torch.no_grad():
        bright, moved = lit(x, angle), plain(x, angle)
    white = (bright.output - moved.output) / (1 - moved.output)
    assert torch.equal(bright.flow, moved.flow)
    assert torch.allclose(white[:, 0], white[:, 1], atol=1e-3) and 0.005 < white.mean() < 0.1


def test_above_and_below_the_box_no_bit_changes(tmp_path):
    torch.manual_seed(0)
    save_warp(tmp_path / "w.safetensors", GazeWarp(SMALL), {"step": 3})
    network, facts = read_warp(tmp_path / "w.safetensors")
    assert facts == {"step": 3} and network.architecture == SMALL and network.lightness is not None
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    drawn = WarpRedirector(network, "cpu").redirect(x, torch.zeros(2, 3), torch.full((2, 3), 10.0))
    assert torch.equal(drawn[:, :, :3], x[:, :, :3]) and torch.equal(drawn[:, :, 29:], x[:, :, 29:])
    assert (drawn != x).any()
    (tmp_path / "torn").write_bytes((tmp_path / "w.safetensors").read_bytes()[:500])
    with pytest.raises(ValueError, match="torn: holds no gaze redirection by DeepWarp network"):
        read_warp(tmp_path / "torn")


def test_the_command_trains_and_draws_a_film_of_a_face_and_of_a_patch(tmp_path, run):
    ran = run(TRAIN, "--data_path=set", "--save_path=r", "--width=32", "--batch_size=4", "--steps=2", "--tick=1",
              "--lightness", "--device=cpu")  # fmt: skip
    assert ran.code == 0, ran.stderr
    lines = [json.loads(line) for line in (tmp_path / "r" / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2] and (tmp_path / "r" / "samples" / "00000002.png").is_file()
    photo = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "me.png")
    points = np.full((68, 2), 50.0)
    for first, x in ((36, 30), (42, 70)):
        turn = np.arange(6) * np.pi / 3
        points[first : first + 6] = np.stack([x + 6 * np.cos(turn), 40 + 6 * np.sin(turn)], 1)
    (tmp_path / "points.json").write_text(json.dumps({"me.png": points.tolist()}))
    flags = ["--model_path=r/weights.safetensors", "--num_frame=5", "--device=cpu"]
    ran = run(REDIRECT, *flags, "--img_path=me.png", "--landmarks=points.json", "--out_path=me.gif")
    film = Image.open(tmp_path / "me.gif") if ran.code == 0 else pytest.fail(ran.stderr)
    assert film.n_frames == 5 and film.size == (100, 100)
    patch = "--img_path=set/all/0003_2m_0P_0V_0H_L.png"
    assert run(REDIRECT, *flags, patch, "--out_path=eye.gif").code == 0
    assert Image.open(tmp_path / "eye.gif").size == (32, 32)
    wrong = run(REDIRECT, *flags, patch, "--out_path=eye.png")
    assert wrong.code == 2 and "end the name in .gif" in wrong.stderr
