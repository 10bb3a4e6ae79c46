"""Everything that can go wrong through no fault of the code.

    RewardBenchError            a mistake the user can mend; the command line prints it as one line, exit code 2
      DataError                 a benchmark file or row that does not say what it must
      ModelError                a model that cannot be loaded, or whose score would not be its own
      ScoreTableError           a score file or journal that is damaged or belongs to another run
      ResultError               a result file that does not fit the schema, or would be overwritten
      HubError                  what the hub refused, did not have or did not answer; nothing was changed there

Messages say what was wrong, where, and what to do. Anything else that is raised is a bug.
"""

from __future__ import annotations

import re

# Tokens of the hub as they are made, and a header: a client quotes one that it cannot send, to the last character.
# Names such as hf_hub_download are none.
_SECRET = re.compile(r"hf_(?:[a-z]+_)?[A-Za-z0-9]{16}[^\s'\"]*|(?<=(?i:bearer) ).+")

LONGEST_QUOTE = 100  # characters of a name that is not known


class RewardBenchError(Exception):
    """A mistake the user can mend."""


class DataError(RewardBenchError):
    """A benchmark file or row that does not say what it must."""


class ModelError(RewardBenchError):
    """A model that cannot be loaded, or whose score would not be its own."""


class ScoreTableError(RewardBenchError):
    """A score file or journal that is damaged or belongs to another run."""


class ResultError(RewardBenchError):
    """A result file that does not fit the schema, or would be overwritten."""


class HubError(RewardBenchError):
    """What the hub refused, did not have or did not answer; nothing was changed there."""


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises when something cannot be reached, found or read.

    The client's HTTP library has changed before; the base of its own error is always that library's.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    transport = tuple(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    return (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError, ValueError, *transport)


def first_line(error: BaseException, secret: str = "") -> str:
    """The first line of an error's message, or its type where it has none; without the hub's tokens, and the secret."""
    text = str(error).strip()
    return redacted(text.splitlines()[0], secret) if text else type(error).__name__


def quoted(text: str) -> str:
    """What somebody asked for as a message names it: in quotes, cut where long, what cannot be written escaped."""
    return repr(text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…")


def redacted(line: str, secret: str = "") -> str:
    """A line without what looks like a token of the hub, and without this secret, whatever that looks like."""
    return _SECRET.sub("[token]", line.replace(secret, "[token]") if secret else line)
