"""run.py of He et al.: a run goes on exactly, learns, draws pairs in the published layout; wrong input is one line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.attributes import Attributes
from redirection.he2019.angle_file import AngleConfig, read_generator, save_generator, unit_angles
from redirection.he2019.angle_redirector import AngleRedirector
from redirection.he2019.content_style import world_content_style
from redirection.he2019.cycle_losses import CycleWeights
from redirection.he2019.cycle_run import CycleRun, CycleRunConfig
from redirection.patch_sets import read_patches

RUN = "redirection/he2019/run.py"
NARROW = AngleConfig(size=32, width=4, residuals=1)


@pytest.fixture
def run(tmp_path, gaze_set, run_script_in):
    return lambda *flags: run_script_in(tmp_path, RUN, *flags)


def started(folder, gaze_set, steps=4, **more):
    training, unseen = (read_patches(gaze_set, part, Attributes.parse("L@R")) for part in ("train", "test"))
    config = CycleRunConfig(networks=NARROW, steps=steps, batch=4, generator_every=2, tick=2, **more)
    return CycleRun(config, training, unseen, folder, torch.device("cpu"))


def make_steps(run, count):
    for _ in range(count):
        run.losses_of_step()
        run.step += 1


def test_a_run_that_goes_on_equals_an_unbroken_one(tmp_path, gaze_set):
    whole, first = (started(tmp_path / name, gaze_set) for name in ("whole", "parts"))
    make_steps(whole, 4)
    make_steps(first, 1)
    first.save({})
    second = started(tmp_path / "parts", gaze_set)
    assert second.step == 1
    make_steps(second, 3)
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, second.networks.state_dict()[name]), name


def test_the_generator_moves_in_every_second_step_and_the_rate_falls_from_the_middle(tmp_path, gaze_set):
    run = started(tmp_path / "r", gaze_set, lr=1e-3)
    rates, moved = [], []
    for _ in range(4):
        before = [p.detach().clone() for p in run.networks.generator.parameters()]
        make_steps(run, 1)
        moved.append(
            any(not torch.equal(a, b) for a, b in zip(before, run.networks.generator.parameters(), strict=True))
        )
        rates.append(run.optimizers["critic"].param_groups[0]["lr"])
    assert moved == [True, False, True, False]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])


def test_paired_pulls_the_drawn_picture_toward_the_true_one(tmp_path, gaze_set):
    plain = started(tmp_path / "plain", gaze_set).losses_of_step()
    paired = started(tmp_path / "paired", gaze_set, weights=CycleWeights(paired=50.0)).losses_of_step()
    assert "paired" not in plain and 0.01 < paired["paired"] < 2
    assert paired["g_total"] - plain["g_total"] == pytest.approx(50 * paired["paired"], rel=1e-3)


def test_content_of_small_patches_is_seen_at_the_side_that_the_network_knows():
    seen = world_content_style()
    patch = torch.zeros(1, 3, 32, 32)
    features = seen._seen(patch)
    assert [x.shape[-1] for x in features] == [32, 16, 8]  # of 64 px
    dotted = patch.clone()
    dotted[:, :, ::2, 1::2] = 0.5  # the dots that strides at 32 px let pass
    assert seen(dotted, patch)["content"] > 0.01


def test_units_and_order_of_the_angles():
    assert unit_angles(torch.tensor([[30.0, 5.0, -15.0]])).tolist() == [[-1.0, 0.5]]


def test_the_redirector_asks_the_generator_for_the_wanted_gaze_and_gives_bytes(tmp_path):
    torch.manual_seed(0)
    save_generator(tmp_path / "g.safetensors", NARROW.build(), {"step": 7})
    generator, facts = read_generator(tmp_path / "g.safetensors")
    assert facts == {"step": 7} and generator.architecture == NARROW
    asked = []
    generator.register_forward_pre_hook(lambda module, given: asked.append(given))
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    drawn = AngleRedirector(generator, "cpu").redirect(x, torch.zeros(2, 3), torch.tensor([[0, 10, 15], [0, 0, -15.0]]))
    assert drawn.shape == x.shape and drawn.dtype == torch.uint8
    assert asked[0][1].tolist() == [[1, 1], [-1, 0]] and asked[0][0].min() >= -1 and asked[0][0].max() > 0.9
    (tmp_path / "torn").write_bytes((tmp_path / "g.safetensors").read_bytes()[:500])
    with pytest.raises(ValueError, match="torn: holds no gaze redirection by He et al. network"):
        read_generator(tmp_path / "torn")


def test_eval_writes_each_pair_three_times_under_names_that_say_angle_and_target(tmp_path, run):
    save_generator(tmp_path / "r" / "weights.safetensors", NARROW.build(), {})
    flags = ["--mode=eval", "--data_path=set", "--log_dir=r", "--batch_size=50", "--device=cpu"]
    ran = run(*flags)
    assert ran.code == 0 and "144 pairs" in ran.stdout, ran.stderr  # 2 eyes, 9 x 9 pairs, without a patch with itself
    names = {part: sorted(p.name for p in (tmp_path / "r" / "eval" / part).iterdir()) for part in ("targets", "genes")}
    assert len(names["genes"]) == 144 and names["genes"] == names["targets"]
    one = next(name for name in names["genes"] if name.endswith("_15.000_H15_V0.jpg"))
    true = np.asarray(Image.open(tmp_path / "r" / "eval" / "targets" / one)).astype(int)
    drawn = np.asarray(Image.open(tmp_path / "set" / "all" / "0003_2m_0P_0V_15H_L.png")).astype(int)
    assert np.abs(true - drawn).mean() < 12  # JPEG; stretched pictures are further off, see below
    again = run(*flags)
    assert again.code == 2 and "exists already" in again.stderr


def test_the_published_stretch_changes_brightness_and_is_off(tmp_path):
    from redirection.he2019.pictures_of_pairs import _jpeg

    grey = np.full((16, 16, 3), 100, np.uint8)
    grey[:8] = 110
    for stretch, least, most in ((False, 98, 112), (True, 0, 255)):
        (tmp_path / "x.jpg").write_bytes(_jpeg(grey, stretch))
        picture = np.asarray(Image.open(tmp_path / "x.jpg"))
        assert abs(int(picture.min()) - least) <= 2 and abs(int(picture.max()) - most) <= 2


SMALL = ["--data_path=set", "--log_dir=r", "--image_size=32", "--width=4", "--batch_size=4", "--device=cpu"]


def test_the_command_trains_writes_everything_and_a_second_time_finds_it_done(tmp_path, run):
    flags = [*SMALL, "--steps=2", "--tick=1", "--vgg_path=embedded"]
    assert run(*flags).code == 0 and run(*flags).code == 0
    lines = [json.loads(line) for line in (tmp_path / "r" / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2] and {"Loss/content", "Loss/style", "Loss/gp"} <= lines[0].keys()
    assert (tmp_path / "r" / "samples" / "00000002.png").is_file()
    other = run(*flags, "--seed=1")
    assert other.code == 2 and "other settings" in other.stderr


WRONG = {
    "batch": (["--batch_size=999"], "there are only 324 pairs"),
    "ids": (["--ids=7"], "--ids=7: leaves one part empty"),
    "vgg": (["--vgg_path=set/info/gaze-test.txt"], "VGG-16"),
    "beta": (["--adam_beta1=1"], "--adam_beta1=1.0: must be"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_is_one_line_and_writes_nothing(tmp_path, run, kind):
    flags, says = WRONG[kind]
    ran = run(*SMALL, "--steps=2", *flags)
    assert ran.code == 2 and says in ran.stderr and ran.stderr.strip().count("\n") == 0
    assert not (tmp_path / "r" / "state.pt").exists()
