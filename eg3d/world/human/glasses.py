"""Glasses: rims, bridge and temples as thin tubes that rest before the eyes and clear the skin; lenses are clear."""

import numpy as np

from eg3d.world.human.head_shape import GLASSES, SKIN, HumanMesh
from eg3d.world.human.outfit import Outfit
from eg3d.world.human.pieces import Piece, grid_piece, unit
from eg3d.world.human.scalp import Scalp, scalp_of

# Half width and half height of a lens in decimetres, how square its outline is (2: an ellipse), how much its upper
# outer corner rises, and how much it narrows toward the nose.
LENSES = {
    "round": (0.225, 0.222, 2.1, 0.0, 0.0),
    "panto": (0.240, 0.205, 2.6, 0.02, 0.10),
    "rectangle": (0.262, 0.165, 4.0, 0.01, 0.03),
    "aviator": (0.275, 0.245, 2.5, -0.02, 0.22),
    "cat": (0.255, 0.175, 2.9, 0.07, 0.08),
}
RIM_POINTS, SIDES = 36, 6
NOSE = 0.08  # decimetres from the middle of the face to the nearest point of a rim
EAR = np.array([0.79, 7.42, 0.50])  # where a temple rests, on the base mesh, the subject's left
PALE = (0.10, 0.62)  # of places on the base mesh: skin between these |x| must stay behind the lenses


def glasses(outfit: Outfit, head: HumanMesh) -> tuple[Piece, ...]:
    """The glasses of a person as pieces; none if the person wears none."""
    if outfit.frame == "none":
        return ()
    scalp = scalp_of(head.vertices)
    eyes = scalp.places(head.eye_centres)
    middle = eyes.mean(axis=0)
    apart = (eyes[1, 0] - eyes[0, 0]) / 2 + 0.022
    rows = np.unique(head.faces[head.part == SKIN])
    skin, rest = scalp.places(head.vertices[rows]) - middle, head.rest[rows]
    outline = _outline(outfit)
    outline = outline + np.array([max(apart, NOSE - outline[:, 0].min()), -0.03])
    front = _clearance(outfit, skin, rest)

    def sheet(points: np.ndarray) -> np.ndarray:  # [N, 2] in the plane of the lenses -> [N, 3]
        return np.column_stack([points, front + _bend(points)])

    rim = sheet(outline)
    thick = 1.0 if outfit.metal else 1.3
    tubes = [_tube(rim * (flip, 1, 1), outfit.rim, thick * outfit.rim, closed=True) for flip in (-1, 1)]
    inner = rim[np.argmin(outline[:, 0] + 0.6 * np.abs(outline[:, 1] - 0.05))]
    outer = rim[np.argmax(outline[:, 0] + 0.9 * outline[:, 1])]
    tubes.append(_bridge(inner, skin, outfit.rim))
    for flip in (-1, 1):
        ear = np.argmin(((rest - EAR * (flip, 1, 1)) ** 2).sum(axis=1))
        tubes.append(_temple(scalp, middle, outer * (flip, 1, 1), skin[ear], outfit.rim))
    return tuple(_piece(tube, scalp, middle) for tube in tubes)


def _outline(outfit: Outfit) -> np.ndarray:
    """The rim of the lens on the subject's left round its middle: [N, 2], outward is +x."""
    width, height, power, rise, taper = LENSES[outfit.frame]
    turn = np.linspace(0, 2 * np.pi, RIM_POINTS, endpoint=False)
    x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power)
    y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power)
    inward, outward, low = np.clip(-x, 0, 1), np.clip(x, 0, 1), np.clip(-y, 0, 1)
    y = y * (1 - taper * inward * (y < 0)) + rise / height * outward**2 * np.clip(1 + y, 0, 2) / 2
    x = x + 0.5 * taper * low * inward
    return outfit.lens * np.column_stack([width * x, height * y])


def _bend(points: np.ndarray) -> np.ndarray:
    """Lenses bend round the face, and their lower edge is nearer to it."""
    return 0.14 * points[:, 1] - 0.22 * points[:, 0] ** 2


def _clearance(outfit: Outfit, skin: np.ndarray, rest: np.ndarray) -> float:
    """How far in front of the eyes' centres [dm] the lenses stand: just clear of cheeks, lids and brows."""
    x, y = np.abs(rest[:, 0]), rest[:, 1]
    near = (x > PALE[0]) & (x < PALE[1]) & (np.abs(y - 7.27) < 0.24) & (rest[:, 2] > 0.8)
    return float((skin[near, 2] - _bend(skin[near, :2])).max() + 0.025 + outfit.rim)


def _bridge(inner: np.ndarray, skin: np.ndarray, rim: float) -> np.ndarray:
    """From one lens over the nose to the other."""
    t = np.linspace(-1, 1, 9)
    nose = skin[(np.abs(skin[:, 0]) < 0.07) & (np.abs(skin[:, 1] - inner[1]) < 0.08), 2]
    rise = max(0.0, (nose.max() if len(nose) else inner[2]) + 0.03 + rim - inner[2])
    arch = 1 - t**2
    path = np.column_stack([inner[0] * t, inner[1] + 0.025 * arch, inner[2] + rise * np.sqrt(arch)])
    return _tube(path, rim, rim)


def _temple(scalp: Scalp, middle: np.ndarray, hinge: np.ndarray, ear: np.ndarray, rim: float) -> np.ndarray:
    """From the outer edge of a lens along the side of the head to the ear."""
    flip = np.sign(ear[0])
    end = ear + np.array([flip * 0.01, 0.05, -0.05])
    corner = hinge + np.array([flip * 0.045, 0.0, -0.03])
    path = np.concatenate([hinge[None], corner + np.linspace(0, 1, 12)[:, None] * (end - corner)]) + middle
    out = np.sqrt((path**2).sum(axis=1))
    path = path * np.maximum(1, (scalp.at(path) + 0.02 + rim) / out)[:, None]
    return _tube(path - middle, rim, rim)


def _tube(path: np.ndarray, width: float, depth: float, closed: bool = False) -> np.ndarray:
    """A tube [N, SIDES, 3] round a path [N, 3]; closed: its end meets its start. depth: half of it along z."""
    if closed:
        path = np.concatenate([path, path[:1]])
        along = np.roll(path[:-1], -1, axis=0) - np.roll(path[:-1], 1, axis=0)
        along = np.concatenate([along, along[:1]])
    else:
        along = np.gradient(path, axis=0)
    along = unit(along)
    first = unit(np.cross(along, np.array([0.0, 0.0, 1.0]) + 1e-3))
    steep = np.abs(along[:, 2:]) > 0.8
    first = np.where(steep, unit(np.cross(along, np.array([0.0, 1.0, 0.0]))), first)
    second = np.cross(along, first)
    turn = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)[:, None]
    return path[:, None] + width * np.cos(turn) * first[:, None] + depth * np.sin(turn) * second[:, None]


def _piece(tube: np.ndarray, scalp: Scalp, middle: np.ndarray) -> Piece:
    piece = grid_piece(scalp.world(middle + tube), GLASSES, tube, closed=True)
    outward = scalp.turned(unit((tube - tube.mean(axis=1, keepdims=True)).reshape(-1, 3)))
    return Piece(piece.vertices, outward.astype(np.float32), piece.faces, GLASSES, piece.coords, piece.tangents)
