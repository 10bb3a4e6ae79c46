"""The pages of the Questions tab: reports on one property stand on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rb_core.audits.report import AuditReport


class Topic(NamedTuple):
    """A page. audits: names of the reports on it, which may be followed by a hyphen and the name of the data."""

    id: str
    title: str
    question: str
    audits: tuple[str, ...]

    def has(self, audit: str) -> bool:
        return any(audit == name or audit.startswith(f"{name}-") for name in self.audits)


TOPICS = (
    Topic("safety", "Safety", "Do models refuse too much, or too little?", ("refusals", "safety")),
    Topic("fairness", "Fairness", "Do models treat dialects and groups of people alike?", ("dialect", "fairness")),
    Topic("robustness", "Robustness", "Do changes without meaning move the score?", ("robustness",)),
    Topic("values", "Values", "Which words and opinions do models reward?", ("values",)),
    Topic("downstream", "Does it predict RLHF?", "Does a better score give a better policy?", ("downstream",)),
    Topic("by-kind", "By kind", "Which kinds of model are good at what?", ("by-kind",)),
    Topic("labels", "Labels", "Can the labels of the benchmark be trusted?", ("labels",)),
    Topic("across-boards", "Across boards", "Do boards agree on the models?", ("across-boards",)),
    Topic("length", "Length", "Do models just prefer the longer answer?", ("length",)),
    Topic("training-choices", "Training choices", "What do training choices do to the score?", ("training-choices",)),
)


class QuestionPage(NamedTuple):
    """A page with its reports, in the order of the topic."""

    topic: Topic
    reports: list[AuditReport]


def question_pages(reports: Sequence[AuditReport]) -> list[QuestionPage]:
    """Return the pages that have reports; a report without a topic has a page of its own."""
    pages = []
    left = list(reports)
    for topic in TOPICS:
        own = [report for report in left if topic.has(report.audit)]
        own.sort(key=lambda report: next(i for i, name in enumerate(topic.audits) if report.audit.startswith(name)))
        left = [report for report in left if report not in own]
        pages += [QuestionPage(topic, own)] if own else []
    return pages + [QuestionPage(Topic(r.audit, r.title, r.question, (r.audit,)), [r]) for r in left]


def find_page(pages: Sequence[QuestionPage], name: str) -> QuestionPage | None:
    """Return the page of a topic's id, or the page that has the report of that name."""
    by_topic = next((page for page in pages if page.topic.id == name), None)
    return by_topic or next((page for page in pages if any(r.audit == name for r in page.reports)), None)
