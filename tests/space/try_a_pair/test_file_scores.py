"""Scores of a visitor's file, beside the page."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.prompt_rows import PromptRow
from rb_core.evaluation.score import score_completions
from rb_core.evaluation.score_writers import Tally
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS
from rb_core.scorers.load import load_model
from rb_core.space.limits import InputError, Limits
from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair import scoring
from rb_core.space.try_a_pair.available_models import AvailableModels, ListedJudge
from rb_core.space.try_a_pair.file_scores import file_scores_html, rows_json
from rb_core.space.try_a_pair.result import ScoredFile
from rb_core.space.try_a_pair.scoring import PairScorer
from rb_core.space.try_a_pair.service import PairService
from rb_core.space.try_a_pair.uploaded_file import read_uploaded_file
from tests.paths import BUNDLED
from tests.space.try_a_pair.conftest import ANSWERS, MARKUP, PROMPT, TINY, bundled_models, score_text, uploaded

ROWS: Sequence[dict[str, Any]] = (
    {"id": 2**60 + 1, "prompt": PROMPT, "completions": ["Eight minutes.", "No.", "Eight minutes."]},
    {"id": 2, "prompt": "Name a prime.", "completions": ["word " * 3900]},
    {"id": 3, "prompt": "Name a river.", "completions": ["", MARKUP]},
)


def read(rows: Sequence[dict[str, Any]]) -> list[PromptRow]:
    return read_uploaded_file(uploaded("a.jsonl", "\n".join(map(json.dumps, rows))))


def score_rows(name: str, rows: Sequence[dict[str, Any]], scorer: PairScorer | None = None) -> ScoredFile:
    *_, scored = (scorer or bundled_models()).score_rows(name, read(rows))
    assert isinstance(scored, ScoredFile)
    return scored


@pytest.fixture(scope="module")
def scored() -> ScoredFile:
    return score_rows(TINY, ROWS)


def test_scores_are_those_of_the_package(scored: ScoredFile) -> None:
    model = load_model(TINY)
    for prompt, row in zip(scored.prompts, ROWS, strict=True):
        expected = score_completions(model, row["prompt"], row["completions"])
        assert [score.value for score in prompt.scores] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_the_downloads_have_the_rows_and_columns_that_score_writes(scored: ScoredFile) -> None:
    """Each value is a JSON text, so that the browser copies numbers that it cannot hold."""
    tally = Tally()
    content = json.loads(rows_json(scored.prompts, None, tally))
    assert content["columns"] == ["id", "prompt", *SCORE_COLUMNS]
    assert [entry.get("id") for entry in content["rows"]] == [str(2**60 + 1), None, None, "2", "3", None]
    assert content["rows"][3]["score"] == "null"
    assert content["rows"][3]["reason"] == '"completion alone exceeds the maximum length"'
    assert (tally.prompts, tally.completions, tally.unscored.total()) == (3, 6, 1)


def test_the_page_shows_counts_reasons_ties_and_percentiles(scored: ScoredFile) -> None:
    html = file_scores_html(scored, ResultsFolder(BUNDLED).percentiles(scored.model))
    text = " ".join(html.striptags().split())
    assert "3 rows, 6 completions scored by builtin/tiny-rm" in text
    assert "5 scored, 1 unscored, 0 truncated." in text
    assert "of the scores of the chosen answers of Starter." in text
    assert "unscored 1 time: completion alone exceeds the maximum length" in text
    assert "1, 3 (tie) of 3" in text
    assert "<img" not in html
    assert "No percentiles" in file_scores_html(scored, None)


def test_a_file_of_too_many_tokens_is_refused_before_it_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = PairScorer(bundled_models().models, Limits(file_tokens=20))
    scorer.cache = bundled_models().cache
    monkeypatch.setattr(type(scorer.cache.get(TINY).scorer), "stream", None)
    with pytest.raises(InputError, match=r"For builtin/tiny-rm the file has [\d,]+ tokens; at most 20 are scored here"):
        score_rows(TINY, ROWS, scorer)


def test_a_row_that_a_template_refuses_is_named(tiny_model: Callable[[str], Path]) -> None:
    scorer = PairScorer(AvailableModels((str(tiny_model("gemma2")),), lambda name: False), Limits())
    system = [{"role": "system", "content": "Answer like a pirate"}, {"role": "user", "content": PROMPT}]
    with pytest.raises(InputError, match=r"^a\.jsonl:2: .*system"):
        score_rows("local/gemma2", [{"prompt": PROMPT, "answer": "No."}, {"prompt": system, "answer": "No."}], scorer)


def test_a_question_is_scored_between_two_rows_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PROGRESS_PERIOD", 0)
    steps = bundled_models().score_rows(TINY, read(ROWS))
    assert [next(steps), next(steps)] == [f"{done} of 6 completions are scored." for done in (0, 3)]
    answered = threading.Thread(target=score_text, args=(TINY, PROMPT, ANSWERS))
    answered.start()
    answered.join(timeout=30)
    assert not answered.is_alive()
    assert isinstance(list(steps)[-1], ScoredFile)


@pytest.mark.parametrize("model", ["nope", "test/judge", None, 3, [TINY], {"a": 1}])
def test_only_listed_models_that_are_no_judges_score_files(model: Any) -> None:
    models = AvailableModels((), lambda name: False, judges=(ListedJudge("test/judge", "x", "http://127.0.0.1:9/v1"),))
    service = PairService(PairScorer(models, Limits()), ResultsFolder(BUNDLED), None)
    with pytest.raises(InputError, match=r"Choose one of these models for a file: builtin/tiny-rm, baseline/longest"):
        list(service.score_file(model, []))


def test_a_lent_gpu_scores_a_file_in_one_call() -> None:
    calls: list[str] = []

    def on_gpu(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def wrapped(*args: Any) -> Any:
            calls.append(function.__name__)
            return function(*args)

        return wrapped

    service = PairService(bundled_models(), ResultsFolder(BUNDLED), on_gpu)
    assert isinstance(list(service.score_file("baseline/longest", read(ROWS)))[-1], ScoredFile)
    assert calls == ["score_rows"]
