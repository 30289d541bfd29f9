"""A person, a gaze and an expression -> the mesh of head, neck and shoulders, with lids that follow the gaze.

The head frame is the world frame of `cameras.py`: +y up, +z out of the face, +x the subject's left. A head is placed
as EG3D's crops have it: five points of its neutral face lie, as well as scale and shift allow, where those of the
standard face are. Eyeballs are spheres, and the gaze is the direction from an eyeball's centre to the middle of its
iris: optical and visual axis are one here (the angle kappa, 5 degrees in people, is zero).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from eg3d.geometry.landmarks import five_points, standard_face
from eg3d.world.human.makehuman import MASKS, Head, head_data
from eg3d.world.human.person import Person
from eg3d.world.human.physique import Expression, Shape
from eg3d.world.human.pieces import cross, smooth

SKIN, EYE_RIGHT, EYE_LEFT, TEETH, LASH, HAIR, GLASSES, CLOTHES = range(8)  # right: the subject's, at -x
PARTS = {"skin": SKIN, "teeth-upper": TEETH, "teeth-lower": TEETH}  # groups of the base mesh
EYE_MAX_YAW, EYE_MAX_PITCH = 0.6, 0.4  # rad, eye in head, either way: what lids and sockets of people permit

# MakeHuman's eyeballs are a third larger than life; ours have the distance from the centre of rotation to the cornea
# (13.5 mm where the eyes are 63 mm apart). Their fronts stay where they were, and the lids follow.
BALL = 0.79
# Radii: how near to the ball's centre a lid comes, how far the inner edge of its rim may stay away, how thick it is.
TOUCH, FAR, THICKNESS = 1.025, 1.03, 0.06
_PITCH = -0.073  # rad: so tilted, heads show their five points in a frontal picture as the standard face does
_UPRIGHT = np.array([[1, 0, 0], [0, np.cos(_PITCH), -np.sin(_PITCH)], [0, np.sin(_PITCH), np.cos(_PITCH)]])

# Margins of the left eye's upper and lower lid, from the nose outward, above one another; two columns at the middle.
_UPPER, _LOWER = (11484, 11483, 11465, 11466, 11467, 11468), (13367, 13368, 13370, 13372, 13373, 13374)
_LIPS = ((520, 7261), (493, 7242))  # the line between the lips: of the upper one, of the lower one
LOW = 0.04  # radii: how far below an eyeball's centre the middle of its open lids is
OPEN = 0.26  # radii: the upper lid of eyes that look ahead stays at least so far above the centre
CLOSED = 1.02  # share of the gap between the lids that a blink closes
JAW, PRESSED = "faceunits/jawOpen", 0.01  # weight by which the lips of a closed mouth press on each other
# MakeHuman's teeth, smaller and farther back: they show at the corners of closed mouths else.
TEETH_WIDTH, TEETH_BACK = (0.7, 0.88), (0.15, 0.03)  # behind closed lips, and if the mouth is open; share, dm
TEETH_DROP = (0.05, 0.10)  # upper and lower, dm
_LID_UNITS = ("LookUp", "LookDown", "Wide", "Squint", "Blink")
FOLLOW_UPPER, FOLLOW_LOWER = 0.95, 0.5  # how far lids go with the gaze

# dlib's 68 points as vertices of MakeHuman's mesh: those of the middle and of the image's right half.
_LANDMARKS = {
    8: 5296, 9: 11899, 10: 11901, 11: 7457, 12: 7597, 13: 7614, 14: 11712, 15: 12010, 16: 12001,  # chin to ear
    22: 6983, 23: 6980, 24: 6996, 25: 7004, 26: 11869,  # brow
    27: 132, 28: 131, 29: 201, 30: 5054, 33: 317, 34: 7076, 35: 7055,  # nose
    42: 6854, 43: 11483, 44: 11466, 45: 6805, 46: 13372, 47: 13367,  # lids
    51: 455, 52: 7210, 53: 11956, 54: 7185, 55: 7235, 56: 7241, 57: 492,  # lips, outside
    62: 520, 63: 7261, 64: 10374, 65: 7242, 66: 493,  # lips, inside
}  # fmt: skip
_IN_A_MIRROR = {right: 16 - right for right in range(9, 17)} | {right: 43 - right for right in range(22, 27)} | {
    34: 32, 35: 31, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61,
    64: 60, 65: 67,
}  # fmt: skip


@dataclass(frozen=True)
class HumanMesh:
    """A head in one moment. vertices, normals f32 [V, 3], faces i32 [F, 3], part u8 [F] (constants above).

    rest f32 [V, 3]: place of the vertex on the base mesh (decimetres, the eyes at y = 7.28), what paint is keyed by;
    on an eyeball the direction from its centre. masks f32 [V, K] (of MASKS). landmarks [68, 3] in dlib's order.
    irises [2, 3], eye_centres [2, 3] and eye_radius [2]: of the eye at -x (image left), then of the one at +x.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    rest: np.ndarray
    masks: np.ndarray
    landmarks: np.ndarray
    irises: np.ndarray
    eye_centres: np.ndarray
    eye_radius: np.ndarray


