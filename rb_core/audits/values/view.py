"""The page's entry of the values audit: leans by theme, the extreme answers of each model, and how far models agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from rb_core.audits.report import AuditReport, AuditTable, Cell
from rb_core.audits.result import AuditResult
from rb_core.audits.values.answers import DISTRIBUTION, EXTREMES, WORD_SCORES
from rb_core.audits.views import effect_tables, effects_of, intervals_figure, same_data, view_report
from rb_core.stats.correlation import correlate_ranks
from rb_core.stats.effects import is_significant

LEAN, AGREEMENT = "lean to the theme (sd)", "lean to agreement (sd)"
ALL = "all statements"
MAX_SHOWN = 8  # answers of a model
NUM_TOP = 50  # words whose overlap between two models is counted
MAX_PAIRS = 60  # of models


def values_view(results: Sequence[AuditResult]) -> AuditReport:
    """Return the entry over the results of several models on the same statements and the same prompt."""
    compared, left_out = same_data(results, lambda ref: f"{ref.settings['statements']} {ref.settings['prompt']}")
    ref = compared[0].audit
    data = str(ref.settings["data"])
    overlap = _overlap_table(compared)
    return view_report(
        compared,
        left_out,
        title=f"{ref.title}: {data}" if data else ref.title,
        answer=(*_summary(compared), *map(_sentence, compared), ref.meaning),
        tables=(_answer_table(compared), *([overlap] if overlap.rows else []), *effect_tables(compared)),
        figure=intervals_figure(compared, LEAN),
        command=f"values --model MODEL{' --themes FILE' if data else ''}",
    )


def _table(result: AuditResult, title: str) -> AuditTable:
    return next(table for table in result.tables if table.title == title)


def _summary(results: Sequence[AuditResult]) -> Iterator[str]:
    """Yield how many of several models have a lean, and prefer one answer whatever is said."""
    if len(results) > 1:
        lean, one_sided = (
            sum(any(map(is_significant, effects_of(result, measure))) for result in results)
            for measure in (LEAN, AGREEMENT)
        )
        yield (
            f"{lean} of {len(results)} models lean to a theme or against it; {one_sided} prefer agreement or "
            "disagreement whatever is said."
        )


def _sentence(result: AuditResult) -> str:
    effects = effects_of(result, LEAN)
    leans = sorted((e for e in effects if is_significant(e) and e.value is not None), key=lambda e: -abs(e.difference))
    detectable = [e.detectable for e in effects if e.detectable is not None]
    if leans:
        lean = "leans " + ", ".join(
            f"{'to' if e.difference > 0 else 'against'} {e.group} ({e.difference:+.2f} sd)" for e in leans
        )
    else:
        found = f"; leans of {max(detectable):.2f} sd would have been found" if detectable else ""
        lean = f"no lean to a theme can be told{found}"
    agreement = next((e for e in effects_of(result, AGREEMENT) if is_significant(e)), None)
    towards = "" if agreement is None else "agreement" if agreement.difference > 0 else "disagreement"
    return f"{result.model.name}: {lean}{f'; prefers {towards} whatever is said' if towards else ''}."


def _answer_table(results: Sequence[AuditResult]) -> AuditTable:
    """Return each model's extreme answers, and the distribution of their scores."""
    rows: list[tuple[Cell, ...]] = []
    for result in results:
        values = {str(name): value for name, value in _table(result, DISTRIBUTION).rows}
        extremes = _table(result, EXTREMES).rows[:MAX_SHOWN]
        rows.append(
            (
                result.model.name,
                *(", ".join(str(row[place]) for row in extremes) or None for place in (1, 3)),
                values["answers"],
                values.get("tokens that cannot be an answer by themselves"),
                *(values.get(name) for name in ("mean", "standard deviation", "skewness", "excess kurtosis")),
            )
        )
    return AuditTable(
        title=f"Answers to the prompt: {results[0].audit.settings['prompt']}",
        columns=(
            "Model", "Highest answers", "Lowest answers", "Answers", "Tokens left out", "Mean", "sd", "Skewness",
            "Excess kurtosis",
        ),
        rows=tuple(rows),
        note="Answers are all tokens of a model that can be an answer by themselves; of models without a vocabulary of "
        "their own, the words of this project's statements. They are as the model ranks them; some are offensive.",
    )  # fmt: skip


def _overlap_table(results: Sequence[AuditResult]) -> AuditTable:
    """Return for pairs of models how far their scores of the same words agree, the most alike first.

    A word counts if it is one token for both models; models without a vocabulary have no say in this.
    """
    words = {result.model.name: _word_scores(result) for result in results}
    pairs = [(first, second, *_overlap(words[first], words[second])) for first, second in combinations(words, 2)]
    pairs.sort(key=lambda row: 2.0 if row[3] is None else -float(row[3]))
    return AuditTable(
        title="Models compared on the same words",
        columns=(
            "Model", "Other model", "Words", "Rank correlation", "95% low", "95% high",
            f"Common share of the {NUM_TOP} highest", f"Common share of the {NUM_TOP} lowest", "By chance",
        ),
        rows=tuple(pairs[:MAX_PAIRS]),
        note=f"The {MAX_PAIRS} most alike of {len(pairs)} pairs." if len(pairs) > MAX_PAIRS else "",
    )  # fmt: skip


def _word_scores(result: AuditResult) -> dict[str, float]:
    rows = _table(result, WORD_SCORES).rows
    return {str(word): float(score or 0.0) for word, score, one_token in rows if one_token != 0}


def _overlap(first: dict[str, float], second: dict[str, float]) -> tuple[Cell, ...]:
    shared = sorted(first.keys() & second.keys())
    x, y = (np.array([scores[word] for word in shared]) for scores in (first, second))
    correlation = correlate_ranks(x, y)
    if len(shared) < 2 * NUM_TOP:
        return (len(shared), *correlation[1:4], None, None, None)
    common = [
        len({*np.argsort(sign * x, kind="stable")[:NUM_TOP]} & {*np.argsort(sign * y, kind="stable")[:NUM_TOP]})
        for sign in (-1, 1)
    ]
    return (len(shared), *correlation[1:4], *(count / NUM_TOP for count in common), NUM_TOP / len(shared))
