"""The outcome of *Try a pair* as HTML. Every text of a visitor's or a model's goes through `escape`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rb_core.space.live import Outcome, Piece, ScoredCompletion

EXCERPT = 140

WAITING = """
<div class="rb-waiting"><h3>Scores appear here</h3>
<p>A reward model gives every completion one number; only differences mean something. Under the Bradley-Terry model, a
completion that scores <i>m</i> higher is preferred with probability 1&nbsp;/&nbsp;(1&nbsp;+&nbsp;e<sup>−m</sup>).</p>
<p>The baselines read no meaning at all: a model that does not beat the best of them has shown nothing.</p></div>
"""


def message_html(message: str) -> str:
    """A message to the visitor in place of an outcome."""
    return f'<div class="rb-message" role="alert"><p>{escape(message)}</p></div>'


def outcome_html(outcome: Outcome, texts: Sequence[str]) -> str:
    """The whole outcome: what it comes to, a table best first, and what the model was fed."""
    order = sorted(range(len(texts)), key=lambda i: (outcome.completions[i].rank or len(texts) + 1, i))
    values = [c.value for c in outcome.completions if c.value is not None]
    ends = (min(values), max(values)) if values else (0.0, 0.0)
    rows = "".join(_row(i + 1, outcome.completions[i], texts[i], ends) for i in order)
    return (
        f'<div class="rb-outcome">{_headline(outcome)}{_notes(outcome)}'
        '<table class="rb-scores"><caption class="rb-hidden">Completions, best first</caption><thead><tr>'
        '<th scope="col" class="rb-num">Rank</th><th scope="col">Completion</th>'
        f'<th scope="col" class="rb-num">{"Reward" if outcome.is_reward else "Score"}</th>'
        f'<th scope="col" class="rb-num">{"Tokens" if outcome.is_reward else "Words"}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{_fed(outcome)}</div>"
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
    return "over 99.9%" if 0.9995 <= probability < 1 else f"{100 * probability:.1f}%"


def _notes(outcome: Outcome) -> str:
    notes = []
    if not outcome.is_reward:
        notes.append(
            "This is a baseline. Its number is not a reward in nats and has no scale, so no Bradley-Terry probability "
            "applies. Nothing is fed to a model."
        )
    if outcome.control_tokens:
        tokens = ", ".join(f"<code>{escape(token)}</code>" for token in outcome.control_tokens)
        notes.append(f"Your text contains control tokens of this model ({tokens}). They were fed as ordinary text.")
    return "".join(f'<p class="rb-note">{note}</p>' for note in notes)


def _row(number: int, completion: ScoredCompletion, text: str, ends: tuple[float, float]) -> str:
    value, score = completion.value, completion.score
    flags = '<span class="rb-flag">prompt truncated</span>' if score.truncated else ""
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
        f'<span class="rb-excerpt">{excerpt}</span>{bar}</td></tr>'
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
