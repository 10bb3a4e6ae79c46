from __future__ import annotations

import json
import random
import resource
import time
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rb_core.audits.text_overlap import COMMON, NGRAM, Overlap, OverlapIndex, Scan, texts_in, words_of
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.row_location import RowError, RowLocation

STARTER = load_benchmark("starter").examples
WORDS = [f"word{i}" for i in range(5000)]


def example(prompt: str, chosen: str, rejected: str, name: str = "x") -> Example:
    return Example(
        id=name,
        subset="s",
        prompt=({"role": "user", "content": prompt},),
        completions=(chosen, rejected),
        num_chosen=1,
    )


def text(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


ITEM = example(
    "Why do naïve café owners—in Paris, mostly—prefer ﬁlter coffee?",
    text(1, 40),
    "No, they do not: " + text(2, 30),
)
RUN = " ".join(ITEM.completions[0].split()[10 : 10 + NGRAM])
SHORT = example("Name the capital of France.", "It is Paris, of course.", "It might be Lyon, perhaps.")


def scan(examples: Iterable[Example], rows: Iterable[Any], n: int = NGRAM) -> tuple[list[Overlap], OverlapIndex]:
    index = OverlapIndex(list(examples), n)
    index.scan(located(rows))
    return index.overlaps(), index


def located(rows: Iterable[Any]) -> Iterator[tuple[Any, RowLocation]]:
    for line, row in enumerate(rows, start=1):
        yield row, RowLocation("train.jsonl", line, "train")


CLEAN_ROW = {"prompt": "A prompt of another kind", "chosen": text(3, 50), "rejected": text(4, 50)}


@pytest.mark.parametrize(
    ("item", "row", "exact", "share"),
    [
        (ITEM, {"prompt": ITEM.prompt[0]["content"]}, {"prompt"}, 0.0),
        (ITEM, {"instruction": "why do NAÏVE café  owners\n in Paris mostly - prefer filter coffee"}, {"prompt"}, 0.0),
        (ITEM, {"q": unicodedata.normalize("NFD", ITEM.prompt[0]["content"])}, {"prompt"}, 0.0),
        (ITEM, {"messages": [{"role": "user", "content": ITEM.prompt[0]["content"]}]}, {"prompt"}, 0.0),
        (ITEM, {"chosen": f"\n\nHuman: {ITEM.prompt[0]['content']}\n\nAssistant: Well."}, {"prompt"}, 0.0),
        (ITEM, {"completions": [{"text": ITEM.completions[0]}]}, {"chosen"}, 1.0),
        (ITEM, {"answer": ITEM.completions[1].upper()}, {"rejected"}, 1.0),
        (SHORT, {"answer": "it is paris of course"}, {"chosen"}, 0.0),
        (ITEM, {"text": f"{text(5, 200)} {RUN}, {text(6, 200)}"}, set(), 1 / 28),
        (ITEM, {"text": f"{text(5, 200)} {RUN.rpartition(' ')[0]}, {text(6, 200)}"}, set(), 0.0),
    ],
)
def test_a_planted_text_is_found_with_its_row(item: Example, row: Any, exact: set[str], share: float) -> None:
    """The last row has one word less than an n-gram, so that it is not flagged."""
    (overlap,), _ = scan([item], [CLEAN_ROW, row])
    assert overlap.exact.keys() == exact
    assert overlap.share == pytest.approx(share)
    assert overlap.is_flagged(0.0) == bool(exact or share)
    if exact or share:
        assert str(overlap.row) == "train.jsonl:2"
        assert overlap.text in [" ".join(words_of(part))[: len(overlap.text)] for part in _suffixes(item)]


def _suffixes(item: Example) -> list[str]:
    parts = [item.prompt[0]["content"], *item.completions]
    return [" ".join(words_of(part)[start:]) for part in parts for start in range(len(words_of(part)))]


def test_clean_prompts_made_of_the_benchmarks_own_phrases_are_not_flagged() -> None:
    """The rows are pieces of three to eight words of the benchmark, with stock phrases around them."""
    rng = random.Random(7)
    corpus = [words_of(part) for item in STARTER for part in (item.prompt[-1]["content"], *item.completions)]
    corpus = [words for words in corpus if len(words) > 8]

    def piece(words: list[str]) -> str:
        length = rng.randint(3, 8)
        start = rng.randrange(len(words) - length + 1)
        return " ".join(words[start : start + length])

    stock = ("Thanks in advance!", "As an AI language model, I cannot", "I hope this helps! Let me know", "user", "ok")
    rows = []
    for _ in range(1000):  # no text twice in a row: two pieces of it may be one that is longer
        pieces = [piece(words) for words in rng.sample(corpus, 13)]
        rows.append({"prompt": ", ".join(pieces[:12]), "chosen": f"{rng.choice(stock)} {pieces[12]}", "role": "user"})
    overlaps, _ = scan(STARTER, rows)
    assert sum(overlap.is_flagged(0.0) for overlap in overlaps) == 0


def test_ngrams_do_not_reach_from_one_text_into_the_next() -> None:
    words = ITEM.completions[0].split()
    (overlap,), _ = scan([ITEM], [{"a": " ".join(words[:12]), "b": " ".join(words[12:24])}])
    assert not overlap.is_flagged(0.0)


def test_chinese_text_is_compared_by_characters() -> None:
    item = example("请问法国的首都是哪一座城市？它有什么特点？", "巴黎是法国的首都", "里昂是法国的首都")
    (overlap,), _ = scan([item], [{"t": "大家好！请问法国的首都是哪一座城市，它在哪里"}])
    assert overlap.shares["prompt"] == pytest.approx(2 / 7)
    assert overlap.text == " ".join("请问法国的首都是哪一座城市它")


@pytest.mark.parametrize(("prompts", "found"), [(COMMON, True), (COMMON + 1, False)])
def test_what_the_items_of_many_prompts_share_is_left_out(prompts: int, found: bool) -> None:
    instruction, answer = text(8, 30), text(9, 30)
    items = [example(f"{instruction} {i}", f"{answer}", text(100 + i, 5), name=str(i)) for i in range(prompts)]
    overlaps, index = scan(items, [{"prompt": f"{instruction} other", "chosen": answer}])
    assert [overlap.is_flagged(0.0) for overlap in overlaps] == [found] * prompts
    assert index.num_shared == (0 if found else 36)


def test_one_prompt_of_many_items_is_found() -> None:
    items = [example(text(8, 30), text(200 + i, 30), text(300 + i, 30), name=str(i)) for i in range(3 * COMMON)]
    overlaps, _ = scan(items, [{"prompt": text(8, 30) + " indeed"}])
    assert all(overlap.shares == {"prompt": 1.0} for overlap in overlaps)


@pytest.mark.parametrize(("copies", "texts", "found"), [(30, 1, True), (1, COMMON, True), (1, COMMON + 1, False)])
def test_a_phrase_of_many_different_training_texts_is_common(copies: int, texts: int, found: bool) -> None:
    """A text that the training data repeat is no common phrase."""
    rows = [{"chosen": f"{ITEM.completions[0]} {i}"} for i in range(texts)] * copies
    (overlap,), index = scan([ITEM], rows)
    assert overlap.is_flagged(0.0) == found
    assert index.num_common == (0 if found else 28)


@pytest.mark.parametrize(("answer", "found"), [(SHORT.completions[0], False), (SHORT.prompt[0]["content"], True)])
def test_a_short_answer_of_many_rows_is_a_common_phrase_and_a_prompt_is_not(answer: str, found: bool) -> None:
    (overlap,), _ = scan([SHORT], [{"answer": answer}] * (COMMON + 1))
    assert overlap.is_flagged(0.0) == found


def test_labels_roles_and_empty_texts_match_nothing() -> None:
    items = [example("Is it so?", "yes", "", "a"), example("?!", "No.", "   ", "b")]
    rows = [{"prompt": "is it so", "label": "yes", "n": 3, "x": None, "chosen": "", "rejected": " ", "y": "?!"}, {}]
    overlaps, _ = scan(items, rows)
    assert [overlap.is_flagged(0.0) for overlap in overlaps] == [False, False]


def test_every_text_of_a_row_is_read() -> None:
    row = {"a": "x", "b": [{"content": "y"}, ["z"]], "c": {"d": {"e": "w"}}, "n": 1.5, "none": None}
    assert list(texts_in(row)) == ["x", "y", "z", "w"]


def test_a_very_long_row_is_compared_as_others_are() -> None:
    long = f"{text(5, 200_000)} {ITEM.completions[0]}"
    (overlap,), _ = scan([ITEM], [{"text": long}])
    assert overlap.shares["chosen"] == 1.0


def test_rows_that_cannot_be_read_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = ["{", '"text"', json.dumps({"prompt": ITEM.prompt[0]["content"]}), '{"a": "\\ud800"}']
    path.write_text("\n".join(rows), encoding="utf-8")
    index = OverlapIndex([ITEM])
    result = index.scan(read_rows(path))
    assert (result.rows, result.num_refused) == (4, 3)
    assert [problem.partition(" ")[0] for problem in result.refused] == [f"train.jsonl:{line}:" for line in (1, 2, 4)]
    assert index.overlaps()[0].is_flagged(0.0)


def test_only_the_first_bad_rows_are_named() -> None:
    result = Scan()
    for line in range(100):
        result.refuse(RowError(RowLocation("t", line, "t"), "is bad"))
    assert (result.num_refused, len(result.refused)) == (100, 5)


def test_a_share_below_the_wanted_one_is_not_flagged() -> None:
    overlap = Overlap(exact={}, shares={"prompt": 0.2, "chosen": 0.4})
    assert [overlap.is_flagged(share) for share in (0.0, 0.4, 0.5)] == [True, True, False]


@pytest.mark.soak
def test_a_hundred_thousand_rows_take_less_than_two_minutes_and_a_gibibyte(tmp_path: Path) -> None:
    """A benchmark of RewardBench's size, and rows of 430 words of which one in a hundred has an item's answer."""
    rng, vocabulary = np.random.default_rng(0), np.array(WORDS)
    items = [example(text(i, 60), text(10_000 + i, 200), text(20_000 + i, 200), str(i)) for i in range(2985)]
    with (tmp_path / "train.jsonl").open("w", encoding="utf-8") as file:
        for i in range(100_000):
            words = vocabulary[rng.integers(len(WORDS), size=430)]
            answer = items[i // 100].completions[0] if i % 100 == 0 else " ".join(words[60:230])
            row = {"prompt": " ".join(words[:60]), "chosen": answer, "rejected": " ".join(words[230:])}
            file.write(json.dumps(row) + "\n")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    index = OverlapIndex(items)
    index.scan(read_rows(tmp_path / "train.jsonl"))
    flagged = [overlap.is_flagged(0.0) for overlap in index.overlaps()]
    assert flagged == [True] * 1000 + [False] * 1985
    assert time.process_time() - start < 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kibibytes
