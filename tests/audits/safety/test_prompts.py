"""Prompts with labelled answers: the built-in ones and files in three layouts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rb_core.audits.safety.prompts import ANSWER_LABELS, OWN_PROMPTS, read_prompts
from rb_core.errors import DataError
from tests.audits.safety.answers import do_not_answer_rows, write_rows, xstest_rows

ITEMS = read_prompts(OWN_PROMPTS).items


def test_built_in_prompts_come_in_pairs_with_four_answers_each() -> None:
    assert len(ITEMS) >= 120
    assert all(item.labels == ANSWER_LABELS for item in ITEMS)
    variants = Counter((item.unit, item.variant) for item in ITEMS)
    assert set(variants.values()) == {1}
    assert {unit for unit, variant in variants if variant == "safe"} == {item.unit for item in ITEMS}
    assert len(set(Counter((item.group, item.variant) for item in ITEMS).values())) == 1


def test_no_prompt_or_answer_is_written_twice() -> None:
    texts = [*(item.prompt[0]["content"] for item in ITEMS), *(text for item in ITEMS for text in item.completions)]
    assert len(set(texts)) == len(texts)


def test_length_does_not_give_a_label_away() -> None:
    for variant in ("safe", "unsafe"):
        lengths = [tuple(map(len, item.completions)) for item in ITEMS if item.variant == variant]
        for first in range(4):
            longest = sum(answers[first] == max(answers) for answers in lengths) / len(lengths)
            assert 0.15 < longest < 0.35
            for second in range(first):
                assert 0.4 < sum(answers[first] > answers[second] for answers in lengths) / len(lengths) < 0.6


def test_completions_of_xstest_are_joined_by_prompt(tmp_path: Path) -> None:
    prompts = read_prompts(write_rows(tmp_path / "xstest.jsonl", xstest_rows(models=4)))
    assert prompts.left_out == 0
    assert Counter((item.group, item.variant) for item in prompts.items) == Counter(
        {(group, variant): 8 for group in ("homonyms", "definitions") for variant in ("safe", "unsafe")}
    )
    safe, unsafe = (next(item for item in prompts.items if item.variant == variant) for variant in ("safe", "unsafe"))
    assert safe.labels == ("helpful", "refusal", "partial", "helpful")
    assert unsafe.labels == ("unsafe", "refusal", "partial", "unsafe")
    assert safe.completions[3] == "1_full_compliance of 3"


def test_prompts_of_do_not_answer_are_unsafe_and_those_without_a_harmful_answer_are_left_out(tmp_path: Path) -> None:
    prompts = read_prompts(write_rows(tmp_path / "answers.jsonl", do_not_answer_rows()))
    assert (len(prompts.items), prompts.left_out) == (6, 2)
    assert {item.variant for item in prompts.items} == {"unsafe"}
    assert prompts.items[0].labels == ("refusal", "unsafe", "refusal")
    assert prompts.items[0].group == "area"


def test_own_rows_may_have_several_answers_with_a_label_and_be_a_csv_file(tmp_path: Path) -> None:
    row = {
        "prompt": "p",
        "safe": True,
        "kind": "k",
        "id": "one",
        "pair": "a",
        "helpful": ["yes", "sure"],
        "refusal": "no",
    }
    (item,) = read_prompts(write_rows(tmp_path / "own.jsonl", [row])).items
    assert (item.id, item.unit, item.labels) == ("one", "a", ("helpful", "helpful", "refusal"))
    (tmp_path / "own.csv").write_text("prompt,safe,kind,refusal,unsafe\np,FALSE,k,no,sure\n")
    (item,) = read_prompts(tmp_path / "own.csv").items
    assert (item.variant, item.labels) == ("unsafe", ("refusal", "unsafe"))


def test_a_card_beside_the_file_names_columns_and_source(tmp_path: Path) -> None:
    rows = [{name.replace("prompt", "question"): value for name, value in row.items()} for row in xstest_rows()]
    path = write_rows(tmp_path / "renamed.jsonl", rows)
    (tmp_path / "renamed.jsonl.card.yaml").write_text("title: Renamed\nlicence: MIT\ncolumns: {prompt: question}\n")
    prompts = read_prompts(path)
    assert (len(prompts.items), prompts.sources) == (32, ("Renamed", "MIT"))


OWN: dict[str, Any] = {"prompt": "p", "safe": True, "kind": "k", "helpful": "yes", "refusal": "no"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([OWN | {"safe": "perhaps"}], r"bad.jsonl:1: field 'safe': is 'perhaps'; expected true or false"),
        ([{"prompt": "p", "safe": True, "kind": "k"}], r"bad.jsonl:1: has no answers; their fields are helpful"),
        ([{"prompt": "p", "safe": True, "refusal": "no"}], r"bad.jsonl:1: field 'kind': is missing"),
        ([OWN, OWN | {"safe": False}], r"bad.jsonl:2: has the prompt of 'bad/1', but is not of the same kind"),
        ([{"prompt": "p", "answer": "a"}], r"bad.jsonl:1: is in no layout of labelled answers"),
        ([xstest_rows()[0] | {"final_label": "4"}], r"bad.jsonl:1: field 'final_label': is '4'; expected 1_full"),
        ([do_not_answer_rows()[0] | {"B_harmful": 2}], r"bad.jsonl:1: field 'B_harmful': is '2'; expected 0 or 1"),
        ([OWN | {"helpful": None, "unsafe": "x"}], r"bad.jsonl: no prompt has a refusal and an answer that complies"),
    ],
)
def test_other_rows_are_refused_by_line_and_field(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_prompts(write_rows(tmp_path / "bad.jsonl", rows))
