"""Who is served next: one thread draws for all clients, in turn.

A client has one piece of work of a kind at a time: a newer one takes the place of an older one that has not begun, and
stops one that has at its next pause. Work of a higher rank (a preview) is done in the pauses of work of a lower one (a
full picture, a film), so that nobody who drags waits for somebody else's film.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

PREVIEW, REST, SAVE = range(3)  # ranks: a picture while something moves, the full one, a file
PATIENCE = 0.5  # seconds by which a rank steps back behind the one before it; more waiting wins over rank
# In a pause others get this many times what the work itself took since its last one, between these bounds in seconds.
OTHERS, LEAST_PAUSE = 3, 0.02
CLOSING_SECONDS = 5  # for the last work to reach a pause; the thread ends with the process anyway


class Dropped(Exception):
    """Nobody wants the result any more: newer work has taken its place, or its client is gone."""


@dataclass(eq=False)
class Work:
    """What a client wants done: `task(pause)`, which calls `pause()` whenever others may come in between."""

    key: tuple[str, int]  # client, rank
    task: Callable
    since: float  # when its place in the queue was taken
    result: Future = field(default_factory=Future)
    dropped: bool = False
    resumed: float = 0.0  # when it began, or its last pause ended

    @property
    def due(self) -> float:
        return self.since + self.key[1] * PATIENCE

    def drop(self) -> None:
        """Takes the work back: it never begins, or stops at its next pause."""
        self.dropped = True


class Turns:
    """The queue and its thread. `close` ends the thread; results that are still due are `Dropped`."""

    def __init__(self):
        self._waiting: dict[tuple[str, int], Work] = {}
        self._running: dict[tuple[str, int], Work] = {}
        self._changed, self._closed = threading.Condition(), False
        # A context is not inherited by threads; the choice of --ops is in it.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._serve,), daemon=True, name="viewer")
        self._thread.start()

    def submit(self, client: str, rank: int, task: Callable) -> Work:
        """Puts work into the queue. Its `result` is the task's value, its error, or `Dropped`."""
        with self._changed:
            key = client, rank
            older = self._waiting.get(key)
            work = Work(key, task, older.since if older else time.monotonic())
            if older:
                older.drop()
                older.result.set_exception(Dropped())
            if key in self._running:
                self._running[key].drop()
            for pieces in (self._running, self._waiting) if rank == PREVIEW else ():
                if stale := pieces.get((client, REST)):
                    stale.drop()
            self._waiting[key] = work
            self._changed.notify()
        return work

    def close(self) -> None:
        with self._changed:
            self._closed = True
            for work in (*self._waiting.values(), *self._running.values()):
                work.drop()
            self._changed.notify()
        self._thread.join(CLOSING_SECONDS)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed and not self._waiting:
                    return
                work = self._take(SAVE + 1)
            self._do(work)

    def _take(self, below: int) -> Work | None:
        """The next work of a rank less than this; only under the lock."""
        ready = [work for work in self._waiting.values() if work.key[1] < below]
        return self._waiting.pop(min(ready, key=lambda work: work.due).key) if ready else None

    def _do(self, work: Work) -> None:
        with self._changed:
            self._running[work.key] = work
        work.resumed = time.monotonic()
        try:
            self._pause(work)
            value = work.task(lambda: self._pause(work))
        except BaseException as error:  # it belongs to whoever waits for the result
            work.result.set_exception(error)
        else:
            work.result.set_result(value)
        finally:
            with self._changed:
                if self._running.get(work.key) is work:
                    del self._running[work.key]

    def _pause(self, work: Work) -> None:
        """Does what is more urgent, for a while; raises Dropped if nobody wants this work any more."""
        now = time.monotonic()
        end = now + min(PATIENCE, max(LEAST_PAUSE, OTHERS * (now - work.resumed)))
        while not work.dropped:
            with self._changed:
                other = self._take(work.key[1])
            if other is None:
                break
            self._do(other)
            if time.monotonic() > end:
                break
        work.resumed = time.monotonic()
        if work.dropped:
            raise Dropped
