"""A valid row of preference data, and a writer of files with such rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAIR = {"id": "1", "subset": "alpacaeval-easy", "prompt": "Q", "chosen": "good", "rejected": "bad"}


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
