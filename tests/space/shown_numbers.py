"""Find the numbers that a view shows, and those of them that its data do not account for.

A view is HTML. Its data are a tree of scopes: a scope belongs to the elements that carry its label (the heading of a
row, the name of an article or of a section), and says which values and which texts may stand in them. A number is
accounted for if it is a value of its scope, rounded to the decimals that it shows, as it is, in percent or with K, M, B
or T; if it is part of a text that its scope has as a whole; or if it is a tick of an axis, whose numbers and places go
together.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"br", "img", "input", "hr", "meta", "link"})
CODE = frozenset({"code", "pre", "script", "style", "option"})  # commands and choices, which show no result
ATTRIBUTES = ("aria-label", "title", "alt", "aria-valuetext")
NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?:([KMBT])\b)?")
NEAREST = 0.506  # of the last digit's step: the page rounds fractions to five digits before it shows them
DIGIT = re.compile(r"\d")
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass
class Scope:
    """The content that a view may show: values, whole texts, and the scopes inside by their label."""

    values: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    inner: dict[str, Scope] = field(default_factory=dict)
    _indexed: int = 0
    _by_numeral: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def add(self, *data: object) -> Scope:
        """Add all numbers, and texts with numbers, in JSON values, and the lengths of their lists."""
        for value in data:
            if isinstance(value, bool) or value is None:
                continue
            if isinstance(value, int | float):
                self.values.append(float(value))
            elif isinstance(value, str):
                self.texts += [plain(value)] if DIGIT.search(value) else []
            elif isinstance(value, Mapping):
                self.add(*value.values(), *map(str, value))
            elif isinstance(value, Iterable):
                items = list(value)
                self.values.append(float(len(items)))
                self.add(*items)
            else:
                raise TypeError(f"{type(value)} is not JSON")
        return self

    def texts_with(self, numeral: str) -> list[str]:
        """Return the texts of which this is the first numeral."""
        if self._indexed != len(self.texts):
            self._indexed, self._by_numeral = len(self.texts), {}
            for text in self.texts:
                self._by_numeral.setdefault(re.search(r"\d+", text)[0], []).append(text)
        return self._by_numeral.get(numeral, [])

    def child(self, label: str, *data: object) -> Scope:
        """Add data to the scope of a label in this one, and return it."""
        return self.inner.setdefault(plain(label), Scope()).add(*data)


def plain(text: str) -> str:
    """Return a text with single spaces, and with a hyphen for every dash."""
    return " ".join(re.sub("[−–]", "-", text).split()).removesuffix(" (opens in a new tab)")


@dataclass
class Node:
    """An element, or a text (its tag is empty)."""

    tag: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all_text(self) -> str:
        return self.text if not self.tag else "".join(child.all_text() for child in self.children)

    def find(self, *tags: str) -> Iterator[Node]:
        """Yield the elements of these tags inside, in order."""
        for child in self.children:
            if child.tag in tags:
                yield child
            yield from child.find(*tags)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [Node("root")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].children.append(node)
        if tag not in VOID:
            self.stack.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if any(node.tag == tag for node in self.stack[1:]):
            while self.stack.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(Node("", text=data))


def parse(html: str) -> Node:
    builder = _Builder()
    builder.feed(html)
    return builder.stack[0]


@dataclass
class Tally:
    """The number of numbers that were found, and those without an account, with the text and the place of each."""

    count: int = 0
    unexplained: list[str] = field(default_factory=list)


def tally(html: str, scope: Scope) -> Tally:
    """Account for every number in a view."""
    result = Tally()
    _walk(parse(html), [scope], result, [])
    return result


HEADS = {"tr": ("th", "td"), "figure": ("figcaption",), "g": ("title",), "svg": ("title",), "details": ("summary",)}
LABELLED = frozenset({*HEADS, "section", "article", "li", "div", "button", "label", "dl", "ul", "table"})


def _labels(node: Node) -> Iterator[str]:
    """Yield what may name an element: its own name, its heading, and what stands before a colon or a number."""
    if node.tag not in LABELLED:
        return
    heads = [child for child in node.children if child.tag in HEADS.get(node.tag, ("h3", "h4", "h5"))]
    row_heads = [child for child in heads if child.attributes.get("scope") == "row"]
    names = [node.attributes.get("aria-label", "")]
    for head in (*row_heads, *heads[:1]):
        names += [head.attributes.get("aria-label", ""), head.all_text(), *(a.all_text() for a in head.find("a"))]
    if node.tag in ("li", "button", "label"):
        names.append(node.all_text())
    for text in (plain(name).lstrip("▸▾ ") for name in names if name):
        yield from (text, *(text.partition(mark)[0] for mark in (": ", " · ")), text.rpartition(": ")[0])
        yield re.sub(r" ?\(?[\d,.]+%?\)?$", "", text)


def _walk(node: Node, scopes: list[Scope], result: Tally, path: list[str], ticks: frozenset[int] = frozenset()) -> None:
    is_progress = "progress-text" in node.attributes.get("class", "")  # seconds that gradio counts while it loads
    if node.tag in CODE or id(node) in ticks or is_progress:
        return
    if not node.tag:
        _account(node.text, scopes, result, path)
        return
    inner = next(
        (s.inner[label] for label in _labels(node) for s in reversed(scopes) if label and label in s.inner), None
    )
    if inner is not None:
        scopes = [*scopes, inner]
    for name in ATTRIBUTES:
        _account(node.attributes.get(name, ""), scopes, result, [*path, f"{node.tag}@{name}"])
    if node.tag in ("svg", "th"):
        ticks = frozenset(map(id, _ticks(node)))
    path = [*path, ".".join(filter(None, (node.tag, *node.attributes.get("class", "").split(" ")[:1])))]
    for child in node.children:
        _walk(child, scopes, result, path, ticks)


def _account(text: str, scopes: list[Scope], result: Tally, path: list[str]) -> None:
    text = plain(text)
    if not DIGIT.search(text):
        return
    result.count += len(NUMBER.findall(text))
    numerals = set(re.findall(r"\d+", text))
    names = {name for scope in scopes for numeral in numerals for name in scope.texts_with(numeral)}
    rest = _without_cut_names(text, scopes) if "…" in text else text
    for name in sorted((name for name in names if name in rest), key=len, reverse=True):
        start, end = r"(?<![\w.])" * name[0].isalnum(), r"(?!\w)" * name[-1].isalnum()
        rest = re.sub(start + re.escape(name) + end, " ", rest)
    for match in NUMBER.finditer(rest):
        is_below, is_above = (rest[: match.start()].rstrip().endswith(sign) for sign in "<>")
        bound = _number(match)[0]
        if not any(
            abs(value) < bound if is_below else value > bound if is_above else _is_shown(value, match)
            for value in scopes[-1].values
        ):
            result.unexplained.append(f"{match[0]} in “{text[:160]}” ({' '.join(path[-4:])})")


def _without_cut_names(text: str, scopes: list[Scope]) -> str:
    """Return a text without names of which the middle or the end is left out."""
    start, _, end = text.partition("…")
    names = (name for scope in scopes for name in scope.texts)
    is_cut = any(name.startswith(start.strip()) and name.endswith(end.strip()) for name in names)
    return "" if is_cut and start.strip() else text


def _is_shown(value: float, match: re.Match[str]) -> bool:
    """Return True if the number is the value, or 100 times it, rounded to its decimals; the sign may be in words."""
    shown, step = _number(match)
    factors = (1.0,) if match[1] else (1.0, 100.0)
    return any(abs(abs(factor * value) - abs(shown)) <= NEAREST * step for factor in factors)


def _number(match: re.Match[str]) -> tuple[float, float]:
    """Return a number and the step of its last digit."""
    digits, unit = match[0].replace(",", "").rstrip("KMBT"), UNITS.get(match[1] or "", 1.0)
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(digits) * unit, 10.0 ** (int(exponent or 0) - decimals) * unit


def _ticks(figure: Node) -> list[Node]:
    """Return the numbers on the axes of a figure: those in a line whose places follow them, or their logarithms."""
    lines: dict[tuple[str, str], list[tuple[float, float, Node]]] = {}
    for node in figure.find("text", "span", "i"):
        match = NUMBER.fullmatch(plain(node.all_text()).strip("+%"))
        style = re.search(r"left: ?([-\d.]+)%", node.attributes.get("style", ""))
        x, y = (node.attributes.get(name, "") for name in "xy")
        if match and style:
            lines.setdefault(("style", ""), []).append((float(style[1]), _number(match)[0], node))
        elif match and node.tag == "i":  # an end of an axis, without a place
            lines[("end", str(id(node)))] = [(0.0, 0.0, node)]
        elif match and x and y:
            for line, place in ((("y", y), x), (("x", x), y)):
                lines.setdefault(line, []).append((float(place.rstrip("%")), _number(match)[0], node))
    axes = [line for line in lines.values() if len(line) > 1 and _is_axis(line)]
    on_lines = Counter(id(node) for line in lines.values() if len(line) > 1 for _, _, node in line)
    alone = [node for line in lines.values() for _, _, node in line if not on_lines[id(node)]]  # nothing to check it by
    return [*alone, *(node for line in axes for _, _, node in line)]


def _is_axis(line: list[tuple[float, float, Node]]) -> bool:
    places, values = [place for place, _, _ in line], [value for _, value, _ in line]
    scales = [values] + ([[math.log(value) for value in values]] if min(values) > 0 else [])
    return any(_is_linear(places, scale) for scale in scales)


def _is_linear(places: list[float], values: list[float]) -> bool:
    (first, last), (low, high) = (places[0], places[-1]), (values[0], values[-1])
    if first == last or low == high:
        return False
    expected = [low + (high - low) * (place - first) / (last - first) for place in places]
    return all(abs(a - b) <= 0.03 * abs(high - low) for a, b in zip(expected, values, strict=True))
