"""Generators that inversion tools have tuned: tensors without arguments, and modules that `torch.save` wrote whole."""

import pickle

import numpy as np
import published_layout as layout
import pytest
import torch
from published_layout import canary_source, save_whole, smallest_networks, write_published
from safetensors.torch import save_file

from eg3d.checkpoints.loading import CheckpointError, load_generator, open_checkpoint, training_networks
from eg3d.checkpoints.stored import digest
from eg3d.metrics.identity import IdentityNetwork
from l2cs.weights import load_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*fixed_triplanes looks the same")


@pytest.fixture(scope="module")
def networks():
    """The network that was tuned, the tuned one and the discriminator."""
    G, D = smallest_networks()
    return {"G": G, "G_ema": smallest_networks(seed=1)[0], "D": D}


@pytest.fixture(scope="module")
def like(networks, tmp_path_factory):
    """The published file that a generator was tuned from."""
    path = tmp_path_factory.mktemp("like") / "ffhq.pkl"
    rendering = layout.file_arguments(networks["G"])["rendering_kwargs"] | {"depth_resolution": 7}
    write_published(path, networks["G"], networks["D"], networks["G"], rendering_kwargs=rendering)
    return path


def under(prefix: str, tensors: dict) -> dict:
    return {prefix + name: value for name, value in tensors.items()}


def pickled_plainly(content, path):
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=4)


# Name of a file -> what is saved of a tuned generator's tensors, and by what.
LAYOUTS = {
    "G_ema.pth": (lambda s: {"G_ema": s}, torch.save),
    "G.pth": (lambda s: {"G": s, "w_pivot": torch.ones(1, 14, 512)}, torch.save),
    "bare.pt": (lambda s: s, torch.save),
    "module.pt": (lambda s: under("module.", s), torch.save),
    "legacy.pt": (lambda s: {"G_ema": s}, lambda c, path: torch.save(c, path, _use_new_zipfile_serialization=False)),
    "nested.pt": (lambda s: {"state_dict": under("net.generator.", s), "epoch": 3, "opts": {"lr": 0.1}}, torch.save),
    "both.pt": (lambda s: {"G": {k: v + 1 for k, v in s.items()}, "G_ema": under("module.", s)}, torch.save),
    "wrapped.pt": (lambda s: {"g_ema": {"state_dict": dict(s)}}, torch.save),
    "training.pt": (lambda s: {"G_ema": s | {"dataset_label_std": torch.ones(25)}}, torch.save),
    "plain.pkl": (lambda s: {"G_ema": s}, pickled_plainly),
    "bare.safetensors": (lambda s: {k: v.contiguous() for k, v in s.items()}, save_file),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_tensors_take_their_arguments_from_the_network_they_were_tuned_from(name, networks, like, tmp_path):
    arrange, save = LAYOUTS[name]
    save(arrange(networks["G_ema"].state_dict()), tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"convert\.py --source=\S*{name} --like=NETWORK --dest=\S+safetensors"):
        load_generator(tmp_path / name)
    G = open_checkpoint(tmp_path / name, like).network("G_ema").build("x")
    assert digest(G.state_dict()) == digest(networks["G_ema"].state_dict())
    assert G.options.depth_resolution == 7  # the renderer is that of the file


def test_such_a_file_is_converted_and_described(networks, like, tmp_path, run_script):
    torch.save({"G_ema": networks["G_ema"].state_dict()}, tmp_path / "tuned.pth")
    code, _, err = run_script("eg3d/convert.py", "--source=tuned.pth", f"--like={like}", "--dest=to/tuned.safetensors")
    assert code == 0, err
    assert digest(load_generator(tmp_path / "to/tuned.safetensors").state_dict()) == digest(
        networks["G_ema"].state_dict()
    )
    facts = open_checkpoint(tmp_path / "to" / "tuned.safetensors").facts
    assert facts["arguments_of"]["file"] == like.name and facts["converted_from"]["file"] == "tuned.pth"
    code, out, err = run_script("eg3d/inspect_checkpoint.py", "tuned.pth", f"--like={like}")
    assert code == 0 and "G_ema: TriPlaneGenerator, 128 px" in out and "does not fit" not in out, err


def test_what_is_not_a_network_is_left_out_and_named(networks, like, tmp_path):
    torch.save({"G": networks["G"].state_dict(), "w_pivot": torch.ones(1, 14, 512)}, tmp_path / "x.pt")
    notes = open_checkpoint(tmp_path / "x.pt", like).notes
    assert "left out, as part of no network: 'w_pivot'" in notes and "there is no G_ema: G is taken for it" in notes


def test_tensors_that_do_not_fit_are_named(networks, like, tmp_path, run_script):
    state = {key: value for key, value in networks["G"].state_dict().items() if key != "decoder.net.0.bias"}
    torch.save({"G_ema": state | {"decoder.net.4.weight": torch.ones(2)}}, tmp_path / "x.pt")
    code, out, err = run_script("eg3d/convert.py", "--source=x.pt", f"--like={like}", "--dest=y.safetensors")
    assert code == 2 and not (tmp_path / "y.safetensors").exists()
    assert "decoder.net.0.bias is missing; the tensor decoder.net.4.weight is not part of this network" in err
    code, out, err = run_script("eg3d/inspect_checkpoint.py", "x.pt", f"--like={like}")
    assert code == 0 and out.count("does not fit") == 2, err


@pytest.mark.parametrize("part", ["decoder.net.2.weight", "backbone.synthesis.b4", "noise_const", "superresolution"])
def test_tensors_that_are_missing_are_named_however_large_they_are(part, networks, like, tmp_path):
    left_out, kept = {}, {}
    for name, value in networks["G"].state_dict().items():
        (left_out if part in name else kept)[name] = value
    torch.save({"G_ema": kept}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=f"x.pt: the tensor {next(iter(left_out))} is missing"):
        open_checkpoint(tmp_path / "x.pt", like).network("G_ema").build(str(tmp_path / "x.pt"))


@pytest.mark.parametrize("content", [({"a": 1}, {}), [1], "a tuple of modules"])
def test_what_is_no_dict_is_not_called_something_else(content, networks, tmp_path):
    if isinstance(content, str):
        save_whole(tmp_path / "x.pt", lambda module: (module, module), networks["G"])
    else:
        torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="wrote: it holds no networks by the names G, D and G_ema$"):
        open_checkpoint(tmp_path / "x.pt")


