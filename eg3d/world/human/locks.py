"""Hair as locks: ribbons that start on the scalp, are combed, fall, and may not enter the head.

All paths are grown at once, step by step, in decimetres round the middle of the skull, for a person whose hair is
parted on the left; the other side is the mirror image of the result.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from eg3d.world.human.brows import WORN, FaceHair, beard_region
from eg3d.world.human.hair import CROWN, Hair, hairline_height
from eg3d.world.human.head_shape import HAIR, HumanMesh
from eg3d.world.human.makehuman import MASKS, head_data
from eg3d.world.human.pieces import Piece, cross, grid_piece, smooth, unit
from eg3d.world.human.scalp import Scalp, scalp_of

EDGE_ROOTS = 60
DOWN = np.array([0.0, -1.0, 0.0])
BEFORE_SHOULDERS = np.array([0.0, 0.0, 0.5])  # added to gravity on locks that fall before the shoulders
# Locks that are no fringe keep this far from the middle of the face, by height above the middle of the skull.
CURTAIN_Y = np.array([-1.4, -1.0, -0.6, -0.15, 0.1, 0.3, 0.5, 0.68])
CURTAIN_X = np.array([0.50, 0.56, 0.64, 0.68, 0.62, 0.46, 0.22, 0.0])


@dataclass(frozen=True)
class Growth:
    """How the locks of a style grow. Lengths in decimetres."""

    roots: int  # points on the whole sphere; about half of them are scalp
    steps: int
    width: float
    lift: float  # how steeply a lock leaves the skin
    gravity: float
    hold: float  # how much it follows the comb rather than itself
    cling: float  # how much it is drawn to the coat
    sides: float = 1.0  # thickness and length at the sides and the nape, 1: as on top
    inner: float = 2.0  # width of the innermost locks, 1: as above; the outermost are 0.9 wide
    tip: float = 0.06  # width of the tip, 1: as at the root


GROWTHS = {
    "receding": Growth(1000, 4, 0.024, 0.3, 0.10, 0.4, 0.7, 0.7, inner=1.3),
    "short": Growth(1150, 5, 0.026, 0.55, 0.10, 0.35, 0.45, 0.55, inner=1.3),
    "crop": Growth(1150, 5, 0.026, 0.3, 0.12, 0.5, 0.7, 0.5, inner=1.3),
    "parted": Growth(1000, 6, 0.034, 0.5, 0.10, 0.5, 0.6, 0.45, inner=1.3),
    "swept": Growth(1000, 6, 0.034, 0.8, 0.04, 0.45, 0.5, 0.45, inner=1.3),
    "curls": Growth(360, 16, 0.075, 0.8, 0.16, 0.25, 0.3, 0.8),
    "afro": Growth(760, 4, 0.045, 1.0, 0.0, 0.0, 0.0),
    "bob": Growth(620, 9, 0.070, 0.4, 0.22, 0.45, 0.4, tip=0.5),
    "fringe": Growth(600, 8, 0.072, 0.3, 0.22, 0.45, 0.45, tip=0.3),
    "wavy": Growth(400, 13, 0.080, 0.5, 0.20, 0.4, 0.35, tip=0.2),
    "long": Growth(580, 9, 0.070, 0.3, 0.24, 0.45, 0.45, tip=0.3),
    "bun": Growth(600, 8, 0.060, 0.1, 0.0, 0.9, 0.9),
    "tail": Growth(600, 8, 0.060, 0.1, 0.0, 0.9, 0.9),
}
BEARD, BEARD_LOCKS = Growth(0, 3, 0.026, 0, 0, 0, 0), 360
KNOTS = {"bun": unit(np.array([0.0, 0.80, -0.62])), "tail": unit(np.array([0.0, 0.30, -0.95]))}


def locks(hair: Hair, head: HumanMesh) -> tuple[Piece, ...]:
    """The hair of the head as pieces; none for a bald or shorn one."""
    if hair.style not in GROWTHS:
        return ()
    scalp = scalp_of(head.vertices)
    if hair.side < 0:
        scalp = scalp.mirrored()
    rng = np.random.default_rng(hair.seed)
    growth = GROWTHS[hair.style]
    roots = _roots(hair, growth.roots, rng)
    grown = _tufts(hair, scalp, roots, rng) if hair.style == "afro" else _grown(hair, growth, scalp, roots, rng)
    pieces = [_ribbons(scalp, growth, *grown, rng)]
    if hair.style == "afro":
        pieces.append(_cloud(hair, scalp, rng))
    if hair.style == "bun":
        pieces.append(_bun(hair, scalp, rng))
    if hair.style == "tail":
        pieces.append(_tail(hair, scalp, rng))
    return tuple(piece.mirrored() if hair.side < 0 else piece for piece in pieces)


def _roots(hair: Hair, count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions [N, 3] of roots, spread evenly (a Fibonacci lattice, turned and jittered), above the hairline."""
    place = np.arange(count) + 0.5
    height = 1 - 2 * place / count
    turn = place * (np.pi * (3 - np.sqrt(5))) + rng.uniform(0, 2 * np.pi)
    ring = np.sqrt(1 - height**2)
    directions = np.stack([ring * np.sin(turn), height, ring * np.cos(turn)], axis=1)
    directions = unit(directions + rng.normal(0, 0.35 / np.sqrt(count), directions.shape))
    directions = np.concatenate([directions, _edge(hair, rng)])
    count = len(directions)
    above = hairline_height(hair, directions)
    thin = hair.recession * smooth(directions @ unit(CROWN), 0.80, 0.97)
    ear = (np.abs(directions[:, 0]) > 0.9) & (np.abs(directions[:, 2]) < 0.4) & (directions[:, 1] < 0.05)
    grown = above > np.maximum(rng.normal(1.5, 1.5, count), 0.5)
    return directions[grown & (thin < rng.uniform(0.35, 1.0, count)) & ~ear]


