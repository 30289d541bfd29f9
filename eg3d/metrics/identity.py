"""Identity across views: is a generated face the same person from another camera?

EG3D's definition: the mean cosine *similarity* of ArcFace embeddings between two views of one face; higher is better.
The published `calc_id.py` printed the mean cosine *distance* under that name; it is here as `id_distance_mean`.
"""

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from eg3d.metrics.align import TEMPLATE, align, usable
from eg3d.metrics.iresnet import CROP, PUBLISHED, Architecture, IResNet
from eg3d.metrics.network_file import VERSION, filled, load_network, read_bytes, read_state
from groundwork.files import WORLD_WEIGHTS
from groundwork.onnx_file import open_onnx, run_onnx

WORLD_FILE, KIND = WORLD_WEIGHTS / "identity.safetensors", "identity"


class IdentityNetwork:
    """Frozen: aligned crops -> unit embeddings. `name` and `sha256` belong in every report."""

    def __init__(self, network, crop: int, name: str, sha256: str, facts: dict | None = None):
        self.network, self.crop, self.name, self.sha256, self.facts = network, crop, name, sha256, facts or {}

    @classmethod
    def load(cls, weights: str | Path, device="cpu") -> "IdentityNetwork":
        """`embedded`, an insightface IResNet state dict (.pth, 18 to 100 layers), or an .onnx file."""
        if str(weights) == "embedded":
            stored = load_network(WORLD_FILE, KIND)
            architecture = Architecture.from_dict(stored.architecture)
            network = filled(lambda: IResNet(architecture), stored.state, WORLD_FILE, f"an {KIND} network")
            return cls(network.to(device), architecture.input_size, f"embedded v{VERSION}", stored.sha256, stored.facts)
        path = Path(weights)
        if path.suffix == ".onnx":
            network, sha256 = load_onnx(path)
            return cls(network, CROP, f"arcface onnx {path.name}", sha256)
        state, sha256 = read_state(path, "ArcFace")
        architecture = infer_architecture(state, path)
        network = filled(lambda: IResNet(architecture), state, path, f"ArcFace {architecture.name}")
        return cls(network.float().to(device), CROP, f"arcface {architecture.name}", sha256)

    @torch.no_grad()
    def embed(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, H, W] in [-1, 1], five points [N, 5, 2] in pixels -> unit embeddings [N, D]."""
        return F.normalize(self.network(align(images, points, self.crop)).float())


def infer_architecture(state: dict[str, torch.Tensor], path: Path) -> Architecture:
    """The IResNet whose names these are; ValueError for MobileFaceNet, ViT and everything else."""
    blocks = tuple(
        1 + max((int(n.split(".")[1]) for n in state if n.startswith(f"layer{k}.") and n.split(".")[1].isdigit()),
                default=-1)
        for k in range(1, 5)
    )  # fmt: skip
    if blocks not in PUBLISHED.values():
        kinds = ", ".join(f"{name} {shape}" for name, shape in PUBLISHED.items())
        found = f"blocks {blocks}" if any(blocks) else "no layer1 to layer4 (MobileFaceNet, ViT?)"
        raise ValueError(f"{path}: is no IResNet of insightface: {found}; needed is one of {kinds}")
    return Architecture(blocks)


def load_onnx(path: Path):
    """(crops -> embeddings, SHA-256) of an ArcFace model in ONNX, by onnxruntime on the CPU."""
    data = read_bytes(path, "ArcFace")
    session = open_onnx(data, path)
    (crop, *more), outputs = session.get_inputs(), session.get_outputs()
    if more or len(outputs) != 1 or list(crop.shape[1:]) != [3, CROP, CROP]:
        raise ValueError(f"{path}: takes {crop.shape}; an ArcFace model takes one input [N, 3, {CROP}, {CROP}]")

    return lambda crops: run_onnx(session, crops)[0], hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class IdentityReport:
    """`id_similarity_mean`: higher is better, 1 is the same picture; `id_distance_mean`: lower."""

    id_similarity_mean: float
    id_similarity_se: float | None  # over pairs; None with one
    id_similarity_std: float | None
    id_distance_mean: float  # 1 - similarity: what the published code printed as "ID"
    id_pairs: int  # that count
    id_failed: int  # pairs without a usable face in one view; left out, never replaced
    identity_network: str
    identity_sha256: str
    landmarks: str
    per_seed: dict[int, float]

    def to_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        """What a person wants to read, one number to a line."""
        error = f" +- {self.id_similarity_se:.4f}" if self.id_similarity_se is not None else ""
        return [
            f"identity similarity   {self.id_similarity_mean:.4f}{error}   (cosine, higher is better)",
            f'identity distance     {self.id_distance_mean:.4f}   (1 - similarity; published as "ID", lower is better)',
            f"pairs                 {self.id_pairs} used, {self.id_failed} failed",
            f"identity network      {self.identity_network} ({self.identity_sha256[:12]})",
            f"landmarks             {self.landmarks}",
        ]


class IdentityTally:
    """Collects pairs of views batch by batch, so that pictures can be shared with other scores.

    Where several processes share the batches, `read` is done by any of them and `take` by the one that reports.
    """

    def __init__(self, network: IdentityNetwork, landmarks):
        self.network, self.landmarks = network, landmarks
        self.similarity: dict[int, float] = {}
        self.failed = 0

    def read(self, views) -> dict[int, float | None]:
        """The similarity of each pair by seed; None without a usable face in one view.

        views: a batch of `eg3d.pictures.views.Views`, two cameras per seed, side by side.
        """
        images, names = views.images.float(), pair_names(views)
        points = self.landmarks(images, views.labels, names)
        good = usable(points, *images.shape[2:])
        points = torch.where(good[:, None, None], points, TEMPLATE.to(points))  # anything, so that all can be computed
        embeddings = self.network.embed(images, points)
        similarity = (embeddings[0::2] * embeddings[1::2]).sum(dim=1).tolist()
        both = (good[0::2] & good[1::2]).tolist()
        return {
            seed: value if whole else None
            for seed, value, whole in zip(views.seeds[0::2], similarity, both, strict=True)
        }

    def take(self, similarity: dict[int, float | None]) -> None:
        """Counts what was read."""
        self.similarity |= {seed: value for seed, value in similarity.items() if value is not None}
        self.failed += sum(value is None for value in similarity.values())

    def report(self) -> IdentityReport:
        if not self.similarity:
            raise ValueError(f"no pair of views has a usable face ({self.failed} failed); check --landmarks")
        values = torch.tensor(list(self.similarity.values()), dtype=torch.float64)
        spread = values.std().item() if len(values) > 1 else None
        return IdentityReport(
            id_similarity_mean=values.mean().item(),
            id_similarity_se=spread / math.sqrt(len(values)) if spread is not None else None,
            id_similarity_std=spread,
            id_distance_mean=1 - values.mean().item(),
            id_pairs=len(values),
            id_failed=self.failed,
            identity_network=self.network.name,
            identity_sha256=self.network.sha256,
            landmarks=self.landmarks.name,
            per_seed=self.similarity,
        )


def pair_names(views) -> list[str]:
    """`sample0003_1.png`: the published names of both views of a seed."""
    return [f"sample{seed:04d}_{camera}.png" for seed, camera in zip(views.seeds, views.camera, strict=True)]
