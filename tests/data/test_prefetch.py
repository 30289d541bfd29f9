"""Prefetching: the batch of a position is the same whenever and however it is read, and it is read in time."""

import threading

import pytest
import torch
from tiny_run import write_images

from eg3d.data import dataset as module
from eg3d.data.dataset import EpochOrder, ImageDataset
from eg3d.data.prefetch import Batches


@pytest.fixture(params=["memory", "disk"])
def dataset(tmp_path, request, monkeypatch):
    monkeypatch.setattr(module, "RAM_BYTES", 0 if request.param == "disk" else 2**30)
    return ImageDataset(write_images(tmp_path / "faces"), mirror=True, workers=2)


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RAM_BYTES", 0)
    return ImageDataset(write_images(tmp_path / "faces"))


def order_of(dataset):
    return EpochOrder(len(dataset), seed=1)


def expected(dataset, position, batch, rows=slice(None)):
    return dataset.batch(order_of(dataset).indices(position, batch)[rows])


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_batches_are_those_of_the_positions_in_whatever_order_they_are_asked_for(dataset):
    batches = Batches(dataset, order_of(dataset), 6)
    for position in (0, 6, 12, 18, 6, 7, 0, 6, 96, 96, 102):  # forward, across epochs, back, sideways, twice
        assert same(batches.at(position), expected(dataset, position, 6))


def test_processes_share_the_global_batch(dataset):
    halves = [Batches(dataset, order_of(dataset), 6, rows) for rows in (range(0, 3), range(3, 6))]
    for position in (0, 6, 12):
        parts = [half.at(position) for half in halves]
        joined = [torch.cat(pair) for pair in zip(*parts, strict=True)]
        assert same(joined, expected(dataset, position, 6))
    strided = Batches(dataset, order_of(dataset), 6, range(1, 6, 2))
    assert same(strided.at(6), expected(dataset, 6, 6, slice(1, 6, 2)))


def test_the_next_batch_is_decoded_before_it_is_asked_for(on_disk):
    read, caller = [], threading.get_ident()
    second = threading.Event()
    plain = on_disk.batch

    def watched(indices):
        assert threading.get_ident() != caller
        result = plain(indices)
        read.append(indices.tolist())
        if len(read) == 2:
            second.set()
        return result

    on_disk.batch = watched
    Batches(on_disk, order_of(on_disk), 4).at(0)
    assert second.wait(10)  # nobody asked for it
    assert read == [order_of(on_disk).indices(position, 4).tolist() for position in (0, 4)]


def test_nothing_is_read_twice(on_disk):
    read = []
    plain = on_disk.batch
    on_disk.batch = lambda indices: read.append(indices.tolist()) or plain(indices)
    batches = Batches(on_disk, order_of(on_disk), 4)
    for position in (0, 4, 8, 12):
        batches.at(position)
    batches._thread.shutdown()
    assert read == [order_of(on_disk).indices(position, 4).tolist() for position in (0, 4, 8, 12, 16)]


def test_a_damaged_image_is_an_error_of_its_own_batch(on_disk):
    broken = order_of(on_disk).indices(4, 4)[0]
    (on_disk.path / on_disk.names[broken]).write_bytes(b"no image")
    batches = Batches(on_disk, order_of(on_disk), 4)
    batches.at(0)
    for _ in range(2):  # asking again does not hide it
        with pytest.raises(ValueError, match=on_disk.names[broken]):
            batches.at(4)
    assert same(batches.at(0), expected(on_disk, 0, 4))


@pytest.mark.gpu
def test_pinned_batches_reach_the_gpu_unchanged_while_others_are_read(on_disk):
    batches = Batches(on_disk, order_of(on_disk), 4, pin=True)
    for position in range(0, 400, 4):
        images, labels = batches.at(position)
        assert images.is_pinned() and labels.is_pinned()
        there = images.to("cuda", non_blocking=True), labels.to("cuda", non_blocking=True)
        del images, labels
        assert same([x.cpu() for x in there], expected(on_disk, position, 4))
