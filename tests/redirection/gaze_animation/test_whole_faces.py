"""Whole pictures and films: what changes, what stays, blinks, several faces, sound."""

import dataclasses
import subprocess
from collections import defaultdict

import numpy as np
import pytest
import torch
from known_eyes import KnownLids, grey, lids_at

from eg3d.pictures.film_sound import film_facts
from eg3d.pictures.video import require_ffmpeg, write_video
from groundwork.archive import Unreadable
from redirection.gaze_animation.correcting import Correction
from redirection.gaze_animation.eye_boxes import boxes_around
from redirection.gaze_animation.film_painting import SteadyCorrection, follow, painted_frames
from redirection.gaze_animation.level_faces import Placed
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, painted


def boxes_alone(lids):
    """Eyes whose lids are not known: boxes are pasted as they are painted."""
    return dataclasses.replace(FaceEyes.of_lids(lids), lids=None)


def inside_boxes(shape, face, size=64):
    """Where the boxes round the eyes of a face lie, in whole pixels of a portrait of `size` px."""
    place = Placed.of_eyes(face.eyes)
    rows, columns = np.indices(shape[:2])
    at = place.to_portrait(np.stack([columns + 0.5, rows + 0.5], -1), size)
    boxes = boxes_around(torch.from_numpy(place.to_portrait(face.eyes, size))[None], size=size)[0].numpy()
    return np.any([((at > box[:2]) & (at < box[2:])).all(-1) for box in boxes], 0)


def test_both_eyes_of_all_faces_are_painted_and_all_else_keeps_every_bit(painter):
    picture = grey()
    faces = [boxes_alone(lids_at(80, 90)), boxes_alone(lids_at(230, 110, apart=70))]
    fates = Fates()
    out = painted(picture, faces, [painter.correct] * 2, painter.config.size, fates)
    assert fates.painted == 2 and not fates.kept
    inside = inside_boxes(picture.shape, faces[0]) | inside_boxes(picture.shape, faces[1])
    assert (out[~inside] == picture[~inside]).all()
    for face in faces:
        for x, y in face.eyes.astype(int):
            assert out[y, x].tolist() == [0, 0, 255]


def test_boxes_follow_the_distance_of_the_eyes(painter):
    picture, changed = grey(400, 400), []
    for apart in (40.0, 120.0):
        out = painted(picture, [boxes_alone(lids_at(200, 200, apart))], [painter.correct], 64, Fates())
        changed.append((out != picture).any(-1).sum())
    assert changed[1] / changed[0] == pytest.approx(9, rel=0.15)


def test_closed_eyes_stay_and_half_closed_ones_change_by_a_part(painter):
    picture = np.full((200, 320, 3), 100, np.uint8)
    blue = []
    for height in (1.0, 1.7, 8.0):  # height over width 0.08, 0.14, 0.67
        fates = Fates()
        face = FaceEyes.of_lids(lids_at(160, 100, height=height))
        out = painted(picture, [face], [painter.correct], 64, fates)
        assert (fates.kept == {"the eyes are closed": 1}) == (height == 1.0)
        blue.append(int(out[100, 130, 2]))
    assert blue[0] == 100 < blue[1] < blue[2] == 255


def test_a_face_at_the_border_and_one_that_is_too_small_stay(painter):
    fates, picture = Fates(), grey()
    faces = [FaceEyes.of_lids(lids_at(4, 3)), FaceEyes.of_lids(lids_at(200, 100, apart=5))]
    out = painted(picture, faces, [painter.correct] * 2, 64, fates)
    assert (out == picture).all() and fates.painted == 0
    assert sorted(fates.kept) == [
        "the boxes round the eyes lie outside the picture",
        "the eyes are 5.0 px apart, least 8",
    ]


