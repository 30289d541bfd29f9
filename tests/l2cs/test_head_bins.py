import math

import click
import pytest
import torch

from l2cs.head_bins import Edges, bin_lines, errors_by_head


def test_errors_are_averaged_in_the_bin_of_the_head():
    heads = torch.tensor([[5.0, 0], [-20, 0], [15, 40], [70, -40], [math.nan, math.nan]]).deg2rad()
    error = torch.tensor([1.0, 2, 4, 8, 100]).deg2rad()
    bins = errors_by_head(error, heads, (0, 15, 30, 60))
    assert [row["images"] for row in bins["yaw"]] == [1, 2, 0]
    assert [row["mean_angular_error_deg"] for row in bins["yaw"]] == pytest.approx([1, 3, None])
    assert [row["images"] for row in bins["pitch"]] == [2, 0, 2]
    assert bins["pitch"][2]["mean_angular_error_deg"] == pytest.approx(6)
    signed = errors_by_head(error, heads, (-30, 0, 30))
    assert [row["images"] for row in signed["yaw"]] == [1, 2]
    lines = bin_lines(bins, 5)
    assert lines[1] == "head yaw 15 to 30: 3.00 deg, 2 images" and lines[2] == "head yaw 30 to 60: - deg, 0 images"
    assert lines[3] == "head yaw beyond these, or not known: 2 images"


@pytest.mark.parametrize("text", ["", "15", "30,15", "0,0", "0,200", "0,nan", "a,b"])
def test_edges_that_are_none_are_refused(text):
    with pytest.raises(click.BadParameter, match="needed|write numbers"):
        Edges().convert(text, None, None)
    assert Edges().convert("-45,0,45", None, None) == (-45, 0, 45)