def test_a_discriminator_finds_its_own_or_is_left_out(networks, like, tmp_path):
    torch.save({name: network.state_dict() for name, network in networks.items()}, tmp_path / "all.pt")
    opened = open_checkpoint(tmp_path / "all.pt", like)
    assert set(opened.networks) == {"G", "G_ema", "D"}
    assert digest(opened.network("D").build("x").state_dict()) == digest(networks["D"].state_dict())
    write_published(tmp_path / "only.pkl", G_ema=networks["G"])
    opened = open_checkpoint(tmp_path / "all.pt", tmp_path / "only.pkl")
    assert set(opened.networks) == {"G", "G_ema"} and any("D is left out" in note for note in opened.notes)


def test_two_generators_of_one_name_are_refused(networks, tmp_path):
    state = networks["G"].state_dict()
    torch.save({"generator": state, "old": state}, tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match=r"^\S*x\.pt: holds 2 networks that may be G: .*'generator\.', 'old\.'; save one"
    ):
        open_checkpoint(tmp_path / "x.pt")


# ------------------------------------------------------------------ modules saved whole


def parallel(module):
    wrapper = torch.nn.DataParallel(torch.nn.Identity())
    wrapper._modules["module"] = module
    return wrapper


WHOLE = {
    "by itself": lambda G: G,
    "as G_ema": lambda G: {"G_ema": G, "step": 500},
    "as G, with its latent": lambda G: {"G": G, "w": torch.ones(3)},
    "in a data-parallel wrapper": parallel,
}


@pytest.mark.parametrize("wrap", WHOLE)
@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
def test_a_whole_module_is_read_by_every_loader_and_nothing_in_it_runs(networks, tmp_path, legacy, wrap):
    path = tmp_path / "tuned.pt"
    save_whole(path, WHOLE[wrap], networks["G_ema"], legacy, canary_source(tmp_path / "canary"))
    assert open_checkpoint(path).kind == "whole module"
    assert digest(load_generator(path).state_dict()) == digest(networks["G_ema"].state_dict())
    assert set(training_networks(path).networks) == {"G", "G_ema"}
    assert not (tmp_path / "canary").exists()


