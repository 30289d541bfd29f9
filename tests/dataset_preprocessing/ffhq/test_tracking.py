import numpy as np
import pytest
from PIL import Image

from dataset_preprocessing.ffhq.tracking import follow, frames, is_film, overlap
from eg3d.faces.mtcnn import Faces
from eg3d.pictures.video import write_video
from groundwork.archive import Unreadable

POINTS = np.array([(-10.0, -5), (10, -5), (0, 3), (-7, 12), (7, 12)])


def faces(*centres, size=60.0):
    boxes = np.array([[x - size / 2, y - size / 2, x + size / 2, y + size / 2] for x, y in centres]).reshape(-1, 4)
    points = np.array([POINTS + centre for centre in centres]).reshape(-1, 5, 2)
    return Faces(boxes, np.full(len(centres), 0.99), points)


def test_two_faces_keep_their_tracks_in_whatever_order_they_are_found():
    found = {i: faces((100 + 4 * i, 80), (400 - 4 * i, 90)) if i % 2 else faces((400 - 4 * i, 90), (100 + 4 * i, 80))
             for i in range(20)}  # fmt: skip
    tracks = follow(found)
    assert [len(track.numbers) for track in tracks] == [20, 20]
    for track in tracks:
        steps = np.diff(np.array(track.points)[:, 2, 0])
        assert (steps == steps[0]).all() and abs(steps[0]) == 4


def test_a_face_that_is_missed_for_a_moment_stays_one_and_a_cut_makes_a_new_one():
    found = {i: faces((100, 80)) for i in range(30) if not 10 <= i < 18}
    assert len(follow(found)) == 1
    found |= {i: faces((300, 200)) for i in range(30, 40)}
    assert [track.numbers[0] for track in follow(found)] == [0, 30]  # the longer one first
    assert len(follow({0: faces((100, 80)), 25: faces((100, 80))})) == 2
    (track,) = follow({0: faces((100, 80)), 25: faces((100, 80))}, every=5)
    assert track.numbers == [0, 25]


def test_the_larger_face_comes_first():
    found = {i: Faces(*map(np.concatenate, zip(faces((100, 80)), faces((300, 80), size=90), strict=True)))
             for i in range(5)}  # fmt: skip
    assert follow(found)[0].boxes[0].tolist() == [255, 35, 345, 125]


def test_points_tremble_less_and_move_as_before():
    rng = np.random.default_rng(0)
    found = {i: faces((100 + 2.0 * i + rng.normal(0, 2), 80 + rng.normal(0, 2))) for i in range(60)}
    (track,) = follow(found)
    truth = np.array([POINTS + (100 + 2.0 * i, 80) for i in range(60)])
    raw, steady = np.array(track.points) - truth, track.steady_points() - truth
    assert steady[5:-5].std() < 0.5 * raw[5:-5].std()
    assert np.abs(np.diff(steady[5:-5], axis=0)).mean() < 0.25 * np.abs(np.diff(raw[5:-5], axis=0)).mean()


def test_a_face_that_moves_steadily_is_where_it_is_in_the_first_and_last_frame_too():
    numbers = [0, 2, 4, 10, 12, 14, 16]
    (track,) = follow({i: faces((100 + 3.0 * i, 80 - 1.0 * i)) for i in numbers}, every=2)
    assert np.abs(track.steady_points() - [POINTS + (100 + 3.0 * i, 80 - 1.0 * i) for i in numbers]).max() < 1e-9


def test_a_track_of_one_frame_is_as_it_is():
    (track,) = follow({7: faces((50, 60))})
    assert np.allclose(track.steady_points(), POINTS[None] + (50, 60))


def test_overlap_by_hand():
    a, b = np.array([0.0, 0, 10, 10]), np.array([5.0, 0, 15, 10])
    assert overlap(a, b) == pytest.approx(50 / 150) and overlap(a, a) == 1 and overlap(a, a + 20) == 0
    assert overlap(a * 0, a * 0) == 0


def test_frames_of_a_film_are_read_in_order(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    levels = [40, 90, 140, 190, 240]
    write_video(tmp_path / "a.mp4", (np.full((48, 64, 3), level, dtype=np.uint8) for level in levels), fps=25)
    got = list(frames(tmp_path / "a.mp4"))
    assert [number for number, _ in got] == [0, 1, 2, 3, 4]
    assert all(isinstance(frame, Image.Image) and frame.size == (64, 48) for _, frame in got)
    assert np.abs([np.asarray(frame).mean() for _, frame in got] - np.array(levels)).max() < 6
    assert [number for number, _ in frames(tmp_path / "a.mp4", every=2)] == [0, 2, 4]


@pytest.mark.parametrize("content", [b"", b"no film", b"\0\0\0\x20ftypisom" + bytes(400)])
def test_a_damaged_film_is_unreadable_in_one_line(tmp_path, content):
    pytest.importorskip("imageio_ffmpeg")
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(Unreadable, match=r"bad\.mp4 cannot be read as a film") as error:
        list(frames(tmp_path / "bad.mp4"))
    assert "\n" not in str(error.value)


def test_films_are_known_by_their_endings():
    assert is_film("a/B.MP4") and is_film("x.mov") and not is_film("mp4") and not is_film("a.png")