def human_head(person: Person, gaze_head=None, expression: Expression | None = None) -> HumanMesh:
    """The head of a `Person` that looks along gaze_head [3] (None: straight ahead) with an expression (None: neutral).

    The gaze moves the lids, not the eyeballs' vertices: a ball looks the same however it is turned, and its paint is
    laid round the iris.
    """
    head, build, fixed = head_data(), _build(person.shape), _topology()
    expression = expression or Expression()
    gaze = np.array([0.0, 0.0, 1.0]) if gaze_head is None else np.asarray(gaze_head, np.float64).reshape(3)
    gaze = gaze / np.linalg.norm(gaze)
    units = expression.targets | _lid_targets(build, gaze, expression)
    face = build.face + head.moved(units)[fixed.used]
    face = face + head.moved({JAW: _jaw_weight(face, expression.jaw)})[fixed.used]
    width, back = (np.interp(expression.jaw, (0, 0.1), ends) for ends in (TEETH_WIDTH, TEETH_BACK))
    for teeth, drop in zip(fixed.teeth, TEETH_DROP, strict=True):
        face[teeth] = face[teeth] * [width, 1, 1] - [0, drop, back]
    for side, (centre, radius) in enumerate(zip(build.centres, build.radii, strict=True)):
        face[fixed.lids[side]] = _touching(face[fixed.lids[side]], fixed.lid_depth[side], centre, radius)
    face = build.placed(face)
    centres, radii = build.placed(build.centres), build.radii * build.scale
    balls = centres[:, None] + radii[:, None, None] * fixed.balls
    return HumanMesh(
        np.concatenate([face, *balls]).astype(np.float32),
        np.concatenate([_normals(face, fixed), *fixed.balls]).astype(np.float32),
        fixed.faces,
        fixed.part,
        fixed.rest,
        fixed.masks,
        face[fixed.landmarks],
        centres + radii[:, None] * gaze,
        centres,
        radii,
    )


def eye_centres(person: Person) -> np.ndarray:
    """Centres [2, 3] of a person's eyeballs, which neither gaze nor expression moves; the one at -x first."""
    build = _build(person.shape)
    return build.placed(build.centres)


# ---------------------------------------------------------------- what never changes


