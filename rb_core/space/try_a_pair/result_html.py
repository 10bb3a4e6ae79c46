"""Fill in the templates of the tab's results."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from rb_core.scorers.judge.parsing import LETTERS
from rb_core.space.html import render
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.try_a_pair.agreement import model_agreements
from rb_core.space.try_a_pair.beside_baseline import BesideBaseline
from rb_core.space.try_a_pair.client_code import curl_code, python_code
from rb_core.space.try_a_pair.margin_percentile import MarginPercentile
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.result import PairResult, ScoredCompletion
from rb_core.space.try_a_pair.result_json import download_json
from rb_core.space.try_a_pair.token_rewards import HEIGHT, MAX_ROWS, WIDTH, token_lines
from rb_core.space.try_a_pair.what_if import NOT_FOR_JUDGES, ChangeEffect

MAX_EXCERPT = 140  # characters


class CompletionRow(NamedTuple):
    """A completion in a model's table."""

    number: int
    completion: ScoredCompletion
    excerpt: str
    gap: float  # to the best score
    bar: float  # percent; the worst completion has a short bar


class ModelView(NamedTuple):
    """A model's result, the percentile of its margin, and the model's standing with the verdict on it."""

    result: PairResult
    percentile: MarginPercentile | None = None
    standing: BesideBaseline | None = None
    verdict: str = ""

    @property
    def margin_words(self) -> str:
        """Return the size of the margin for this model: small and large are the lowest and highest quarter."""
        share = self.percentile.share if self.percentile else 0.5
        return "small" if share < 0.25 else "large" if share > 0.75 else "usual"


def result_html(models: Sequence[ModelView], question: Question, address: str) -> Markup:
    """Return the results of all models, with a download and code that asks the same from the page at `address`."""
    results = [model.result for model in models]
    file = download_json(question, results, [model.percentile for model in models])
    content = json.dumps(file, ensure_ascii=False, indent=1, allow_nan=False)
    return render(
        "try_a_pair/result.html",
        models=[(model, _rows(model.result, question.completions), token_lines(model.result)) for model in models],
        agreements=model_agreements(results),
        download="data:application/json;base64," + base64.b64encode(content.encode()).decode(),
        judge_modes=MODE_DESCRIPTIONS,
        letters=LETTERS,
        width=WIDTH,
        height=HEIGHT,
        max_rows=MAX_ROWS,
        python_code=python_code(question, address),
        curl_code=curl_code(question, address),
    )


def excerpt(text: str) -> str:
    """Return the beginning of a text."""
    return text.strip()[:MAX_EXCERPT] + ("…" if len(text.strip()) > MAX_EXCERPT else "")


def _rows(result: PairResult, texts: Sequence[str]) -> list[CompletionRow]:
    """Return the rows of a model's table, best first."""
    values = [completion.value for completion in result.completions if completion.value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    rows = []
    for number, (completion, text) in enumerate(zip(result.completions, texts, strict=True), 1):
        value = high if completion.value is None else completion.value
        bar = 4 + 96 * (value - low) / (high - low) if high > low else 100.0
        rows.append(CompletionRow(number, completion, excerpt(text), high - value, bar))
    return sorted(rows, key=lambda row: (row.completion.rank or len(rows) + 1, row.number))


def changes_html(effects: Sequence[ChangeEffect], judges: Sequence[str] = ()) -> Markup:
    """Return the effects of changes; `judges` are the chosen models that were left out."""
    return render(
        "try_a_pair/what_if.html",
        models=list(dict.fromkeys(effect.model for effect in effects)),
        changes=list({effect.change.id: effect.change for effect in effects}.values()),
        effects={(effect.change.id, effect.model): effect for effect in effects},
        judges=judges,
        not_for_judges=NOT_FOR_JUDGES,
    )
