"""Attacks in safetensors, hostile arguments in all three formats, and files with holes."""

import json
import struct
from dataclasses import asdict

import torch
from safetensors.torch import save as save_safetensors
from tiny_networks import tiny_gaze_network

from attacks.pickle_pieces import DEEP, MAGIC, Attack, good, published, small_generator, state_dict, with_header
from attacks.published_files import unfolded_generator
from eg3d.checkpoints.arguments import file_arguments
from l2cs.weights import save_weights

ARGUMENTS = {
    "a billion layers": (dict(mapping_kwargs=dict(num_layers=10**9)), "more than 64"),
    "a trillion channels": (dict(channel_base=10**12), "more than 1048576"),
    "2^40 pixels": (dict(img_resolution=2**40), "more than 1048576"),
    "planes of 2^40 pixels": (dict(plane_resolution=2**40), "more than 1048576"),
    "a filter of a million taps": (dict(resample_filter=[1] * 10**6), "opcodes|has 1000000 items"),
    "a filter of 2,000 taps": (dict(resample_filter=[1] * 2000), "has 2000 items"),
    "an activation of 10,000 letters": (dict(activation="x" * 10_000), "text of 10000 characters"),
    "an architecture of two lines": (dict(architecture="a\nb\x1b[2J"), "build no TriPlaneGenerator"),
    "a width of 400 digits": (dict(w_dim=10**400), "build no TriPlaneGenerator|integer of 401 digits"),
    "minus eight pixels": (dict(img_resolution=-8), "build no TriPlaneGenerator"),
    "a width of text": (dict(z_dim="4"), "build no TriPlaneGenerator"),
    "a kernel of a million pixels": (dict(kernel_size=2**20), "build no TriPlaneGenerator"),
    "terabytes": (dict(w_dim=2**20), "more weights than the file has"),
}
SETTINGS = {
    "a billion samples per ray": (dict(depth_resolution=10**9), "more than 1048576"),
    "samples of text": (dict(depth_resolution="48"), "build no TriPlaneGenerator"),
}


def argument_attacks():
    """Hostile arguments of the constructor and the renderer in a published pickle, a state dict and a snapshot."""
    for name, (changes, reason) in (ARGUMENTS | SETTINGS).items():
        group = "init_kwargs" if name in ARGUMENTS else "rendering_kwargs"
        arguments = file_arguments(small_generator())
        hostile = {group: (arguments if name in ARGUMENTS else arguments["rendering_kwargs"]) | changes}
        yield f"{name} in a published file", Attack(published(**hostile), reason)
        yield f"{name} in a state dict", Attack(state_dict(**hostile), reason)
        change = lambda header, hostile=hostile: header["networks"]["G_ema"].update(hostile)  # noqa: E731
        yield f"{name} in a snapshot", Attack(with_header(good("snapshot"), "eg3d", change), reason)


def snapshot_attacks():
    def of(change):
        return with_header(good("snapshot"), "eg3d", change)

    def entry(**changes):
        return of(lambda header: header["networks"]["G_ema"].update(changes))

    yield "a billion rays", entry(neural_rendering_resolution=10**9), "neural_rendering_resolution"
    yield "a class of two lines", entry(**{"class": "a\nb\x1b[2J"}), r"a\\nb\\x1b"
    yield "an argument with half a character", entry(init_kwargs={"\ud800": 10**9}), r"\\ud800(=1e|. holds half)"
    yield "a deep header", of(lambda header: "[" * DEEP), "not JSON"
    yield "a number of 100,000 digits", of(lambda header: "9" * 100_000), "not JSON"
    yield "a header of 12 million lists", of(lambda header: "[" + "[]," * 12_000_000 + "[]]"), "too large"
    yield "a header of 2^63 bytes", struct.pack("<Q", 2**63) + b"{}" + bytes(30), "too large"
    yield "a tensor of two lines", save_safetensors({"G_ema.a\nb": torch.zeros(1)}, {"eg3d": "{}"}), r"a\\nb"
    odd = torch.zeros(1).to(torch.float8_e8m0fnu)
    yield "a number type that nobody reads", save_safetensors({"G_ema.a": odd}, {"eg3d": "{}"}), "no tensor of a net"


def changed_gaze_network(path):
    """(function that changes the header, function that changes the architecture in it) of a file of our own."""
    save_weights(path, tiny_gaze_network())
    data = path.read_bytes()

    def of(change):
        return with_header(data, "l2cs", change)

    return of, lambda **changes: of(lambda header: header["architecture"].update(changes))


def gaze_attacks(path):
    """Our own safetensors of gaze networks."""
    of, architecture = changed_gaze_network(path)
    header = {"l2cs": json.dumps({"architecture": asdict(tiny_gaze_network().architecture), "facts": {}})}
    tensors = tiny_gaze_network().state_dict()
    odd = torch.zeros(1).to(torch.float8_e8m0fnu)
    for name, (data, reason) in {
        "an unknown kind": (architecture(block="x"), "unknown kind"),
        "blocks of text": (architecture(blocks=["1"] * 4), "unreadable"),
        "no bins": (architecture(bins=0), "0 bins"),
        "a billion blocks": (architecture(blocks=[10**9] * 4), "unreadable"),
        "a billion channels": (architecture(widths=[10**9] * 4), "unreadable"),
        "half a channel": (architecture(widths=[1.5, 2, 2, 2]), "unreadable"),
        "a billion pixels": (architecture(input_size=10**9), "unreadable"),
        "an architecture of text": (of(lambda header: header.update(architecture="x")), "unreadable"),
        "a header of a number": (of(lambda header: "5"), "unreadable"),
        "a deep header": (of(lambda header: "[" * DEEP), "unreadable"),
        "a number type that nobody reads": (save_safetensors({"a": odd}, header), "not a whole|no tensor"),
        "a tensor of two lines": (save_safetensors(tensors | {"a\nb\x1b[2J": torch.zeros(1)}, header), r"a\\nb\\x1b"),
    }.items():
        yield name, Attack(data, reason, "load_weights")


def sparse_attacks():
    """Files with holes: of terabytes, and yet they take no room on the disk."""
    size = 2**42
    yield "a published file", Attack(good("published")[:2] + b"\x8e" + struct.pack("<Q", 2**41), "opcode", size=size)
    for reader in ("load_generator", "open_torch"):
        yield f"an archive for {reader}", Attack(b"PK\3\4", "more than any file", reader, size)
        yield f"a legacy file for {reader}", Attack(MAGIC, "more than any file", reader, size)
    yield "an archive for load_weights", Attack(b"PK\3\4", "more than any gaze network", "load_weights", size)
    G, header, end = unfolded_generator(w_dim=2**19), {}, 0
    for name, value in sorted(G.state_dict().items(), key=lambda item: -item[1].numel()):
        place = [end, end := end + value.nbytes]
        header[f"G_ema.{name}"] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": place}
    arguments = file_arguments(G)
    entry = dict(init_kwargs=arguments, rendering_kwargs=arguments["rendering_kwargs"], sha256="")
    entry |= {"class": "TriPlaneGenerator", "neural_rendering_resolution": 8}
    about = json.dumps({"format": 2, "facts": {}, "networks": {"G_ema": entry}})
    start = json.dumps(header | {"__metadata__": {"eg3d": about}}).encode()
    yield "a snapshot", Attack(struct.pack("<Q", len(start)) + start, "too large", size=8 + len(start) + end)
