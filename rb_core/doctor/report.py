"""A report: what a check is and what it found, for programs and for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rb_core.doctor.measurements import Patient

Status = Literal["PASS", "WARN", "FAIL", "FACT", "SKIP"]
_STYLES: dict[Status, str] = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "FACT": "cyan", "SKIP": "dim"}


@dataclass(frozen=True)
class Check:
    """One line of a report. found: what was seen; advice: what to do about it, "" where there is nothing to do.

    status: PASS and FAIL judge; WARN is what may surprise; FACT judges nothing; SKIP could not be checked.
    """

    id: str
    title: str
    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Marked:
    """The probe conversation as the model is fed it: tokens are the texts of ids, start is the completion's first
    token, read the first and the last token that the score is read at (None: the model reads it as a whole)."""

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    start: int
    read: tuple[int, int] | None


@dataclass(frozen=True)
class Report:
    """What an examination found. model: as the user named it; conversation: None where none could be rendered."""

    model: str
    checks: tuple[Check, ...]
    conversation: Marked | None = None

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(check.status == "FAIL" for check in self.checks)

    def count(self, status: Status) -> int:
        return sum(check.status == status for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """{"model", "failed", "counts": {status: n}, "checks": [{"id", "title", "status", "found", "advice"}],
        "conversation": {"text", "ids", "tokens", "start", "read"} or null}."""
        return {
            "model": self.model,
            "failed": self.failed,
            "counts": {status: self.count(status) for status in _STYLES},
            "checks": [asdict(check) for check in self.checks],
            "conversation": asdict(self.conversation) if self.conversation else None,
        }


class Finding(NamedTuple):
    """What a check found, before it has its name."""

    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Item:
    """A check to be made. needs: the steps of conformance.admit that it builds on; kinds: of models it applies to."""

    id: str
    title: str
    needs: tuple[str, ...]
    find: Callable[[Patient], Finding]
    kinds: tuple[str, ...] = ("classifier", "implicit")


def unchecked(reason: str) -> str:
    """The reason's first clause: the check of the fault itself has the whole."""
    return f"not checked: {reason.partition(';')[0]}"


def show(report: Report, console: Console) -> None:
    """Print a report: a line a check, then the probe conversation, then the sum."""
    console.print(Text(report.model, style="bold"))
    lines = Table.grid(padding=(0, 1))
    for check in report.checks:
        text = Text.assemble((check.title, "bold"), f": {check.found}")
        if check.advice:
            text.append(f"\n{check.advice}", style="dim")
        lines.add_row(Text(check.status, style=_STYLES[check.status]), text)
    console.print(lines)
    if report.conversation is not None:
        _show_conversation(report.conversation, console)
    counts = (
        (report.count("FAIL"), "failed"),
        (report.count("WARN"), "warnings"),
        (report.count("SKIP"), "not checked"),
    )
    console.print(", ".join(f"{count} {what}" for count, what in counts))


def _show_conversation(marked: Marked, console: Console) -> None:
    console.print(Text("\nThe probe conversation, as text and as tokens", style="bold"))
    console.print(Text("\n".join(f"  | {line}" for line in marked.text.split("\n"))), soft_wrap=True)
    notes = {marked.start: "the completion starts"}
    if marked.read is not None:
        first, last = marked.read
        notes[last] = "the score is read here" if first == last else "the last that is read"
        if first != last:
            notes[first] = "the first that is read"
    near = {i + step for i in (0, len(marked.ids) - 1, *notes) for step in (-2, -1, 0, 1, 2)}
    tokens, skipped = Table.grid(padding=(0, 2)), False
    for i, (token, text) in enumerate(zip(marked.ids, marked.tokens, strict=True)):
        if i not in near:
            skipped = True
            continue
        if skipped:
            tokens.add_row("", "...")
            skipped = False
        note = Text(f"<- {notes[i]}" if i in notes else "", style="yellow")
        tokens.add_row(Text(f"  {i}"), Text(str(token)), Text(repr(text)), note)
    console.print(tokens)
