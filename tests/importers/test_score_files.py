"""The importer of scores of single completions, on small files with planted ties, gaps and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError, ResultError, ScoreTableError
from rb_core.evaluation.aggregate import aggregate_scores
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.importers.score_files import import_scores
from rb_core.importers.target import find_target
from rb_core.leaderboard.store import ResultsStore
from rb_core.leaderboard.verify import verify
from rb_core.results.schema import Result
from rb_core.scorers.baseline import BaselineScorer
from tests.cli.command_line import rb

CARD = """id: small
title: Small
subsets: {sums/easy: , sums/hard: , words/easy: }
sections: {Sums: {subsets: [sums/easy, sums/hard], pooled: true}, Words: [words/easy]}
groupings: {Difficulty: {Easy: [sums/easy, words/easy], Hard: [sums/hard]}}
ties: half
"""
HEAD = "id,kind,level,chosen_score,rejected_score\n"
ROWS = HEAD + "a,sums,easy,2,1\nb,sums,easy,1,1\nc,sums,hard,nan,1\nd,sums,hard,0.5,inf\ne,words,easy,-1,3\n"
COLUMNS = {"subset": "kind+level"}

Import = Callable[..., list[Result]]


@pytest.fixture
def run_import(tmp_path: Path) -> Import:
    (tmp_path / "small.yaml").write_text(CARD, encoding="utf-8")

    def run(source: Path, *, data: Path | None = None, **options: Any) -> list[Result]:
        target = find_target(str(tmp_path / "small.yaml"), tmp_path / "out", data)
        settings = {"origin": "someone/scores@1a2b3c:runs", "columns": COLUMNS} | options
        return import_scores(source, target, tmp_path / "out", **settings)

    return run


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_missing_score_is_unscored_and_a_tie_a_tie(run_import: Import, tmp_path: Path) -> None:
    (result,) = run_import(write(tmp_path / "scores.csv", ROWS), model="me/rm")
    assert result.status == "published"
    assert result.published is not None
    assert result.published.source == "someone/scores@1a2b3c:runs"
    assert "losses, its accuracy over all examples is 0.2000" in (result.published.note or "")
    assert result.counts is not None
    assert (result.counts.examples, result.counts.scored, result.counts.ties) == (5, 3, 1)
    assert result.counts.reasons == {"no score published": 1, "score not finite": 1}
    assert result.subsets["sums/easy"].value == 0.75
    assert result.sections["Words"].value == 0.0
    assert result.sections["Sums"].value is None
    assert result.groupings is not None
    easy = result.groupings["Difficulty"]["Easy"]
    assert easy.value == pytest.approx(0.5)
    assert easy.scored == 3
    assert verify(tmp_path / "out").differences == ()


def test_all_forms_of_the_same_scores_give_the_same_result(run_import: Import, tmp_path: Path) -> None:
    pairs = [("a", 2.0, [1.0, 0.0]), ("b", 1.0, [1.0, 3.0])]
    rows = [{"id": i, "subset": "sums/easy", "chosen": c, "rejected": r} for i, c, r in pairs]
    wide = write(tmp_path / "wide.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    long = [
        {
            "item": i,
            "subset": "sums/easy",
            "completion_index": n,
            "label": "chosen" if n == 0 else "rejected",
            "reward": s,
        }
        for i, c, r in pairs
        for n, s in enumerate([c, *r])
    ]
    pd.DataFrame(long[::-1]).to_parquet(tmp_path / "long.parquet")
    names = {"chosen": "chosen", "rejected": "rejected"}
    (first,) = run_import(wide, model="me/wide", columns=names)
    (second,) = run_import(tmp_path / "long.parquet", model="me/long", columns={})
    assert [first.subsets, first.margins, first.counts] == [second.subsets, second.margins, second.counts]


def test_examples_give_subsets_groups_and_style(run_import: Import, tmp_path: Path) -> None:
    """With the data at hand a file needs ids and scores only, and a missing example is unscored."""
    examples = [
        {
            "id": n,
            "subset": ("sums/easy", "sums/hard", "words/easy", "words/easy")[n],
            "prompt": f"{n // 2} + 1?",
            "chosen": f"**{n}** is it",
            "rejected": "no",
        }
        for n in range(4)
    ]
    data = write(tmp_path / "data.jsonl", "".join(json.dumps(row) + "\n" for row in examples))
    scores = write(
        tmp_path / "scores.csv", "id,completion,score\n" + "".join(f"{n},0,1\n{n},1,{n}\n" for n in range(3))
    )
    (result,) = run_import(scores, data=data, model="me/rm", columns={})
    assert result.benchmark.id.startswith("small-")
    assert result.benchmark.sha256
    assert result.counts is not None
    assert (result.counts.examples, result.counts.unscored, result.counts.ties) == (
        4,
        1,
        1,
    )
    assert result.length["chosen longer"].scored == 3
    outcomes = ResultsStore(tmp_path / "out").outcomes_of(result)
    assert outcomes is not None
    assert len(set(outcomes.groups.tolist())) == 2
    assert outcomes.markdown is not None
    write(tmp_path / "scores.csv", "id,completion,score\n9,0,1\n9,1,0\n")
    with pytest.raises(DataError, match="has no example '9'"):
        run_import(scores, data=data, model="me/other", columns={})
    write(tmp_path / "scores.csv", "id,completion,score\n1,0,1\n1,2,0\n")
    with pytest.raises(DataError, match="has 2 completions, of which 1 are chosen"):
        run_import(scores, data=data, model="me/other", columns={})


@pytest.mark.parametrize("joint", [False, True])
def test_a_folder_and_a_column_name_models(run_import: Import, tmp_path: Path, joint: bool) -> None:
    """Models are called as in the registry; those that lack an example are unscored on it."""
    write(tmp_path / "out/models.yaml", "- name: org/first\n  aliases: [first]\n  kind: classifier\n")
    write(tmp_path / "folder/first/scores.csv", ROWS)
    write(tmp_path / "folder/org2/second/scores.csv", HEAD + "a,sums,easy,0,1\nf,words,easy,1,0\n")
    first, second = run_import(tmp_path / "folder", joint=joint)
    assert (first.model.name, first.model.kind, second.model.name) == ("org/first", "classifier", "org2/second")
    assert first.published is not None
    assert "listed as 'first'" in (first.published.note or "")
    assert first.counts is not None
    assert second.counts is not None
    assert (first.counts.examples, second.counts.examples, second.counts.unscored) == (6, 6, 4)
    assert (tmp_path / "out/scores/small.parquet").exists() == joint
    assert verify(tmp_path / "out").differences == ()
    board = ResultsStore(tmp_path / "out")
    board.refresh()
    (shown,) = board.boards().values()
    assert [subset.section for subset in shown.subsets if subset.name in ("Easy", "Hard")] == ["Difficulty"] * 2
    assert all(board.outcomes("small", row.model) is not None for row in shown.rows)
    content = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    run_import(tmp_path / "folder", joint=joint, overwrite=True)
    assert {path: path.read_bytes() for path in content} == content
    with pytest.raises(ResultError, match="--overwrite"):
        run_import(tmp_path / "folder", joint=joint)


def test_one_file_holds_the_scores_of_many_models(run_import: Import, tmp_path: Path) -> None:
    scores = write(
        tmp_path / "all.csv", "model,id,s,chosen_score,rejected_score\nx,a,sums/easy,1,0\ny,a,sums/easy,0,1\n"
    )
    x, y = run_import(scores, joint=True, columns={"subset": "s"})
    path = tmp_path / "out" / "scores/small.parquet"
    assert aggregate_scores(path, "x") == x
    assert aggregate_scores(path, "y") == y
    with pytest.raises(ScoreTableError, match="--model"):
        aggregate_scores(path)
    with pytest.raises(ScoreTableError, match="no scores of 'z'"):
        aggregate_scores(path, "z")
    changed = json.loads((tmp_path / "out/results/small/x.json").read_bytes())
    changed["scores"]["column"] = "y"
    changed.pop("checksum")
    (tmp_path / "out/results/small/x.json").write_text(json.dumps(changed))
    assert any("model.name" in str(difference) for difference in verify(tmp_path / "out").differences)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS + "a,sums,easy,1,0\n", "scores.csv:7: field 'id': 'a' is repeated"),
        (ROWS + "g,sums,odd,1,0\n", "'sums/odd', which small does not have"),
        (ROWS + "g,sums,easy,high,0\n", "field 'chosen_score': is text; expected a number"),
        ("uid,kind,level,better,worse\na,sums,easy,1,0\n", "expected an id with a chosen and a rejected score"),
        ("id,kind,level,score\na,sums,easy,1\n", "field 'label': is missing"),
        ("id,kind,level,score,label\na,sums,easy,1,chosen\n", "no score of a rejected completion"),
        (HEAD, "scores.csv: has no rows"),
    ],
)
def test_mistakes_are_named(run_import: Import, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        run_import(write(tmp_path / "scores.csv", text), model="me/rm")
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_replaced(tmp_path: Path) -> None:
    out, starter = tmp_path / "out", load_benchmark("starter")
    evaluate_scorer(BaselineScorer("longest"), "baseline/longest", starter, out=out)
    example = starter.examples[0]
    text = f"id,subset,chosen_score,rejected_score\n{example.id},{example.subset},1,0\n"
    scores, target = write(tmp_path / "scores.csv", text), find_target("starter", out)
    with pytest.raises(ResultError, match="result of a run"):
        import_scores(scores, target, out, origin="x", model="baseline/longest", overwrite=True)


def test_the_command_imports_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card, scores = write(tmp_path / "small.yaml", CARD), write(tmp_path / "scores.csv", ROWS)
    options = ["--source", "somewhere", "--out", str(tmp_path / "out"), "--columns", "subset=kind+level"]
    command = ["import", "scores", str(scores), "--benchmark", str(card), *options]
    assert rb(command, monkeypatch) == 2
    assert "names no model" in capsys.readouterr().err
    assert rb([*command, "--model", "me/rm"], monkeypatch) == 0
    assert "me/rm" in capsys.readouterr().out
    assert rb(["show", str(tmp_path / "out"), "--subsets", "--format", "csv"], monkeypatch) == 0
    assert "Easy" in capsys.readouterr().out
