"""Statements by theme: those of this project, and files of others in two layouts.

Each statement is answered by agreeing and by disagreeing. A statement for a theme and one against it are a pair, and
one unit: what a model adds to every agreement cancels out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from rb_core.audits.model_audit import AuditItem
from rb_core.benchmarks.card import FILE_SUFFIXES, read_card_beside, read_yaml
from rb_core.benchmarks.example import Conversation, Message
from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.row_location import Row, RowError, RowLocation, RowProblems
from rb_core.benchmarks.rows import read_text
from rb_core.errors import DataError, as_text, quoted
from rb_core.results.estimate import Record

OWN_THEMES = Path(__file__).with_name("themes.yaml")
FOR, AGAINST = "for", "against"  # variants: how a statement is worded
AGREE, DISAGREE = "agree", "disagree"  # labels of answers

_QUESTION = 'Do you agree with this statement?\n"{}"'
_ANSWERS = {
    AGREE: ("I agree.", "Yes, I think so, too.", "That is right."),
    DISAGREE: ("I disagree.", "No, I do not think so.", "That is wrong."),
}
_MATCHING, _NOT_MATCHING = "answer_matching_behavior", "answer_not_matching_behavior"
_AGREEING = ("yes", "(a)")  # answers that agree or take the first option, in lower case

Statement = Annotated[str, Field(min_length=1, max_length=2000)]


class StatementPair(Record):
    """Two statements on one matter: one for a theme, one against it."""

    supporting: Statement = Field(alias="for")
    opposing: Statement = Field(alias="against")


class Themes(Record):
    """The fields of a YAML file of statements: pairs by theme."""

    themes: Annotated[dict[Statement, list[StatementPair]], Field(min_length=1)]


class AskedStatement(NamedTuple):
    """A statement as a question. agreeing, disagreeing: answers to it."""

    variant: str
    prompt: str
    agreeing: tuple[str, ...]
    disagreeing: tuple[str, ...]


class Statements(NamedTuple):
    """Statements to be scored. sources: of the data; left_out: number of those without a counterpart."""

    items: tuple[AuditItem, ...]
    sources: tuple[str, ...]
    left_out: int


def read_statements(path: Path | None = None, limit: int | None = None) -> Statements:
    """Return the statements of a file or folder, by default those of this project.

    A YAML file has pairs by theme, as `themes.yaml` beside this module. Other files have rows in the layout of
    Perez et al. 2022, arXiv:2212.09251: `question`, `answer_matching_behavior` and `answer_not_matching_behavior`; each
    file is a theme, and rows with opposite matching answers are paired in order.

    limit: the number of pairs of each theme to keep. Raises DataError for a file that cannot be read, or has no pair.
    """
    if path is None:
        return Statements(tuple(_items(_own_questions(OWN_THEMES), limit)), ("Statements of this project",), 0)
    sources: tuple[str, ...] = ()
    if path.suffix in FILE_SUFFIXES:
        questions = _own_questions(path)
    else:
        card = read_card_beside(path)
        questions = _persona_questions(path)
        sources = tuple(text for text in (card.title, card.url, card.licence, card.citation) if text)
    items = tuple(_items(questions, limit))
    if not items:
        raise DataError(
            f"{as_text(path.name)}: no theme has a statement for it and one against it, so agreement with the theme "
            "cannot be told from agreement with everything"
        )
    left_out = sum(len(of_theme) for of_theme in questions.values()) - len(items) if limit is None else 0
    return Statements(items, sources or (as_text(path.name),), left_out)


def own_words() -> list[str]:
    """Return the words of three letters or more of this project's statements, in lower case and in order."""
    texts = (question.prompt for of_theme in _own_questions(OWN_THEMES).values() for question in of_theme)
    return sorted({word for text in texts for word in re.findall(r"[a-z]{3,}", text.lower())})


def _own_questions(path: Path) -> dict[str, list[AskedStatement]]:
    """Return the statements of a YAML file by theme."""
    return {
        theme: [
            AskedStatement(variant, _QUESTION.format(text), _ANSWERS[AGREE], _ANSWERS[DISAGREE])
            for pair in pairs
            for variant, text in ((FOR, pair.supporting), (AGAINST, pair.opposing))
        ]
        for theme, pairs in read_yaml(path, Themes, "themes: ...").themes.items()
    }


def _persona_questions(path: Path) -> dict[str, list[AskedStatement]]:
    """Return the rows of files by theme; a repeated question counts once."""
    by_theme: dict[str, dict[str, AskedStatement]] = defaultdict(dict)
    problems = RowProblems()
    for row, location in read_rows(path):
        with problems.collected(location):
            if isinstance(row, RowError):
                raise row
            question = _persona_question(row, location)
            by_theme[location.name].setdefault(question.prompt, question)
    problems.raise_any()
    return {theme: list(questions.values()) for theme, questions in by_theme.items()}


def _persona_question(row: Row, location: RowLocation) -> AskedStatement:
    prompt = read_text(row, "question", location)
    matching, other = (read_text(row, field, location).strip() for field in (_MATCHING, _NOT_MATCHING))
    is_agreeing = [text.lower().startswith(_AGREEING) for text in (matching, other)]
    if sum(is_agreeing) != 1:
        raise RowError(location, f"has the answers {quoted(matching)} and {quoted(other)}; expected Yes and No")
    if is_agreeing[0]:
        return AskedStatement(FOR, prompt, (matching,), (other,))
    return AskedStatement(AGAINST, prompt, (other,), (matching,))


def _items(questions: dict[str, list[AskedStatement]], limit: int | None) -> Iterator[AuditItem]:
    """Yield the questions of each theme in pairs of both variants, at most `limit` pairs of a theme."""
    for theme, of_theme in questions.items():
        by_variant = [[question for question in of_theme if question.variant == name] for name in (FOR, AGAINST)]
        for number, pair in enumerate(list(zip(*by_variant, strict=False))[:limit], 1):
            yield from (_item(theme, number, question) for question in pair)


def _item(theme: str, number: int, question: AskedStatement) -> AuditItem:
    unit = f"{theme}/{number}"
    prompt: Conversation = (Message(role="user", content=question.prompt),)
    labels: Sequence[str] = [AGREE] * len(question.agreeing) + [DISAGREE] * len(question.disagreeing)
    return AuditItem(
        id=f"{unit}/{question.variant}",
        unit=unit,
        group=theme,
        prompt=prompt,
        completions=question.agreeing + question.disagreeing,
        labels=tuple(labels),
        variant=question.variant,
    )
