"""One process at a time writes into a folder."""

import os
from pathlib import Path

import pytest

from groundwork.held_folder import held, lock


def test_a_folder_made_for_a_run_that_wrote_nothing_is_deleted_again(tmp_path):
    with held(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run").is_dir()
    assert not list(tmp_path.iterdir())
    with held(tmp_path / "new" / "run"):
        (tmp_path / "new" / "run" / "stats.jsonl").touch()
    assert (tmp_path / "new" / "run" / "stats.jsonl").exists()


def test_a_folder_that_is_deleted_is_locked_until_then(tmp_path, monkeypatch):
    run, removed, rmdir = tmp_path / "run", [], Path.rmdir

    def watched(path):
        with pytest.raises(ValueError, match="another process works there"):
            lock(path)
        opened = os.open(path, os.O_RDONLY)  # by a process that asks for the lock only when the folder is deleted
        rmdir(path)
        removed.append(opened)

    monkeypatch.setattr(Path, "rmdir", watched)
    with held(run):
        pass
    assert len(removed) == 1 and not run.exists()
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="another process works there"):
        patch.setattr("os.open", lambda *_: removed[0])
        lock(run)


def test_a_folder_that_another_process_has_taken_meanwhile_stays(tmp_path, monkeypatch):
    run, mkdir, others = tmp_path / "run", Path.mkdir, []

    def late(path, **more):
        mkdir(path)
        others.append(lock(path))
        mkdir(path, **more)

    monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(ValueError, match="another process works there"), held(run):
        pass
    assert run.exists()
