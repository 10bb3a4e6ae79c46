"""Call the hub's client: retries, timeouts, and errors explain in one line."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from rb_core import retries
from rb_core.errors import HubError, RewardBenchError, first_line, hub_errors, redacted

T = TypeVar("T")

TRIES = 8
DAY = 86_400.0  # seconds
LONGEST_REQUESTED_WAIT = 300.0  # seconds; longer requests of the hub are ignored

# Advice by HTTP status; None: no answer.
_ADVICE: Mapping[int | None, str] = {
    None: "check the connection",
    401: "the hub does not know the token; log in with `hf auth login` or set HF_TOKEN",
    403: "the token may not do this; it needs write access to the repository",
    404: "there is no such repository, revision or file, or it is private and the token cannot see it; check the name, "
    "or log in with `hf auth login`",
    412: "somebody else keeps pushing in between; try again",
    429: "the hub asks to slow down; try again later",
}
MAX_QUOTED = 300  # characters of the hub's own message


def timeout() -> float:
    """Return the seconds without a byte after which a request to the hub fails (RB_HUB_TIMEOUT)."""
    return seconds_from_environment("RB_HUB_TIMEOUT", 60.0)


def seconds_from_environment(variable: str, default: float) -> float:
    """Return the seconds in an environment variable, above 0 and at most a day. Raises RewardBenchError otherwise."""
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= DAY:
        raise RewardBenchError(f"{variable} is {text!r}; set a number of seconds, at most a day")
    return seconds


def positive_integer(variable: str, text: str) -> int:
    """Return the number in an environment variable. Raises RewardBenchError unless it is whole and above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise RewardBenchError(f"{variable} is {text!r}; it must be a whole number above 0")
    return int(text)


def set_request_timeout() -> None:
    """Set a timeout for the client's session, which has none by default."""
    from huggingface_hub import get_session

    get_session().timeout = timeout()


def retrying(action: Callable[[], T], doing: str, *, tries: int = TRIES) -> T:
    """Call `action`, again after a wait when the hub is busy or does not answer. Raises HubError, in one line."""
    for attempt in range(1, tries + 1):
        try:
            return action()
        except client_errors() as error:
            if attempt == tries or not can_retry(error):
                raise HubError(f"{doing}: {explain(error)}") from None
            wait(attempt, error)
    raise AssertionError("unreachable: the last attempt returns or raises")


@contextmanager
def explaining_errors(what: str, advice: Mapping[int | None, str] | None = None) -> Iterator[None]:
    """Turn the client's errors inside the block into a HubError of one line with advice."""
    try:
        yield
    except client_errors() as error:
        raise HubError(f"{what}: {explain(error, advice)}") from None


def client_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the client; a failed upload is a RuntimeError."""
    return (RuntimeError, *hub_errors())


def can_retry(error: BaseException) -> bool:
    """Return True if another attempt can help: no answer, a cut answer, a busy hub, or a concurrent push."""
    status = status_of(error)
    if status is not None:
        return status == 412 or retries.is_transient(status)
    # Waiting changes neither a token nor a setting of this process.
    if _is_unsendable(error) or _is_offline(error):
        return False
    return _is_unanswered(error)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of the client, or None."""
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def is_missing(error: BaseException) -> bool:
    """Return True if the repository, revision or file does not exist or is hidden from the token."""
    from huggingface_hub.errors import RepositoryNotFoundError

    # Without a login the hub answers 401 for a hidden repository.
    return status_of(error) == 404 or any(isinstance(cause, RepositoryNotFoundError) for cause in _causes(error))


def explain(error: BaseException, advice: Mapping[int | None, str] | None = None, secret: str = "") -> str:
    """Return an error of the client in one line: cause, advice, and the hub's own message. Never headers or tokens.

    advice: by HTTP status, or None for no answer; overrides the advice for repositories. secret: a token to remove, in
    whatever form.
    """
    advice = {**_ADVICE, **(advice or {})}
    status = status_of(error)
    line = first_line(error, secret)
    if status is not None:
        default = "the hub has a problem of its own; try again later" if status >= 500 else "the hub refuses this"
        cause = advice.get(404 if is_missing(error) else status, default)
        message = redacted(_hub_message(error), secret)[:MAX_QUOTED]
        line = f"{cause} (HTTP {status}: {message})" if message else f"{cause} (HTTP {status})"
    elif _is_unsendable(error):
        line = "the token has a character that cannot be sent; log in with `hf auth login` or correct HF_TOKEN"
    elif _is_offline(error):
        line = "the hub's client is offline; unset HF_HUB_OFFLINE"
    elif _is_unanswered(error):
        line = f"the hub did not answer ({type(error).__name__}: {line}); {advice[None]}"
    return "".join(c if c.isprintable() else "?" for c in line)


def _hub_message(error: BaseException) -> str:
    """Return the first line of the message in the hub's answer; "" without a readable message."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        try:
            body = None if response is None else response.json()
        except (ValueError, RuntimeError):  # no JSON, or a body that was not read
            continue
        message = body.get("error") if isinstance(body, dict) else None
        if isinstance(message, str) and message.strip():
            return message.strip().splitlines()[0]
    return ""


def _is_offline(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return any(isinstance(cause, OfflineModeIsEnabled) for cause in _causes(error))


def _is_unanswered(error: BaseException) -> bool:
    return any(isinstance(cause, _transport_errors()) for cause in _causes(error))


def _is_unsendable(error: BaseException) -> bool:
    """Return True if the token cannot be sent in a header: the error then quotes the whole header."""
    quoted = ((str(cause), str(getattr(cause, "object", ""))) for cause in _causes(error))
    return any("Bearer " in text for texts in quoted for text in texts)


def wait(attempt: int, error: BaseException) -> None:
    """Wait after the `attempt`-th failure, at least as long as the hub requested."""
    headers = (getattr(getattr(cause, "response", None), "headers", {}) for cause in _causes(error))
    requested = max((retries.retry_after(header.get("Retry-After")) or 0.0 for header in headers), default=0.0)
    time.sleep(retries.next_wait(attempt, min(requested, LONGEST_REQUESTED_WAIT)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    cause: Any = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a failed connection: the HTTP library's and the system's."""
    from huggingface_hub.errors import HfHubHTTPError

    bases = [base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"]
    return (ConnectionError, TimeoutError, *bases)
