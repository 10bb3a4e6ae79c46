"""Every number on every view is one of the results' files, in the row, sentence or mark that it belongs to."""

from __future__ import annotations

import pytest

from rb_core.leaderboard.comparison import compare_models
from rb_core.leaderboard.model_report import model_report
from rb_core.space.compare.report import comparison_html
from rb_core.space.model.report import report_html
from rb_core.space.model.tab import report_context
from rb_core.space.page import page_tabs
from rb_core.space.questions.tab import index_html, question_page_html
from rb_core.space.questions.topics import find_page, question_pages
from rb_core.space.results_source import ResultsFolder
from tests.space.conftest import OpenPage
from tests.space.shown_numbers import Scope, tally
from tests.space.view_data import SCOPES
from tests.space.views import View, all_views

LEAST = 20  # numbers that a view of results shows at least


def rendered(results: ResultsFolder, view: View) -> str | None:
    """The HTML that the server renders for a view; None for one that is drawn in the browser."""
    parameters = view.parameters
    if view.tab == "questions":
        pages = question_pages(results.reports())
        page = find_page(pages, parameters.get("question", ""))
        return question_page_html(page) if page else index_html(pages)
    if view.tab == "compare" and "models" in parameters:
        compared = compare_models(results, parameters["board"], parameters["models"].split(","))
        return comparison_html(compared.to_json())
    if view.tab == "model" and "model" in parameters:
        report = model_report(results, parameters["model"])
        return report_html(report.to_json(), report_context(report, results))
    return None


def test_numbers_of_the_views_that_the_server_renders_are_in_the_files(results: ResultsFolder) -> None:
    faults, count = [], 0
    for view in all_views(results):
        if html := rendered(results, view):
            found = tally(html, SCOPES[view.tab](results, view))
            assert found.count > LEAST, view.id
            count += found.count
            faults += [f"{view.id}: {number}" for number in found.unexplained]
    assert faults == []
    assert count > 10_000


@pytest.mark.parametrize(
    "html",
    [
        '<table><tr><th scope="row">a</th><td>{}</td></tr><tr><th scope="row">b</th><td>20.0</td></tr></table>',
        '<section aria-label="a"><p>scores {}</p></section>',
        "<svg><g><title>a: {}</title></g></svg>",
        '<article aria-label="a" title="{}"></article>',
    ],
)
def test_a_number_that_belongs_to_another_row_is_found(html: str) -> None:
    scope = Scope()
    scope.child("a", 0.123)
    scope.child("b", 0.2)
    assert tally(html.format("12.3"), scope).unexplained == []
    for wrong in ("12.4", "20.0", "123"):
        (fault,) = tally(html.format(wrong), scope).unexplained
        assert fault.startswith(wrong)


def test_ticks_that_do_not_fit_their_places_are_found() -> None:
    text = '<text x="{}" y="9">{}</text>'
    scale = "".join(text.format(100 * n, n) for n in range(5))
    assert tally(f"<svg>{scale}</svg>", Scope()).unexplained == []
    assert tally(f"<svg>{scale.replace('>3<', '>7<')}</svg>", Scope()).unexplained


@pytest.mark.soak
def test_numbers_of_every_view_in_a_browser_are_in_the_files(open_page: OpenPage, results: ResultsFolder) -> None:
    faults = []
    walked = [view for view in all_views(results) if view.tab in SCOPES]
    for view in walked:
        with view.opened(open_page) as page:
            page.wait_for_timeout(500)
            html = page.locator(f"#tab-{view.tab}").evaluate("(panel) => panel.outerHTML")
        found = tally(html, SCOPES[view.tab](results, view))
        faults += [f"{view.id}: {number}" for number in found.unexplained]
    # A visitor's own scores, needs of a visitor's model, and definitions: no results; their tabs' tests check them.
    assert {view.tab for view in walked} | {"try", "add", "about"} == {tab.id for tab in page_tabs()}
    assert not faults, "\n".join(faults)
