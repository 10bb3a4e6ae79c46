from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rb_core.audits.contamination import (
    Contamination,
    Difference,
    contamination_report,
    difference_of_parts,
    find_contamination,
    score_without,
)
from rb_core.audits.report import read_report
from rb_core.audits.text_overlap import Overlap
from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError
from rb_core.stats.item_outcomes import Flags, ItemOutcomes, Strings
from tests.cli.command_line import rb
from tests.fakes.outcomes import item_outcomes
from tests.paths import BUNDLED

STARTER = load_benchmark("starter")
TEXT_CELLS = ("training_row", "matched_text")


def strata(size: int) -> Strings:
    return np.zeros(size, dtype=np.str_)


def training_file(folder: Path, planted: int = 40) -> Path:
    """Training data with every fourth of the first items' prompts, and one row that cannot be read."""
    path = folder / "train.jsonl"
    rows = [{"prompt": "Nothing of that kind here", "chosen": f"answer {i}", "rejected": "no"} for i in range(50)]
    rows += [{"messages": [dict(turn) for turn in item.prompt]} for item in STARTER.examples[: 4 * planted : 4]]
    path.write_text("\n".join([*map(json.dumps, rows), "{"]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Contamination:
    return find_contamination(str(training_file(tmp_path_factory.mktemp("train"))), STARTER)


def outcomes_of(flagged: Flags, *, right_if_flagged: bool) -> ItemOutcomes:
    """Outcomes of a model that gets every second item right, and perhaps all flagged ones."""
    earned = [float((right_if_flagged and flag) or i % 2 == 0) for i, flag in enumerate(flagged.tolist())]
    ids, subsets = ([getattr(example, name) for example in STARTER.examples] for name in ("id", "subset"))
    return item_outcomes("m", earned, subsets=subsets, ids=ids, benchmark="starter")


def test_a_model_that_knows_the_flagged_items_loses_without_them(found: Contamination) -> None:
    flagged = found.flagged
    (score,) = score_without(found, [outcomes_of(flagged, right_if_flagged=True)])
    assert (score.flagged.value, score.flagged.scored) == (1.0, flagged.sum())
    assert score.gain is not None
    assert score.gain.low is not None
    assert score.gain.low > 0.2
    assert score.change is not None
    assert score.clean.value is not None
    assert score.whole.value is not None
    assert score.change.value == pytest.approx(score.clean.value - score.whole.value)
    assert score.change.high is not None
    assert score.change.high < 0


def test_unscored_items_count_in_no_part(found: Contamination) -> None:
    outcomes = outcomes_of(found.flagged, right_if_flagged=True)
    unscored = item_outcomes(
        "m",
        np.where(found.flagged, np.nan, outcomes.credits).tolist(),
        subsets=outcomes.subsets.tolist(),
        ids=outcomes.example_ids.tolist(),
    )
    (score,) = score_without(found, [unscored])
    assert (score.flagged.value, score.gain, score.change) == (None, None, None)
    assert score.whole.value == score.clean.value


def test_a_model_is_scored_where_every_item_is_flagged(found: Contamination) -> None:
    everything = replace(found, overlaps=[Overlap({}, {"prompt": 1.0})] * len(found.overlaps))
    (score,) = score_without(everything, [outcomes_of(found.flagged, right_if_flagged=True)])
    assert score.flagged == score.whole
    assert (score.clean.value, score.headline, score.change) == (None, None, None)


def test_items_of_other_data_are_left_out(found: Contamination) -> None:
    assert score_without(found, [item_outcomes("m", [1.0, 0.0], ids=["other", "another"])]) == []


def test_parts_are_compared_within_strata() -> None:
    """Stratum a is easy and mostly in the first part; within the strata the parts are alike."""
    names = np.array(["a"] * 100 + ["b"] * 100)
    in_first = np.array(([True] * 80 + [False] * 20) + ([True] * 20 + [False] * 80))
    values = np.array(([1.0] * 4 + [0.0]) * 20 + ([1.0] + [0.0] * 4) * 20)
    groups = np.arange(200).astype(np.str_)
    crude = difference_of_parts(values, groups, in_first, strata(200))
    within = difference_of_parts(values, groups, in_first, names)
    assert crude is not None
    assert within is not None
    assert crude.value == pytest.approx(0.36)
    assert within.value == pytest.approx(0.0)
    assert within.low is not None
    assert within.high is not None
    assert within.low < 0 < within.high


def test_a_stratum_without_both_parts_is_left_out() -> None:
    values, groups = np.array([1.0, 0.0, 1.0, 1.0]), np.array(list("wxyz"))
    in_first = np.array([True, False, True, True])
    difference = difference_of_parts(values, groups, in_first, np.array(["a", "a", "b", "b"]))
    assert difference is not None
    assert difference.value == 1.0
    assert difference_of_parts(values, groups, in_first, np.array(list("abcd"))) is None


def test_a_negative_factor_turns_the_interval_round() -> None:
    assert Difference(0.2, 0.1, 0.4).times(-0.5) == Difference(-0.1, -0.2, -0.05)
    assert Difference(0.2, None, None).times(2) == Difference(0.4, None, None)


def coverage(rng: np.random.Generator, sizes: tuple[int, int], accuracy: float, shared: bool, repeats: int) -> float:
    """Return how often the interval of equal parts holds no difference. shared: a prompt has an item in both parts."""
    small, large = sizes
    in_first = np.arange(small + large) < small
    prompts = np.arange(small + large) % large if shared else np.arange(small + large)
    hits = 0
    for _ in range(repeats):
        ease = rng.beta(2 * accuracy, 2 * (1 - accuracy), size=small + large)[prompts]
        values = (rng.random(small + large) < ease).astype(float)
        difference = difference_of_parts(values, prompts.astype(np.str_), in_first, strata(small + large))
        assert difference is not None
        hits += (difference.low or 0.0) <= 0 <= (difference.high or 0.0)
    return hits / repeats


@pytest.mark.parametrize("shared", [False, True])
def test_the_interval_of_equal_parts_holds_no_difference(shared: bool) -> None:
    assert 0.91 <= coverage(np.random.default_rng(1), (30, 170), 0.8, shared, 300) <= 0.99


@pytest.mark.soak
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("accuracy", [0.6, 0.9, 0.97])
@pytest.mark.parametrize("sizes", [(10, 150), (40, 400), (300, 1400)])
def test_coverage_of_the_difference_of_parts(sizes: tuple[int, int], accuracy: float, shared: bool) -> None:
    assert 0.93 <= coverage(np.random.default_rng(2), sizes, accuracy, shared, 2000) <= 0.995


def test_training_data_and_options_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("{\n[1]\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.jsonl: no row can be read; train\.jsonl:1: .*; train\.jsonl:2: "):
        find_contamination(str(path), STARTER)
    with pytest.raises(DataError, match="--ngram 3"):
        find_contamination(str(path), STARTER, n=3)
    with pytest.raises(DataError, match=r"--share 1\.5"):
        find_contamination(str(path), STARTER, min_share=1.5)


def test_a_report_on_clean_data_compares_no_scores(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "nothing of that kind is in here"}', encoding="utf-8")
    found = find_contamination(str(path), STARTER)
    scores = score_without(found, [outcomes_of(found.flagged, right_if_flagged=False)])
    report = contamination_report(found, scores, {}, "command")
    assert report.answer == ("None of the 300 items of Starter has a text in common with 1 rows of train.jsonl.",)
    assert [table.title for table in report.tables] == ["Flagged items by subset and strongest reason"]
    assert report.figure is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_command_writes_items_and_report(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = tmp_path / f"items{suffix}"
    training = str(training_file(tmp_path))
    arguments = ["audit", "contamination", training, "--benchmark", "starter", "--items", str(items)]
    assert rb([*arguments, "--out", str(tmp_path), "--results", str(BUNDLED)], monkeypatch) == 0
    printed = capsys.readouterr().out
    read = {".csv": pd.read_csv, ".jsonl": lambda path: pd.read_json(path, lines=True), ".parquet": pd.read_parquet}
    frame = read[suffix](items)
    assert len(frame) == 300
    planted = frame[frame["exact_prompt"].notna()]
    assert set(planted["id"]) >= {item.id for item in STARTER.examples[:160:4]}
    assert planted["flagged"].all()
    assert planted[list(TEXT_CELLS)].notna().all(axis=None)
    report = read_report(tmp_path / "audits" / "contamination-starter.json")
    assert [table.title for table in report.tables][-1] == "Scores with and without the flagged items"
    assert "builtin/tiny-rm" in [row[0] for row in report.tables[-1].rows]
    assert report.command == "python -m rb_core audit contamination train.jsonl --benchmark starter"
    assert "1 of 91 training rows could not be read" in printed
    assert "train.jsonl:91: not a line of JSON" in printed
    assert rb(arguments, monkeypatch) == 2
    assert f"{items}: this file exists already" in capsys.readouterr().err
    items.unlink()
    assert rb([*arguments, "--out", str(tmp_path)], monkeypatch) == 2
    assert "contamination-starter.json: this report exists already" in capsys.readouterr().err
    assert not items.exists()


def test_a_model_without_outcomes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", "contamination", str(training_file(tmp_path)), "--benchmark", "starter", "--model", "a/b"]
    assert rb([*arguments, "--results", str(BUNDLED)], monkeypatch) == 2
    assert "--model a/b: no outcomes of single examples on starter" in capsys.readouterr().err
