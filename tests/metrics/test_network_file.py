import pytest
import torch

from eg3d.metrics import network_file
from eg3d.metrics.iresnet import Architecture, IResNet
from eg3d.metrics.network_file import filled, load_network, read_state, save_network
from groundwork.plain import from_plain

TINY = Architecture((1, 1, 1, 1), (16, 16, 16, 16), input_size=16, embedding=16)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return IResNet(TINY).eval()


@pytest.fixture
def stored(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, "identity", network, {"epochs": 3})
    return path


def build(stored):
    state = load_network(stored, "identity").state
    return filled(lambda: IResNet(TINY), state, stored, "a tiny network")


def test_what_was_saved_comes_back(network, stored):
    held = load_network(stored, "identity")
    assert from_plain(Architecture, held.architecture) == TINY
    assert held.facts == {"epochs": 3} and len(held.sha256) == 64
    loaded, crops = build(stored), torch.rand(2, 3, 16, 16)
    assert not any(p.requires_grad for p in loaded.parameters()) and not loaded.training
    with torch.no_grad():
        assert torch.allclose(loaded(crops), network(crops), atol=0.02)  # matrices were rounded to float16


def test_batch_norm_statistics_keep_their_float32(network, stored):
    assert load_network(stored, "identity").state["bn1.running_var"].dtype == torch.float32


@pytest.mark.parametrize(
    "content, words",
    [(b"", "is empty"), (b"x" * 100, "holds no identity network"), (None, "no such file")],
)
def test_other_files_are_one_line(tmp_path, content, words):
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="bad.safetensors") as error:
        load_network(path, "identity")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_network_of_another_kind_is_refused(stored):
    with pytest.raises(ValueError, match="version 1 of a identity network|of a identity"):
        load_network(stored, "pose and landmark")


def test_a_network_of_another_version_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(network_file, "VERSION", network_file.VERSION + 1)
    save_network(tmp_path / "later.safetensors", "identity", network, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="later.safetensors: .*version 2 of"):
        load_network(tmp_path / "later.safetensors", "identity")


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("fc.weight", None, "'fc.weight' is missing"),
        ("extra", torch.zeros(1), "'extra' is no part"),
        ("bn2.bias", torch.zeros(7), "'bn2.bias' has shape [7], not [16]"),
        ("bn2.bias", torch.full((16,), torch.nan), "'bn2.bias' holds values that are not finite"),
    ],
)
def test_a_wrong_tensor_is_named(network, tmp_path, name, value, words):
    state = dict(network.state_dict())
    if value is None:
        state.pop(name)
    else:
        state[name] = value
    torch.save({f"module.{key}": tensor for key, tensor in state.items()}, tmp_path / "x.pth")
    state, _ = read_state(tmp_path / "x.pth", "ArcFace")
    with pytest.raises(ValueError, match="x.pth") as error:
        filled(lambda: IResNet(TINY), state, tmp_path / "x.pth", "a tiny network")
    assert words in str(error.value)


def test_a_part_of_a_training_state_is_found(network, tmp_path):
    torch.save({"net": dict(network.state_dict()), "step": 3}, tmp_path / "x.pth")
    state, _ = read_state(tmp_path / "x.pth", "some", part="net")
    assert set(state) == set(network.state_dict())
    with pytest.raises(ValueError, match="no state dict of tensors"):
        read_state(tmp_path / "x.pth", "some")
