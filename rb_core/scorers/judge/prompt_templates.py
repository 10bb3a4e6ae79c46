"""Prompts of judges: a template, and in it the texts to judge, each in a fence that it cannot close.

A template is a file: YAML front matter (name, version, mode), an optional part `# system`, and a part `# user`. Both
parts are Jinja with these placeholders:

    conversation     the turns of the prompt, each fenced under its role
    answers          the completions, each fenced under its letter (without a letter if there is only one)
    letters          "A or B", "A, B, C or D"
    num_answers      number of completions
    verdict_format   the required end of the reply, as the parser reads it; a logprob template may omit it

The digits of a fence are a hash of all fenced texts that occurs in none of them:

    [begin answer A #3f9a2c1b]
    ...
    [end answer A #3f9a2c1b]
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from rb_core.benchmarks.example import Conversation, Message, message_text
from rb_core.errors import DataError
from rb_core.models.chat_format import TEMPLATE_ERRORS
from rb_core.models.options import MODES, Mode
from rb_core.scorers.judge.parsing import HIGHEST, LETTERS, LOWEST, is_verdict_line

PLACEHOLDERS = frozenset({"conversation", "answers", "letters", "num_answers", "verdict_format"})
FOLDER = Path(__file__).parent / "prompts"
MARK_DIGITS = 8

# Texts that tokenizers may read as a control token: <|im_end|>, <|turn>, <turn|> and the like, with full-width bars
# too, and those without bars by name. Only the first character is matched, so that no match hides another.
_NAMED = (
    r"/?s|bos|eos|pad|unk|mask|sop|eop|(?:start|end)_of_(?:turn|image|audio|text)|/?tool_(?:call|response)s?"
    r"|unused\d{1,5}|extra_id_\d{1,5}|/?(?i:think|thinking|reasoning|thought)|<SYS>|</SYS>"
)
_BRACKETED = (
    r"/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|TOOL_CALL|ARGS|CALL_ID|IMG|THINK)"
    r"|gMASK|sMASK|BOS|EOS|CLS|SEP|MASK|PAD|UNK"
)
CONTROL_TOKEN = re.compile(
    rf"<(?=[|｜][^\s|｜<>]{{1,64}}[|｜]?>|[^\s|｜<>]{{1,64}}[|｜]>|(?:{_NAMED})>)|\[(?=(?:{_BRACKETED})\])|◁(?=/?think▷)"
)
_SURROGATE = re.compile("[\ud800-\udfff]")

# A fence of a request, or an imitation of one.
_FENCE = re.compile(
    r"\[ ?(?:/|begin|end|start|stop)(?: of)?(?: the)? ?(?:answer|response|(?:system|user|assistant) message)\b",
    re.IGNORECASE | re.ASCII,
)
# Phrases that address the judge. The list is short, so that people can check the count.
_ADDRESSES = (
    # "ignore all previous instructions", "disregard the above rubric"
    r"(?:ignore|disregard|forget)(?: (?:all|any|the|your|these|of|previous|prior|above|earlier)){1,5}"
    r" (?:instructions?|prompts?|rules|rubric|criteria)",
    # "as the judge, you", "dear evaluator", "note to the grader"
    r"(?:as the|dear|attention,?|(?:note|message|instructions?) (?:to|for) (?:the|any|all))"
    r" (?:judge|evaluator|grader|rater)s?",
    # "choose this answer", "rate my response"
    r"(?:choose|pick|select|prefer|rate|score|grade|rank) (?:this|my) (?:answer|response|reply|completion)",
    # "this answer should be rated 10", "this response deserves the highest rating"
    r"(?:this|my) (?:answer|response|reply|completion) (?:should|must|deserves to) (?:be (?:rated|chosen|picked)|win)",
)
_ADDRESS = re.compile(rf"\b(?:{'|'.join(_ADDRESSES)})\b".replace(" ", r"[ \t\n]{1,3}"), re.IGNORECASE | re.ASCII)

_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class Template:
    """A template. `sha256` is the hash of its file; if `system` is empty, no system message is sent."""

    name: str
    version: int
    mode: Mode
    system: str
    user: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def load_template(mode: Mode, choice: str | None = None) -> Template:
    """Return the template of a mode. Raises DataError for a file with a mistake, naming both.

    Args:
        choice: name of a built-in template, or path of a file; None for the mode's built-in one.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.md"))
    choice = mode if choice is None else choice
    path = FOLDER / f"{choice}.md" if choice in names else Path(choice)
    if not path.is_file():
        raise DataError(f"no template {choice!r}: give the path of a file, or one of {', '.join(names)}")
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"template {path}: cannot be read: {error}") from error
    template = _parsed(text, hashlib.sha256(content).hexdigest(), path)
    if template.mode != mode:
        raise DataError(f"template {path}: is for --mode {template.mode}, not {mode}")
    _check(template, path)
    return template


