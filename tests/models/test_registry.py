"""Records of models."""

from __future__ import annotations

from rb_core.models.options import KINDS
from rb_core.models.registry import RECORDS


def test_records_are_keyed_by_their_whole_names() -> None:
    assert all(record.name == name for name, record in RECORDS.items())
    assert all(record.kind in KINDS for record in RECORDS.values())
