"""Scripts on several processes report what one reports, and end together."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import small_set
import torch
from click.testing import CliRunner
from tiny_networks import tiny_gaze_network, tiny_generator

from dataset_preprocessing import filter_by_gaze
from dataset_preprocessing.ffhq import preprocess_in_the_wild
from eg3d import calc_all, calc_gfas, calc_id, calc_metrics, gen_samples_pose
from eg3d.checkpoints.loading import save_snapshot
from eg3d.ops.kernels.backend import chosen, using
from eg3d.running import distributed, processes
from eg3d.scores import table as all_scores
from l2cs.weights import save_weights

CPU = torch.device("cpu")
VARIES = {"timestamp", "total_time", "total_time_str", "num_gpus"}  # of a line of calc_metrics.py

pytestmark = pytest.mark.filterwarnings("ignore:.*mirrored faces")  # the gaze networks here are random


@pytest.fixture(scope="module", autouse=True)
def quick_start():
    """Processes forked from one that has imported everything once; the real ones start from nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rank_work", "eg3d.train", "eg3d.calc_all", "dataset_preprocessing.filter_by_gaze"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "get_context", lambda kind: context)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Small networks and data sets."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed, name in enumerate("ab"):
        save_weights(folder / f"{name}.safetensors", tiny_gaze_network(seed), half=False)
    save_snapshot(folder / "G.safetensors", {"G_ema": tiny_generator()}, {})
    for side in (32, 64):
        small_set.write_folder(folder / f"{side}px", small_set.members(13, side=side))
    return folder


def options_of(script, *arguments) -> dict:
    """What a script's `run` is told."""
    told = {}

    def start(run, check, gpus, wait_minutes, device, **options):
        told.update(options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "start", start)
        script.main.main([str(argument) for argument in arguments], standalone_mode=False)
    return told


def cases(inputs: Path, out: Path) -> list:
    """(script, options): each writes into a folder of its name, from three to seven batches, the last one not full."""
    tiny, gaze = f"--network={inputs / 'G.safetensors'}", f"--l2cs-path={inputs / 'a.safetensors'}"
    arguments = {
        filter_by_gaze: [f"--data={inputs / '32px'}", "--by=gaze", gaze, "--min-abs-yaw=0.001", "--batch=3",
                         f"--dest={out / 'filter_by_gaze/turned.zip'}"],
        calc_gfas: [tiny, gaze, f"--judge={inputs / 'b.safetensors'}", "--seeds=7,9,0-4", "--batch=2",
                    f"--json={out / 'calc_gfas/score.json'}"],
        calc_id: [tiny, "--num-gen=5", "--batch=2", "--landmarks=template", f"--outdir={out / 'calc_id'}",
                  f"--json={out / 'calc_id/score.json'}"],
        calc_metrics: [tiny, f"--data={inputs / '32px'}", "--metrics=fid50k_full,kid50k_full,pr50k3_full",
                       "--detector=embedded", "--num-gen=21", "--batch=3", f"--json={out / 'calc_metrics/score.json'}"],
        calc_all: ["--network=embedded", "--seeds=0-4", "--num-gen=7", "--batch=2", "--l2cs-path=embedded-judge",
                   f"--data={inputs / '64px'}", f"--markdown={out / 'calc_all/table.md'}",
                   f"--json={out / 'calc_all/score.json'}"],
        gen_samples_pose: ["--network=embedded", "--seeds=9,0-3", "--batch=2", f"--outdir={out / 'gen_samples_pose'}"],
        preprocess_in_the_wild: [f"--indir={out / 'gen_samples_pose'}", "--batch=2",
                                 f"--outdir={out / 'preprocess_in_the_wild'}"],
    }  # fmt: skip
    work = [(script.run, script.check, options_of(script, *more)) for script, more in arguments.items()]
    return [*work[:1], (keep_caches_in, no_check, {"folder": out / "calc_metrics"}), *work[1:]]


SCRIPTS = ["calc_gfas", "calc_id", "calc_metrics", "calc_all", "gen_samples_pose", "preprocess_in_the_wild",
           "filter_by_gaze"]  # fmt: skip


def no_check(**_) -> None:
    pass


def keep_caches_in(folder: Path, device) -> None:
    """From here on: features of real pictures, but not matplotlib's list of fonts, which takes seconds to make."""
    os.environ["XDG_CACHE_HOME"] = str(folder)


def probe(out: Path, device) -> None:
    """Notes what every process must agree on."""
    found = {"ops": chosen(), "tf32": torch.backends.cudnn.allow_tf32}
    Path(f"{out}.{distributed.rank()}.json").write_text(json.dumps(found))


