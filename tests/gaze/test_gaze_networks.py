"""`load_gaze_network`: which network a name means, and what is found out about an ONNX file."""

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_onnx import linear_network

from eg3d.gaze import networks
from eg3d.gaze.networks import check_differentiable, load_gaze_network
from eg3d.gaze.term import GazeLossConfig, GazeTerm
from groundwork.files import sha256
from l2cs.decode import BINNINGS, decode
from l2cs.estimator import WORLD_NETWORKS, GazeAngles, GazeEstimator, mirror_faces
from l2cs.preprocess import preprocess

SIDE = 16


def kernels() -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [3, S, S] of two readings: the first turns its sign when the picture is mirrored, the second keeps it."""
    draws = torch.Generator().manual_seed(0)
    first, second = (torch.randn(3, SIDE, SIDE, generator=draws) for _ in range(2))
    return 0.01 * (first - first.flip(2)), 0.003 * (second + second.flip(2))


def readings(images: torch.Tensor) -> GazeAngles:
    """The same two readings by hand."""
    x = preprocess(images, SIDE)
    return GazeAngles(*((x * kernel).sum(dim=(1, 2, 3)) for kernel in kernels()))


def bins(kernel: torch.Tensor, count: int = 90) -> torch.Tensor:
    """Weights [count, 3, S, S] of logits that lean to bins on one side."""
    return 18 / count * torch.linspace(-1, 1, count)[:, None, None, None] * kernel


def write(path, parts: dict, **options):
    path.write_bytes(linear_network({name: np.asarray(kernel) for name, kernel in parts.items()}, **options))
    return path


@pytest.fixture
def onnx():
    return pytest.importorskip("onnxruntime")


# ---------------------------------------------------------------- names


def test_names_and_files_of_l2cs_net_are_read_as_before(tmp_path):
    made = {name: path for name, path in WORLD_NETWORKS.items() if path.is_file()}
    assert {"embedded", "embedded-judge"} <= set(made)
    for name, path in made.items():
        network = load_gaze_network(name)
        assert isinstance(network, GazeEstimator) and network.sha256 == sha256(path) and network.differentiable
    assert load_gaze_network(WORLD_NETWORKS["embedded"]).sha256 == load_gaze_network("embedded").sha256
    with pytest.raises(ValueError, match="nowhere.pkl: there is no such file"):
        load_gaze_network(tmp_path / "nowhere.pkl")


def test_a_row_in_the_table_is_another_gaze_network(monkeypatch):
    class Ahead:
        sha256, facts, differentiable = "0" * 64, {}, True

        def __call__(self, images):
            return GazeAngles(images.sum(dim=(1, 2, 3)) * 0, images.sum(dim=(1, 2, 3)) * 0)

    monkeypatch.setitem(networks.LOADERS, "ahead", lambda name, device: Ahead())
    term = GazeTerm.load(GazeLossConfig(weight=2.0, l2cs_path="ahead"))
    assert isinstance(term.network, Ahead) and term.facts()["network_sha256"] == "0" * 64


# ---------------------------------------------------------------- ONNX


def test_two_angles_in_an_onnx_file_are_those_of_the_graph(tmp_path, onnx):
    path = write(tmp_path / "a.onnx", {"gaze": torch.stack(kernels())})
    network, images = load_gaze_network(path), torch.rand(3, 3, 20, 20) * 2 - 1
    torch.testing.assert_close(network(images), readings(images), rtol=1e-4, atol=1e-5)
    assert network.sha256 == sha256(path) and network.facts == {"input": "ImageNet", "first": "yaw"}


@pytest.mark.parametrize("count", [90, 28])
def test_two_heads_of_bins_in_an_onnx_file_are_decoded_as_l2cs_net_does(tmp_path, onnx, count):
    yaw, pitch = kernels()
    path = write(tmp_path / "a.onnx", {"yaw": bins(yaw, count), "pitch": bins(pitch, count)})
    x = preprocess(mirror_faces(), SIDE)
    logits = [F.conv2d(x, bins(kernel, count)).flatten(1) for kernel in (yaw, pitch)]
    expected = GazeAngles(*(decode(head, BINNINGS[count]) for head in logits))
    torch.testing.assert_close(load_gaze_network(path)(mirror_faces()), expected, rtol=1e-4, atol=1e-4)


def test_pitch_before_yaw_is_found_out_by_mirrored_faces_whatever_the_names_say(tmp_path, onnx):
    yaw, pitch = kernels()
    network = load_gaze_network(write(tmp_path / "a.onnx", {"yaw": bins(pitch), "pitch": bins(yaw)}))
    other = load_gaze_network(write(tmp_path / "b.onnx", {"yaw": bins(yaw), "pitch": bins(pitch)}))
    assert network.facts["first"] == "pitch" and other.facts["first"] == "yaw"
    torch.testing.assert_close(network(mirror_faces()), other(mirror_faces()))


def test_a_file_that_normalises_inside_reads_the_same_gaze(tmp_path, onnx):
    outside = load_gaze_network(write(tmp_path / "a.onnx", {"gaze": torch.stack(kernels())}))
    with pytest.warns(UserWarning, match="b.onnx: takes bytes"):
        inside = load_gaze_network(write(tmp_path / "b.onnx", {"gaze": torch.stack(kernels())}, normalises=True))
    assert inside.facts["input"] == "bytes"
    torch.testing.assert_close(inside(mirror_faces()), outside(mirror_faces()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{"taken": [1, 3, SIDE, SIDE]}, {"taken": [3, 3, SIDE, SIDE]},
                                     {"channels_last": True}], ids=str)  # fmt: skip
def test_a_file_of_any_batch_and_layout_takes_any_number_of_faces(tmp_path, onnx, options):
    path = write(tmp_path / "a.onnx", {"gaze": torch.stack(kernels())}, **options)
    torch.testing.assert_close(load_gaze_network(path)(mirror_faces()), readings(mirror_faces()), rtol=1e-4, atol=1e-5)


FIRST, SECOND = kernels()
WRONG = {
    "three angles": (dict(gaze=torch.stack([FIRST, SECOND, SECOND])), {}, r"gives \[16, 3\]; a gaze network gives two"),
    "bins of no set": (dict(yaw=bins(FIRST, 60), pitch=bins(SECOND, 60)), {}, r"gives \[16, 60\] and \[16, 60\]"),
    "one head": (dict(yaw=bins(FIRST)), {}, r"gives \[16, 90\]; a gaze"),
    "degrees": (dict(gaze=60 * torch.stack([FIRST, SECOND])), {}, r"gives angles up to \d+\.\d; export .* radians"),
    "blind": (dict(gaze=1e-7 * torch.stack([FIRST, SECOND])), {}, "reads the same gaze in every face"),
    "a matrix": (dict(gaze=torch.stack([FIRST, SECOND])), dict(taken=["N", 3 * SIDE * SIDE]), "takes tensor|read it"),
    "one colour": (dict(gaze=torch.stack([FIRST, SECOND])[:, :1]), dict(taken=["N", 1, SIDE, SIDE]), "takes tensor"),
}


@pytest.mark.parametrize(("parts", "options", "message"), WRONG.values(), ids=WRONG)
def test_other_onnx_files_are_refused_in_one_line(tmp_path, onnx, parts, options, message):
    with pytest.raises(ValueError, match=message) as error:
        load_gaze_network(write(tmp_path / "a.onnx", parts, **options))
    assert "\n" not in str(error.value) and "a.onnx: " in str(error.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_what_is_no_onnx_file_is_one_line(tmp_path, onnx, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content) if content is not None else None
    with pytest.raises(ValueError, match="bad.onnx: (onnxruntime cannot read it|there is no such file)") as error:
        load_gaze_network(path)
    assert "\n" not in str(error.value)


def test_an_onnx_file_that_the_mirror_does_not_understand_warns(tmp_path, onnx):
    path = write(tmp_path / "a.onnx", {"gaze": torch.stack([FIRST, FIRST])})
    with pytest.warns(UserWarning, match="a.onnx: mirrored faces should turn the sign of yaw") as found:
        assert load_gaze_network(path).facts["first"] == "yaw"
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_gaze_network(write(tmp_path / "b.onnx", {"gaze": torch.stack(kernels())}))


# ---------------------------------------------------------------- scores only


class ScoresOnly:
    sha256, facts, differentiable = "1" * 64, {}, False

    def __call__(self, images):
        return GazeAngles(torch.full((len(images),), 0.1), torch.full((len(images),), -0.2))


def test_a_network_that_only_scores_is_refused_in_a_loss_and_may_tell_the_discriminator():
    message = (
        "--l2cs-path=a.onnx: this gaze network only scores, .* give the loss one in PyTorch .*calc_gfas.py --judge"
    )
    with pytest.raises(ValueError, match=message) as error:
        GazeTerm(GazeLossConfig(weight=0.1, l2cs_path="a.onnx"), ScoresOnly())
    assert "\n" not in str(error.value)
    term = GazeTerm(GazeLossConfig(weight=0.0, l2cs_path="a.onnx", cond_d=True), ScoresOnly())
    label = term.discriminator_label(torch.zeros(2, 3, 8, 8), torch.zeros(2, 25))
    torch.testing.assert_close(label[:, 25:], torch.tensor([[0.1, -0.2]] * 2))
    check_differentiable(load_gaze_network("embedded"), "--l2cs-path=embedded")


def test_an_onnx_file_is_refused_by_a_training_before_data_are_read(tmp_path, onnx):
    from click.testing import CliRunner

    from eg3d.train import main

    path = write(tmp_path / "a.onnx", {"gaze": torch.stack(kernels())})
    flags = ["--cfg=embedded", f"--outdir={tmp_path / 'run'}", f"--l2cs-path={path}", "--data=nowhere", "--device=cpu"]
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 2 and re.search(
        r"error: --l2cs-path=.*a\.onnx: this gaze network only scores", result.output
    )


def test_a_loss_refuses_an_onnx_file_before_it_is_read():
    with pytest.raises(ValueError, match=r"^--l2cs-path=no-such\.onnx: this gaze network only scores"):
        GazeLossConfig(weight=1.0, l2cs_path="no-such.onnx")
    assert GazeLossConfig(weight=0.0, l2cs_path="no-such.onnx").l2cs_path == "no-such.onnx"  # it may score snapshots
