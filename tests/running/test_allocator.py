"""Freed memory that a process keeps."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from eg3d.running.allocator import keep_freed_memory
def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        tensors = [torch.empty(2**24).fill_(0) for _ in range(2)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(work(), keep_freed_memory(), work(), work(), work())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a switch of glibc")
def test_the_system_hands_out_no_page_twice():
    before, kept, _, _, faults = subprocess.check_output([sys.executable, "-c", FAULTS], text=True).split()
    if kept == "False":
        pytest.skip("another C library than glibc")
    assert int(before) > 10_000 and int(faults) < 100


def test_a_library_without_the_switch_is_left_alone(monkeypatch):
    import ctypes

    from eg3d.running.allocator import keep_freed_memory

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False


@pytest.mark.parametrize("refused", [[], [-3], [-1]], ids=["none", "large thresholds, as older glibc", "trimming"])
def test_a_refused_switch_keeps_no_other_from_being_set(monkeypatch, refused):
    import ctypes

    from eg3d.running.allocator import keep_freed_memory

    class Library:
        set = {}

        def mallopt(self, which, value):
            self.set[which] = value
            return int(which not in refused)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert keep_freed_memory() is (refused != [-1])
    large = 2**31 - 1
    assert Library.set == {-1: large, -3: large} | ({-4: 0} if refused == [-3] else {})
