"""Correction of whole faces, measured: each method on the same portraits of a world, which knows the true results.

A method takes a portrait and gives one whose eyes look into the lens. Those that need to be told the gaze (patch
redirectors) are told the true one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eg3d.pictures.layout import side_by_side, stack
from eg3d.pictures.text import text_strip
from groundwork.archive import read_file
from groundwork.images import read_picture
from redirection.eye_patches import EyeSquare
from redirection.face_reading import EyeJudge, read_eyes, read_gaze, steady_gaze
from redirection.face_scores import animation, at_camera, falls, likeness, off, seam
from redirection.gaze_animation.aimed_eyes import aims, to_camera
from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.portrait_lists import ELSEWHERE, read_domain
from redirection.gaze_animation.portrait_making import CORRECTED, LANDMARKS, eyes_of
from redirection.gaze_animation.portrait_truth import Truth, read_truth
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, painted
from redirection.lid_points import Lids, ListedLids

FRONTAL_DEG, TURNED_DEG = 10.0, 20.0  # most and least head yaw of the two groups
ASKED_YAW = (-15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0)
ASKED_PITCH = (-8.0, 0.0, 8.0)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
SAME_PERSON = 0.05  # quantile of the likeness of same-person pairs that a corrected face should pass


@dataclass(frozen=True)
class TestFace:
    """A portrait of Y: picture and the true corrected one, uint8 [S, S, 3]; lids; what is true; points [68, 2] px,
    which a judge of faces needs."""

    __test__ = False  # no test of pytest's

    name: str
    picture: np.ndarray
    corrected: np.ndarray
    lids: Lids
    truth: Truth
    points: np.ndarray | None = None


Method = Callable[[TestFace], np.ndarray]


def read_faces(folder: Path, count: int | None = None) -> list[TestFace]:
    """Faces of a set of prepare.py --world that have a true corrected picture, in the list's order; the first `count`.

    Errors: ValueError, one line, or OSError.
    """
    portraits, truth = read_domain(folder, ELSEWHERE), read_truth(folder)
    there = {file.stem: file for file in sorted((folder / CORRECTED).glob("*.png"))}
    files = [file for file in portraits.files if file.stem in there and (ELSEWHERE, file.stem) in truth][:count]
    if not files:
        raise ValueError(f"{folder}: has no true corrected pictures; make it by prepare.py --world with --corrected")
    names = [f"{ELSEWHERE}/{file.name}" for file in files]
    source = ListedLids(folder / LANDMARKS, names)
    found = []
    for file, name in zip(files, names, strict=True):
        picture, true = (np.asarray(read_picture(read_file(one), str(one))) for one in (file, there[file.stem]))
        if picture.shape != true.shape:
            raise ValueError(f"{there[file.stem]}: has another size than {file}; make the set again")
        lids, points = source(picture, name), source.points(picture, name)
        found.append(TestFace(file.stem, picture, true, lids, truth[ELSEWHERE, file.stem], points))
    return found


def nothing(face: TestFace) -> np.ndarray:
    """The picture as it is."""
    return face.picture


def true_picture(face: TestFace) -> np.ndarray:
    """What the world shows: as good as can be."""
    return face.corrected


def by_animator(animator, device="cpu", calibration: Calibration | None = None) -> Method:
    """GazeAnimation's correction: Gx, or with a calibration what correct.py makes of photos."""

    def method(face: TestFace) -> np.ndarray:
        eyes = [FaceEyes.of_lids(face.lids, face.points)]
        paints = to_camera(face.picture, eyes, animator, calibration, device)
        return painted(face.picture, eyes, paints, animator.config.size, Fates(), device, closed=0)

    return method


