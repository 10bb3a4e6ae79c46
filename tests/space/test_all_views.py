"""Every view of the page, over the bundled results."""

from __future__ import annotations

import pytest

from rb_core.space.page import page_tabs
from rb_core.space.results_source import ResultsFolder
from tests.space.conftest import ALL_LOOKS, OpenPage, assert_accessible
from tests.space.views import all_views

KEPT_ROWS = 12  # of a table: the others are like these, and axe takes minutes for hundreds


def test_every_tab_board_and_question_is_among_the_views(results: ResultsFolder) -> None:
    views = all_views(results)
    assert {view.tab for view in views} == {tab.id for tab in page_tabs()}
    assert len({view.id for view in views}) == len(views)


@pytest.mark.soak
def test_every_view_is_accessible_in_all_looks(open_page: OpenPage, results: ResultsFolder) -> None:
    """No violation that axe-core finds, no sideways scroll, and, by `open_page`, no error and no request elsewhere."""
    faults = []
    for view in all_views(results):
        try:
            with view.opened(open_page) as page:
                assert_accessible(page, ALL_LOOKS, rows=KEPT_ROWS)
        except AssertionError as fault:
            faults.append(f"{view.id}: {fault}")
    assert not faults, "\n\n".join(faults)
