"""The outcome of *Try a pair* as HTML. Every text of a visitor's or a model's goes through `escape`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape

from rb_core.space.try_a_pair.agreement import Agreement, Place, agreements
from rb_core.space.try_a_pair.judge_html import judge_notes, judged_html
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.report import curl_code, python_code, report
from rb_core.space.try_a_pair.scoring import Outcome, Piece, ScoredCompletion
from rb_core.space.try_a_pair.token_rewards import along_html
from rb_core.space.try_a_pair.what_if import NOT_FOR_JUDGES, Moved, Shift

EXCERPT = 140


WAITING = """
<div class="rb-waiting"><h3>Scores appear here</h3>
<p>A reward model gives every completion one number; only differences mean something. Under the Bradley-Terry model, a
completion that scores <i>m</i> higher is preferred with probability 1&nbsp;/&nbsp;(1&nbsp;+&nbsp;e<sup>−m</sup>).</p>
<p>The baselines read no meaning at all: a model that does not beat the best of them has shown nothing.</p></div>
"""


def outcome_html(outcomes: Sequence[Outcome], question: Question, places: Sequence[Place | None], at: str) -> str:
    """Everything that is said of a question: what the models agree on, each one's outcome, and how to take it away.

    places: where each model's margin falls among its own; at: the page's address.
    """
    together = _side_by_side(outcomes) if len(outcomes) > 1 else ""
    several = len(outcomes) > 1
    each = "".join(
        _one_model(outcome, question.completions, placed, several)
        for outcome, placed in zip(outcomes, places, strict=True)
    )
    return f'<div class="rb-outcome">{together}{each}{_take_away(outcomes, question, places, at)}</div>'


def _one_model(outcome: Outcome, texts: Sequence[str], placed: Place | None, several: bool) -> str:
    """One model's outcome: what it comes to, a table best first, the tokens, and what the model was fed."""
    order = sorted(range(len(texts)), key=lambda i: (outcome.completions[i].rank or len(texts) + 1, i))
    values = [c.value for c in outcome.completions if c.value is not None]
    ends = (min(values), max(values)) if values else (0.0, 0.0)
    best = max(values, default=None)
    rows = "".join(_row(i + 1, outcome.completions[i], texts[i], ends, best) for i in order)
    name = f'<p class="rb-of">{escape(outcome.model)}</p>' if several else ""
    return (
        f'<section class="rb-one" aria-label="{escape(outcome.model)}">{name}{_headline(outcome)}'
        f"{_place(outcome, placed)}{_notes(outcome)}"
        f'<table class="rb-scores"><caption class="rb-hidden">Completions by {escape(outcome.model)}, best first'
        "</caption>"
        '<thead><tr><th scope="col" class="rb-num">Rank</th><th scope="col">Completion</th>'
        f'<th scope="col" class="rb-num">{"Reward" if outcome.is_reward else "Score"}</th>'
        f'<th scope="col" class="rb-num">{"Tokens" if outcome.is_reward else "Words"}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{judged_html(outcome.judged) if outcome.judged else ''}{along_html(outcome)}"
        f"{_fed(outcome)}</section>"
    )


def _place(outcome: Outcome, placed: Place | None) -> str:
    if outcome.margin is None or outcome.judged:
        return ""
    if placed is None:
        return (
            '<p class="rb-where">How large that is for this model is not known: '
            "no margins of it on a benchmark are here.</p>"
        )
    return (
        f'<p class="rb-where">In size it is above <b>{round(100 * placed.share)} in 100</b> of the '
        f"{placed.margins:,} margins that this model has on {escape(placed.benchmark)}.</p>"
    )


