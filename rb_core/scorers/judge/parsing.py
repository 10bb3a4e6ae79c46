"""What a judge's reply says, or that it says nothing. Pure: text in, a verdict out; never raises, in linear time.

A reply is read right or it is unscored; whatever could be read in two ways is unscored.

    reply -> outside its thinking blocks -> outside what it quotes -> lines of its own -> the one verdict they agree on

A verdict is a line of its own (case does not matter, runs of spaces count as one, full-width forms count as ASCII):

    line    = [up to 3 spaces] ["#".."######"] ["my" | "the"] ["final" | "overall"] word ":" value ["."]
    word    = "Verdict" for a choice, "Rating" for a rating
    value   = ["answer" | "response" | "option"] letter                          for a choice
            | number ["/10" | "out of 10"]                                       for a rating
    letter  = A, B .. one for each answer; number = 1 .. 10; either bare or in [ ], [[ ]], ( ) or backticks
    and * or _, as many of each as make pairs, around the word, the value or both

Anything else on the line makes it malformed ("Verdict: A because", "Verdict: tie", "Rating: 7.5"). Two well-formed
lines that differ, or a malformed one after the last well-formed one, leave the reply unreadable.

What is quoted is not the judge's own: the fences that a request puts around every text (with or without their mark),
fenced code, block quotes with the lines that continue them, lines indented as code, and lines between quotation marks
that opened on an earlier line and close on a later one. An unclosed fence of a request quotes all that follows it; with
an unclosed code fence it cannot be known which fences open and which close, and all from the first one on is quoted.
"""

from __future__ import annotations

import json
import math
import re
import string
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from rb_core.scorers.judge.types import KEPT_TOKENS, REFUSED, UNREADABLE, Token

# Goes up when the same text would be read otherwise.
PARSER_VERSION = 1


Asked = Literal["choice", "rating"]


Span = tuple[int, int]


# Answers are named by letters; there are no more answers in one request than letters.
LETTERS = string.ascii_uppercase


LOWEST, HIGHEST = 1, 10


# The key of a structured reply, and the word of a verdict line.
KEYS: dict[Asked, str] = {"choice": "verdict", "rating": "rating"}


# The fence that stands around a text in a request, and the same without the mark, as a judge may quote it.
FENCE_MARKER = re.compile(
    r"\[(?P<side>begin|end) (?P<label>answer(?: [A-Z])?|(?:system|user|assistant) message)"
    r"(?: ?#(?P<mark>[0-9a-f]{8,64}))?\]",
    re.IGNORECASE | re.ASCII,
)


# Tags of thinking blocks. One that is itself in quotation marks or backticks is spoken about, not used.
_TAG_NAME = r"(?:think|thinking|reasoning|thought)"


_TAG = re.compile(
    rf"[`\"'“]</?{_TAG_NAME}>[`\"'”]"
    rf"|<(?P<close>/?)(?P<name>{_TAG_NAME})>"
    r"|(?-i:\[(?P<close2>/?)(?P<name2>THINK)\])"
    r"|◁(?P<close3>/?)(?P<name3>think)▷",
    re.IGNORECASE | re.ASCII,
)


_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


# No well-formed line is longer; what stands further right in a line is never looked at.
_LONGEST_LINE = 200


_QUOTED = "\ufffc"  # stands for quoted text, so that no line with some of it is well-formed


_EM = r"[*_]{0,3}"


def _wrapped(value: str) -> str:
    return rf"(?P<value>\[\[{value}\]\]|\[{value}\]|\({value}\)|`{value}`|{value})"


def _line(word: str, value: str) -> re.Pattern[str]:
    named = rf"(?:#{{1,6}} )?{_EM} ?(?:(?:my|the) )?(?:(?:final|overall) )?{word}"
    return re.compile(rf"{named} ?{_EM} ?: ?{_EM} ?{_EM}{value} ?{_EM}\.?{_EM}", re.IGNORECASE | re.ASCII)


