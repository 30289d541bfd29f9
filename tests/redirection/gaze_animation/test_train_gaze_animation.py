"""pretrain.py, train.py, test.py on a tiny set: what is written, exact resume, mirrored batches, published weights."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_checkpoints import write_bundle

from redirection.gaze_animation import painting_losses, pretrain, published_animator, train
from redirection.gaze_animation import test as test_script
from redirection.gaze_animation.animator_file import open_animator
from redirection.gaze_animation.domain_batches import DomainBatches, swapped
from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.gaze_animator import LEAVES, NETWORKS, AnimatorConfig, GazeAnimator
from redirection.gaze_animation.painting_losses import Faces
from redirection.gaze_animation.painting_steps import (
    EyeAutoEncoder,
    PaintingTraining,
    StepConfig,
    Trainees,
    mirror_losses,
)
from redirection.gaze_animation.portrait_lists import read_domains
from redirection.gaze_animation.published_animator import load_published
from redirection.tensorflow_names import variables_of

NARROW = AnimatorConfig(size=32, ngf=2, nef=2, ndf=2, n_layers_g=2, n_layers_e=1, n_layers_r=1, n_layers_d=3,
                        widest=2, own=4, content=4, hidden=8)  # fmt: skip
FLAGS = ["--img_size=32", "--ngf=2", "--nef=2", "--ndf=2", "--n_layers_g=2", "--n_layers_e=1", "--n_layers_r=1",
         "--n_layers_d=3", "--widest=2", "--own=4", "--content=4", "--hidden=8", "--batch_size=2", "--test_num=2",
         "--device=cpu", "--tick=1", "--sample=2"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six portraits of each domain: a dark spot at the left eye, a bright one at the right eye, beside the middle."""
    folder, draws = tmp_path_factory.mktemp("set"), np.random.RandomState(0)
    for domain in "01":
        (folder / domain).mkdir()
        lines = []
        for i in range(6):
            picture = draws.randint(100, 150, (32, 32, 3)).astype(np.uint8)
            lx, rx, y = 5 + i % 3, 18 + i % 2, 11
            picture[y - 2 : y + 2, lx - 2 : lx + 2], picture[y - 2 : y + 2, rx - 2 : rx + 2] = 0, 255
            Image.fromarray(picture).save(folder / domain / f"p{i}.png")
            lines.append(f"p{i} {lx * 8} {y * 8} {rx * 8} {y * 8}\n")
        (folder / f"{domain}.txt").write_text("".join(lines))
    return folder


