"""A list of words as a guard."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from rb_core.benchmarks.example import Conversation, message_text
from rb_core.errors import ModelError, as_text
from rb_core.scorers.function import FunctionScorer

MAX_BYTES = 1 << 22


class WordScorer(FunctionScorer):
    """Score 1 where a text matches a pattern, and 0 elsewhere. detail: of the list behind it, for results."""

    def __init__(self, pattern: re.Pattern[str], detail: str) -> None:
        def matches(prompt: Conversation, completion: str) -> float:
            texts = [*map(message_text, prompt), completion]
            return float(any(pattern.search(text.casefold()) is not None for text in texts))

        super().__init__(matches)
        self.detail = detail

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"kind_detail": self.detail}


def load_words(path: Path) -> WordScorer:
    """Return a scorer that gives 1 where a word or phrase of the file stands in the text it reads, and 0 elsewhere.

    One entry per line; blank lines and lines that begin with # are left out. An entry is matched as whole words, in any
    case and with any white space between its words. Raises ModelError for a file that cannot be read or has no entry.
    """
    name = as_text(path.name)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"--guard words:{name}: cannot be read as text: {error}") from error
    if len(content) > MAX_BYTES:
        raise ModelError(f"--guard words:{name}: more than {MAX_BYTES:,} bytes; is this a list of words?")
    entries = [line.split() for line in text.casefold().splitlines() if not line.lstrip().startswith("#")]
    patterns = sorted({r"\s+".join(map(re.escape, words)) for words in entries if words})
    if not patterns:
        raise ModelError(f"--guard words:{name}: no words; write one word or phrase per line")
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)")
    return WordScorer(pattern, f"{len(patterns)} words or phrases, sha256 {sha256(content).hexdigest()}")
