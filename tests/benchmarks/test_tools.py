"""Preference data of agents: tools, calls, results and whole turns of calls with their results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.example import AssistantTurn, Example, blind, messages_of
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.prompt_rows import read_prompt_row
from rb_core.benchmarks.row_location import RowLocation
from rb_core.errors import DataError
from rb_core.scorers.judge.prompt_templates import load_template, render_messages
from tests.benchmarks.preference_files import write_jsonl

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}}]
ASK = {"role": "user", "content": "What is 2 + 2?"}


def calls(*names: str, a: int = 2) -> dict[str, Any]:
    written = [{"id": name, "function": {"name": name, "arguments": json.dumps({"a": a})}} for name in names]
    return {"role": "assistant", "content": "", "tool_calls": written}


def result(content: str, name: str = "add") -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": name}


def says(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def load(folder: Path, *rows: dict[str, Any], **options: Any) -> tuple[Example, ...]:
    return load_benchmark(str(write_jsonl(folder / "agents.jsonl", rows)), **options).examples


def roles(completion: str) -> list[str]:
    return [message["role"] for message in messages_of(completion)]


def conversation(*turn: dict[str, Any], before: Sequence[dict[str, Any]] = (ASK,)) -> list[dict[str, Any]]:
    return [*before, *turn]


@pytest.mark.parametrize("prompt", [{"prompt": ASK["content"]}, {"prompt": [ASK]}, {}])
@pytest.mark.parametrize("tools", [TOOLS, json.dumps(TOOLS)])
def test_tools_of_a_row_come_with_conversations_that_repeat_the_prompt(
    tmp_path: Path, prompt: dict[str, Any], tools: Any
) -> None:
    pair = {"chosen": conversation(calls("add")), "rejected": conversation(calls("mul"))}
    (example,) = load(tmp_path, {**prompt, **pair, "tools": tools})
    assert example.prompt == ({**ASK, "tools": TOOLS},)
    assert [roles(completion) for completion in example.completions] == [["assistant"], ["assistant"]]
    assert example.completions[0] != example.completions[1]


def test_an_agents_calls_and_their_results_are_one_completion(tmp_path: Path) -> None:
    """Conversations are split at whole messages: equal calls whose results differ belong to the completions."""
    first = [calls("add"), result("4"), says("4")]
    second = [calls("add", "mul"), result("4"), result("4", "mul"), says("Four")]
    third = [calls("add"), result("5"), says("5")]
    for column in ({"prompt": ASK["content"]}, {}):
        (example,) = load(tmp_path, {**column, "chosen": conversation(*first), "rejected": conversation(*second)})
        assert example.prompt == (ASK,)
        assert [roles(text) for text in example.completions] == [
            ["assistant", "tool", "assistant"],
            ["assistant", "tool", "tool", "assistant"],
        ]
        (example,) = load(tmp_path, {**column, "chosen": conversation(*first), "rejected": conversation(*third)})
        assert example.prompt == (ASK,)
        late = [conversation(*first[:2], says(text)) for text in ("4", "5")]
        (example,) = load(tmp_path, {**column, "chosen": late[0], "rejected": late[1]})
        assert len(example.prompt) == 3
        assert example.completions == ("4", "5")


def test_what_is_loaded_can_be_written_and_loaded_again(tmp_path: Path) -> None:
    chosen = conversation(calls("add"), result("4"), says("4"))
    (example,) = load(tmp_path, {"tools": TOOLS, "chosen": chosen, "rejected": conversation(says("5"))})
    pair = [[list(messages_of(text))] for text in example.completions]
    row = {"id": example.id, "prompt": list(example.prompt), "chosen": pair[0], "rejected": pair[1]}
    assert load(tmp_path, row) == (example,)


def test_conversations_with_other_turns_of_the_user_are_refused(tmp_path: Path) -> None:
    users = [conversation(says("Hm?"), {"role": "user", "content": text}, says("4")) for text in ("yes", "no")]
    for column in ({"prompt": ASK["content"]}, {}):
        with pytest.raises(DataError, match="conversations that differ"):
            load(tmp_path, {**column, "chosen": users[0], "rejected": users[1]})


def test_other_tools_in_a_message_than_in_the_row_are_refused(tmp_path: Path) -> None:
    prompt = [{**ASK, "tools": [{"name": "other"}]}]
    with pytest.raises(DataError, match=r"agents\.jsonl:1: field 'tools': are others than those in a message"):
        load(tmp_path, {"prompt": prompt, "chosen": "4", "rejected": "5", "tools": TOOLS})


def test_a_prompt_without_labels_has_its_tools_and_calls() -> None:
    location = RowLocation("agents.jsonl", 1, "agents")
    whole = read_prompt_row({"messages": conversation(calls("add")), "tools": TOOLS}, location)
    listed = read_prompt_row({"prompt": [ASK], "tools": TOOLS, "completions": [[calls("add")]]}, location)
    assert whole.prompt == listed.prompt == ({**ASK, "tools": TOOLS},)
    assert whole.completions == listed.completions
    assert isinstance(whole.completions[0], AssistantTurn)


def test_a_judge_reads_tools_calls_and_results(tmp_path: Path) -> None:
    chosen, rejected = conversation(calls("add"), result("is 4"), says("4")), conversation(calls("mul", a=7))
    (example,) = load(tmp_path, {"tools": TOOLS, "chosen": chosen, "rejected": rejected})
    shuffled, _ = blind(example, 0)
    text = "\n".join(
        message["content"]
        for message in render_messages(load_template("pairwise"), shuffled.prompt, shuffled.completions)
    )
    for part in (
        '"properties": {"a"',
        '{"name": "add", "arguments": {"a": 2}}',
        "tool: is 4",
        '"mul", "arguments": {"a": 7}',
    ):
        assert part in text
