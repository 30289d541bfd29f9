"""Several processes give what one gives, and end together."""

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import rank_work
import torch
from tiny_run import assert_same_state, final, loss_lines, tiny_config, write_images

from eg3d.checkpoints.loading import save_snapshot
from eg3d.data.dataset import ImageDataset
from eg3d.running import distributed
from eg3d.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "faces")


@pytest.fixture(autouse=True)
def quick_start(monkeypatch):
    """Processes forked from one that has imported everything once; the real ones start from nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rank_work", "eg3d.train"])
    monkeypatch.setattr(distributed, "get_context", lambda kind: context)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def both(work, folder, tmp_path, *more):
    """What `work` saves as one process and as two."""
    results = []
    for count in (1, 2):
        out = tmp_path / f"{work.__name__}-{count}"
        assert distributed.launch(work, (folder, out, *more), count, CPU, wait_minutes=2) == 0
        results.append(out)
    return results


def assert_close(one: dict, two: dict, tolerance: float) -> None:
    for name, network in one.items():
        for key, value in network.items():
            difference, size = (value - two[name][key]).abs().max(), value.abs().max()
            assert difference <= tolerance * size, f"{name}.{key}: {difference / size:.2g}"


def compare(one: Path, two: Path, decoder: str = "decoder") -> None:
    one, two = torch.load(one), torch.load(two)
    assert one["weights"]["G"][f"{decoder}.net.0.weight"].dtype == torch.float64
    assert_close(one["weights"], two["weights"], 1e-9)
    assert one["p"] == two["p"] and 0 < abs(one["p"] - 0.5) < 0.4
    wanted = {"Loss/r1_penalty", "Loss/G/density_reg", "Loss/G/gaze_loss"}
    assert wanted <= one["line"].keys() == two["line"].keys()
    for name, value in one["line"].items():
        assert value["num"] == two["line"][name]["num"], name
        assert value["mean"] == pytest.approx(two["line"][name]["mean"], rel=1e-8, abs=1e-12), name


def test_two_processes_give_the_weights_of_one(folder, tmp_path):
    compare(*both(rank_work.steps_in_float64, folder, tmp_path, 3))


def test_two_processes_give_the_eyes_of_one(folder, tmp_path):
    base = tmp_path / "base.safetensors"
    save_snapshot(base, Trainer(tiny_config(folder), ImageDataset(folder), CPU).networks(), {})
    one, two = both(rank_work.steps_in_float64, folder, tmp_path, 2, base)
    compare(one, two, "eye_decoder")
    assert torch.load(one)["line"]["Loss/G/rig_loss"]["mean"] > 0


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one_after_twenty_steps(folder, tmp_path):
    compare(*both(rank_work.twenty_steps, folder, tmp_path))


def test_the_first_gradients_of_two_processes_are_those_of_one_in_float32(folder, tmp_path):
    one, two = (torch.load(path) for path in both(rank_work.gradients_of_the_first_step, folder, tmp_path))
    assert len(one) == len(two) == 4  # Gmain, Greg, Dmain, Dreg
    for a, b in zip(one, two, strict=True):
        assert (a - b).abs().max() <= 1e-5 * a.abs().max() and a.abs().max() > 0


def test_numbers_are_cleaned_of_the_sum_and_every_process_learns_of_them(folder, tmp_path):
    one, two = both(rank_work.one_sick_sample, folder, tmp_path)
    alone = torch.load(f"{one}.0")
    assert not alone["finite"] and (alone["gradient"] == 0).any()
    first, second = torch.load(f"{two}.0"), torch.load(f"{two}.1")
    assert torch.equal(first["gradient"], second["gradient"])
    assert torch.equal(first["gradient"] == 0, alone["gradient"] == 0)
    assert first["finite"] and not second["finite"]  # the loop tells them, see largest()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_machines_of_torchrun_give_the_weights_of_one_process(folder, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert distributed.launch(rank_work.twenty_steps, (folder, one), 1, CPU, wait_minutes=2) == 0
    script = Path(rank_work.__file__)
    paths = [str(script.parent.parent), str(script.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
    port = free_port()
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={i}", "--nproc-per-node=1",
             "--master-addr=127.0.0.1", f"--master-port={port}", script, "twenty_steps", folder, two],
            env=environment,
        )
        for i in range(2)
    ]  # fmt: skip
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    compare(one, two)


@pytest.mark.robust
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the table of open ports from Linux")
def test_processes_that_we_start_listen_where_only_this_machine_can_reach_them(tmp_path, monkeypatch):
    others = [name for _, name in socket.if_nameindex() if not name.startswith("lo")]
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", others[-1] if others else "lo")  # of a run on several machines
    assert distributed.launch(rank_work.note_open_ports, (tmp_path / "ports",), 2, CPU, wait_minutes=2) == 0
    ports = [port for i in (0, 1) for port in (tmp_path / f"ports.{i}").read_text().split()]
    loopback = {"0100007F", "00000000000000000000000001000000"}  # 127.0.0.1 and ::1, bytes turned round
    assert len(ports) >= 2 and set(ports) <= loopback


# ------------------------------------------------------------------ ending together


def run_two(folder, outdir, disturb=None, wait_minutes=2.0, **changes) -> int:
    work = (folder, outdir, outdir / "training-state.pt", disturb)
    return distributed.launch(rank_work.short_run, work, 2, CPU, wait_minutes)


def error_lines(tmp_path, capfd) -> list[str]:
    """What the starting process and the ranks said went wrong.

    The line of an error may begin with the progress bar of another process, which that process has not ended yet.
    """
    text = capfd.readouterr().err + (tmp_path / "run.stderr").read_text()
    assert "Traceback" not in text
    return [line[line.index("error") :] for line in text.splitlines() if "error" in line]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The unbroken run of two processes; made when a test first asks for it."""
    folder = tmp_path_factory.mktemp("whole")
    write_images(folder / "faces")

    def outdir():
        if not (folder / "run").exists():
            assert run_two(folder / "faces", folder / "run") == 0
        return folder / "run"

    return outdir


