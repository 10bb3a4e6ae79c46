"""Requests to a server: many at a time, tried again until a deadline, ended by an error that all of them would meet.

consumer's thread                                     thread with an event loop, while there are requests
takes a request when one may be sent  ------------->  account -> HTTP -> further attempts until the deadline
yields replies as they arrive         <-------------  a reply, or an error that every request would meet
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import random
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Generator, Hashable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import httpx

from rb_core import retries
from rb_core.errors import ModelError, NotScoredError, first_line
from rb_core.results.failures import FAILED, FILTERED, NO_MESSAGE, NO_SCORE, NOT_JSON, REJECTED, SERVER_ERROR
from rb_core.scorers.http.refusals import Refusal, classify_refusal, refusal_message, status_of_error
from rb_core.scorers.http.replies import Reply, UnusableAnswerError
from rb_core.scorers.http.session import Answer, Endpoint, HttpSession

FIRST_CONTACT = 5.0  # seconds after which a server that fails every attempt from the beginning is given up
MAX_UNUSABLE = 3  # answers to a request that hold no reply but may be billed
MAX_FAILURES_IN_A_ROW = 32  # requests without an answer after which a run stops: the server is down
MAX_HELD = 3  # failed requests after which a run ends if none was answered
_UNANSWERED = FAILED - {FILTERED, REJECTED}  # by a server that may be down
_CONTINUE = "then run the same command again: answered requests are not sent again"

logger = logging.getLogger(__name__)

RequestT = TypeVar("RequestT")


class Account(Protocol):
    """An account that each attempt is booked on, such as a judge's budget."""

    def reserve(self, request: Any) -> Hashable | None:
        """Return a reservation; None while others have to be settled first."""
        ...

    def settle(self, reservation: Any, reply: Reply | None) -> None:
        """Book what an attempt took."""
        ...

    def release(self, reservation: Any) -> None:
        """Cancel the reservation of an attempt that costs nothing."""
        ...


class NoAccount:
    """The account of requests that cost nothing."""

    def reserve(self, request: Any) -> Hashable:
        return object()

    def settle(self, reservation: Any, reply: Reply | None) -> None:
        """Book nothing."""

    def release(self, reservation: Any) -> None:
        """Book nothing."""


