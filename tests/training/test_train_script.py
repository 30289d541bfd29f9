import json
import os

import pytest
import torch
from tiny_run import tiny_config, write_images

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.flags import resolve
from eg3d.data.dataset import ImageDataset
from eg3d.gaze.term import GazeTerm
from eg3d.train import main
from eg3d.training.loop import train
from eg3d.training.preparation import advice_on_memory
from groundwork.files import sha256
from groundwork.held_folder import held
from l2cs.estimator import WORLD_NETWORKS

PUBLISHED = (
    "--outdir=training-runs --cfg=ffhq --data=faces --resume=ffhq.pkl --l2cs-path=L2CSNet_gaze360.pkl --gpus=4 "
    "--batch=16 --gamma=1 --batch-gpu=4 --gen_pose_cond=True --neural_rendering_resolution_final=128"
).split()


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """call("--flag=1", ...) -> (exit code, stdout, stderr), from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        with pytest.raises(SystemExit) as stop:
            main.main(list(args), prog_name="train.py")
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return run


def test_a_dry_run_of_the_published_command_prints_its_configuration_and_writes_nothing(call, tmp_path):
    code, out, err = call(*PUBLISHED, "--dry-run")
    assert code == 0, err
    config = json.loads(out)
    assert (config["gpus"], config["batch"], config["batch_gpu"], config["loss"]["r1_gamma"]) == (4, 16, 4, 1)
    assert config["schedule"]["raw_resolution_final"] == 128
    assert config["generator"]["pose_cond"] is True
    assert config["gaze"]["l2cs_path"] == "L2CSNet_gaze360.pkl" and config["gaze"]["weight"] == 1
    assert not list(tmp_path.iterdir())


# As the README of EG3D prints them: (flags, gamma, pictures' size, pose conditioning, rays at the end, augmentation).
EG3D = {
    "ffhq": ("--cfg=ffhq --data=~/datasets/FFHQ_512.zip --gamma=1 --gen_pose_cond=True", (1, 512, True, None, "noaug")),
    "ffhq, second stage": (
        "--cfg=ffhq --data=~/datasets/FFHQ_512.zip --resume=~/training-runs/ffhq/network-snapshot-025000.pkl --gamma=1 "
        "--gen_pose_cond=True --neural_rendering_resolution_final=128",
        (1, 512, True, 128, "noaug"),
    ),
    "shapenet": ("--cfg=shapenet --data=~/datasets/cars_train.zip --gamma=0.3", (0.3, 128, False, None, "noaug")),
    "afhq": (
        "--cfg=afhq --data=~/datasets/afhq.zip --resume=~/training-runs/ffhq/network-snapshot-025000.pkl --gamma=5 "
        "--aug=ada --gen_pose_cond=True --gpc_reg_prob=0.8 --neural_rendering_resolution_final=128",
        (5, 512, True, 128, "ada"),
    ),
}


@pytest.mark.parametrize("name", EG3D)
def test_a_command_of_eg3d_trains_plain_eg3d_and_says_so(call, name):
    flags, expected = EG3D[name]
    command = ("--outdir=~/training-runs", *flags.split(), "--gpus=8", "--batch=32")
    code, out, err = call(*command, "--dry-run")
    assert code == 0, err
    run = json.loads(out)
    generator, rays = run["generator"], run["schedule"]["raw_resolution_final"]
    pose = generator["pose_cond"]
    assert (run["loss"]["r1_gamma"], generator["resolution"], pose, rays, run["augment"]["mode"]) == expected
    assert run["gaze"]["weight"] == 0 and run["gaze"]["l2cs_path"] is None
    first, *rest = err.splitlines()
    assert first.startswith("note: no flag asks for the gaze term, so this is plain EG3D; --l2cs-path=FILE")
    assert [line[:36] for line in rest] == ["note: --aug=ada changes colours only,"[:36]] * (name == "afhq")
    assert all("--augpipe=bgc" in line for line in rest)
    pipe = [f"--augpipe={pipe}" for pipe in ("colour", "bgc") if name == "afhq"] or [""]
    for augpipe in pipe:  # who has chosen is told nothing
        said = [flag for flag in (augpipe, "--gaze-weight=0") if flag]
        code, again, err = call(*command, *said, "--dry-run")
        assert (code, err) == (0, "") and json.loads(again)["gaze"] == run["gaze"]
        assert augpipe in ("", "--augpipe=" + json.loads(again)["augment"]["pipe"])


def test_a_gaze_network_or_another_flag_about_gaze_asks_for_the_term(call):
    for more, weight in (
        (["--l2cs-path=x"], 1), (["--l2cs-path=x", "--gaze-weight=3"], 3), (["--l2cs-path=x", "--gaze-weight=0"], 0),
        (["--l2cs-path=x", "--gaze-loss=euclid"], 1), (["--l2cs-path="], 0), (["--gaze-mask=False"], 0),
    ):  # fmt: skip
        for cfg in ("ffhq", "afhq", "shapenet"):
            code, out, err = call("--outdir=run", f"--cfg={cfg}", "--data=x", *more, "--dry-run")
            assert code == 0 and json.loads(out)["gaze"]["weight"] == weight, err
            assert ("plain EG3D" in err) == (weight == 0 and "--gaze-weight=0" not in more)


def test_a_run_says_once_what_flags_that_were_not_given_leave_out(call, tmp_path, monkeypatch):
    folder = write_images(tmp_path / "faces", side=128)
    tiny = tiny_config(folder, kimg=0.004)

    def small(config, outdir, dataset, *others, **more):  # in place of a run of shapenet's size, which takes seconds
        assert config.preset == "shapenet" and config.augment.mode == "ada"
        return train(tiny, outdir, ImageDataset(write_images(tmp_path / "small")), *others, **more)

    monkeypatch.setattr("eg3d.train.train", small)
    code, _, err = call("--outdir=run", "--cfg=shapenet", "--data=faces", "--aug=ada", "--device=cpu")
    assert code == 0 and err.count("note: no flag asks for") == err.count("note: --aug=ada changes") == 1, err


RUN = ("--outdir=run", "--cfg=embedded", "--gaze-weight=0")
BAD = {
    "published weights": (PUBLISHED, "ffhq.pkl"),
    "indivisible processes": ((*RUN, "--gpus=3"), "--gpus=3"),
    "nothing kept": ((*RUN, "--keep=0"), "--keep=0 must be at least 1"),
    "no processes": ((*RUN, "--gpus=0"), "--gpus=0 must be at least 1"),
    "fewer than no processes": ((*RUN, "--gpus=-2"), "--gpus=-2 must be at least 1"),
    "no decoders": ((*RUN, "--workers=0"), "--workers=0 must be at least 1"),
    "no micro-batch": ((*RUN, "--batch-gpu=0"), "--batch-gpu=0 must be at least 1"),
    "statistics of none": ((*RUN, "--mbstd-group=0"), "--mbstd-group=0 must be at least 1"),
    "no pictures": ((*RUN, "--metrics=fid50k_full", "--num-gen=0"), "--num-gen=0 must be at least 1"),
    "unknown format": ((*RUN, "--precision=fp8"), "--precision=fp8 is unknown; use one of fp32, tf32, bf16, fp16"),
    "half a process": ((*RUN, "--gpus=1.5"), "'1.5' is not a valid integer"),
    "frozen below none": ((*RUN, "--freeze-g=-1"), "--freeze-g=-1 must be from 0 to"),
    "dead regulariser": (
        (*RUN, "--reg_type=l1-alt"),
        "--reg_type=l1-alt never did anything in EG3D: it added 0; give --density_reg=0",
    ),
    "negative half format": ((*RUN, "--g_num_fp16_res=-1"), "--g_num_fp16_res=-1 must be at least 0"),
    "unknown preset": (("--outdir=run", "--cfg=celeba"), "celeba"),
    "indivisible batch": ((*RUN, "--batch=16", "--batch-gpu=5"), "--batch=16"),
    "batch of one": ((*RUN, "--batch=1"), "--mbstd-group=1"),
    "no gaze network": (("--outdir=run", "--cfg=ffhq", "--data=x", "--gaze-weight=1"), "--l2cs-path"),
    "no gaze network to tell": (("--outdir=run", "--cfg=afhq", "--data=x", "--gaze-loss=euclid"), "--l2cs-path"),
    "no data, no gaze flag": (("--outdir=run", "--cfg=ffhq", "--data=x", "--aug=ada"), "--data=x"),
    "missing data": ((*RUN, "--data=nowhere.zip"), "nowhere.zip"),
    "no data": (("--outdir=run", "--cfg=ffhq", "--gaze-weight=0"), "--data"),
    "image size": ((*RUN, "--data=small"), "16 px"),
    "missing weights": ((*RUN, "--data=small", "--resume=no.safetensors"), "no.safetensors"),
    "nothing to continue": ((*RUN, "--resume=latest"), "training-state.pt"),
    "unknown augmentation": ((*RUN, "--aug=all"), "--aug=all is unknown; use one of noaug, ada, fixed"),
    "pipe of no augmentation": ((*RUN, "--augpipe=bgc"), "--augpipe=bgc"),
    "unknown metric": ((*RUN, "--metrics=fid"), "--metrics=fid: there is no such metric"),
    "missing detector": ((*RUN, "--metrics=fid50k_full", "--detector=inception"), "--inception-weights"),
    "no Inception": (
        (*RUN, "--data=faces64", "--metrics=fid50k_full", "--detector=inception", "--inception-weights=no.pth"),
        "no.pth: there is no such file; give the weights of the Inception network",
    ),
    "no VGG": (
        (*RUN, "--data=faces64", "--metrics=pr50k3_full", "--vgg-weights=no.pth", "--num-gen=4"),
        "no.pth: there is no such file; give the weights of the VGG16 network",
    ),
    "weights that nobody reads": (
        (*RUN, "--metrics=fid50k_full", "--detector=embedded", "--inception-weights=no.pth"),
        "--inception-weights: --detector=embedded has no use for them",
    ),
    "pictures of no metric": ((*RUN, "--num-gen=100"), "--num-gen=100 is of metrics"),
    "no channels": ((*RUN, "--cbase=1"), "--cbase=1 must be from 64"),
    "no time": ((*RUN, "--stop-after-minutes=nan"), "--stop-after-minutes"),
    "endless waiting": ((*RUN, "--wait-minutes=inf"), "--wait-minutes"),
    "longest waiting": ((*RUN, "--wait-minutes=1e300"), "--wait-minutes"),
    "no tick": ((*RUN, "--tick=nan"), "--tick=nan"),
    "partial start from nothing": ((*RUN, "--resume-partial"), "--resume=FILE"),
    "no scale": ((*RUN, "--c-scale=nan"), "--c-scale=nan"),
    "no label noise": ((*RUN, "--disc_c_noise=nan"), "--disc_c_noise=nan"),
    "no learning rate": ((*RUN, "--glr=nan"), "--glr=nan"),
    "endless learning rate": ((*RUN, "--dlr=inf"), "--dlr=inf"),
    "learning rate of zero": ((*RUN, "--glr=0"), "--glr=0"),
    "no decoder": ((*RUN, "--decoder_lr_mul=nan"), "--decoder_lr_mul=nan"),
    "statistics of parts": ((*RUN, "--batch=6"), "pass --mbstd-group=3 (a divisor of 6)"),
    "few rays": ((*RUN, "--neural_rendering_resolution_initial=2"), "--neural_rendering_resolution_initial=2"),
    "few rays at the end": ((*RUN, "--neural_rendering_resolution_final=2"), "--neural_rendering_resolution_final=2"),
    "endless fade": (
        (*RUN, "--neural_rendering_resolution_fade_kimg=nan"),
        "--neural_rendering_resolution_fade_kimg=nan",
    ),
    "missing network that scores": ((*RUN, "--data=small", "--l2cs-path=no.pkl"), "no.pkl"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2_and_leaves_nothing(call, tmp_path, name):
    write_images(tmp_path / "small")
    write_images(tmp_path / "faces64", side=64)
    before = sorted(tmp_path.rglob("*"))
    args, expected = BAD[name]
    code, _, err = call(*args)
    assert code == 2
    assert expected in err and err.startswith("error: ") and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_published_option_of_a_feature_that_is_off_is_a_note(call, tmp_path):
    code, out, err = call(*RUN, "--p=0.5", "--gpc_reg_fade_kimg=5", "--gen_pose_cond=False", "--dry-run")
    assert code == 0 and json.loads(out)["augment"]["p"] == 0.2
    assert "note: --p=0.5 does nothing here: it belongs to --aug=fixed: add it\n" in err
    assert "note: --gpc_reg_fade_kimg=5.0 does nothing here: it belongs to pose conditioning" in err
    assert err.count("\n") == 2


@pytest.mark.parametrize("target", ["training-state.pt", "gone.pt"], ids=["in a circle", "to nothing"])
@pytest.mark.parametrize("more", [[], ["--resume=latest"]])
def test_a_state_that_is_a_link_to_nothing_starts_no_new_run(call, tmp_path, target, more):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training-state.pt").symlink_to(target)
    code, _, err = call(*RUN, "--data=nowhere.zip", *more)
    assert code == 2 and "training-state.pt: is a link that leads to no file; mend it" in err and err.count("\n") == 1
    assert os.readlink(tmp_path / "run" / "training-state.pt") == target


def test_a_new_run_deletes_no_snapshots_of_another_one(call, tmp_path):
    folder = write_images(tmp_path / "faces", side=64)
    (tmp_path / "run").mkdir()
    other = tmp_path / "run" / "network-snapshot-000100.safetensors"
    other.write_text("precious")
    code, _, err = call(*RUN, f"--data={folder}", "--keep=1", "--kimg=0")
    assert code == 2 and err.count("\n") == 1
    assert f"{other.name}: is a snapshot of another run, which --keep=1 would delete; give another --outdir" in err
    assert other.read_text() == "precious"


def test_a_state_that_cannot_be_read_is_not_overwritten(call, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training-state.pt").write_text("precious")
    code, _, err = call(*RUN)
    assert code == 2 and "training-state.pt: is not a training state" in err and err.count("\n") == 1
    assert (tmp_path / "run" / "training-state.pt").read_text() == "precious"


def test_the_folder_is_taken_before_its_state_is_read(call, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training-state.pt").write_text("half of what another process writes")
    with held(tmp_path / "run"):
        code, _, err = call(*RUN)
    assert code == 2 and "another process works there" in err and err.count("\n") == 1
    assert (tmp_path / "run").exists()


class Unlucky:
    """Ways to run out of memory, and one that is something else."""

    def cuda():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3")

    def cpu():
        torch.empty(2**52)

    def numpy():
        raise MemoryError("Unable to allocate 3 GiB for an array")

    def library():
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


@pytest.mark.parametrize(
    ("how", "wanted"),
    [(Unlucky.cuda, "tried to allocate 2.00 gib"), (Unlucky.cpu, f"tried to allocate {2**54} bytes"),
     (Unlucky.numpy, "no more"), (Unlucky.library, "no more")],
)  # fmt: skip
def test_memory_that_runs_out_is_one_line_that_names_the_micro_batch(call, tmp_path, monkeypatch, how, wanted):
    write_images(tmp_path / "faces", side=64)
    monkeypatch.setattr("eg3d.train.train", lambda *_, **__: how())
    code, _, err = call(*RUN, "--data=faces", "--batch=16", "--batch-gpu=8", "--device=cpu")
    assert code == 2 and err.startswith("error: the memory ran out") and err.count("\n") == 1, err
    assert wanted in err and "8 images at once" in err and "smaller --batch-gpu, which divides --batch=16" in err
    assert not (tmp_path / "run").exists()


def test_another_failure_of_the_library_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes"), advice_on_memory(resolve("embedded")):
        raise RuntimeError("shapes do not fit")


def test_a_run_knows_its_data_set_wherever_it_lies(call, tmp_path, monkeypatch):
    write_images(tmp_path / "faces", side=64)
    args = (*RUN, "--l2cs-path=", "--batch=2", "--mbstd-group=1", "--cbase=256", "--cmax=16", "--device=cpu")
    code, _, err = call(*args, "--data=faces", "--kimg=0.002")
    assert code == 0, err
    (tmp_path / "faces").rename(tmp_path / "moved")
    write_images(tmp_path / "faces", count=7, side=64)
    metrics = ("--metrics=kid50k_full", "--num-gen=2")  # which would read all of it
    with monkeypatch.context() as patch:
        patch.setattr("eg3d.scores.distances.open_archive", lambda *_: pytest.fail("was read"))
        code, out, err = call(*args, "--data=faces", "--kimg=0.004", *metrics)
    assert "going on" not in out
    assert code == 2 and "--data=faces: is not the data set the stopped run saw" in err and err.count("\n") == 1
    assert checkpoint.load_state(tmp_path / "run" / "training-state.pt")["images_seen"] == 2
    code, out, err = call(*args, "--data=moved", "--kimg=0.004")
    assert code == 0 and "going on with the run in run after 2 images" in out, err
    options = json.loads((tmp_path / "run" / "training_options.json").read_text())
    assert options["data"]["path"] == "moved"  # what scores the run's snapshots reads it there


def test_the_shortest_run_stops_and_goes_on_by_the_same_command(call, tmp_path):
    write_images(tmp_path / "faces", side=64)
    args = (*RUN, "--data=faces", "--batch=2", "--mbstd-group=1", "--cbase=256", "--cmax=16", "--device=cpu")
    code, _, err = call(*args, "--kimg=0.002")
    assert code == 0, err
    for name in ("metric-fid.jsonl", "stats.jsonl"):
        before = (tmp_path / "run" / name).read_bytes() if name == "stats.jsonl" else b""
        (tmp_path / "run" / name).write_bytes(before + b"[1]\n")
        code, _, err = call(*args, "--kimg=0.004", "--resume=latest")
        assert code == 2 and f"{name}: line" in err and err.count("error: ") == 1 and "Traceback" not in err
        (tmp_path / "run" / name).write_bytes(before)
    code, _, err = call(*args, "--kimg=0.004", "--resume=latest")
    assert code == 0, err
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert [line["Progress/kimg"]["mean"] for line in lines] == [0.002, 0.004]
    assert all("GFAS/slope" in line for line in lines)  # by the embedded network, which trains nothing here


class Averages(torch.nn.Module):
    """In the place of a network that takes seconds to make: some averages of an image."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(16, 8, bias=False)

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 4)[:, 0].flatten(1) * self.fc.weight[0]


