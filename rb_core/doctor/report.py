"""The report of an examination, as JSON and as text for a terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

Status = Literal["PASS", "WARN", "FAIL", "FACT", "SKIP"]
_STYLES: dict[Status, str] = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "FACT": "cyan", "SKIP": "dim"}


class Observation(NamedTuple):
    """The outcome of a check.

    status: PASS, FAIL, WARN (may surprise a user), FACT (no judgement) or SKIP (could not be checked).
    found: what was observed.
    advice: what to do about it, or "".
    """

    status: Status
    found: str
    advice: str = ""


def skipped(reason: str) -> Observation:
    """Return a SKIP with the first clause of the reason; the check of the fault itself shows all of it."""
    return Observation("SKIP", f"not checked: {reason.partition(';')[0]}")


@dataclass(frozen=True)
class CheckResult:
    """One line of a report: an observation with the id and title of its check."""

    id: str
    title: str
    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True)
class TokenizedConversation:
    """The probe conversation as the model gets it.

    tokens: the texts of `ids`.
    start: index of the completion's first token.
    read: first and last index at which the score is read; None for a model that reads the conversation as a whole.
    """

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    start: int
    read: tuple[int, int] | None


@dataclass(frozen=True)
class DoctorReport:
    """The results of all checks of a model. model: its name as the user wrote it.

    conversation: the probe conversation, None if the chat template cannot render it.
    """

    model: str
    checks: tuple[CheckResult, ...]
    conversation: TokenizedConversation | None = None

    @property
    def failed(self) -> bool:
        return any(check.status == "FAIL" for check in self.checks)

    def count(self, status: Status) -> int:
        return sum(check.status == status for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return {"model", "failed", "counts": {status: n}, "checks": [{"id", "title", "status", "found", "advice"}],
        "conversation": {"text", "ids", "tokens", "start", "read"} or null}."""
        return {
            "model": self.model,
            "failed": self.failed,
            "counts": {status: self.count(status) for status in _STYLES},
            "checks": [asdict(check) for check in self.checks],
            "conversation": asdict(self.conversation) if self.conversation else None,
        }


def show(report: DoctorReport, console: Console) -> None:
    """Print a report: one line per check, the probe conversation, and the counts."""
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
    failed, warnings, skipped = report.count("FAIL"), report.count("WARN"), report.count("SKIP")
    console.print(f"{failed} failed, {warnings} warnings, {skipped} not checked")


def _show_conversation(conversation: TokenizedConversation, console: Console) -> None:
    """Print the text, and the tokens around its ends and around the places with a note."""
    console.print(Text("\nThe probe conversation, as text and as tokens", style="bold"))
    console.print(Text("\n".join(f"  | {line}" for line in conversation.text.split("\n"))), soft_wrap=True)
    notes = {conversation.start: "the completion starts"}
    if conversation.read is not None:
        first, last = conversation.read
        notes[last] = "the score is read here" if first == last else "the last token that is read"
        if first != last:
            notes[first] = "the first token that is read"
    shown = {i + offset for i in (0, len(conversation.ids) - 1, *notes) for offset in (-2, -1, 0, 1, 2)}
    table, skipped = Table.grid(padding=(0, 2)), False
    for i, (token_id, token) in enumerate(zip(conversation.ids, conversation.tokens, strict=True)):
        if i not in shown:
            skipped = True
            continue
        if skipped:
            table.add_row("", "...")
            skipped = False
        note = Text(f"<- {notes[i]}" if i in notes else "", style="yellow")
        table.add_row(Text(f"  {i}"), Text(str(token_id)), Text(repr(token)), note)
    console.print(table)