def run(command, *arguments, code=0):
    result = CliRunner().invoke(command.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def pam(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pam"
    run(pretrain, f"--data_dir={data}", f"--exper_name={folder}", "--niter=2", *FLAGS)
    return folder


def train_flags(data, pam, folder, steps):
    return [f"--data_dir={data}", f"--pretrain_path={pam}", f"--exper_name={folder}", f"--niter={steps}",
            "--vgg_path=none", "--use_sp", *FLAGS]  # fmt: skip


def test_a_run_in_two_parts_equals_one_that_never_stopped(data, pam, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(train, *train_flags(data, pam, whole, 4))
    for steps in (1, 3, 4):
        run(train, *train_flags(data, pam, parts, steps))
    a, b = (torch.load(f / "checkpoints/state.pt", weights_only=True) for f in (whole, parts))
    assert a["step"] == b["step"] == 4
    for name, value in a["networks"].items():
        assert torch.equal(value, b["networks"][name]), name
    losses = [[json.loads(line)["Loss/Gy_loss"] for line in (f / "stats.jsonl").read_text().splitlines()]
              for f in (whole, parts)]  # fmt: skip
    assert len(losses[0]) == 4 and losses[0] == losses[1]
    assert {p.name for p in (whole / "sample_dir").iterdir()} == {
        f"{step:06d}_{kind}_whole.jpg" for step in (2, 4) for kind in ("lo", "tr", "te")
    }
    assert any(name.startswith("Dx.") and name.endswith("sn_u") for name in a["networks"])
    assert "use_sp: True" in (whole / "checkpoints/opt.txt").read_text()


def test_sheets_of_the_test_part_have_the_published_names_and_columns(data, pam, tmp_path):
    folder = tmp_path / "log"
    run(train, *train_flags(data, pam, folder, 1))
    run(test_script, f"--data_dir={data}", f"--exper_name={folder}", "--test_num=2", "--device=cpu")
    sizes = {p.name: Image.open(p).size for p in (folder / "test_sample_dir").iterdir()}
    assert sizes == {f"{j:02d}{end}.jpg": (columns * side, side) for j in range(2) for end, columns, side in (
        ("", 8, 32), ("_local", 10, 8), ("inter1", 13, 32), ("inter1_1", 17, 32)
    )}  # fmt: skip


def test_training_refuses_random_content_codes_unless_they_are_asked_for(data, tmp_path):
    (tmp_path / "empty").mkdir()
    flags = train_flags(data, tmp_path / "empty", tmp_path / "log", 1)
    assert "give the prefix" in run(train, *flags, code=2)
    flags = [flag for flag in flags if "pretrain" not in flag]
    assert "content codes would be random; run pretrain.py" in run(train, *flags, code=2)
    assert not (tmp_path / "log").exists()
    run(train, *flags, "--random-content")


def test_weights_of_other_networks_are_refused(data, pam, tmp_path):
    flags = [*train_flags(data, pam, tmp_path / "log", 1), "--content=5"]
    assert "was trained with content=4, not 5" in run(train, *flags, code=2)


def eye_shades(faces):
    """Shade in the middle of the left and of the right box, of X and of Y: dark is the eye that was left."""
    for pictures, boxes in ((faces.x, faces.x_boxes), (faces.y, faces.y_boxes)):
        for picture, pair in zip(pictures, boxes, strict=True):
            for left, top, right, bottom in pair.tolist():
                yield picture[0, int(top + bottom) // 2, int(left + right) // 2].item()


def batches(data, legacy):
    domains = read_domains(data, 2)
    made = DomainBatches(domains.x, domains.y, 32, (40, 40), 2, 0, legacy)
    return {bool(torch.rand((), generator=made._generator("mirror", step)) < 0.5): made.of_step(step)
            for step in range(8)}  # fmt: skip


def test_a_mirrored_batch_mirrors_the_eyes_of_both_domains_and_keeps_the_left_one_first(data):
    for turned, faces in batches(data, legacy=False).items():
        shades = torch.tensor(list(eye_shades(faces))).view(4, 2)
        first, second = (1, -1) if turned else (-1, 1)  # in a mirrored picture the bright eye is at the left
        assert (shades[:, 0] == first).all() and (shades[:, 1] == second).all()
        assert (faces.x_boxes[:, 0, 0] < faces.x_boxes[:, 1, 0]).all()


def test_the_published_rule_leaves_the_eyes_of_y_where_they_were_and_swaps_none_of_x(data):
    faces = batches(data, legacy=True)[True]
    shades = torch.tensor(list(eye_shades(faces))).view(4, 2)
    assert (shades[:2, 0] == -1).all() and (shades[2:, 0] != 1).any()
    assert (faces.x_boxes[:, 0, 0] > faces.x_boxes[:, 1, 0]).all()


def test_a_mirrored_batch_mirrors_the_yaw_that_is_known_of_y_and_not_its_pitch(data):
    domains = read_domains(data, 2)
    gaze = torch.arange(8.0).view(4, 2) + 1
    of_x = torch.zeros(len(domains.x), 2)
    plain, known = (DomainBatches(domains.x, domains.y, 32, (40, 40), 2, 0, gaze=of) for of in (None, (of_x, gaze)))
    turned = set()
    for step in range(8):
        rows, found = known._rows("y", 4, step), known.of_step(step)
        sign = 1 if (found.y_gaze[:, 0] > 0).all() else -1
        assert torch.equal(found.y_gaze, gaze[rows] * torch.tensor([sign, 1.0]))
        is_turned = float(torch.rand((), generator=known._generator("mirror", step))) < 0.5
        assert is_turned == (sign < 0) and torch.equal(found.y, plain.of_step(step).y)
        turned.add(sign)
    assert turned == {1, -1}


def test_faces_that_er_reads_besides_come_from_both_domains_and_are_mirrored_with_their_gaze(data):
    domains = read_domains(data, 2)
    of_x, of_y = torch.full((len(domains.x), 2), 0.5), torch.arange(8.0).view(4, 2) + 1
    made = DomainBatches(domains.x, domains.y, 32, (40, 40), 2, 0, gaze=(of_x, of_y), reads=3)
    turned = set()
    for step in range(8):
        found = made.of_step(step)
        assert found.read.shape == (6, 6, 8, 8) and found.asked.shape == (2, 2) and found.asked.abs().max() <= 22
        assert found.read_gaze[:3].abs().eq(0.5).all() and found.read_gaze[3:].abs().ge(1).all()
        sign = float(found.read_gaze[0, 0].sign())
        left, right = (found.read[:, first : first + 3, 2:6, 2:6].mean((1, 2, 3)) for first in (0, 3))
        assert ((right - left) * sign > 0).all()  # the bright eye lies at the right, in a mirrored face at the left
        turned.add(sign)
    assert turned == {1, -1}
    crops = torch.rand(2, 6, 4, 4)
    assert torch.equal(swapped(crops)[:, :3], crops[:, 3:].flip(-1)) and torch.equal(swapped(swapped(crops)), crops)


def test_er_learns_from_these_faces_and_gy_from_what_er_reads_of_a_gaze_that_was_asked_for():
    weights = painting_losses.PaintingWeights(lam_gaze=1.0, lam_asked=3.0)
    training = PaintingTraining(NARROW, StepConfig(weights=weights), None)
    training.begin()
    gaze = torch.tensor([[10.0, -4.0], [-6.0, 8.0]])
    faces = dataclasses.replace(some_faces(), y_gaze=gaze, read=torch.rand(2, 6, 8, 8), read_gaze=gaze, asked=-gaze)
    nets, critics = training.nets.animator, (training.nets.Dx, training.nets.Dy)
    painted = painting_losses.paint_all(nets, faces)
    terms = painting_losses.animation_losses(nets, critics, faces, painted, weights, None)
    expected = (nets.encode(faces.read) - gaze / 2).abs().mean()
    assert terms["gaze_code_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    moved = nets.paint(faces.y, faces.y_boxes, -gaze / 2, nets.content(painted.s, faces.y_boxes))
    expected = (nets.gaze(moved, faces.y_boxes) + gaze / 2).abs().mean()
    assert terms["gaze_asked_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    both = [*nets.Gy.parameters(), *nets.encode.parameters()]
    gradients = torch.autograd.grad(terms["gaze_asked_loss"], both, retain_graph=True, allow_unused=True)
    count = len(list(nets.Gy.parameters()))
    assert any(one is not None and one.abs().max() > 0 for one in gradients[:count])
    assert all(one is None for one in gradients[count:])  # Er must not learn to read what Gy paints
    rest = [value for name, value in terms.items() if name not in ("gaze_asked_loss", "Gy_loss")]
    assert terms["Gy_loss"].item() == pytest.approx((sum(rest) + 3 * terms["gaze_asked_loss"]).item(), rel=1e-5)
    with pytest.raises(ValueError, match="give --known-gaze too"):
        painting_losses.PaintingWeights(lam_asked=1.0)


def test_known_gaze_makes_the_code_of_y_its_degrees_and_that_of_the_corrected_face_none():
    training = PaintingTraining(NARROW, StepConfig(weights=painting_losses.PaintingWeights(lam_gaze=2.0)), None)
    training.begin()
    faces = dataclasses.replace(some_faces(), y_gaze=torch.tensor([[10.0, -4.0], [-6.0, 8.0]]))
    nets = training.nets.animator
    s = painting_losses.synthesised(nets, faces)[0]
    wanted = torch.tensor([[5.0, -2.0], [-3.0, 4.0]])
    expected = (nets.gaze(faces.y, faces.y_boxes) - wanted).abs().mean() + nets.gaze(s, faces.y_boxes).abs().mean()
    terms = painting_losses.animation_losses(
        nets, (training.nets.Dx, training.nets.Dy), faces, painting_losses.paint_all(nets, faces),
        painting_losses.PaintingWeights(lam_gaze=2.0), None,
    )  # fmt: skip
    assert terms["gaze_code_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    others = [terms[name] for name in terms if name not in ("gaze_code_loss", "Gy_loss")]
    assert terms["Gy_loss"].item() == pytest.approx((sum(others) + 2 * expected).item(), rel=1e-5)


def test_bf16_gives_nearly_the_same_losses_and_float32_weights():
    found = []
    for precision in ("fp32", "bf16"):
        training = PaintingTraining(NARROW, StepConfig(precision=precision), None)
        training.begin()
        found.append(training.step(some_faces(), 1.0, torch.rand(2)))
        assert {one.dtype for one in training.nets.parameters()} == {torch.float32}
    assert found[0]["recon_loss_x"].item() == pytest.approx(found[1]["recon_loss_x"].item(), rel=0.02)
    assert found[0]["recon_loss_x"] != found[1]["recon_loss_x"]


def some_faces():
    torch.manual_seed(0)
    boxes = boxes_around(torch.tensor([[[8.0, 12], [24, 12]]] * 2), (8, 6), 32)
    return Faces(torch.rand(2, 3, 32, 32), boxes, torch.rand(2, 3, 32, 32), boxes)


def test_pre_training_compares_each_eye_with_itself_and_the_mirrored_other_one_with_it():
    faces, network = some_faces(), EyeAutoEncoder(NARROW)
    eyes = painting_losses.both_eyes(painting_losses.eye_crops(faces.x, faces.x_boxes))
    left, right = eyes[0::2], eyes[1::2]
    terms = mirror_losses(network.eval(), faces)
    assert len(terms) == 9 and terms["pam_loss"] == sum(v for k, v in terms.items() if k != "pam_loss")
    assert terms["x_right_mirror"].item() == pytest.approx(
        (network(left.flip(-1)) - right).abs().mean().item(), rel=1e-5
    )
    assert terms["x_left_self"].item() == pytest.approx((network(left) - left).abs().mean().item(), rel=1e-5)


def test_each_step_moves_all_networks_but_gr(data):
    training = PaintingTraining(NARROW, StepConfig(), None)
    training.begin()
    before = {name: value.clone() for name, value in training.nets.state_dict().items()}
    found = training.step(some_faces(), 1.0, torch.rand(2))
    assert {"Dx_loss", "Dy_loss", "Gx_loss", "Gy_loss"} < found.keys()
    for name, value in training.nets.state_dict().items():
        moved = not torch.equal(value, before[name])
        # a bias before an instance norm has no effect
        assert moved != name.startswith("animator.Gr.") or ("bias" in name and "FC" not in name), name


def test_gy_learns_from_the_gx_that_has_just_moved_unless_time_is_to_be_saved():
    results = []
    for reuse in (False, True):
        training = PaintingTraining(NARROW, StepConfig(lr_g=0.1, reuse_synthesis=reuse), None)
        training.begin()
        results.append(training.step(some_faces(), 1.0, torch.rand(2)))
    assert results[0]["Gx_loss"] == results[1]["Gx_loss"]
    assert results[0]["recon_loss_y_angle"] != results[1]["recon_loss_y_angle"]


def test_alpha_0_shows_the_gaze_that_is_there_and_alpha_1_that_of_the_corrected_face():
    torch.manual_seed(0)
    nets, faces = GazeAnimator(NARROW).eval(), some_faces()
    there, camera = nets.ends(faces.y, faces.y_boxes)
    assert torch.equal(there.gaze, nets.gaze(faces.y, faces.y_boxes)) and not torch.equal(there.gaze, camera.gaze)
    for alpha, end in ((0.0, there), (1.0, camera)):
        expected = nets.paint(faces.y, faces.y_boxes, end.gaze, end.content)
        assert torch.allclose(nets.frame(faces.y, faces.y_boxes, alpha), expected, atol=1e-6)


@pytest.mark.parametrize("reuse", [False, True])
def test_gy_and_er_learn_from_the_synthesis_which_itself_is_data(reuse):
    weights = painting_losses.PaintingWeights()
    training = PaintingTraining(NARROW, StepConfig(reuse_synthesis=reuse), None)
    training.begin()
    nets, faces = training.nets.animator, some_faces()
    painted = painting_losses.paint_all(nets, faces)
    assert painted.s_again.requires_grad and not painted.s.requires_grad
    terms = painting_losses.animation_losses(nets, (training.nets.Dx, training.nets.Dy), faces, painted, weights, None)
    for network in (nets.Gy, nets.encode):
        for name in ("recon_loss_y_angle", "gyx_gan_loss"):
            gradients = torch.autograd.grad(
                terms[name], list(network.parameters()), retain_graph=True, allow_unused=True
            )
            assert any(one is not None and one.abs().max() > 0 for one in gradients), name


def test_with_wgan_the_gradients_of_both_discriminators_are_bounded():
    weights = painting_losses.PaintingWeights(loss_type="wgan", lam_gp=1e3)
    training = PaintingTraining(NARROW, StepConfig(lr_d=1e-2, weights=weights), None)
    training.begin()
    faces = some_faces()
    penalties = [training.step(faces, 1.0, torch.full((2,), 0.5))["dy_penalty"].item() for _ in range(8)]
    assert penalties[-1] < 0.5 * penalties[0]


def test_learning_rates_fall_in_stairs_of_2000_steps_as_published():
    config = StepConfig()
    assert [config.factor(step, 200_000) for step in (0, 19_999, 20_000, 21_999)] == [1] * 4
    assert config.factor(22_000, 200_000) == config.factor(23_999, 200_000) == 178 / 180


def test_a_published_checkpoint_loads_with_equal_outputs(tmp_path, monkeypatch):
    torch.manual_seed(3)
    nets, faces = Trainees(NARROW, None).animator, some_faces()
    state, variables = nets.state_dict(), {}
    for scope in NETWORKS:
        for entry, (name, axes) in variables_of(getattr(nets, scope), scope, LEAVES).items():
            value = state[f"{scope}.{entry}"].numpy()
            variables[name] = np.ascontiguousarray(value.transpose(np.argsort(axes)))
    write_bundle(tmp_path / "model_200000", variables)
    loaded = load_published(tmp_path, NARROW)
    assert torch.equal(loaded.frame(faces.y, faces.y_boxes, 1.4), nets.frame(faces.y, faces.y_boxes, 1.4))
    monkeypatch.setattr(published_animator, "AnimatorConfig", lambda: NARROW)
    opened, calibration = open_animator(tmp_path)  # as correct.py and animate.py do
    assert torch.equal(opened.correct(faces.y, faces.y_boxes), nets.correct(faces.y, faces.y_boxes))
    assert calibration is None
    variables.pop("Gy/FC1/bias")
    write_bundle(tmp_path / "model_200000", variables)
    with pytest.raises(ValueError, match="Gy/FC1/bias is missing"):
        load_published(tmp_path, NARROW)
    assert isinstance(loaded, GazeAnimator)
