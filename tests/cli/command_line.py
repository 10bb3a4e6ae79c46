"""The command line as the tests run it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from rb_core.cli import main
from rb_core.cli.console import console


def rb(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, width: int = 200) -> int:
    """Run the command line in this process; returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["rb", *arguments])
    monkeypatch.setattr(console, "width", width)
    with pytest.raises(SystemExit) as stop:
        main.main()
    return int(stop.value.code or 0)
