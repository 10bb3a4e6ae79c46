"""The record of the command that made a result."""

from __future__ import annotations

import sys

import pytest

from rb_core.evaluation import provenance


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://me:secret@host.example/v1?key=secret#secret", "https://host.example/v1"),
        ("a@http://me:secret@h:1/v1,b@https://h/v1?k=secret,c", "a@http://h:1/v1,b@https://h/v1,c"),
        ("https://secret@h", "https://h"),
        ("ORG/NAME@main", "ORG/NAME@main"),
    ],
)
def test_a_recorded_command_keeps_no_secret_of_an_address(
    typed: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User, password and query of an address are left out, everything else stays as it was typed."""
    monkeypatch.setattr(sys, "argv", ["rb", "evaluate", "--base-url", typed])
    assert provenance.command_line() == f"rb evaluate --base-url {kept}"
