"""Networks that paint what a test can foresee."""

import pytest
from known_eyes import Painter


@pytest.fixture
def painter():
    return Painter()
