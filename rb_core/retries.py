"""The retry policy of HTTP requests: which failures are transient, and how long to wait before the next attempt."""

from __future__ import annotations

import email.utils
import random
import re
import time

FIRST_WAIT = 0.5  # seconds before the second attempt; doubled for each further one
LONGEST_WAIT = 20.0

TRANSIENT_STATUSES = (408, 409, 425, 429)
AWAY_STATUSES = (429, 502, 503, 504, 529)  # the server takes no request at present, whatever it asks


def is_transient(status: int) -> bool:
    """Return True for an HTTP status that another attempt may not meet."""
    return status in TRANSIENT_STATUSES or status >= 500


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which has seconds or a date; None if it has neither."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", header.strip()):
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def next_wait(attempt: int, requested: float | None = None) -> float:
    """Return the seconds to wait after the `attempt`-th failure, at least as many as the server requested.

    Jitter keeps clients that failed together from trying again together.
    """
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    return max(requested or 0.0, longest * random.uniform(0.5, 1.0))
