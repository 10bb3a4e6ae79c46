"""The longest wait of a test: an event comes sooner on any machine, and the test fails without it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until the condition is true. Raises TimeoutError if it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"it did not happen within {seconds:g} seconds")
        time.sleep(0.01)