def _edge(hair: Hair, rng: np.random.Generator) -> np.ndarray:
    """More roots [E, 3] just above the hairline round the face, where each lock shows."""
    count = 2 * EDGE_ROOTS if hair.style == "fringe" else EDGE_ROOTS
    azimuth = np.radians(rng.uniform(-72, 72, count))
    low = np.stack([np.sin(azimuth), np.zeros(count), np.cos(azimuth)], axis=1)
    elevation = np.radians(rng.uniform(1, 7, count) - hairline_height(hair, low))[:, None]
    return np.cos(elevation) * low + np.sin(elevation) * np.array([0.0, 1.0, 0.0])


def _comb(hair: Hair, at: np.ndarray, sign: np.ndarray, fringe: np.ndarray) -> np.ndarray:
    """Where the comb went at unit places [N, 3]: [N, 3], not yet along the skin. sign [N]: side of the parting."""
    x, y, z = at.T
    zero = np.zeros_like(x)
    top = smooth(y, 0.15, 0.6)
    match hair.style:
        case "bun" | "tail":
            return KNOTS[hair.style] - at
        case "short" | "receding":
            away = at - unit(CROWN)
            return away + np.stack([zero, -0.9 * (1 - top), 0.3 * top], axis=1)
        case "crop":
            return np.stack([0.25 * sign * top, -0.2 - 0.8 * (1 - top), 0.9 * top + 0.15], axis=1)
        case "swept":
            return np.stack([0.25 * sign, 0.15 * top - 0.7 * (1 - top), -1.0 + zero], axis=1)
        case "parted":
            front = smooth(z, 0.2, 0.8)
            return np.stack([1.0 * sign * top, -0.9 * (1 - top), -0.35 + 0.35 * front], axis=1)
    back = smooth(-z, 0.1, 0.7)
    combed = np.stack([0.9 * sign * (1 - back), -0.5 - 0.4 * back, -0.25 - 0.1 * back], axis=1)
    forward = np.stack([-0.08 * sign, -0.25 + zero, 1.0 + zero], axis=1)
    return np.where(fringe[:, None], forward, combed)


