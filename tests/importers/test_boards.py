"""The boards of other projects' numbers, rebuilt from small tables of the same form."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rb_core.errors import DataError
from rb_core.importers.boards import import_boards
from rb_core.leaderboard.verify import verify
from rb_core.results.storage import read_result
from tests.fakes.result_sets import BUNDLED

RM_BENCH = (
    'model,chat,math,code,safety,easy,normal,hard,average,source\nA,50,60,70,80,90,65,40,65,"Paper (2026), via x"\n'
)
CROSS = (
    "model,kind,rewardbench_v1,ppe_preference,ppe_correctness,rmb,rm_bench,judgebench,average,source\n"
    "A,Generative,88,60,70,,64,,70,org/repo@1a2b3c4 README\n"
    "B (Maj@32),Generative,,61,,,70,60,,org/repo@1a2b3c4 README\n"
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out/benchmarks").mkdir(parents=True)
    for name in ("ppe", "rmb", "themis-code-rewardbench"):
        card = f"benchmarks/{name}.yaml"
        (tmp_path / "out" / card).write_bytes((BUNDLED / card).read_bytes())
    return tmp_path / "out"


def test_the_table_with_more_parts_wins(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/rmbench_scalar_rms.csv").write_text(RM_BENCH, encoding="utf-8")
    (tmp_path / "in/cross_benchmark_skywork_v2.csv").write_text(CROSS, encoding="utf-8")
    assert import_boards(tmp_path / "in", out) == {"rm-bench": 2, "ppe": 2}
    a = read_result(out / "results/rm-bench/A.json")
    assert a.published is not None
    assert a.published.source == "Paper (2026)"
    assert "org/repo@1a2b3c4:README.md gives 0.64 as the score" in (a.published.note or "")
    assert a.sections["Chat"].value == 0.5
    b = read_result(out / "results/rm-bench/B-Maj-32.json")
    assert b.headline is not None
    assert b.headline.value == 0.7
    assert read_result(out / "results/ppe/B-Maj-32.json").headline is None
    assert verify(out).differences == ()


def test_pairs_without_their_text_have_ids_of_their_own(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pair = {"subset": "alpacaeval-easy", "prompt": "p", "rejected": "r"}
    rows = [pair | {"id": str(n), "row": n, "text_matched": n == 0, "chosen": "c " * (n + 1)} for n in range(3)]
    pd.DataFrame(rows).to_json(folder / "with_dialect.jsonl.gz", orient="records", lines=True)
    scores = [("me/rm", version, n, 1.0, float(n)) for version in ("original", "aae") for n in range(3)]
    names = ["model", "version", "row", "chosen_score", "rejected_score"]
    pd.DataFrame(scores, columns=names).to_parquet(folder / "rewardbench_v1_dialect_scores.parquet")
    ((benchmark, count),) = import_boards(folder, out).items()
    assert benchmark.startswith("rewardbench-")
    assert count == 1
    result = read_result(out / f"results/{benchmark}/me/rm.json")
    assert result.counts is not None
    assert (result.counts.examples, result.counts.ties) == (3, 1)
    assert result.margins is not None
    assert result.length
    table = pd.read_parquet(out / f"scores/{benchmark}.parquet")
    assert sorted(set(table["example_id"])) == ["0", "row-1", "row-2"]


def test_a_folder_without_the_files_of_a_board_is_refused(tmp_path: Path, out: Path) -> None:
    with pytest.raises(DataError, match="has the files of no board; they are cross_benchmark"):
        import_boards(tmp_path, out)


def test_bundled_results_of_the_same_model_are_under_one_name() -> None:
    """The scores that are counted as ties and as missing are those of the published files."""
    counts = {}
    for name in ("ContextualAI/LMUnit-qwen2.5-72b", "rubricreward/R3-Qwen3-14B-14k"):
        content = json.loads((BUNDLED / f"results/themis-code-rewardbench/{name}.json").read_bytes())
        counts[name.split("/")[1]] = [content["counts"][key] / 8866 for key in ("ties", "unscored")]
    assert counts["LMUnit-qwen2.5-72b"] == pytest.approx([0.6723, 0], abs=1e-4)
    assert counts["R3-Qwen3-14B-14k"] == pytest.approx([0.3996, 0.0272], abs=1e-4)