def _parsed(text: str, sha256: str, path: Path) -> Template:
    lines = text.splitlines()
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        raise DataError(f"template {path}: must begin with front matter: name, version and mode between lines of ---")
    end = lines.index("---", 1)
    try:
        head = yaml.safe_load("\n".join(lines[1:end]))
    except yaml.YAMLError as error:
        raise DataError(f"template {path}: the front matter is not YAML: {' '.join(str(error).split())}") from error
    template_name, version, mode = _front_matter(head, path)
    parts: dict[str, list[str]] = {}
    part = ""
    for number, line in enumerate(lines[end + 1 :], start=end + 2):
        if line.rstrip() in {"# system", "# user"}:
            part = line.strip("# ")
            if part in parts:
                raise DataError(f"template {path}, line {number}: a second part # {part}")
            parts[part] = []
        elif part:
            parts[part].append(line)
        elif line.strip():
            raise DataError(f"template {path}, line {number}: text before the parts # system and # user")
    if "user" not in parts:
        raise DataError(f"template {path}: has no part # user")
    system, user = ("\n".join(parts.get(name, ())).strip() for name in ("system", "user"))
    return Template(template_name, version, mode, system, user, sha256)


def _front_matter(head: Any, path: Path) -> tuple[str, int, Mode]:
    if not isinstance(head, dict) or set(head) != {"name", "version", "mode"}:
        keys = ", ".join(map(str, head)) if isinstance(head, dict) else "no keys"
        raise DataError(f"template {path}: the front matter must have name, version and mode, and has {keys}")
    name, version, mode = head["name"], head["version"], head["mode"]
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise DataError(f"template {path}: the name must be letters, digits, dots and hyphens, and is {name!r}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DataError(f"template {path}: the version must be a whole number from 1, and is {version!r}")
    if mode not in MODES:
        raise DataError(f"template {path}: the mode must be one of {', '.join(MODES)}, and is {mode!r}")
    return name, version, mode


def _check(template: Template, path: Path) -> None:
    """Raise DataError unless the template renders with all that it must contain."""
    for part, source in (("system", template.system), ("user", template.user)):
        try:
            names = meta.find_undeclared_variables(_ENVIRONMENT.parse(source))
        except TemplateError as error:
            raise DataError(f"template {path}: the part # {part} is not Jinja: {error}") from error
        if unknown := sorted(names - PLACEHOLDERS):
            raise DataError(
                f"template {path}: unknown placeholder {unknown[0]!r}; there are {', '.join(sorted(PLACEHOLDERS))}"
            )
    prompt = tuple(Message(role=role, content=f"Text of {role}") for role in ("system", "user", "assistant"))
    try:
        for structured in (False, True):
            completions = ["One", "Two"][: 1 if template.mode == "ratings" else 2]
            render_messages(template, prompt, completions, structured=structured)
    except DataError as error:
        raise DataError(str(error).replace(f"template {template}", f"template {path}", 1)) from error


def render_messages(
    template: Template, prompt: Conversation, completions: Sequence[str], *, structured: bool = False
) -> Conversation:
    """Return the messages of a request. The order of completions decides only which of them has which letter.

    Args:
        completions: two for pairwise, at least two for listwise and logprob, at least one for ratings.
        structured: the reply has to be a JSON object; never for logprob.

    Raises ValueError for another number of completions, and DataError if the template fails on these texts or leaves
    out required ones.
    """
    fewest, most = {"ratings": (1, len(LETTERS)), "pairwise": (2, 2)}.get(template.mode, (2, len(LETTERS)))
    if not fewest <= len(completions) <= most:
        raise ValueError(f"{len(completions)} answers for the mode {template.mode}")
    conversation, answers = fenced_texts(prompt, completions)
    context: dict[str, Any] = {
        "conversation": conversation,
        "answers": answers,
        "letters": _letters_in_words(len(completions)),
        "num_answers": len(completions),
        "verdict_format": verdict_format(template.mode, len(completions), structured=structured),
    }
    system, user = (_filled(template, source, context) for source in (template.system, template.user))
    for name in ("conversation", "answers", "verdict_format")[: 2 if template.mode == "logprob" else 3]:
        if context[name] not in system and context[name] not in user:
            raise DataError(f"template {template}: leaves out `{name}`, or changes it")
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return messages if system else messages[1:]


def fenced_texts(prompt: Conversation, completions: Sequence[str]) -> tuple[str, str]:
    """Return the turns of a conversation, and its completions, as two texts in fences that no text can close."""
    mark = _mark([message_text(message) for message in prompt], completions)
    turns = [_fenced(f"{message['role']} message", message_text(message), mark) for message in prompt]
    labels = [f"answer {letter}" for letter in LETTERS] if len(completions) > 1 else ["answer"]
    answers = [_fenced(label, text, mark) for label, text in zip(labels, completions, strict=False)]
    return "\n\n".join(turns), "\n\n".join(answers)


def verdict_format(mode: Mode, num_answers: int, *, structured: bool = False) -> str:
    """Return the sentence that prescribes the end of a reply, as `parsing.read_verdict` reads it."""
    letters = _letters_in_words(num_answers)
    if mode == "logprob":
        return f"Reply with one letter, {letters}, and nothing else."
    value = f"a whole number from {LOWEST} to {HIGHEST}" if mode == "ratings" else f"one letter, {letters}"
    key = "rating" if mode == "ratings" else "verdict"
    if structured:
        return (
            f'Reply with one JSON object and nothing else: "reasoning" is a string that says why, '
            f'and after it "{key}" is {value}.'
        )
    return (
        f'End your reply with a line of its own that is "{key.capitalize()}:" followed by {value}, '
        "with nothing else on that line and no such line before it."
    )


def reply_schema(mode: Mode, num_answers: int) -> dict[str, Any]:
    """Return the JSON Schema of a structured reply. Raises ValueError for logprob, whose reply is one token."""
    if mode == "logprob":
        raise ValueError("a logprob reply is one letter and follows no schema")
    letters = {"type": "string", "enum": list(LETTERS[:num_answers])}
    rating = {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}
    key, value = ("rating", rating) if mode == "ratings" else ("verdict", letters)
    return {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, key: value},
        "required": ["reasoning", key],
        "additionalProperties": False,
    }


