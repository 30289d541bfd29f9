import pytest
import torch
from PIL import Image

from l2cs.augmented_crops import Augmentation, augment
from l2cs.gaze_sets import FaceImages, read_image, read_labels, read_mpii, to_float

GAZE360 = "Face Left Right Origin 3DGaze 2DGaze\n"
MPII = "Face Left Right Origin WhichEye 3DGaze 3DHead 2DGaze 2DHead Rmat Smat GazeOrigin\n"


def test_gaze360_rows_give_path_yaw_and_pitch_and_the_limit_drops_rows(tmp_path):
    label = tmp_path / "train.label"
    label.write_text(GAZE360 + "a/1.jpg l r n 0,0,-1 0.5,-0.25\na\\2.jpg l r n 0,0,-1 1.7,0\n")
    near, every = read_labels(label, tmp_path / "Image", 90), read_labels(label, tmp_path / "Image", 180)
    assert near.paths == [tmp_path / "Image/a/1.jpg"]
    assert torch.equal(near.angles, torch.tensor([[0.5, -0.25]]))
    assert every.paths[1] == tmp_path / "Image/a/2.jpg" and len(every) == 2


def test_mpii_leaves_one_person_out_and_reads_the_2d_gaze_column(tmp_path):
    for k in range(3):
        row = f"p{k:02d}/1.jpg l r n left 9,9,9 8,8,8 0.{k + 1},-0.{k + 1} 0.7,0.7 1 1 0\n"
        far = f"p{k:02d}/2.jpg l r n left 9,9,9 8,8,8 0.9,0 0.7,0.7 1 1 0\n"  # beyond 42 degrees
        (tmp_path / f"p{k:02d}.label").write_text(MPII + row + far)
    rest, person = (read_mpii(tmp_path, tmp_path, 1, held_out=flag) for flag in (False, True))
    assert torch.allclose(person.angles, torch.tensor([[0.2, -0.2]]))
    assert torch.allclose(rest.angles[:, 0], torch.tensor([0.1, 0.3]))
    with pytest.raises(ValueError, match="--fold=3: .* has 3 people"):
        read_mpii(tmp_path, tmp_path, 3, held_out=True)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "first line must name the columns"),
        ("a b c\n", "first line must name the columns"),
        (GAZE360 + "a l r n 0,0,-1\n", "line 2 has no 'yaw,pitch'"),
        (GAZE360 + "a l r n 0,0,-1 0.1\n", "line 2 has no 'yaw,pitch'"),
        (GAZE360 + "a l r n 0,0,-1 nan,0\n", "line 2 has no 'yaw,pitch'"),
        (GAZE360, "no row lies within"),
    ],
)
def test_bad_label_files_name_file_and_line(text, message, tmp_path):
    (tmp_path / "x.label").write_text(text)
    with pytest.raises(ValueError, match=f"x.label: .*{message}"):
        read_labels(tmp_path / "x.label", tmp_path, 90)


def test_images_come_from_memory_and_from_disk_alike(disc_set):
    paths = sorted((disc_set / "Image").glob("test*"))[:5]
    memory, disk = FaceImages(paths, 64, progress=False), FaceImages(paths, 64, memory_limit=0, progress=False)
    index = torch.tensor([3, 0])
    assert memory.size == 32 and torch.equal(memory[index], disk[index])


def test_oblong_images_are_cut_to_their_middle_square_and_junk_is_named(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "oblong.png")
    assert read_image(tmp_path / "oblong.png", 16).shape == (16, 16, 3)
    (tmp_path / "junk.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match="junk.png: cannot be read as an image"):
        read_image(tmp_path / "junk.png")


def test_bytes_survive_the_round_trip_to_float():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal((to_float(every) * 127.5 + 128).round().to(torch.uint8), every)


def test_mirroring_turns_yaw_and_nothing_else():
    plain = Augmentation(True, shift_px=0, zoom=0, blur_sigma_px=0, noise=0, brightness=0, contrast=0, tint=0)
    images = torch.rand(16, 3, 8, 8) * 2 - 1
    angles = torch.rand(16, 2) + 0.1
    changed, new = augment(images, angles, plain, torch.Generator().manual_seed(0))
    flipped = new[:, 0] < 0
    assert 0 < flipped.sum() < 16
    assert torch.allclose(new.abs(), angles)
    assert torch.allclose(changed[flipped], images[flipped].flip(3), atol=1e-5)
    assert torch.allclose(changed[~flipped], images[~flipped], atol=1e-5)


def test_blur_keeps_the_mean_and_is_different_for_every_image():
    soft = Augmentation(False, shift_px=0, zoom=0, blur_sigma_px=1.2, noise=0, brightness=0, contrast=0, tint=0)
    images = torch.zeros(6, 3, 17, 17)
    images[:, :, 8, 8] = 1
    changed, _ = augment(images, torch.zeros(6, 2), soft, torch.Generator().manual_seed(0))
    assert torch.allclose(changed.sum(dim=(2, 3)), torch.ones(6, 3), atol=1e-4)
    assert len({round(v, 5) for v in changed[:, 0, 8, 8].tolist()}) == 6


def test_a_binary_label_file_is_named(tmp_path):
    (tmp_path / "bad.label").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"bad\.label: is not a text file"):
        read_labels(tmp_path / "bad.label", tmp_path, 90)
