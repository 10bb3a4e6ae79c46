"""Edit the evaluations in a model card's metadata and keep every other character."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rb_core.errors import ResultError
from rb_core.export.hub_formats import INDEX_FILE, INDEX_KEY
from rb_core.export.selection import from_yaml, to_yaml

CARD = "README.md"

# The metadata of a card as the hub finds it; a byte order mark may precede it.
METADATA = re.compile(r"\A(\ufeff?\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z))")


def edited_card(text: str, index: Sequence[Mapping[str, Any]]) -> str:
    """Return a card with these evaluations in the model-index of its metadata, and every other character unchanged.

    This package's evaluations on the same datasets are replaced, all others kept. Raises ResultError for metadata that
    cannot be edited this way; then the block has to be pasted by hand.
    """
    metadata = METADATA.search(text)
    if metadata is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        return f"{mark}---{newline}{_index_text(index, newline)}{newline}---{newline}{text[len(mark) :]}"
    front, newline = metadata[2], metadata[1].rpartition("---")[2]
    old = from_yaml(f"the metadata of {CARD}", front) or {}
    if not isinstance(old, dict):
        raise ResultError(f"the metadata of {CARD} is not a mapping of fields; correct it first")
    merged = merged_index(old.get(INDEX_KEY), index)
    if merged == old.get(INDEX_KEY):
        return text
    new = _with_block(front, _index_text(merged, newline), newline, has_index=INDEX_KEY in old)
    if new is None or from_yaml(f"the edited metadata of {CARD}", new) != {**old, INDEX_KEY: merged}:
        raise ResultError(f"the metadata of {CARD} cannot be edited safely; paste {INDEX_FILE} by hand")
    return text[: metadata.start(2)] + new + text[metadata.end(2) :]


def _index_text(index: Sequence[Mapping[str, Any]], newline: str) -> str:
    return to_yaml({INDEX_KEY: list(index)}).decode().rstrip("\n").replace("\n", newline)


def _with_block(front: str, block: str, newline: str, *, has_index: bool) -> str | None:
    """Return the metadata with the lines of its model-index replaced, or with the block at its end.

    Returns None for a model-index that is not a single key at the margin.
    """
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", front)
    keys = [i for i, line in enumerate(lines) if re.match(rf"(['\"]?){INDEX_KEY}\1\s*:", line)]
    if not has_index and not keys:
        return f"{front}{newline}{block}" if front.strip() else block
    if not has_index or len(keys) != 1:
        return None
    first, last = keys[0], keys[0] + 1
    # A value continues while lines are indented or are list items, which YAML allows at the margin.
    while last < len(lines) and (not lines[last].strip() or lines[last][0] in " \t-"):
        last += 1
    while not lines[last - 1].strip():
        last -= 1
    end = lines[last - 1][len(lines[last - 1].rstrip("\r\n")) :]
    return "".join([*lines[:first], block + end, *lines[last:]])


def merged_index(current: Any, ours: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return a model-index with these evaluations: ours on the same datasets are replaced, all others kept.

    Ours are recognised by the task's name and the dataset. Raises ResultError for an index of an unknown form.
    """
    if not current:
        return list(ours)
    if not isinstance(current, list) or not all(
        isinstance(e, dict) and isinstance(e.get("results"), list) for e in current
    ):
        raise ResultError(f"the {INDEX_KEY} of {CARD} is not a list of models with results; correct it first")
    fresh = {_identity(block): block for element in ours for block in element["results"]}
    merged = []
    for element in current:
        kept = [fresh.pop(_identity(b), b) if _identity(b) in fresh else b for b in element["results"]]
        merged.append({**element, "results": kept})
    merged[0]["results"] += fresh.values()
    return merged


def _identity(block: Any) -> tuple[Any, Any]:
    """Return (dataset, task name), by which this package's evaluations in a model-index are recognised."""

    def field(name: str, key: str) -> Any:
        part = block.get(name) if isinstance(block, dict) else None
        return part.get(key) if isinstance(part, dict) else None

    return field("dataset", "type"), field("task", "name")
