"""Render a model's page: results on all benchmarks, weak spots, settings and commands.

Results are files that others wrote: the templates escape every text, and link only to web addresses.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup

from rb_core.audits.traits import Trait
from rb_core.leaderboard.verdict import p_text
from rb_core.leaderboard.weak_spots import RULE
from rb_core.space.html import Plain, labelled, number_text, render
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.model import labels
from rb_core.space.model.field_chart import FieldRow, field_axis
from rb_core.space.model.findings import Finding
from rb_core.space.plain_get import file_address

MAX_SPOTS = 6
BOUNDS_RULE = (
    "Bounds: the score if all unscored examples had failed, and if all had passed. The rank counts them as failed."
)
NO_ESTIMATE: Plain = {"value": None, "low": None, "high": None}

Facts = list[tuple[str, str]]


class TraitRow(NamedTuple):
    """A trait of the model among those of all models."""

    row: FieldRow
    description: str


@dataclass(frozen=True)
class ReportContext:
    """Facts beside a model's own report: the field that it is in, and findings of audits.

    scores: of all models by benchmark, then by level and name, see `BenchmarkReport.field_scores`; board_traits: by
    benchmark; findings: of audits; with_scores: benchmarks of which the page serves the model's scores; offered:
    True for a model that visitors may try; with_history: True if the versions of its results are known.
    """

    scores: Mapping[str, Mapping[tuple[str, str], Sequence[float]]] = field(default_factory=dict)
    board_traits: Mapping[str, Sequence[Trait]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    model: str = ""
    with_scores: Collection[str] = ()
    offered: bool = False
    with_history: bool = False

    def field_scores(self, entry: Plain) -> Mapping[tuple[str, str], Sequence[float]]:
        """Return the scores of all models on the benchmark of an entry of the report."""
        return self.scores.get(entry["benchmark"]["id"], {})

    def is_served(self, kind: str, entry: Plain) -> bool:
        """Return True if the page serves this kind of file of an entry."""
        return kind != "scores" or entry["benchmark"]["id"] in self.with_scores

    def traits(self, entry: Plain) -> list[TraitRow]:
        """Return the traits that the model has a value of on the benchmark of an entry."""
        traits = [t for t in self.board_traits.get(entry["benchmark"]["id"], ()) if self.model in t.values]
        return [
            TraitRow(
                FieldRow(t.label, t.values[self.model]._asdict(), [other.value for other in t.values.values()]),
                t.description,
            )
            for t in traits
        ]


def report_html(report: Plain, context: ReportContext | None = None) -> Markup:
    """Return the page of a report by `model_report`."""
    context = context or ReportContext()
    return render(
        "model/report.html",
        report=report,
        context=context,
        head_facts=head_facts(report),
        overview_rows=lambda results: [
            FieldRow(entry["benchmark"]["title"], entry["score"], context.field_scores(entry).get(("score", ""), ()))
            for entry in results
        ],
        part_rows=lambda parts, scores: [
            FieldRow(part["name"], part["estimate"], scores.get((part["level"], part["name"]), ())) for part in parts
        ],
        field_axis=field_axis,
        max_spots=MAX_SPOTS,
        spot_rule=RULE,
        origins=labels.ORIGINS,
        bounds_rule=BOUNDS_RULE,
        p_text=p_text,
        significance={True: "significant", False: "a hint", None: "a hint, error not known"},
        model_facts=model_facts(report["facts"]),
        count_facts=count_facts,
        setting_facts=setting_facts,
        judge_cost_facts=judge_cost_facts,
        judge_shares=labels.JUDGE_SHARES,
        shown_shares=shown_shares,
        share_labels=lambda names: [labels.JUDGE_SHARES[name].label for name in names],
        panel_agreement=labels.PANEL_AGREEMENT,
        no_estimate=NO_ESTIMATE,
        file_address=file_address,
    )


def head_facts(report: Plain) -> list[str]:
    """Return what the first line says of a model: kind, size, and what the registry knows."""
    size = f"{size_text(report['parameters'])} parameters" if report["parameters"] else "unknown size"
    facts = report["facts"]
    known = [f"{label} {facts[name]}" for name, label in labels.HEAD_FACTS.items() if facts.get(name)]
    return [report["kind"], size, *known]


def model_facts(facts: Plain) -> Facts:
    """Return a model's facts in the registry. facts: a `RegisteredModel` as JSON, without unknown fields."""
    texts = {name: ", ".join(value) if isinstance(value, list) else value for name, value in facts.items()}
    return labelled(labels.MODEL_FACTS, texts)