@pytest.mark.parametrize(
    ("metric", "flag", "network"),
    [("fid50k_full", "--inception-weights", "inception.InceptionV3"), ("pr50k3_full", "--vgg-weights", "vgg.Vgg16")],
)
def test_metrics_at_snapshots_read_the_weights_that_are_given(call, tmp_path, monkeypatch, metric, flag, network):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(f"eg3d.metrics.{network}", Averages)
    monkeypatch.setattr("eg3d.metrics.inception.TENSORS", 1)
    write_images(tmp_path / "faces", side=64)
    torch.save({"fc.weight": torch.ones(8, 16)}, tmp_path / "weights.pth")
    small = ("--l2cs-path=", "--batch=2", "--mbstd-group=1", "--cbase=256", "--cmax=16", "--kimg=0.002", "--device=cpu")
    measured = (f"--metrics={metric}", "--num-gen=8", "--detector=inception", f"{flag}=weights.pth")
    code, _, err = call(*RUN, "--data=faces", *small, *measured)
    assert code == 0, err
    (path,) = (tmp_path / "run").glob("metric-*.jsonl")
    line = json.loads(path.read_text())
    assert line["detector"]["sha256"] == sha256(tmp_path / "weights.pth") and line["images_seen"] == 2


def test_the_gaze_network_is_read_if_one_is_named(tmp_path, monkeypatch):
    def loaded(cfg="embedded", **flags):
        return GazeTerm.load(resolve(cfg, **flags).gaze, "cpu").network

    assert loaded(gaze_weight=0.0).sha256 == loaded(gaze_weight=1.0).sha256
    assert loaded("ffhq", gaze_weight=0.0) is None  # no path
    assert loaded("ffhq", gaze_weight=0.0, l2cs_path="embedded-judge").sha256 != loaded().sha256
    with pytest.raises((ValueError, OSError), match=r"no\.pkl"):
        loaded("ffhq", gaze_weight=0.0, l2cs_path="no.pkl")
    monkeypatch.setitem(WORLD_NETWORKS, "embedded", tmp_path / "not-made-yet.safetensors")
    with pytest.raises(ValueError, match="make embedded"):
        loaded(gaze_weight=0.0)
