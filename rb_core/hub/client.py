"""The hub's client: what it raises, what that means in a line, and how long the hub is waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from rb_core import retries
from rb_core.errors import HubError, first_line, hub_errors, redacted

T = TypeVar("T")

TRIES = 8
LONGEST_REQUESTED_WAIT = 300.0  # seconds; the hub is not waited for longer, whatever it asks

# What to do, by HTTP status; by None where there was no answer.
_ADVICE: Mapping[int | None, str] = {
    None: "check the connection",
    401: "the hub does not know the token; log in with `hf auth login` or set HF_TOKEN",
    403: "the token may not do this; it needs write access to the repository",
    404: "there is no such repository, revision or file, or it is private and the token cannot see it; check the name, "
    "or log in with `hf auth login`",
    412: "somebody else keeps pushing in between; try again",
    429: "the hub asks to slow down; try again later",
}
MAX_WORDS = 300  # characters of what the hub says


def timeout() -> float:
    """Seconds without a byte after which a request to the hub is given up (RB_HUB_TIMEOUT)."""
    return float(os.environ.get("RB_HUB_TIMEOUT", "60"))


def bound_waiting() -> None:
    """Let no request of the client wait for ever: its own session has no limit."""
    from huggingface_hub import get_session

    get_session().timeout = timeout()


def retrying(action: Callable[[], T], doing: str, *, tries: int = TRIES) -> T:
    """Do it, again after a wait when the hub was busy or did not answer. Raises HubError, in one line."""
    for number in range(1, tries + 1):
        try:
            return action()
        except client_errors() as error:
            if number == tries or not is_passing(error):
                raise HubError(f"{doing}: {explained(error)}") from None
            wait(number, error)
    raise AssertionError("unreachable: the last try returns or raises")


@contextmanager
def asking(what: str, advice: Mapping[int | None, str] | None = None) -> Iterator[None]:
    """What the client raises inside becomes a HubError that says, in one line, what was asked and what to do."""
    try:
        yield
    except client_errors() as error:
        raise HubError(f"{what}: {explained(error, advice)}") from None


def client_errors() -> tuple[type[Exception], ...]:
    """What the client raises; for an upload that failed it is a RuntimeError."""
    return (RuntimeError, *hub_errors())


def is_passing(error: BaseException) -> bool:
    """Whether trying again can help: no answer, an answer cut short, too busy, or somebody else's push in between."""
    status = status_of(error)
    if status is not None:
        return status == 412 or retries.is_transient(status)
    # Neither a token nor a setting of this process gets better by waiting.
    if _is_unsendable(error) or _is_offline(error):
        return False
    return _is_unanswered(error)


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error of the client, where there is one."""
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def is_missing(error: BaseException) -> bool:
    """Whether the repository or a part of it is not there, as far as the token can see."""
    from huggingface_hub.errors import RepositoryNotFoundError

    # The hub hides a repository from somebody who is not logged in by asking for a login: 401.
    return status_of(error) == 404 or any(isinstance(cause, RepositoryNotFoundError) for cause in _causes(error))


def explained(error: BaseException, advice: Mapping[int | None, str] | None = None, secret: str = "") -> str:
    """An error of the client in one line: what happened, what to do, what the hub says. Never headers or tokens.

    advice: by HTTP status, or None for no answer, what to do where it is something else than with a repository; secret:
    a token that is taken out even where it does not look like one.
    """
    known = {**_ADVICE, **(advice or {})}
    status = status_of(error)
    said = first_line(error, secret)
    if status is not None:
        otherwise = "the hub has a problem of its own; try again later" if status >= 500 else "the hub refuses this"
        what = known.get(404 if is_missing(error) else status, otherwise)
        words = redacted(_words(error), secret)[:MAX_WORDS]
        said = f"{what} (HTTP {status}: {words})" if words else f"{what} (HTTP {status})"
    elif _is_unsendable(error):
        said = "the token has a character that cannot be sent; log in with `hf auth login` or correct HF_TOKEN"
    elif _is_offline(error):
        said = "the hub's client is offline; unset HF_HUB_OFFLINE"
    elif _is_unanswered(error):
        said = f"the hub did not answer ({type(error).__name__}: {said}); {known[None]}"
    return "".join(c if c.isprintable() else "?" for c in said)


def _words(error: BaseException) -> str:
    """The first line of what the body of the hub's answer says; "" where it says nothing that can be read."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        try:
            body = None if response is None else response.json()
        except (ValueError, RuntimeError):  # no JSON, or a body that was not read
            continue
        said = body.get("error") if isinstance(body, dict) else None
        if isinstance(said, str) and said.strip():
            return said.strip().splitlines()[0]
    return ""


def _is_offline(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return any(isinstance(cause, OfflineModeIsEnabled) for cause in _causes(error))


def _is_unanswered(error: BaseException) -> bool:
    return any(isinstance(cause, _transport_errors()) for cause in _causes(error))


def _is_unsendable(error: BaseException) -> bool:
    """Whether the token cannot stand in a header: what is then raised holds the whole header."""
    held = ((str(cause), str(getattr(cause, "object", ""))) for cause in _causes(error))
    return any("Bearer " in text for texts in held for text in texts)


def wait(number: int, error: BaseException) -> None:
    """Wait after the `number`-th failure, at least as long as the hub requested."""
    headers = (getattr(getattr(cause, "response", None), "headers", {}) for cause in _causes(error))
    requested = max((retries.retry_after(each.get("Retry-After")) or 0.0 for each in headers), default=0.0)
    time.sleep(retries.next_wait(number, min(requested, LONGEST_REQUESTED_WAIT)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    seen: Any = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _transport_errors() -> tuple[type[Exception], ...]:
    """The client's HTTP library's error for a connection that failed, and the system's own."""
    from huggingface_hub.errors import HfHubHTTPError

    bases = [base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"]
    return (ConnectionError, TimeoutError, *bases)
