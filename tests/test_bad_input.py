"""What every script does with bad input: one line that says what to do, before any work, and nothing left behind."""

import errno
import os

import click
import pytest
import torch
from click.testing import CliRunner
from tqdm import tqdm

from dataset_preprocessing.check_dataset import main as check_dataset
from dataset_preprocessing.dataset_tool import main as dataset_tool
from dataset_preprocessing.filter_by_gaze import main as filter_by_gaze
from dataset_preprocessing.synthetic.make_faces import main as make_faces
from dataset_preprocessing.synthetic.make_gaze import main as make_gaze
from dataset_preprocessing.synthetic.make_mpii import main as make_mpii
from eg3d.calc_gfas import main as calc_gfas
from eg3d.demo import main as demo
from eg3d.gen_samples import main as gen_samples
from eg3d.running import cli
from groundwork.command import Command, describe, pick_device
from groundwork.files import atomic_write
from groundwork.places import check_writable
from l2cs.demo import main as gaze_demo
from l2cs.evaluate import main as evaluate
from l2cs.train import main as train_gaze


def error_of(command, *args) -> str:
    """The one line on stderr of a command that must fail."""
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


def seeds_of(text: str, kind=cli.SEEDS):
    return kind.convert(text, None, None)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_errors_of_the_system_name_the_file_and_a_remedy(number):
    text = describe(OSError(number, os.strerror(number), "/some/file"))
    assert text.startswith("/some/file: ") and os.strerror(number) not in text
    assert any(verb in text for verb in ("check the path", "another path"))


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError) as error:
        atomic_write(tmp_path / "new.bin", b"data")
    assert error.value.filename == str(tmp_path / "new.bin") and not list(tmp_path.iterdir())


def test_an_error_inside_a_progress_bar_has_a_line_of_its_own():
    @click.command(cls=Command)
    def command():
        bar = tqdm(total=5, desc="working")
        bar.update(1)
        raise ValueError("file.png: is broken; replace it")

    stderr = CliRunner().invoke(command, []).stderr
    assert "working" in stderr and stderr.endswith("\nerror: file.png: is broken; replace it\n")


def test_checking_an_output_accepts_what_can_be_written_and_leaves_nothing(tmp_path):
    (tmp_path / "there.json").write_text("old")
    for path in (tmp_path / "new.json", tmp_path / "there.json", tmp_path / "a" / "b" / "new.json", None):
        check_writable(path, "--json")
    check_writable(tmp_path, "--outdir", folder=True)
    check_writable(tmp_path / "c" / "d", "--outdir", folder=True)
    assert [p.name for p in tmp_path.iterdir()] == ["there.json"]


def test_an_output_that_cannot_be_written_is_named_with_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    for path, folder in ((tmp_path, False), (tmp_path / "file", True), (tmp_path / "file" / "below" / "x", False)):
        with pytest.raises(ValueError, match=f"^--out={path}: .*(name|give) a") as error:
            check_writable(path, "--out", folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "command, flag, needed",
    [
        (train_gaze, "--output", ["--gaze360label_dir=gone"]),
        (train_gaze, "--export", ["--gaze360label_dir=gone"]),
        (train_gaze, "--json", ["--gaze360label_dir=gone"]),
        (evaluate, "--plot", ["--snapshot=gone"]),
        (evaluate, "--json", ["--snapshot=gone"]),
        (gaze_demo, "--output", ["--snapshot=gone", "--input=."]),
        (gaze_demo, "--json", ["--snapshot=gone", "--input=."]),
        (calc_gfas, "--json", ["--network=gone", "--l2cs-path=gone"]),
        (gen_samples, "--outdir", ["--network=gone", "--seeds=0"]),
        (demo, "--outdir", ["--network=gone"]),
        (demo, "--json", ["--network=gone"]),
        (make_faces, "--dest", []),
        (make_faces, "--sheet", []),
        (make_gaze, "--outdir", []),
        (make_mpii, "--outdir", []),
        (filter_by_gaze, "--dest", ["--data=gone"]),
        (filter_by_gaze, "--json", ["--data=gone", "--dest=out/new.zip"]),
        (dataset_tool, "--dest", ["--source=gone"]),
        (check_dataset, "--plot", ["--data=gone"]),
        (check_dataset, "--sheet", ["--data=gone"]),
        (check_dataset, "--json", ["--data=gone"]),
    ],
)
def test_every_output_is_checked_before_any_work(command, flag, needed, tmp_path, monkeypatch):
    # all else is missing too: an error about it would mean that work had begun
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert f"{flag}=file/below/x.png" in error_of(command, *needed, f"{flag}=file/below/x.png")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_plot_needs_an_ending_that_can_be_drawn(tmp_path):
    text = error_of(evaluate, "--snapshot=gone", f"--plot={tmp_path / 'plot.xyz'}")
    assert "--plot" in text and ".png" in text


@pytest.mark.parametrize("command, flag", [(gen_samples, "--outdir"), (demo, "--outdir")])
def test_no_folder_is_made_for_a_network_that_is_not_there(command, flag, tmp_path):
    seeds = ["--seeds=0"]
    assert "gone.safetensors" in error_of(command, "--network=gone.safetensors", f"{flag}={tmp_path / 'new'}", *seeds)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [gen_samples, calc_gfas])
@pytest.mark.parametrize("option", ["--trunc=nan", "--trunc=inf", "--fov-deg=nan"])
def test_numbers_must_be_finite(command, option, tmp_path):
    needed = ["--network=gone", "--seeds=0"]
    needed += [f"--outdir={tmp_path / 'new'}"] if command is gen_samples else ["--l2cs-path=gone"]
    assert option.split("=")[0] in error_of(command, *needed, option)


@pytest.mark.parametrize("command", [make_faces, make_gaze])
def test_seeds_of_data_sets_are_not_negative(command):
    assert "--seed" in error_of(command, "--seed=-1", "--sheet=never.png")


def test_a_seed_given_twice_counts_once_and_a_score_refuses_it():
    assert seeds_of("3,1-2,2") == [3, 1, 2]
    assert "the seed 0 is given twice" in error_of(calc_gfas, "--network=gone", "--l2cs-path=gone", "--seeds=0,0")


@pytest.mark.parametrize("seeds", ["4294967296", "0-99999999999999", "0-4294967295"])
def test_seeds_beyond_what_numpy_takes_are_refused_by_flag(seeds):
    assert "--seeds" in error_of(calc_gfas, "--network=gone", "--l2cs-path=gone", f"--seeds={seeds}")
    assert seeds_of("4294967295") == [4294967295]


def test_picking_a_device_turns_tf32_off():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    pick_device("cpu")
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