def is_injection(completion: str) -> bool:
    """Return True if a completion addresses the judge or imitates its input. No score depends on it.

    That is text shaped like a fence, a well-formed verdict line, a control token, or one of a short list of phrases.
    """
    patterns = (_FENCE, CONTROL_TOKEN, _ADDRESS)
    return any(pattern.search(completion) for pattern in patterns) or any(map(is_verdict_line, completion.splitlines()))


def inert(text: str) -> str:
    """Return the text without control tokens and lone surrogates, so that it is only text and can be sent as JSON.

    A space is inserted after the first character of a control token (a normalizer could remove an invisible one).
    Lone surrogates become U+FFFD.
    """
    return CONTROL_TOKEN.sub(lambda match: match[0] + " ", _SURROGATE.sub("\ufffd", text))


def _fenced(label: str, text: str, mark: str) -> str:
    return f"[begin {label} #{mark}]\n{inert(text)}\n[end {label} #{mark}]"


def _mark(turns: Sequence[str], completions: Sequence[str]) -> str:
    """Return hexadecimal digits that occur in no text, the same for every order of the completions."""
    texts = [text.encode("utf-8", "surrogatepass") for text in (*turns, *sorted(completions))]
    digest = hashlib.sha256(b"".join(b"%d:%b" % (len(text), text) for text in texts)).digest()
    written = [inert(text).lower() for text in (*turns, *completions)]
    # a text can be made to contain its own hash, but not all that follow
    for attempt in itertools.count():
        mark = hashlib.sha256(digest + b"%d" % attempt).hexdigest()[:MARK_DIGITS]
        if not any(mark in text for text in written):
            return mark
    raise AssertionError("unreachable")


@cache
def _compiled(source: str) -> Any:
    return _ENVIRONMENT.from_string(source)


def _filled(template: Template, source: str, context: dict[str, Any]) -> str:
    try:
        return str(_compiled(source).render(context)).strip()
    except TEMPLATE_ERRORS as error:
        raise DataError(f"template {template}: {error}") from error


def _letters_in_words(number: int) -> str:
    """Return the first letters as a list in words: A, B or C."""
    return " or ".join(part for part in (", ".join(LETTERS[: number - 1]), LETTERS[number - 1]) if part)
