"""Pickles for the published loader: classes of the published names and signatures become the same networks."""

import contextlib
import copy
import io
import pickle
import sys
import types
from dataclasses import replace

import pytest
import torch
from published_layout import smallest_networks
from tiny_networks import discriminator_of, generator_of
from torch import nn

from eg3d.checkpoints.arguments import file_arguments
from eg3d.checkpoints.loading import load_generator, load_network, open_checkpoint, save_snapshot
from eg3d.checkpoints.stand_ins import OF_OURS, find, find_in_ours
from eg3d.checkpoints.stored import digest
from eg3d.models.discriminator import DummyDualDiscriminator, SingleDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from groundwork.strict_pickle import PickleError, parse

MADE = []  # arguments of the stand-ins' constructors


class Theirs(TriPlaneGenerator):
    """The published signature (EG3D's TriPlaneGenerator), our network."""

    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, sr_num_fp16_res=0, mapping_kwargs={},  # noqa: B006
                 rendering_kwargs={}, sr_kwargs={}, **synthesis_kwargs):  # noqa: B006  # fmt: skip
        given = {
            name: value for name, value in locals().items() if name not in ("self", "synthesis_kwargs", "__class__")
        }
        MADE.append(given | synthesis_kwargs)
        known = {"channel_base", "channel_max", "num_fp16_res", "conv_clamp", "fused_modconv_default"}
        assert set(synthesis_kwargs) <= known
        other = generator_of(**given, **synthesis_kwargs)
        super().__init__(other.config)
        self.rendering_kwargs = rendering_kwargs


class TheirD(nn.Module):
    def __init__(self, c_dim, img_resolution, img_channels, architecture="resnet", channel_base=32768, channel_max=512,
                 num_fp16_res=4, conv_clamp=256, cmap_dim=None, block_kwargs={}, mapping_kwargs={},  # noqa: B006
                 epilogue_kwargs={}):  # noqa: B006  # fmt: skip
        super().__init__()
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        inner = discriminator_of(**given)
        for name, child in inner.named_children():
            self.add_module(name, child)
        self.register_buffer("resample_filter", inner.resample_filter)


@pytest.fixture
def published_load(monkeypatch):
    """Python's own unpickler, with modules of the published names, and the loader's check of what it must find."""
    for name, classes in (
        ("training.triplane", {"TriPlaneGenerator": Theirs}),
        ("training.dual_discriminator", {"DualDiscriminator": TheirD, "DummyDualDiscriminator": TheirD}),
    ):
        module = types.ModuleType(name)
        vars(module).update(classes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "training", types.ModuleType("training"))

    def load(path):
        with open(path, "rb") as file:
            content = pickle.load(file)
        assert all(isinstance(content[name], nn.Module) for name in ("G", "D", "G_ema"))
        return content

    return load


@pytest.fixture(scope="module")
def networks():
    G, D = smallest_networks()
    G_ema = smallest_networks(seed=1)[0]
    G_ema.neural_rendering_resolution = 32
    return {"G": G, "D": D, "G_ema": G_ema}


@pytest.fixture
def convert(networks, tmp_path, run_script):
    """convert(networks, *flags) -> (what convert.py says, the pickle)"""

    def run(kept=networks, *flags):
        facts = {"images_seen": 5, "published": {"training_set_kwargs": {"path": "faces.zip"}}}
        save_snapshot(tmp_path / "a.safetensors", kept, facts)
        return run_script("eg3d/convert.py", "--source=a.safetensors", "--dest=b.pkl", *flags), tmp_path / "b.pkl"

    return run


def test_published_classes_get_every_tensor_and_attribute(networks, convert, published_load):
    (code, _, err), path = convert()
    assert code == 0 and err == "", err
    content = published_load(path)
    for name, network in networks.items():
        assert digest(content[name].state_dict()) == digest(network.state_dict())
        assert not content[name].training and not any(m.training for m in content[name].modules())
        assert not any(p.requires_grad for p in content[name].parameters())
    G = content["G_ema"]
    assert G.neural_rendering_resolution == 32 and content["G"].neural_rendering_resolution == 64
    assert G.rendering_kwargs["depth_resolution"] == 64 and G.rendering_kwargs["clamp_mode"] == "softplus"
    assert MADE[-1]["rendering_kwargs"]["superresolution_module"] == "training.superresolution.SuperresolutionHybrid2X"
    assert content["training_set_kwargs"] == {"path": "faces.zip"} and content["augment_pipe"] is None


def test_our_reader_gets_the_same_weights_and_facts_without_a_note(networks, convert):
    _, path = convert()
    opened = open_checkpoint(path)
    assert opened.kind == "published pickle" and opened.notes == () and opened.facts["images_seen"] == 5
    for name, network in networks.items():
        again = load_network(path, name)
        assert digest(again.state_dict()) == digest(network.state_dict()) and again.config == network.config
    assert load_generator(path).neural_rendering_resolution == 32


