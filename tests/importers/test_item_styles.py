from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rb_core.errors import DataError
from rb_core.importers.item_styles import import_item_styles
from rb_core.stats.outcome_files import items_path, read_items, write_items

ROWS = [
    {"id": "a", "subset": "alpacaeval-easy", "prompt": "?", "chosen": "# Long\n- answer", "rejected": "short"},
    {"id": "b", "subset": "alpacaeval-easy", "prompt": "?", "chosen": "same", "rejected": "**me**"},
    {"id": "z", "subset": "alpacaeval-easy", "prompt": "?", "chosen": "not published", "rejected": "x"},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def write_outcomes(root: Path, ids: list[str]) -> Path:
    path = root / items_path("rewardbench")
    write_items(path, "rewardbench", ids, ["alpacaeval-easy"] * len(ids), {"m/one": np.ones(len(ids))}, "somewhere")
    return path


def test_counts_are_added_to_the_outcomes_of_known_texts(tmp_path: Path, data: Path) -> None:
    path = write_outcomes(tmp_path, ["c", "b", "a"])
    before = read_items(path)["m/one"]
    assert before.lengths is None
    assert import_item_styles("rewardbench", tmp_path, data=data) == (2, 3)
    content = path.read_bytes()
    (outcomes,) = read_items(path).values()
    assert outcomes.credits.tolist() == before.credits.tolist()
    assert outcomes.source == "somewhere"
    assert outcomes.lengths is not None
    assert outcomes.markdown is not None
    np.testing.assert_allclose(outcomes.lengths, [np.nan, (4 - 6) / 11, (15 - 5) / 21])
    np.testing.assert_allclose(outcomes.markdown, [np.nan, (0 - 1) / 2, (2 - 0) / 3])
    import_item_styles("rewardbench", tmp_path, data=data)
    assert path.read_bytes() == content


def test_texts_of_other_examples_are_refused(tmp_path: Path, data: Path) -> None:
    write_outcomes(tmp_path, ["c"])
    with pytest.raises(DataError, match="has none of the 3 examples of pairs"):
        import_item_styles("rewardbench", tmp_path, data=data)
    with pytest.raises(DataError, match="no such file of item outcomes"):
        import_item_styles("rewardbench", tmp_path / "elsewhere", data=data)
