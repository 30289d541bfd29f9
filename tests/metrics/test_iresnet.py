import pytest
import torch

from eg3d.metrics.identity import IdentityNetwork, infer_architecture
from eg3d.metrics.iresnet import PUBLISHED, Architecture, IResNet


@pytest.mark.parametrize(
    "name, parameters, entries",
    [("r18", 24_025_600, 187), ("r34", 34_139_328, 331), ("r50", 43_590_848, 475), ("r100", 65_156_160, 925)],
)
def test_published_networks_have_the_measured_sizes(name, parameters, entries):
    with torch.device("meta"):
        network = IResNet(Architecture(PUBLISHED[name]))
    state = network.state_dict()
    assert (sum(p.numel() for p in network.parameters()), len(state)) == (parameters, entries)
    assert infer_architecture(state, "x.pth") == Architecture(PUBLISHED[name])
    assert state["fc.weight"].shape == (512, 25088)
    assert {"layer1.0.downsample.0.weight", "layer4.1.prelu.weight", "features.running_var"} <= set(state)


@pytest.fixture(scope="module")
def r18(tmp_path_factory):
    """A file as insightface writes it, from a data-parallel wrapper, with random weights."""
    torch.manual_seed(0)
    network = IResNet(Architecture(PUBLISHED["r18"])).eval()
    path = tmp_path_factory.mktemp("arcface") / "backbone.pth"
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, path)
    return path, network


def test_a_published_file_loads_and_computes_what_the_network_does(r18):
    path, network = r18
    loaded = IdentityNetwork.load(path)
    assert (loaded.name, loaded.crop, len(loaded.sha256)) == ("arcface r18", 112, 64)
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded.network(crops), network(crops))


def test_blocks_are_as_published():
    # by hand: with identity convolutions and a first batch norm that takes 0.5 off, a block is prelu(x - 0.5) + x
    from eg3d.metrics.iresnet import Block

    block = Block(4, 4, 1).eval()
    with torch.no_grad():
        for convolution in (block.conv1, block.conv2):
            convolution.weight.zero_()
            convolution.weight[range(4), range(4), 1, 1] = 1
        block.bn1.running_mean.fill_(0.5)
    x = torch.tensor([-1.0, 2.0]).reshape(1, 1, 1, 2).expand(1, 4, 3, 2)
    expected = torch.where(x < 0.5, 0.25 * (x - 0.5), x - 0.5) + x
    assert torch.allclose(block(x), expected, atol=1e-4)
    smaller = Block(4, 8, 2)  # the second convolution strides, as in insightface; shapes alone would not tell
    assert smaller.conv1.stride == (1, 1) and smaller.conv2.stride == smaller.downsample[0].stride == (2, 2)


def test_other_networks_and_no_weights_are_refused(tmp_path):
    torch.save({"conv_1.weight": torch.zeros(1)}, tmp_path / "mobile.pth")
    with pytest.raises(ValueError, match="no IResNet of insightface"):
        IdentityNetwork.load(tmp_path / "mobile.pth")
    (tmp_path / "text.pth").write_text("hello")
    for name in ("text.pth", "none.pth", "."):
        with pytest.raises(ValueError):
            IdentityNetwork.load(tmp_path / name)


def test_onnx_without_its_package_says_which_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"w\.onnx: \.onnx needs onnxruntime.*eg3d\[onnx\]"):
        IdentityNetwork.load(tmp_path / "w.onnx")