HOSTILE = [(), (None,), ([],), ({"a": 1}, {"a": 1}), ("a" * 1000,), (1, 2, 3, 4, 5), ({}, {}), ([], True)]


@pytest.mark.parametrize("module, name", OF_OURS)
def test_what_only_our_pickles_hold_takes_nothing_else_and_is_refused_elsewhere(module, name):
    line = b"\x80\x04c" + f"{module}\n{name}\n".encode()
    with pytest.raises(PickleError, match="no part of an EG3D file"):
        parse(io.BytesIO(line + b"."), find)
    refused = 0
    for arguments in HOSTILE:
        with contextlib.suppress(PickleError):
            parse(io.BytesIO(line + pickle.dumps(arguments, 4)[2:-1] + b"R."), find_in_ours)
            refused -= 1
        refused += 1
    assert refused == len(HOSTILE) - (name == "Identity")  # which takes nothing and is nothing


def test_a_lone_generator_opens_too_and_it_is_said(networks, convert, published_load):
    (code, _, err), path = convert({"G_ema": networks["G_ema"]})
    assert code == 0 and "note: the published loader asks for D, and there is none" in err
    content = published_load(path)
    assert digest(content["G"].state_dict()) == digest(networks["G_ema"].state_dict())
    assert set(open_checkpoint(path).networks) == {"G", "G_ema"}
    (code, _, err), _ = convert({"D": networks["D"]})
    assert code == 2 and "asks for a generator, and there is none" in err


def test_half_precision_is_read_as_float32(networks, convert, published_load):
    _, path = convert({"G_ema": networks["G_ema"]}, "--half")
    weight = published_load(path)["G_ema"].state_dict()["decoder.net.0.weight"]
    expected = networks["G_ema"].decoder.net[0].weight
    assert weight.dtype == torch.float32 and torch.equal(weight, expected.half().float())


def test_a_faded_discriminator_keeps_its_fade(networks, convert, published_load):
    D = DummyDualDiscriminator(networks["D"].config, 128, raw_fade=0.25)
    D.load_state_dict(networks["D"].state_dict())
    _, path = convert({"G_ema": networks["G_ema"], "D": D})
    assert published_load(path)["D"].raw_fade == 0.25 and load_network(path, "D").raw_fade == 0.25


@pytest.mark.parametrize("planes", ["yz", "fixed_triplanes"])
def test_planes_of_other_code_are_refused_with_the_reason(networks, convert, planes):
    G = copy.deepcopy(networks["G_ema"])
    G.config = replace(G.config, rendering=replace(G.config.rendering, planes=planes))
    (code, _, err), path = convert({"G_ema": G})
    assert code == 2 and f"the published code cannot build G_ema (planes={planes})" in err and not path.exists()
    assert ("EG3D's branch of that name add --planes=published" in err) == (planes == "fixed_triplanes")
    (code, _, err), path = convert({"G_ema": G}, "--planes=published")
    assert code == 0, err


def test_layouts_that_the_published_classes_cannot_build_are_refused(tiny_generator, convert):
    (code, _, err), path = convert({"G_ema": tiny_generator})
    assert code == 2 and "plane_resolution=16" in err and "w_dim=32" in err and "Hybrid2X at 32 px" in err
    assert err.count("\n") == 1 and not path.exists()


@pytest.mark.parametrize("cls", [DummyDualDiscriminator, SingleDiscriminator])
def test_a_discriminator_that_takes_no_noise_on_its_camera_is_refused_with_some(networks, convert, cls):
    common = dict(c_dim=25, img_resolution=128, channel_base=512, channel_max=16, conv_clamp=None)
    (code, _, err), path = convert({"G_ema": networks["G_ema"], "D": discriminator_of(cls, **common, disc_c_noise=0.5)})
    assert code == 2 and f"cannot build D ({cls.__name__} with disc_c_noise=0.5)" in err and not path.exists()
    (code, _, err), _ = convert({"G_ema": networks["G_ema"], "D": discriminator_of(cls, **common)})
    assert code == 0, err


def test_a_super_resolution_that_takes_few_rays_is_refused_with_more(networks, convert):
    arguments = file_arguments(networks["G_ema"]) | {"img_resolution": 256}
    arguments["rendering_kwargs"]["superresolution_module"] = "training.superresolution.SuperresolutionHybrid4X"
    G = generator_of(**arguments)
    for rays, expected in ((128, 0), (160, 2)):
        G.neural_rendering_resolution = rays
        (code, _, err), _ = convert({"G_ema": G})
        assert code == expected and ("SuperresolutionHybrid4X at 160 rays per side, more than 128" in err) == (code > 0)
