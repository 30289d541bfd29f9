"""Files damaged at random: each loads, as a flip among the numbers does, or is refused in one line that names it.

Every damage is drawn from a seed in its own name, so a failure can be repeated. Most hit the structure of the file:
flips among the numbers, which are most of a file, teach nothing.
"""

import io
import random
import signal
import zipfile
from collections import Counter
from typing import NamedTuple

import pytest
import safetensors.torch
import torch
from published_layout import published_bytes, save_whole
from tiny_networks import generator_of, tiny_gaze_network, tiny_generator_kwargs

import l2cs.model
import l2cs.weights
from eg3d.checkpoints import published
from eg3d.checkpoints.arguments import file_arguments
from eg3d.checkpoints.loading import CheckpointError, load_generator
from eg3d.checkpoints.own import snapshot_bytes
from eg3d.checkpoints.published_pickle import save_published
from eg3d.models.generator import TriPlaneGenerator
from l2cs.model import L2CS, Architecture
from l2cs.weights import load_weights, save_weights

pytestmark = [pytest.mark.robust, pytest.mark.filterwarnings("ignore")]
MOST_SECONDS = 5
SAMPLE, ALL = 100, 2000
FORMATS = (
    "published", "published, protocol 4", "snapshot", "state dict", "pickle of a state dict", "legacy state dict",
    "whole module", "legacy whole module", "pickle of ours", "gaze network of torch.save", "gaze network of ours",
)  # fmt: skip


class Whole(NamedTuple):
    """An undamaged file: its bytes, the stretches of it that are no numbers, its reader and the reader's errors."""

    data: bytes
    structure: list[range]
    load: object
    error: type[Exception]
    pack: object = bytes  # what is done to the damaged bytes before they become a file


