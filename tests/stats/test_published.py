"""Estimates from published numbers alone."""

from __future__ import annotations

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.stats.published import headline_estimate, section_estimate

STARTER = BENCHMARKS["starter"]


def test_unscored_examples_of_one_section_bound_the_headline() -> None:
    """As where published accuracies complete the scores of other subsets."""
    sections = {section.name: section_estimate(STARTER, section, 0.5, {}) for section in STARTER.sections}
    assert headline_estimate(STARTER, 0.5, sections).floor is None
    sections["Chat"] = sections["Chat"].model_copy(update={"floor": 0.4, "ceiling": 0.7})
    headline = headline_estimate(STARTER, 0.5, sections)
    assert headline.bounds == pytest.approx((0.5 - 0.1 / len(sections), 0.5 + 0.2 / len(sections)))
    assert headline.largest_unscored_error == pytest.approx(2 * 0.3 / len(sections))