def _side_by_side(outcomes: Sequence[Outcome]) -> str:
    """Ranks and scores of all models beside each other, and what they disagree on."""
    count = len(outcomes[0].completions)
    ranks = [[outcome.completions[i].rank for outcome in outcomes] for i in range(count)]
    names = [escape(outcome.model).replace("/", "/<wbr>") for outcome in outcomes]
    heads = "".join(f'<th scope="col" class="rb-num">{name}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">Completion {i + 1}{_differs(ranks[i])}</th>'
        + "".join(
            f'<td class="rb-num"><b>{completion.rank or "–"}</b> <span class="rb-excerpt">'
            f"{'–' if completion.value is None else f'{completion.value:.3f}'}</span></td>"
            for completion in (outcome.completions[i] for outcome in outcomes)
        )
        + "</tr>"
        for i in range(count)
    )
    said = "".join(f"<li>{_agreement(each)}</li>" for each in agreements(outcomes))
    return (
        '<section class="rb-one" aria-label="Models side by side"><h3>Models side by side</h3>'
        f'<ul class="rb-agreements">{said}</ul><div class="rb-wide" tabindex="0" role="region" '
        'aria-label="Ranks by model"><table class="rb-scores rb-beside"><caption class="rb-hidden">Rank and score of '
        f'each completion by model</caption><thead><tr><th scope="col">Completion</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _differs(ranks: Sequence[int | None]) -> str:
    return ' <span class="rb-flag">ranks differ</span>' if len(set(ranks)) > 1 else ""


def _agreement(found: Agreement) -> str:
    names = f"{escape(found.a)} and {escape(found.b)}"
    total = found.same + found.opposite + found.tied
    pairs = f"{total} pair{'s' * (total != 1)} of completions"
    tied = f"; {found.tied} tied by one of them" if found.tied else ""
    if not found.split:
        return f"{names} contradict each other on none of {pairs} (same order on {found.same}{tied})."
    shown = ", ".join(f"{i + 1} over {j + 1}" for i, j in found.split)
    return (
        f"{names} <b>disagree on {found.opposite}</b> of {pairs}{tied}. {escape(found.a)} has {shown}; "
        f"{escape(found.b)} the reverse."
    )


def _take_away(outcomes: Sequence[Outcome], question: Question, places: Sequence[Place | None], at: str) -> str:
    """The JSON as a file that the browser makes of this very page, and the same question as code."""
    packed = json.dumps(report(question, outcomes, places), ensure_ascii=False, indent=1, allow_nan=False).encode()
    href = "data:application/json;base64," + base64.b64encode(packed).decode()
    return (
        f'<p class="rb-download"><a href="{href}" download="rewardbench-pair.json">Download as JSON</a></p>'
        '<details class="rb-fed rb-code"><summary>The same as code</summary><h4>Python</h4>'
        f'<pre tabindex="0">{escape(python_code(question, at))}</pre>'
        f'<h4>Shell</h4><pre tabindex="0">{escape(curl_code(question, at))}</pre></details>'
    )


def moved_html(moves: Sequence[Moved], judges: Sequence[str] = ()) -> str:
    """What changes do to the scores, a table for each model and change. judges: those that were left out."""
    blocks = "".join(_moved(move) for move in moves)
    return (
        f'<div class="rb-outcome rb-moved"><h3>How the scores move</h3>{_left_out(judges)}{blocks}'
        '<p class="rb-excerpt">A model that weighs what is said, and not how, would hardly move but for the refusal. '
        "One prompt shows a tendency at best.</p></div>"
    )


def _left_out(judges: Sequence[str]) -> str:
    names = escape(" and ".join(judges))
    return f'<p class="rb-note">Without {names}: {escape(NOT_FOR_JUDGES)}</p>' if judges else ""


def _moved(move: Moved) -> str:
    rows = "".join(_shift(number, shift) for number, shift in enumerate(move.shifts, 1))
    mean = "" if move.mean is None else f" Mean change <b>{move.mean:+.4f}</b>."
    crossed = "; ".join(f"completion {i + 1} would pass completion {j + 1}" for i, j in move.overtakes)
    flips = f" {crossed[0].upper()}{crossed[1:]}." if crossed else ""
    label = f"{move.change.label}, {move.model}"
    return (
        f'<section class="rb-one" aria-label="{escape(label)}"><h4>{escape(move.change.label)} '
        f'<span class="rb-of">{escape(move.model)}</span></h4><p class="rb-excerpt">{escape(move.change.about)}</p>'
        f"<p>{mean}{flips}</p>"
        f'<table class="rb-scores"><caption class="rb-hidden">{escape(label)}</caption><thead><tr>'
        '<th scope="col">Completion</th><th scope="col" class="rb-num">Before</th>'
        '<th scope="col" class="rb-num">After</th><th scope="col" class="rb-num">Change</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _shift(number: int, shift: Shift) -> str:
    change = shift.change
    arrow = "" if not change else "▲ " if change > 0 else "▼ "
    cells = ["–" if value is None else f"{value:.4f}" for value in (shift.before, shift.after)]
    moved = "–" if change is None else f'<span aria-hidden="true">{arrow}</span>{change:+.4f}'
    return (
        f'<tr><th scope="row">Completion {number}</th>'
        + "".join(f'<td class="rb-num">{cell}</td>' for cell in cells)
        + f'<td class="rb-num"><b>{moved}</b></td></tr>'
    )


def _headline(outcome: Outcome) -> str:
    """One sentence on who is ahead and by how much, and the probability as a bar."""
    margin, probability = outcome.margin, outcome.probability
    best = [i for i, c in enumerate(outcome.completions, 1) if c.rank == 1]
    if margin is None:
        return '<h3 class="rb-verdict">Fewer than two completions could be scored: nothing to compare</h3>'
    if margin == 0:
        tied = f"{', '.join(map(str, best[:-1]))} and {best[-1]}"
        odds = "<p>Margin 0: the model has no preference (probability 50.0%).</p>" if outcome.is_reward else ""
        return f'<h3 class="rb-verdict">A tie between completions {tied}</h3>{odds}'
    title = f'<h3 class="rb-verdict">Completion {best[0]} is ahead</h3>'
    second = [i for i, c in enumerate(outcome.completions, 1) if c.rank == 2]
    rival = f"completion {second[0]}" if len(second) == 1 else "the next"
    lead = f"<p>Margin <b>{margin:.4g}</b> over {rival}"
    if probability is None:
        return f"{title}{lead}.</p>"
    return (
        f"{title}{lead}: Bradley-Terry probability <b>{_percent(probability)}</b>.</p>"
        f'<div class="rb-odds" aria-hidden="true"><i style="width:{100 * probability:.1f}%"></i></div>'
    )


def _percent(probability: float) -> str:
    """One decimal, and never a certainty that rounding made up."""
    return "over 99.9%" if probability >= 0.9995 else f"{100 * probability:.1f}%"


def _notes(outcome: Outcome) -> str:
    notes = []
    if outcome.judged:
        notes += judge_notes(outcome.judged)
    elif not outcome.is_reward:
        notes.append(
            "This is a baseline. Its number is not a reward in nats and has no scale, so no Bradley-Terry probability "
            "applies. Nothing is fed to a model."
        )
    if outcome.control_tokens:
        tokens = ", ".join(f"<code>{escape(token)}</code>" for token in outcome.control_tokens)
        notes.append(f"Your text contains control tokens of this model ({tokens}). They were fed as ordinary text.")
    return "".join(f'<p class="rb-note">{note}</p>' for note in notes)


def _row(number: int, completion: ScoredCompletion, text: str, ends: tuple[float, float], best: float | None) -> str:
    value, score = completion.value, completion.score
    flags = ""
    if score.truncated:
        flags = f'<span class="rb-flag">prompt truncated: its first {completion.dropped:,} tokens are cut off</span>'
    margin = 0.0 if value is None or best is None else best - value
    behind = f' <span class="rb-behind">{margin:.4g} behind the best.</span>' if margin else ""
    if value is None:
        flags += f'<span class="rb-flag">not scored: {escape(score.reason)}</span>'
        bar = ""
    else:
        low, high = ends
        share = (value - low) / (high - low) if high > low else 1.0
        bar = f'<span class="rb-share" aria-hidden="true"><i style="width:{4 + 96 * share:.1f}%"></i></span>'
    shown = text.strip()[:EXCERPT] + ("…" if len(text.strip()) > EXCERPT else "")
    excerpt = escape(shown) or "<em>empty</em>"
    return (
        "<tr>"
        f'<td class="rb-num rb-place">{completion.rank or "–"}</td>'
        f'<th scope="row"><b>Completion {number}</b> {flags}</th>'
        f'<td class="rb-num rb-value">{"–" if value is None else f"{value:.4f}"}</td>'
        f'<td class="rb-num">{score.num_tokens:,}</td></tr>'
        f'<tr class="rb-detail{" rb-first" if completion.rank == 1 else ""}"><td colspan="4">'
        f'<span class="rb-excerpt">{excerpt}</span>{behind}{bar}</td></tr>'
    )


def _fed(outcome: Outcome) -> str:
    if not outcome.is_reward:
        return ""
    blocks = "".join(
        f"<h4>Completion {number}</h4><pre>{''.join(map(_piece, completion.fed))}</pre>"
        for number, completion in enumerate(outcome.completions, 1)
        if completion.fed
    )
    return (
        '<details class="rb-fed"><summary>The text the model was fed</summary>'
        '<p>Decoded from the token ids, after any truncation. <span class="rb-control">Framed</span> are control '
        f'tokens; <span class="rb-own">marked</span> is the completion.</p>{blocks}</details>'
    )


def _piece(piece: Piece) -> str:
    kind = "rb-control" if piece.control else "rb-own" if piece.completion else "rb-given"
    return f'<span class="{kind}">{escape(piece.text)}</span>'
