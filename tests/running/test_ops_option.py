"""`--ops` chooses the implementation for a command, and only for it."""

from types import SimpleNamespace

import click
import pytest
import torch
from click.testing import CliRunner

from eg3d import calc_gfas, gen_samples
from eg3d.ops.kernels import backend
from eg3d.running import cli

KERNELS = SimpleNamespace(__name__="kernels", instructions=lambda: "AVX2")  # what auto takes


@click.command(cls=cli.Command)
@cli.ops_option
def command():
    click.echo(f"found {getattr(backend.kernels_for(torch.zeros(1)), '__name__', None)}")


@pytest.mark.parametrize(
    "args, right",
    [([], "kernels"), (["--ops=kernels"], "kernels"), (["--ops=torch"], "None")],
)
def test_the_choice_holds_for_the_command_and_ends_with_it(args, right, monkeypatch):
    monkeypatch.setattr(backend, "available", lambda device_type: (KERNELS, ""))
    result = CliRunner().invoke(command, args)
    assert result.exit_code == 0 and result.stdout == f"found {right}\n"
    assert backend.kernels_for(torch.zeros(1)) is KERNELS


def test_kernels_that_cannot_be_had_are_an_error_when_they_are_insisted_on(monkeypatch):
    monkeypatch.setattr(backend, "available", lambda device_type: (None, "no compiler"))
    result = CliRunner().invoke(command, ["--ops=kernels"])
    assert result.exit_code == 2 and result.stderr.startswith("error: --ops=kernels: no compiler")
    assert CliRunner().invoke(command, ["--ops=auto"]).stdout == "found None\n"


def test_an_unknown_choice_is_refused():
    result = CliRunner().invoke(command, ["--ops=fast"])
    assert result.exit_code == 2 and "'auto', 'torch', 'kernels'" in result.stderr


@pytest.mark.parametrize("script", [gen_samples, calc_gfas])
def test_scripts_that_draw_offer_it(script):
    assert any("--ops" in option.opts for option in script.main.params)