class HttpClient(ABC, Generic[RequestT]):
    """Requests to a server, which receives up to `concurrency` of them at a time. A subclass says what they are.

    Args:
        model: name of the model for the server.
        deadline: seconds for a request, with all attempts and the waits between them.
        account: of the requests; by default they cost nothing.

    answered: the server has answered a request; changes: of the usual form of requests, by name, that it asked for.

    Raises ModelError for invalid arguments.
    """

    too_long: ClassVar[str]  # the reason why a request that the server finds too long has no answer

    def __init__(
        self, model: str, *, concurrency: int = 64, deadline: float = 600.0, account: Account | None = None
    ) -> None:
        if concurrency < 1:
            raise ModelError(f"the concurrency has to be at least 1, not {concurrency}")
        if not math.isfinite(deadline) or deadline <= 0:
            raise ModelError(f"the deadline of a request has to be a positive number of seconds, not {deadline}")
        self.model, self.concurrency, self.deadline = model, concurrency, deadline
        self.account: Account = account or NoAccount()
        self.changes: frozenset[str] = frozenset()
        self.answered = False
        self._open: weakref.WeakSet[Generator[tuple[int, Reply]]] = weakref.WeakSet()

    # ---- to be implemented for a kind of request

    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Return where requests are sent. Raises ModelError without the credentials that it needs."""

    @abstractmethod
    def body(self, request: RequestT, changes: frozenset[str]) -> Mapping[str, Any]:
        """Return the JSON body of a request."""

    @abstractmethod
    def max_answer_bytes(self, request: RequestT) -> int:
        """Return the number of bytes that no sensible answer to the request exceeds."""

    @abstractmethod
    def reply(self, answer: Answer, request: RequestT) -> Reply:
        """Return the reply in an answer. Raises UnusableAnswerError without one, ModelError if retries cannot help."""

    def refusal(self, answer: Answer, request: RequestT) -> Refusal:
        """Return the meaning of an answer with another status than success."""
        return classify_refusal(answer.status, answer.text)

    def needed_changes(self, answer: Answer, request: RequestT, changes: frozenset[str]) -> Mapping[str, str]:
        """Return the changes of a request's form that its refusal asks for, with a description of each."""
        return {}

    def global_errors(self, words: str) -> Mapping[Refusal, str]:
        """Return the messages of refusals that every request would meet. words: of the server."""
        endpoint = self.endpoint()
        return {
            "no key": f"{endpoint.shown} refuses the key ({words}); {endpoint.advice}",
            "no model": f"{endpoint.shown} has no model {self.model!r} ({words}) at {endpoint.path}; check its name "
            "and the address",
        }

    # ---- for those who ask

    def generate(self, requests: Iterable[RequestT]) -> Generator[tuple[int, Reply]]:
        """Yield (index of the request, reply) in the order of arrival. Closing the iterator cancels all requests.

        The iterable is read in the consumer's thread. ModelError is raised after all requests on their way have
        arrived and were yielded; nothing is sent in the meantime.
        """
        replies = self._while_up(self._replies(enumerate(requests)))
        self._open.add(replies)
        return replies

    def close(self) -> None:
        """End every iterator that is not exhausted."""
        for replies in list(self._open):
            replies.close()

    def _while_up(self, replies: Generator[tuple[int, Reply]]) -> Generator[tuple[int, Reply]]:
        """Yield the replies. Raises NotScoredError after many requests in a row without an answer."""
        failures = 0
        with closing(replies):
            for index, reply in replies:
                yield index, reply
                failures = failures + 1 if reply.error in _UNANSWERED else 0
                if failures >= MAX_FAILURES_IN_A_ROW:
                    words = f" ({reply.text})" if reply.text else ""
                    raise NotScoredError(
                        f"{self.endpoint().shown}: {failures} requests in a row had no answer, the last after "
                        f"{reply.attempts} attempts{words}; wait until the server is back, {_CONTINUE}"
                    )

    def _replies(self, requests: Iterator[tuple[int, RequestT]]) -> Generator[tuple[int, Reply]]:
        error: BaseException | None = None
        held: list[tuple[int, Reply]] = []  # failed before any was answered: it may be the request, or the server
        in_flight, more = 0, True
        with _Sender(self) as sender:
            while True:
                allowed = self.concurrency if not held else int(len(held) < MAX_HELD)
                while more and in_flight < allowed and not sender.stopped:
                    index, request = next(requests, (-1, None))
                    if request is None:
                        more = False
                        break
                    sender.submit(index, request)
                    in_flight += 1
                    if not sender.arrived.empty():  # yield a reply for each request, also if further replies wait
                        break
                if not in_flight:
                    break
                index, outcome = sender.arrived.get()
                in_flight -= 1
                if isinstance(outcome, Reply):
                    if outcome.error in FAILED - {FILTERED} and not self.answered:
                        held.append((index, outcome))
                        continue
                    if self.answered:
                        yield from held
                        held.clear()
                    yield index, outcome
                elif not isinstance(outcome, _NotSentError):
                    error = error or outcome
        if error is None and held:
            error = sender.no_answer(held[0][1])
        if error is not None:
            raise error


class _NotSentError(Exception):
    """A request that was not sent, or not again, after an error that every request would meet."""


class _Retry(NamedTuple):
    """A failed attempt."""

    reason: str
    words: str = ""  # of the server; they may repeat the request's text
    after: float | None = None  # seconds that the server asked to wait
    is_away: bool = False  # the server did not take the request, whatever it asks
    unusable: str = ""  # the reason why an answer holds no reply
    changes: frozenset[str] = frozenset()  # of the request's form that the server asks for; no need to wait