def _grown(hair: Hair, growth: Growth, scalp: Scalp, roots: np.ndarray, rng) -> tuple[np.ndarray, ...]:
    """Paths [N, S + 1, 3] of the locks from roots [N, 3] (unit), and the layer [N] of each, 0 innermost .. 1."""
    count = len(roots)
    layer = rng.uniform(0, 1, count) ** 0.7
    length = hair.length * rng.uniform(0.75, 1.12, count)
    side = 1 - (1 - growth.sides) * (1 - smooth(roots[:, 1], -0.1, 0.6))
    azimuth = np.degrees(np.arctan2(roots[:, 0], roots[:, 2]))
    has_fringe = hair.style == "fringe"
    fringe = has_fringe & (np.abs(azimuth) < 50 + rng.normal(0, 4, count)) & (roots[:, 1] < 0.88) & (roots[:, 2] > 0.3)
    place = scalp.skin(roots)
    roots = unit(place)
    parting = hair.parting + rng.normal(0, 0.012, count)
    sign = np.where(place[:, 0] > parting, 1.0, -1.0)
    if hair.style in KNOTS:
        length = np.arccos(np.clip(roots @ KNOTS[hair.style], -1, 1)) * 0.97 * rng.uniform(0.9, 1.0, count)
    length = np.where(
        fringe, np.clip((roots[:, 1] - 0.12) * 1.25, 0.2, 0.95) * rng.uniform(0.92, 1.04, count), length * side
    )
    pace = (length / growth.steps)[:, None]
    disorder = rng.normal(0, 0.06 + 0.45 * hair.tousle * (growth.lift > 0.45), (count, 3))
    heading = unit(
        growth.lift * (0.4 + 0.6 * layer)[:, None] * roots
        + _tangent(_comb(hair, roots, sign, fringe), roots)
        + disorder
    )
    before = (rng.uniform(0, 1, count) < hair.forward) & (roots[:, 2] > -0.25) & (growth.gravity > 0.15)
    path = [place]
    for step in range(1, growth.steps + 1):
        at = unit(place)
        hold = growth.hold * smooth(at[:, 1], -0.45, -0.1)[:, None]
        combed = _tangent(_comb(hair, at, sign, fringe), at) + 0.5 * disorder
        pull = DOWN + (before * smooth(-place[:, 1], 0.1, 0.6))[:, None] * BEFORE_SHOULDERS
        heading = unit((1 - hold) * heading + hold * combed + growth.gravity * pull)
        place = place + pace * heading
        rise = smooth(step / growth.steps, 0, 0.5) * (0.25 + 0.75 * layer)
        coat = scalp.at(place) + 0.012 + hair.thickness * side * rise
        coat = coat + 0.10 * _over_ears(place) * (hair.length > 1.2)
        out = np.sqrt((place**2).sum(axis=1))
        cling = growth.cling * smooth(at[:, 1], -0.45, -0.05)
        place = place * np.where(out < coat, coat / out, 1 + cling * (coat / out - 1))[:, None]
        if growth.gravity > 0.15 or hair.style in ("parted", "curls"):
            place = _behind_curtain(place, sign, fringe)
        heading = unit(place - path[-1])
        path.append(place)
    paths = np.stack(path, axis=1)
    return _waved(hair, paths, length, rng), layer


