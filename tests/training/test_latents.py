"""Latents and camera labels of a step, whichever process draws them."""

import dataclasses

import pytest
import torch
from tiny_run import tiny_config, write_images

from eg3d.data.dataset import ImageDataset
from eg3d.training import latents
from eg3d.training.latents import FakeBatches, conditioning_labels, random_labels


@pytest.fixture
def dataset(tmp_path):
    return ImageDataset(write_images(tmp_path / "faces"))


def test_blocks_and_parts_of_a_batch_are_the_rows_of_the_whole(dataset):
    config = tiny_config(dataset.path)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, style_mixing_prob=0.5))

    def fakes(block):
        return FakeBatches(config, dataset, block, 16, torch.device("cpu")).at("Gmain", 8)

    whole = fakes(range(4))
    swapped = (whole.labels != whole.conditioning_labels).any(dim=1)
    assert swapped.any() and torch.equal(whole.conditioning_labels[swapped], whole.labels.roll(1, 0)[swapped])
    rows = slice(2, 4)
    for got in (fakes(range(2, 4)), whole.part(rows)):
        assert got.samples == range(2, 4)
        for name in ("z", "labels", "conditioning_labels", "u_mix", "z_mix"):
            assert torch.equal(getattr(got, name), getattr(whole, name)[rows]), name


def test_the_mapping_network_is_told_another_label_with_the_probability_and_nothing_without_conditioning():
    labels, previous = torch.ones(3, 25), torch.full((3, 25), 2.0)
    u = torch.tensor([0.1, 0.49, 0.5])
    assert conditioning_labels(labels, previous, u, 0.5)[:, 0].tolist() == [2, 2, 1]
    assert conditioning_labels(labels, previous, u, 0.0)[:, 0].tolist() == [1, 1, 1]
    assert not conditioning_labels(labels, previous, u, None).any()


def test_labels_are_drawn_evenly_and_the_largest_draw_is_the_last_label(dataset):
    u = torch.tensor([0.0, 0.124, 0.125, 0.9999, 1.0])  # a float32 draw in [0, 1) of an eighth is one of 8 images
    assert torch.equal(random_labels(dataset, u), dataset.labels[[0, 0, 1, 7, 7]])


def test_style_mixing_swaps_the_rows_from_the_cutoff_on():
    ws, other = torch.zeros(3, 4, 1), torch.ones(3, 4, 1)
    u = torch.tensor([[0.9, 0.5], [0.1, 0.0], [0.1, 0.99]])
    mixed = latents.style_mix(ws, other, u, prob=0.5)[..., 0]
    assert mixed.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]]
