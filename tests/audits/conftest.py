"""Fixtures for the tests of audits."""

from __future__ import annotations

from functools import partial

import pytest

from rb_core.audits.self_test import run_self_test


@pytest.fixture
def short_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit with a self-test of two trials; a test of its own has more."""
    monkeypatch.setattr("rb_core.audits.self_test.run_self_test", partial(run_self_test, runs=2))