def _tangent(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return unit(vectors - (vectors * normals).sum(axis=1, keepdims=True) * normals)


def _over_ears(place: np.ndarray) -> np.ndarray:
    return np.exp(-(((place[:, 1] + 0.2) / 0.3) ** 2) - ((place[:, 2] - 0.1) / 0.28) ** 2) * (np.abs(place[:, 0]) > 0.4)


def _behind_curtain(place: np.ndarray, sign: np.ndarray, fringe: np.ndarray) -> np.ndarray:
    """Moves locks in front of the face to its sides, so that they hide no eye."""
    apart = np.interp(place[:, 1], CURTAIN_Y, CURTAIN_X) * smooth(place[:, 2], 0.1, 0.5)
    apart = np.where(fringe, 0.0, apart)
    side = np.where(np.abs(place[:, 0]) > 0.15, np.sign(place[:, 0]), sign)
    return np.stack([side * np.maximum(side * place[:, 0], apart), place[:, 1], place[:, 2]], axis=1)


def _waved(hair: Hair, paths: np.ndarray, length: np.ndarray, rng) -> np.ndarray:
    """Adds waves or curls of `hair.curl` to paths [N, S + 1, 3]."""
    if hair.curl < 0.004 or hair.style in KNOTS:
        return paths
    out, tangent = unit(paths), unit(np.gradient(paths, axis=1))
    across = unit(cross(tangent, out))
    along = np.linspace(0, 1, paths.shape[1])
    turns = length / (1.1 if hair.style != "curls" else 0.5)
    phase = (
        2
        * np.pi
        * (turns[:, None] * along + rng.uniform(0, 1, len(paths))[:, None] * (0.35 if hair.style == "wavy" else 1))
    )
    size = hair.curl * smooth(along, 0.05, 0.4)
    return paths + (size * np.sin(phase))[..., None] * across + (size * (1 + np.cos(phase)))[..., None] * out * 0.8


def _ribbons(scalp: Scalp, growth: Growth, paths: np.ndarray, layer: np.ndarray, rng) -> Piece:
    """Paths [N, S + 1, 3] -> ribbons that taper to their tips and overlap like shingles, lit as if they were round."""
    count, points, _ = paths.shape
    along = np.linspace(0, 1, points)
    tangent = unit(np.gradient(paths, axis=1))
    out = unit(paths * np.array([1, 0.45, 1]))
    out = unit(out - (out * tangent).sum(-1, keepdims=True) * tangent)
    across = cross(tangent, out)
    lean = rng.normal(0, 0.28, count)[:, None, None]
    across = np.cos(lean) * across + np.sin(lean) * out
    half = (
        0.5
        * growth.width
        * (rng.uniform(0.6, 1.2, count) * (growth.inner - (growth.inner - 0.9) * layer))[:, None]
        * np.interp(along, [0, 0.2, 0.65, 1], [0.55, 1, 0.9, growth.tip])
    )
    edges = np.stack([paths - half[..., None] * across, paths + half[..., None] * across], axis=2)
    light = (0.62 + 0.38 * layer)[:, None] * np.interp(along, [0, 0.25, 1], [0.72, 0.95, 1.08])
    light = light * np.clip(rng.normal(1, 0.10, count), 0.7, 1.3)[:, None]
    place = rng.uniform(0, 60, count)[:, None]
    coords = np.stack(
        np.broadcast_arrays(
            (place[..., None] + half[..., None] * np.array([-1, 1])), along[None, :, None], light[..., None]
        ),
        axis=-1,
    )
    piece = grid_piece(
        scalp.world(edges), HAIR, coords, tangents=np.repeat(scalp.turned(tangent)[:, :, None], 2, axis=2)
    )
    round_ = scalp.turned(unit(np.stack([out - 0.45 * across, out + 0.45 * across], axis=2)))
    round_ = np.ascontiguousarray(round_.reshape(-1, 3), np.float32)
    return Piece(piece.vertices, round_, piece.faces, HAIR, piece.coords, piece.tangents)


def _tufts(hair: Hair, scalp: Scalp, roots: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Small arcs that stand on the body of an afro: paths [N, 5, 3] and layers [N]."""
    count = len(roots)
    near_edge = smooth(hairline_height(hair, roots), 0, 14)
    away = hair.thickness * np.sqrt(near_edge) * rng.uniform(0.82, 1.02, count) * (0.8 + 0.2 * roots[:, 1])
    base = scalp.skin(roots) + away[:, None] * roots
    aside = _tangent(rng.normal(0, 1, roots.shape), roots)
    turn = np.linspace(0, np.pi * 1.2, 5)
    size = hair.length * rng.uniform(0.25, 0.5, count)[:, None, None]
    arc = np.sin(turn)[:, None] * roots[:, None] + (1 - np.cos(turn))[:, None] * aside[:, None]
    return base[:, None] + size * arc, rng.uniform(0.3, 1, count)


def _cloud(hair: Hair, scalp: Scalp, rng: np.random.Generator) -> Piece:
    """The dense body of an afro: a bumpy shell from the crown down to the hairline."""
    rows, columns = 26, 72
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    low = np.stack([np.sin(azimuth), np.zeros(columns), np.cos(azimuth)], axis=1)
    rim = np.radians(-hairline_height(hair, low) - 1.0)
    t = np.linspace(0, 1, rows)[:, None]
    elevation = np.pi / 2 - 0.01 + t * (rim - np.pi / 2)
    flat = np.cos(elevation)[..., None]
    directions = flat * low + np.sin(elevation)[..., None] * np.array([0.0, 1.0, 0.0])
    bumps = gaussian_filter(rng.standard_normal((rows, columns)), (0.7, 0.9), mode=("nearest", "wrap"))
    bumps = 1 + 0.13 * (bumps / bumps.std()) * smooth(1 - t, 0, 0.3)
    edge = np.sqrt(np.clip(1 - t**5, 0, 1))
    away = 0.01 + hair.thickness * edge * bumps * (0.8 + 0.2 * directions[..., 1])
    points = scalp.skin(directions) + away[..., None] * directions
    tangents = unit(rng.normal(0, 1, points.shape))
    light = 0.8 + 0.25 * (bumps - 1) / 0.13 * 0.3
    coords = np.stack(np.broadcast_arrays(azimuth * 3 + 40 * t, t, light), axis=-1)
    return grid_piece(scalp.world(points), HAIR, coords, closed=True, tangents=scalp.turned(tangents))


def _bun(hair: Hair, scalp: Scalp, rng) -> Piece:
    """A ball of wound hair on the knot."""
    size = rng.uniform(0.27, 0.42)
    middle = KNOTS["bun"] * (scalp.at(KNOTS["bun"][None])[0] + 0.55 * size)
    polar, turn = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, 13), np.linspace(0, 2 * np.pi, 20, endpoint=False), indexing="ij"
    )
    axis = KNOTS["bun"]
    first = unit(cross(axis, [1.0, 0, 0]))
    second = cross(axis, first)
    ring = np.cos(turn)[..., None] * first + np.sin(turn)[..., None] * second
    around = -np.sin(turn)[..., None] * first + np.cos(turn)[..., None] * second
    wound = 1 + 0.07 * np.sin(3 * turn + 5 * polar) + 0.04 * np.sin(7 * turn - 4 * polar)
    ball = middle + size * wound[..., None] * (np.sin(polar)[..., None] * ring + 0.8 * np.cos(polar)[..., None] * axis)
    tangent = unit(around + 0.45 * np.sin(2 * polar + turn)[..., None] * axis)
    coords = np.stack([size * polar + 0.05 * turn, turn / 6.3, np.full_like(turn, 0.9)], axis=-1)
    return grid_piece(scalp.world(ball), HAIR, coords, closed=True, tangents=scalp.turned(tangent))


def _tail(hair: Hair, scalp: Scalp, rng) -> Piece:
    """The tail that falls from the knot behind the head."""
    count, steps = 60, 8
    knot = KNOTS["tail"] * (scalp.at(KNOTS["tail"][None])[0] + 0.06)
    along = np.linspace(0, 1, steps + 1)
    spread = rng.normal(0, 1, (count, 1, 3)) * np.array([0.13, 0.05, 0.08])
    fall = np.stack(
        [0 * along, 0.15 * np.sin(np.pi * along) - 1.9 * along**1.3, -0.35 * np.sqrt(along) + 0.2 * along], axis=1
    )
    paths = knot + fall + spread * np.sqrt(along)[:, None]
    return _ribbons(scalp, GROWTHS["tail"], paths, rng.uniform(0, 1, count), rng)


def beard_locks(face_hair: FaceHair, head: HumanMesh) -> tuple[Piece, ...]:
    """A beard as short locks, which stand on the skin and go where the jaw goes; stubble is only painted."""
    if face_hair.beard not in ("moustache", "goatee", "full"):
        return ()
    rng = np.random.default_rng(face_hair.seed)
    data = head_data()
    faces = data.faces("skin")
    count = len(data.members("skin"))
    vertices, normals = head.vertices[:count].astype(np.float64), head.normals[:count].astype(np.float64)
    if face_hair.side < 0:  # the head in a mirror
        vertices, normals = (a[data.mirror[:count]] * np.array([-1, 1, 1]) for a in (vertices, normals))
    area = _beard_area(face_hair.beard)
    chance = np.cumsum(area)
    number = int(BEARD_LOCKS * area.sum() / _beard_area("full").sum())
    at = faces[np.searchsorted(chance, rng.uniform(0, chance[-1], number))]
    share = rng.dirichlet((1, 1, 1), number)[..., None]
    scalp = scalp_of(head.vertices)
    if face_hair.side < 0:
        scalp = scalp.mirrored()
    root = scalp.places((vertices[at] * share).sum(axis=1))
    out = unit((normals[at] * share).sum(axis=1)) @ scalp.turn
    way = unit(0.55 * out + DOWN + rng.normal(0, 0.22, out.shape))
    above = smooth(root[:, 1], -0.86, -0.78) * (np.abs(root[:, 0]) < 0.36)  # the mouth: a moustache is short
    way = unit(way + above[:, None] * np.sign(root[:, :1]) * np.array([0.7, 0, 0]))
    length = rng.uniform(0.05, 0.16, number) * (0.6 + 0.6 * face_hair.fullness) * (1 - 0.5 * above)
    along = np.linspace(0, 1, 4)[:, None]
    paths = root[:, None] + length[:, None, None] * (along * way[:, None] + 0.25 * along**2 * DOWN)
    piece = _ribbons(scalp, BEARD, paths, rng.uniform(0, 1, number), rng)
    return (piece.mirrored() if face_hair.side < 0 else piece,)


@lru_cache(maxsize=4)
def _beard_area(beard: str) -> np.ndarray:
    """Area of each triangle of the base mesh's skin on which this beard grows, else 0: [F]."""
    data = head_data()
    corners = data.vertices[data.faces("skin")].astype(np.float64)
    lips = data.masks[data.faces("skin"), MASKS.index("lips")].max(axis=1)
    region = (beard_region(corners.mean(axis=1), lips) * np.array(WORN[beard])).max(axis=1)
    area = np.linalg.norm(cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.where(region > 0.6, area, 0.0)
