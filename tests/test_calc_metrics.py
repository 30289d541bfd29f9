import json

import numpy as np
import pytest
import small_set
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_networks import tiny_generator

from eg3d import calc_metrics
from eg3d.checkpoints.loading import save_snapshot
from eg3d.data.dataset import ImageDataset
from eg3d.metrics.world_features import FEATURES_FILE
from eg3d.pictures.views import render_samples
from groundwork.files import sha256

COUNT = 24
NAMES = "fid50k_full,kid50k_full,pr50k3_full"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "G.safetensors"
    save_snapshot(path, {"G_ema": tiny_generator()}, {})
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_set.write_folder(tmp_path_factory.mktemp("data"), small_set.members(COUNT, side=32))


def options(network, data, **changes) -> list[str]:
    values = dict(network=network, data=data, metrics=NAMES, detector="embedded", num_gen=20, device="cpu") | changes
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def run(network, data, **changes):
    return CliRunner().invoke(calc_metrics.main, options(network, data, **changes))


def lines(result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def numbers(result) -> dict[str, float]:
    return {key: value for line in lines(result) for key, value in line["results"].items()}


def test_lines_hold_what_makes_a_number_comparable(network, data, tmp_path):
    result = run(network, data, trunc=0.7, seed=3, json=tmp_path / "out.json")
    first, second, third = lines(result)
    assert first["metric"] == "fd_embedded" and first["results"].keys() == {"fd_embedded"}
    assert third["results"].keys() == {"pr_embedded_precision", "pr_embedded_recall"}
    assert "fid" not in result.stdout.lower().replace("no fid", "")
    assert first["directions"]["fd_embedded"] == "lower is better"
    assert third["directions"]["pr_embedded_recall"] == "higher is better"
    assert first["standard_errors"]["fd_embedded"] > 0 and second["standard_errors"]["kd_embedded"] > 0
    assert second["subset_std"] >= 0 and second["standard_errors"].keys() == {"kd_embedded"}
    assert (first["samples_generated"], first["samples_real"], first["psi"], first["seed"]) == (20, COUNT, 0.7, 3)
    assert first["detector"]["name"] == "embedded-features-v1" and first["detector"]["sha256"] == sha256(FEATURES_FILE)
    assert first["network_sha256"] == sha256(network) and len(first["data_sha256"]) == 64
    assert first["num_gpus"] == 1 and first["snapshot_pkl"] is None and first["timestamp"] > 1e9
    assert set(first) >= {"total_time", "total_time_str"}
    assert json.loads((tmp_path / "out.json").read_text())["metrics"] == [first, second, third]
    assert not list(network.parent.glob("*.jsonl"))


def test_batches_change_nothing(network, data):
    one, other = numbers(run(network, data, batch=20)), numbers(run(network, data, batch=3))
    assert one == pytest.approx(other, rel=1e-4)


def test_a_seed_gives_the_same_numbers_again_and_another_one_others(network, data):
    one, again, other = (numbers(run(network, data, metrics="fid50k_full", seed=s)) for s in (0, 0, 1))
    assert one == again and one["fd_embedded"] != other["fd_embedded"]


def test_a_data_set_of_the_same_pictures_has_no_distance(network, tmp_path):
    # generated and real pictures take the same way: the bytes of one are stored, and read as the other
    labels = torch.tensor(small_set.labels(COUNT))
    images = render_samples(tiny_generator(), labels, range(COUNT), seed=5)
    members = [
        (f"img{i:08d}.png", small_set.image_bytes(image.permute(1, 2, 0).numpy())) for i, image in enumerate(images)
    ]
    rows = [[name, label.tolist()] for (name, _), label in zip(members, labels, strict=True)]
    folder = small_set.write_folder(
        tmp_path / "same", [*members, ("dataset.json", json.dumps({"labels": rows}).encode())]
    )
    found = numbers(run(network, folder, num_gen=COUNT, seed=5))
    assert found["fd_embedded"] == pytest.approx(0, abs=1e-6)
    assert found["kd_embedded"] < 0 and found["pr_embedded_precision"] == found["pr_embedded_recall"] == 1


def test_samples_have_cameras_of_the_data_set_and_do_not_depend_on_their_neighbours():
    labels = torch.tensor(small_set.labels(6))
    seen, G = [], tiny_generator()
    G.backbone.mapping.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    whole = render_samples(G, labels, range(40), seed=0)
    rows = {tuple(row.tolist()) for row in labels}
    assert {tuple(row.tolist()) for row in seen[0]} == rows  # all of them turn up, and no other
    alone = render_samples(G, labels, [7], seed=0)
    assert torch.equal(seen[1][0], seen[0][7])
    assert (alone[0].int() - whole[7].int()).abs().max() <= 1  # rounding
    assert (whole[8].int() - whole[7].int()).abs().max() > 1
    render_samples(G, labels, range(40), seed=1)
    assert not torch.equal(seen[2], seen[0])  # the seed draws cameras too


def test_real_features_are_kept_and_belong_to_the_content(network, tmp_path, monkeypatch):
    folder = small_set.write_folder(tmp_path / "set", small_set.members(COUNT, side=32, kind="BMP"))  # one file size
    first = lines(run(network, folder, metrics="fid50k_full"))[0]
    kept = list((tmp_path / "cache").rglob("real-*.safetensors"))
    assert len(kept) == 1
    with monkeypatch.context() as patch:
        patch.setattr(ImageDataset, "batch", lambda *_: pytest.fail("the real images were looked at again"))
        again = lines(run(network, folder, metrics="fid50k_full"))[0]
    assert again["results"] == first["results"]
    for name in ("00000/img00000000.bmp", "00000/img00000001.bmp"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / name)
    changed = lines(run(network, folder, metrics="fid50k_full"))[0]
    assert changed["data_sha256"] != first["data_sha256"] and changed["results"] != first["results"]
    kept[0].write_bytes(kept[0].read_bytes()[:-100])  # a damaged one is made anew
    assert len(lines(run(network, folder, metrics="fid50k_full"))) == 1


def test_lines_are_added_to_the_files_of_a_run(network, data, tmp_path):
    (tmp_path / "network-snapshot-000001.safetensors").write_bytes(network.read_bytes())
    (tmp_path / "training_options.json").write_text(json.dumps({"data": {"path": str(data)}}))
    for count in (1, 2):
        line = lines(run(tmp_path / "network-snapshot-000001.safetensors", None, metrics="fid50k_full"))[0]
        stored = (tmp_path / "metric-fd_embedded.jsonl").read_text().splitlines()
        assert len(stored) == count and json.loads(stored[-1]) == line
    assert line["snapshot_pkl"] == "network-snapshot-000001.safetensors" and line["data"] == str(data)


def test_mirrored_images_count_where_they_are_asked_for(network, data):
    plain, mirrored = (lines(run(network, data, metrics="fid50k", mirror=m))[0] for m in (False, True))
    assert plain["metric"] == "fd_embedded_first20" and plain["samples_real"] == mirrored["samples_real"] == 20
    assert len(lines(run(network, data, metrics="fid50k", mirror=True, num_gen=40))) == 1  # of 48
    assert len(lines(run(network, data, metrics="fid50k_full", mirror=True))) == 1  # ignored, as published


def fails(result, *words: str) -> None:
    assert result.exit_code == 2 and result.stdout == "", result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_bad_names_and_counts_are_one_line(network, data):
    fails(run(network, data, metrics="ppl2_wend"), "ppl2_wend", "one camera")
    fails(run(network, data, metrics="eqt50k_int"), "no such transform")
    fails(run(network, data, metrics="fid2k_full"), "--metrics=fid50k_full --num-gen=2000")
    fails(run(network, data, metrics="lpips"), "kid50k_full")
    fails(run(network, data, metrics="is50k"), "1008 classes")
    fails(run(network, data, metrics="fid50k_full,fid50k_full"), "twice")
    fails(run(network, data, metrics="kid50k_full", num_gen=1), "--num-gen=1", "at least 2")
    fails(run(network, data, metrics="fid50k", num_gen=50), "first 50", "has 24")
    fails(run(network, data, metrics="fid50k,fid50k_full", mirror=True), "two calls")
    fails(run(network, data, detector="inception"), "--inception-weights is missing", "--detector=embedded")
    fails(run(network, data, inception_weights=network), "--detector=embedded has no use")


def test_bad_files_are_one_line(network, data, tmp_path):
    (tmp_path / "empty").mkdir()
    fails(run(network, tmp_path / "empty"), "holds no images")
    fails(run(network, tmp_path / "none"), "no such file")
    fails(run(tmp_path / "none.pkl", data), "none.pkl")
    members = small_set.members(4, side=32)
    unlabelled = small_set.write_folder(tmp_path / "unlabelled", [*members[:-1], ("dataset.json", b'{"labels": null}')])
    fails(run(network, unlabelled), "4 of 4 images have no label")
    fails(run(network, small_set.write_folder(tmp_path / "bare", members[:-1])), "dataset.json is missing")
    fails(run(network, small_set.write_folder(tmp_path / "small", small_set.members(4, side=16))), "16 px", "32")
    few = small_set.write_folder(tmp_path / "few", small_set.members(3, side=32))
    fails(run(network, few, metrics="pr50k3_full"), "needs 4 real pictures", "has 3")
    fails(run(network, None), "--data is missing")
    fails(run(network, data, detector="inception", inception_weights=network), "not a state dict")
    fails(run(network, data, json=tmp_path), "--json")
    assert not list(tmp_path.rglob("*.jsonl"))


def test_no_metrics_is_no_work(network, data):
    assert lines(run(network, data, metrics="none")) == []
