"""Identity across views: is a generated face the same person from another camera?

EG3D's definition: the mean cosine *similarity* of ArcFace embeddings between two views of one face; higher is better.
The published `calc_id.py` printed the mean cosine *distance* under that name; it is here as `id_distance_mean`.
"""

import hashlib
import math
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from eg3d.metrics import dlib_identity
from eg3d.metrics.align import TEMPLATE, align, usable
from eg3d.metrics.iresnet import CROP, PUBLISHED, Architecture, IResNet
from eg3d.metrics.network_file import VERSION, filled, load_network, read_bytes, read_state
from groundwork.files import WORLD_WEIGHTS
from groundwork.onnx_file import OnnxNetwork, scaled
from groundwork.onnx_head import SCALES
from groundwork.plain import from_plain
from l2cs.estimator import mirror_faces

KIND = "identity"
WORLD_FILES = {
    "embedded": WORLD_WEIGHTS / "identity.safetensors",
    "people": WORLD_WEIGHTS / "people_identity.safetensors",
}
BGR = "-bgr"
INPUTS = tuple(scale + order for order in ("", BGR) for scale in SCALES)  # what an .onnx file may want
ALIKE = 0.999  # cosine; two faces are never so alike, and a network that sees one grey finds all of them so


class IdentityNetwork:
    """Frozen: aligned crops -> unit embeddings. `name` and `sha256` belong in every report."""

    def __init__(self, network, crop: int, name: str, sha256: str, template: torch.Tensor | None = None):
        """template: where the five points lie in a crop, if it is not as ArcFace has them."""
        self.network, self.crop, self.name, self.sha256, self.template = network, crop, name, sha256, template

    @classmethod
    def load(cls, weights: str | Path, device="cpu", given: str | None = None) -> "IdentityNetwork":
        """`embedded`, `people`, an insightface IResNet state dict (.pth, 18 to 100 layers), or an .onnx file.

        given: of INPUTS, the pictures that an .onnx file wants; None: this is found out.
        """
        if (own := WORLD_FILES.get(str(weights))) is not None:
            stored = load_network(own, KIND)
            architecture = from_plain(Architecture, stored.architecture)
            network = filled(lambda: IResNet(architecture), stored.state, own, f"an {KIND} network")
            return cls(network.to(device), architecture.input_size, f"{weights} v{VERSION}", stored.sha256)
        path = Path(weights)
        if path.suffix == ".onnx":
            network, sha256 = load_onnx(path, given)
            return cls(network, CROP, f"arcface onnx {path.name}", sha256).tried(path)
        if given:
            raise ValueError(f"--arcface-input={given} is for .onnx files; {path} is of [-1, 1] by itself")
        state, sha256 = read_state(path, "ArcFace")
        architecture = infer_architecture(state, path)
        network = filled(lambda: IResNet(architecture), state, path, f"ArcFace {architecture.name}")
        return cls(network.float().to(device), CROP, f"arcface {architecture.name}", sha256).tried(path, device)

    @classmethod
    def dlib128(cls, path: Path | None = None) -> "IdentityNetwork":
        """dlib's network, of its package or of a user's file; on the CPU."""
        name = f"{dlib_identity.NAME}, {dlib_identity.CAVEAT}"
        network = dlib_identity.DlibIdentity(path)
        return cls(network, dlib_identity.CROP, name, dlib_identity.FILE.sha256, dlib_identity.FIVE)

    def tried(self, path: Path, device="cpu") -> "IdentityNetwork":
        """Itself; a warning if it does not tell two faces apart."""
        wrong = trouble(lambda faces: self.network(faces.to(device)), self.crop)
        if wrong:
            advice = "; say what pictures it wants with --arcface-input" if path.suffix == ".onnx" else ""
            warnings.warn(f"{path}: {wrong}, so its scores mean nothing{advice}", stacklevel=3)
        return self

    @torch.no_grad()
    def embed(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, H, W] in [-1, 1], five points [N, 5, 2] in pixels -> unit embeddings [N, D]."""
        return F.normalize(self.network(align(images, points, self.crop, self.template)).float())


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


def load_onnx(path: Path, given: str | None = None):
    """(crops in [-1, 1] -> embeddings, SHA-256) of an ArcFace model in ONNX, by onnxruntime on the CPU.

    given: `bytes-bgr` and the like, of INPUTS; None: as the graph tells, else what tells faces apart, [-1, 1] first.
    """
    data = read_bytes(path, "ArcFace")
    network = OnnxNetwork(data, path, "an ArcFace model")
    if network.side not in (None, CROP):
        raise ValueError(f"{path}: takes {network.side} px; an ArcFace model takes {CROP}")
    scales = (network.scale,) if network.scale else ("signed", "bytes")
    if given:
        scales, network.order = (given.removesuffix(BGR),), "bgr" if given.endswith(BGR) else "rgb"

    def embed(crops: torch.Tensor, scale: str) -> torch.Tensor:
        outputs = network(scaled(crops, scale))
        if len(outputs) != 1 or outputs[0].ndim != 2:
            shapes = " and ".join(str(list(output.shape)) for output in outputs)
            raise ValueError(f"{path}: gives {shapes}; an ArcFace model gives one embedding [N, D]")
        return outputs[0]

    scale = next((scale for scale in scales if not trouble(partial(embed, scale=scale))), scales[0])
    if scale != scales[0]:
        warnings.warn(f"{path}: takes {scale}, for only so it tells faces apart; --arcface-input=signed keeps [-1, 1]",
                      stacklevel=3)  # fmt: skip
    return partial(embed, scale=scale), hashlib.sha256(data).hexdigest()


def trouble(network, crop: int = CROP) -> str | None:
    """What is wrong with the embeddings of two bundled faces; None if one is like itself, and unlike the other."""
    faces = F.interpolate(mirror_faces()[:2], (crop, crop), mode="bilinear")
    with torch.no_grad():
        embeddings = F.normalize(network(faces[[0, 1, 0]]).float())
    same, different = ((embeddings[0] * embeddings[k]).sum().item() for k in (2, 1))
    if not same > ALIKE:
        return f"the same face scores {same:.4f} instead of 1"
    return f"two different faces score {different:.4f}" if different > ALIKE else None


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
