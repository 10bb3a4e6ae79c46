"""Messages in the forms of datasets: roles, parts, tool calls, reasoning, and messages that are written as text."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from rb_core.benchmarks.example import AssistantTurn, message_text
from rb_core.benchmarks.messages import parse_written_messages, read_messages, read_turns
from rb_core.benchmarks.row_location import RowLocation
from rb_core.benchmarks.rows import read_answers
from rb_core.errors import DataError

HERE = RowLocation("d.jsonl", 7, "d")
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}


def read(value: Any) -> Any:
    return read_messages(value, HERE, "prompt")


@pytest.mark.parametrize(
    ("role", "expected"),
    [("human", "user"), ("User", "user"), ("gpt", "assistant"), ("Assistant", "assistant"), ("ASSISTANT ", "assistant"),
     ("developer", "system"), ("System", "system"), ("observation", "tool")],
)  # fmt: skip
def test_names_of_roles_are_mapped(role: str, expected: str) -> None:
    assert read([{"role": role, "content": "x"}]) == ({"role": expected, "content": "x"},)
    assert read([{"from": role, "value": "x"}]) == ({"role": expected, "content": "x"},)


@pytest.mark.parametrize("role", ["critic", "", "user\n2"])
def test_other_roles_are_refused_with_their_value(role: str) -> None:
    with pytest.raises(DataError, match=r"d\.jsonl:7: field 'prompt': message 0 has (the role|no role)") as error:
        read([{"role": role, "content": "x"}])
    assert not role or repr(role) in str(error.value)


def test_text_parts_are_joined_and_other_parts_refused() -> None:
    parts = [{"type": "text", "text": "Name "}, {"type": "text", "text": "a prime."}]
    assert read([{"role": "user", "content": parts}])[0]["content"] == "Name a prime."
    for part in ({"type": "image", "image": "x.png"}, {"type": "image_url", "image_url": {}}, {"type": "text"}, 5):
        with pytest.raises(DataError, match="only text can be scored"):
            read([{"role": "user", "content": [part]}])
    with pytest.raises(DataError, match="message 0 has 'images', which is not supported"):
        read([{"role": "user", "content": "x", "images": ["x.png"]}])


def test_tool_calls_reasoning_and_tool_names_are_kept() -> None:
    as_json = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    call, answer = read(
        [
            {"role": "assistant", "content": None, "tool_calls": [as_json]},
            {"role": "tool", "name": "add", "content": "4"},
        ]
    )
    assert call == {"role": "assistant", "content": "", "tool_calls": [CALL | {"id": "1"}]}
    assert answer == {"role": "tool", "content": "4", "name": "add"}
    (thought,) = read([{"role": "assistant", "content": "x", "reasoning": "hm", "tool_calls": None, "weight": 1}])
    assert thought == {"role": "assistant", "content": "x", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "assistant", "content": None}, "needs its content as text"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool calls that are not"),
        ({"role": "assistant", "content": "x", "tool_calls": [{}]}, "no function name"),
        ({"role": "tool_call", "content": "add 2"}, "tool calls that are not"),
        ({"role": "user", "content": "x", "tools": "add"}, "expected a list of functions"),
        ("text", "message 0 is text; expected an object"),
    ],
)
def test_messages_that_no_template_can_render_are_refused(message: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read([message])


@pytest.mark.parametrize("write", [lambda value: value, json.dumps, repr])
def test_calls_in_messages_of_their_own_are_made_at_once(write: Any) -> None:
    """Roles of ms-swift (tool_call, tool_response) and of LLaMA-Factory (function_call, observation) are read."""
    functions = [{"name": name, "arguments": write({"a": 2})} for name in ("add", "mul")]
    expected = [{"type": "function", "function": {"name": name, "arguments": {"a": 2}}} for name in ("add", "mul")]
    calls = [{"role": "tool_call", "content": write(function)} for function in functions]
    result = {"role": "tool_response", "content": "4", "name": "add"}
    assert read([{"role": "assistant", "content": "Let me see."}, *calls, result]) == (
        {"role": "assistant", "content": "Let me see.", "tool_calls": expected},
        {"role": "tool", "content": "4", "name": "add"},
    )
    (message,) = read([{"from": "function_call", "value": write(functions[0])}])
    assert message == {"role": "assistant", "content": "", "tool_calls": expected[:1]}
    assert read([{"role": "assistant", "content": None, "function_call": functions[0]}]) == (message,)


def test_tools_in_a_message_are_kept() -> None:
    tools = [{"name": "add", "parameters": {}}]
    message = {"role": "system", "content": "S", "tools": tools}
    for written in (tools, json.dumps(tools)):
        assert read([message | {"tools": written}, {"role": "user", "content": "Q"}])[0] == message


def test_different_tool_calls_are_different_completions() -> None:
    other = {"type": "function", "function": {"name": "mul", "arguments": {"a": 2}}}
    turns = [
        read_answers([{"role": "assistant", "content": "", "tool_calls": [call]}], HERE, "chosen")[0].text
        for call in (CALL, other)
    ]
    assert turns[0] != turns[1]
    assert isinstance(turns[0], AssistantTurn)
    assert message_text(turns[0].messages[0]) == turns[0] == json.dumps(CALL)
    for copied in (pickle.loads(pickle.dumps(turns[0])), copy.deepcopy(turns[0])):  # noqa: S301
        assert (copied, copied.messages) == (turns[0], turns[0].messages)


@pytest.mark.parametrize("write", [json.dumps, repr, lambda value: json.dumps(value, indent=2)])
@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": 'it\'s "it"'}, {"role": "assistant", "content": "x\ny"}],
        [{"content": "x", "role": "user"}],
        [{"weight": 0, "role": "user", "content": "x"}],
        {"from": "gpt", "value": "x"},
        [[{"role": "user", "content": "x"}], [{"role": "user", "content": "y"}]],
    ],
)
def test_messages_written_as_text_are_parsed(write: Any, value: Any) -> None:
    assert parse_written_messages(write(value), HERE, "chosen") == value


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", '["a"]', '{"answer": 4}', "Use [{'role': 'user'}].", '[{"role": "admin"}]', '{"content": "x', "{'role'"],
)
def test_other_text_stays_text(text: str) -> None:
    assert parse_written_messages(text, HERE, "chosen") == text


@pytest.mark.parametrize(
    "text", ["[{'role': 'user', 'content': 'x'", "[{'role': 'user', 'content': 'x'}\n {'role': 'user'}]"]
)
def test_damaged_messages_in_text_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="looks like a list of messages written as text"):
        parse_written_messages(text, HERE, "chosen")


def test_transcripts_are_read_as_turns() -> None:
    text = "\n\nHuman: Hi\n\nAssistant: Hello.\nHow?\n\nHuman: Well.\n\nAssistant:"
    turns = read_turns(text)
    assert turns is not None
    assert [message["role"] for message in turns] == ["user", "assistant", "user", "assistant"]
    assert [message["content"] for message in turns] == ["Hi", "Hello.\nHow?", "Well.", ""]
    for other in ("Human: Hi", "The words\n\nHuman: and\n\nAssistant: occur.", "\n\nAssistant: Hi\n\nHuman: x", ""):
        assert read_turns(other) is None
