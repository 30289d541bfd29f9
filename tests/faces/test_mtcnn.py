import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from eg3d.faces.mtcnn import FILES, Mtcnn, apart, cut_out, moved, network_of, squared, summed, weights_of

packaged = pytest.mark.skipif(
    not all(file.is_there() for file in FILES.values()), reason="the package mtcnn is not installed"
)


@pytest.fixture(scope="module")
def detector():
    return Mtcnn()


@pytest.fixture(scope="module")
def astronaut():
    from skimage import data

    return Image.fromarray(data.astronaut())


# ------------------------------------------------------------------ the networks, against arrays multiplied by hand


def prelu(x, slope):
    return np.where(x > 0, x, x * slope.reshape(-1))


def convolved(x, weight, bias):
    """x [H, W, in], weight [h, w, in, out]."""
    h, w, _, outputs = weight.shape
    rows, columns = x.shape[0] - h + 1, x.shape[1] - w + 1
    result = np.zeros((rows, columns, outputs)) + bias
    for i in range(h):
        for k in range(w):
            result += x[i : i + rows, k : k + columns] @ weight[i, k]
    return result


def pooled(x, side):
    """Largest of each side x side window, 2 px apart; the last ones may be cut off."""

    def count(n):
        return -(-(n - side) // 2) + 1

    return np.array([[x[2 * i : 2 * i + side, 2 * k : 2 * k + side].max(axis=(0, 1)) for k in range(count(x.shape[1]))]
                     for i in range(count(x.shape[0]))])  # fmt: skip


def by_hand(picture, arrays, pools):
    """Convolutions with PReLU, each followed by its pool (0: none); the rest of the arrays."""
    x = picture.astype(np.float64)
    arrays = list(arrays)
    for pool in pools:
        x = prelu(convolved(x, arrays[0], arrays[1]), arrays[2])
        x = pooled(x, pool) if pool else x
        arrays = arrays[3:]
    return x, arrays


def face(two):
    return (np.exp(two) / np.exp(two).sum(axis=-1, keepdims=True))[..., 1]


def picture_of(side, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (side, side, 3))


def said(name, picture):
    network = network_of(name, weights_of(name))
    return [t[0].numpy() for t in network(torch.from_numpy(picture).float().permute(2, 0, 1)[None])]


@packaged
def test_the_first_network_computes_what_its_arrays_say():
    picture = picture_of(21, 0)
    features, rest = by_hand(picture, weights_of("P"), (2, 0, 0))
    shift, faces = convolved(features, *rest[:2]), face(convolved(features, *rest[2:]))
    ours = said("P", picture)
    assert ours[0].shape == (4, 6, 6) and np.abs(ours[0].transpose(1, 2, 0) - shift).max() < 1e-5
    assert np.abs(ours[1] - faces).max() < 1e-5


@packaged
@pytest.mark.parametrize("name, side, pools", [("R", 24, (3, 3, 0)), ("O", 48, (3, 3, 2, 0))])
def test_the_other_networks_compute_what_their_arrays_say(name, side, pools):
    picture = picture_of(side, 1)
    features, rest = by_hand(picture, weights_of(name), pools)
    features = prelu(features.transpose(1, 0, 2).reshape(-1) @ rest[0] + rest[1], rest[2])
    heads = [features @ rest[i] + rest[i + 1] for i in range(3, len(rest), 2)]
    for ours, theirs in zip(said(name, picture), [*heads[:-1], face(heads[-1])], strict=True):
        assert np.abs(ours - theirs).max() < 1e-5


def test_weights_of_another_file_are_not_opened(monkeypatch, tmp_path):
    (tmp_path / "mtcnn" / "assets" / "weights").mkdir(parents=True)
    (tmp_path / "mtcnn" / "assets" / "weights" / "pnet.lz4").write_bytes(b"not these")
    monkeypatch.setattr("eg3d.faces.packaged.package_folder", lambda module: tmp_path / module)
    with pytest.raises(ValueError, match=r"pnet.lz4: is not the file .*make photos"):
        weights_of("P")
    monkeypatch.setattr("eg3d.faces.packaged.package_folder", lambda module: None)
    with pytest.raises(ValueError, match=r"mtcnn/assets/weights/pnet.lz4 is not installed; make photos, or: pip"):
        weights_of("P")


# ------------------------------------------------------------------ boxes


def test_boxes_move_and_become_squares():
    boxes = torch.tensor([[10.0, 20, 20, 40]])
    assert moved(boxes, torch.tensor([[0.1, -0.1, 0.5, 0.25]])).tolist() == [[11, 18, 25, 45]]
    assert squared(boxes).tolist() == [[5, 20, 25, 40]]


def test_of_boxes_in_each_other_the_surest_is_left():
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 2, 8, 8], [5, 0, 15, 10], [30, 30, 40, 40]])
    assert apart(boxes, torch.tensor([0.8, 0.9, 0.7, 0.95])).tolist() == [3, 1, 2]
    assert apart(boxes[:0], torch.zeros(0)).tolist() == []


