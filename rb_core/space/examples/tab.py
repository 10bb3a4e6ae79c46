"""The Examples tab and the endpoint `examples`: a visitor chooses a part and a filter, the server shows its items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import gradio as gr
from gradio.events import api

from rb_core.errors import RewardBenchError
from rb_core.space.api import RequestError, as_endpoint, type_in_words
from rb_core.space.component import component
from rb_core.space.examples.answer import ExamplesRequest, ExamplesService
from rb_core.space.examples.items import FILTERS
from rb_core.space.examples.report import examples_html, status_text
from rb_core.space.examples.texts import LoadTexts, TextCache, load_texts
from rb_core.space.html import message_html
from rb_core.space.results_source import ResultsSource

FIRST_WAIT = 0.1  # seconds for texts that come with the package
ENDPOINT_WAIT = 20.0  # seconds for texts from the hub


class ExamplesView(TypedDict):
    """The answer for the browser. filters: those offered, by name; models: best first; loading: ask again for texts."""

    html: str
    status: str
    filters: dict[str, str]
    models: list[str]
    loading: bool


def build_examples(page: gr.Blocks, source: ResultsSource, load: LoadTexts = load_texts) -> gr.HTML:
    """Lay out the tab in the tab's context of `page` and publish the endpoint; data is sent when the tab is opened."""
    service = ExamplesService(source, TextCache(load))

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def example_choices(_: object) -> list[dict[str, Any]]:
        return service.choices()

    def examples_request(request: object) -> ExamplesView:
        try:
            answer = service.answer(parse_request(request), wait=FIRST_WAIT)
        except RewardBenchError as error:
            filters = {name: entry.label for name, entry in FILTERS.items()}
            models = service.models(request)
            return {
                "html": message_html(str(error)),
                "status": "",
                "filters": filters,
                "models": models,
                "loading": False,
            }
        return {
            "html": examples_html(answer),
            "status": status_text(answer),
            "filters": answer["filters"],
            "models": answer["models"],
            "loading": answer["texts"] == "loading",
        }

    api(_endpoint(service), api_name="examples", concurrency_limit=4)
    return component(__package__, "examples.js", server_functions=[example_choices, examples_request])


def parse_request(fields: object) -> ExamplesRequest:
    """Return the request in JSON. Raises RequestError, naming the field, for a value of another type."""
    known = fields if isinstance(fields, dict) else {}
    texts = {}
    for name in ("benchmark", "subset", "filter", "a", "b", "item"):
        value = known.get(name, "")
        if not isinstance(value, str):
            raise RequestError(f"{name} is {type_in_words(value)}; give text.")
        texts[name] = value
    page = known.get("page", 1)
    if type(page) is not int:
        raise RequestError(f"page is {type_in_words(page)}; give a whole number.")
    return ExamplesRequest(**texts | {"filter": texts["filter"] or "all"}, page=page)


def _endpoint(service: ExamplesService) -> Callable[..., dict[str, Any]]:
    @as_endpoint
    def examples(
        benchmark: str, subset: str = "", filter: str = "all", a: str = "", b: str = "", page: int = 1, item: str = ""
    ) -> dict[str, Any]:
        """Return a benchmark's items, hardest first: texts, which models are wrong on each, and how hard a part is.

        Returns an object with `about` (what the part tests, `difficulty`: numbers of items by share of models that are
        wrong, in ten bins), `parts` (the same for each subset), `count` of `of` items, `pages`, `texts` ("ready", or
        why there are none in `texts_message`), `models` (those whose outcomes are known, best first), and `items`:
        `id`, `subset`, `prompt`, `chosen` and `rejected` (null where the texts are not known), `wrong` (models without
        full credit), `scored` (number of models), `suspect` (probability that the label is wrong; null for most).
        Shares and probabilities are fractions; a text is cut after 20,000 characters.

        Example: {"benchmark": "starter", "subset": "hard-factual", "filter": "unsolved"}

        Parameters:
            benchmark: the benchmark's id, for example rewardbench; `benchmarks` lists them
            subset: a subset or section, as `benchmarks` lists them; empty (the default) for all
            filter: all (the default), wrong (for A), only-b (wrong for A, right for B), only-a, both, neither, strong
                (all strong models disagree with the label), unsolved, suspect, longer, shorter, long or refusals
            a: model A as the leaderboard spells it, where the filter needs it; empty by default
            b: model B, where the filter needs it; empty by default
            page: from 1 (the default); a page has ten items
            item: the id of an item, for that item alone; empty (the default) for all
        """
        texts = {"benchmark": benchmark, "subset": subset, "filter": filter, "a": a, "b": b, "item": item}
        return service.answer(parse_request(texts | {"page": page}), wait=ENDPOINT_WAIT)

    return examples
