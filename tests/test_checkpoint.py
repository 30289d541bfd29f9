import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_networks import tiny_generator, tiny_generator_kwargs

from eg3d import checkpoint
from eg3d.models.generator import TriPlaneGenerator


@pytest.fixture
def saved(tmp_path, tiny_generator):
    path = tmp_path / "g.safetensors"
    checkpoint.save_snapshot(path, {"G_ema": tiny_generator}, {"images_seen": 5, "gaze": {"weight": 0}})
    return path


def rewrite(path, change):
    """Saves a snapshot again with its tensors changed."""
    tensors, header = load_file(path), checkpoint.read_header(path)
    change(tensors)
    save_file(tensors, path, {checkpoint.HEADER_KEY: json.dumps(header)})


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


def test_the_attribute_rendering_kwargs_wins_over_the_constructor_s(saved, tiny_generator):
    tiny_generator.rendering_kwargs["depth_resolution"] = 9
    checkpoint.save_snapshot(saved, {"G_ema": tiny_generator}, {})
    assert checkpoint.load_generator(saved).rendering_kwargs["depth_resolution"] == 9


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


def test_the_header_is_readable_without_weights(saved):
    header = checkpoint.read_header(saved)
    assert header["images_seen"] == 5 and header["classes"] == {"G_ema": "TriPlaneGenerator"}
    assert header["init_kwargs"]["G_ema"]["z_dim"] == tiny_generator_kwargs()["z_dim"]


def test_a_discriminator_travels_with_its_arguments(tmp_path, tiny_generator, tiny_discriminator):
    path = tmp_path / "all.safetensors"
    checkpoint.save_snapshot(path, {"G_ema": tiny_generator, "D": tiny_discriminator}, {})
    D = checkpoint.load_discriminator(path)
    assert all(torch.equal(a, b) for a, b in zip(tiny_discriminator.parameters(), D.parameters(), strict=True))
    parts = checkpoint.training_tensors(path)  # without G, the average stands in
    assert torch.equal(parts["G"]["decoder.net.0.weight"], tiny_generator.decoder.net[0].weight)


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
    with pytest.raises(ValueError, match=expected):
        checkpoint.load_generator(saved)


def test_unusable_files_are_one_line_that_names_them(saved, tmp_path):
    data = saved.read_bytes()
    cases = {
        "cut.safetensors": (data[: len(data) // 2], "cut short"),
        "short.safetensors": (data[:5], "cut short"),
        "empty.safetensors": (b"", "cut short"),
        "text.safetensors": (b"hello, this is no snapshot at all", "cut short"),
        "published.pkl": (b"", "not read yet"),
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
    tensors, header = load_file(saved), checkpoint.read_header(saved)
    save_file(tensors, saved, {checkpoint.HEADER_KEY: json.dumps(header | {"format": 99})})
    with pytest.raises(ValueError, match="format 99"):
        checkpoint.load_generator(saved)


def drop(key):
    return lambda header: header.pop(key)


def put(*path, value):
    def change(header):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


DAMAGED_HEADERS = {
    "no format": (drop("format"), "lacks 'format'"),
    "no classes": (drop("classes"), "lacks 'classes'"),
    "no init_kwargs": (drop("init_kwargs"), "lacks 'init_kwargs'"),
    "no ray count": (drop("neural_rendering_resolution"), "'neural_rendering_resolution' is None"),
    "unknown class": (put("classes", "G_ema", value="Unet"), "unknown class, Unet"),
    "class of wrong type": (put("classes", "G_ema", value=[1]), "unknown class"),
    "classes of wrong type": (put("classes", value=["G_ema"]), "'classes' is no object"),
    "no arguments": (put("init_kwargs", value={}), "'init_kwargs' of G_ema"),
    "unknown argument": (put("init_kwargs", "G_ema", "colour", value=1), "colour"),
    "argument of wrong type": (put("init_kwargs", "G_ema", "z_dim", value="x"), "builds no TriPlaneGenerator"),
    "unknown setting": (put("rendering_kwargs", "colour", value=1), "unknown keys: colour"),
    "settings of wrong type": (put("rendering_kwargs", value=3), "'rendering_kwargs' is no object"),
    "gaze of wrong type": (put("gaze", value="none"), "'gaze' is no object"),
}


@pytest.mark.parametrize("kind", DAMAGED_HEADERS)
def test_a_damaged_header_is_one_line_that_names_the_file(saved, kind):
    change, message = DAMAGED_HEADERS[kind]
    tensors, header = load_file(saved), checkpoint.read_header(saved)
    change(header)
    save_file(tensors, saved, {checkpoint.HEADER_KEY: json.dumps(header)})
    with pytest.raises(ValueError, match=message) as error:
        checkpoint.load_generator(saved)
    assert str(saved) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{not json", "[]", "3"])
def test_a_header_that_is_no_json_object_is_one_line_that_names_the_file(saved, text):
    save_file(load_file(saved), saved, {checkpoint.HEADER_KEY: text})
    with pytest.raises(ValueError, match="its header is damaged") as error:
        checkpoint.read_header(saved)
    assert str(saved) in str(error.value) and "\n" not in str(error.value)


def test_a_state_holds_tensors_and_plain_values_only(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_state(path, {"format": checkpoint.FORMAT, "x": torch.ones(2), "n": 3})
    state = checkpoint.load_state(path)
    assert state["n"] == 3 and state["x"].tolist() == [1, 1]
    torch.save({"format": checkpoint.FORMAT, "x": TriPlaneGenerator}, path)  # a class: never loaded
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
