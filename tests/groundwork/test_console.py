"""What a command prints cannot end its work."""

import json
import os
import subprocess
import sys
import warnings

import click
import pytest
from click.testing import CliRunner

from groundwork.command import Command, describe
from groundwork.files import write_text

# A command that prints a letter, a picture's name that is no UTF-8, much text, and then writes its report.
SCRIPT = """
import click, os, sys
from pathlib import Path
from groundwork.command import Command, json_option, write_json

@click.command(cls=Command)
@click.argument("name", required=False)
@json_option
def main(name, json_path):
    "Läuft."
    click.echo(f"M\\u00e4dchen \\u6f22 {name}")
    print("\\u6f22", file=sys.stderr)
    for _ in range(5000):
        print("x" * 100)
    write_json(json_path, {"name": name, "first": os.fstat(1).st_size})
    if name == "wrong":
        raise ValueError("M\\u00e4dchen: is wrong")

main()
"""


@pytest.fixture
def command(tmp_path):
    """command("words", after="| true", **environment) -> its exit code, and the report that it wrote or None."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")

    def run(*words, after="", shell="{}", **environment):
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        call = " ".join([sys.executable, "script.py", *words, f"--json={report}"])
        text = f"set -o pipefail; {call} {after}; exit ${{PIPESTATUS[0]}}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
        done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=clean | environment, capture_output=True)
        return done.returncode, json.loads(report.read_text()) if report.exists() else None, done

    return run


@pytest.mark.robust
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LANG": "C.UTF-8"},
    ],
)
def test_a_console_without_a_letter_costs_neither_report_nor_exit_code(command, environment):
    code, report, done = command("$'caf\\xe9'", **environment)
    assert code == 0, done.stderr
    assert report["name"].encode(errors="surrogateescape") in (b"caf\xe9", "café".encode())
    code, report, done = command("wrong", **environment)
    assert code == 2 and report and done.stderr.count(b"error: M") == 1 and b"Traceback" not in done.stderr


@pytest.mark.robust
@pytest.mark.parametrize(
    "after", ["| true", "| head -n 1", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&1 | true", "2> /dev/full"]
)
def test_a_console_that_goes_away_costs_neither_report_nor_exit_code(command, after):
    for word, expected in (("fine", 0), ("wrong", 2)):
        code, report, done = command(word, after=after)
        assert code == expected and report["name"] == word, done.stderr
        assert b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr
        assert (report["first"] == 0) or ">" not in after  # nothing was written where a stream had been


@pytest.mark.robust
def test_a_full_disk_behind_the_output_costs_the_exit_code_only(command):
    code, report, done = command("fine", after="> /dev/full")
    assert code == 2 and report["name"] == "fine"
    assert (
        done.stderr.decode().splitlines()[-1].startswith("error: standard output: cannot be written, the disk is full")
    )


def test_streams_of_a_test_stay_as_they_are():
    @click.command(cls=Command)
    def main():
        click.echo("漢")

    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0 and result.stdout == "漢\n" and sys.stdout is not None


def test_a_text_for_people_holds_any_name(tmp_path):
    write_text(tmp_path / "table.md", "| caf\udce9 | é |")
    assert (tmp_path / "table.md").read_text("utf-8") == "| caf\\udce9 | é |"


def test_a_name_that_the_system_cannot_write_is_one_line():
    with pytest.raises(UnicodeEncodeError) as error:
        "caf\udce9".encode()
    assert describe(error.value) == "'caf\\udce9': is no UTF-8; rename it"


def test_a_warning_of_a_script_is_one_line_without_its_place_in_the_code(capsys):
    @click.command(cls=Command)
    def load():
        warnings.warn("net.pkl: its planes are guessed", stacklevel=2)

    before = warnings.formatwarning
    with warnings.catch_warnings(), pytest.raises(SystemExit):
        warnings.simplefilter("always")
        warnings.showwarning = lambda *about: print(warnings.formatwarning(*about[:4]), end="", file=sys.stderr)
        load.main([])
    assert capsys.readouterr().err == "warning: net.pkl: its planes are guessed\n"
    assert warnings.formatwarning is before