def in_each(out: Path, work: list) -> int:
    """Every script's `run`, one after the other; what a started process says goes to files."""
    if distributed.size() > 1:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{out}.{distributed.rank()}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    all_scores.VIEW_BATCH = 2
    for run, check, options in work:
        processes._as_process(run, check, CPU, "torch", options)
    return 0


@pytest.fixture(scope="module")
def outcomes(inputs, tmp_path_factory):
    """Folders of what one process and two have written."""
    folder = tmp_path_factory.mktemp("outcomes")
    for name, count in (("one", 1), ("two", 2)):
        out = folder / name
        with pytest.MonkeyPatch.context() as patch:  # takes back what `in_each` changes in this process
            patch.setenv("XDG_CACHE_HOME", str(Path.home() / ".cache"))
            patch.setattr(all_scores, "VIEW_BATCH", 2)
            work = [(probe, no_check, {"out": out}), *cases(inputs, out)]
            assert distributed.launch(in_each, (out, work), count, CPU, wait_minutes=2) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes | dict]:
    """All files of a folder by name; JSON without times and the number of processes."""
    found: dict[str, bytes | dict] = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        found[file.relative_to(folder).as_posix()] = file.read_bytes()
        if file.name == "score.json" and "metrics" in (score := json.loads(file.read_text())):
            found["score.json"] = [{k: v for k, v in line.items() if k not in VARIES} for line in score["metrics"]]
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_two_processes_write_the_bytes_of_one(outcomes, script):
    one, two = (contents(outcomes / name / script) for name in ("one", "two"))
    assert one and list(one) == list(two)
    for name, content in one.items():
        assert content == two[name], f"{script}: {name}"


def test_seeds_are_reported_in_the_order_they_were_asked_for(outcomes):
    rows = json.loads((outcomes / "two/gen_samples_pose/labels_generate.json").read_text())["labels"]
    assert [name for name, _ in rows] == [f"seed000{seed}.png" for seed in (9, 0, 1, 2, 3)]


def test_the_first_process_alone_speaks_and_shows_the_time_left(outcomes):
    assert (outcomes / "two.1.stdout").read_text() == (outcomes / "two.1.stderr").read_text() == ""
    bars = (outcomes / "two.0.stderr").read_text()
    for title in ("GFAS", "identity", "generated images", "pose", "cameras", "reading gaze"):
        assert f"{title}: 100%" in bars and f"{title}:   0%" in bars
    assert "<00:0" in bars
    assert "kept " in (outcomes / "two.0.stdout").read_text()


def test_every_process_computes_by_the_same_ops_and_in_true_float32(outcomes):
    torch_and_exact = {"ops": "torch", "tf32": False}
    assert [json.loads((outcomes / f"two.{rank}.json").read_text()) for rank in (0, 1)] == [torch_and_exact] * 2


# ------------------------------------------------------------------ errors


def errors_of_two(out: Path, script, *arguments) -> str:
    """The one line that two processes say, which must fail."""
    work = [(script.run, script.check, options_of(script, *arguments))]
    assert distributed.launch(in_each, (out, work), 2, CPU, wait_minutes=2) == 2
    said = "".join(Path(f"{out}.{rank}.stderr").read_text() for rank in (0, 1))
    errors = [line for line in said.splitlines() if "error" in line]
    assert len(errors) == 1 and errors[0].startswith("error: ") and "Traceback" not in said, said
    return errors[0]


def test_an_error_in_the_second_process_is_said_once_and_leaves_nothing(inputs, tmp_path):
    members = small_set.members(6)
    members[3] = (members[3][0], members[3][1][:60])  # the second batch of two is the second process's
    data = small_set.write_folder(tmp_path / "data", members)
    arguments = (f"--data={data}", "--by=gaze", f"--l2cs-path={inputs / 'a.safetensors'}", "--batch=2")
    line = errors_of_two(tmp_path / "said", filter_by_gaze, *arguments, f"--dest={tmp_path / 'new' / 'turned.zip'}")
    assert members[3][0] in line and not (tmp_path / "new").exists()


def test_a_missing_file_is_said_once(inputs, tmp_path):
    arguments = (f"--network={inputs / 'G.safetensors'}", f"--l2cs-path={tmp_path / 'gone.pkl'}")
    assert "gone.pkl" in errors_of_two(tmp_path / "said", calc_gfas, *arguments)


def interrupted(device) -> None:
    raise KeyboardInterrupt  # Ctrl-C reaches every process


def test_an_interrupt_of_all_is_said_once(tmp_path):
    work = [(interrupted, no_check, {})]
    assert distributed.launch(in_each, (tmp_path / "said", work), 2, CPU, wait_minutes=2) == 130
    said = "".join((tmp_path / f"said.{rank}.stderr").read_text() for rank in (0, 1))
    assert said.split() == ["interrupted"]


