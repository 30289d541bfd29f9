"""Reconstructed faces in files: the published format to the letter, and one line for what is damaged or foreign."""

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_preprocessing.nv_rendering import mesh_files
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction, read_reconstruction, write_reconstruction

DATA = Path(__file__).parents[2] / "data"
FACTS = json.loads((DATA / "nv_rendering.json").read_text())


@pytest.fixture(scope="module")
def golden() -> Reconstruction:
    """Every 17th vertex of the published program's mesh; its triangles are (1 2 3), (4 5 6) and so on, turned over."""
    with np.load(DATA / "nv_rendering.npz") as file:
        places = file["ddfa_vertices_crop_every_17"].T.astype(np.float64) * (1, 1, -1)
        return Reconstruction(
            vertices=places,
            colours=file["vertex_colours_every_17"][:, ::-1],  # stored as BGR
            faces=np.arange(27, dtype=np.int32).reshape(-1, 3)[:, ::-1],
            landmarks=file["ddfa_landmarks_crop"].T.astype(np.float64) * (1, 1, -1),
            crop=file["crop_params"],
        )


@pytest.fixture
def stem(tmp_path, golden) -> Path:
    write_reconstruction(tmp_path / "p00/day01/0005", golden)
    return tmp_path / "p00/day01/0005"


def test_the_files_hold_the_published_lines(stem, golden):
    lines = Path(f"{stem}.obj").read_text().splitlines()
    first, faces = FACTS["obj_lines"][0], FACTS["obj_lines"][3:]
    assert lines[0] == first and lines[28:31] == faces and len(lines) == 28 + 9
    rows = Path(f"{stem}_crop_params.txt").read_text().splitlines()
    assert rows == ["0.5142 0.0000 -188.4554", "0.0000 0.5142 -107.0801", "0.0000 0.0000 1.0000"]
    landmarks = Path(f"{stem}_lm.txt").read_text().splitlines()
    assert len(landmarks) == 68 and landmarks[0] == "45.119 72.127 -5.979"


def test_what_was_written_is_read_again(stem, golden):
    found = read_reconstruction(stem)
    assert (found.colours == golden.colours).all() and found.colours.dtype == np.uint8
    assert (found.faces == golden.faces).all() and found.faces.dtype == np.int32
    for name, step in (("vertices", 1e-4), ("landmarks", 1e-3), ("crop", 1e-4)):
        assert np.abs(getattr(found, name) - getattr(golden, name)).max() <= step / 2 + 1e-9, name


def test_the_mesh_appears_last_and_only_whole(stem, golden, monkeypatch):
    other, write = stem.parent / "0006", mesh_files.atomic_write

    def stops_at_the_mesh(path, data):
        if path.suffix == ".obj":
            raise KeyboardInterrupt
        write(path, data)

    assert mesh_files.is_written(stem)
    monkeypatch.setattr(mesh_files, "atomic_write", stops_at_the_mesh)
    with pytest.raises(KeyboardInterrupt):
        write_reconstruction(other, golden)
    assert not mesh_files.is_written(other)
    assert sorted(path.name for path in stem.parent.glob("0006*")) == ["0006_crop_params.txt", "0006_lm.txt"]


def test_files_of_other_programs_are_read(stem):
    obj = Path(f"{stem}.obj")
    obj.write_text("# made by hand\nmtllib a.mtl\no face\nv 0 0 0 0.5 0 1\nv 1 0 0 1 1 1\nv 0 1 0 0 0.2 0\n"
                   "vn 0 0 1\nusemtl skin\nf 1/1/1 2/2/1 3//1\n")  # fmt: skip
    found = read_reconstruction(stem)
    assert found.colours.tolist() == [[128, 0, 255], [255, 255, 255], [0, 51, 0]] and found.faces.tolist() == [
        [0, 1, 2]
    ]
    obj.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert mesh_files.read_obj(obj)[1] is None
    with pytest.raises(ValueError, match="no colours"):
        read_reconstruction(stem)


