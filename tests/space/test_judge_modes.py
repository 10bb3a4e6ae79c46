from __future__ import annotations

from rb_core.models.options import MODES
from rb_core.space.judge_modes import MODE_DESCRIPTIONS


def test_every_mode_has_a_description() -> None:
    assert set(MODE_DESCRIPTIONS) == set(MODES)
