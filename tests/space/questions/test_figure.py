from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rb_core.audits.report import AuditFigure, AuditPoint
from rb_core.space.questions.figure import HEIGHT, MAX_ROW_NAME, PANEL, ROW_GAP, WIDTH, draw
from rb_core.space.questions.figure_labels import LINE, fit, text_width


def figure(kind: str, *points: AuditPoint, reference: float | None = None) -> AuditFigure:
    return AuditFigure(kind=kind, title="t", x_label="x", y_label="y", points=points, reference=reference)  # type: ignore[arg-type]


POINTS = (
    AuditPoint(label="a", x=0.0, y=0.2, low=0.1, high=0.3),
    AuditPoint(label="b", x=10.0, y=0.8, group="other"),
    AuditPoint(label="c", x=5.0, y=0.5),
)


def test_larger_values_are_further_right_and_further_up_inside_the_figure() -> None:
    (drawing,) = draw(figure("points", *POINTS, reference=0.5))
    a, b, c = drawing.marks
    assert a.x < c.x < b.x
    assert a.y > c.y > b.y
    assert a.low is not None
    assert a.high is not None
    assert a.low > a.y > a.high
    assert drawing.reference == pytest.approx(c.y)
    assert all(0 < mark.x < WIDTH and 0 < mark.y < HEIGHT for mark in drawing.marks)
    assert (a.series, b.series, c.series) == (0, 1, 0)


def test_intervals_are_rows_with_values_along_the_axis() -> None:
    (drawing,) = draw(figure("intervals", *POINTS))
    a, c, b = sorted(drawing.marks, key=lambda mark: mark.x)
    assert drawing.left < a.x < c.x < b.x < WIDTH
    assert len({mark.y for mark in drawing.marks}) == 3
    assert all(mark.y < drawing.height for mark in drawing.marks)
    headings = [name.text for name in drawing.row_names if name.heading]
    assert headings == ["a", "b", "c"], "with several groups, a label heads the rows of its groups"


@given(st.text(st.sampled_from("iMa-1W/"), max_size=90), st.floats(30, 300))
def test_a_text_that_is_too_wide_keeps_its_ends(text: str, width: float) -> None:
    short = fit(text, width)
    assert text_width(short) <= width
    start, _, end = short.partition("…") if short != text else (text, "", "")
    assert text.startswith(start)
    assert text.endswith(end)


def test_the_names_of_rows_have_room_left_of_the_plot() -> None:
    for length in (1, 30, 80):
        (drawing,) = draw(figure("intervals", AuditPoint(label="W" * length, x=0.0, y=0.5)))
        assert text_width(drawing.row_names[0].text) < drawing.left <= MAX_ROW_NAME + 2 * ROW_GAP


@pytest.mark.parametrize("kind", ["points", "intervals"])
def test_equal_values_and_single_points_have_a_place(kind: str) -> None:
    for points in (POINTS[:1], (POINTS[1], POINTS[1]), (AuditPoint(label="z", x=0.0, y=0.0),)):
        (drawing,) = draw(figure(kind, *points))
        assert all(0 <= mark.x <= WIDTH for mark in drawing.marks)
        assert len(drawing.x_ticks) >= 2


def test_ticks_are_round_numbers_in_order() -> None:
    ticks = draw(figure("points", *POINTS))[0].x_ticks
    assert [tick.text for tick in ticks] == ["0", "5", "10"] or [tick.text for tick in ticks][:2] == ["0", "2"]
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


def test_each_panel_has_the_rows_of_its_groups_with_their_medians() -> None:
    points = [
        AuditPoint(label=f"{panel}{group}{y}", x=0.0, y=y, group=group, panel=panel)
        for panel, group in (("one", "g"), ("one", "h"), ("two", "h"))
        for y in (0.2, 0.4, 0.9)
    ]
    one, two = draw(figure("strips", *points))
    assert (one.title, two.title) == ("one", "two")
    assert [name.text for name in one.row_names] == ["g (3)", "h (3)"]
    assert [name.text for name in two.row_names] == ["h (3)"]
    assert {mark.series for mark in two.marks} == {1}, "a group looks the same in all panels"
    assert two.medians[0][0] == sorted(mark.x for mark in two.marks)[1]
    assert all(0 < mark.x < PANEL for mark in one.marks)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from("abc")), min_size=1, max_size=60))
def test_labels_do_not_touch_and_stay_inside(points: list[tuple[float, float, str]]) -> None:
    named = [AuditPoint(label=f"m{i}", x=x, y=y, group=g, named=i % 7 == 0) for i, (x, y, g) in enumerate(points)]
    (drawing,) = draw(figure("points", *named))
    boxes = [(label.x, label.y, text_width(label.text)) for label in drawing.labels]
    for x, y, width in boxes:
        assert 0 <= x <= x + width <= WIDTH
        assert 0 <= y <= HEIGHT
    for (x1, y1, w1), (x2, y2, w2) in combinations(boxes, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or abs(y1 - y2) >= LINE - 1e-6
    if len({group for _, _, group in points}) > 1:
        beside = {label.text for label in drawing.labels if label.series is not None}
        assert beside | {name for _, name in drawing.legend} == {group for _, _, group in points}


def test_a_line_joins_the_points_of_a_series_in_order() -> None:
    (drawing,) = draw(figure("points", *POINTS).model_copy(update={"joined": True}))
    a, _, c = drawing.marks
    assert drawing.lines == [(0, f"M{a.x:.1f} {a.y:.1f}L{c.x:.1f} {c.y:.1f}")]
    assert draw(figure("points", *POINTS))[0].lines == []
