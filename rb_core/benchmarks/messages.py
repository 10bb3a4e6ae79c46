"""Read conversations in the forms that datasets have: messages, messages written as text, and transcripts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rb_core.benchmarks.example import ROLES, Conversation, Message, Role, message_text
from rb_core.benchmarks.row_location import RowLocation, describe_value
from rb_core.errors import quoted

# Names of roles in datasets, in lower case.
_ROLE_ALIASES: Mapping[str, Role] = {
    **{role: role for role in ROLES},
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "developer": "system",
    "tool_call": "assistant",
    "function_call": "assistant",
    "tool_response": "tool",
    "tool_result": "tool",
    "function": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "observation": "tool",
}
# Roles of messages whose content is a call; several in a row are made at once.
_CALL_ROLES = ("tool_call", "function_call")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
# Fields of a message with content that is not passed to any chat template.
_UNSUPPORTED_FIELDS = ("images", "image", "audio", "video", "videos", "refusal")
# The beginning of objects in JSON, or as Python writes them, and of objects that can only be messages.
_WRITTEN_OBJECTS = re.compile(r"""\s*(?:\[\s*){0,2}\{\s*['"]""")
_WRITTEN_MESSAGES = re.compile(r"""\s*(?:\[\s*){0,2}\{\s*['"](?:role|content|from|value)['"]\s*:""")
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def read_messages(value: Any, location: RowLocation, field: str) -> Conversation:
    """Read text (one user turn), a message, or a list of messages.

    A message is {"role", "content"} or {"from", "value"}; content is text or a list of text parts. Raises DataError for
    anything else, and for images and other content that is not text.
    """
    if isinstance(value, str):
        if not value.strip():
            raise location.error(field, "is empty; expected text or a list of messages")
        return (Message(role="user", content=value),)
    messages = [value] if isinstance(value, dict) else value
    if not isinstance(messages, list) or not messages:
        raise location.error(field, f"is {describe_value(value)}; expected text or a non-empty list of messages")
    read: list[Message] = []
    for index, written in enumerate(messages):
        message = _read_message(written, f"message {index}", location, field)
        if _is_call(written) and read and read[-1]["role"] == "assistant":
            read[-1] = {**read[-1], "tool_calls": read[-1].get("tool_calls", []) + message["tool_calls"]}
        else:
            read.append(message)
    return tuple(read)


def _is_call(value: Mapping[str, Any]) -> bool:
    return str(value.get("role") or value.get("from")).strip().lower() in _CALL_ROLES


def _read_message(value: Any, name: str, location: RowLocation, field: str) -> Message:
    if not isinstance(value, dict):
        raise location.error(field, f"{name} is {describe_value(value)}; expected an object with role and content")
    role = value.get("role") or value.get("from")
    known_role = _ROLE_ALIASES.get(role.strip().lower()) if isinstance(role, str) else None
    if known_role is None:
        has = f"the role {quoted(role)}" if isinstance(role, str) else "no role"
        raise location.error(field, f"{name} has {has}; expected one of {', '.join(ROLES)}")
    for unsupported in _UNSUPPORTED_FIELDS:
        if value.get(unsupported):
            raise location.error(field, f"{name} has {unsupported!r}, which is not supported; leave the row out")
    content = value.get("content", value.get("value"))
    if _is_call(value):
        value, content = {"function_call": content}, None
    extras = _read_extras(value, known_role, name, location, field)
    if content is None and "tool_calls" in extras:
        content = ""
    message = Message(role=known_role, content=_join_parts(content, name, location, field))
    message.update(extras)
    return message


def _read_extras(value: Mapping[str, Any], role: Role, name: str, location: RowLocation, field: str) -> Any:
    """Return the fields beside role and content that the message has."""
    extras: dict[str, Any] = {}
    reasoning = next((value[key] for key in _REASONING_FIELDS if value.get(key)), None)
    if reasoning is not None and role == "assistant":
        if not isinstance(reasoning, str):
            raise location.error(field, f"the reasoning of {name} is {describe_value(reasoning)}; expected text")
        extras["reasoning_content"] = reasoning
    if written_calls := value.get("tool_calls") or value.get("function_call"):
        calls = parsed_text(written_calls)
        calls = [calls] if isinstance(calls, dict) else calls
        if role != "assistant" or not isinstance(calls, list):
            raise location.error(field, f"{name} has tool calls that are not a list of an assistant's calls")
        extras["tool_calls"] = [_read_tool_call(call, name, location, field) for call in calls]
    if value.get("tools"):
        extras["tools"] = read_tools(value["tools"], location, field)
    if role == "tool":
        extras |= {key: str(value[key]) for key in ("name", "tool_call_id") if value.get(key)}
    return extras


def _read_tool_call(call: Any, name: str, location: RowLocation, field: str) -> dict[str, Any]:
    """Return a call as chat templates expect it: {"type", "function": {"name", "arguments"}}, arguments an object."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise location.error(field, f"a tool call of {name} has no function name")
    arguments = parsed_text(function.get("arguments"))
    known = {"name": function["name"], "arguments": {} if arguments is None else arguments}
    identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {"type": "function", **identity, "function": known}


def read_tools(value: Any, location: RowLocation, field: str) -> list[Any]:
    """Read the list of functions that an assistant may call; it may be written as JSON."""
    tools = parsed_text(value)
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise location.error(
            field, f"is {describe_value(tools)}; expected a list of functions in the form of JSON Schema"
        )
    return tools


def split_tools(messages: Conversation) -> tuple[Conversation, list[Any]]:
    """Return a conversation without the tools that its messages bring, and the tools."""
    tools = next((message["tools"] for message in messages if "tools" in message), [])
    bare: Any = tuple({name: value for name, value in turn.items() if name != "tools"} for turn in messages)
    return bare, tools


def with_tools(messages: Conversation, tools: list[Any]) -> Conversation:
    """Return a conversation whose first message brings the tools; not a system message, which may be folded."""
    first = next((index for index, message in enumerate(messages) if message["role"] != "system"), 0)
    return (*messages[:first], {**messages[first], "tools": tools}, *messages[first + 1 :]) if tools else messages


def _join_parts(content: Any, name: str, location: RowLocation, field: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise location.error(field, f"{name} needs its content as text, or as a list of text parts")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if kind != "text" or not isinstance(text, str):
            raise location.error(field, f"{name} has a part of the type {quoted(str(kind))}; only text can be scored")
        texts.append(text)
    return "".join(texts)


def parsed_text(value: Any) -> Any:
    """Return what a text says in JSON, or as Python writes it; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def parse_written_messages(value: Any, location: RowLocation, field: str) -> Any:
    """Return messages that are written as text (JSON, or Python's own notation) as messages; other values as they are.

    Raises DataError for a list of messages that is cut off or otherwise damaged.
    """
    if not isinstance(value, str) or not _WRITTEN_OBJECTS.match(value):
        return value
    parsed = parsed_text(value.strip())
    if _are_messages(parsed):
        return parsed
    if (
        isinstance(parsed, str)
        and _WRITTEN_MESSAGES.match(value)
        and re.match(r"\s*\[", value)
        and re.search(r"['\"](?:role|from)['\"]\s*:", value)
    ):
        raise location.error(field, "looks like a list of messages written as text, but is neither JSON nor Python")
    return value


def _are_messages(value: Any) -> bool:
    if isinstance(value, dict):
        return {"role", "content"} <= value.keys() or {"from", "value"} <= value.keys()
    return isinstance(value, list) and bool(value) and all(map(_are_messages, value))


def read_turns(text: str) -> tuple[Message, ...] | None:
    """Read a transcript of "Human:" and "Assistant:" turns, which begins with a human's; None for any other text."""
    if "Assistant" not in text:  # a long text is searched faster for a word than for a pattern
        return None
    turns = list(_TURN.finditer(text))
    if len(turns) < 2 or text[: turns[0].start()].strip():
        return None
    roles = [turn[1] for turn in turns]
    if roles[0] != "Human" or "Assistant" not in roles:
        return None
    ends = [turn.start() for turn in turns[1:]] + [len(text)]
    return tuple(
        Message(role=_ROLE_ALIASES[turn[1].lower()], content=text[turn.end() : end].removeprefix(" "))
        for turn, end in zip(turns, ends, strict=True)
    )


def read_prompt_text(value: Any, location: RowLocation, field: str) -> Conversation:
    """Read a prompt as `read_messages` does; a transcript that ends with an open "Assistant:" becomes its turns."""
    turns = read_turns(value) if isinstance(value, str) else None
    if turns and turns[-1]["role"] == "assistant" and not turns[-1]["content"].strip():
        return turns[:-1]
    messages = read_messages(value, location, field)
    if not any(message_text(message).strip() for message in messages):
        raise location.error(field, "has no text in any message")
    return messages


def shared_beginning(conversations: Sequence[Conversation]) -> Conversation:
    """Return the messages with which all conversations begin."""
    shared = []
    for messages in zip(*conversations, strict=False):
        if any(message != messages[0] for message in messages):
            break
        shared.append(messages[0])
    return tuple(shared)
