"""Count the markdown marks of a text."""

from __future__ import annotations

import re

_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARK = re.compile(
    r"^\#{1,6}[ \t]"  # header
    r"|^[ \t]*(?:[-*+]|\d{1,3}\.)[ \t]"  # item of a list
    r"|\*\*[^*\n]+\*\*|__[^_\n]+__",  # bold
    re.MULTILINE,
)


def count_markdown(text: str) -> int:
    """Return the number of headers, list items and bold spans outside of code blocks.

    They are the marks of Chatbot Arena's style control, https://lmsys.org/blog/2024-08-28-style-control/.
    """
    return len(_MARK.findall(_CODE_BLOCK.sub("", text)))