@pytest.mark.parametrize(
    "script, arguments, words",
    [
        (calc_gfas, ["--network=gone", "--l2cs-path=gone", "--json=file/x"], "--json=file/x"),
        (calc_id, ["--network=gone", "--json=file/x"], "--json=file/x"),
        (calc_all, ["--network=a", "--network=a"], "given twice"),
        (calc_metrics, ["--network=gone", "--metrics=lpips"], "lpips"),
        (gen_samples_pose, ["--network=gone", "--outdir=file/x"], "--outdir=file/x"),
        (filter_by_gaze, ["--data=gone", "--dest=new", "--by=gaze"], "--l2cs-path"),
        (preprocess_in_the_wild, ["--indir=gone", "--json=file/x"], "--json=file/x"),
    ],
)
def test_wrong_options_start_no_processes(script, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(distributed, "launch", lambda *_: pytest.fail("processes were started"))
    done = CliRunner().invoke(script.main, [*arguments, "--gpus=2"])
    assert done.exit_code == 2 and done.stderr.startswith("error: ") and words in done.stderr


def test_what_is_asked_for_reaches_the_processes(monkeypatch):
    started = []
    monkeypatch.setattr(distributed, "launch", lambda *arguments: started.append(arguments) or 75)
    arguments = ["--network=G", "--l2cs-path=a", "--gpus=3", "--wait-minutes=0.5", "--ops=torch", "--device=cpu"]
    assert CliRunner().invoke(calc_gfas.main, arguments).exit_code == 75
    ((work, (run, check, device, ops, options), count, kind, wait_minutes),) = started
    assert (count, wait_minutes, ops, device, kind) == (3, 0.5, "torch", CPU, CPU)
    assert run is calc_gfas.run and check is calc_gfas.check and options["network"] == "G"
    with using("auto"):
        work(probe_ops, no_check, device, ops, {"seen": (seen := [])})
    assert seen == ["torch"]


def probe_ops(seen: list, device) -> None:
    seen.append(chosen())


# ------------------------------------------------------------------ pieces


@pytest.mark.parametrize(
    ("count", "size", "batch"), [(23, 1, 5), (23, 2, 5), (24, 3, 4), (7, 4, 4), (2, 4, 8), (0, 2, 3)]
)
def test_parts_taken_in_turn_are_those_of_one_process(count, size, batch, monkeypatch):
    turns = {}
    for rank in range(size):
        monkeypatch.setattr(distributed, "size", lambda: size)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "together", lambda work: work())
        monkeypatch.setattr(distributed, "to_first", lambda value, rank=rank: turns.setdefault(rank, []).append(value))
        assert list(processes.batches(range(count), batch, list, None)) == []
    assert len({len(values) for values in turns.values()}) <= 1  # all meet as often
    found = [part for turn in zip(*turns.values(), strict=True) for parts in turn for part in parts]
    assert found == [list(range(first, min(first + batch, count))) for first in range(0, count, batch)]


# ------------------------------------------------------------------ as a user starts them


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def gfas(inputs):
    """Arguments of a short calc_gfas.py, but for --json."""
    return [f"--network={inputs / 'G.safetensors'}", f"--l2cs-path={inputs / 'a.safetensors'}", "--seeds=0-6",
            "--batch=2", "--device=cpu"]  # fmt: skip


@pytest.mark.slow
def test_the_script_starts_its_processes(gfas, run_process, tmp_path):
    outputs = []
    for count in (1, 2):
        done = run_process("eg3d/calc_gfas.py", *gfas, f"--json={tmp_path / str(count)}", f"--gpus={count}")
        assert done.code == 0, done.stderr
        outputs.append((done.stdout, (tmp_path / str(count)).read_text()))
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_torchruns_processes_give_the_report_of_one_and_one_error(gfas, run_process, tmp_path):
    assert run_process("eg3d/calc_gfas.py", *gfas, f"--json={tmp_path / 'one'}").code == 0

    def torchrun(*arguments):
        script = Path(calc_gfas.__file__)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2",
                   "--master-addr=127.0.0.1", f"--master-port={free_port()}", script, *arguments]  # fmt: skip
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    done = torchrun(*gfas, f"--json={tmp_path / 'two'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    failed = torchrun(*gfas, f"--json={tmp_path / 'one' / 'below'}")
    assert failed.returncode == 1  # torchrun's own
    assert sum(line.startswith("error: ") for line in failed.stderr.splitlines()) == 1
    assert f"error: --json={tmp_path / 'one' / 'below'}: cannot be written there" in failed.stderr
