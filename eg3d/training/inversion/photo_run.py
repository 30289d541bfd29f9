"""A run over photos: what is there already, one batch of them, and what is written of each."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d.checkpoints.loading import open_checkpoint, save_snapshot
from eg3d.checkpoints.stored import CheckpointError
from eg3d.geometry.head_gaze import CAMERA, FACE
from eg3d.metrics.gaze_control import read_in_head
from eg3d.models.eye_field import EyeField, is_aimed
from eg3d.models.photo_head import head_of
from eg3d.pictures.layout import enlarge, side_by_side, stack, to_uint8, write_gif, write_png
from eg3d.pictures.text import text_strip
from eg3d.pictures.video import orbit
from eg3d.pictures.views import camera_labels, render_ws
from eg3d.training.inversion.latent_search import SearchConfig, Spread, find_latents
from eg3d.training.inversion.photo_sources import Source, pixels
from eg3d.training.inversion.photos_to_invert import Photos, draw
from eg3d.training.inversion.picture_distance import PictureDistance
from eg3d.training.inversion.pivotal_tuning import TuningConfig, tuned
from groundwork.draw_keys import draw_key

ENDINGS = (".safetensors", ".png", ".gif")
SHEET_YAWS = (0.6, 0.3, 0.0, -0.3, -0.6)  # parameters, rad
TURN_FRAMES, SIDE = 40, 192


@dataclass
class Inversion:
    """How photos are inverted, and into which folder.

    facts: of the generator's file; origin: its name and hash; gaze_network: reads the gaze of photos; None: it is
    sought with the latent.
    """

    G: torch.nn.Module
    search: SearchConfig
    tuning: TuningConfig | None
    distance: PictureDistance
    outdir: Path
    facts: dict
    origin: dict
    gaze_network: object = None
    seed: int = 0
    device: str | torch.device = "cpu"
    progress: bool = False  # a bar of the steps on stderr, under that of the photos

    def __post_init__(self):
        self.spread = Spread.of(self.G, self.seed)

    def settings(self) -> dict:
        """What decides about the result; a file with others is none of this run's."""
        return {
            "network_sha256": self.origin["network_sha256"],  # however its file is called
            "search": asdict(self.search),
            "tuning": self.tuning and asdict(self.tuning),
            "distance_sha256": self.distance.sha256,
            "distance_pixels": self.distance.pixels,
            "gaze_network_sha256": self.gaze_network and self.gaze_network.sha256,
            "seed": self.seed,
        }

    def is_done(self, source: Source) -> bool:
        """Whether the file of a photo is there; ValueError if it was made otherwise, or of another photo."""
        file = self.outdir / f"{source.name}.safetensors"
        if not file.is_file():
            return False
        try:
            photo = open_checkpoint(file).facts.get("photo")
        except CheckpointError as error:
            raise ValueError(f"--outdir={self.outdir}: {error}; remove it, or give a new folder") from None
        photo = photo if isinstance(photo, dict) else {}
        if others := differing(photo.get("settings", {}), self.settings()):
            raise ValueError(f"--outdir={self.outdir}: {file.name} was made in another way ({', '.join(others)}); give "
                             "the same flags, remove it, or give a new folder")  # fmt: skip
        if photo.get("sha256") != source.sha256():
            raise ValueError(f"--outdir={self.outdir}: {file.name} was made of another photo, or with another camera; "
                             "remove it, or give a new folder")  # fmt: skip
        return True

    def __call__(self, part: Sequence[Source]) -> list[dict]:
        """Inverts some photos at once and writes their files; what was reached, one row for each."""
        pictures, labels = zip(*(source.read() for source in part), strict=True)
        photos = self.photos(pixels(pictures, self.G.resolution), torch.stack(labels), [s.name for s in part])
        steps = self.search.steps + len(part) * (self.tuning.steps if self.tuning else 0)
        with tqdm(total=steps, desc="steps", unit="step", leave=False, disable=not self.progress) as bar:
            found = find_latents(self.G, photos, self.distance, self.search, self.spread, bar.update)
            return [
                self._one(source, found.ws[row : row + 1], found.photos.one(row), bar.update)
                for row, source in enumerate(part)
            ]

    def photos(self, images: torch.Tensor, labels: torch.Tensor, names: Sequence[str]) -> Photos:
        """With the gaze that the network reads, or along the face."""
        images, labels = images.to(self.device), labels.to(self.device)
        gaze = None
        if isinstance(self.G, EyeField):
            gaze = images.new_zeros(len(images), 2)
            if self.gaze_network is not None:
                gaze = read_in_head(images, labels, self.gaze_network).to(images).nan_to_num(0.0)
        return Photos(images, labels, [draw_key(self.seed, f"photo {name}", 0, 0) for name in names], gaze)

    def tune(self, ws: torch.Tensor, photo: Photos, step_done: Callable[[], None] = lambda: None):
        """As `tuned`."""
        return tuned(
            self.G, ws, photo, self.distance, self.tuning, self.spread, self.seed, step_done, self.gaze_network
        )

    def _one(self, source: Source, ws: torch.Tensor, photo: Photos, step_done: Callable) -> dict:
        head = self.G
        if self.tuning is not None:
            head = self.tune(ws, photo, step_done)
        head = head_of(head, ws[0])
        with torch.no_grad():
            as_found, as_head = (draw(G, ws, photo.labels, photo.gaze) for G in (self.G, head))
        row = {"name": source.name, "label": [round(x, 7) for x in photo.labels[0].tolist()],
               "gaze_rad": photo.gaze[0].tolist() if photo.gaze is not None else None,
               "psnr_latent": psnr(as_found, photo.images),
               "psnr": psnr(as_head, photo.images)}  # fmt: skip
        stem = self.outdir / source.name
        write_png(stem.with_name(f"{stem.name}.png"), sheet(head, ws, [photo.images, as_found, as_head]))
        write_gif(stem.with_name(f"{stem.name}.gif"), turntable(head, ws))
        made = {"network": self.origin["network"], "sha256": source.sha256(), "settings": self.settings()}
        facts = self.facts | {"photo": row | made}
        save_snapshot(stem.with_name(f"{stem.name}.safetensors"), {"G_ema": head}, facts, half=True)
        return row