_WELL_FORMED: dict[Asked, re.Pattern[str]] = {
    "choice": _line("verdict", rf"(?:(?:answer|response|option) {_EM})?{_wrapped('[A-Z]')}"),
    "rating": _line("rating", rf"{_wrapped('(?:10|[1-9])')}{_EM}(?: ?/ ?10| out of 10)?"),
}


# A line that sets out to give a verdict, in whichever way it goes on.
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
    """What a reply says.

    value: for a choice the index of the answer named (0 is A), for a rating 1 to 10, None with an error; error:
    types.REFUSED or types.UNREADABLE, "" with a value.
    """

    value: int | None
    error: str = ""


def read_verdict(text: str, asked: Asked, num_options: int = 2, *, structured: bool = False) -> Verdict:
    """What a reply says.

    num_options: how many answers there were to choose from; structured: the reply was to be a JSON object with the key
    "verdict" (a letter) or "rating" (an integer from 1 to 10). Never raises.
    """
    values = _from_json(text, asked) if structured else _from_lines(text, asked)
    if len(values) == 1:
        value = values.pop()
        inside = value is not None and (asked == "rating" or value < num_options)
        return Verdict(value) if inside else Verdict(None, UNREADABLE)
    opening = without_reasoning(text).lstrip()[:_LONGEST_LINE].translate(_APOSTROPHES)
    return Verdict(None, UNREADABLE if values or not _REFUSAL.match(opening) else REFUSED)


def without_reasoning(text: str) -> str:
    """What stands outside the model's thinking blocks.

    An unclosed block takes all that follows it. Where a block is closed that was never opened (chat templates of
    reasoning models open it in the prompt), everything before is reasoning. Tags inside a closed quotation are text.
    """
    tags = [tag for tag in _TAG.finditer(text) if tag["name"] or tag["name2"] or tag["name3"]]
    quotes = _closed_quotes(text) if tags else []
    kept: list[str] = []
    start, inside = 0, ""
    at, until = 0, 0
    for tag in tags:
        # with its bracket: [THINK] is not closed by </think>
        name = tag[0][0] + (tag["name"] or tag["name2"] or tag["name3"]).lower()
        closes = bool(tag["close"] or tag["close2"] or tag["close3"])
        if inside:
            if closes and name == inside:
                start, inside = tag.end(), ""
            continue
        while at < len(quotes) and quotes[at][0] <= tag.start():
            if quotes[at][0] >= max(start, until):  # one that began in the reasoning ended with it
                until = quotes[at][1]
            at += 1
        if tag.start() < until:
            continue
        if closes:
            kept.clear()
            start = tag.end()
        else:
            kept.append(text[start : tag.start()])
            inside = name
    return "".join(kept if inside else [*kept, text[start:]])


def _from_lines(text: str, asked: Asked) -> set[int | None]:
    """The verdicts of a free text; None among them for a malformed one after the last well-formed one."""
    values: set[int | None] = set()
    malformed = False
    for line in _own_lines(without_reasoning(text)):
        value = _line_value(line, asked)
        if value is not None:
            values.add(value)
            malformed = False
        elif values and _STARTED[asked].match(_plain(line[:_LONGEST_LINE])):
            malformed = True
    return values | {None} if malformed else values


def _line_value(line: str, asked: Asked) -> int | None:
    """What a well-formed verdict line says; None for any other line."""
    if len(line) > _LONGEST_LINE:
        return None
    line = _plain(line)
    found = _WELL_FORMED[asked].fullmatch(line)
    if not found or line.count("*") % 2 or line.count("_") % 2:
        return None
    value = found["value"].strip("[]()`")
    return LETTERS.index(value.upper()) if asked == "choice" else int(value)


def is_verdict_line(line: str) -> bool:
    """Whether a line, read by itself, is a well-formed verdict of either kind."""
    return any(_line_value(line, asked) is not None for asked in KEYS)


