"""The views of the page over the bundled results, for tests that walk all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Page, expect

from rb_core.space.questions.topics import question_pages
from rb_core.space.results_source import ResultsSource
from tests.space.conftest import OpenPage, leave

RUN, BASELINE, PUBLISHED = "builtin/tiny-rm", "baseline/longest", "infly/INF-ORM-Llama3.1-70B"
SECOND = "nicolinho/QRM-Gemma-2-27B"
LARGE = 60  # rows; subsets of a larger board are shown for some of its models


class View(NamedTuple):
    """A view: its id, starting with its tab's, the query of its address, and what it shows once its data has come."""

    id: str
    parameters: dict[str, str]
    ready: str

    @property
    def tab(self) -> str:
        return self.id.partition(":")[0]

    @contextmanager
    def opened(self, open_page: OpenPage, **options: object) -> Iterator[Page]:
        """Open the view, unfold everything in it, and leave it again.

        A browser keeps six connections to a host, of which each page of gradio holds one.
        """
        page = open_page("?" + urlencode({"tab": self.tab, **self.parameters}), **options)
        expect(page.locator(self.ready).first).to_be_visible(timeout=30_000)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        try:
            yield page
        finally:
            leave(page)


def all_views(results: ResultsSource) -> list[View]:
    """Return every view: of each tab, and of each board, question and kind of model in the results."""
    boards, questions = results.boards(), question_pages(results.reports())
    rows = ".rb-scroll tbody td"
    return [
        *(View(f"leaderboard:{board}", {"board": board}, rows) for board in boards),
        *(
            View(
                f"leaderboard:{board.id} by subset",
                {"board": board.id, "view": "subsets"} | ({"q": "grm"} if len(board.rows) > LARGE else {}),
                rows,
            )
            for board in boards.values()
        ),
        View("choose:rlhf", {}, ".rb-ch-group > li"),
        View("choose:best-of-n below 10B", {"use": "best-of-n", "max_size": "10"}, ".rb-ch-group > li"),
        *(View(f"examples:{board}", {"board": board}, ".rb-ex-body h3, .rb-ex-body h4") for board in boards),
        *(View(f"plot:{board}", {"board": board}, ".rb-point") for board in boards),
        View("compare:choice", {}, ".rb-compare h2"),
        View("compare:score files", {"board": "starter", "models": f"{RUN},{BASELINE}"}, ".rb-cmp-verdict"),
        View("compare:outcomes", {"board": "rewardbench", "models": f"{PUBLISHED},{SECOND}"}, ".rb-cmp-verdict"),
        View("compare:scores", {"board": "rewardbench-2", "models": f"{PUBLISHED},{SECOND}"}, ".rb-cmp-verdict"),
        View("model:index", {}, ".rb-model-status"),
        *(View(f"model:{name}", {"model": name}, ".rb-model-body h3") for name in (RUN, BASELINE, PUBLISHED)),
        View("questions:index", {}, ".rb-q-cards li"),
        *(View(f"questions:{page.topic.id}", {"question": page.topic.id}, ".rb-q-answer") for page in questions),
        View("try:form", {}, "#tab-try h2"),
        View("add:form", {}, ".rb-add-needs"),
        View("about:about", {}, "#tab-about h2"),
    ]
