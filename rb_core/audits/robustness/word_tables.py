"""Tables of words that can be written in another way without a change of meaning, from `words.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

_OUR_ENDINGS = ("", "s", "ed", "ing")
_ISE_ENDINGS = ("ise", "ises", "ised", "ising", "isation", "isations")
_WORDS: Mapping[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("words.yaml").read_text("utf-8"))

BRITISH_TO_AMERICAN: Mapping[str, str] = {
    **{word + ending: word[:-3] + "or" + ending for word in _WORDS["our"].split() for ending in _OUR_ENDINGS},
    **{stem + ending: stem + "iz" + ending[2:] for stem in _WORDS["ise"].split() for ending in _ISE_ENDINGS},
    **_WORDS["spelling"],
}
FULL_TO_CONTRACTED: Mapping[str, str] = {
    "cannot": "can't",
    "will not": "won't",
    **{f"{verb} not": f"{verb}n't" for verb in _WORDS["negated"].split()},
}
# Before these words the negation is part of a question, whose words change places: "don't you".
PRONOUNS = r"\s+(?:I|you|he|she|it|we|they|there|this|that|these|those|the|an?|your|my|our|their)\b"
NUMBER_WORDS: Mapping[str, str] = {word: str(number) for word, number in _WORDS["numbers"].items()}
# Before these words a number stays a word: "two hundred", "two thirds".
NUMBER_PARTS = r"\s+(?:hundred|thousand|million|billion|half|halves|third|quarter|fifth|tenth)"
# Symbol: singular and plural.
UNIT_NAMES: Mapping[str, tuple[str, str]] = {symbol: tuple(names) for symbol, names in _WORDS["units"].items()}
PARAPHRASES: Mapping[str, str] = _WORDS["paraphrases"]


def both_ways(table: Mapping[str, str]) -> dict[str, str]:
    """Return a table that replaces the words of either side by those of the other."""
    return {**table, **{new: old for old, new in table.items()}}
