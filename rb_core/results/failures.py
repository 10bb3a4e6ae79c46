"""Reasons why a request to a server has no answer. Score tables and results hold these texts.

A later start of the same command sends such requests again.
"""

from __future__ import annotations

FILTERED = "refused by the server's content filter"
REJECTED = "the server refused the request"
SERVER_ERROR = "no answer from the server after several tries"
NO_MESSAGE = "the server's answer has no message"
NO_SCORE = "the server's answer has no score"
NOT_JSON = "the server's answer is not JSON"
EVENT_STREAM = "the server's answer is an event stream"
TOO_LARGE = "the server's answer is compressed or too large"
ABORTED = "the server ended the reply early"
FAILED = frozenset({FILTERED, REJECTED, SERVER_ERROR, NO_MESSAGE, NO_SCORE, NOT_JSON, EVENT_STREAM, TOO_LARGE, ABORTED})
