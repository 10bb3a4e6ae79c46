"""Render an answer of the Examples tab: what a part tests, how hard it is, and its items.

Texts come from datasets: the template escapes all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup

from rb_core.space.examples.items import BINS
from rb_core.space.html import Plain, render

CLIP = 800  # characters of a text that are shown before a visitor asks for the rest
BAR, GAP, HEIGHT = 44, 4, 96  # of the histogram's bars, in pixels


class Bar(NamedTuple):
    """A bar of the histogram, in SVG coordinates. share: the bin in words."""

    x: float
    height: float
    num_items: int
    share: str


def examples_html(answer: Plain) -> Markup:
    """Return the whole answer."""
    return render(
        "examples/report.html",
        answer=answer,
        address=lambda **changes: address(answer, **changes),
        model_address=lambda name: "?" + urlencode({"tab": "model", "model": name, "board": answer["benchmark"]}),
        difficulty_bars=difficulty_bars,
        spark=spark,
        marks=marks,
        clip=CLIP,
    )


def address(answer: Plain, **changes: object) -> str:
    """Return the address of this answer with these fields changed; a new choice begins at its first page."""
    fields = {name: answer[name] for name in ("subset", "filter", "a", "b")} | {"page": 1} | changes
    defaults = {"filter": "all", "page": 1}
    board = {"tab": "examples", "board": answer["benchmark"]}
    return "?" + urlencode(board | {k: v for k, v in fields.items() if v and v != defaults.get(k)})


def status_text(answer: Plain) -> str:
    """Return the line for the live region."""
    if not answer["of"]:
        return answer["texts_message"] or ("Loading the texts …" if answer["texts"] == "loading" else "No items.")
    count, of, label = f"{answer['count']:,}", f"{answer['of']:,}", answer["filter_label"]
    if answer["item"]:
        return f"Item {answer['item']}."
    items = f"{of} items" if answer["filter"] == "all" else f"{count} of {of} items: {label[0].lower()}{label[1:]}"
    page = f", page {answer['page']} of {answer['pages']}" if answer["pages"] > 1 else ""
    return f"{items}{page}."


def difficulty_bars(counts: Sequence[int]) -> list[Bar]:
    """Return the bars of a histogram of difficulty; the highest one has the whole height."""
    highest = max(counts) or 1
    width = 100 // BINS
    return [
        Bar(n * (BAR + GAP), HEIGHT * count / highest, count, f"{n * width} to {(n + 1) * width}%")
        for n, count in enumerate(counts)
    ]


def spark(counts: Sequence[int]) -> str:
    """Return the path of a small histogram, 6 units for each bin and 18 high; an empty bin has no mark."""
    highest = max(counts) or 1
    bars = [(6 * n, max(1.0, 18 * count / highest)) for n, count in enumerate(counts) if count]
    return "".join(f"M{x} 18v-{height:.1f}h5v{height:.1f}z" for x, height in bars)


def marks(models: Sequence[str], wrong: Sequence[str]) -> str:
    """Return the path of the models that are wrong, one unit wide and ten high each, in the order of the models."""
    names, path, place = set(wrong), [], 0
    for is_wrong, run in groupby(models, key=lambda model: model in names):
        length = len(list(run))
        path += [f"M{place} 0h{length}v10h-{length}z"] if is_wrong else []
        place += length
    return "".join(path)
