"""The measurement of vocabularies: the same scores in batches and alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rb_core.models.options import ModelOptions
from tests.perf.vocabulary import measure


def test_batches_give_the_scores_of_single_conversations(tiny_model: Callable[[str], Path]) -> None:
    options = ModelOptions(kind="implicit", reference_free="mean")
    speeds = measure(str(tiny_model("llama-lm")), options, num_tokens=60, rounds=1, num_alone=3)
    assert speeds.prompt_tokens == 60
    assert speeds.answers > 100
    assert speeds.difference < 1e-5
