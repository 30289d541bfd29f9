"""What a checkpoint is, said without trusting it: kind, networks, resolutions, cameras, training, hashes."""

import math

from eg3d.checkpoints.stored import Checkpoint, StoredNetwork, compare, digest
from groundwork.files import sha256
from groundwork.strict_pickle import one_line

CAMERA = ("avg_camera_radius", "avg_camera_pivot", "ray_start", "ray_end", "box_warp", "planes")


def describe(checkpoint: Checkpoint) -> dict:
    """All that is known about a file, as JSON values."""
    path = checkpoint.path
    return {
        "file": str(path),
        "kind": checkpoint.kind,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "networks": {name: describe_network(net, str(path)) for name, net in checkpoint.networks.items()},
        "facts": checkpoint.facts,
        "notes": list(checkpoint.notes),
    }


def describe_network(stored: StoredNetwork, where: str) -> dict:
    """One network; `differences` lists the tensors that do not fit its own arguments."""
    network, tensors = stored.build_empty(where), stored.read()
    counted = {name: math.prod(stored.shapes[name]) for name, _ in network.named_parameters() if name in stored.shapes}
    report = {
        "class": stored.cls,
        "parameters": sum(counted.values()),
        "tensors": len(stored.shapes),
        "types": sorted({str(value.dtype).removeprefix("torch.") for value in tensors.values()}),
        "sha256": digest(tensors),
        "image_resolution": network.resolution if stored.is_generator else network.img_resolution,
        "init_kwargs": stored.init_kwargs,
        "differences": compare(network, stored.shapes).lines(),
    }
    if stored.rendering_kwargs is not None:
        rendering = stored.rendering_kwargs
        report["neural_rendering_resolution"] = stored.neural_rendering_resolution
        report["camera"] = {key: rendering[key] for key in CAMERA if key in rendering}
        report["rendering_kwargs"] = rendering
    return report


def lines(report: dict) -> list[str]:
    """The report for a terminal."""
    facts = report["facts"]
    text = [f"{report['file']}: {report['kind']}, {report['bytes'] / 2**20:.1f} MiB, sha256 {report['sha256']}"]
    for name, net in report["networks"].items():
        text.append(f"{name}: {net['class']}, {net['image_resolution']} px, {net['parameters']:,} parameters in "
                    f"{net['tensors']} tensors ({', '.join(net['types'])}), weights {net['sha256'][:16]}")  # fmt: skip
        if "camera" in net:
            camera = ", ".join(f"{key} {value}" for key, value in net["camera"].items())
            text.append(f"  {net['neural_rendering_resolution']} x {net['neural_rendering_resolution']} rays; {camera}")
        text += [f"  does not fit: {line}" for line in net["differences"]]
    if about := (facts.get("published") or {}).get("training_set_kwargs"):
        text.append("trained on: " + ", ".join(f"{key} {value}" for key, value in about.items()))
    seen = [f"{key.replace('_', ' ')} {facts[key]}" for key in ("images_seen", "images_seen_before") if key in facts]
    gaze = facts.get("gaze") or {}
    if "weight" in gaze:
        seen.append(f"gaze weight {gaze['weight']}")
    text.append("training: " + (", ".join(seen) if seen else "the file says nothing about it"))
    return [one_line(line, 1000) for line in text + [f"note: {note}" for note in report["notes"]]]