@dataclass(frozen=True)
class Topology:
    """What is the same for all people. The vertices are those of the face's groups, then two balls."""

    used: np.ndarray  # rows of `Head` that make the face: skin, teeth, tongue
    faces: np.ndarray
    part: np.ndarray
    rest: np.ndarray
    masks: np.ndarray
    skin: np.ndarray  # the faces that are not a ball's
    gather: sparse.csr_matrix  # sums the normals of these faces at their vertices
    balls: np.ndarray  # [2, B, 3]: the right and the left eyeball, round the origin, of radius 1
    eyes: tuple[np.ndarray, np.ndarray]  # rows of `Head` that are MakeHuman's eyeballs, right and left
    lids: tuple[np.ndarray, np.ndarray]  # rows of the face near the right and the left eyeball
    lid_depth: tuple[np.ndarray, np.ndarray]  # their distance from the ball's centre in the base mesh, in radii
    landmarks: np.ndarray  # [68]
    margins: tuple[np.ndarray, np.ndarray]  # [2, 6] each: upper and lower lid of the right and the left eye
    lid_moves: dict[str, np.ndarray]  # [2, 6]: how far a unit's weight 1 raises these margins
    lips: np.ndarray  # [2, 3]: upper and lower lip where they meet
    teeth: tuple[np.ndarray, np.ndarray]  # upper and lower
    jaw_reach: np.ndarray  # [3]: how far the jaw's unit parts them


@lru_cache(maxsize=1)
def _topology() -> Topology:
    head = head_data()
    used = np.unique(np.concatenate([head.members(name) for name in PARTS]))
    new = np.full(len(head.vertices), -1)
    new[used] = np.arange(len(used))
    faces = [new[head.faces(name)] for name in PARTS]
    part = [np.full(len(group), PARTS[name], np.uint8) for name, group in zip(PARTS, faces, strict=True)]
    ball, ball_faces = _sphere()
    faces += [ball_faces[:, ::-1] + len(used), ball_faces + len(used) + len(ball)]
    part += [np.full(len(ball_faces), eye, np.uint8) for eye in (EYE_RIGHT, EYE_LEFT)]
    skin = np.concatenate(faces[:-2])
    corners, triangle = skin.T.ravel(), np.tile(np.arange(len(skin)), 3)
    gather = sparse.csr_matrix((np.ones(len(corners)), (corners, triangle)), (len(used), len(skin)))
    eyes = tuple(head.members(name) for name in ("eye-right", "eye-left"))
    lids, depth = zip(*(_near(head, used, members) for members in eyes), strict=True)
    margins = np.stack([head.places(_UPPER), head.places(_LOWER)])
    lips = np.array([[middle, side, head.mirror[side]] for middle, side in map(head.places, _LIPS)])
    jaw = head.moved({JAW: 1.0})[lips, 1]
    balls = np.stack([ball * [-1, 1, 1], ball])
    return Topology(
        used=used,
        faces=np.concatenate(faces).astype(np.int32),
        skin=skin,
        part=np.concatenate(part),
        rest=np.concatenate([head.vertices[used], *balls]).astype(np.float32),
        masks=np.concatenate([head.masks[used], np.zeros((2 * len(ball), len(MASKS)), np.float32)]),
        gather=gather,
        balls=balls,
        eyes=eyes,
        lids=lids,
        lid_depth=depth,
        landmarks=new[_landmark_rows(head)],
        margins=tuple(new[rows] for rows in (head.mirror[margins], margins)),
        lid_moves={name: head.moved({f"faceunits/eye{name}Left": 1.0})[margins, 1] for name in _LID_UNITS},
        lips=new[lips],
        teeth=tuple(new[head.members(name)] for name in ("teeth-upper", "teeth-lower")),
        jaw_reach=jaw[0] - jaw[1],
    )