def by_redirector(redirector) -> Method:
    """A redirector of eye patches, both eyes, pasted back."""

    def method(face: TestFace) -> np.ndarray:
        out, truth = face.picture, face.truth
        for eye, sign in (("R", -1.0), ("L", 1.0)):  # patches of right eyes are mirrored
            square = EyeSquare.of_lids(face.lids[eye], eye)
            before = square.cut(face.picture, redirector.size)
            patch = torch.from_numpy(before.copy()).permute(2, 0, 1)[None]
            head = sign * truth.head_yaw
            shown = torch.tensor([[head, truth.gaze_pitch, sign * truth.gaze_yaw]])
            wanted = torch.tensor([[head, truth.lens_pitch, sign * truth.lens_yaw]])
            after = redirector.redirect(patch, shown, wanted)[0].permute(1, 2, 0).numpy()
            out = square.paste(out, before, after)
        return out

    return method


def boxes_of_face(face: TestFace) -> np.ndarray:
    """[2, 4] in whole pixels of the portrait."""
    eyes = torch.from_numpy(FaceEyes.of_lids(face.lids).eyes)[None]
    return boxes_around(eyes, size=face.picture.shape[0])[0].numpy()


def measure(faces: Sequence[TestFace], method: Method, judge: EyeJudge) -> dict:
    """Scores of one method, of all faces and of the frontal and the turned heads."""
    outputs = [method(face) for face in faces]
    lids, points = [face.lids for face in faces], [face.points for face in faces]
    seen, before, true = (
        read_eyes(judge, pictures, lids, points)
        for pictures in (outputs, [face.picture for face in faces], [face.corrected for face in faces])
    )
    lens = np.array([face.truth.lens for face in faces])
    near = [likeness(out, face.corrected, boxes_of_face(face)) for out, face in zip(outputs, faces, strict=True)]
    seams = [seam(out, boxes_of_face(face)) for out, face in zip(outputs, faces, strict=True)]
    features = (seen.features - true.features).norm(dim=1) / true.features.norm(dim=1)
    alike = _cosine(seen.identity, before.identity)
    threshold = _same_person(faces, before.identity)
    yaw = np.abs([face.truth.head_yaw for face in faces])
    groups = {"all": yaw >= 0, "frontal": yaw <= FRONTAL_DEG, "turned": yaw >= TURNED_DEG}
    scores = {}
    for name, rows in groups.items():
        if rows.any():
            scores[name] = at_camera(seen.gaze[rows], lens[rows]) | {
                "psnr": float(np.array(near)[rows, 0].mean()),
                "ssim": float(np.array(near)[rows, 1].mean()),
                "feature_distance": float(features[torch.from_numpy(rows)].mean()),
                "seam": float(np.array(seams)[rows].mean()),
                "identity": float(alike[torch.from_numpy(rows)].mean()),
                "identity_kept": float((alike[torch.from_numpy(rows)] >= threshold).double().mean()),
                "faces": int(rows.sum()),
            }
    return scores


def _cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


def _same_person(faces: Sequence[TestFace], identity: torch.Tensor) -> float:
    """The 5 % quantile of the likeness of two pictures of one person; 1 if nobody has two."""
    person = torch.tensor([face.truth.person for face in faces])
    pairs = (person[:, None] == person[None]).triu(1).nonzero()
    if not len(pairs):
        return 1.0
    return float(_cosine(identity[pairs[:, 0]], identity[pairs[:, 1]]).double().quantile(SAME_PERSON))


