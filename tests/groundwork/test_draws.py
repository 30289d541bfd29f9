"""Sources of random numbers that hand on another's."""

import pytest
import torch

from groundwork.draws import KeyedDraws, Split


@pytest.mark.parametrize("kind", ["uniform", "stratified", "normal"])
def test_draws_for_parts_of_a_row_are_those_of_the_row(kind):
    whole = getattr(KeyedDraws([1, 2]), kind)((2, 6, 3))
    parts = getattr(Split(KeyedDraws([1, 2]), 3), kind)((6, 2, 3))
    assert torch.equal(parts, torch.cat([row[at : at + 2][None] for row in whole for at in (0, 2, 4)]))
