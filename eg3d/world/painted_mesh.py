"""The true mesh of the head in a photo: life-size, with the colours of its surface at each vertex.

A world's own mesh is coarse, for its colours are functions of the place. Here edges are halved until colours between
their ends are nearly straight lines: brows, lips and irises are as sharp as in a picture of 448 pixels.
"""

from dataclasses import dataclass

import numpy as np

from eg3d.geometry.halving import SIDES, edges_of, pieces_of
from eg3d.world.photograph import FLIP, Shot, millimetres, person_of
from eg3d.world.render import BARE, EYE_AT_LEFT, Canvas
from eg3d.world.worlds import world_of

# mm: an edge that is longer than the first is halved; than the second, if the colours of its ends are unlike.
ON_EYES, ON_FACE, OFF_FACE, ON_WORN = (4.0, 0.3), (3.0, 0.8), (10.0, 4.0), (20.0, 6.0)
MARGIN = 8.0  # mm round the box of the landmarks that still are face
FACE_DEPTH = 25.0  # mm behind the eyes, as deep as the face goes
UNLIKE = 16  # of 255, any colour
MOST_ROUNDS = 10


@dataclass(frozen=True)
class PaintedMesh:
    """vertices [V, 3] mm in the head frame (`photograph.py`); colours uint8 [V, 3] RGB; faces int32 [F, 3]; part uint8
    [V]: as of a `Canvas`, EYE_AT_LEFT and EYE_AT_RIGHT are its eyeballs; landmarks [68, 3] mm in dlib's order;
    eye_centres [2, 3] mm, image left first; eye_radius mm; gaze [3]: unit, in the head frame."""

    vertices: np.ndarray
    colours: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    landmarks: np.ndarray
    eye_centres: np.ndarray
    eye_radius: float
    gaze: np.ndarray


def true_mesh(shot: Shot, even_light: bool = False, detail: float = 1.0) -> PaintedMesh:
    """The mesh of the head in a photo.

    even_light: colours as light from everywhere alike shows them, for who adds lamps; else by the lamps of the photo.
    detail: 2 makes edges half as long.
    """
    canvas = world_of(shot.world).canvas(person_of(shot), shot.label, shot.gaze, even_light=even_light)
    scale = millimetres(shot.world, shot.split, shot.person)
    vertices, colours, faces, part = refined(canvas, scale * detail)
    return PaintedMesh(
        vertices=scale * vertices @ FLIP,
        colours=colours,
        faces=faces,
        part=part,
        landmarks=scale * np.asarray(canvas.landmarks, np.float64) @ FLIP,
        eye_centres=scale * np.asarray(canvas.eye_centres, np.float64) @ FLIP,
        eye_radius=scale * canvas.eye_radius,
        gaze=FLIP @ shot.gaze,
    )


def refined(canvas: Canvas, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] in the world, colours [V, 3], faces [F, 3] and part [V] of a finer mesh of the same shape.

    scale: mm of a unit of the world.
    """
    landmarks = np.asarray(canvas.landmarks, np.float64)
    least, most = landmarks.min(axis=0) - MARGIN / scale, landmarks.max(axis=0) + MARGIN / scale
    least[2] = float(np.mean(np.asarray(canvas.eye_centres)[:, 2])) - FACE_DEPTH / scale
    mesh = _Halves(canvas)
    for _ in range(MOST_ROUNDS):
        ends = mesh.edges()
        corners, colours = mesh.vertices[ends], mesh.colours[ends].astype(int)
        length = scale * np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
        parts = mesh.part[ends].min(axis=1)
        near = ((corners > least) & (corners < most)).all(axis=2).any(axis=1)
        kinds = [parts >= EYE_AT_LEFT, (parts == BARE) & near, parts == BARE]
        limits = zip(ON_EYES, ON_FACE, OFF_FACE, ON_WORN, strict=True)
        long, short = (np.select(kinds, lengths[:3], lengths[3]) for lengths in limits)
        unlike = np.abs(colours[:, 0] - colours[:, 1]).max(axis=1) > UNLIKE
        too_long = (length > long) | (unlike & (length > short))
        if not too_long.any():
            break
        mesh.halve(too_long)
    faces = np.concatenate([*mesh.settled, mesh.faces]).astype(np.int32)
    return mesh.vertices, mesh.colours, faces, mesh.part


class _Halves:
    """A canvas whose edges are halved round by round.

    vertices [V, 3], colours [V, 3], part [V]; settled: lists of faces that a round has left whole, and so will all that
    follow; faces [F, 3]: the others; base [F]: the triangle of the canvas that a face lies in; weights [F, 3, 3]: of
    that triangle's corners, for each corner of the face.
    """

    def __init__(self, canvas: Canvas):
        self._canvas = canvas
        used, faces = np.unique(canvas.faces, return_inverse=True)
        self.faces = faces.reshape(-1, 3)
        self.settled: list[np.ndarray] = []
        self.base = np.arange(len(self.faces))
        self.weights = np.broadcast_to(np.eye(3), (len(self.faces), 3, 3))
        self.vertices = np.asarray(canvas.vertices, np.float64)[used]
        first = np.unique(self.faces, return_index=True)[1]  # a face and a corner of it, for each vertex
        self.colours = canvas.paint(self.base[first // 3], self.weights[first // 3, first % 3])
        self.part = canvas.part[self.base[first // 3]]

    def edges(self) -> np.ndarray:
        """The two vertices of each edge of the faces: [E, 2]."""
        ends, self._edge_of_side, self._first = edges_of(self.faces)
        return ends

    def halve(self, chosen: np.ndarray) -> None:
        """Halves some of the edges, bool [E] in the order of the last `edges()`."""
        middle = np.full(len(chosen), -1)
        middle[chosen] = len(self.vertices) + np.arange(chosen.sum())
        sides = np.array(SIDES)
        halves = self.weights[:, sides].mean(axis=2)  # [F, 3, 3]: of the middles of the sides

        face, side = self._first[chosen] // 3, self._first[chosen] % 3
        base, weights = self.base[face], halves[face, side]
        corners = np.asarray(self._canvas.vertices, np.float64)[self._canvas.faces[base]]
        self.vertices = np.concatenate([self.vertices, np.einsum("pk,pkc->pc", weights, corners)])
        self.colours = np.concatenate([self.colours, self._canvas.paint(base, weights)])
        self.part = np.concatenate([self.part, self._canvas.part[base]])

        six, six_weights = np.hstack([self.faces, middle[self._edge_of_side]]), np.hstack([self.weights, halves])
        whole, within, corners = pieces_of(six[:, 3:] >= 0)
        self.settled.append(self.faces[whole])
        rows = within[:, None]
        self.faces, self.weights, self.base = six[rows, corners], six_weights[rows, corners], self.base[within]