def assert_goes_on_like(whole, folder, outdir) -> None:
    assert run_two(folder, outdir) == 0
    assert_same_state(final(outdir), final(whole))
    assert loss_lines(outdir) == loss_lines(whole)


@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.slow)])
def test_a_lost_process_ends_the_other_with_one_line_and_the_run_goes_on(
    folder, tmp_path, capfd, monkeypatch, whole, how
):
    monkeypatch.setattr(distributed, "GRACE_S", 1)
    killed = how == "killed"
    disturb = rank_work.kill_second if killed else rank_work.freeze_second
    assert run_two(folder, tmp_path / "run", disturb, wait_minutes=2.0 if killed else 0.05) == 1
    errors = error_lines(tmp_path, capfd)
    wanted = "process 1 of 2 was ended by SIGKILL" if killed else "a process did not answer for 0.05 minutes"
    assert len(errors) == 1 and wanted in errors[0] and "the same command goes on" in errors[0]
    assert final(tmp_path / "run")["images_seen"] == 8
    assert_goes_on_like(whole(), folder, tmp_path / "run")


def test_a_signal_to_one_process_stops_all_at_the_same_step(folder, tmp_path, whole):
    assert run_two(folder, tmp_path / "run", rank_work.stop_second) == 143
    assert final(tmp_path / "run")["images_seen"] == 12
    assert_goes_on_like(whole(), folder, tmp_path / "run")


def test_an_error_in_one_process_is_said_once_and_ends_all(folder, tmp_path, capfd):
    assert run_two(folder, tmp_path / "run", rank_work.fail_second) == 2
    errors = error_lines(tmp_path, capfd)
    assert errors == ["error: img3.png is damaged"]


def test_an_error_that_all_processes_find_is_said_once(folder, tmp_path, capfd):
    assert run_two(folder, tmp_path / "run") == 0
    assert run_two(write_images(tmp_path / "others", count=7), tmp_path / "run", kimg=0.024) == 2
    errors = error_lines(tmp_path, capfd)
    assert len(errors) == 1 and "others: is not the data set" in errors[0]


# ------------------------------------------------------------------ pieces


def test_large_values_come_tensor_by_tensor_as_they_were(tmp_path):
    assert distributed.launch(rank_work.receive, (tmp_path / "out",), 2, CPU, wait_minutes=2) == 0
    for rank in (0, 1):
        found = torch.load(tmp_path / f"out.{rank}")
        assert found["largest"] < 2**12  # no tensor of a megabyte went through pickle
        value, wanted = found["value"], rank_work.VALUES
        assert value.keys() == wanted.keys() and value["list"][1] == wanted["list"][1]
        pairs = [(value[name], wanted[name]) for name in wanted if name != "list"]
        for got, expected in [*pairs, (value["list"][0], wanted["list"][0])]:
            assert got.dtype == expected.dtype and torch.equal(got, expected)


def test_threads_are_shared_out_among_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 6, 7}, raising=False)
    assert distributed.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert distributed.cores() == os.cpu_count()


def test_the_number_of_processes_is_torchruns_where_there_is_one(monkeypatch):
    assert distributed.check_count(3) == 3 and distributed.check_count(None) is None
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert distributed.check_count(None) == 4 and distributed.check_count(4) == 4
    with pytest.raises(ValueError, match="--gpus=3, but torchrun has started 4"):
        distributed.check_count(3)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):  # rank 0 has said it
        distributed.check_count(3)


def test_one_process_needs_no_messages():
    tensor = torch.ones(2)
    distributed.add_up([tensor])
    assert tensor.tolist() == [1, 1] and distributed.gather("x") == ["x"] and distributed.largest(3, 1) == [3, 1]
    assert distributed.block(4) == range(4) and distributed.rank() == 0 and distributed.size() == 1
