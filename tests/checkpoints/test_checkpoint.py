import dataclasses
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_networks import tiny_generator, tiny_generator_kwargs

from eg3d.checkpoints import loading as checkpoint
from eg3d.checkpoints import own as snapshot
from eg3d.checkpoints.loading import CheckpointError
from eg3d.config.presets import WORLD
from eg3d.models.generator import TriPlaneGenerator


@pytest.fixture
def saved(tmp_path, tiny_generator):
    path = tmp_path / "g.safetensors"
    checkpoint.save_snapshot(path, {"G_ema": tiny_generator}, {"images_seen": 5, "gaze": {"weight": 0}})
    return path


def header_of(path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[snapshot.HEADER_KEY])


def rewrite(path, change_tensors=lambda tensors: None, change_header=lambda header: None):
    """Saves a snapshot again with its tensors or its header changed."""
    tensors, header = load_file(path), header_of(path)
    change_tensors(tensors)
    change_header(header)
    save_file(tensors, path, {snapshot.HEADER_KEY: json.dumps(header)})


def test_a_snapshot_gives_back_the_same_generator(saved, tiny_generator, frontal_cameras):
    tiny_generator.neural_rendering_resolution = 12
    checkpoint.save_snapshot(saved, {"G_ema": tiny_generator}, {})
    G = checkpoint.load_generator(saved)
    for (name, a), b in zip(tiny_generator.state_dict().items(), G.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert G.neural_rendering_resolution == 12 and not G.training
    assert not any(p.requires_grad for p in G.parameters())
    z, c = torch.ones(1, G.z_dim), frontal_cameras(1)
    torch.manual_seed(0)
    expected = tiny_generator(z, c)["image"]
    torch.manual_seed(0)
    assert torch.equal(G(z, c)["image"], expected)


def test_a_snapshot_may_lie_where_names_are_no_utf8(saved, tiny_generator):
    path = saved.parent / os.fsdecode(b"caf\xe9") / "g.safetensors"
    checkpoint.save_snapshot(path, {"G_ema": tiny_generator}, {})
    again = checkpoint.load_generator(path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in tiny_generator.state_dict().items())


def test_settings_changed_after_construction_are_saved(saved, tiny_generator):
    options = dataclasses.replace(tiny_generator.options, depth_resolution=9)
    tiny_generator.config = dataclasses.replace(tiny_generator.config, rendering=options)
    checkpoint.save_snapshot(saved, {"G_ema": tiny_generator}, {})
    assert checkpoint.load_generator(saved).config == tiny_generator.config


@pytest.mark.parametrize("name", ["embedded", "embedded-base"])
def test_the_committed_generators_have_the_configuration_of_their_preset(name):
    """Their files are older than the configuration, and are evidence: benchmarks/results names their digests."""
    G = checkpoint.load_generator(name)
    assert G.config == WORLD.generator and G.neural_rendering_resolution == WORLD.schedule.raw_resolution_initial


def test_the_committed_discriminator_has_the_configuration_of_its_preset():
    D = checkpoint.load_discriminator("embedded")
    assert D.config == WORLD.discriminator and (D.img_resolution, D.c_dim) == (WORLD.generator.resolution, 25)


def test_half_precision_halves_the_file_and_loads_as_float32(saved, tmp_path, tiny_generator):
    half = tmp_path / "half.safetensors"
    checkpoint.save_snapshot(half, {"G_ema": tiny_generator}, {}, half=True)
    assert half.stat().st_size < 0.65 * saved.stat().st_size
    for (name, a), b in zip(
        tiny_generator.state_dict().items(), checkpoint.load_generator(half).state_dict().values(), strict=True
    ):
        assert b.dtype == torch.float32 and torch.allclose(a, b, rtol=1e-3, atol=1e-6), name


def test_half_precision_refuses_values_it_cannot_hold(tmp_path, tiny_generator):
    tiny_generator.decoder.net[0].weight.fill_(1e6)
    with pytest.raises(ValueError, match=r"decoder\.net\.0\.weight has values beyond float16"):
        checkpoint.save_snapshot(tmp_path / "g.safetensors", {"G_ema": tiny_generator}, {}, half=True)
    assert not list(tmp_path.iterdir())


def test_what_a_file_holds_is_known_without_reading_its_weights(saved, monkeypatch):
    monkeypatch.setattr(snapshot, "_read", lambda *_: pytest.fail("read the weights"))
    opened = checkpoint.open_checkpoint(saved)
    assert opened.kind == "snapshot" and opened.facts["images_seen"] == 5 and list(opened.networks) == ["G_ema"]
    stored = opened.network("G_ema")
    assert stored.cls == "TriPlaneGenerator" and stored.init_kwargs["z_dim"] == tiny_generator_kwargs()["z_dim"]
    assert stored.shapes["backbone.mapping.w_avg"] == (tiny_generator_kwargs()["w_dim"],)


def test_a_changed_weight_is_noticed(saved):
    rewrite(saved, lambda tensors: tensors["G_ema.decoder.net.0.weight"][0].add_(1e-6))
    with pytest.raises(CheckpointError, match="the weights of G_ema are damaged"):
        checkpoint.load_generator(saved)


def test_a_changed_setting_in_the_header_is_noticed(saved):
    data = saved.read_bytes()
    assert data.count(b'\\"c_scale\\": 1.0') == 1
    saved.write_bytes(data.replace(b'\\"c_scale\\": 1.0', b'\\"c_scale\\": 2.0'))
    with pytest.raises(CheckpointError, match="its header is damaged"):
        checkpoint.load_generator(saved)


def test_the_digest_of_weights_depends_on_names_shapes_types_and_values():
    from eg3d.checkpoints.stored import digest

    zero = {"a": torch.zeros(2, 3), "b": torch.zeros(2)}
    others = (
        {"a": torch.zeros(2, 3), "c": torch.zeros(2)},
        {"a": torch.zeros(3, 2), "b": torch.zeros(2)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(2, dtype=torch.int32)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([0, 1e-30])},
    )
    assert len({digest(tensors) for tensors in (zero, *others)}) == 5
    assert digest(zero) == digest({"b": torch.zeros(2), "a": torch.zeros(3, 2).T})  # neither order nor layout


def test_a_discriminator_travels_with_its_arguments(tmp_path, tiny_generator, tiny_discriminator):
    path = tmp_path / "all.safetensors"
    checkpoint.save_snapshot(path, {"G_ema": tiny_generator, "D": tiny_discriminator}, {})
    D = checkpoint.load_discriminator(path)
    assert all(torch.equal(a, b) for a, b in zip(tiny_discriminator.parameters(), D.parameters(), strict=True))
    start = checkpoint.training_networks(path)
    assert torch.equal(start.network("G").read()["decoder.net.0.weight"], tiny_generator.decoder.net[0].weight)
    assert start.notes == ("there is no G: it starts from G_ema",)


NAME = "G_ema.decoder.net.0.bias"
SPOILED = {
    "missing": (lambda t: t.pop(NAME), r"decoder\.net\.0\.bias is missing"),
    "extra": (lambda t: t.update({NAME + "2": torch.ones(1)}), r"decoder\.net\.0\.bias2 is not part"),
    "misshapen": (lambda t: t.update({NAME: torch.ones(3)}), r"decoder\.net\.0\.bias has shape \[3\]"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_loading_is_strict_and_names_the_first_tensor(saved, kind):
    change, expected = SPOILED[kind]
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=expected):
        checkpoint.load_generator(saved)


def test_unusable_files_are_one_line_that_names_them(saved, tmp_path):
    data = saved.read_bytes()
    cases = {
        "cut.safetensors": (data[: len(data) // 2], "cut short"),
        "short.safetensors": (data[:5], "is no checkpoint"),
        "empty.safetensors": (b"", "is no checkpoint"),
        "text.safetensors": (b"hello, this is no snapshot at all", "is no checkpoint"),
        "brace.safetensors": (b"12345678{", "cut short"),
        "empty.pkl": (b"", "is no checkpoint"),
    }
    for name, (content, expected) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=expected) as error:
            checkpoint.load_generator(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors: holds weights of another program"):
        checkpoint.load_generator(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"nowhere\.safetensors: there is no such file"):
        checkpoint.load_generator(tmp_path / "nowhere.safetensors")
    with pytest.raises(ValueError, match="holds no network D"):
        checkpoint.load_discriminator(saved)


def test_another_format_version_is_refused(saved):
    rewrite(saved, change_header=put("format", value=99))
    with pytest.raises(ValueError, match="format 99"):
        checkpoint.load_generator(saved)


ENTRY = ("networks", "G_ema")


def drop(*path):
    def change(header):
        for key in path[:-1]:
            header = header[key]
        header.pop(path[-1])

    return change


def put(*path, value):
    def change(header):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


DAMAGED_HEADERS = {
    "no format": (drop("format"), "lacks 'format'"),
    "no networks": (drop("networks"), "'networks' is no object"),
    "empty networks": (put("networks", value={}), "no networks"),
    "no facts": (drop("facts"), "'facts' is no object"),
    "no class": (drop(*ENTRY, "class"), "unknown class, None"),
    "unknown class": (put(*ENTRY, "class", value="Unet"), "unknown class, Unet"),
    "class of wrong type": (put(*ENTRY, "class", value=[1]), "unknown class"),
    "class of another network": (put(*ENTRY, "class", value="DualDiscriminator"), "G_ema is a DualDiscriminator"),
    "networks of wrong type": (put("networks", value=["G_ema"]), "'networks' is no object"),
    "network of wrong type": (put(*ENTRY, value=3), "G_ema is no object"),
    "network of unknown name": (put("networks", "H", value={}), "a network is called 'H'"),
    "no ray count": (drop(*ENTRY, "neural_rendering_resolution"), "'neural_rendering_resolution' of G_ema is None"),
    "no digest": (drop(*ENTRY, "sha256"), "'sha256' of G_ema"),
    "no arguments": (drop(*ENTRY, "init_kwargs"), "'init_kwargs' of G_ema"),
    "unknown argument": (put(*ENTRY, "init_kwargs", "colour", value=1), "colour"),
    "argument of wrong type": (put(*ENTRY, "init_kwargs", "z_dim", value="x"), "build no TriPlaneGenerator"),
    "argument without end": (put(*ENTRY, "init_kwargs", "mapping_kwargs", "num_layers", value=10**9), "more than 64"),
    "unknown setting": (put(*ENTRY, "rendering_kwargs", "colour", value=1), "unknown keys: colour"),
    "settings of wrong type": (put(*ENTRY, "rendering_kwargs", value=3), "'rendering_kwargs' of G_ema is no object"),
    "gaze of wrong type": (put("facts", "gaze", value="none"), "'gaze' is no object"),
}


@pytest.mark.parametrize("kind", DAMAGED_HEADERS)
def test_a_damaged_header_is_one_line_that_names_the_file(saved, kind):
    change, message = DAMAGED_HEADERS[kind]
    rewrite(saved, change_header=change)
    with pytest.raises(ValueError, match=message) as error:
        checkpoint.load_generator(saved)
    assert str(saved) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{not json", "[]", "3"])
def test_a_header_that_is_no_json_object_is_one_line_that_names_the_file(saved, text):
    save_file(load_file(saved), saved, {snapshot.HEADER_KEY: text})
    with pytest.raises(ValueError, match="its header is damaged") as error:
        checkpoint.open_checkpoint(saved)
    assert str(saved) in str(error.value) and "\n" not in str(error.value)


def test_a_state_holds_tensors_and_plain_values_only(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_state(path, {"format": checkpoint.STATE_FORMAT, "x": torch.ones(2), "n": 3})
    state = checkpoint.load_state(path)
    assert state["n"] == 3 and state["x"].tolist() == [1, 1]
    torch.save({"format": checkpoint.STATE_FORMAT, "x": TriPlaneGenerator}, path)  # a class: never loaded
    with pytest.raises(ValueError, match="not a training state"):
        checkpoint.load_state(path)


def test_unusable_states_are_one_line_that_names_them(tmp_path):
    with pytest.raises(ValueError, match=r"state\.pt: there is no run to continue"):
        checkpoint.load_state(tmp_path / "state.pt")
    for content in (b"", b"no state", b"efgh", b"PK\x03\x04"):
        (tmp_path / "state.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"state\.pt: is not a training state") as error:
            checkpoint.load_state(tmp_path / "state.pt")
        assert "\n" not in str(error.value)


def test_a_failing_write_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        checkpoint.save_snapshot(saved, {"G_ema": tiny_generator(1)}, {})
    assert saved.read_bytes() == before and [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_short_names_stay_apart():
    assert checkpoint.short_names(["embedded-base", "runs/a/G.safetensors"]) == ["embedded-base", "G"]
    assert checkpoint.short_names(["runs/a/G.pkl", "runs/b/G.pkl"]) == ["a/G", "b/G"]
    assert checkpoint.short_names(["x/a/G.pkl", "y/a/G.pkl"]) == ["x/a/G.pkl", "y/a/G.pkl"]
    assert checkpoint.short_names(["embedded", "embedded"]) == ["embedded", "embedded"]


def test_a_checkpoint_tells_which_gaze_network_it_was_trained_against(tmp_path, tiny_generator):
    for name, facts in (("with", {"gaze": {"network_sha256": "abc"}}), ("without", {})):
        checkpoint.save_snapshot(tmp_path / f"{name}.safetensors", {"G_ema": tiny_generator}, facts)
    assert checkpoint.gaze_network_of(tmp_path / "with.safetensors") == "abc"
    assert checkpoint.gaze_network_of(tmp_path / "without.safetensors") is None