@pytest.mark.parametrize(
    ("ending", "text", "message"),
    [
        (".obj", "", "no vertices"),
        (".obj", "ply\nformat ascii 1.0\n", "is no OBJ file"),
        (".obj", "v 0 0 0 1 2 3\n\0\0\0", "is no text file"),
        (".obj", "v 0 0 0 1 2 3\nv\nf 1 1 1\n", "longer or shorter"),
        (".obj", "v 0 0 0 1 2 3\nv 0 0\nf 1 1 1\n", "longer or shorter"),
        (".obj", "v 0 0 0 1 2 3\nv 0 0 x 1 2 3\nf 1 1 1\n", "is no numbers"),
        (".obj", f"v 0 0 0 1 2 3\nv 0 0 {'1' * 99} 1 2 3\nf 1 1 1\n", "beyond 1e"),
        (".obj", "v 0 0 nan 1 2 3\nf 1 1 1\n", "not finite"),
        (".obj", "v 0 0 0 1 2 300\nf 1 1 1\n", "outside 0 to 255"),
        (".obj", "v 0 0 0 1 2 3\nf 1 1 2\n", "a vertex that is none of its 1"),
        (".obj", "v 0 0 0 1 2 3\nf 1 1 0\n", "a vertex that is none of its 1"),
        (".obj", "v 0 0 0 1 2 3\nf 1 1 1 1\n", "no triangles"),
        ("_lm.txt", "1 2 3\n" * 67, "has 67 landmarks, and 68 are needed"),
        ("_lm.txt", "", "has 0 landmarks"),
        ("_lm.txt", "1 2\n" * 68, "no landmarks"),
        ("_crop_params.txt", "1 0 0\n0 0 0\n0 0 1\n", "no matrix from photo to crop"),
        ("_crop_params.txt", "1 0 0\n0 1 0\n", "no matrix from photo to crop"),
        ("_crop_params.txt", "1 0 0\n0 1 0\n0 1 1\n", "no matrix from photo to crop"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(stem, ending, text, message):
    Path(f"{stem}{ending}").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_reconstruction(stem)
    assert f"0005{ending}" in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_too_many_lines_is_refused_before_it_fills_the_memory(stem, monkeypatch):
    monkeypatch.setattr(mesh_files, "MOST_LINES", 20)
    with pytest.raises(ValueError, match="more than 20 lines"):
        read_reconstruction(stem)


@pytest.mark.parametrize("odd", [
    "", "0.5 1.2500 -0.0000", "-123.4567 999999 0.1", ".5 5. -.5", "1.2.3 4 5", "--1 2 3", "- 2 3", ". 2 3", "1-2 3 4",
    "1 -2", "1e3 2 3", "1  2 3", "1 2 3 ", "1 2 3 4", "nan 2 3", "1234567890.1234567 2 3", "9000000.5 2 3", "1 2 3\r",
    "1 2 3\nf 1 2 3", "1 2 3\n\nv 1 2 3", "1 2 3\nv", "1 2 3\n# v", "v 1 2", "1 2 3\nvn 1 2 3", "1 2\n3 4 5 6",
])  # fmt: skip
def test_the_quick_way_to_read_a_mesh_gives_what_the_long_one_gives(tmp_path, monkeypatch, odd):
    path = tmp_path / "x.obj"
    path.write_text(f"v 1.5 2.25 -3\nv 1 2 3\n{f'v {odd}' if odd else 'v 7 8 9'}\nf 1 2 3\n", newline="")

    def read():
        try:
            vertices, colours, faces = mesh_files.read_obj(path)
        except ValueError as error:
            return str(error)
        return vertices.tobytes(), vertices.shape, colours, faces.tobytes()

    quick = read()
    monkeypatch.setattr(mesh_files, "_plain_obj", lambda data: None)
    assert read() == quick


def test_a_mesh_of_ours_is_read_the_quick_way_and_every_number_is_as_python_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.uniform(-999, 999, (500, 3)).round(4)
    mesh = Reconstruction(
        numbers, rng.integers(0, 256, (500, 3)), np.array([[0, 1, 2], [5, 499, 3]]), numbers, np.eye(3)
    )
    data = mesh_files._obj_lines(mesh)
    found, faces = mesh_files._plain_obj(data)
    words = [line.split()[1:] for line in data.decode().splitlines()]
    assert found.tolist() == [[float(word) for word in row] for row in words[:500]]
    assert faces.tolist() == [[1, 2, 3], [6, 500, 4]]
