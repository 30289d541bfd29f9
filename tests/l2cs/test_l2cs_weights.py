import io

import pytest
import torch
from safetensors.torch import save_file

from l2cs.estimator import GazeEstimator
from l2cs.model import L2CS, Architecture
from l2cs.weights import infer_architecture, load_weights, save_weights


@pytest.fixture(scope="module")
def resnet18_state():
    torch.manual_seed(1)
    return L2CS(Architecture.published("ResNet18", bins=28)).state_dict()


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


def test_mpii_files_with_module_prefix_and_28_bins_load(tmp_path, resnet18_state):
    path = tmp_path / "mpii.pkl"
    torch.save({f"module.{name}": value for name, value in resnet18_state.items()}, path)
    estimator = GazeEstimator.load(path, check=False)
    assert (estimator.architecture.name, estimator.architecture.bins, estimator.input_size) == ("ResNet18", 28, 448)
    assert torch.equal(estimator.model.layer4[1].conv2.weight, resnet18_state["layer4.1.conv2.weight"])


def test_files_without_fc_finetune_load(tmp_path, resnet18_state):
    path = tmp_path / "bare.pkl"
    torch.save({n: v for n, v in resnet18_state.items() if not n.startswith("fc_finetune")}, path)
    assert load_weights(path)[0].architecture.name == "ResNet18"


@pytest.mark.parametrize("name", ["ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152"])
def test_architecture_and_bins_follow_from_shapes(name, tmp_path):
    with torch.device("meta"):
        architecture = Architecture.published(name, bins=28)
        assert infer_architecture(L2CS(architecture).state_dict(), tmp_path) == architecture


def test_weights_of_another_network_are_refused(tmp_path, resnet18_state):
    foreign = {n: v for n, v in resnet18_state.items() if not n.startswith("fc_")}
    torch.save(foreign | {"fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="resnet.pth: these are not the weights of a gaze network") as error:
        load_weights(tmp_path / "resnet.pth")
    one_line(error)
    save_file({"backbone.weight": torch.zeros(3)}, tmp_path / "generator.safetensors")
    with pytest.raises(ValueError, match="generator.safetensors: these are not the weights of a gaze network") as error:
        load_weights(tmp_path / "generator.safetensors")
    one_line(error)


@pytest.mark.parametrize("change", ["missing", "shape", "extra", "nan"])
def test_a_contradiction_inside_a_file_names_file_and_tensor(change, tmp_path, resnet18_state):
    state, name = dict(resnet18_state), "layer3.1.bn2.weight"
    if change == "missing":
        del state[name]
    elif change == "shape":
        state[name] = torch.zeros(7)
    elif change == "nan":
        state[name] = torch.full((256,), float("nan"))
    else:
        state[name := "layer3.1.bn9.weight"] = torch.zeros(256)
    torch.save(state, tmp_path / "odd.pkl")
    with pytest.raises(ValueError, match=f"odd.pkl.*{name}") as error:
        load_weights(tmp_path / "odd.pkl")
    one_line(error)


def test_code_in_a_pickle_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"fc_yaw_gaze.weight": Bomb()}, tmp_path / "bomb.pkl")
    with pytest.raises(ValueError, match=r"bomb.pkl: not a state dict of tensors \(it holds code"):
        load_weights(tmp_path / "bomb.pkl")
    assert not (tmp_path / "exploded").exists()


def test_empty_and_truncated_files_are_one_line(tmp_path, tiny_network):
    save_weights(tmp_path / "whole.safetensors", tiny_network)
    buffer = io.BytesIO()
    torch.save(tiny_network.state_dict(), buffer)
    cases = {
        "empty.pkl": b"",
        "short.safetensors": (tmp_path / "whole.safetensors").read_bytes()[:5000],
        "header.safetensors": (tmp_path / "whole.safetensors").read_bytes()[:40],
        "short.pkl": buffer.getvalue()[:3000],
        "text.pkl": b"<html>not found</html>",
        "letters.pkl": b"efgh",
        "pickle.pkl": b"\x80\x02}q.",
        "archive.pkl": b"PK\x03\x04",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=name) as error:
            load_weights(tmp_path / name)
        text = one_line(error)
        if name.endswith(".pkl") and data:
            assert "cut short" in text or "(no file of torch.save" in text, text


def test_a_missing_file_says_what_to_give(tmp_path):
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(ValueError, match="no such file; give a weights file, embedded, people") as error:
            load_weights(path)
        assert str(path) in one_line(error)


def test_half_precision_files_are_half_the_size_and_give_nearly_the_same_angles(tmp_path, tiny_network):
    save_weights(tmp_path / "half.safetensors", tiny_network, {"seed": 7})
    save_weights(tmp_path / "full.safetensors", tiny_network, half=False)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (tmp_path / "full.safetensors").stat().st_size
    half, full = (GazeEstimator.load(tmp_path / f"{name}.safetensors", check=False) for name in ("half", "full"))
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    assert all(p.dtype == torch.float32 for p in half.parameters())
    assert half.architecture == tiny_network.architecture and half.input_size == 32 and half.facts == {"seed": 7}
    assert (half(images).yaw - full(images).yaw).abs().max() < 5e-3
    assert len(half.sha256) == 64 and half.sha256 != full.sha256


@pytest.mark.parametrize("name", [None, 0, ("conv1.weight",), b"conv1.weight"])
def test_tensors_whose_names_are_no_text_are_refused(tmp_path, resnet18_state, name):
    torch.save({name: torch.zeros(1)} | resnet18_state, tmp_path / "net.pkl")
    with pytest.raises(ValueError, match=r"net\.pkl: .* state dict of tensors") as error:
        load_weights(tmp_path / "net.pkl")
    assert "\n" not in str(error.value)
