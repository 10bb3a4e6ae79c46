from __future__ import annotations

import pytest

from rb_core.audits.report import AuditFigure, AuditPoint
from rb_core.space.questions.figure import HEIGHT, LABELS, WIDTH, draw


def figure(kind: str, *points: AuditPoint, reference: float | None = None) -> AuditFigure:
    return AuditFigure(kind=kind, title="t", x_label="x", y_label="y", points=points, reference=reference)  # type: ignore[arg-type]


POINTS = (
    AuditPoint(label="a", x=0.0, y=0.2, low=0.1, high=0.3),
    AuditPoint(label="b", x=10.0, y=0.8, group="other"),
    AuditPoint(label="c", x=5.0, y=0.5),
)


def test_larger_values_are_further_right_and_further_up_inside_the_figure() -> None:
    drawing = draw(figure("points", *POINTS, reference=0.5))
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
    drawing = draw(figure("intervals", *POINTS))
    a, b, c = drawing.marks
    assert LABELS < a.x < c.x < b.x < WIDTH
    assert a.y < b.y < c.y < drawing.height


@pytest.mark.parametrize("kind", ["points", "intervals"])
def test_equal_values_and_single_points_have_a_place(kind: str) -> None:
    for points in (POINTS[:1], (POINTS[1], POINTS[1]), (AuditPoint(label="z", x=0.0, y=0.0),)):
        drawing = draw(figure(kind, *points))
        assert all(0 <= mark.x <= WIDTH for mark in drawing.marks)
        assert len(drawing.x_ticks) >= 2


def test_ticks_are_round_numbers_in_order() -> None:
    ticks = draw(figure("points", *POINTS)).x_ticks
    assert [tick.text for tick in ticks] == ["0", "5", "10"] or [tick.text for tick in ticks][:2] == ["0", "2"]
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


def test_a_line_joins_the_points_of_a_series_in_order() -> None:
    drawing = draw(figure("points", *POINTS).model_copy(update={"joined": True}))
    a, _, c = drawing.marks
    assert drawing.lines == [(0, f"M{a.x:.1f} {a.y:.1f}L{c.x:.1f} {c.y:.1f}")]
    assert draw(figure("points", *POINTS)).lines == []
