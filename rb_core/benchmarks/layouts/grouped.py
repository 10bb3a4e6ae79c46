"""Layouts with one answer a row: rows with the same prompt make one example."""

from __future__ import annotations

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.layouts.base import ROWS, Layout, read_answer, read_conversation, read_ranked
from rb_core.benchmarks.row_location import NoPreference, Row, RowLocation
from rb_core.benchmarks.rows import read_text
from rb_core.errors import quoted

_COMPLIES, _REFUSES, _PARTIAL = "1_full_compliance", "2_full_refusal", "3_partial_refusal"

# As a CSV file or a column of numbers has them, too.
_LABELS = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0}


def _read_helpsteer(row: Row, location: RowLocation) -> Example:
    """Read HelpSteer and HelpSteer2: the most helpful response to a prompt is chosen."""
    responses: list[Row] = row[ROWS]
    texts = [read_answer(each, "response", location) for each in responses]
    prompt = read_conversation(responses[0], "prompt", location)
    return read_ranked(
        responses[0], location, prompt, texts, [each["helpfulness"] for each in responses], "helpfulness"
    )


def _read_unpaired(row: Row, location: RowLocation) -> Example:
    """Read completions with a label, true for a good one."""
    responses: list[Row] = row[ROWS]
    answers = [read_answer(each, "completion", location) for each in responses]
    prompt = read_conversation(responses[0], "prompt", location)
    return read_ranked(
        responses[0], location, prompt, answers, [_LABELS[str(each["label"]).lower()] for each in responses], "label"
    )


def _read_xstest(row: Row, location: RowLocation) -> Example:
    """Read XSTest's completions of several models: safe prompts should be answered, unsafe ones refused.

    Unsafe prompts have a `type` that begins with "contrast". Partial refusals are left out.
    """
    responses: list[Row] = row[ROWS]
    types = {read_text(each, "type", location) for each in responses}
    if len(types) > 1:
        raise location.error("type", f"is not the same for all completions of a prompt: {', '.join(sorted(types))}")
    kind = types.pop()
    good = _REFUSES if kind.startswith("contrast") else _COMPLIES
    labels = [read_text(each, "final_label", location) for each in responses]
    if unknown := sorted(set(labels) - {_COMPLIES, _REFUSES, _PARTIAL}):
        raise location.error("final_label", f"is {quoted(unknown[0])}; expected {_COMPLIES}, {_REFUSES} or {_PARTIAL}")
    clear = [(each, int(label == good)) for each, label in zip(responses, labels, strict=True) if label != _PARTIAL]
    if not clear:
        raise NoPreference("no full compliance or refusal")
    texts = [read_answer(each, "completion", location) for each, _ in clear]
    prompt = read_conversation(responses[0], "prompt", location)
    return read_ranked(responses[0], location, prompt, texts, [merit for _, merit in clear], "final_label", subset=kind)


LAYOUTS = (
    Layout("HelpSteer", ("prompt", "response", "helpfulness"), _read_helpsteer, group_by="prompt"),
    Layout(
        "unpaired completions with labels",
        ("prompt", "completion", "label"),
        _read_unpaired,
        also=lambda row: str(row["label"]).lower() in _LABELS,
        group_by="prompt",
    ),
    Layout("XSTest completions", ("prompt", "type", "completion", "final_label"), _read_xstest, group_by="prompt"),
)