class _Sender(Generic[RequestT]):
    """An event loop in a thread of its own with one HTTP session.

    `submit` and `stopped` are used in the consumer's thread, everything else in the loop's.
    """

    def __init__(self, client: HttpClient[RequestT]) -> None:
        self.client, self.account = client, client.account
        self.arrived: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
        self._endpoint = client.endpoint()
        self._session = HttpSession(self._endpoint, client.concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished, self._stop = asyncio.Event(), asyncio.Event()
        self._account_changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._hold_until = 0.0
        self._warned: set[str] = set()
        self._first_attempt, self._last_answer = math.inf, -math.inf  # time.monotonic()
        self._open_attempts: dict[Hashable, float] = {}  # when they began

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._finished.set)
        # an iterator that nobody holds can be collected in any thread, this one included
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def stopped(self) -> bool:
        """True once an error has occurred that every request would meet."""
        return self._stop.is_set()

    def submit(self, index: int, request: RequestT) -> None:
        """Submit a request; (index, reply or exception) is put on `arrived`."""
        self._loop.call_soon_threadsafe(self._start, index, request)

    def _start(self, index: int, request: RequestT) -> None:
        task = self._loop.create_task(self._process(index, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        async with self._session:
            await self._finished.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _process(self, index: int, request: RequestT) -> None:
        try:
            outcome: Reply | BaseException = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - raised in the consumer's thread
            self._stop.set()
            outcome = error
        self.arrived.put((index, outcome))

    async def _answer(self, request: RequestT) -> Reply:
        """Return a reply after as many attempts as fit before the deadline, which runs from the first one."""
        attempts, unusable, started, failure = 0, 0, math.inf, _Retry("no attempt")
        own_changes: frozenset[str] = frozenset()
        while True:
            reservation = await self._reserve(request)
            started = min(started, time.monotonic())
            seconds = time.monotonic() - started
            left = self.client.deadline - seconds
            if left <= 0:
                self._settle(reservation, None, billed=False)
                return self._give_up(failure, started)._replace(seconds=seconds, attempts=attempts)
            attempts += 1
            changes = self.client.changes | own_changes
            began = time.monotonic()
            outcome = await self._attempt(request, reservation, left, changes)
            seconds = time.monotonic() - started
            if isinstance(outcome, Reply):
                return outcome._replace(seconds=seconds, attempts=attempts)
            if seconds < self.client.deadline or attempts == 1:  # else the deadline has cut the attempt
                failure = outcome
            self._check_start(failure, began)
            # a body that is not JSON may be a cut answer, or a gateway's page while the server is down
            unusable += bool(failure.unusable) and not (failure.unusable == NOT_JSON and self.client.answered)
            if unusable >= MAX_UNUSABLE:
                return Reply(failure.words, error=failure.unusable, seconds=seconds, attempts=attempts)
            own_changes |= failure.changes
            if not failure.changes:
                deadline = f"trying again for up to {self.client.deadline:g} s per request"
                self._warn("attempt", f"{failure.reason}; {deadline}")
                wait = retries.next_wait(attempts, failure.after)
                await self._pause(min(wait, max(self.client.deadline - seconds, 0.0)))

    def _check_start(self, failure: _Retry, began: float) -> None:
        """Raise NotScoredError if all attempts since the start have failed at once, and the server is working on none.

        began: of the attempt that failed.
        """
        now = time.monotonic()
        if self._last_answer > -math.inf or now - self._first_attempt < FIRST_CONTACT:
            return
        starts = [*self._open_attempts.values(), *([] if failure.is_away else [began])]
        is_working = any(now - start > FIRST_CONTACT / 5 for start in starts)
        is_particular = failure.after is not None or failure.unusable or failure.changes
        if not is_working and not is_particular:
            raise NotScoredError(
                f"{self._endpoint.shown} answers no request ({failure.words or failure.reason}); start the server or "
                f"correct the address, {_CONTINUE}"
            )

    def _give_up(self, failure: _Retry, started: float) -> Reply:
        """Return the failure of a request at its deadline. Raises NotScoredError if the server is away."""
        if failure.is_away and self._last_answer < started:
            raise NotScoredError(
                f"{self._endpoint.shown} has answered no request for {self.client.deadline:g} s "
                f"({failure.words or failure.reason}); wait until it is back, {_CONTINUE}"
            )
        return Reply(failure.words or failure.reason, error=failure.unusable or SERVER_ERROR)

    def no_answer(self, reply: Reply) -> NotScoredError:
        """Return the error of a run whose first requests all failed, one of them with this reply."""
        words = f" ({reply.text})" if reply.text else ""
        return NotScoredError(f"{self._endpoint.shown}: {reply.error}{words}; no request was answered")

    async def _reserve(self, request: RequestT) -> Hashable:
        """Wait while the server asks to, and for the budget, in the order of submission.

        Raises BudgetSpent, and _NotSentError if another request met an error in the meantime.
        """
        while (wait := self._hold_until - time.monotonic()) > 0:
            await self._pause(wait + random.uniform(0, retries.FIRST_WAIT))
        async with self._turn:
            while not self.stopped:
                self._account_changed.clear()
                reservation = self.account.reserve(request)
                if reservation is not None:
                    return reservation
                # a generator that shares the budget does not set this one's event
                await _happens_within(1.0, self._account_changed.wait())
        raise _NotSentError

    def _settle(self, reservation: Hashable, reply: Reply | None, *, billed: bool) -> None:
        if billed:
            self.account.settle(reservation, reply)
        else:
            self.account.release(reservation)
        self._account_changed.set()

    async def _pause(self, seconds: float) -> None:
        if await _happens_within(seconds, self._stop.wait()):
            raise _NotSentError

    def _warn(self, kind: str, message: str) -> None:
        """Log the first message of a kind: nothing else is visible until the deadline."""
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("%s: %s", self._endpoint.shown, message)

    async def _attempt(
        self, request: RequestT, reservation: Hashable, seconds: float, changes: frozenset[str]
    ) -> Reply | _Retry:
        """Send a request once. Raises ModelError for an error that every request would meet."""
        body = self.client.body(request, changes)
        self._open_attempts[reservation] = time.monotonic()
        self._first_attempt = min(self._first_attempt, time.monotonic())
        reply, billed = None, True  # also if this is cancelled: the server may bill what it was sent
        try:
            async with asyncio.timeout(seconds):
                answer = await self._session.post(body, self.client.max_answer_bytes(request))
            billed = answer.status < 400
            if not billed:
                return self._refused(answer, request, changes)
            try:
                reply = self.client.reply(answer, request)._replace(changes=tuple(sorted(changes)))
            except UnusableAnswerError as error:
                return self._unusable(answer, request, changes, str(error))
            self._last_answer, self.client.answered = time.monotonic(), True
            return reply
        except UnusableAnswerError as error:  # an answer that was not read
            return _Retry(str(error), unusable=str(error))
        except httpx.InvalidURL:
            billed = False
            raise ModelError(f"{self._endpoint.shown} is not a valid address") from None
        except (TimeoutError, httpx.RequestError) as error:
            is_away = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            billed = not is_away
            message = self._endpoint.hide_secrets(first_line(error))
            return _Retry(f"no answer ({type(error).__name__}: {message})", is_away=is_away)
        finally:
            del self._open_attempts[reservation]
            self._settle(reservation, reply, billed=billed)

    def _unusable(self, answer: Answer, request: RequestT, changes: frozenset[str], reason: str) -> Reply | _Retry:
        """Return the outcome of an answer without a reply, which may be an error with status 200."""
        status = status_of_error(answer.text) if reason in (NO_MESSAGE, NO_SCORE) else None
        if status is not None:
            return self._refused(answer._replace(status=status), request, changes)
        return _Retry(reason, unusable=reason)

    def _refused(self, answer: Answer, request: RequestT, changes: frozenset[str]) -> Reply | _Retry:
        """Return the outcome of a refusal. Raises ModelError for one that every request would meet."""
        refusal = self.client.refusal(answer, request)
        message = self._endpoint.hide_secrets(refusal_message(answer.text))
        words = f"HTTP {answer.status}: {message}" if message else f"HTTP {answer.status}"
        if refusal == "transient":
            after = retries.retry_after(answer.headers.get("retry-after"))
            if answer.status == 429:
                after = after or 0.0
                # requests that wait would be refused as well
                self._hold_until = max(self._hold_until, time.monotonic() + min(after, self.client.deadline))
            return _Retry(f"HTTP {answer.status}", words, after, is_away=answer.status in retries.AWAY_STATUSES)
        if refusal in ("too long", "filtered"):
            return Reply(words, error=self.client.too_long if refusal == "too long" else FILTERED)
        if answer.status != 401 and refusal != "no quota":
            if needed := self.client.needed_changes(answer, request, changes):
                for change, description in sorted(needed.items()):
                    self._warn(change, description)
                if not self.client.answered:  # else other requests do without the change
                    self.client.changes |= needed.keys()
                return _Retry(words, changes=frozenset(needed))
            if self.client.answered:
                return Reply(words, error=REJECTED)
        if error := self._global_error(refusal, words):
            raise error
        return Reply(words, error=REJECTED)

    def _global_error(self, refusal: Refusal, words: str) -> ModelError | None:
        """Return the error of a refusal that every request would meet; None if this one may be special."""
        if refusal == "no quota":
            shown = self._endpoint.shown
            return NotScoredError(f"{shown} has no quota left for this key ({words}); renew it, {_CONTINUE}")
        errors = self.client.global_errors(words)
        return ModelError(errors[refusal]) if refusal in errors else None


async def _happens_within(seconds: float, event: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True
