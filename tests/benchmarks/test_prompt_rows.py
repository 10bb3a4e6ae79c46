"""Rows without labels: which fields are the prompt and the completions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rb_core.benchmarks.example import Message
from rb_core.benchmarks.prompt_rows import PromptRow, read_prompt_row
from rb_core.benchmarks.row_location import RowLocation
from rb_core.errors import DataError

USER, ASSISTANT = ({"role": role, "content": text} for role, text in (("user", "Hi"), ("assistant", "Hello")))
HI = (Message(role="user", content="Hi"),)


def read(row: dict[str, Any], **columns: str) -> PromptRow:
    return read_prompt_row(row, RowLocation("rows.jsonl", 7, "rows"), columns)


@pytest.mark.parametrize(
    ("row", "completions", "fields"),
    [
        ({"prompt": "Hi", "completion": "Hello"}, ("Hello",), ("completion",)),
        ({"prompt": "Hi", "completions": ["a", "b", "a"]}, ("a", "b", "a"), ("completions",)),
        ({"prompt": "Hi", "completions": '["a", "b"]'}, ("a", "b"), ("completions",)),
        ({"question": "Hi", "response": "Hello", "answer": "gold"}, ("Hello",), ("response",)),
        ({"instruction": "Hi", "input": "", "output": ""}, ("",), ("output",)),
        ({"prompt": [USER], "responses": [{"text": "a", "model": "m"}, "b"]}, ("a", "b"), ("responses",)),
        ({"prompt": [USER], "completion": [ASSISTANT]}, ("Hello",), ("completion",)),
        ({"completions": [[USER, ASSISTANT], [USER, ASSISTANT]]}, ("Hello", "Hello"), ("completions",)),
        ({"messages": [USER, ASSISTANT]}, ("Hello",), ("messages",)),
        ({"messages": json.dumps([USER, ASSISTANT])}, ("Hello",), ("messages",)),
        ({"messages": [USER, ASSISTANT], "completion": "Hello"}, ("Hello",), ("completion",)),
        ({"conversation": "Human: Hi\n\nAssistant: Hello"}, ("Hello",), ("conversation",)),
        ({"prompt": "Hi", "chosen": "a", "rejected": ["b", "c"]}, ("a", "b", "c"), ("chosen", "rejected")),
        ({"chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT]}, ("Hello", "Hello"), ("chosen", "rejected")),
        ({"question": "Hi", "chosen_response": "a", "rejected_response": "b"}, ("a", "b"),
         ("chosen_response", "rejected_response")),
    ],
)  # fmt: skip
def test_a_row_is_a_prompt_with_completions(
    row: dict[str, Any], completions: tuple[str, ...], fields: tuple[str, ...]
) -> None:
    assert read(row)[2:] == (HI, completions, fields)
    assert read(row).row == row


def test_columns_name_the_fields() -> None:
    row = {"q": "Hi", "first": "a", "second": "b", "response": "c", "prompt": "no", "chosen": "d", "rejected": "e"}
    assert read(row, prompt="q", completions="first+second")[2:] == (HI, ("a", "b"), ("first", "second"))
    assert read(row, prompt="q", completion="second")[2:] == (HI, ("b",), ("second",))


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({}, "no completion"),
        ({"prompt": "Hi"}, "'prompt'"),
        ({"prompt": "Hi", "completion": None}, "'completion' (null)"),
        ({"prompt": "Hi", "completions": []}, "'completions'"),
        ({"prompt": "Hi", "completions": ["a", 3]}, "'completions'"),
        ({"prompt": "Hi", "completions": [{"words": "a"}]}, "'completions'"),
        ({"prompt": "", "completion": "a"}, "'prompt'"),
        ({"completion": "a"}, "'prompt'"),
        ({"prompt": "Hi", "context": "Read this.", "completion": "a"}, "'context'"),
        ({"messages": [USER]}, "'messages'"),
        ({"messages": [ASSISTANT]}, "'messages'"),
        ({"prompt": "Hi", "completions": [[USER, ASSISTANT], [ASSISTANT, USER, ASSISTANT]]}, "'completions'"),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error_with_its_line_and_field(row: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=r"^rows.jsonl:7: ") as error:
        read(row)
    assert named in str(error.value)
