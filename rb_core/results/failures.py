"""Reasons why a completion has no score. Score tables and results hold these texts.

Those in `FAILED` are of requests to a server, which a later start of the same command sends again.
"""

from __future__ import annotations

import math

import numpy as np

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

# Of float64 scores as well: sums of their squares must be finite. It is the largest float32 number.
LARGEST_SCORE = float(np.finfo(np.float32).max)


def unscored_reason(score: float) -> str:
    """Return why a published score counts as none; "" for one that counts."""
    if math.isnan(score):
        return "no score published"
    return "" if abs(score) <= LARGEST_SCORE else "score not finite"
