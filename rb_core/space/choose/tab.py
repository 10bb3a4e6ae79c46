"""The tab that recommends models for a use, and the endpoints `choose` and `rank`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError
from rb_core.space.api import as_endpoint
from rb_core.space.choose.ranking import rank_endpoint
from rb_core.space.choose.recommend import Recommender, parse_wish
from rb_core.space.choose.report import recommendation_html, summary_text
from rb_core.space.component import component
from rb_core.space.html import message_html
from rb_core.space.results_source import ResultsSource


class RecommendationView(TypedDict):
    """The answer for the browser. status: the line for the live region."""

    html: str
    status: str


def build_choose(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page`, and publish `choose` and `rank`; data comes when it is opened."""
    recommender = Recommender(source)

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def choose_choices(_: object) -> dict[str, Any]:
        return recommender.choices()

    def choose_request(request: object) -> RecommendationView:
        try:
            answer = recommender.answer(parse_wish(request if isinstance(request, dict) else {}))
        except RewardBenchError as error:
            return {"html": message_html(str(error)), "status": ""}
        return {"html": recommendation_html(answer), "status": summary_text(answer)}

    api(_endpoint(recommender), api_name="choose", concurrency_limit=None)
    api(rank_endpoint(recommender, source), api_name="rank", concurrency_limit=None)
    return component(__package__, "choose.js", server_functions=[choose_choices, choose_request])


def _endpoint(recommender: Recommender) -> Callable[..., dict[str, Any]]:
    @as_endpoint
    def choose(
        use: str,
        benchmark: str = "",
        weights: dict[str, float] | None = None,
        min_size: float | None = None,
        max_size: float | None = None,
        licence: str = "",
        openness: str = "",
    ) -> dict[str, Any]:
        """Recommend reward models for a use: the group that cannot be told apart from the best, with reasons and code.

        Returns an object with `group` (models that no other candidate is significantly better than, by the score for
        these weights: `score` with its 95% interval, `rank` and `range` among the candidates, `reasons`, `traits`,
        `command`, `python` and a `note`), `more` (further models of the group), `tied`, `candidates`, `left_out` (by
        reason), `advice` for the use, `evidence` (correlations with results of RLHF or best-of-N), and `not_known`
        (read it before you recommend a model to somebody). Scores are fractions from 0 to 1. `rank` lists all
        candidates.

        Example: {"use": "best-of-n", "weights": {"Math": 2, "Safety": 1}, "max_size": 10}

        Parameters:
            use: what the model is for: rlhf, best-of-n, filter (of training data) or judge
            benchmark: the benchmark's id; empty (the default) for RewardBench 2, which they were measured on
            weights: numbers from 0 by section of the benchmark, as `benchmarks` lists them; by default all are the same
            min_size: least number of parameters in billions, for example 7; models of unknown size are left out then
            max_size: largest number of parameters in billions, for example 10; models of unknown size are left out then
            licence: permissive (Apache-2.0, MIT, BSD), known, or empty (the default) for any
            openness: weights (can be downloaded), data (and training data are declared), or empty (the default) for any
        """
        return recommender.answer(
            parse_wish(
                {
                    "use": use,
                    "benchmark": benchmark,
                    "weights": weights,
                    "min_size": min_size,
                    "max_size": max_size,
                    "licence": licence,
                    "openness": openness,
                }
            )
        )

    return choose
