"""What a judge said, as HTML and as plain JSON. Every text of a visitor's or a judge's goes through `escape`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from rb_core.scorers.judge.parsing import LETTERS
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.try_a_pair.judges import Judged, agrees


def judge_notes(judged: Judged) -> list[str]:
    """What kind of number a judge's score is, and how many completions speak to the judge."""
    about = MODE_DESCRIPTIONS[judged.mode]
    notes = [
        f"This is a judge: a language model that was asked {about.asks}. Its score is {about.score}. That is no reward "
        "in nats, so no Bradley-Terry probability applies."
    ]
    if judged.injections:
        whose = (
            "completion speaks to the judge; its" if judged.injections == 1 else "completions speak to the judge; their"
        )
        notes.append(f"{judged.injections} {whose} text was fenced, and the judge told not to do as it says.")
    return notes


def judged_html(judged: Judged) -> str:
    """Every request with the judge's verdict and words, and whether verdicts keep to a completion in every order."""
    return (
        '<section class="rb-judged" aria-label="What the judge said"><h4>What the judge said</h4>'
        f"{_agreement(judged)}{''.join(map(_group, judged.groups))}</section>"
    )


def _agreement(judged: Judged) -> str:
    same, compared = judged.agreeing
    if judged.mode == "ratings":
        said = "Each completion was judged by itself, so that no order matters."
    elif not compared:
        said = "Whether it keeps to its verdicts in another order is not known: some have none."
    elif judged.mode == "listwise":
        said = (
            "It names the same completion in every order." if same else "In another order it names another completion."
        )
    else:
        said = f"Both orders agree in <b>{same} of {compared} pair{'s' * (compared != 1)}</b>."
    return f'<p class="rb-where">{said}</p>'


def _group(group: Sequence[JudgeRecord]) -> str:
    """What was said of the same completions in all orders."""
    numbers = [str(index + 1) for index in sorted(group[0].order)]
    agreeing = agrees(group)
    flag = {True: "orders agree", False: "orders disagree", None: ""}[agreeing if len(numbers) > 1 else None]
    kind = "rb-agree" if agreeing else "rb-flag"
    badge = f' <span class="{kind}">{flag}</span>' if flag else ""
    title = f"<h5>Completions {', '.join(numbers[:-1])} and {numbers[-1]}{badge}</h5>" if len(numbers) > 1 else ""
    return f'<div class="rb-judged-group">{title}{"".join(map(_record_html, group))}</div>'


def _record_html(record: JudgeRecord) -> str:
    asked = "\n\n".join(message["content"] for message in record.messages)
    shown = _text(record.reply.text) if record.reply.text else "<p>It wrote nothing.</p>"
    thought = f"<h6>What it thought before</h6>{_text(record.reply.reasoning)}" if record.reply.reasoning else ""
    letters = ", ".join(f"{LETTERS[place]} is completion {index + 1}" for place, index in enumerate(record.order))
    key = f"<p>{letters}.</p>" if len(record.order) > 1 else ""
    return (
        f'<details class="rb-said-one"><summary>{_place(record)}: {_verdict(record)}</summary>{key}{shown}{thought}'
        f"<details><summary>What it was asked</summary>{_text(asked)}</details></details>"
    )


def _text(text: str) -> str:
    return f'<pre tabindex="0" dir="auto">{escape(text)}</pre>'


def _place(record: JudgeRecord) -> str:
    """Which completions stood where."""
    numbers = [str(index + 1) for index in record.order]
    if len(numbers) == 1:
        return f"Completion {numbers[0]}"
    return f"{numbers[0]} before {numbers[1]}" if len(numbers) == 2 else f"In the order {', '.join(numbers)}"


def _verdict(record: JudgeRecord) -> str:
    if record.error:
        return f'<span class="rb-flag">not scored: {escape(record.error)}</span>'
    if len(record.order) == 1:
        return f"<b>{record.points[0]:.3g}</b> of 10"
    if record.winner is None:
        return "<b>neither</b>"
    share = max(record.points)
    sure = f", with {100 * share:.1f}%" if share < 1 else ""
    return f"<b>completion {record.winner + 1}</b>{sure}"


def judged_json(judged: Judged) -> dict[str, Any]:
    """The same as plain JSON; completions are counted from 1."""
    same, compared = judged.agreeing
    return {
        "mode": judged.mode,
        "requests": len(judged.records),
        "agreeing": same,
        "compared": compared,
        "injections": judged.injections,
        "exchanges": [
            {
                "shown": [index + 1 for index in record.order],
                "verdict": None if record.winner is None else record.winner + 1,
                "shares": list(record.points),
                "reason": record.error,
                "reply": record.reply.text,
                "reasoning": record.reply.reasoning,
                "tokens": record.reply.completion_tokens,
            }
            for record in judged.records
        ],
    }
