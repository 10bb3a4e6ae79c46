"""Errors that a user can correct. The command line prints them as one line and exits with `exit_code`.

A message says what is wrong, where, and what to do. Any other exception is a bug.
"""

from __future__ import annotations

import os
import re
from typing import ClassVar

# Tokens in the hub's form, and authorization headers: a client quotes a header that it cannot send. Names such as
# hf_hub_download do not match.
_SECRET = re.compile(r"hf_(?:[a-z]+_)?[A-Za-z0-9]{16}[^\s'\"]*|(?<=(?i:bearer) ).+")

LONGEST_QUOTE = 100  # characters of a quoted name


class RewardBenchError(Exception):
    """An error that the user can correct."""

    exit_code: ClassVar[int] = 2


class DataError(RewardBenchError):
    """A benchmark file or row that is missing, malformed or incomplete."""


class ModelError(RewardBenchError):
    """A model that cannot be loaded, or whose score would not be its own."""


class NotScoredError(ModelError):
    """A run without scores for a reason outside of the command: a server that is away, has no quota or refuses all."""

    exit_code = 1


class ScoreTableError(RewardBenchError):
    """A score file or journal that is damaged or belongs to another run."""


class ResultError(RewardBenchError):
    """A result file that does not fit the schema, or would be overwritten."""


class FileError(RewardBenchError):
    """A file that cannot be written."""


class HubError(RewardBenchError):
    """A request that the hub refused or did not answer; nothing was changed there."""


def hub_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the hub's client for anything that cannot be reached, found or read.

    The client has changed its HTTP library before; the base class of its own error is always that library's error.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    transport = tuple(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    return (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError, ValueError, *transport)


def first_line(error: BaseException, secret: str = "") -> str:
    """Return the first line of an error's message, or its type if it has none, without tokens and without `secret`."""
    text = str(error).strip()
    return redacted(text.splitlines()[0], secret) if text else type(error).__name__


def quoted(text: str) -> str:
    """Return a user's text for a message: in quotes, cut if it is long, unprintable characters escaped."""
    return repr(text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…")


def as_text(name: str) -> str:
    """Return the name of a file or an argument, which can be any bytes, as one line of text that UTF-8 can hold."""
    return printable(os.fsencode(name).decode("utf-8", "replace"))


def printable(text: str) -> str:
    """Return a text with control characters, and others that a terminal does not show, as escapes."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def redacted(line: str, secret: str = "") -> str:
    """Return a line without anything in the form of a hub token, and without `secret` in any form."""
    return _SECRET.sub("[token]", line.replace(secret, "[token]") if secret else line)
