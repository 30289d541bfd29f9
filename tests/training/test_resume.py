"""Starting from a checkpoint: what fits is copied, what does not is named, nothing is half-started."""

import copy
import dataclasses
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from published_layout import write_published
from tiny_run import SIDE, tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.checkpoints.arguments import file_arguments
from eg3d.config.run import from_dict
from eg3d.convert import main as convert
from eg3d.models.discriminator import DualDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from eg3d.training.resume import ResumeError, start_from
from eg3d.training.setup import build_networks
from l2cs.estimator import WORLD_NETWORKS


@pytest.fixture
def fresh(tmp_path):
    """fresh(seed) -> the networks of a tiny run, with random weights."""
    config = tiny_config(tmp_path)

    def networks(seed):
        torch.manual_seed(seed)
        G = TriPlaneGenerator(config.generator)
        return {"G_ema": copy.deepcopy(G), "G": G, "D": DualDiscriminator(config.discriminator, SIDE)}

    return networks


def weights(networks):
    return {f"{n}.{k}": v.clone() for n, network in networks.items() for k, v in network.state_dict().items()}


def save(path, networks, **facts):
    checkpoint.save_snapshot(path, networks, facts)
    return str(path)


def test_all_three_networks_are_started(fresh, tmp_path):
    source, networks = fresh(1), fresh(2)
    with torch.no_grad():
        source["G_ema"].decoder.net[0].weight.mul_(2)
    facts, notes = start_from(networks, save(tmp_path / "a.safetensors", source, images_seen=5, images_seen_before=7))
    assert facts["images_seen_before"] == 12 and notes == []
    expected = weights(source)
    assert all(torch.equal(value, expected[name]) for name, value in weights(networks).items())


@pytest.mark.parametrize("only", ["G_ema", "G"])
def test_one_generator_starts_both_and_it_is_said(fresh, tmp_path, only):
    source, networks = fresh(1), fresh(2)
    path = save(tmp_path / "a.safetensors", {only: source[only], "D": source["D"]})
    _, notes = start_from(networks, path)
    other = {"G_ema": "G", "G": "G_ema"}[only]
    assert notes == [f"there is no {other}: it starts from {only}"]
    got, expected = weights(networks), weights({other: source[only]})
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def with_planes(networks, planes):
    for name in ("G", "G_ema"):
        config = networks[name].config
        networks[name].config = dataclasses.replace(
            config, rendering=dataclasses.replace(config.rendering, planes=planes)
        )
    return networks


def test_planes_of_a_file_that_says_them_must_be_the_run_s(fresh, tmp_path):
    path = save(tmp_path / "a.safetensors", with_planes(fresh(1), "fixed_triplanes"))
    with pytest.raises(ResumeError, match="planes are fixed_triplanes, the run's are published: add --planes=fixed_"):
        start_from(fresh(2), path)
    assert start_from(with_planes(fresh(2), "fixed_triplanes"), path)[1] == []


def test_planes_that_a_published_file_cannot_tell_are_said_once_unless_the_run_sets_them(fresh, tmp_path):
    source = fresh(1)
    write_published(tmp_path / "x.pkl", source["G"], source["D"], source["G_ema"], module_src="")
    notes = start_from(fresh(2), str(tmp_path / "x.pkl"))[1]
    assert len(notes) == 1 and "--planes=fixed_triplanes to convert.py, or to train.py" in notes[0]
    assert start_from(with_planes(fresh(2), "fixed_triplanes"), str(tmp_path / "x.pkl"))[1] == []


def misfit(fresh, tmp_path):
    """A checkpoint whose D is absent, with one tensor of G missing, one extra and one of another shape."""
    source = fresh(1)
    state = {name: source[name].state_dict() for name in ("G", "G_ema")}
    G = dict(state["G"])
    del G["backbone.mapping.w_avg"]
    G["decoder.net.0.bias"] = torch.zeros(3)
    G["decoder.net.9.bias"] = torch.zeros(3)
    entries = {name: {"init_kwargs": file_arguments(source["G"]), "state_dict": state[name]} for name in state}
    entries["G"]["state_dict"] = G
    torch.save(entries, tmp_path / "misfit.pt")
    return str(tmp_path / "misfit.pt"), source


REPORT = [
    "G: the tensor backbone.mapping.w_avg is missing",
    "G: the tensor decoder.net.9.bias is not part of this network",
    "G: the tensor decoder.net.0.bias has shape [3], this network has [16]",
    "D: is not in the file",
]


def test_a_misfit_names_every_tensor_and_copies_nothing(fresh, tmp_path):
    path, _ = misfit(fresh, tmp_path)
    networks = fresh(2)
    before = weights(networks)
    del networks["G_ema"]  # which would fit, and comes first: nothing may be copied before all are compared
    networks = {"G": networks["G"], "D": networks["D"]}
    with pytest.raises(ResumeError, match="does not fit this run in 4 places.*--resume-partial") as error:
        start_from(networks, path)
    assert error.value.report == REPORT
    assert all(torch.equal(value, before[name]) for name, value in weights(networks).items())


def test_nothing_is_copied_when_a_later_network_does_not_fit(fresh, tmp_path):
    path, _ = misfit(fresh, tmp_path)
    networks = fresh(2)
    before = weights(networks)
    with pytest.raises(ResumeError):
        start_from(networks, path)
    assert all(torch.equal(value, before[name]) for name, value in weights(networks).items())


