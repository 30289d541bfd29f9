"""Sets of HDF5 files: who is in them, and their pictures by index."""

import numpy as np
import pytest
import torch

from l2cs.gaze_sets import to_float
from l2cs.swapped_backgrounds import backgrounds_of, swap_backgrounds
from l2cs.view_sets import ViewImages, joined, read_views, without


def test_labels_are_yaw_then_pitch_and_pictures_rgb(tmp_path, write_disc_views):
    gaze = write_disc_views(tmp_path / "p00.h5", 5, seed=0)
    views = read_views([tmp_path])["p00"]
    assert np.allclose(views.angles, gaze) and views.heads.shape == (5, 2)
    images = views.images(64)[torch.arange(5)]
    assert images.shape == (5, 3, 32, 32) and (images[:, 0] == 255).all() and (images[:, 2] < 255).all()
    assert int(images[0, 1].float().argmin()) % 32 < 16 or gaze[0, 0] < 0  # + yaw: the disc is left of the middle


def test_pictures_come_from_memory_and_from_the_files_alike_in_the_order_asked_for(disc_views):
    persons = read_views([disc_views])
    parts, index = joined(list(persons.values())).parts, torch.tensor([339, 0, 200, 159, 160, 1])
    memory, files = (ViewImages(parts, 16, True, limit, progress=False) for limit in (1 << 20, 0))
    (images, masks), from_files = memory.with_masks(index), files.with_masks(index)
    assert torch.equal(images, from_files[0]) and torch.equal(masks, from_files[1])
    assert images.shape == (6, 3, 16, 16) and masks.shape == (6, 1, 16, 16)
    first, last = (persons[name].images(16)[torch.tensor([row])] for name, row in (("p00", 0), ("p02", 39)))
    assert torch.equal(images[:2], torch.cat([last, first])) and torch.equal(files[index], images)
    files.close()


def test_leaving_a_person_out_leaves_out_all_of_his_files(tmp_path, write_disc_views):
    for folder in ("sources", "novel"):
        for person in ("p00", "p01"):
            write_disc_views(tmp_path / folder / f"{person}.h5", 4 + (folder == "novel"), seed=1)
    persons = read_views([tmp_path / "sources", tmp_path / "novel"])
    assert list(persons) == ["p00", "p01"] and len(persons["p00"]) == 9
    rest, person = without(persons, 1)
    assert {part.path.stem for part in rest.parts} == {"p00"} and {part.path.stem for part in person.parts} == {"p01"}
    with pytest.raises(ValueError, match="--fold=2: there are 2 people"):
        without(persons, 2)
    with pytest.raises(ValueError, match="show one person"):
        without({"p00": rest}, 0)
    with pytest.raises(ValueError, match="p00.h5: this file is named twice"):
        read_views([tmp_path / "novel", tmp_path / "novel" / "p00.h5"])


def test_files_of_other_layouts_mix(tmp_path, write_disc_views):
    write_disc_views(tmp_path / "p00.h5", 3, seed=0)
    write_disc_views(tmp_path / "subject0000.h5", 2, seed=1, side=24, face_mask=None, face_head_pose=None)
    views = joined(list(read_views([tmp_path]).values()))
    assert views.heads[:3].isfinite().all() and views.heads[3:].isnan().all()
    images, masks = views.images(64, masks=True).with_masks(torch.tensor([0, 4]))
    assert images.shape == (2, 3, 24, 24) and (masks[1] == 255).all() and (masks[0] == 0).any()
    (tmp_path / "subject0000.h5").unlink()
    write_disc_views(tmp_path / "subject0001.h5", 2, seed=1, face_gaze=None)  # as ETH-XGaze's test files
    with pytest.raises(ValueError, match="subject0001.h5: has no face_gaze"):
        read_views([tmp_path])


def test_swapping_keeps_the_face_and_changes_the_rest_of_the_share(tmp_path, write_disc_views):
    images = torch.full((64, 3, 16, 16), 0.5)
    masks = torch.zeros(64, 1, 16, 16)
    masks[:, :, 4:12, 4:12] = 1
    swapped = swap_backgrounds(images, masks, 0.5, None, torch.Generator().manual_seed(3))
    face = masks.bool().expand_as(images)
    assert torch.equal(swapped[face], images[face]) and swapped.abs().max() <= 1
    changed = (swapped != images).flatten(1).any(dim=1)
    assert 20 < changed.sum() < 44
    kinds = {round(float(one[:, 0].std(dim=1).mean()), 1) for one in swapped[changed]}
    assert len(kinds) > 2  # plain colours, patterns, grain
    again = swap_backgrounds(images, masks, 0.5, None, torch.Generator().manual_seed(3))
    assert torch.equal(again, swapped)
    whole = swap_backgrounds(images, torch.ones_like(masks), 1.0, None, torch.Generator().manual_seed(3))
    assert torch.equal(whole, images)


def test_backgrounds_are_pictures_of_the_folder(disc_set):
    pictures = backgrounds_of(disc_set / "Image", 16)
    assert pictures.shape[1:] == (3, 16, 16) and len(pictures) == 304
    images, masks = torch.zeros(32, 3, 16, 16), torch.zeros(32, 1, 16, 16)
    swapped = swap_backgrounds(images, masks, 1.0, pictures, torch.Generator().manual_seed(0))
    found = [(one == to_float(pictures)).flatten(1).all(dim=1).any() for one in swapped]
    assert 4 < sum(map(bool, found)) < 20  # a third of the kinds
    assert backgrounds_of(None, 16) is None