def _plain(line: str) -> str:
    """A line with single spaces, full-width forms as ASCII."""
    return " ".join(line.translate(_FULL_WIDTH).split())


def _own_lines(text: str) -> list[str]:
    """The lines of a reply that are the judge's own words."""
    echoes = _echoes(text)
    lines = _masked(text, echoes.closed)[echoes.orphan : echoes.unclosed].splitlines()
    code, unclosed = _code_blocks(lines)
    lines = lines[:unclosed]
    own = [True] * len(lines)
    for first, last in code if unclosed is None else ():
        own[first : last + 1] = [False] * (last + 1 - first)
    lazy = False
    for index, line in enumerate(lines):
        bare = line.lstrip()
        # Markdown counts the lines of a paragraph to the block quote that its first line is in
        lazy = own[index] and (bare.startswith(">") or (lazy and bool(bare) and not bare.startswith("#")))
        indent = line[: len(line) - len(bare)]
        if lazy or len(indent) > 3 or "\t" in indent:
            own[index] = False
    kept = [line for line, mine in zip(lines, own, strict=True) if mine]
    return [line for line, quoted in zip(kept, _in_quotation(kept), strict=True) if not quoted]


class _Echoes(NamedTuple):
    """Where a text quotes a request's fences: closed ones; where the first one opens that is not closed (None when all
    are); where the last one ends that was never opened (0 when all were)."""

    closed: list[Span]
    unclosed: int | None
    orphan: int


def _echoes(text: str) -> _Echoes:
    closed: list[Span] = []
    unclosed, orphan, done = None, 0, 0
    begins = dict(_echo_ends(text))
    for marker in FENCE_MARKER.finditer(text):
        if marker.start() < done:
            continue
        end = begins.get(marker.start())
        if end is not None:
            closed.append((marker.start(), end))
            done = end
        elif marker.start() not in begins:
            orphan = marker.end()
        elif unclosed is None:
            unclosed = marker.start()
    return _Echoes(closed, unclosed, orphan)


def _echo_ends(text: str) -> list[tuple[int, int | None]]:
    """Of each beginning of a request's fence: its place, and where the fence ends that it opens."""
    ends: dict[tuple[str, str], list[int]] = {}
    begins: list[tuple[int, tuple[str, str]]] = []
    for marker in FENCE_MARKER.finditer(text):
        label, mark = marker["label"].lower(), (marker["mark"] or "").lower()
        if marker["side"].lower() == "begin":
            begins.append((marker.start(), (label, mark)))
            continue
        for key in {(label, mark), (label, "")}:
            ends.setdefault(key, []).append(marker.end())
    found: list[tuple[int, int | None]] = []
    for place, key in begins:
        candidates = ends.get(key, [])
        after = bisect_right(candidates, place)
        # no text holds its own mark, so the first end with it is the end; without a mark the text may pretend to end
        choice = after if key[1] else -1
        found.append((place, candidates[choice] if after < len(candidates) else None))
    return found


def _masked(text: str, spans: Sequence[Span]) -> str:
    """The text, as long as before, without what stands in the spans."""
    parts, done = [], 0
    for start, stop in spans:
        parts += [text[done:start], _QUOTED * (stop - start)]
        done = stop
    return "".join([*parts, text[done:]])


def _code_fences(lines: Sequence[str]) -> list[tuple[int, int | None]]:
    """Of each line that is a fence of code: its index, and that of the next fence that would close it."""
    fences: list[tuple[int, str, int, bool]] = []  # line, character, length, whether it can close one
    for index, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith(("```", "~~~")):
            rest = bare.lstrip(bare[0])
            if bare[0] not in rest:  # ```such``` is code within a line
                fences.append((index, bare[0], len(bare) - len(rest), not rest))
    found: list[tuple[int, int | None]] = []
    # of the fences further down that can close one, by falling length, each nearer than all that are longer
    closers: dict[str, list[tuple[int, int]]] = {"`": [], "~": []}
    for index, character, length, closes in reversed(fences):
        nearer = closers[character]
        place = bisect_right(nearer, -length, key=lambda closer: closer[0])
        found.append((index, nearer[place - 1][1] if place else None))
        if closes:
            while nearer and nearer[-1][0] >= -length:
                nearer.pop()
            nearer.append((-length, index))
    return found[::-1]


