"""Pairs that differ in the gaze alone, and parts of a set by person."""

import pytest
import torch

from redirection.attributes import Attributes
from redirection.gaze_pairs import GazePairs
from redirection.patch_sets import PatchSet, read_patches, split_by_person

SIDES = Attributes.parse("L@R")


def patches_of(rows) -> PatchSet:
    """rows: (person, P, V, H, eye)."""
    person, p, v, h, eye = torch.tensor(rows, dtype=torch.float32).T
    images = torch.zeros(len(rows), 3, 4, 4, dtype=torch.uint8)
    names = tuple(map(str, range(len(rows))))
    return PatchSet(names, images, (), torch.stack([p, v, h], 1), person.long(), eye.long())


def test_all_ordered_pairs_of_one_person_pose_and_eye_and_nothing_else():
    rows = [(1, 0, 0, 5, 0), (2, 0, 0, 5, 0), (1, 0, 0, 9, 0), (1, 15, 0, 9, 0), (1, 0, 0, 9, 1), (2, 0, 3, 0, 0)]
    pairs = GazePairs(patches_of(rows))
    found = set(zip(*(rows.tolist() for rows in pairs.pairs(torch.arange(len(pairs)))), strict=True))
    assert found == {(0, 0), (0, 2), (2, 0), (2, 2), (1, 1), (1, 5), (5, 1), (5, 5)} and len(pairs) == 8


def test_an_epoch_has_every_pair_once_and_the_next_another_order(gaze_set):
    pairs = GazePairs(read_patches(gaze_set, "train", SIDES))
    assert len(pairs) == 4 * 81
    epochs = [[torch.stack(pairs.of_step(0, 12 * epoch + step, 27, "x"), 1) for step in range(12)] for epoch in (0, 1)]
    first, second = (torch.cat(steps) for steps in epochs)
    assert len(first.unique(dim=0)) == 324 and len(second.unique(dim=0)) == 324 and not first.equal(second)
    assert not torch.equal(pairs.of_step(0, 3, 27, "x")[0], pairs.of_step(0, 3, 27, "y")[0])


def test_a_set_with_one_gaze_of_each_is_one_line():
    with pytest.raises(ValueError, match="give several gazes"):
        GazePairs(patches_of([(1, 0, 0, 5, 0), (2, 0, 0, 5, 0)]))


def test_people_up_to_a_number_are_for_training_whatever_the_lists_say(gaze_set):
    parts = [read_patches(gaze_set, part, SIDES) for part in ("train", "test")]
    training, unseen = split_by_person(parts, 1)
    assert training.person.unique().tolist() == [1] and unseen.person.unique().tolist() == [2, 3]
    whole = {name: image for part in parts for name, image in zip(part.names, part.images, strict=True)}
    assert all(torch.equal(whole[name], image) for name, image in zip(unseen.names, unseen.images, strict=True))
    with pytest.raises(ValueError, match="--ids=9: leaves one part empty"):
        split_by_person(parts, 9)
