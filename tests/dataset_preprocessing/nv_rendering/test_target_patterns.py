"""Patterns of targets: what they draw, and files that hold no angles in rad."""

import numpy as np
import pytest

from dataset_preprocessing.nv_rendering.target_patterns import (
    GAZE,
    HEAD,
    Gaussian,
    PoseList,
    Rows,
    Uniform,
    checked_angles,
    generator,
    grid,
    read_angles,
)


def drawn(pattern, count=4000):
    rng = generator(0, "p00", 0, 0)
    return np.array([pattern.draw(rng, 0) for _ in range(count)])


def test_a_gaussian_has_the_sigma_of_its_degrees():
    targets = np.degrees(drawn(Gaussian(20.0)))
    np.testing.assert_allclose(targets.std(axis=0), (20, 20), rtol=0.05)
    np.testing.assert_allclose(targets.mean(axis=0), (0, 0), atol=1.5)
    assert abs(np.corrcoef(targets.T)[0, 1]) < 0.05


def test_a_range_is_filled_and_pitch_comes_first():
    targets = np.degrees(drawn(Uniform((-10, 20), (-60, 5))))
    np.testing.assert_allclose(targets.min(axis=0), (-10, -60), atol=1)
    np.testing.assert_allclose(targets.max(axis=0), (20, 5), atol=1)


def test_rows_are_drawn_evenly_and_lists_and_grids_in_order():
    table = np.arange(10.0).reshape(5, 2) / 10
    counts = np.unique(drawn(Rows(table)), axis=0, return_counts=True)[1]
    assert len(counts) == 5 and counts.min() > 650
    rng = generator(0, "p00", 0, 0)
    np.testing.assert_array_equal([PoseList(table).draw(rng, view) for view in range(5)], table)
    both = grid([-10, 10], [0, 30, 60], of=GAZE)
    assert both.count == 6 and both.of == GAZE and Rows(table).of == HEAD
    np.testing.assert_allclose(np.degrees(both.draw(rng, 4)), (10, 30))


def test_generators_of_two_views_never_meet():
    first = {generator(0, "p00", row, view).integers(2**62) for row in range(60) for view in range(60)}
    assert len(first) == 3600


def test_angles_are_read_from_text_and_arrays(tmp_path):
    table = np.random.RandomState(0).uniform(-1, 1, (6, 4, 2))
    np.save(tmp_path / "a.npy", table)
    np.testing.assert_array_equal(read_angles(tmp_path / "a.npy"), table.reshape(-1, 2))
    (tmp_path / "a.txt").write_text("# pitch yaw\n0.5 -0.25\n\n1e-1,2.4\n")
    np.testing.assert_array_equal(read_angles(tmp_path / "a.txt"), [[0.5, -0.25], [0.1, 2.4]])


@pytest.mark.parametrize(
    "value, says",
    [
        (np.full((3, 2), 20.0), "are they degrees"),
        (np.zeros((3, 3)), "two numbers a row"),
        (np.zeros(2), "two numbers a row"),
        (np.zeros((0, 2)), "two numbers a row"),
        (np.array([["a", "b"]]), "no .npy of numbers"),
        (np.array([[0, 0], [np.nan, 0]]), "row 1 holds"),
        (np.array([[{}, 1]]), "no .npy of numbers"),
        (b"\x93NUMPY\x01\x00", "no .npy of numbers"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 2), }\n", "no .npy"),
        (b"\x93NUMPY\x01\x00\x03\x00((\n", "no .npy of numbers"),  # NumPy's reader leaves this one to the tokenizer
        (b"0.1 0.2\n0.3\n", "line 2 must be pitch and yaw"),
        (b"0.1 0.2 0.3\n", "line 1 must be pitch and yaw"),
        (b"\xff\xfe\x00", "line 1 must be pitch and yaw"),
        (b"12.5 30\n", "are they degrees"),
        (b"", "two numbers a row"),
    ],
)
def test_a_file_that_holds_no_angles_is_one_line(tmp_path, value, says):
    path = tmp_path / "targets"
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        with open(path, "wb") as file:
            np.save(file, value, allow_pickle=True)
    with pytest.raises(ValueError, match=says) as error:
        read_angles(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_settings_that_cannot_be_are_one_line():
    for make, says in [
        (lambda: Gaussian(0), "sigma"),
        (lambda: Gaussian(float("nan")), "sigma"),
        (lambda: Uniform((10, -10), (0, 1)), "range of pitch"),
        (lambda: Uniform((0, 1), (-200, 0)), "range of yaw"),
        (lambda: grid([0], []), "two numbers a row"),
        (lambda: checked_angles(np.zeros((2, 3)), "x"), "^x: holds"),
    ]:
        with pytest.raises(ValueError, match=says):
            make()
