"""Fifty rules that need no model. A benchmark on which one of them does well measures a habit of its writers."""

from __future__ import annotations

import re
from collections.abc import Callable

Rule = Callable[[str, str], float]  # (prompt, completion)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


def count(pattern: str) -> Rule:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda prompt, text: float(len(compiled.findall(text)))


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def sentences(text: str) -> int:
    return len([piece for piece in re.split(r"[.!?]+(?:\s|$)|\n+", text) if piece.strip()])


def reading_ease(prompt: str, text: str) -> float:
    """Return Flesch's reading ease with groups of vowels as syllables (Flesch 1948, doi:10.1037/h0057532)."""
    syllables = len(re.findall(r"[aeiouyäöü]+", text.lower()))
    num_words = len(words(text))
    return 206.835 - 1.015 * share(num_words, sentences(text)) - 84.6 * share(syllables, num_words)


FEATURES: dict[str, Rule] = {
    "characters": lambda prompt, text: len(text),
    "words": lambda prompt, text: len(words(text)),
    "characters per word": lambda prompt, text: share(sum(map(len, words(text))), len(words(text))),
    "sentences": lambda prompt, text: sentences(text),
    "words per sentence": lambda prompt, text: share(len(words(text)), sentences(text)),
    "reading ease": reading_ease,
    "lines": count(r"\n"),
    "different words": lambda prompt, text: share(len(set(words(text))), len(words(text))),
    "words from the prompt": lambda prompt, text: share(
        sum(word in set(words(prompt)) for word in words(text)), len(words(text))
    ),
    "words of the prompt": lambda prompt, text: share(
        len(set(words(prompt)) & set(words(text))), len(set(words(prompt)))
    ),
    "digits": count(r"\d"),
    "capitals": lambda prompt, text: sum(letter.isupper() for letter in text),
    "commas": count(","),
    "colons and semicolons": count("[:;]"),
    "full stops": count(r"\."),
    "exclamation marks": count("!"),
    "question marks": count(r"\?"),
    "quotation marks": count('["\u201c\u201e\u00ab]'),
    "dashes and brackets": count(r"[-\u2013\u2014()]"),
    "markdown": count(r"[*`#|]"),
    "refusal words": count(r"\b(?:sorry|can't|cannot|won't|unable|afraid|apologi[sz]e|help)\b"),
    "negations": count(r"\b(?:no|not|never|none|nobody|nothing|\w+n't)\b"),
    "first and second person": count(r"\b(?:i|me|my|we|you|your)\b"),
    "first character": lambda prompt, text: float(ord(text[:1] or " ")),
    "last character": lambda prompt, text: float(ord(text[-1:] or " ")),
}


def negative(rule: Rule) -> Rule:
    return lambda prompt, text: -rule(prompt, text)


RULES: dict[str, Rule] = {
    **{f"most {name}": rule for name, rule in FEATURES.items()},
    **{f"least {name}": negative(rule) for name, rule in FEATURES.items()},
}