def _code_blocks(lines: Sequence[str]) -> tuple[list[Span], int | None]:
    """The first and last line of each block of fenced code; and the first fence of all, if one is not closed."""
    fences = _code_fences(lines)
    blocks: list[Span] = []
    all_closed, done = True, -1
    for first, last in fences:
        if first > done and last is None:
            all_closed = False
        elif first > done and last is not None:
            blocks.append((first, last))
            done = last
    return blocks, None if all_closed else fences[0][0]


def _closed_quotes(text: str) -> list[Span]:
    """Where a text quotes in a way that has an end: fences of a request, fenced code, lines of a block quote.

    In order of their beginnings. Each is one only where its beginning is not inside another, or in a thinking block.
    """
    echoes = _echo_ends(text)
    lines = _masked(text, _echoes(text).closed).splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    spans = [(begin, end) for begin, end in echoes if end is not None]
    spans += [(starts[first], starts[last + 1]) for first, last in _code_fences(lines) if last is not None]
    spans += [(starts[i], starts[i + 1]) for i, line in enumerate(lines) if line.lstrip().startswith(">")]
    return sorted(spans)


def _in_quotation(lines: Sequence[str]) -> list[bool]:
    """Of each line, whether it begins inside quotation marks that close on a later line."""
    inside = [False] * len(lines)
    for mark in ('"', "`"):  # the same to open and to close
        counts = [line.count(mark) for line in lines]
        total, seen = sum(counts), 0
        for index, count in enumerate(counts):
            inside[index] |= seen % 2 == 1 and total > seen + count
            seen += count
    last_close = max((i for i, line in enumerate(lines) if re.search("[”“»」』]", line)), default=-1)
    opened = ""
    for index, line in enumerate(lines):
        inside[index] |= bool(opened) and last_close > index
        for mark in re.findall("[“”„«»「」『』]", line):
            closes = mark in "”»」』" or (mark == "“" and opened == "„")
            opened = "" if closes else mark
    return inside


def _from_json(text: str, asked: Asked) -> set[int | None]:
    """The verdicts of a structured reply, one for each different value of the key; None for a value that is none."""
    # as it is first: a string inside the object may speak of thinking tags
    pairs = _object(text) or _object(without_reasoning(text)) or ()
    return {_json_value(value, asked) for key, value in pairs if key == KEYS[asked]}


def _json_value(value: object, asked: Asked) -> int | None:
    if asked == "choice":
        letter = value.upper() if isinstance(value, str) and value.isascii() and len(value) == 1 else ""
        return LETTERS.index(letter) if letter and letter in LETTERS else None
    rating = value if isinstance(value, int) and not isinstance(value, bool) else 0
    return rating if LOWEST <= rating <= HIGHEST else None