def _near(head: Head, used: np.ndarray, eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the face near an eyeball, and their distance from its centre in radii of the ball."""
    centre, radius = _sphere_through(head.vertices[eye].astype(np.float64))
    depth = np.sqrt(((head.vertices[used] - centre) ** 2).sum(1)) / radius
    lids = np.flatnonzero(depth < 1.8)
    return lids, depth[lids]


def _sphere() -> tuple[np.ndarray, np.ndarray]:
    """Front of a sphere of radius 1: vertices [B, 3] in rings round +z, the last one behind the equator; faces."""
    rings, columns = 14, 32
    polar = np.linspace(0, 1.9, rings + 1)[1:, None]
    turn = np.arange(columns) * (2 * np.pi / columns)
    ring = np.broadcast_arrays(np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar))
    index = 1 + np.arange(rings * columns).reshape(rings, columns)
    inner, outer = index[:-1], index[1:]
    after = [np.roll(rows, -1, axis=1) for rows in (inner, outer)]
    cap = np.stack([np.zeros(columns, int), index[0], np.roll(index[0], -1)], axis=-1)
    one, two = np.stack([inner, outer, after[1]], -1), np.stack([inner, after[1], after[0]], -1)
    faces = np.concatenate([cap, one.reshape(-1, 3), two.reshape(-1, 3)])
    return np.concatenate([[[0.0, 0.0, 1.0]], np.stack(ring, -1).reshape(-1, 3)]), faces


def _landmark_rows(head: Head) -> np.ndarray:
    """The 68 landmarks as rows of `Head`; a point of the image's left half is the mirror image of one of the right."""
    rows = np.zeros(68, np.int64)
    for place, number in _LANDMARKS.items():
        rows[place] = head.places(number)
    for right, left in _IN_A_MIRROR.items():
        rows[left] = head.mirror[rows[right]]
    return rows


# ---------------------------------------------------------------- one person


@dataclass(frozen=True)
class Build:
    """A neutral face in decimetres [V, 3], its balls (centres [2, 3], radii [2]), and where the crop puts all of it."""

    face: np.ndarray
    centres: np.ndarray
    radii: np.ndarray
    lids: np.ndarray  # [2, 2, 6]: heights of the lids' margins over the balls' centres, upper and lower, six columns
    scale: float
    shift: np.ndarray

    def placed(self, points: np.ndarray) -> np.ndarray:
        """Decimetres of MakeHuman's frame -> the world."""
        return self.scale * points @ _UPRIGHT.T + self.shift


@lru_cache(maxsize=16)
def _build(shape: Shape) -> Build:
    head, fixed = head_data(), _topology()
    whole = head.vertices + head.moved(shape.targets)
    face, balls, heights = whole[fixed.used], [], []
    face = face + head.moved({JAW: _jaw_weight(face, 0.0)})[fixed.used]
    for eye, lids, margins in zip(fixed.eyes, fixed.lids, fixed.margins, strict=True):
        centre, large = _sphere_through(whole[eye])
        radius = BALL * large
        open_at = face[margins, 1]
        centre[1] = open_at[:, 2:4].mean() + LOW * radius
        face[lids] = _sunk(face[lids], centre, large, radius)
        balls.append((centre + [0, 0, large - radius], radius))
        heights.append(open_at - centre[1])
    centres, radii = (np.array(column) for column in zip(*balls, strict=True))
    points = five_points(face[fixed.landmarks]) @ _UPRIGHT.T
    standard = _standard()
    middle, aim = points.mean(0), standard.mean(0)
    seen, wanted = (points - middle)[:, :2], (standard - aim)[:, :2]  # in the picture: depth does not scale a crop
    scale = float((seen * wanted).sum() / (seen**2).sum())
    return Build(face, centres, radii, np.array(heights), scale, aim - scale * middle)


@lru_cache(maxsize=1)
def _standard() -> np.ndarray:
    """Five points [5, 3] of the standard face, which leans by a hair's breadth, made symmetric."""
    standard = standard_face().double().numpy()
    return (standard + standard[[1, 0, 2, 4, 3]] * [-1, 1, 1]) / 2


def _sphere_through(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre [3] and radius of the sphere nearest to points [P, 3]: |p|^2 = 2 c.p + (r^2 - |c|^2), least squares."""
    origin = points.mean(0)
    points = points - origin
    answer = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
    return origin + answer[:3], float(np.sqrt(answer[3] + (answer[:3] ** 2).sum()))


def _sunk(lids: np.ndarray, centre: np.ndarray, large: float, radius: float) -> np.ndarray:
    """Lids [P, 3] of a large ball laid on a smaller one with the same front: moved back by what separates the balls."""
    offset = lids - centre
    aside = np.minimum(np.hypot(offset[:, 0], offset[:, 1]), 0.95 * radius)
    gap = (large - np.sqrt(large**2 - aside**2)) - (radius - np.sqrt(radius**2 - aside**2))
    share = 1 - smooth(np.sqrt((offset**2).sum(1)) / large, 1.1, 1.7)
    return lids + (share * gap)[:, None] * [0, 0, 1]


# ---------------------------------------------------------------- one moment


def _lid_targets(build: Build, gaze: np.ndarray, expression: Expression) -> dict[str, float]:
    """Weights of the face units of the lids for a gaze [3]: lids go with the eyes, the upper one most of all.

    The units are linear, so weights follow from where a margin has to be: `lid_moves` is what 1 of a unit does to it.
    """
    moves = _topology().lid_moves
    yaw, pitch = np.arctan2(gaze[0], gaze[2]), np.arcsin(np.clip(gaze[1], -1, 1))
    weights = {}
    for eye, (side, outward) in enumerate((("Right", -yaw / EYE_MAX_YAW), ("Left", yaw / EYE_MAX_YAW))):
        radius, (upper, lower) = build.radii[eye], build.lids[eye]
        start = max(upper[2:4].mean(), OPEN * radius)
        turn = np.arcsin(min(start / radius, 0.9)) + FOLLOW_UPPER * pitch
        raise_by = radius * np.sin(turn) - upper[2:4].mean()
        if pitch >= 0:
            up = {"LookUp": pitch / EYE_MAX_PITCH}
            up["Wide"] = (raise_by - up["LookUp"] * moves["LookUp"][0, 2:4].mean()) / moves["Wide"][0, 2:4].mean()
        else:
            drop = FOLLOW_LOWER * pitch * radius
            up = {"Wide": (start - upper[2:4].mean()) / moves["Wide"][0, 2:4].mean()}
            up["LookDown"] = (radius * np.sin(turn) - start) / moves["LookDown"][0, 2:4].mean()
            up["Squint"] = drop / moves["Squint"][1, 2:4].mean()
        up["Squint"] = up.get("Squint", 0.0) + expression.squint
        gap = upper - lower + sum(weight * (moves[name][0] - moves[name][1]) for name, weight in up.items())
        up["Blink"] = expression.blink * CLOSED * float((gap / (moves["Blink"][1] - moves["Blink"][0])).max())
        up |= {"LookOut": max(outward, 0.0), "LookIn": max(-outward, 0.0)}
        weights |= {f"faceunits/eye{name}{side}": float(weight) for name, weight in up.items() if weight}
    return weights


def _jaw_weight(face: np.ndarray, jaw: float) -> float:
    """Weight of the jaw's unit that closes the lips of a face, or parts them by `jaw` times what the unit can."""
    upper, lower = (face[rows, 1] for rows in _topology().lips)
    reach = _topology().jaw_reach
    return float(jaw - ((upper - lower) / reach).max() - PRESSED)


def _touching(lids: np.ndarray, depth: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """Lids [P, 3] moved along rays from the ball's centre, so that none lies in the ball and no rim gapes.

    What is farther from the ball in the base mesh (depth [P]) stays farther: a lid has an inner and an outer side.
    """
    offset = lids - centre
    distance = np.sqrt((offset**2).sum(1)) / radius
    nearest = TOUCH + THICKNESS * smooth(depth, 1.03, 1.12)
    rim = (depth < 1.07) & (offset[:, 2] > 0)
    wanted = np.maximum(np.where(rim, np.minimum(distance, FAR + depth - 1.02), distance), nearest)
    return centre + offset * (wanted / distance)[:, None]


def _normals(face: np.ndarray, fixed: Topology) -> np.ndarray:
    """Smooth unit normals of the face [V, 3]: those of the triangles, weighted by area; teeth look outward."""
    a, b, c = (face[fixed.skin[:, k]] for k in range(3))
    normals = fixed.gather @ cross(b - a, c - a)
    for teeth in fixed.teeth:
        normals[teeth] = (face[teeth] - [0, 0, face[teeth, 2].min()]) * [1, 0, 1] + [0, 0, 1e-9]
    return normals / np.sqrt((normals**2).sum(1, keepdims=True))
