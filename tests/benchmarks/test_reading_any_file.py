"""Generated preference data: what is read is what was written, and damaged data are refused in one line."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError
from tests.benchmarks.preference_shapes import (
    BYTE_DAMAGES,
    FORMATS,
    SHAPES,
    Pair,
    Row,
    damage_rows,
    formats_of,
    random_pairs,
    write_file,
)

SECONDS = 20


def as_pair(example: Example) -> Pair:
    """Return an example as the generator describes it, with `rejected` for any number of rejected completions."""
    rejected = set(example.completions[example.num_chosen :])
    assert example.num_chosen == len(rejected) == 1
    turns = tuple((message["role"], message["content"].replace("\r\n", "\n")) for message in example.prompt)
    return Pair(turns, example.completions[0], rejected.pop())


def generated(rng: random.Random, shape: str) -> tuple[list[Pair], list[Row]]:
    make_rows, turns = SHAPES[shape]
    pairs = random_pairs(rng, rng.randint(2, 6), turns=turns)
    if shape == "bbq":  # its prompt is context and question in two lines
        pairs = [pair._replace(turns=(("user", pair.question.replace(" ", "\n", 1)),)) for pair in pairs]
        return pairs, [
            row
            for pair in pairs
            for row in make_rows(pair._replace(turns=(("user", pair.question.replace("\n", " ", 1)),)), rng)
        ]
    return pairs, [row for pair in pairs for row in make_rows(pair, rng)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_is_read_as_it_was_written(tmp_path: Path, shape: str) -> None:
    rng = random.Random(shape)
    for name in formats_of(shape):
        pairs, rows = generated(rng, shape)
        path = write_file(tmp_path, name, FORMATS[name](rows))
        assert [as_pair(example) for example in load_benchmark(str(path)).examples] == pairs, name


def check_damaged(folder: Path, seed: int) -> None:
    """Damage a generated file; it is refused in one line, or what is read of rows is true."""
    rng = random.Random(seed)
    shape = rng.choice(list(SHAPES))
    pairs, rows = generated(rng, shape)
    damages_rows = rng.random() < 0.5
    name = "d.jsonl" if damages_rows else rng.choice(formats_of(shape))
    content = "\n".join(map(json.dumps, damage_rows(rows, rng))).encode() if damages_rows else FORMATS[name](rows)
    if not damages_rows:
        content = rng.choice(BYTE_DAMAGES)(content, rng)
    path = write_file(folder, name, content)
    started = time.monotonic()
    examples, message = loaded(path)
    assert "\n" not in message, seed
    assert examples or path.name in message, (seed, message)
    if damages_rows:
        check_read(examples, pairs, seed)
    assert time.monotonic() - started < SECONDS, seed


def loaded(path: Path) -> tuple[tuple[Example, ...], str]:
    """Return the examples, or why there are none."""
    try:
        return load_benchmark(str(path)).examples, ""
    except DataError as error:
        return (), str(error)


def check_read(examples: tuple[Example, ...], pairs: list[Pair], seed: int) -> None:
    """No text is in the place of another: chosen is not rejected, and answers have their own prompt."""
    for example in examples:
        chosen, rejected = example.completions[: example.num_chosen], example.completions[example.num_chosen :]
        assert not set(chosen) & {pair.rejected for pair in pairs}, seed
        assert not set(rejected) & {pair.chosen for pair in pairs}, seed
        questions = [pair.question for pair in pairs if pair.chosen in chosen or pair.rejected in rejected]
        assert questions in ([], [example.prompt[-1]["content"]], [example.prompt[-1]["content"]] * 2), seed


@pytest.mark.parametrize("first", [0, 30])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 30):
        check_damaged(tmp_path, seed)


@pytest.mark.soak
def test_two_thousand_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    for seed in range(2000):
        check_damaged(tmp_path, seed)