def test_a_module_of_a_project_that_carries_eg3d_in_a_folder_is_read(networks, tmp_path, monkeypatch):
    for stub in layout.STUBS:
        monkeypatch.setattr(stub, "__module__", f"models.eg3d.{stub.__module__}")
    save_whole(tmp_path / "x.pt", lambda G: G, networks["G"])
    assert digest(load_generator(tmp_path / "x.pt").state_dict()) == digest(networks["G"].state_dict())
    write_published(tmp_path / "x.pkl", G_ema=networks["G"])
    assert digest(load_generator(tmp_path / "x.pkl").state_dict()) == digest(networks["G"].state_dict())


def test_a_module_of_foreign_classes_is_refused_with_what_helps(tmp_path):
    torch.save({"G_ema": torch.nn.Conv2d(1, 1, 1)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"never run.*torch\.save\(\{'G_ema': G\.state_dict\(\)\}.*--like"):
        load_generator(tmp_path / "x.pt")


# ------------------------------------------------------------------ refusals say what helps


def test_gaze_and_identity_networks_that_were_saved_whole_are_refused_with_what_helps(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "x.pth")
    for load in (load_weights, IdentityNetwork.load):
        with pytest.raises(ValueError, match=r"x\.pth: .*never run.*torch\.save\(model\.state_dict\(\)") as error:
            load(tmp_path / "x.pth")
        assert "fetch" not in str(error.value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("load", [load_weights, IdentityNetwork.load])
def test_gaze_and_identity_networks_that_were_pickled_are_refused_with_what_helps(tmp_path, load, protocol):
    with open(tmp_path / "x.pth", "wb") as file:
        pickle.dump({"a": torch.ones(300, 300)}, file, protocol)
    with pytest.raises(ValueError, match=r"x\.pth: .*a plain pickle.*torch\.save\(model\.state_dict\(\)") as error:
        load(tmp_path / "x.pth")
    assert "fetch" not in str(error.value) and "cut short" not in str(error.value)


@pytest.mark.parametrize("load", [load_weights, IdentityNetwork.load])
def test_gaze_and_identity_networks_inside_another_dict_are_refused_with_what_helps(tmp_path, load):
    torch.save({"epoch": 3, "model_state_dict": {"a": torch.ones(3)}}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=r"under 'model_state_dict'; save it alone, torch\.save\(saved\['model_state_d"
    ):
        load(tmp_path / "x.pth")


def test_foreign_arguments_are_refused_with_what_helps_and_it_helps(networks, like, tmp_path):
    write_published(tmp_path / "fork.pkl", G_ema=networks["G_ema"], init_kwargs={"blending": "soft"})
    with pytest.raises(CheckpointError, match=r"unknown keys: blending.*--source=\S*fork\.pkl --like=NETWORK"):
        load_generator(tmp_path / "fork.pkl")
    opened = open_checkpoint(tmp_path / "fork.pkl", like)
    assert digest(opened.network("G_ema").build("x").state_dict()) == digest(networks["G_ema"].state_dict())
    assert any("left aside for those of" in note for note in opened.notes)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_pickle_protocols_are_refused_with_what_helps(networks, tmp_path, protocol):
    with open(tmp_path / "x.pkl", "wb") as file:
        pickle.dump({"G_ema": {"a": np.ones(3), "b": 1.5}}, file, protocol)
    with pytest.raises(CheckpointError, match=r"pickle protocol.*torch\.save\(\{'G_ema': G\.state_dict\(\)\}"):
        load_generator(tmp_path / "x.pkl")


def test_the_data_set_of_a_published_file_is_shown(networks, tmp_path, run_script):
    about = {"class_name": "training.dataset.ImageFolderDataset", "path": "faces.zip", "resolution": 128}
    write_published(tmp_path / "x.pkl", G_ema=networks["G"], training_set_kwargs=about)
    _, out, _ = run_script("eg3d/inspect_checkpoint.py", "x.pkl")
    assert "trained on: class_name training.dataset.ImageFolderDataset, path faces.zip, resolution 128" in out