def small_generator() -> TriPlaneGenerator:
    small = dict(z_dim=4, w_dim=8, img_resolution=16, plane_resolution=8, plane_channels=4, decoder_width=4)
    small |= dict(channel_max=4, channel_base=64, mapping_kwargs=dict(num_layers=1), sr_kwargs=dict(widths=[4, 4]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return generator_of(**tiny_generator_kwargs() | small).eval().requires_grad_(False)


def saved(content, legacy=False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def structure_of(data: bytes, tensors) -> list[range]:
    """The stretches of a file between the numbers of its tensors."""
    numbers = []
    for value in tensors:
        content = value.contiguous().numpy().tobytes()
        at = data.find(content) if len(content) > 32 else -1
        if at >= 0:
            numbers.append((at, at + len(content)))
    ends = [0, *(end for _, end in sorted(numbers))]
    starts = [*(start for start, _ in sorted(numbers)), len(data)]
    return [range(a, b) for a, b in zip(ends, starts, strict=True) if a < b]


@pytest.fixture(scope="module")
def generator():
    return small_generator()


@pytest.fixture(params=FORMATS)
def whole(request, generator, tmp_path, monkeypatch) -> Whole:
    tensors = generator.state_dict()
    entry = {"init_kwargs": file_arguments(generator), "state_dict": dict(tensors)}
    entry["rendering_kwargs"] = entry["init_kwargs"]["rendering_kwargs"]
    load, error, pack = load_generator, CheckpointError, bytes
    match request.param:
        case "published" | "published, protocol 4":
            protocol = 4 if "4" in request.param else 3
            data = published_bytes(G_ema=generator, protocol=protocol, training_set_kwargs=dict(path="a.zip"))
        case "snapshot":
            data = snapshot_bytes({"G_ema": generator}, {"images_seen": 5})
        case "state dict":
            data = saved(entry)
        case "pickle of a state dict":  # the archive's checksum is made anew, and does not help
            with zipfile.ZipFile(io.BytesIO(saved(entry))) as archive:
                members = {info.filename: archive.read(info) for info in archive.infolist()}
            data, pack, tensors = members["archive/data.pkl"], lambda damaged: packed(members, damaged), {}
        case "legacy state dict":
            data = saved(entry, legacy=True)
        case "whole module" | "legacy whole module":
            save_whole(buffer := io.BytesIO(), lambda G: {"G_ema": G}, generator, legacy="legacy" in request.param)
            data = buffer.getvalue()
        case "pickle of ours":
            monkeypatch.setattr(published, "_complete", lambda G, entry: [])  # small enough for no published class
            save_published(tmp_path / "x.pkl", {"G_ema": generator}, {"images_seen": 5})
            data = (tmp_path / "x.pkl").read_bytes()
        case "gaze network of torch.save":
            monkeypatch.setitem(l2cs.model.PUBLISHED, "small", ("basic", (1, 1, 1, 1)))  # not the 45 MB of a ResNet18
            monkeypatch.setattr(l2cs.weights, "PUBLISHED_WIDTHS", (4, 4, 4, 4))
            network = L2CS(Architecture("basic", (1, 1, 1, 1), (4, 4, 4, 4)))
            tensors, load, error = network.state_dict(), load_weights, ValueError
            data = saved(tensors)
        case "gaze network of ours":
            save_weights(tmp_path / "gaze", tiny_gaze_network())
            data, load, error = (tmp_path / "gaze").read_bytes(), load_weights, ValueError
            tensors = safetensors.torch.load(data)
    return Whole(data, structure_of(data, tensors.values()), load, error, pack)


def packed(members: dict[str, bytes], pickled: bytes) -> bytes:
    """A sound archive with a damaged pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (members | {"archive/data.pkl": pickled}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def damaged(whole: Whole, draw: random.Random) -> bytes:
    """The file with bits flipped, cut off, or with runs of bytes overwritten, taken out, doubled or put elsewhere."""
    data = bytearray(whole.data)

    def place() -> int:
        if draw.random() < 0.1:
            return draw.randrange(len(whole.data))
        stretch = draw.choices(whole.structure, [len(stretch) for stretch in whole.structure])[0]
        return draw.choice(stretch)

    at, length = place(), draw.choice((1, 1, 2, 4, 8, 16, 100, 1000))
    match draw.choice(("flip", "flip", "flips", "cut", "overwrite", "remove", "double", "splice", "number")):
        case "flip":
            data[at] ^= 1 << draw.randrange(8)
        case "flips":
            for _ in range(draw.randint(2, 8)):
                data[place()] ^= 1 << draw.randrange(8)
        case "cut":
            del data[at:]
        case "overwrite":
            data[at : at + length] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
        case "remove":
            del data[at : at + length]
        case "double":
            data[at:at] = data[at : at + length]
        case "splice":
            source = place()
            data[at : at + length] = data[source : source + length]
        case "number":  # another small number or letter: more likely to stay readable than a flipped bit
            data[at] = (data[at] + draw.choice((-1, 1))) % 256
    return whole.pack(bytes(data))


class Hang(BaseException):
    """So that no reader takes it for an error of the file."""


def stop(*_):
    raise Hang


def wrongs(name: str, whole: Whole, path, count: int, check=lambda network: None) -> list[str]:
    """What went wrong with `count` damaged files: other errors, other lines, too long."""
    outcomes, result = Counter(), []
    signal.signal(signal.SIGALRM, stop)
    for i in range(count):
        path.write_bytes(damaged(whole, random.Random(f"{name} {i}")))
        signal.alarm(MOST_SECONDS)
        try:
            loaded = whole.load(path)
            outcomes["loaded"] += 1
            check(loaded)
        except whole.error as error:
            outcomes["refused"] += 1
            if str(path) not in str(error) or not str(error).isprintable():
                result.append(f"{i}: the line {str(error)!r}")
        except (Exception, Hang) as error:
            result.append(f"{i}: {type(error).__name__}: {error}")
        signal.alarm(0)
    print(f"{name}: {dict(outcomes)}")
    if outcomes["refused"] < count / 3:
        result.append(f"only {outcomes['refused']} of {count} damages were noticed: this test does not damage enough")
    return result


def equal_weights(generator):
    """A check that a loaded generator has the very weights of another."""
    expected = generator.state_dict()

    def check(loaded):
        own = loaded.state_dict()
        assert own.keys() == expected.keys() and all(torch.equal(own[key], expected[key]) for key in expected)

    return check


@pytest.fixture
def damage(request, whole, generator, tmp_path):
    """damage(count) -> what went wrong with so many damaged files of one format."""
    name = request.node.callspec.params["whole"]
    check = equal_weights(generator) if name == "snapshot" else lambda loaded: None  # snapshots carry a digest

    def run(count: int) -> list[str]:
        path = tmp_path / "damaged.bin"
        path.write_bytes(whole.pack(whole.data))
        whole.load(path)  # the file loads without the damage
        return wrongs(name, whole, path, count, check)

    return run


def test_a_sample_of_damaged_files_loads_or_is_refused_in_one_line(damage):
    assert damage(SAMPLE) == []


@pytest.mark.slow
def test_thousands_of_damaged_files_load_or_are_refused_in_one_line(damage):
    assert damage(ALL) == []


def test_every_cut_of_a_snapshot_and_every_flip_of_a_weight_are_noticed(generator, tmp_path):
    data, path = snapshot_bytes({"G_ema": generator}, {}), tmp_path / "damaged.safetensors"
    start = 8 + int.from_bytes(data[:8], "little")
    draw = random.Random(0)
    cuts = [data[: draw.randrange(len(data))] for _ in range(20)]
    flips = [(draw.randrange(start, len(data)), 1 << draw.randrange(8)) for _ in range(40)]
    flipped = [data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at, bit in flips]
    for content in cuts + flipped:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged.safetensors"):
            load_generator(path)
