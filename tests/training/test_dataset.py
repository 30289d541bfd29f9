import json
import shutil
import zipfile

import pytest
import torch
from PIL import Image
from tiny_run import SIDE, write_images

from eg3d.cameras import mirror_label
from eg3d.training.dataset import EpochOrder, ImageDataset


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "faces")


def test_a_folder_and_its_zip_give_the_same_images_and_labels(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    indices = torch.tensor([3, 0, 7])
    for a, b in zip(
        ImageDataset(folder).batch(indices), ImageDataset(tmp_path / "faces.zip").batch(indices), strict=True
    ):
        assert torch.equal(a, b)


def test_pixels_are_those_of_the_file(folder):
    images, _ = ImageDataset(folder).batch(torch.tensor([5]))
    with Image.open(folder / "img5.png") as file:
        assert tuple(images[0, :, 3, 8].tolist()) == file.getpixel((8, 3))
    assert images.dtype == torch.uint8 and images.shape == (1, 3, SIDE, SIDE)


def test_reading_from_disk_equals_reading_from_memory(folder, monkeypatch):
    expected = ImageDataset(folder).batch(torch.arange(8))[0]
    monkeypatch.setattr("eg3d.training.dataset.RAM_BYTES", 0)
    assert torch.equal(ImageDataset(folder).batch(torch.arange(8))[0], expected)


def test_mirroring_flips_the_camera_with_the_image(folder):
    dataset = ImageDataset(folder, mirror=True)
    images, labels = dataset.batch(torch.tensor([2, 10]))
    assert len(dataset) == 16
    assert torch.equal(images[1], images[0].flip(2))
    assert torch.equal(labels[1:], mirror_label(labels[:1]))


def test_every_epoch_shows_each_image_once_in_an_order_that_depends_on_seed_and_position_only():
    order = EpochOrder(10, seed=3)
    first = order.indices(0, 10)
    assert sorted(first.tolist()) == list(range(10))
    assert sorted(order.indices(10, 10).tolist()) == list(range(10))
    assert torch.equal(EpochOrder(10, seed=3).indices(7, 6), torch.cat([order.indices(7, 3), order.indices(10, 3)]))
    assert not torch.equal(EpochOrder(10, seed=4).indices(0, 10), first)


def test_the_digest_notices_another_label(folder):
    before = ImageDataset(folder).digest
    assert ImageDataset(folder).digest == before
    content = json.loads((folder / "dataset.json").read_text())
    content["labels"][0][1][3] += 0.1
    (folder / "dataset.json").write_text(json.dumps(content))
    assert ImageDataset(folder).digest != before


def change_labels(folder, change):
    content = json.loads((folder / "dataset.json").read_text())
    change(content["labels"])
    (folder / "dataset.json").write_text(json.dumps(content))


def not_a_rotation(labels):
    labels[3][1][0] = 3.0


BAD = {
    "missing": (lambda f: shutil.rmtree(f), "no such file"),
    "no images": (lambda f: [p.unlink() for p in f.glob("*.png")], "holds no images"),
    "no dataset.json": (lambda f: (f / "dataset.json").unlink(), "dataset.json is missing"),
    "broken dataset.json": (lambda f: (f / "dataset.json").write_text("{"), "dataset.json is not"),
    "missing label": (lambda f: change_labels(f, lambda labels: labels.pop(2)), "no label for img2.png"),
    "24 numbers": (lambda f: change_labels(f, lambda labels: labels[1][1].pop()), "img1.png is 24 numbers"),
    "not a rotation": (lambda f: change_labels(f, not_a_rotation), "row 3 is not a rotation"),
    "not a number": (lambda f: change_labels(f, lambda labels: labels[1][1].__setitem__(0, "x")), "not a number"),
    "another size": (lambda f: Image.new("RGB", (8, 8)).save(f / "img4.png"), "img4.png is 8x8"),
    "not square": (lambda f: Image.new("RGB", (8, 9)).save(f / "img0.png"), "img0.png is 8x9"),
    "alpha": (lambda f: Image.new("RGBA", (SIDE, SIDE)).save(f / "img6.png"), "img6.png has mode RGBA"),
    "empty image": (lambda f: (f / "img7.png").write_bytes(b""), "img7.png cannot be read"),
    "cut image": (lambda f: (f / "img7.png").write_bytes((f / "img7.png").read_bytes()[:60]), "img7.png is damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_line_that_names_the_file(folder, name):
    spoil, expected = BAD[name]
    spoil(folder)
    with pytest.raises(ValueError, match="faces") as error:
        ImageDataset(folder).batch(torch.arange(8))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_an_empty_or_cut_zip_is_one_line(tmp_path):
    for content in (b"", b"PK\x03\x04 cut"):
        (tmp_path / "faces.zip").write_bytes(content)
        with pytest.raises(ValueError, match=r"faces\.zip.*copy"):
            ImageDataset(tmp_path / "faces.zip")
