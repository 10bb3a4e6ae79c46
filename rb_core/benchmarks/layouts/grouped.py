"""Layouts with one answer a row: rows with the same prompt make one example."""

from __future__ import annotations

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.layouts.base import ROWS, Layout, read_answer, read_conversation, read_ranked
from rb_core.benchmarks.row_location import NoPreference, Row, RowLocation

_COMPLIES, _REFUSES = ("1_full_compliance", "full_compliance"), ("2_full_refusal", "full_refusal")


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
    return read_ranked(responses[0], location, prompt, answers, [int(each["label"]) for each in responses], "label")


def _read_xstest(row: Row, location: RowLocation) -> Example:
    """Read XSTest's completions of several models: safe prompts should be answered, unsafe ones refused.

    Unsafe prompts have a `type` that begins with "contrast". Partial refusals are left out.
    """
    responses: list[Row] = row[ROWS]
    wanted, unwanted = _COMPLIES, _REFUSES
    if str(responses[0]["type"]).startswith("contrast"):
        wanted, unwanted = unwanted, wanted
    clear = [each for each in responses if each["final_label"] in (*wanted, *unwanted)]
    if not clear:
        raise NoPreference("no full compliance or refusal")
    texts = [read_answer(each, "completion", location) for each in clear]
    prompt = read_conversation(responses[0], "prompt", location)
    merits = [int(each["final_label"] in wanted) for each in clear]
    return read_ranked(responses[0], location, prompt, texts, merits, "final_label", subset=str(responses[0]["type"]))


LAYOUTS = (
    Layout("HelpSteer", ("prompt", "response", "helpfulness"), _read_helpsteer, group_by="prompt"),
    Layout(
        "unpaired completions with labels",
        ("prompt", "completion", "label"),
        _read_unpaired,
        also=lambda row: isinstance(row["label"], bool),
        group_by="prompt",
    ),
    Layout("XSTest completions", ("prompt", "type", "completion", "final_label"), _read_xstest, group_by="prompt"),
)
