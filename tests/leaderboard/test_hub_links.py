"""Links to the hub."""

from __future__ import annotations

import pytest

from rb_core.leaderboard.hub_links import hub_page


@pytest.mark.parametrize(
    ("model", "kind", "page"),
    [
        ("org/name", "Sequence classifier", "https://huggingface.co/org/name"),
        ("org/name", "Implicit (DPO)", "https://huggingface.co/org/name"),
        ("openai/gpt", "Generative", None),  # behind an API
        ("builtin/tiny-rm", "Sequence classifier", None),
        ("local/mine", "Sequence classifier", None),
        ("baseline/longest", "Baseline", None),
        ("name-alone", "Sequence classifier", None),
    ],
)
def test_only_models_on_the_hub_are_linked(model: str, kind: str, page: str | None) -> None:
    assert hub_page(model, kind) == page