FRAMES = 12


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Frames of one grey each, with a tone."""
    folder = tmp_path_factory.mktemp("film")
    silent, path = folder / "silent.mp4", folder / "tone.mp4"
    write_video(silent, [np.full((120, 160, 3), 60 + 10 * k, np.uint8) for k in range(FRAMES)], fps=12)
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    command = [
        require_ffmpeg().get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        silent,
        *tone,
        "-c:v",
        "copy",
        "-c:a",
        "aac",
        path,
    ]
    subprocess.run([str(part) for part in command], check=True)
    return path


def number_of(name):
    return int(name[-10:-4])


def test_frames_without_a_face_are_kept_and_counted(film, painter):
    source = KnownLids(lambda name: [lids_at(80, 60)] if number_of(name) not in (4, 5) else [])
    followed = follow(film, source, several=False)
    assert followed.count == FRAMES and sorted(set(range(FRAMES)) - set(followed.frames)) == [4, 5]
    fates = Fates()
    frames = list(painted_frames(film, followed, lambda which: painter.correct, 64, fates))
    assert (fates.pictures, fates.painted, fates.without_face) == (FRAMES, FRAMES - 2, 2)
    assert [int(frame[60, 50, 2]) > 200 for frame in frames] == [number not in (4, 5) for number in range(FRAMES)]
    assert np.ptp(frames[4]) <= 4 and "2 of 12 frames have no face" in fates.lines("frame")[0]


def test_steady_eyes_tremble_less_and_do_not_lag_behind(film):
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1.5, FRAMES)
    source = KnownLids(lambda name: [lids_at(60 + 2 * number_of(name) + noise[number_of(name)], 60)])
    off = {}
    for steady in (False, True):
        followed = follow(film, source, several=False, steady=steady)
        at = np.array([followed.frames[k][0][1].eyes.mean(0)[0] for k in range(FRAMES)])
        off[steady] = at - (60 + 2 * np.arange(FRAMES))
    assert off[True].std() < 0.7 * off[False].std() and abs(off[True].mean() - noise.mean()) < 0.3


def test_the_content_code_of_a_film_changes_slowly(painter):
    steady, boxes = SteadyCorrection(painter, keeps=0.75), torch.zeros(1, 2, 4)
    for value in (0.0, 1.0, 1.0):
        steady(torch.full((1, 3, 64, 64), value), boxes)
    assert painter.asked == pytest.approx([0.0, 0.25, 0.4375])


def sound_of(path):
    """Samples of the sound, as 16-bit numbers."""
    command = [require_ffmpeg().get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-vn", "-f", "s16le", "-ac", "1", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.int16)


def test_a_corrected_film_keeps_its_tone_its_pace_and_its_length(film, painter, tmp_path):
    correction = Correction(painter, KnownLids(lambda name: [lids_at(80, 60)]), False, 0.12, True)
    correction.film(film, tmp_path / "out.mp4")
    facts = film_facts(tmp_path / "out.mp4")
    assert facts.fps == 12 and facts.sound == film_facts(film).sound == "aac"
    tone = sound_of(tmp_path / "out.mp4")
    assert np.array_equal(tone, sound_of(film))
    spectrum = np.abs(np.fft.rfft(tone[:32768].astype(float)))
    assert np.argmax(spectrum) * 44100 / 32768 == pytest.approx(440, abs=3)
    assert correction.facts()["painted"] == FRAMES and not correction.notes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mp4"]


def test_a_film_without_sound_and_a_damaged_one(film, painter, tmp_path):
    correction = Correction(painter, KnownLids(lambda name: []), False, 0.12, True)
    correction.film(film.parent / "silent.mp4", tmp_path / "out.mp4")
    assert film_facts(tmp_path / "out.mp4").sound == "" and "12 of 12 frames have no face" in correction.notes()[0]
    (tmp_path / "torn.mp4").write_bytes(film.read_bytes()[:200])
    with pytest.raises(Unreadable, match=r"torn\.mp4"):
        correction.film(tmp_path / "torn.mp4", tmp_path / "no.mp4")
    assert not (tmp_path / "no.mp4").exists()


def test_each_face_of_a_film_has_its_own_painter(film):
    made = defaultdict(list)

    two = KnownLids(lambda name: [lids_at(40, 60, apart=30), lids_at(120, 60, apart=30)])
    followed = follow(film, two, several=True)
    assert followed.faces == 2

    def paint_of(which):
        def paint(x, boxes):
            made[which].append(1)
            return x

        return paint

    list(painted_frames(film, followed, paint_of, 64, Fates()))
    assert {which: len(calls) for which, calls in made.items()} == {0: FRAMES, 1: FRAMES}
