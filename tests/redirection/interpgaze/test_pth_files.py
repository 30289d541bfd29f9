"""Published weight files, and torchvision's VGG-19: made here, of random numbers."""

import pytest
import torch

from redirection.interpgaze import vgg_encoder
from redirection.interpgaze.pth_files import load_critic, load_redirector, write_redirector
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig, make_critic
from redirection.interpgaze.redirector_file import EMBEDDED
from redirection.interpgaze.vgg_encoder import TORCHVISION, frozen_vgg, vgg19_state

ATTRIBUTES = "0H@15H"
PARTS = {"encoder": "encoder", "interp_net": "controller", "decoder": "decoder"}


@pytest.fixture
def narrow(monkeypatch):
    """The published configuration, narrow, so that files stay small: what is read is the same."""
    for name, blocks in vgg_encoder.BLOCKS.items():
        thin = tuple(layer if isinstance(layer, str) else (layer[0], layer[1] // 32) for layer in blocks)
        monkeypatch.setitem(vgg_encoder.BLOCKS, name, thin)
    monkeypatch.setattr("redirection.interpgaze.redirector.WIDTH", 16)
    monkeypatch.setattr("redirection.interpgaze.patch_decoder.V1", ((16,), (16,), (16,), (16,), (16,)))
    monkeypatch.setattr("redirection.interpgaze.patch_decoder.V2", ((16, 1), (16, 1), (16, 1), (16, 1), (16, 1)))


def write(folder, decoder="v1"):
    redirector = InterpGaze(InterpGazeConfig(attributes=ATTRIBUTES, decoder=decoder))
    for part, name in PARTS.items():
        state = {f"module.{k}": v for k, v in getattr(redirector, name).state_dict().items()}
        torch.save(state, folder / f"{part}-latest.pth")
    return redirector.eval()


def test_published_files_give_the_network_that_wrote_them(tmp_path, narrow):
    written = write(tmp_path)
    read = load_redirector(tmp_path, attributes=ATTRIBUTES)
    x, v = torch.randn(2, 3, 128, 128), torch.rand(2, 2)
    assert torch.equal(read(x, x.flip(0), v), written(x, x.flip(0), v)) and not read.training
    critic = make_critic(read.config)
    torch.save(critic.state_dict(), tmp_path / "discrim-latest.pth")  # without module., as published
    assert torch.equal(
        load_critic(tmp_path, attributes=ATTRIBUTES)(torch.ones(1, 16, 8, 8)).real,
        critic(torch.ones(1, 16, 8, 8)).real,
    )


def test_what_is_exported_is_read_back_and_has_the_published_names(tmp_path, narrow):
    network = InterpGaze(InterpGazeConfig(attributes=ATTRIBUTES)).eval()
    files = write_redirector(tmp_path / "out", network, "7")
    assert [file.name for file in files] == ["encoder-7.pth", "interp_net-7.pth", "decoder-7.pth"]
    assert all(key.startswith("module.") for file in files for key in torch.load(file))
    read = load_redirector(tmp_path / "out", "7", ATTRIBUTES)
    x, v = torch.randn(2, 3, 128, 128), torch.rand(2, 2)
    assert torch.equal(read(x, x.flip(0), v), network(x, x.flip(0), v))


@pytest.mark.parametrize(
    "change, says", [({"divisor": 8}, "divisor 1"), ({"size": 64}, "size 128"), ({"decoder": "blend"}, "decoder v1")]
)
def test_networks_that_the_published_programs_cannot_build_are_not_exported(tmp_path, change, says):
    network = torch.nn.Module()
    network.config = InterpGazeConfig(**{"attributes": ATTRIBUTES} | change)
    with pytest.raises(ValueError, match=says):
        write_redirector(tmp_path / "out", network)
    assert not (tmp_path / "out").exists()


def test_the_export_of_the_shipped_network_is_refused_in_one_line(tmp_path, run_script_in):
    shipped = EMBEDDED["embedded"]
    ran = run_script_in(tmp_path, "redirection/interpgaze/export_pth.py", "-mp", str(shipped), "--outdir=out")
    assert ran.code == 2 and "size 128 alone" in ran.stderr and ran.stderr.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_decoder_v2_is_known_by_its_names_which_may_have_dots_and_layers_that_nothing_calls(tmp_path, narrow):
    written = write(tmp_path, "v2")
    file = tmp_path / "decoder-latest.pth"
    state = {k.replace("conv_1", "conv.1").replace("norm_1", "norm.1"): v for k, v in torch.load(file).items()}
    torch.save(state | {"module.upool4.unpool_conv.weight": torch.zeros(2, 2, 4, 4)}, file)
    read = load_redirector(tmp_path, attributes=ATTRIBUTES)
    assert read.config.decoder == "v2"
    assert torch.equal(read.decoder(torch.ones(1, 16, 8, 8)), written.decoder(torch.ones(1, 16, 8, 8)))


def spoil(folder, part, change):
    file = folder / f"{part}-latest.pth"
    state = torch.load(file)
    change(state)
    torch.save(state, file)


WRONG = {
    "width": ("encoder", lambda s: s.update({"module.model.features_1.conv1_1.weight": torch.zeros(5, 3, 3, 3)}),
              "has shape"),
    "missing": ("decoder", lambda s: s.pop("module.model.0.bias"), "is missing"),
    "extra": ("decoder", lambda s: s.update({"module.more": torch.zeros(1)}), "is no part"),
    "nan": ("interp_net", lambda s: s["module.branch.0.model.0.bias"].fill_(float("nan")), "not finite"),
    "branches": ("interp_net", lambda s: [s.pop(k) for k in list(s) if ".branch.1" in k], "has 1 branches"),
    "another": ("encoder", lambda s: s.clear(), "no state dict"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_weights_that_do_not_fit_are_one_line_with_the_file(tmp_path, narrow, kind):
    write(tmp_path)
    part, change, says = WRONG[kind]
    spoil(tmp_path, part, change)
    with pytest.raises(ValueError, match=says) as error:
        load_redirector(tmp_path, attributes=ATTRIBUTES)
    assert "\n" not in str(error.value) and f"{part}-latest.pth" in str(error.value)


def test_a_missing_file_and_code_in_a_file_are_one_line(tmp_path, narrow):
    write(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        load_redirector(tmp_path, "10", ATTRIBUTES)
    torch.save({"x": print}, tmp_path / "encoder-latest.pth")
    with pytest.raises(ValueError, match="never run"):
        load_redirector(tmp_path, attributes=ATTRIBUTES)


def test_torchvisions_vgg19_fills_the_encoder_in_order(tmp_path, narrow):
    own = vgg_encoder.VggFeatures()
    names = [f"features.{i}.{part}" for i in TORCHVISION for part in ("weight", "bias")]
    state = dict(zip(names, own.state_dict().values(), strict=True)) | {"classifier.0.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "vgg19.pth")
    x = torch.randn(1, 3, 32, 32)
    read = vgg19_state(tmp_path / "vgg19.pth")
    for mine, theirs in zip(frozen_vgg(read)(x), own(x), strict=True):
        assert torch.equal(mine, theirs)
    assert len(frozen_vgg(read, blocks=1)(x)) == 1
    state.pop("features.16.weight")  # VGG-16 has a pooling there
    torch.save(state, tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match=r"features\.16\.weight.*torchvision's VGG-19"):
        vgg19_state(tmp_path / "vgg16.pth")


def test_torchvision_has_its_convolutions_where_the_table_says():
    from torchvision.models.vgg import cfgs

    at, places = 0, []
    for layer in cfgs["E"]:
        if layer == "M":
            at += 1
        else:
            places.append(at)
            at += 2
    assert tuple(places[:13]) == TORCHVISION
