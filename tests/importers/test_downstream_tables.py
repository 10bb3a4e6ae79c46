from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.audits.downstream import downstream_report
from rb_core.errors import DataError, ResultError
from rb_core.importers.downstream_tables import PPO, import_downstream_tables

TABLES = {
    "rb2_table8_ppo_bon.csv": "id,group,rewardbench2,ppo_avg_9_tasks,bon_avg,source\n"
    + "".join(f"{i},g,{60 + i},{50 + i * i},{40 + i},table 8\n" for i in range(5)),
    "rb1_bon_alpacaeval.csv": "model,bon16_win_rate,rb1_score,source\n"
    + "".join(f"o/m{i},{30 + i / 3},0.{50 + i},repository\n" for i in range(4)),
    "rb2_fig3_bon_correlations.csv": "downstream_task,rb2_domain,pearson_r,n_rms,source\n"
    "GSM8K,RB2 Average,0.86,113,fig 3\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_published_outcomes_become_tables_of_the_audit(folder: Path) -> None:
    paths = import_downstream_tables(folder, folder / "out")
    report = downstream_report(paths)
    outcomes, correlations = report.tables
    assert {row[1] for row in outcomes.rows} >= {PPO}
    assert correlations.rows[0][:5] == ("RewardBench 2", "Average", "GSM8K", 113, 0.86)
    assert set(report.sources) == {"table 8", "repository", "fig 3"}
    contents = [path.read_bytes() for path in paths]
    with pytest.raises(ResultError, match="--overwrite"):
        import_downstream_tables(folder, folder / "out")
    assert [path.read_bytes() for path in import_downstream_tables(folder, folder / "out", overwrite=True)] == contents


def test_a_missing_table_is_named(folder: Path) -> None:
    (folder / "rb1_bon_alpacaeval.csv").unlink()
    with pytest.raises(DataError, match="rb1_bon_alpacaeval"):
        import_downstream_tables(folder, folder / "out")
