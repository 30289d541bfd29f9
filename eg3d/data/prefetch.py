"""The next global batch is decoded while the present one trains."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from eg3d.data.dataset import EpochOrder, ImageDataset


class Batches:
    """Batches of a data set by position in the run; the next one is read in the background.

    A batch depends on data set, order and position alone. If the next call asks for another position, as after a
    resume, its batch is read at once. An error in the background is raised by the call that asks for its batch.

    Args:
        order: which images stand at which position.
        batch: images of a global batch, and so the distance between two positions.
        rows: which of them this process takes, by index in the global batch; all by default.
        pin: whether to put the images into page-locked memory. A GPU copies them from there while it computes
            (`.to(device, non_blocking=True)`).
    """

    def __init__(
        self, dataset: ImageDataset, order: EpochOrder, batch: int, rows: range | None = None, pin: bool = False
    ):
        self._dataset, self._order, self._batch, self._pin = dataset, order, batch, pin
        self._rows = range(batch) if rows is None else rows
        assert len(self._rows) and 0 <= min(self._rows) and max(self._rows) < batch
        self._thread = ThreadPoolExecutor(1, "prefetch")  # not of the data set's pool, which it waits for
        self._expected: tuple[int, Future] | None = None

    def at(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 images [N, 3, H, W] and labels [N, 25] of this process's rows of the global batch at `position`."""
        if self._dataset.kept and not self._pin:  # nothing to wait for
            return self._read(self._indices(position))
        if self._expected is not None and self._expected[0] == position:
            now = self._expected[1]
        else:
            now = self._thread.submit(self._read, self._indices(position))
        following = position + self._batch
        self._expected = (following, self._thread.submit(self._read, self._indices(following)))
        return now.result()

    def _indices(self, position: int) -> torch.Tensor:
        """Called here, not in the thread: the order remembers an epoch, and must not be asked by two at a time."""
        rows = self._rows
        return self._order.indices(position, self._batch)[rows.start : rows.stop : rows.step]

    def _read(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self._dataset.batch(indices)
        return (images.pin_memory(), labels.pin_memory()) if self._pin else (images, labels)