def measure_animation(
    faces: Sequence[TestFace], animator, calibration, judge: EyeJudge, device="cpu", turned: int | None = None
) -> dict:
    """Whether the angle to the lens falls from the gaze that is there to the camera; degrees asked for and read.

    falls_along_alpha: with the paper's codes; falls_in_degrees: along `animate.py --path='gaze 0,0'`; end: mean angle
    that is left. steady: by the mean of nine readings; zeroed: of these, less what the judge misses of the true
    corrected picture, whose gaze is known.
    The rest is of the first `turned` faces, along yaw and pitch. asked_10: mean angle between what is read and what was
    asked for, 10 degrees to the left and to the right; judge_error: between what is read of these faces as they are and
    the truth.
    """
    lens, lids = np.array([face.truth.lens for face in faces]), [face.lids for face in faces]
    points = [face.points for face in faces]
    eyes = [FaceEyes.of_lids(face.lids, face.points) for face in faces]
    aimed = [aims(face.picture, [own], animator, calibration, device) for face, own in zip(faces, eyes, strict=True)]
    misses = steady_gaze(judge, [face.corrected for face in faces], lids, points) - lens

    def frames(way: np.ndarray, using) -> list[tuple[np.ndarray, ...]]:
        """For each place of the way the pictures of all faces."""
        films = [moved_frames(face.picture, [own], animator, way, using, Fates(), device, 0, using and at)
                 for face, own, at in zip(faces, eyes, aimed, strict=False)]  # fmt: skip
        return list(zip(*films, strict=True))

    def read(way: np.ndarray, using) -> np.ndarray:
        """[N, T, 2]: yaw, pitch."""
        return np.stack([read_gaze(judge, pictures, lids, points) for pictures in frames(way, using)], axis=1)

    def falling(way: np.ndarray, using, name: str) -> dict[str, float]:
        drawn = frames(way, using)
        single = [read_gaze(judge, pictures, lids, points) for pictures in drawn]
        steady = [steady_gaze(judge, pictures, lids, points) for pictures in drawn]
        found = {}
        for kind, gazes in (("", single), ("steady_", steady), ("zeroed_", [gaze - misses for gaze in steady])):
            to_lens = np.stack([off(gaze, lens) for gaze in gazes], axis=1)
            found |= {f"{kind}{name}": falls(to_lens), f"{kind}{name}_but_1_deg": falls(to_lens, slack=1.0)}
            found |= {f"{kind}{name}_end": float(to_lens[:, -1].mean())}
        return found

    scores = falling(np.array(ALPHAS), None, "falls_along_alpha")
    if calibration is None:
        return scores
    own = np.array(ALPHAS)[::-1, None] * (0.0, 0.0, 1.0)
    scores |= falling(own, calibration, "falls_in_degrees")
    faces, lids, points, lens = faces[:turned], lids[:turned], points[:turned], lens[:turned]
    seen = read(np.array([(asked, 0.0) for asked in ASKED_YAW]), calibration)
    scores |= animation(ASKED_YAW, seen[..., 0] - lens[:, :1])
    for side, yaw in (("left", 10.0), ("right", -10.0)):
        scores[f"asked_10_{side}"] = float(off(seen[:, ASKED_YAW.index(yaw)], lens + (yaw, 0.0)).mean())
    now = read_gaze(judge, [face.picture for face in faces], lids, points)
    scores["judge_error"] = float(off(now, np.array([face.truth.gaze for face in faces])).mean())
    pitch = read(np.array([(0.0, asked) for asked in ASKED_PITCH]), calibration)[..., 1] - lens[:, 1:]
    return scores | {f"pitch_{name}": value for name, value in animation(ASKED_PITCH, pitch).items()}


def eyes_by_method(faces: Sequence[TestFace], methods: dict[str, Method]) -> np.ndarray:
    """A picture of both eyes of each face: a row for each method, under its name."""
    rows = []
    for name, method in methods.items():
        strip = side_by_side([_both_eyes(method(face), face.lids) for face in faces])
        rows += [text_strip(strip.shape[1], 24, name), strip]
    return stack(rows)


def _both_eyes(picture: np.ndarray, lids: Lids, width: int = 216, height: int = 72) -> np.ndarray:
    """The band of a face that its eyes lie in: twice as wide as they are apart."""
    left, right = eyes_of(lids)
    step = 2 * np.linalg.norm(right - left) / width  # px of the picture for one of the band
    x, y = (left + right) / 2 - step * np.array([width, height]) / 2
    return np.asarray(Image.fromarray(picture).transform(
        (width, height), Image.Transform.AFFINE, (step, 0, x, 0, step, y), Image.Resampling.BICUBIC
    ))  # fmt: skip
