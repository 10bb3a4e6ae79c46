"""Files of visitors, well-formed and hostile."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.question import MAX_CHARACTERS
from rb_core.space.try_a_pair.uploaded_file import (
    COMMAND,
    MAX_FILE_BYTES,
    MAX_MESSAGE,
    MAX_ROW_COMPLETIONS,
    MAX_ROWS,
    read_uploaded_file,
)
from tests.space.try_a_pair.conftest import ANSWERS, PROMPT, uploaded

ROW = {"prompt": PROMPT, "completions": list(ANSWERS)}


AT_HOME = f"on your own machine: {COMMAND}"


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", lines({"prompt": PROMPT, "chosen": ANSWERS[0], "rejected": ANSWERS[1]})),
        ("a.JSONL", "\ufeff" + lines(ROW)),
        ("a.json", json.dumps([ROW], indent=1)),
        ("a.csv", f'prompt,chosen,rejected\r\n{PROMPT},"{ANSWERS[0]}",{ANSWERS[1]}\r\n'),
        ("a.tsv", f"prompt\tchosen\trejected\n{PROMPT}\t{ANSWERS[0]}\t{ANSWERS[1]}\n"),
    ],
)
def test_each_format_gives_prompt_and_completions(name: str, text: str) -> None:
    (row,) = read_uploaded_file(uploaded(name, text))
    assert (row.prompt[0]["content"], row.completions) == (PROMPT, ANSWERS)


def test_columns_name_the_fields() -> None:
    (row,) = read_uploaded_file(uploaded("a.jsonl", lines({"q": PROMPT, "a": "No."})), "prompt=q, completion=a")
    assert (row.prompt[0]["content"], row.completions) == (PROMPT, ("No.",))


def test_as_many_rows_as_the_limit_are_read() -> None:
    assert len(read_uploaded_file(uploaded("a.jsonl", lines(*[ROW] * MAX_ROWS)))) == MAX_ROWS


UPLOADS: list[tuple[Any, str]] = [
    (None, "No file is chosen. Choose one first."),
    ("a.jsonl", "This file has no name that can be shown"),
    ([], "This file has no name that can be shown"),
    ({"name": 3, "content": ""}, "This file has no name that can be shown"),
    ({"name": "\ud800.jsonl", "content": ""}, "This file has no name that can be shown"),
    ({"name": "a" * 300 + ".jsonl", "content": ""}, "This file has no name that can be shown"),
    (uploaded("a.parquet", ""), "a.parquet: is not a file of a known type. Choose one that ends with .jsonl"),
    (uploaded("../jsonl", ""), "../jsonl: is not a file of a known type"),
    ({"name": "a.jsonl", "content": None}, "a.jsonl: has no rows."),
    ({"name": "a.jsonl", "content": "%%%"}, "a.jsonl: could not be read. Choose it again."),
    ({"name": "a.jsonl", "content": {"a": 1}}, "a.jsonl: could not be read. Choose it again."),
    ({"name": "a.jsonl", "content": "ö"}, "a.jsonl: could not be read. Choose it again."),
    ({"name": "a.jsonl", "size": 2_000_000, "content": None}, "a.jsonl: has 2,000,000 bytes; at most 1,000,000"),
    ({"name": "a.csv", "content": base64.b64encode(b"prompt\n\xff\n").decode()}, "a.csv:2: is not UTF-8 (byte 0xff)"),
    ({"name": "a.csv", "content": base64.b64encode("a".encode("utf-16")).decode()}, "a.csv: is encoded as UTF-16"),
    (uploaded("a.csv", "prompt,prompt\na,b\n"), "a.csv:1: the column 'prompt' is repeated"),
    (uploaded("a.csv", "prompt,answer\na\n"), "a.csv:2: the row that ends in line 2 has not 2 cells"),
]
JSON_LINES: list[tuple[str, str]] = [
    ("", ": has no rows."),
    ("x" * (MAX_FILE_BYTES + 1), f": has 1,000,001 bytes; at most 1,000,000 are scored here. Score it {AT_HOME}"),
    (lines(*[ROW] * (MAX_ROWS + 1)), f": has more than 200 rows. Score it {AT_HOME}"),
    (lines(ROW) + "not JSON\n", ":2: not a line of JSON"),
    ('"text"\n[1]\n', ":1: expected an object with fields, got text"),
    ("[" * 100_000, ":1: not a line of JSON: nested too deeply"),
    (lines(ROW, ROW, {"prompt": 3, "completions": ["a"]}), ":3: field 'prompt'"),
    (lines({"prompt": PROMPT, "completions": [1]}), ":1: field 'completions'"),
    (lines(ROW, {"text": "x"}), ":2: has no completion; it has 'text'"),
    (lines(ROW | {"prompt": "\ud83d"}), ":1: field 'prompt': has half a character"),
    (lines(ROW | {"prompt": "x" * (MAX_CHARACTERS + 1)}), "'prompt': has 20,001 characters; at most 20,000"),
    (lines({"prompt": "x", "answer": "y" * 30_000}), ":1: field 'answer': has 30,000 characters"),
    (lines(ROW | {"completions": ["x"] * (MAX_ROW_COMPLETIONS + 1)}), "'completions': has 17 completions; at most 16"),
    (lines({"prompt": "x", "completions": ["y" * 20_000] * 5}), ":1: has 100,001 characters in all its texts"),
    (lines(ROW | {"score": 1}), ":1: field 'score': has the name of a column that `score` writes"),
]
REFUSED = [*UPLOADS, *((uploaded("a.jsonl", text), message) for text, message in JSON_LINES)]


@pytest.mark.parametrize(("upload", "message"), REFUSED)
def test_a_file_that_cannot_be_scored_is_refused_with_line_and_field(upload: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_uploaded_file(upload)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) <= MAX_MESSAGE + 2


def test_a_message_about_many_fields_is_short() -> None:
    row = {f"{'field' * 100}{number}": 1 for number in range(100)}
    with pytest.raises(InputError, match="has no completion") as refusal:
        read_uploaded_file(uploaded("a.jsonl", lines(row)))
    assert len(str(refusal.value)) <= MAX_MESSAGE + 2


@pytest.mark.parametrize("columns", ["prompt", 3, ["prompt=q"], "x" * (MAX_CHARACTERS + 1)])
def test_columns_of_another_form_are_refused(columns: Any) -> None:
    with pytest.raises(InputError, match="olumns"):
        read_uploaded_file(uploaded("a.jsonl", lines(ROW)), columns)