def _object(text: str) -> tuple[tuple[str, object], ...] | None:
    """The keys and values of a JSON object, repeated ones too; None when the text is anything else."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        opening, _, body = text.partition("\n")
        if opening.strip().lower() not in {"```", "```json"}:
            return None
        text = body.removesuffix("```")
    try:
        # objects become tuples of pairs, which nothing else in JSON becomes
        found = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, tuple) else None


def rating_from_tokens(tokens: Sequence[Token]) -> float | None:
    """The expected rating, 1 to 10, under the log-probabilities of the rating's token in the last verdict line.

    tokens: the last ones of a reply with a rating. The probabilities of the tokens that are ratings are
    made to add up to one. A tokenizer may have no token for 10: then the token 1 stands for 1 and for the beginning of
    10, and the position after it says how much for which; where that is not known and more than a hundredth is at
    stake, there is no rating. None too when no token holds just the number.
    """
    number, at = _rating_token(tokens)
    if at is None:
        return None
    masses = _masses(tokens[at])
    ratings = {value: masses.get(str(value), 0.0) for value in range(LOWEST, HIGHEST + 1)}
    total = sum(ratings.values())
    if number == "1" and at + 1 < len(tokens):
        following = _masses(tokens[at + 1], strip=False)
        to_ten = min(1.0, sum(mass for text, mass in following.items() if text.startswith("0")))
        ratings[10] += ratings[1] * to_ten
        ratings[1] *= 1 - to_ten
    elif not ratings[10]:
        if ratings[1] > 0.01 * total:
            return None
        ratings[1] = 0.0
    total = sum(ratings.values())
    return sum(value * mass for value, mass in ratings.items()) / total if total > 0 else None


def _rating_token(tokens: Sequence[Token]) -> tuple[str, int | None]:
    """What the token with the last rating says ("1" also where "0" follows), and its index; None when there is none."""
    text = "".join(token.text for token in tokens)
    where = _rating_position(text, whole=len(tokens) < KEPT_TOKENS)
    if where is None:
        return "", None
    starts = [0, *accumulate(len(token.text) for token in tokens)]
    at = bisect_right(starts, where[0]) - 1
    said = _stripped(tokens[at].text)
    number = text[where[0] : where[1]].translate(_FULL_WIDTH)
    split = number == "10" and said == "1" and at + 1 < len(tokens) and _stripped(tokens[at + 1].text) == "0"
    return (said, at) if said == number or split else ("", None)


def _rating_position(text: str, *, whole: bool) -> Span | None:
    """Where the number of the last rating stands. whole: the text begins where the reply does, else within a line."""
    found = None
    start = 0
    for index, line in enumerate(text.splitlines(keepends=True)):
        if (whole or index) and _line_value(line, "rating") is not None:
            number = re.search("[:：][^0-9０-９]*([0-9０-９]+)", line)
            found = (start + number.start(1), start + number.end(1)) if number else found
        start += len(line)
    if found is None and (structured := re.search(r'"rating"\s*:\s*(10|[1-9])\s*\}[\s`]*\Z', text, re.ASCII)):
        found = structured.span(1)
    return found


def choice_from_tokens(tokens: Sequence[Token], num_options: int = 2) -> tuple[float, ...] | None:
    """The probability of each answer's letter at the first token that is not blank; they add up to one.

    Tokens that are the same letter (with a space, in lower case) count together. None when no letter is among the
    alternatives.
    """
    first = next((token for token in tokens if token.text.strip()), None)
    if first is None:
        return None
    masses = [0.0] * num_options
    for text, mass in _masses(first).items():
        index = LETTERS.find(text.upper()) if len(text) == 1 else -1
        if 0 <= index < num_options:
            masses[index] += mass
    total = sum(masses)
    return tuple(mass / total for mass in masses) if total > 0 else None


def _masses(token: Token, *, strip: bool = True) -> dict[str, float]:
    """The probability of each text at a token's place, the sampled one's too; with strip, without spaces around it."""
    alternatives = list(token.top)
    if token.text not in {text for text, _ in alternatives}:
        alternatives.append((token.text, token.logprob))
    masses: dict[str, float] = {}
    for text, logprob in alternatives:
        key = _stripped(text) if strip else text
        # servers write -9999 for what they do not know, and a rounding error above 0; NaN is no probability
        masses[key] = masses.get(key, 0.0) + (0.0 if math.isnan(logprob) else math.exp(min(logprob, 0.0)))
    return masses


def _stripped(text: str) -> str:
    return text.strip().translate(_FULL_WIDTH)