def test_a_partial_start_copies_what_fits_and_reports_the_rest(fresh, tmp_path):
    path, source = misfit(fresh, tmp_path)
    networks = fresh(2)
    before, wanted = weights(networks), weights(source)
    _, notes = start_from(networks, path, partial=True)
    assert notes == REPORT
    for name, value in weights(networks).items():
        kept = name.startswith("D.") or name in ("G.backbone.mapping.w_avg", "G.decoder.net.0.bias")
        assert torch.equal(value, (before if kept else wanted)[name]), name


PAINTS = "the published code paints over raw pictures of 8 px"


@pytest.mark.parametrize(
    ("kind", "rays", "raw_image", "said"),
    [("published", (8, None), "rendered", True), ("published", (8, None), "legacy", False),
     ("published", (12, None), "rendered", False), ("published", (6, 8), "rendered", True),
     ("published", (12, 16), "rendered", False), ("converted", (8, None), "rendered", True),
     ("converted twice", (8, None), "rendered", True), ("ours", (8, None), "rendered", False)],
)  # fmt: skip
def test_who_fine_tunes_a_published_discriminator_hears_what_pictures_it_has_seen(
    fresh, tmp_path, kind, rays, raw_image, said
):
    source, path = fresh(1), tmp_path / "x.pkl"
    if kind == "ours":
        save(path, source)
    else:
        write_published(path, source["G"].eval(), source["D"].eval(), source["G_ema"].eval())
    for dest in {"converted": ["a.safetensors"], "converted twice": ["a.pt", "b.safetensors"]}.get(kind, []):
        assert CliRunner().invoke(convert, [f"--source={path}", f"--dest={tmp_path / dest}"]).exit_code == 0
        path = tmp_path / dest
    config = tiny_config(tmp_path, resume=str(path))
    loss = dataclasses.replace(config.loss, raw_image=raw_image)
    schedule = dataclasses.replace(config.schedule, raw_resolution_initial=rays[0], raw_resolution_final=rays[1])
    config = dataclasses.replace(config, loss=loss, schedule=schedule)
    _, _, notes = build_networks(config, torch.randn(4, 25), torch.device("cpu"), resume=True)
    assert [note for note in notes if note.startswith(PAINTS)] == notes[-1:] * said
    assert not build_networks(config, torch.randn(4, 25), torch.device("cpu"), resume=False)[2]


# ------------------------------------------------------------------ the script


@pytest.fixture
def tiny_faces(tmp_path):
    return write_images(tmp_path / "faces", side=128)


def command(*extra):
    """The published fine-tuning command for one process and networks of minimal width."""
    return (
        "--outdir=training-runs", "--cfg=ffhq", "--data=faces", "--resume=ffhq.pkl", "--l2cs-path=gaze.safetensors",
        "--gpus=1", "--batch=4", "--gamma=1", "--batch-gpu=4", "--gen_pose_cond=True",
        "--neural_rendering_resolution_final=128", "--cbase=512", "--cmax=16", "--kimg=0.004", "--device=cpu", *extra,
    )  # fmt: skip


def published_networks(run_script):
    code, out, err = run_script("eg3d/train.py", *command("--dry-run"))
    assert code == 0, err
    config = from_dict(json.loads(out))
    sr = dataclasses.replace(config.generator.superresolution, kind="SuperresolutionHybrid2X")
    G = TriPlaneGenerator(dataclasses.replace(config.generator, resolution=128, superresolution=sr))
    return G.eval(), DualDiscriminator(config.discriminator, 128).eval()


@pytest.mark.slow
def test_the_published_fine_tuning_command_runs_from_a_published_file(run_script, tiny_faces, tmp_path):
    G, D = published_networks(run_script)
    write_published(tmp_path / "ffhq.pkl", G, D, G)
    shutil.copy(WORLD_NETWORKS["embedded"], tmp_path / "gaze.safetensors")
    code, _, err = run_script("eg3d/train.py", *command())
    assert code == 0, err
    made = checkpoint.open_checkpoint(tmp_path / "training-runs" / "network-snapshot-000000.safetensors")
    assert made.facts["resumed_from"] == "ffhq.pkl" and set(made.networks) == {"G_ema", "G", "D"}
    before, after = G.state_dict(), made.network("G").read()
    moved = [(after[name] - before[name]).abs().max() for name, _ in G.named_parameters() if "noise" not in name]
    assert 0 < max(moved) < 0.3  # one step away from the file, not from random weights
    assert not (tmp_path / "ffhq.pkl.executed").exists()


def test_a_misfit_is_reported_line_by_line_and_leaves_no_run(run_script, tmp_path):
    write_images(tmp_path / "faces", side=64)
    arguments = ("--outdir=run", "--cfg=embedded", "--data=faces", "--gaze-weight=0", "--kimg=0.016", "--device=cpu")
    code, _, err = run_script("eg3d/train.py", *arguments, "--resume=embedded-base", "--cmax=32")
    lines = err.strip().splitlines()
    assert code == 2 and lines[-1].startswith("error: --resume=embedded-base: does not fit this run in ")
    assert len(lines) > 20 and any("has shape" in line for line in lines[:-1]) and "Traceback" not in err
    assert not (tmp_path / "run").exists()
