"""What a result says of its model as a judge, as HTML: how it was asked, what that took, how far it can be relied on.

The words of every figure stand here once, for the model's page and for *About*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import NamedTuple

from rb_core.space.html import Plain, bar_html, facts_html, named_facts, number_text, score_html, table_html
from rb_core.space.judge_modes import MODE_DESCRIPTIONS


class Share(NamedTuple):
    """A share that says how far a judge can be relied on. label: in a table; about: of what it is a share."""

    label: str
    about: str


# By the names of records.Judging.
SHARES: Mapping[str, Share] = {
    "position_consistency": Share(
        "Keeps to its verdict",
        "Of the pairs of completions that were shown in both orders, those with the same verdict (asked listwise: of "
        "the prompts, those with the same in all rotations). The higher, the better; a coin keeps half of the pairs.",
    ),
    "first_position": Share(
        "Prefers what is shown first",
        "Of the verdicts on several completions, those for the first. Every completion stands first as often as the "
        "others, so that 50 is fair for pairs.",
    ),
    "length_preference": Share(
        "Prefers the longer",
        "Of the verdicts on two completions of different length, those for the longer. What is fair depends on the "
        "data.",
    ),
    "self_preference": Share(
        "Prefers its own",
        "Of the verdicts between a completion that it wrote itself and another's, those for its own.",
    ),
    "self_deserved": Share(
        "Should prefer its own",
        "Of the same verdicts, those whose own completion is the better one by the benchmark's labels.",
    ),
}


SPENT = {
    "requests": "Requests",
    "prompt_tokens": "Tokens of prompts",
    "completion_tokens": "Tokens of replies",
    "cost": "Cost (US dollars)",
    "flips": "Verdicts that changed with the order",
    "injections": "Completions that speak to the judge, as often as shown",
    "plain_ratings": "Ratings without the probabilities asked for",
}


AGREEMENT = {
    "items": "Pairs of completions that were judged",
    "fleiss_kappa": "Fleiss’ kappa (1 is full agreement, 0 what chance gives)",
    "krippendorff_alpha": "Krippendorff’s alpha",
}


SETTINGS = {
    "parser": "Replies read by parser version",
    "temperature": "Temperature",
    "max_new_tokens": "Longest reply (tokens)",
    "seed": "Seed of the replies",
    "sampling": "Tokens are chosen by",
    "structured": "Asked for JSON by a schema",
    "expected": "Ratings are expected values",
    "vote": "The panel decides by",
}


NOTHING: Plain = {"value": None}


_BACKENDS = {"local": "generated in the process of the run", "served": "an OpenAI-compatible server"}


def asked_facts(judge: Plain) -> list[tuple[str, str]]:
    """How a judge was asked, as facts among the other settings. judge: a records.JudgeRef as JSON."""
    backends = (_BACKENDS.get(each, f"the inference provider {each}") for each in judge["backend"].split(", "))
    facts = [("Asked", f"{escape(judge['mode'])}: {escape(MODE_DESCRIPTIONS[judge['mode']].asks)}")]
    facts += [("Judges of the panel", escape(", ".join(judge["panel"])))] if judge.get("panel") else []
    facts += [("Replies are from", escape(" and ".join(backends)))]
    facts += [
        (f"Template for {mode}", f"{escape(each['name'])}, version {each['version']}, SHA-256 {escape(each['sha256'])}")
        for mode, each in judge["templates"].items()
    ]
    own = ", ".join(f"{name} {value}" for name, value in judge.get("generation", {}).items())
    facts += [("The model’s own settings of replies", escape(own))] if own else []
    return facts + named_facts(SETTINGS, judge)


def judging_html(judging: Plain | None) -> str:
    """How reliable a judge was, and what it took; nothing for a model that is none. judging: a records.Judging."""
    if judging is None:
        return ""
    panel = judging["members"]
    shares = _members(panel) if panel else _shares(judging)
    spent = named_facts(SPENT, judging)
    spent += [(f"Without a verdict because: {escape(why)}", number_text(n)) for why, n in judging["problems"].items()]
    return (
        f"<h4>As a judge</h4>{_agreement(judging['agreement'])}{shares}"
        f"<details><summary>What it took</summary>{facts_html(spent)}</details>"
    )


def _agreement(found: Plain | None) -> str:
    return facts_html(named_facts(AGREEMENT, found)) if found else ""


def _shares(judging: Plain) -> str:
    known = {name: judging[name] for name in SHARES if judging[name]}
    if not known:
        return "<p>Each completion was judged by itself, so that no order could matter, and none was compared.</p>"
    rows = [
        [escape(SHARES[name].label), score_html(each), bar_html(each), number_text(each["scored"])]
        for name, each in known.items()
    ]
    heads = ["What", "Share (95% interval)", "0 to 100", "Verdicts"]
    return table_html("How far the judge can be relied on", heads, rows, numbers={1, 3}) + _meaning(known)


def _members(members: Mapping[str, Plain]) -> str:
    known = [name for name in SHARES if any(each[name] for each in members.values())]
    rows = [
        [escape(name), *(score_html(each[share] or NOTHING) for share in known), number_text(each["requests"])]
        for name, each in members.items()
    ]
    heads = ["Judge", *(SHARES[name].label for name in known), "Requests"]
    table = table_html("The judges of the panel", heads, rows, numbers=set(range(1, len(heads))))
    return table + _meaning(known)


def _meaning(names: Iterable[str]) -> str:
    facts = facts_html((escape(SHARES[name].label), escape(SHARES[name].about)) for name in names)
    return f"<details><summary>What these shares mean</summary>{facts}</details>"
