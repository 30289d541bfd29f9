"""Sheets of GazeAnimation's pictures, a row for each face: what training shows, and what a test writes."""

import numpy as np
import torch
import torch.nn.functional as F

from eg3d.pictures.layout import to_uint8
from redirection.gaze_animation.domain_batches import DomainBatches, as_input
from redirection.gaze_animation.eye_boxes import eye_crops
from redirection.gaze_animation.gaze_animator import GazeAnimator, blank
from redirection.gaze_animation.painting_losses import Faces, paint_all
from redirection.gaze_animation.painting_steps import EyeAutoEncoder
from redirection.gaze_animation.portrait_lists import Portraits


def sheet(columns: list[torch.Tensor]) -> np.ndarray:
    """Pictures [B, 3, S, S] in [-1, 1], a column each -> uint8 [B S, columns S, 3]."""
    grid = torch.stack(columns)  # [columns, B, 3, S, S]
    return to_uint8(grid.permute(2, 1, 3, 0, 4).flatten(3, 4).flatten(1, 2)[None])[0]


def crops_of(pictures: torch.Tensor, boxes: torch.Tensor) -> list[torch.Tensor]:
    """Left and right eye of each face."""
    return list(eye_crops(pictures, boxes).split(3, 1))


def unseen_faces(portraits: Portraits, batches: DomainBatches, most: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Some pictures of another part, spread over it, as input, and their boxes."""
    rows = torch.linspace(0, len(portraits) - 1, min(most, len(portraits))).long().tolist()
    pictures, eyes = portraits.batch(rows, batches.size)
    return as_input(pictures).to(device), batches.boxes(eyes).to(device)


@torch.no_grad()
def training_sheets(
    nets: GazeAnimator, faces: Faces, unseen: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Published kinds: lo (x left, x right, y left, y right), tr (x, x_c, xo, y_c, yo, s, s'), te (y, y_c, its xo, yo).

    unseen: faces of Y that training does not see, and their boxes.
    """
    painted = paint_all(nets, faces)
    blanked = [blank(of, boxes)[0] for of, boxes in ((faces.x, faces.x_boxes), (faces.y, faces.y_boxes), unseen)]
    y, boxes = unseen
    again = nets.paint(y, boxes, nets.gaze(y, boxes), nets.content(y, boxes))
    return {
        "lo": sheet(crops_of(faces.x, faces.x_boxes) + crops_of(faces.y, faces.y_boxes)),
        "tr": sheet([faces.x, blanked[0], painted.xo, blanked[1], painted.yo, painted.s, painted.s_again]),
        "te": sheet([y, blanked[2], nets.correct(y, boxes), blanked[2], again]),
    }


def pictures_of_pair(nets: GazeAnimator, faces: Faces) -> dict[str, np.ndarray]:
    """End of the published name -> sheet of one face of each domain: pictures, eyes, and two animations of y."""
    painted, blanked = paint_all(nets, faces), blank(faces.x, faces.x_boxes)[0]
    ends = nets.ends(faces.y, faces.y_boxes)

    def strip(alphas) -> np.ndarray:
        frames = [nets.frame(faces.y, faces.y_boxes, alpha / 10, ends) for alpha in alphas]
        return sheet([faces.y, torch.ones_like(faces.y), *frames])

    return {
        "": sheet([faces.x, blanked, painted.xo, blank(faces.y, faces.y_boxes)[0], faces.y, painted.yo, painted.s,
                   painted.s_again]),
        "_local": sheet([crop for picture, boxes in (
            (faces.x, faces.x_boxes), (faces.y, faces.y_boxes), (painted.xo, faces.x_boxes),
            (painted.yo, faces.y_boxes), (painted.s, faces.y_boxes),
        ) for crop in crops_of(picture, boxes)]),
        "inter1": strip(range(11)),
        "inter1_1": strip(range(15)),
    }  # fmt: skip


@torch.no_grad()
def eye_sheet(autoencoder: EyeAutoEncoder, faces: Faces) -> np.ndarray:
    """Of each face of Y: left eye, rebuilt from itself, from the mirrored right eye, and that eye; enlarged."""
    left, right = crops_of(faces.y, faces.y_boxes)
    columns = [left, autoencoder(left), autoencoder(right.flip(-1)), right.flip(-1)]
    return sheet([F.interpolate(column, scale_factor=2, mode="nearest") for column in columns])
