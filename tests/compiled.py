"""Compiles Triton kernels for GPUs that are not there: to machine code, by Triton and the assembler it brings along.

`cubins` calls functions of a test file's LAUNCHES; kernels are compiled, as each launch wants them, but not run.
"""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def cubins(test_file: str, launches: list[str], capabilities: list[int], cache: Path) -> dict:
    """{"80": {launch: [[kernel, bytes of machine code], ..], ..}, ..}, from a process of its own.

    The tests' process has Triton's interpreter, which does not compile.
    """
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    command = [sys.executable, __file__, json.dumps([test_file, launches, capabilities])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def main(test_file: str, launches: list[str], capabilities: list[int]) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime.jit import JITFunction

    class Absent:
        """What Triton asks its driver while it compiles."""

        get_current_device = staticmethod(lambda: capability)  # so that each keeps its kernels apart
        get_current_stream = staticmethod(lambda device: 0)
        get_current_target = staticmethod(lambda: GPUTarget("cuda", capability, 32))

    made = []

    def compile_only(self, *args, grid, warmup, **kwargs):
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        made.append((self.__name__, len(kernel.asm["cubin"])))

    run, JITFunction.run = JITFunction.run, compile_only
    triton.runtime.driver.set_active(Absent())
    functions, report = runpy.run_path(test_file)["LAUNCHES"], {}
    for capability in capabilities:
        report[capability] = {}
        for name in launches:
            made.clear()
            functions[name]()
            report[capability][name] = list(made)
    print(json.dumps(report))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
