"""Score tables of audits without a model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rb_core.audits.model_audit import ModelAudit


def frame_of(audit: ModelAudit) -> pd.DataFrame:
    """Return the rows of an audit's items as its statistics get them, with the score 0."""
    items = audit.items()
    rows = [
        (item.id, item.base or item.id, item.unit, item.group, item.variant, index, label, 0.0, 1, False, "")
        for item in items
        for index, label in enumerate(item.labels)
    ]
    names = ["item", "base", "unit", "group", "variant", "completion", "label", "score", "num_tokens"]
    return pd.DataFrame(rows, columns=[*names, "truncated", "reason"]).assign(**audit.row_columns(items, Path()))