def differing(before, now, place: str = "") -> list[str]:
    """Names of the settings, `search.steps`, that are not alike."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [(key, f"{place}.{key}" if place else key) for key in now | before]
        return [other for key, name in names for other in differing(before.get(key), now.get(key), name)]
    return [] if before == now else [place]


def psnr(image: torch.Tensor, other: torch.Tensor) -> float:
    """Decibels, of pictures [1, 3, H, W] in [-1, 1], clamped as a file would."""
    error = (image.clamp(-1, 1) - other).square().mean() / 4
    return float(-10 * error.clamp_min(1e-10).log10())


def sheet(head, ws, pictures: Sequence[torch.Tensor]):
    """pictures: the photo, what its latent draws, what the head draws, [1, 3, S, S] each.

    Before and after, and below the head turned; with eyes that can be set, in contact and along the face.
    """
    cells = dict(zip(("photo", "its latent", "the head"), pictures, strict=True))
    labels = camera_labels(SHEET_YAWS, [0.0] * len(SHEET_YAWS), head.orbit).to(ws.device)
    rows = [_row(cells)]
    for title, gaze in _aims(head, labels):
        turned = render_ws(head, ws, labels, gaze)["image"]
        rows.append(_row({f"{title}{yaw:+.1f} rad": turned[i : i + 1] for i, yaw in enumerate(SHEET_YAWS)}))
    return stack(rows, gap=6)


def _aims(head, labels):
    if not is_aimed(head):
        return [("", None)]
    return [("contact, ", CAMERA.gaze(labels)), ("along the face, ", FACE.gaze(labels))]


def _row(cells: dict[str, torch.Tensor]):
    return side_by_side([
        stack([text_strip(SIDE, 22, title, 13, centred=True), enlarge(to_uint8(image)[0], SIDE)])
        for title, image in cells.items()
    ])  # fmt: skip


def turntable(head, ws):
    """Frames of an orbit round the head; eyes that can be set keep contact."""
    yaws, pitches = orbit(TURN_FRAMES)
    labels = camera_labels(torch.as_tensor(yaws), torch.as_tensor(pitches), head.orbit).to(ws.device)
    frames = []
    for part in labels.split(8):
        gaze = CAMERA.gaze(part) if is_aimed(head) else None
        frames += [enlarge(picture, SIDE) for picture in to_uint8(render_ws(head, ws, part, gaze)["image"])]
    return frames
