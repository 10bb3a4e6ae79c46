from __future__ import annotations

import pytest

from rb_core.space.try_a_pair.result import sigmoid


def test_the_sigmoid_does_not_overflow() -> None:
    assert sigmoid(1e4) == 1
    assert sigmoid(-1e4) == 0
    assert sigmoid(2.0) == pytest.approx(1 - sigmoid(-2.0))