@pytest.mark.parametrize("box", [(3, 5, 40, 31), (0, 0, 24, 24), (10, 8, 15, 60)])
def test_boxes_are_shrunk_as_torch_averages_areas(box):
    pixels = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (3, 64, 48), dtype=np.uint8))
    x0, y0, x1, y1 = box
    part = (pixels[:, y0:y1, x0:x1].float()[None] - 127.5) / 128
    for size in ((24, 24), (12, 17)):
        expected = F.interpolate(part, size, mode="area")
        assert torch.allclose(cut_out(summed(pixels), torch.tensor([box]).float(), size), expected, atol=1e-5)


def test_outside_the_photo_is_black():
    white = torch.full((3, 20, 20), 255, dtype=torch.uint8)
    part = cut_out(summed(white), torch.tensor([[-12.0, 0, 12, 24]]), (24, 24))[0, 0]
    assert (part[:20, 12:] > 0.99).all() and (part[:, :12] < -0.99).all() and (part[20:] < -0.99).all()


# ------------------------------------------------------------------ photos


@packaged
def test_the_astronaut_has_one_face_and_five_points_where_they_are(detector, astronaut):
    faces = detector(astronaut)
    assert len(faces.scores) == 1 and faces.scores[0] > 0.99
    seen = [(203.5, 101), (247, 103.5), (223, 128), (203, 139.5), (245, 141)]  # read off the enlarged photo
    assert np.abs(faces.points[0] - seen).max() < 3
    left, top, right, bottom = faces.boxes[0]
    assert 160 < left < 195 and 255 < right < 290 and 40 < top < 80 and 165 < bottom < 195


@packaged
def test_faces_do_not_depend_on_the_size_of_the_photo_and_mirror_with_it(detector, astronaut):
    once = detector(astronaut)
    large = detector(astronaut.resize((1536, 1536), Image.Resampling.BICUBIC))  # which is shrunk to 1000 px
    assert len(large.scores) == 1 and np.abs(large.points[0] / 3 - once.points[0]).max() < 2.5
    mirrored = detector(astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    back = (np.array([512, 0]) - mirrored.points[0] * [1, -1])[[1, 0, 2, 4, 3]]
    assert len(mirrored.scores) == 1 and np.abs(back - once.points[0]).max() < 2.5


@packaged
def test_all_faces_of_a_photo_are_found_the_surest_first(detector, astronaut):
    photo = Image.new("RGB", (700, 400), "grey")
    head = astronaut.crop((120, 0, 330, 210))
    photo.paste(head, (20, 90))
    photo.paste(head.resize((294, 294)), (380, 50))
    faces = detector(photo)
    assert len(faces.scores) == 2 and (np.diff(faces.scores) <= 0).all()
    centres = sorted(faces.points.mean(axis=1).tolist())
    assert np.abs(np.array(centres) - [[129, 218], [532, 230]]).max() < 12


@packaged
def test_a_face_that_is_seen_only_in_the_mirror_is_found_where_it_is(detector, astronaut, monkeypatch):
    once, found, seen = detector(astronaut), detector._found, []

    def only_mirrored(pixels):
        seen.append(pixels)
        return found(pixels) if len(seen) == 2 else found(torch.zeros_like(pixels))

    monkeypatch.setattr(detector, "_found", only_mirrored)
    faces = detector(astronaut)
    assert torch.equal(seen[1], seen[0].flip(2))
    assert np.abs(faces.points - once.points).max() < 2.5 and np.abs(faces.boxes - once.boxes).max() < 12
    assert faces.boxes[0, 0] < faces.boxes[0, 2]


@pytest.mark.slow
@packaged
def test_fifty_pictures_without_faces_have_none(detector):
    from skimage import data

    names = ("brick", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "moon", "page", "rocket", "text")
    wholes = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in names]
    rng, tried = np.random.default_rng(0), 0
    while tried < 50:
        whole = wholes[tried % len(wholes)]
        side = int(rng.integers(min(whole.size) // 2, min(whole.size) + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
        part = whole.crop((left, top, left + side, top + side)).resize((512, 512), Image.Resampling.BICUBIC)
        faces = detector(part)
        assert not len(faces.scores), f"{names[tried % len(names)]} {left} {top} {side}: {faces.scores}"
        tried += 1


@packaged
@pytest.mark.parametrize("size", [(10, 10), (1, 300), (39, 39), (200, 100)])
def test_no_face_is_no_error(detector, size):
    faces = detector(Image.new("RGB", size, (90, 120, 200)))
    assert faces.boxes.shape == (0, 4) and faces.scores.shape == (0,) and faces.points.shape == (0, 5, 2)
