"""What a step draws: permutations of an epoch, and triples whose control vector is true."""

import pytest
import torch

from redirection.attributes import Attributes
from redirection.interpgaze.pairing import PairsOfPeople, mixing_of_step
from redirection.patch_sets import read_patches

GROUPS = Attributes.parse("0P@15P,0V@10V,0H@15H")


def test_an_epoch_takes_each_patch_at_most_once_and_the_next_in_another_order():
    first, second = ([mixing_of_step(0, step, 10, 3, 4).rows for step in steps] for steps in ((0, 1, 2), (3, 4, 5)))
    assert len(torch.cat(first).unique()) == 9 and not torch.equal(torch.cat(first), torch.cat(second))
    draws = mixing_of_step(0, 4, 10, 3, 4)
    assert sorted(draws.order.tolist()) == [0, 1, 2] and draws.v.shape == (3, 4) and draws.u.shape == (3,)
    assert torch.equal(draws.v, mixing_of_step(0, 4, 10, 3, 4).v)
    assert not torch.equal(draws.v, mixing_of_step(1, 4, 10, 3, 4).v)
    assert not torch.equal(draws.v, mixing_of_step(0, 5, 10, 3, 4).v)


def test_a_target_is_of_the_same_person_and_eye_and_the_control_vector_leads_there(patches):
    training = read_patches(patches, "train", GROUPS)
    pairs, differs, beyond = PairsOfPeople(training, GROUPS), 0, 0
    for step in range(20):
        triples = pairs.of_step(0, step, mixing_of_step(0, step, len(training), 8, 4).rows)
        s, r, t = (training.angles[rows] for rows in (triples.source, triples.reference, triples.target))
        assert torch.equal(training.person[triples.source], training.person[triples.target])
        assert torch.equal(training.eye[triples.source], training.eye[triples.target])
        assert torch.allclose(s + triples.v[:, :3] * (r - s), t, atol=1e-4)
        assert (triples.v[:, 3] == 0).all() and triples.v.abs().max() <= 1.5
        differs += int((training.person[triples.reference] != training.person[triples.source]).sum())
        beyond += int((triples.v > 1).sum())
    assert differs > 20 and beyond > 0  # references are also of others, and also nearer than the target


def test_a_share_of_the_targets_has_the_head_of_the_source(patches):
    training = read_patches(patches, "train", GROUPS)
    rows = torch.arange(len(training)).repeat(20)
    for share, low, high in ((0.0, 0.4, 0.7), (0.5, 0.7, 0.9), (1.0, 1.0, 1.0)):
        triples = PairsOfPeople(training, GROUPS, share).of_step(0, 0, rows)
        assert torch.equal(training.person[triples.target], training.person[rows])
        still = (training.angles[triples.target, 0] == training.angles[rows, 0]).float().mean().item()
        assert low <= still <= high, share


def test_sets_that_cannot_be_paired_are_one_line(patches):
    training = read_patches(patches, "train", GROUPS)
    with pytest.raises(ValueError, match="--paired: patches differ in P"):
        PairsOfPeople(training, Attributes.parse("0V@10V,0H@15H"))
    with pytest.raises(ValueError, match="--paired: nobody"):
        PairsOfPeople(training.subset(torch.tensor([0])), GROUPS)
