"""Whose work is done when: the newest of a client, clients in turn, previews in the pauses of longer work."""

import threading
import time
from concurrent.futures import wait

import pytest

from eg3d.pictures.viewer import turns as turns_module
from eg3d.pictures.viewer.turns import LEAST_PAUSE, PREVIEW, REST, SAVE, Dropped, Turns


@pytest.fixture
def turns():
    made = Turns()
    yield made
    made.close()


@pytest.fixture
def gate(turns):
    """Work that holds the thread until `gate.set()`, so that a queue can form behind it."""
    opened, begun = threading.Event(), threading.Event()
    turns.submit("gate", PREVIEW, lambda pause: (begun.set(), opened.wait(5)))
    assert begun.wait(5)
    return opened


def noting(done: list, name: str):
    return lambda pause: done.append(name)


def test_the_newest_request_of_a_client_wins_and_keeps_its_place(turns, gate):
    done: list[str] = []
    old = turns.submit("a", PREVIEW, noting(done, "a1"))
    other = turns.submit("b", PREVIEW, noting(done, "b1"))
    new = turns.submit("a", PREVIEW, noting(done, "a2"))
    with pytest.raises(Dropped):
        old.result.result(5)
    gate.set()
    wait([new.result, other.result], 5)
    assert done == ["a2", "b1"]


def test_clients_are_served_in_turn_however_much_one_of_them_asks(turns, gate):
    done: list[str] = []
    last = [turns.submit(name, PREVIEW, noting(done, name)) for name in "aaaabaacaa"][-1]
    gate.set()
    wait([last.result], 5)
    turns.submit("z", SAVE, lambda pause: None).result.result(5)
    assert done == ["a", "b", "c"]


def test_whoever_drags_goes_before_full_pictures_and_files_that_were_asked_for_earlier(turns, gate):
    done: list[str] = []
    slow = lambda name: lambda pause: (time.sleep(2 * LEAST_PAUSE), done.append(name))  # noqa: E731
    saved = turns.submit("a", SAVE, noting(done, "file"))
    turns.submit("b", REST, noting(done, "full"))
    for name in "cde":
        turns.submit(name, PREVIEW, slow(name))
    gate.set()
    saved.result.result(5)
    assert done == ["c", "d", "e", "full", "file"]


def test_a_preview_comes_in_the_pauses_of_a_film_and_the_film_goes_on(turns):
    done: list[str] = []
    begun, asked = threading.Event(), threading.Event()

    def film(pause):
        begun.set()
        assert asked.wait(5)
        for frame in range(3):
            pause()
            done.append(f"frame {frame}")

    whole = turns.submit("a", SAVE, film)
    assert begun.wait(5)
    full = turns.submit("b", REST, noting(done, "full"))
    preview = turns.submit("c", PREVIEW, noting(done, "preview"))
    asked.set()
    wait([whole.result, full.result, preview.result], 5)
    assert done == ["preview", "full", "frame 0", "frame 1", "frame 2"]


def test_long_work_goes_on_though_others_never_stop_asking(turns):
    """Else a crowd that drags would keep a full picture from being drawn at all."""
    frames, stop = [], threading.Event()

    def drag(client):
        while not stop.is_set():
            turns.submit(client, PREVIEW, lambda pause: time.sleep(0.01)).result.result(5)

    threads = [threading.Thread(target=drag, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    try:
        work = turns.submit("d", REST, lambda pause: [(pause(), frames.append(i)) for i in range(2)])
        work.result.result(10)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert frames == [0, 1]


def test_a_pause_of_long_work_ends_when_its_patience_does_whoever_still_waits(turns, monkeypatch):
    monkeypatch.setattr(turns_module, "PATIENCE", 0.05)
    begun, asked, done = threading.Event(), threading.Event(), []

    def film(pause):
        begun.set()
        assert asked.wait(5)
        time.sleep(0.2)
        pause()
        return len(done)

    work = turns.submit("a", SAVE, film)
    assert begun.wait(5)
    for number in range(40):
        turns.submit(f"b{number}", PREVIEW, lambda pause: (time.sleep(0.01), done.append(1)))
    asked.set()
    assert 1 <= work.result.result(10) <= 8


def test_work_whose_client_is_gone_stops_at_its_next_pause(turns):
    begun, gone = threading.Event(), threading.Event()
    frames = []

    def film(pause):
        begun.set()
        assert gone.wait(5)
        for frame in range(100):
            pause()
            frames.append(frame)

    work = turns.submit("a", SAVE, film)
    assert begun.wait(5)
    work.drop()
    gone.set()
    with pytest.raises(Dropped):
        work.result.result(5)
    assert frames == []


def test_a_drag_stops_the_full_picture_of_the_same_client_only(turns):
    begun, asked = [threading.Event(), threading.Event()], threading.Event()

    def full(number):
        def draw(pause):
            begun[number].set()
            assert asked.wait(5)
            pause()
            return "drawn"

        return draw

    mine = turns.submit("a", REST, full(0))
    assert begun[0].wait(5)
    other = turns.submit("b", REST, full(1))
    turns.submit("a", PREVIEW, lambda pause: None)
    asked.set()
    with pytest.raises(Dropped):
        mine.result.result(5)
    assert other.result.result(5) == "drawn"


def test_a_drag_stops_a_full_picture_that_waits_behind_an_older_one_of_the_same_client(turns):
    begun, asked = threading.Event(), threading.Event()
    turns.submit("a", REST, lambda pause: (begun.set(), asked.wait(5), pause()))
    assert begun.wait(5)
    newer = turns.submit("a", REST, lambda pause: "drawn")
    turns.submit("a", PREVIEW, lambda pause: None)
    asked.set()
    with pytest.raises(Dropped):
        newer.result.result(5)


def test_an_error_reaches_who_asked_and_the_thread_lives_on(turns):
    def wrong(pause):
        raise ValueError("no such head")

    with pytest.raises(ValueError, match="no such head"):
        turns.submit("a", REST, wrong).result.result(5)
    assert turns.submit("a", REST, lambda pause: 7).result.result(5) == 7
