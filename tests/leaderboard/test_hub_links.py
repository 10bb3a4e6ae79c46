"""Links to the hub."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from rb_core.leaderboard.hub_links import MAX_DESCRIPTION_BYTES, dataset_repo, discussion_page, hub_page


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


@pytest.mark.parametrize(
    ("address", "repo"),
    [
        ("https://huggingface.co/datasets/org/name", "org/name"),
        ("https://huggingface.co/datasets/org/name/tree/main", "org/name"),
        ("https://huggingface.co/org/model", None),
        ("https://example.org/huggingface.co/datasets/org/name", None),
        ("", None),
    ],
)
def test_only_addresses_of_datasets_name_a_dataset(address: str, repo: str | None) -> None:
    assert dataset_repo(address) == repo


def test_a_discussion_is_filled_in_with_any_text() -> None:
    text = '50% & more? #1 = "<b>"\n+ é 漢 \ud800'
    address = urlsplit(discussion_page("org/name", text, text))
    assert (address.netloc, address.path) == ("huggingface.co", "/datasets/org/name/discussions/new")
    assert parse_qs(address.query) == {name: [text.replace("\ud800", "?")] for name in ("title", "description")}


def test_long_texts_are_cut_between_characters() -> None:
    address = discussion_page("org/name", "漢" * 10_000, "漢" * 10_000)
    assert len(address) < 6_100
    (description,) = parse_qs(urlsplit(address).query)["description"]
    assert description == "漢" * (MAX_DESCRIPTION_BYTES // 3)
