"""Descriptions of the ways to ask a generative judge, for the tabs *Try a pair*, *Model* and *About*."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rb_core.models.options import Mode


class ModeDescription(NamedTuple):
    """asks: completes "the judge was asked ..."; score: completes "a completion's score is ..."."""

    asks: str
    score: str


MODE_DESCRIPTIONS: Mapping[Mode, ModeDescription] = {
    "pairwise": ModeDescription(
        "which of two completions is better, for every pair and in both orders",
        "the share of its comparisons that the completion won; where the two orders contradict each other, both "
        "completions get half a win",
    ),
    "ratings": ModeDescription(
        "how good each completion is, by itself, from 1 to 10",
        "the rating, or its expected value under the probabilities of all ratings",
    ),
    "listwise": ModeDescription(
        "which of all completions is best, once for each rotation of their order",
        "the share of the rotations in which the completion was named best",
    ),
    "logprob": ModeDescription(
        "for the letter of the better of two completions, for every pair and in both orders",
        "the mean probability that the judge gave to the completion's letter",
    ),
}
