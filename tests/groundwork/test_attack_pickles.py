"""Files made to harm their reader: each is refused in one line, nothing in it runs, little memory and time are taken.

Most attacks are spliced into a file that loads without them. All are read in one process of their own, which reports
refusal, time and memory of every file: a reader that crashes or hangs fails these tests and no others.
"""

import contextlib
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
from attacks.any_pickle import ALIEN, carriers, code
from attacks.own_files import argument_attacks, changed_gaze_network, gaze_attacks, snapshot_attacks, sparse_attacks
from attacks.pickle_pieces import Attack, good, published
from attacks.published_files import published_attacks
from attacks.torch_files import state_dict_attacks, torch_attacks
from published_layout import canary_source

from groundwork.files import REPOSITORY

pytestmark = [
    pytest.mark.robust,
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:Duplicate name"),
]

MOST_SECONDS, MOST_MEGABYTES, LONGEST_LINE = 5, 1000, 1000
RUNNER = """
import json, resource, signal, sys, time
from pathlib import Path
from eg3d.checkpoints.loading import load_generator
from eg3d.checkpoints.published import open_torch
from l2cs.weights import load_weights

def megabytes(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) / 1024

def stop(*_):
    raise TimeoutError("it takes too long")

signal.signal(signal.SIGALRM, stop)
most = int(megabytes("VmSize") + 3000) << 20  # a hole must not take the whole machine
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for line in sys.stdin:
    reader, path = json.loads(line)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, kind, text = megabytes("VmRSS"), time.monotonic(), "loaded", ""
    signal.alarm(8)
    try:
        globals()[reader](path)
    except BaseException as error:
        kind, text = type(error).__name__, str(error)
    signal.alarm(0)
    print(json.dumps([kind, text, time.monotonic() - start, megabytes("VmHWM") - before]), flush=True)
"""


class Answer(NamedTuple):
    """How a reader took a file: kind is 'loaded' or the class of the error."""

    kind: str
    text: str
    seconds: float
    megabytes: float


def all_attacks(folder):
    """((group, name), attack) of everything above; the code in them makes the file `canary` in the folder."""
    for name, value in code(str(folder / "canary")).items():
        for carrier, attack in carriers(value, "no part of an EG3D file|never run|opcode"):
            yield ("code", f"{name} in {carrier}"), attack
    for name, (value, reason) in ALIEN.items():
        for carrier, attack in carriers(value, reason):
            if len(value) < 10**5 or carrier == "a published file":
                yield ("alien", f"{name} in {carrier}"), attack
    for name, attack in published_attacks():
        yield ("published", name), attack
    for name, data, reason in torch_attacks():
        for reader in ("load_generator", "load_weights"):
            yield ("torch", f"{name} for {reader}"), Attack(data, reason, reader)
    for name, data, reason in state_dict_attacks():
        yield ("torch", name), Attack(data, reason)
    for name, attack in argument_attacks():
        yield ("arguments", name), attack
    for name, data, reason in snapshot_attacks():
        yield ("snapshot", name), Attack(data, reason)
    for name, attack in gaze_attacks(folder / "gaze.safetensors"):
        yield ("gaze", name), attack
    for name, attack in sparse_attacks():
        yield ("sparse", name), attack


def harmless(folder):
    """((group, name), file) of files that load."""
    for kind in ("published", "zip", "legacy", "snapshot"):
        yield ("harmless", kind), Attack(good(kind), "")
    for kind in ("zip", "legacy"):
        yield ("harmless", f"{kind} for open_state_dict"), Attack(good(kind), "", "open_torch")
    source = published(module_src=canary_source(folder / "canary"))
    yield ("harmless", "published with source"), Attack(source, "")
    yield ("harmless", "gaze"), Attack((folder / "gaze.safetensors").read_bytes(), "", "load_weights")


def read_apart(files) -> list[Answer]:
    """What a process of its own says to (reader, path) pairs; 'no answer' from where on it has crashed or hung."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUNNER], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = process.communicate("".join(json.dumps([r, str(p)]) + "\n" for r, p in files), timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    answers = [Answer(*json.loads(line)) for line in output.splitlines()]
    return answers + [Answer("no answer", "", 0, 0)] * (len(files) - len(answers))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """(group, name) -> (attack, file, answer); and whether the canary is there after all of them were read."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the memory of a process is measured by Linux")
    folder = tmp_path_factory.mktemp("attacks")
    result = {}
    for name, attack in itertools.chain(all_attacks(folder), harmless(folder)):
        path = folder / f"attack{len(result)}.bin"
        path.write_bytes(attack.data)
        if attack.size:
            os.truncate(path, attack.size)
        assert name not in result
        result[name] = (attack._replace(data=b""), path)
    said = read_apart([(attack.reader, path) for attack, path in result.values()])
    for _, path in result.values():
        path.unlink()
    rows = {name: (*row, answer) for (name, row), answer in zip(result.items(), said, strict=True)}
    return rows, (folder / "canary").exists()


def well_refused(attack: Attack, path, answer: Answer) -> bool:
    """In one line that names the file and says the expected reason, in time and with little memory."""
    kind = "ValueError" if attack.reader == "load_weights" else "CheckpointError"
    line = answer.text.isprintable() and str(path) in answer.text and len(answer.text) < LONGEST_LINE
    spared = answer.seconds < MOST_SECONDS and answer.megabytes < MOST_MEGABYTES
    return bool(answer.kind == kind and line and spared and re.search(attack.reason, answer.text))


GROUPS = dict(code=104, alien=326, published=221, torch=187, arguments=45, snapshot=9, gaze=12, sparse=7)  # how many


@pytest.mark.parametrize("group", GROUPS)
def test_every_attack_is_refused_in_one_line_with_little_memory(answers, group):
    mine = {name: row for (its_group, name), row in answers[0].items() if its_group == group}
    wrong = [f"{name}, expected {row[0].reason!r}: {row[2]}" for name, row in mine.items() if not well_refused(*row)]
    assert not wrong, "\n".join(wrong)
    assert len(mine) >= GROUPS[group]
    most = [max(row[2][i] for row in mine.values()) for i in (2, 3)]
    print(f"{group}: {len(mine)} attacks, none took more than {most[0]:.2f} s or {most[1]:.0f} MB")


@pytest.mark.slow
def test_a_gaze_network_with_a_header_of_90_megabytes_is_refused_with_little_memory(tmp_path):
    path = tmp_path / "gaze.safetensors"
    of, _ = changed_gaze_network(path)
    path.write_bytes(of(lambda header: "[" + "[]," * 30_000_000 + "[]]"))
    assert well_refused(Attack(b"", "header", "load_weights"), path, *read_apart([("load_weights", path)]))


def test_the_code_would_run_in_python_s_own_unpickler(tmp_path):
    canary = tmp_path / "canary"
    for name, value in code(str(canary)).items():
        with contextlib.suppress(Exception):  # some fail after they have run
            pickle.loads(b"\x80\x04" + value + b".")
        assert canary.exists(), name
        canary.unlink()