def count_facts(entry: Plain) -> Facts:
    """Return the numbers of examples and completions of a benchmark's entry, empty without any."""
    counts, notes, margins = entry.get("counts"), entry.get("notes"), entry.get("margins")
    if not counts:
        return []
    facts = [(label, number_text(counts[name])) for name, label in labels.COUNTS.items()]
    facts += [(f"Unscored because: {reason}", number_text(n)) for reason, n in counts["reasons"].items()]
    facts += [(label, number_text(notes[name])) for name, label in labels.NOTES.items()] if notes else []
    if margins:
        spread = f"{number_text(margins['mean'])}, standard deviation {number_text(margins['std'])}"
        facts.append(("Mean margin, in the model's units", spread))
    return facts


def setting_facts(entry: Plain) -> Facts:
    """Return how the model, the data and the run were set up."""
    settings, run = entry["settings"], entry["run"]
    facts = labelled(labels.SETTINGS, settings)
    facts += judge_setting_facts(settings["judge"]) if "judge" in settings else []
    facts += ensemble_facts(settings["ensemble"]) if "ensemble" in settings else []
    facts += labelled(labels.DATA, entry["data"])
    if run:
        facts += labelled(labels.RUN, run)
        facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items())))
    return facts


def ensemble_facts(ensemble: Plain) -> Facts:
    """Return the models of an ensemble and how their scores are combined. ensemble: an `EnsembleRef` as JSON."""
    combined = ensemble["combine"]
    if ensemble.get("penalty") is not None:
        combined = f"mean minus {number_text(ensemble['penalty'])} standard deviations"
    facts = [("Combined by", f"{combined} of scaled scores")]
    scaled_on = f" on {ensemble['scale_by']}" if ensemble.get("scale_by") else ""
    for member in ensemble["members"]:
        scale = f"mean {number_text(member['mean'])}, standard deviation {number_text(member['sd'])}{scaled_on}"
        revision = member["model"].get("revision")
        facts.append((f"Member {member['model']['name']}", scale + (f"; commit {revision}" if revision else "")))
    return facts


def judge_setting_facts(judge: Plain) -> Facts:
    """Return how a judge was prompted and read. judge: a `JudgeRef` as JSON."""
    mode = judge["mode"]
    facts = [("Asked", f"{mode}: {MODE_DESCRIPTIONS[mode].asks}")]
    if judge.get("panel"):
        facts.append(("Judges of the panel", ", ".join(judge["panel"])))
    backends = judge["backend"].split(", ")
    sources = [labels.JUDGE_BACKENDS.get(name, f"the inference provider {name}") for name in backends]
    facts.append(("Replies come from", " and ".join(sources)))
    for name, template in judge["templates"].items():
        text = f"{template['name']}, version {template['version']}, SHA-256 {template['sha256']}"
        facts.append((f"Template for {name}", text))
    if generation := judge.get("generation"):
        pairs = ", ".join(f"{name} {value}" for name, value in generation.items())
        facts.append(("Generation settings of the model", pairs))
    if extra_body := judge.get("extra_body"):
        facts.append(("Further fields of every request", json.dumps(extra_body, ensure_ascii=False)))
    if adapted := judge.get("adapted"):
        facts.append(("Adapted to the server", "; ".join(adapted)))
    return facts + labelled(labels.JUDGE_SETTINGS, judge)


def judge_cost_facts(judging: Plain) -> Facts:
    """Return the requests, tokens and failed verdicts of a judge's run. judging: `Judging` as JSON."""
    problems = [(f"No verdict because: {reason}", number_text(n)) for reason, n in judging["problems"].items()]
    return labelled(labels.JUDGE_COST, judging) + problems


def shown_shares(judgings: Iterable[Plain]) -> list[str]:
    """Return the names of the shares that at least one of these judges has."""
    records = list(judgings)
    return [name for name in labels.JUDGE_SHARES if any(record[name] for record in records)]


def size_text(parameters: float) -> str:
    """Return a number of parameters with three significant digits, such as 8.03B or 494M."""
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{name}"
    return f"{parameters:.0f}"
