"""A run that is killed, at any moment, goes on by the same command as if nothing had happened."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rank_work
from safetensors import safe_open
from tiny_run import assert_same_state, final, loss_lines, write_images

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rank_work", "eg3d.train"])
    return context


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("kill") / "faces")


def started(context, folder, outdir, disturb=None):
    """The run of these tests in a process of its own, from its state where there is one: six steps, three snapshots."""
    state = outdir / "training-state.pt"
    process = context.Process(
        target=rank_work.short_run, args=(folder, outdir, state, disturb), kwargs=rank_work.SIX_STEPS
    )
    process.start()
    return process


def finish(context, folder, outdir) -> None:
    process = started(context, folder, outdir)
    process.join()
    assert process.exitcode == 0, Path(f"{outdir}.stderr").read_text()


@pytest.fixture(scope="module")
def whole(context, folder, tmp_path_factory):
    """(folder, seconds) of the unbroken run."""
    outdir = tmp_path_factory.mktemp("whole") / "run"
    start = time.perf_counter()
    finish(context, folder, outdir)
    return outdir, time.perf_counter() - start


def assert_as_if_nothing_had_happened(outdir, whole) -> None:
    assert_same_state(final(outdir), final(whole))
    assert loss_lines(outdir) == loss_lines(whole)
    assert {p.name for p in outdir.iterdir()} == {p.name for p in whole.iterdir()}
    assert snapshot_digests(outdir) == snapshot_digests(whole)


def snapshot_digests(outdir) -> dict[str, str]:
    with safe_open(outdir / "network-snapshot-000000.safetensors", "pt") as file:
        header = json.loads(file.metadata()["eg3d"])
    return {name: entry["sha256"] for name, entry in header["networks"].items()} | {"n": header["facts"]["images_seen"]}


def test_three_kills_at_random_moments_change_nothing(context, folder, whole, tmp_path):
    outdir, draw = tmp_path / "run", random.Random(0)
    for _ in range(3):
        process = started(context, folder, outdir)
        process.join(draw.uniform(0.1, 0.9) * whole[1])
        process.kill()
        process.join()
    finish(context, folder, outdir)
    assert_as_if_nothing_had_happened(outdir, whole[0])


QUICK = ("with half a state", "before the line", "after the line")


@pytest.mark.parametrize(
    "moment", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in rank_work.MOMENTS]
)
def test_a_kill_while_something_is_being_written_changes_nothing(context, folder, whole, tmp_path, moment):
    outdir = tmp_path / "run"
    process = started(context, folder, outdir, rank_work.MOMENTS[moment])
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finish(context, folder, outdir)
    assert_as_if_nothing_had_happened(outdir, whole[0])


def test_a_full_disk_leaves_the_previous_state(context, folder, tmp_path, whole):
    outdir = tmp_path / "run"
    process = started(context, folder, outdir, rank_work.small_files_from_the_fourth_step)
    process.join()
    said = Path(f"{outdir}.stderr").read_text()
    assert process.exitcode == 2 and "limit of file sizes" in said and "Traceback" not in said
    assert final(outdir)["images_seen"] == 4
    finish(context, folder, outdir)
    assert_as_if_nothing_had_happened(outdir, whole[0])


# ------------------------------------------------------------------ the script, as a user starts it


COMMAND = (
    "--outdir=run", "--cfg=embedded", "--data=faces", "--gaze-weight=0", "--batch=4", "--cbase=256", "--cmax=16",
    "--kimg=0.032", "--tick=0.008", "--snap=2", "--state-minutes=0", "--device=cpu", "--density_reg=0.1",
    "--mirror=True", "--aug=ada", "--augpipe=bgc", "--style_mixing_prob=0.5",
)  # fmt: skip


def script(place: Path, *more) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "eg3d" / "train.py"), *COMMAND, *more]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_twenty_kills_of_the_script_change_nothing(tmp_path):
    for name in ("whole", "killed"):
        write_images(tmp_path / name / "faces", side=64)
    start = time.perf_counter()
    process = script(tmp_path / "whole")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    length, draw, kills = time.perf_counter() - start, random.Random(1), 0
    outdir = tmp_path / "killed" / "run"
    while kills < 20:
        process = script(tmp_path / "killed")
        try:
            process.communicate(timeout=draw.uniform(0.3, 1.0) * length)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        else:  # it has reached its end: from the start again, so that there is something to kill
            assert process.returncode == 0
            if kills < 20:
                (outdir / "training-state.pt").unlink()
                (outdir / "stats.jsonl").unlink()
    process = script(tmp_path / "killed")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert_as_if_nothing_had_happened(outdir, tmp_path / "whole" / "run")


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [1, 2])
def test_the_script_stops_on_a_signal_and_goes_on_by_the_same_command(tmp_path, gpus):
    for name in ("whole", "stopped"):
        write_images(tmp_path / name / "faces", side=64)
    more = (f"--gpus={gpus}", "--batch-gpu=2", "--mbstd-group=2")
    process = script(tmp_path / "whole", *more)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    outdir = tmp_path / "stopped" / "run"
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        before = len(loss_lines(outdir)) if outdir.exists() else 0
        process = script(tmp_path / "stopped", *more)
        while not (outdir / "stats.jsonl").exists() or len(loss_lines(outdir)) <= before:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate()
        assert process.returncode == code and "the same command goes on" in output and "Traceback" not in output
    process = script(tmp_path / "stopped", *more)
    output, _ = process.communicate()
    assert process.returncode == 0 and "going on with the run in run after" in output
    assert_same_state(final(outdir), final(tmp_path / "whole" / "run"))
    assert loss_lines(outdir) == loss_lines(tmp_path / "whole" / "run")


@pytest.mark.slow
def test_the_script_goes_on_with_other_processes_and_batches_and_a_kill_there_changes_nothing(tmp_path):
    starts = [("--batch=4", "--kimg=0.008"), ("--gpus=2", "--batch-gpu=4", "--batch=8"), ("--batch=4", "--kimg=0.040")]
    for name in ("whole", "killed"):
        write_images(tmp_path / name / "faces", side=64)
        outdir = tmp_path / name / "run"
        for number, more in enumerate(starts):
            if name == "killed" and number == 1:
                process = script(tmp_path / name, *more)
                while len(loss_lines(outdir)) < 4 and process.poll() is None:  # two of its own ticks
                    time.sleep(0.05)
                process.kill()
                process.communicate()
            process = script(tmp_path / name, *more)
            output, _ = process.communicate()
            assert process.returncode == 0, output
            if name == "whole":  # the killed one may have saved the change, and then changes nothing
                assert ("note: from image" in output) == (number > 0)
    assert_same_state(final(tmp_path / "killed" / "run"), final(tmp_path / "whole" / "run"))
    sizes = json.loads((tmp_path / "killed" / "run" / "training_options.json").read_text())["sizes"]
    assert [tuple(entry.values()) for entry in sizes] == [(0, 4, 4, 1), (8, 8, 4, 2), (32, 4, 4, 1)]
    assert loss_lines(outdir) == loss_lines(tmp_path / "whole" / "run")
