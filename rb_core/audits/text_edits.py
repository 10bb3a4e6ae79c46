"""Edits of a text's prose: code, formulas, links and addresses in it stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# A fenced block that is not closed reaches to the end of the text.
_KEPT = (
    r"```(?s:.*?)(?:```|\Z)|`[^`\n]+`"  # code
    r"|\$\$(?s:.*?)\$\$|\$[^$\n]+\$|\\\((?s:.*?)\\\)|\\\[(?s:.*?)\\\]"  # LaTeX
    r"|https?://\S+|www\.\S+|\S+@\S+\.\w+"
)

_COMMON_WORD = re.compile(r"\b(?:the|of|and|is|are|to|in|it|you|that|with|for|not|as|on|be)\b", re.IGNORECASE)


def is_english(text: str) -> bool:
    """Return True if at least one word in ten is among the commonest of English."""
    return 10 * len(_COMMON_WORD.findall(text)) >= len(re.findall(r"[^\W\d_]+", text)) > 0


def edit_prose(pattern: str, replacement: str | Callable[[re.Match[str]], str], text: str) -> str:
    r"""Return the text with every match of a pattern replaced, outside code, formulas, links and addresses.

    Args:
        pattern: a regular expression whose groups have names; ^ and $ match at lines.
        replacement: text that may name groups as \g<name>, or a function of the match.
    """

    def replace(match: re.Match[str]) -> str:
        if match["kept"] is not None:
            return match["kept"]
        return match.expand(replacement) if isinstance(replacement, str) else replacement(match)

    return re.sub(rf"(?P<kept>{_KEPT})|(?:{pattern})", replace, text, flags=re.MULTILINE)


def replace_words(words: Mapping[str, str], text: str, *, unless_before: str | None = None) -> str:
    """Return the text with each of the words or phrases replaced in its prose; an initial capital stays one.

    Args:
        words: replacement of each word, in lower case and with straight apostrophes.
        unless_before: a regular expression; a word in front of a match of it stays.
    """
    alternatives = "|".join(sorted(map(re.escape, words), key=len, reverse=True)).replace("'", "['’]")
    condition = "" if unless_before is None else f"(?!{unless_before})"

    def replace(match: re.Match[str]) -> str:
        word = match[0].replace("’", "'")
        if word[1:] != word[1:].lower():  # an abbreviation, or a text all in capitals
            return match[0]
        new = words[word.lower()]
        return new[0].upper() + new[1:] if word[0].isupper() else new

    return edit_prose(rf"(?<![\w’'-])(?i:{alternatives})(?![\w’'-]){condition}", replace, text)
