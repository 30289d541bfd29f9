"""What it costs that threads spin while they wait for each other, on an idle machine and beside other programs.

OpenMP's threads spin before they sleep. On a busy machine they take the processor from the thread that they wait for.
For drawing, scores and training, each policy has a process of its own; they make one call each in turn, first with the
machine idle, then beside 2, 4 and 8 programs that compute all the time. Run it on a machine that does nothing else.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time

import click
import torch
from cases import generator, gfas, whole_step
from options import json_option, repeats_option, results_option
from timing import under, write_results

from eg3d.gaze.networks import load_gaze_network
from eg3d.pictures.views import render_views
from eg3d.running.cli import Command, write_json
from groundwork.early import WAITING_ALONE, WAITING_AMONG_OTHERS

CPU = torch.device("cpu")
OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
POLICIES = {"alone": WAITING_ALONE, "among others": WAITING_AMONG_OTHERS, "PyTorch's": {}}  # ours, by how they start


def drawing():
    G = generator("embedded", CPU)
    return lambda: [None for _ in render_views(G, range(48))]


CASES = {
    "drawing": drawing,
    "scores": lambda: gfas("embedded", CPU, 32, load_gaze_network("embedded-judge", CPU)),
    "training": lambda: whole_step("embedded", CPU),
}


class Worker:
    """One case in a process of its own, with that policy; a call returns (seconds, processor seconds)."""

    def __init__(self, case: str, ops: str, policy: dict):
        clean = {name: value for name, value in os.environ.items() if name not in OPENMP}
        command = [sys.executable, __file__, f"--within={case}", f"--ops={ops}"]
        self.process = subprocess.Popen(
            command, env=clean | policy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self) -> tuple[float, float]:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        wall, processor = map(float, self.process.stdout.readline().split())
        return wall, processor

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(case: str, ops: str) -> None:
    """Makes one call for every line on stdin and prints its seconds and processor seconds."""
    call = under(ops, CASES[case]())
    with torch.set_grad_enabled(case == "training"):
        for _ in sys.stdin:
            wall, processor = time.perf_counter(), time.process_time()
            call()
            print(time.perf_counter() - wall, time.process_time() - processor, flush=True)


@contextlib.contextmanager
def other_programs(count: int):
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measure(case: str, ops: str, policies: dict[str, dict], loads: list[int], repeats: int) -> dict:
    """{policy: {load: {"seconds", "processor_seconds" (medians), "all": [[seconds, processor seconds], ..]}}}"""
    workers = {name: Worker(case, ops, policy) for name, policy in policies.items()}
    found: dict = {name: {} for name in policies}
    for worker in workers.values():
        worker(), worker()  # warms up
    for load in loads:
        with other_programs(load):
            rounds = [{name: worker() for name, worker in workers.items()} for _ in range(repeats)]
        for name in policies:
            pairs = [row[name] for row in rounds]
            wall, processor = (statistics.median(column) for column in zip(*pairs, strict=True))
            found[name][load] = {"seconds": wall, "processor_seconds": processor, "all": pairs}
    for worker in workers.values():
        worker.close()
    return found


def say(title: str, found: dict, loads: list[int]) -> None:
    beside = f", beside {loads[1:]} programs" if loads[1:] else ""
    click.echo(f"{title}: seconds on the idle machine against PyTorch's; processor seconds{beside}")
    for name, by_load in found.items():
        idle = by_load[0]
        slower = idle["seconds"] / found["PyTorch's"][0]["seconds"]
        dearer = [by_load[load]["processor_seconds"] / idle["processor_seconds"] for load in loads[1:]]
        ratios = "".join(f", {ratio:.2f} x" for ratio in dearer)
        click.echo(f"  {name:12s} {slower:.3f} x; {idle['processor_seconds']:.2f} s{ratios}")


@click.command(cls=Command)
@click.option("--spins", default="", help="Further values of GOMP_SPINCOUNT to try, with commas between.")
@click.option("--cases", "names", default=",".join(CASES), show_default=True, help="What to time.")
@click.option("--ops", default="kernels", show_default=True, type=click.Choice(["kernels", "torch"]))
@click.option("--loads", default="2,4,8", show_default=True, help="How many other programs; idle is always measured.")
@click.option("--within", type=click.Choice(CASES), hidden=True, help="The case that this process computes.")
@json_option
@repeats_option
@results_option
def main(spins, names, ops, loads, within, repeats, json_path, results):
    """Time of drawing, scores and training by OpenMP's policy of waiting; 2 threads want 2 idle cores."""
    if within:
        return serve(within, ops)
    policies = POLICIES | {f"spin {count}": {"GOMP_SPINCOUNT": count} for count in filter(None, spins.split(","))}
    loads, numbers = [0, *map(int, filter(None, loads.split(",")))], {}
    for case in names.split(","):
        numbers[case] = measure(case, ops, policies, loads, repeats)
        say(f"{case}, --ops={ops}", numbers[case], loads)
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'waiting-{ops}', CPU, numbers)}")


if __name__ == "__main__":
    main()
