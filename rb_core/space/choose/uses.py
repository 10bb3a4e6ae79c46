"""The uses of a reward model, each with advice and with the reports' numbers on how benchmark scores relate to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import NamedTuple

from rb_core.audits.downstream import ALL
from rb_core.audits.report import AuditReport, Cell

OUTCOMES_REPORT = "downstream"
ON_POLICY = "on-policy"
CONSISTENCY = "consistency"


class Use(NamedTuple):
    """A use of a reward model.

    evidence: sentences from the reports; traits: those that matter; options, out: of the command `score`;
    smallest_first: the order of a group is that of sizes, and not of scores.
    """

    label: str
    advice: tuple[str, ...]
    evidence: Callable[[Iterable[AuditReport]], list[str]]
    traits: tuple[str, ...]
    options: tuple[str, ...]
    out: str
    smallest_first: bool = False


def _evidence(outcome: str) -> Callable[[Iterable[AuditReport]], list[str]]:
    """Return the function that gives the correlations of benchmark scores with this outcome as sentences."""

    def sentences(reports: Iterable[AuditReport]) -> list[str]:
        report = next((report for report in reports if report.audit == OUTCOMES_REPORT), None)
        rows = [row for row in report.tables[0].rows if outcome in str(row[1])] if report else []
        return [text for row in rows if row[2] in (ALL, ON_POLICY) for text in _correlation_sentence(row)]

    return sentences


def _correlation_sentence(row: Sequence[Cell]) -> list[str]:
    benchmark, outcome, group, n, r, low, high, *_ = row
    if not isinstance(r, float):
        return []
    interval = f" (95% interval {low:.2f} to {high:.2f})" if isinstance(low, float) and isinstance(high, float) else ""
    models = f"{n} models" if group == ALL else f"the {n} of them that come from the policy’s own base model"
    return [f"{benchmark} score and {outcome}: correlation {r:.2f}{interval} over {models}.".replace("-0.", "−0.")]


def _rlhf_evidence(reports: Iterable[AuditReport]) -> list[str]:
    reports = list(reports)
    return [*_evidence("PPO")(reports), *_lineage_sentence(reports)]


def _lineage_sentence(reports: Iterable[AuditReport]) -> list[str]:
    """Return what policies score that were trained with models of their own base, and with others."""
    report = next((report for report in reports if report.audit == OUTCOMES_REPORT), None)
    if report is None or report.figure is None or "PPO" not in report.figure.y_label:
        return []
    scores: dict[str, list[float]] = defaultdict(list)
    for point in report.figure.points:
        scores[point.group].append(point.y)
    others = next((name for name in scores if name.startswith("off-policy")), None)
    if ON_POLICY not in scores or others is None:
        return []
    return [
        f"Policies trained with reward models from their own base model scored {mean(scores[ON_POLICY]):.1f} on "
        f"average (n = {len(scores[ON_POLICY])}), with good models from another {mean(scores[others]):.1f} "
        f"(n = {len(scores[others])})."
    ]


def _no_evidence(_: Iterable[AuditReport]) -> list[str]:
    return []


USES: Mapping[str, Use] = {
    "rlhf": Use(
        "Reward for RLHF",
        (
            "Among good models the score does not say which one trains the better policy: try several of the group.",
            "Prefer a model that was trained from the same base model as your policy.",
            "A policy finds what its reward model overrates: watch length and refusals while you train, and check with "
            "a second model that is not part of the training.",
        ),
        _rlhf_evidence,
        ("length-gap", "over-refusal", "under-refusal"),
        (),
        "scores.jsonl",
    ),
    "best-of-n": Use(
        "Best of N",
        (
            "The score is a fair guide here: best-of-N results follow it more closely than those of RLHF.",
            "With large N the winner is often an answer that the model overrates: look at the curve of best-of-k on "
            "your own labelled answers.",
        ),
        _evidence("Best of"),
        ("length-gap", "over-refusal", "under-refusal"),
        ("--best-of",),
        "best.jsonl",
    ),
    "filter": Use(
        "Filter data",
        (
            "Many answers have to be read: among models that cannot be told apart, take a small one.",
            "Compare answers to the same prompt only: scores of different prompts have no common zero.",
        ),
        _no_evidence,
        ("length-gap",),
        ("--filter", "1"),
        "pairs.jsonl",
        smallest_first=True,
    ),
    "judge": Use(
        "Judge answers",
        (
            "A generative judge can give reasons and follow your own rubric, and costs a request for every comparison; "
            "a reward model gives a number only.",
            "Judges prefer a place in the order: ask in both orders and count only verdicts that agree.",
        ),
        _no_evidence,
        (CONSISTENCY, "length-gap"),
        (),
        "scores.jsonl",
    ),
}
