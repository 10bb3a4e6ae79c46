"""The tab that recommends models for a use, and the endpoint `choose`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypedDict

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError
from rb_core.space.api import RequestError, as_endpoint, type_in_words
from rb_core.space.choose.recommend import Recommender, Wish
from rb_core.space.choose.report import recommendation_html, summary_text
from rb_core.space.component import component
from rb_core.space.html import message_html
from rb_core.space.results_source import ResultsSource

BILLION = 1e9


class RecommendationView(TypedDict):
    """The answer for the browser. status: the line for the live region."""

    html: str
    status: str


def build_choose(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab in the tab's context of `page` and publish the endpoint; data is sent when the tab is opened."""
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
    return component(__package__, "choose.js", server_functions=[choose_choices, choose_request])


def parse_wish(fields: dict[str, Any]) -> Wish:
    """Return the wish in JSON; sizes are in billions. Raises RequestError, naming the field, for another type."""
    texts = {}
    for name in ("use", "benchmark", "licence", "openness"):
        value = fields.get(name) or ""
        if not isinstance(value, str):
            raise RequestError(f"{name} is {type_in_words(value)}; give text.")
        texts[name] = value
    weights = fields.get("weights") or {}
    if not isinstance(weights, dict) or not all(type(weight) in (int, float) for weight in weights.values()):
        raise RequestError("weights are numbers by section, such as {'Math': 2, 'Safety': 1}.")
    return Wish(
        use=texts["use"] or "rlhf",
        benchmark=texts["benchmark"],
        weights=weights,
        min_size=_size("min_size", fields.get("min_size")),
        max_size=_size("max_size", fields.get("max_size")),
        licence=texts["licence"],
        openness=texts["openness"],
    )


def _size(name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise RequestError(f"{name} is not a number of billions of parameters, such as 8.")
    return value * BILLION


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
        (read it before you recommend a model to somebody).

        Parameters:
            use: rlhf, best-of-n, filter or judge
            benchmark: the benchmark's id; empty for RewardBench 2, which such results were measured against
            weights: weight by section of the benchmark; without any, all sections count the same
            min_size: least number of parameters in billions; models of unknown size are left out then
            max_size: largest number of parameters in billions
            licence: permissive, known, or empty for any
            openness: weights (can be downloaded), data (and training data are declared), or empty for any
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
