"""Kernels against plain PyTorch on processors of fewer instructions than this one's: what `backend.PROVEN` rests on.

Each instruction set is measured in a process of its own, in which the compiler and PyTorch keep to it. Processor
seconds of one thread, in turn, so that other programs on the machine matter little.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import click
import torch
from cases import image, volume, whole_step
from options import json_option, repeats_option, results_option
from timing import compared, in_turn, under, write_results

from eg3d.ops.kernels import native
from eg3d.running.cli import Command, write_json

CPU = torch.device("cpu")
LIMITS = {  # instruction set: what keeps the compiler to it, and PyTorch with its libraries
    "native": ([], {}),
    "avx2": (["-mno-avx512f"], {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
                                "MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    "sse2": (["-march=x86-64"], {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
                                 "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}),
}  # fmt: skip
CASES = {
    "rays of a 512 px picture": lambda: volume("ffhq", CPU),
    "16 embedded pictures": lambda: image("embedded", CPU, batch=16),
    "embedded training step": lambda: whole_step("embedded", CPU),
    "512 px picture": lambda: image("ffhq", CPU),
}


def processor_time(call: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    return run


def measure(repeats: int) -> dict:
    """{case: as `timing.compared`, plain PyTorch against kernels, and the largest difference of their pictures}."""
    torch.set_num_threads(1)
    found = {}
    for name, case in CASES.items():
        with torch.set_grad_enabled("training" in name):
            call = case()
            variants = [under(ops, call) for ops in ("torch", "kernels")]
            pair = found[name] = compared(in_turn(list(map(processor_time, variants)), repeats))
        plain, kernels = pair["seconds"]
        ratios = ", ".join(f"{ratio:.2f}" for ratio in sorted(pair["ratios"]))
        click.echo(f"  {name:26s} plain {plain:6.2f} s, kernels {kernels:6.2f} s: {pair['ratio']:.2f} x ({ratios})",
                   err=True)  # fmt: skip
    return {"instructions": native.instructions(), "lanes": native.library().lanes(), "cases": found}


@click.command(cls=Command)
@click.option("--sets", default=",".join(LIMITS), show_default=True, help="Instruction sets, with commas between.")
@click.option("--within", type=click.Choice(LIMITS), hidden=True, help="The set that this process keeps to.")
@json_option
@repeats_option
@results_option
def main(sets, within, repeats, json_path, results):
    """Processor seconds of plain PyTorch and of kernels, by instruction set."""
    if within:
        native.FLAGS.extend(LIMITS[within][0])
        click.echo(json.dumps(measure(repeats)))
        return
    numbers = {}
    for name in sets.split(","):
        click.echo(f"{name}:", err=True)
        command = [sys.executable, __file__, f"--within={name}", f"--repeats={repeats}"]
        environment = os.environ | LIMITS[name][1]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        numbers[name] = json.loads(done.stdout)
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'instructions', CPU, numbers)}")


if __name__ == "__main__":
    main()
