"""The endpoint `rank`: models that fit some conditions, ranked among themselves by a score or one of its sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rb_core.errors import quoted
from rb_core.leaderboard import model_registry
from rb_core.leaderboard.board import Board, BoardRow
from rb_core.leaderboard.board_table import detectable_text
from rb_core.space.api import RequestError, as_endpoint, model_kinds, type_in_words
from rb_core.space.choose.recommend import Recommender, has_weights, parse_wish
from rb_core.space.results_source import ResultsSource

MAX_ROWS = 100


def rank_endpoint(recommender: Recommender, source: ResultsSource) -> Callable[..., dict[str, Any]]:
    """Return the endpoint's function. Gradio reads its signature and docstring."""

    @as_endpoint
    def rank(
        benchmark: str,
        section: str = "",
        min_size: float | None = None,
        max_size: float | None = None,
        kind: str = "",
        organisation: str = "",
        licence: str = "",
        openness: str = "",
        search: str = "",
        limit: int = 20,
    ) -> dict[str, Any]:
        """Rank the reward models that fit your conditions among themselves, by a benchmark's score or one section.

        Use it for questions such as "which model below 10B is best at safety, and is its lead more than noise?".
        Returns an object with `rows`, best first: `model`, `score` with its 95% interval (`low`, `high`), `rank`,
        `range` (best and worst rank that the data allow), `tier` (models of one tier cannot be told apart from its
        first), `parameters`, `kind`, `organisation`, `licence`, `openness` and `board_rank` (among all models, by the
        benchmark's own score); `lead` (of the first over the second, and if it is more than noise, as a sentence);
        `tied` (number of models that cannot be told apart from the first); `candidates` (number of models that fit);
        `left_out` (numbers of others, by reason); and `detectable_text` (the smallest difference that the benchmark can
        tell). Ranges and tiers allow for all pairs of candidates; `compare` tests two models that you name. Scores are
        fractions from 0 to 1; null is unknown. Baselines and development checkpoints are left out.

        Example: {"benchmark": "rewardbench-2", "section": "Safety", "max_size": 10, "limit": 5}

        Parameters:
            benchmark: the benchmark's id, for example rewardbench or rewardbench-2; `benchmarks` lists them
            section: a section of the benchmark, for example Safety; empty (the default) for its own score over sections
            min_size: least number of parameters in billions, for example 7; models of unknown size are left out then
            max_size: largest number of parameters in billions, for example 10; models of unknown size are left out then
            kind: a kind of model as `benchmarks` lists them, for example Generative; empty (the default) for any
            organisation: the maker of the model, for example allenai; empty (the default) for any
            licence: permissive (Apache-2.0, MIT, BSD), known, or empty (the default) for any
            openness: weights (can be downloaded), data (and training data are declared), or empty (the default) for any
            search: words that the model's name contains, for example llama 8b; empty (the default) for any
            limit: most rows in the answer, 1 to 100; 20 by default
        """
        fields = {"benchmark": benchmark, "min_size": min_size, "max_size": max_size, "section": section, "kind": kind}
        fields |= {"organisation": organisation, "licence": licence, "openness": openness, "search": search}
        return _answer(recommender, source, fields, limit)

    return rank


def _answer(recommender: Recommender, source: ResultsSource, fields: dict[str, Any], limit: object) -> dict[str, Any]:
    """Return the ranking for the fields of a call, which may be any JSON. Raises RequestError, naming a wrong field."""
    if type(limit) is not int or not 1 <= limit <= MAX_ROWS:
        raise RequestError(f"limit is {quoted(str(limit))}; give a whole number from 1 to {MAX_ROWS}.")
    for name in ("section", "kind", "organisation", "search"):
        if not isinstance(fields[name], str):
            raise RequestError(f"{name} is {type_in_words(fields[name])}; give text.")
    section, kind, organisation = fields["section"], fields["kind"], fields["organisation"].lower()
    if kind and kind not in (kinds := model_kinds(source)):
        raise RequestError(f"There is no kind {quoted(kind)}; known are {', '.join(kinds)}.")
    words = fields["search"].lower().split()

    def fits(row: BoardRow) -> bool:
        has_words = all(word in row.model.lower() for word in words)
        return has_words and kind in ("", row.kind) and organisation in ("", (row.organisation or "").lower())

    wish = parse_wish(fields | {"weights": {section: 1.0} if section else {}})
    ranked, left_out = recommender.rank(wish, fits)
    answer = ranking_json(ranked, source.boards()[ranked.id], source.registry(), limit)
    return {"section": section or None, "left_out": left_out} | answer


def ranking_json(ranked: Board, board: Board, registry: model_registry.ModelRegistry, limit: int) -> dict[str, Any]:
    """Return the first rows of a ranking of some of a board's models, with what can be told apart."""
    rows = ranked.ranked()
    return {
        "benchmark": board.id,
        "title": board.title,
        "candidates": len(rows),
        "tied": sum(row.rank_interval is not None and row.rank_interval.best == 1 for row in rows),
        "lead": lead_text(rows),
        "detectable_text": detectable_text(ranked),
        "rows": [_row_json(row, board, registry) for row in rows[:limit]],
    }


def _row_json(row: BoardRow, board: Board, registry: model_registry.ModelRegistry) -> dict[str, Any]:
    registered, on_board = registry.get(row.model), board.row(row.model)
    return {
        "rank": row.rank,
        "model": row.model,
        "score": row.headline.value,
        "low": row.headline.low,
        "high": row.headline.high,
        "range": list(row.rank_interval[:2]) if row.rank_interval else None,
        "tier": row.tier,
        "parameters": row.parameters,
        "kind": row.kind,
        "organisation": row.organisation,
        "licence": registered.licence if registered else None,
        "openness": model_registry.openness(registered, has_weights=has_weights(row)),
        "includes": row.includes,
        "board_rank": on_board.rank if on_board else None,
    }


def lead_text(rows: list[BoardRow]) -> str | None:
    """Return the lead of the first over the second model as a sentence; None without two models."""
    if len(rows) < 2:
        return None
    first, second = rows[:2]
    lead = 100 * ((first.headline.ranked_by or 0.0) - (second.headline.ranked_by or 0.0))
    subject = f"{first.model} leads {second.model} by {lead:.1f} points"
    if second.rank_interval is None:
        return f"{subject}; without intervals nobody knows if that is noise."
    verdict = "within noise" if second.rank_interval.best == 1 else "more than noise (5% level, allowing for all pairs)"
    return f"{subject}: {verdict}."
