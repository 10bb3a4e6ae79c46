"""The reward along a completion as HTML: a line, the tokens marked by how they move it, and a table of both."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from rb_core.scorers.base import TokenReward
from rb_core.space.try_a_pair.scoring import AlongKind, Outcome

WIDTH, HEIGHT, EDGE = 600, 72, 6  # of the line's box, in its own units


MOST_ROWS = 400  # of the table; what is beyond is in the JSON


_ABOUT: dict[AlongKind, str] = {
    "running": (
        "The score as it would be read after each token; the score itself is the value at the token that the model is "
        "read at, as a rule the last. A token is marked by how much the value changes at it."
    ),
    "added": "What each token adds to the score; the line adds them up. A token is marked by what it adds.",
}


def along_html(outcome: Outcome) -> str:
    """The rewards along all completions of an outcome; nothing where there are none and no reason is to be said."""
    if outcome.no_along:
        return f'<p class="rb-note">No reward by token: {escape(outcome.no_along)}.</p>'
    if not any(completion.along for completion in outcome.completions):
        return ""
    every = [changes(completion.along, outcome.along_kind) for completion in outcome.completions]
    largest = max((abs(change) for each in every for change in each), default=0.0)
    blocks = "".join(
        _completion(number, completion.along, each, outcome.along_kind, largest)
        for number, (completion, each) in enumerate(zip(outcome.completions, every, strict=True), 1)
        if completion.along
    )
    return (
        '<details class="rb-fed rb-along"><summary>The reward along the tokens</summary>'
        f'<p>{_ABOUT[outcome.along_kind]} <span class="rb-up" style="--s:.6">Solid</span> is up, '
        f'<span class="rb-down" style="--s:.6">dashed</span> is down; the deeper, the more.</p>{blocks}</details>'
    )


def changes(along: Sequence[TokenReward], kind: AlongKind) -> list[float]:
    """What happens at each token: of running scores the difference to the token before, 0 at the first."""
    rewards = [token.reward for token in along]
    if kind == "added":
        return rewards
    return [0.0, *(after - before for before, after in pairwise(rewards))][: len(rewards)]


def running(along: Sequence[TokenReward], kind: AlongKind) -> list[float]:
    """The values of the line: running scores as they are, added ones summed up."""
    values: list[float] = []
    for token in along:
        values.append(token.reward + (values[-1] if values and kind == "added" else 0.0))
    return values


def _completion(
    number: int, along: Sequence[TokenReward], moves: Sequence[float], kind: AlongKind, largest: float
) -> str:
    values = running(along, kind)
    tokens = "".join(_token(token.text, move, largest) for token, move in zip(along, moves, strict=True))
    rows = "".join(
        f'<tr><td class="rb-num">{i}</td><td><code>{_visible(token.text)}</code></td>'
        f'<td class="rb-num">{value:.4f}</td><td class="rb-num">{move:+.4f}</td></tr>'
        for i, (token, value, move) in enumerate(zip(along, values, moves, strict=True), 1)
        if i <= MOST_ROWS
    )
    more = f"<p>The first {MOST_ROWS} of {len(along):,} tokens.</p>" if len(along) > MOST_ROWS else ""
    return (
        f"<h4>Completion {number}</h4>{line_svg(values, f'Reward along completion {number}')}"
        f'<p class="rb-tokens">{tokens}</p>'
        f'<details class="rb-token-table"><summary>As a table</summary>{more}'
        f'<div class="rb-token-rows" tabindex="0" role="region" aria-label="Tokens of completion {number}">'
        f'<table class="rb-scores"><caption class="rb-hidden">Tokens of completion {number}</caption><thead><tr>'
        '<th scope="col" class="rb-num">No.</th><th scope="col">Token</th><th scope="col" class="rb-num">Reward</th>'
        f'<th scope="col" class="rb-num">Change</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _visible(text: str) -> str:
    """A token's text with its spaces and line ends to be seen."""
    return escape(text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")) or "∅"


def _token(text: str, move: float, largest: float) -> str:
    strength = abs(move) / largest if largest else 0.0
    shown = escape(text.replace("\n", "⏎\n"))
    if strength < 0.02:
        return f'<span title="{move:+.4f}">{shown}</span>'
    return (
        f'<span class="rb-{"up" if move > 0 else "down"}" style="--s:{strength:.2f}" title="{move:+.4f}">{shown}</span>'
    )


def line_svg(values: Sequence[float], title: str) -> str:
    """The values as a line, from left to right, with the last one as a dot."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    points = [
        (EDGE + i * step, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / span) for i, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    described = f"From {values[0]:.4g} to {values[-1]:.4g}; lowest {low:.4g}, highest {high:.4g}."
    return (
        f'<svg class="rb-trace" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}. {described}" '
        f'preserveAspectRatio="none"><title>{escape(title)}</title><desc>{described}</desc>'
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="2" '
        'vector-effect="non-scaling-stroke"/>'
        f'<path d="M{x:.1f} {y:.1f}h0" class="rb-trace-end" vector-effect="non-scaling-stroke"/></svg>'
        f'<p class="rb-trace-ends"><span>first {values[0]:.4g}</span><span>lowest {low:.4g}, highest {high:.4g}</span>'
        f"<span>last {values[-1]:.4g}</span></p>"
    )
