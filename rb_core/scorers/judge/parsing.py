"""Parse the verdict of a judge's reply, or find that it has none.

A reply is read right or it is unscored; a reply that can be read in two ways is unscored. Parsing takes linear time
and never raises.

    reply -> text after the reasoning -> lines that are not quoted -> the one verdict on which they agree

A verdict is a line of its own (case does not matter, runs of spaces count as one, full-width forms count as ASCII):

    line    = [up to 3 spaces] ["#".."######"] ["my" | "the"] ["final" | "overall"] word ":" value ["."]
    word    = "Verdict" for a choice, "Rating" for a rating
    value   = ["answer" | "response" | "option"] letter                          for a choice
            | number ["/10" | "out of 10"]                                       for a rating
    letter  = A, B .. one for each answer; number = 1 .. 10; either bare or in [ ], [[ ]], ( ) or backticks
    and * or _, as many of each as make pairs, around the word, the value or both

Anything else on the line makes it malformed ("Verdict: A because", "Verdict: tie", "Rating: 7.5"). Two well-formed
lines that differ, or a malformed one after the last well-formed one, leave the reply without a verdict.

Quoted text is not the judge's own: text between the fences of a request, fenced code, block quotes with the lines that
continue them, lines indented as code, and quotations of several lines. A fence of either kind that is not closed leaves
the reply without a verdict.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from rb_core.scorers.judge.types import REFUSED, UNREADABLE

# Raised by one when any reply is read differently.
PARSER_VERSION = 2

Asked = Literal["choice", "rating"]
Span = tuple[int, int]

LETTERS = string.ascii_uppercase  # names of the answers, so a request has no more answers than letters
LOWEST, HIGHEST = 1, 10
KEYS: dict[Asked, str] = {"choice": "verdict", "rating": "rating"}  # key of a structured reply, word of a verdict line

# The fences around the texts of a request; a judge may quote them without their mark.
FENCE_MARKER = re.compile(
    r"\[(?P<side>begin|end) (?P<label>answer(?: [A-Z])?|(?:system|user|assistant) message)"
    r"(?: ?#(?P<mark>[0-9a-f]{8,64}))?\]",
    re.IGNORECASE | re.ASCII,
)

# Tags around reasoning. A tag in quotation marks or backticks is mentioned, not used.
_TAG_NAME = r"(?:think|thinking|reasoning|thought)"
_TAG = re.compile(
    rf"[`\"'“]</?{_TAG_NAME}>[`\"'”]|</?{_TAG_NAME}>|(?-i:\[/?THINK\])|◁/?think▷", re.IGNORECASE | re.ASCII
)

FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # to ASCII, for str.translate
_LONGEST_LINE = 200  # characters of a line that are searched; no well-formed line is longer
_QUOTED = "\ufffc"  # replaces quoted text, so that a line with a quotation is not well-formed
_EM = r"[*_]{0,3}"


def _line(word: str, value: str) -> re.Pattern[str]:
    named = rf"(?:#{{1,6}} )?{_EM} ?(?:(?:my|the) )?(?:(?:final|overall) )?{word}"
    return re.compile(rf"{named} ?{_EM} ?: ?{_EM} ?{_EM}{value} ?{_EM}\.?{_EM}", re.IGNORECASE | re.ASCII)


def _bracketed(value: str) -> str:
    return rf"(?P<value>\[\[{value}\]\]|\[{value}\]|\({value}\)|`{value}`|{value})"


_WELL_FORMED: dict[Asked, re.Pattern[str]] = {
    "choice": _line("verdict", rf"(?:(?:answer|response|option) {_EM})?{_bracketed('[A-Z]')}"),
    "rating": _line("rating", rf"{_bracketed('(?:10|[1-9])')}{_EM}(?: ?/ ?10| out of 10)?"),
}

# The beginning of a line that gives a verdict, in whichever form.
_STARTED: dict[Asked, re.Pattern[str]] = {
    asked: re.compile(
        r"(?:[-*+•] |[0-9]{1,3}[.)] |#{1,6} )*[*_]{0,3} ?"
        r"(?:(?:my|the|final|overall|revised|updated|corrected|new) ){0,3}"
        rf"{word}[*_]{{0,3}} ?(?:\([^()]{{0,40}}\) ?)?[*_]{{0,3}} ?(?:[:=–—-]|is\b)",
        re.IGNORECASE | re.ASCII,
    )
    for asked, word in KEYS.items()
}

_REFUSAL = re.compile(
    r"[\s*_#\"]*(?:unfortunately,? |sorry,? (?:but )?)?"
    r"(?:I(?: can(?:'t|not| not)(?! help but)|(?:'m| am) (?:sorry|unable|not able)| (?:won't|will not|must decline)"
    r"| (?:apologi[sz]e|do not feel comfortable|don't feel comfortable))|as an AI|my apologies|sorry, but)\b",
    re.IGNORECASE | re.ASCII,
)
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "＇": "'", "\u00a0": " "})


class Verdict(NamedTuple):
    """The index of the answer named (0 is A) or a rating from 1 to 10; None with REFUSED or UNREADABLE as `error`."""

    value: int | None
    error: str = ""


def read_verdict(text: str, asked: Asked, num_options: int = 2, *, structured: bool = False) -> Verdict:
    """Return the verdict of a reply.

    Args:
        num_options: number of answers to choose from.
        structured: the reply has to be a JSON object with the key "verdict" (a letter) or "rating" (an integer).
    """
    answer = strip_reasoning(text)
    values = _json_verdicts((text, answer), asked) if structured else _line_verdicts(answer, asked)
    if len(values) == 1:
        value = values.pop()
        is_option = value is not None and (asked == "rating" or value < num_options)
        return Verdict(value) if is_option else Verdict(None, UNREADABLE)
    refused = not values and _REFUSAL.match(answer.lstrip()[:_LONGEST_LINE].translate(_APOSTROPHES))
    return Verdict(None, REFUSED if refused else UNREADABLE)


def is_verdict_line(line: str, kinds: Iterable[Asked] = ("choice", "rating")) -> bool:
    """Return True if a line by itself is a well-formed verdict of one of the kinds."""
    return any(_line_value(line, asked) is not None for asked in kinds)


def strip_reasoning(text: str) -> str:
    """Return the text after the model's reasoning, with text in closed fences of a request masked.

    Reasoning is a block at the beginning, or everything before a closing tag at the start of a line (templates of
    reasoning models open the block in the prompt). A block that is not closed, and a tag anywhere else, leave no text.
    """
    text = _mask(text, _closed_fences(text))
    tags = [tag for tag in _TAG.finditer(text) if tag[0][0] in "<[◁"]
    if not tags:
        return text
    before = text[: tags[0].start()]
    if "/" not in tags[0][0]:
        closing = tags[0][0].replace(tags[0][0][0], f"{tags[0][0][0]}/").lower()
        end = next((i for i, tag in enumerate(tags) if tag[0].lower() == closing), None)
        if before.strip() or end is None:
            return ""
    else:
        end = 0
        if before.rpartition("\n")[2].strip() or _lines_outside_code(before) is None:
            return ""
    return text[tags[end].end() :] if end == len(tags) - 1 else ""


def _closed_fences(text: str) -> list[Span]:
    """Return the spans from each beginning of a request's fence to the last end with the same label and mark.

    The last, since a text that is quoted without its mark may imitate an end.
    """
    markers = [
        (m, m["side"].lower(), (m["label"].lower(), (m["mark"] or "").lower())) for m in FENCE_MARKER.finditer(text)
    ]
    last_ends = {key: marker.end() for marker, side, key in markers if side == "end"}
    last_ends |= {(label, ""): marker.end() for marker, side, (label, _) in markers if side == "end"}
    spans = [(marker.start(), last_ends.get(key, 0)) for marker, side, key in markers if side == "begin"]
    return [span for span in spans if span[0] < span[1]]


def _mask(text: str, spans: Iterable[Span]) -> str:
    """Replace the text in spans, which are sorted by their starts and may overlap."""
    parts, done = [], 0
    for start, stop in spans:
        if stop > done:
            parts += [text[done:start], _QUOTED]
            done = stop
    return "".join([*parts, text[done:]])


def _line_verdicts(text: str, asked: Asked) -> set[int | None]:
    """Return the verdicts of all lines; None stands for a malformed one after the last well-formed one."""
    values: set[int | None] = set()
    malformed = False
    for line in _own_lines(text):
        value = _line_value(line, asked)
        if value is not None:
            values.add(value)
            malformed = False
        elif values and _STARTED[asked].match(_normalized(line[:_LONGEST_LINE])):
            malformed = True
    return values | {None} if malformed else values


def _line_value(line: str, asked: Asked) -> int | None:
    if len(line) > _LONGEST_LINE:
        return None
    line = _normalized(line)
    match = _WELL_FORMED[asked].fullmatch(line)
    if not match or line.count("*") % 2 or line.count("_") % 2:
        return None
    value = match["value"].strip("[]()`")
    return LETTERS.index(value.upper()) if asked == "choice" else int(value)


def _normalized(line: str) -> str:
    return " ".join(line.translate(FULL_WIDTH).split())


def _own_lines(text: str) -> list[str]:
    """Return the lines that are not quoted; none if a fence is not closed."""
    lines = None if FENCE_MARKER.search(text) else _lines_outside_code(text)
    own, in_quote = [], False
    for line in lines or ():
        bare = line.lstrip()
        # Markdown counts the lines of a paragraph to the block quote that its first line is in
        in_quote = bare.startswith(">") or (in_quote and bool(bare) and not bare.startswith("#"))
        indent = line[: len(line) - len(bare)]
        if not in_quote and len(indent) <= 3 and "\t" not in indent:
            own.append(line)
    text = "\n".join(own)
    return _mask(text, _quotations(text)).splitlines()


def _lines_outside_code(text: str) -> list[str] | None:
    """Return the lines outside fenced code, an empty one for each block; None if the last block is not closed."""
    outside, opened = [], ""
    for line in text.splitlines():
        bare = line.strip()
        fence = bare[: len(bare) - len(bare.lstrip(bare[0]))] if bare.startswith(("```", "~~~")) else ""
        if opened:
            if fence == bare and fence.startswith(opened):
                opened = ""
        elif fence and fence[0] not in bare[len(fence) :]:  # ```x``` is code within a line
            opened = fence
            outside.append("")
        else:
            outside.append(line)
    return None if opened else outside


def _quotations(text: str) -> list[Span]:
    """Return the spans of quotations that extend over several lines."""
    spans = []
    opened: dict[str, re.Match[str]] = {}
    for mark in re.finditer('["`“”„«»「」『』]', text):
        kind = mark[0] if mark[0] in '"`' else "directional"
        start = opened.pop(kind, None)
        if start is None:
            if mark[0] not in "”»」』":
                opened[kind] = mark
        elif mark[0] in '"`”»」』' or (mark[0] == "“" and start[0] == "„"):
            if len(text[start.start() : mark.end()].splitlines()) > 1:
                spans.append((start.start(), mark.end()))
        else:
            opened[kind] = start
    return sorted(spans)


def _json_verdicts(texts: Sequence[str], asked: Asked) -> set[int | None]:
    """Return the verdicts in the first text that is a JSON object: several if a key is repeated, None if invalid."""
    pairs = next(filter(None, map(_json_object, texts)), ())
    return {_json_value(value, asked) for key, value in pairs if key == KEYS[asked]}


def _json_value(value: object, asked: Asked) -> int | None:
    if asked == "choice":
        is_letter = isinstance(value, str) and value.isascii() and len(value) == 1 and value.upper() in LETTERS
        return LETTERS.index(str(value).upper()) if is_letter else None
    return value if isinstance(value, int) and not isinstance(value, bool) and LOWEST <= value <= HIGHEST else None


def _json_object(text: str) -> tuple[tuple[str, object], ...] | None:
    """Return the (key, value) pairs of a JSON object, repeated ones too; None for anything else."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        opening, _, body = text.partition("\n")
        if opening.strip().lower() not in {"```", "```json"}:
            return None
        text = body.removesuffix("```")
    try:
        # objects become tuples of pairs, which nothing else in JSON becomes
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    return pairs if isinstance(pairs, tuple) else None
