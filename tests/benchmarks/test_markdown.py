"""Counting markdown marks."""

from __future__ import annotations

import pytest

from rb_core.benchmarks.markdown import count_markdown


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("", 0),
        ("Plain text, 2 * 3 * 4 = 24. snake_case and __init", 0),
        ("# One\n### Two\n#hashtag\n####### seven", 2),
        ("- a\n* b\n+ c\n  - nested\n1. first\n12. twelfth\n-no space\n3.14 is pi", 6),
        ("**bold** and __also bold__ and *slanted*", 2),
        ("- **both**", 2),
        ("Text\n```python\n# a comment\n- 1\n```\n# Header", 1),
        ("# Header\n```\n# in a block that is left open", 1),
    ],
)
def test_headers_items_and_bold_spans_outside_of_code_are_counted(text: str, marks: int) -> None:
    assert count_markdown(text) == marks


def test_a_long_text_of_open_marks_takes_linear_time() -> None:
    assert count_markdown("**a " * 100_000 + "`" * 100_000) > 0
