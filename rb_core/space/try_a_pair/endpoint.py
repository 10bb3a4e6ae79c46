"""The endpoint `score`: the tab's results as JSON, for programs and agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from rb_core.space.api import as_endpoint
from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.question import (
    MAX_CHARACTERS,
    MAX_COMPLETIONS,
    MAX_EXCHANGES,
    MAX_MODELS,
    MIN_COMPLETIONS,
    make_question,
)
from rb_core.space.try_a_pair.result_json import agreement_json, result_json
from rb_core.space.try_a_pair.service import PairService


def score_endpoint(service: PairService) -> Callable[..., dict[str, Any]]:
    """Return the endpoint's function. Gradio reads its signature and docstring."""

    def score(
        request: gr.Request,
        model: str,
        prompt: str,
        completions: list[str],
        system: str = "",
        score_empty: bool = False,
        turns: list[dict[str, str]] | None = None,
        others: list[str] | None = None,
        along: bool = False,
    ) -> dict[str, Any]:
        with service.rate_limited(request):
            if not isinstance(model, str):
                raise InputError("Give the model by its name.")
            if not isinstance(others, list | None):
                raise InputError("The other models must be a list of names.")
            models = [model, *(others or [])]
            question = make_question(
                models, prompt, completions, system, turns, score_empty, offered=service.models.names
            )
            for _ in service.load(question):
                pass  # progress is for people
            results = service.score(question, along is True)
            percentiles = service.percentiles(results)
        first, *rest = [result_json(*pair) for pair in zip(results, percentiles, strict=True)]
        return {**first, "others": rest, "agreement": agreement_json(results)} if rest else first

    score.__doc__ = f"""Score completions of a prompt with a reward model, a generative judge or a baseline.

    Returns scores in the order given (null for a completion that could not be scored), ranks and token counts; the
    margin between best and second; for a reward model the Bradley-Terry probability of that margin; and the percentile
    of the margin among the model's margins on a benchmark (null if these are not known). For a judge, `judge` has every
    request: the completions shown and their order, the verdict and the reply. A reward has no unit and no zero: compare
    scores of one prompt by one model only. Nothing that you send is stored.

    Example: {{"model": "builtin/tiny-rm", "prompt": "Name a prime.", "completions": ["Seven.", "Nine."]}}

    Parameters:
        model: one of {", ".join(service.models.names)}, or another that the page offers
        prompt: the user's question, at most {MAX_CHARACTERS} characters
        completions: {MIN_COMPLETIONS} to {MAX_COMPLETIONS} answers to it
        system: a system prompt; empty (the default) for none
        score_empty: true allows empty completions; false by default
        turns: earlier turns, user and assistant in alternation, each with role and content; at most {2 * MAX_EXCHANGES}
        others: up to {MAX_MODELS - 1} more models; their results are under "others", with "agreement"
        along: true adds the reward at each token of the completions; false by default
    """
    return as_endpoint(score)
