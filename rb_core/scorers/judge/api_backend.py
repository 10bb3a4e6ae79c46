"""Judges behind a server: any with OpenAI's chat completions, or an inference provider of the hub.

consumer's thread                                     thread with an event loop, while there are requests
takes a request when one may be sent  ------------->  budget -> HTTP -> further attempts until the deadline
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
from collections.abc import Awaitable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import httpx

from rb_core import retries
from rb_core.errors import ModelError, NotScoredError, first_line
from rb_core.scorers.judge.budget import Budget, BudgetLimits, Reservation
from rb_core.scorers.judge.chat_completions import (
    CHANGES,
    UnusableAnswerError,
    max_answer_bytes,
    parse_reply,
    request_body,
)
from rb_core.scorers.judge.http_session import Answer, Endpoint, HttpSession
from rb_core.scorers.judge.refusals import (
    Refusal,
    classify_refusal,
    needed_changes,
    refusal_message,
    status_of_error,
)
from rb_core.scorers.judge.types import (
    FAILED,
    FILTERED,
    NO_MESSAGE,
    NOT_JSON,
    REJECTED,
    SERVER_ERROR,
    TOO_LONG,
    Decoding,
    Reply,
    Request,
)

FIRST_CONTACT = 5.0  # seconds after which a server that fails every attempt from the beginning is given up
MAX_UNUSABLE = 3  # answers to a request that hold no reply but may be billed
MAX_HELD = 3  # failed requests after which a run ends if none was answered
_CONTINUE = "then run the same command again: answered requests are not sent again"

logger = logging.getLogger(__name__)


class ServedGenerator:
    """Replies of a server, which receives up to `concurrency` requests at a time.

    Args:
        base_url: address of an OpenAI-compatible server, as http://127.0.0.1:8000/v1. Its key is RB_JUDGE_API_KEY in
            the environment; no other credential is sent.
        fold_system: send the system message at the beginning of the user's.
        extra_body: further fields of every request.
        provider: inference provider of the hub ("auto" for any), used with the login of the hub's client. Exactly one
            of `base_url` and `provider` is given.
        deadline: seconds for a request, with all attempts and the waits between them.
        budget: account shared with other generators; by default a new one with `limits`.

    Raises ModelError for invalid arguments.
    """

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        *,
        base_url: str | None = None,
        provider: str | None = None,
        fold_system: bool = False,
        extra_body: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        deadline: float = 600.0,
        limits: BudgetLimits | None = None,
        budget: Budget | None = None,
    ) -> None:
        if (base_url is None) == (provider is None):
            raise ModelError("a judge needs a base URL or a provider: give one of the two")
        if concurrency < 1:
            raise ModelError(f"the concurrency has to be at least 1, not {concurrency}")
        if not math.isfinite(deadline) or deadline <= 0:
            raise ModelError(f"the deadline of a request has to be a positive number of seconds, not {deadline}")
        self.model, self.decoding, self.provider, self.extra_body = model, decoding, provider, extra_body
        self.concurrency, self.deadline, self.fold_system = concurrency, deadline, fold_system
        self.changes = frozenset({"system"} if fold_system else ())  # keys of CHANGES
        self.answered = False
        self.budget = budget or Budget(limits)
        self._server = None if base_url is None else Endpoint.of_server(base_url)
        self._open: weakref.WeakSet[Generator[tuple[int, Reply]]] = weakref.WeakSet()

    def generate(self, requests: Iterable[Request]) -> Generator[tuple[int, Reply]]:
        """Yield (index of the request, reply) in the order of arrival. Closing the iterator cancels all requests.

        The iterable is read in the consumer's thread. ModelError, BudgetSpent among them, is raised after all requests
        on their way have arrived and were yielded; nothing is sent in the meantime.
        """
        replies = self._replies(enumerate(requests))
        self._open.add(replies)
        return replies

    def continue_from(self, replies: Sequence[Reply]) -> None:
        """Take note that an unfinished run has these replies: changes that all of them needed are made at once."""
        if replies:
            self.answered = True
            self.changes |= frozenset.intersection(*(frozenset(reply.changes) for reply in replies))

    def describe(self) -> dict[str, Any]:
        """Return backend and model; never an address, which may hold a key and may change between two starts."""
        settings: dict[str, Any] = {"backend": self.provider or "served", "source": self.model}
        settings |= {"system_role": "fold"} if self.fold_system else {}
        return settings | ({"extra_body": dict(self.extra_body)} if self.extra_body else {})

    def endpoint(self) -> Endpoint:
        """Return where requests are sent. Raises ModelError for a provider without a login."""
        return self._server or Endpoint.of_provider(self.provider or "auto")

    @property
    def remote_name(self) -> str:
        """Name of the model for the endpoint, which has the provider's name after a colon."""
        return self.model if self.provider in (None, "auto") else f"{self.model}:{self.provider}"

    def close(self) -> None:
        """End every iterator that is not exhausted."""
        for replies in list(self._open):
            replies.close()

    def _replies(self, requests: Iterator[tuple[int, Request]]) -> Generator[tuple[int, Reply]]:
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


class _Sender:
    """An event loop in a thread of its own with one HTTP session.

    `submit` and `stopped` are used in the consumer's thread, everything else in the loop's.
    """

    def __init__(self, generator: ServedGenerator) -> None:
        self.generator, self.budget = generator, generator.budget
        self.arrived: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
        self._endpoint = generator.endpoint()
        self._session = HttpSession(self._endpoint, generator.concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished, self._stop = asyncio.Event(), asyncio.Event()
        self._budget_changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._hold_until = 0.0
        self._warned: set[str] = set()
        self._first_attempt, self._last_answer = math.inf, -math.inf  # time.monotonic()
        self._open_attempts: dict[Reservation, float] = {}  # when they began

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

    def submit(self, index: int, request: Request) -> None:
        """Submit a request; (index, reply or exception) is put on `arrived`."""
        self._loop.call_soon_threadsafe(self._start, index, request)

    def _start(self, index: int, request: Request) -> None:
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

    async def _process(self, index: int, request: Request) -> None:
        try:
            outcome: Reply | BaseException = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - raised in the consumer's thread
            self._stop.set()
            outcome = error
        self.arrived.put((index, outcome))

    async def _answer(self, request: Request) -> Reply:
        """Return a reply after as many attempts as fit before the deadline, which runs from the first one."""
        attempts, unusable, started, failure = 0, 0, math.inf, _Retry("no attempt")
        own_changes: frozenset[str] = frozenset()
        while True:
            reservation = await self._reserve(request)
            started = min(started, time.monotonic())
            seconds = time.monotonic() - started
            left = self.generator.deadline - seconds
            if left <= 0:
                self._settle(reservation, None, billed=False)
                return self._give_up(failure, started)._replace(seconds=seconds, attempts=attempts)
            attempts += 1
            changes = self.generator.changes | own_changes
            began = time.monotonic()
            outcome = await self._attempt(request, reservation, left, changes)
            seconds = time.monotonic() - started
            if isinstance(outcome, Reply):
                return outcome._replace(seconds=seconds, attempts=attempts)
            if seconds < self.generator.deadline or attempts == 1:  # else the deadline has cut the attempt
                failure = outcome
            self._check_start(failure, began)
            # a body that is not JSON may be a cut answer, or a gateway's page while the server is down
            unusable += bool(failure.unusable) and not (failure.unusable == NOT_JSON and self.generator.answered)
            if unusable >= MAX_UNUSABLE:
                return Reply(failure.words, error=failure.unusable, seconds=seconds, attempts=attempts)
            own_changes |= failure.changes
            if not failure.changes:
                deadline = f"trying again for up to {self.generator.deadline:g} s per request"
                self._warn("attempt", f"{failure.reason}; {deadline}")
                wait = retries.next_wait(attempts, failure.after)
                await self._pause(min(wait, max(self.generator.deadline - seconds, 0.0)))

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
                f"{self._endpoint.shown} has answered no request for {self.generator.deadline:g} s "
                f"({failure.words or failure.reason}); wait until it is back, {_CONTINUE}"
            )
        return Reply(failure.words or failure.reason, error=failure.unusable or SERVER_ERROR)

    def no_answer(self, reply: Reply) -> NotScoredError:
        """Return the error of a run whose first requests all failed, one of them with this reply."""
        words = f" ({reply.text})" if reply.text else ""
        return NotScoredError(f"{self._endpoint.shown}: {reply.error}{words}; no request was answered")

    async def _reserve(self, request: Request) -> Reservation:
        """Wait while the server asks to, and for the budget, in the order of submission.

        Raises BudgetSpent, and _NotSentError if another request met an error in the meantime.
        """
        while (wait := self._hold_until - time.monotonic()) > 0:
            await self._pause(wait + random.uniform(0, retries.FIRST_WAIT))
        async with self._turn:
            while not self.stopped:
                self._budget_changed.clear()
                reservation = self.budget.reserve(request)
                if reservation is not None:
                    return reservation
                # a generator that shares the budget does not set this one's event
                await _happens_within(1.0, self._budget_changed.wait())
        raise _NotSentError

    def _settle(self, reservation: Reservation, reply: Reply | None, *, billed: bool) -> None:
        if billed:
            self.budget.settle(reservation, reply)
        else:
            self.budget.release(reservation)
        self._budget_changed.set()

    async def _pause(self, seconds: float) -> None:
        if await _happens_within(seconds, self._stop.wait()):
            raise _NotSentError

    def _warn(self, kind: str, message: str) -> None:
        """Log the first message of a kind: nothing else is visible until the deadline."""
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("%s: %s", self._endpoint.shown, message)

    async def _attempt(
        self, request: Request, reservation: Reservation, seconds: float, changes: frozenset[str]
    ) -> Reply | _Retry:
        """Send a request once. Raises ModelError for an error that every request would meet."""
        generator = self.generator
        body = request_body(generator.remote_name, request, generator.decoding, changes, generator.extra_body)
        self._open_attempts[reservation] = time.monotonic()
        self._first_attempt = min(self._first_attempt, time.monotonic())
        reply, billed = None, True  # also if this is cancelled: the server may bill what it was sent
        try:
            async with asyncio.timeout(seconds):
                answer = await self._session.post(body, max_answer_bytes(request))
            billed = answer.status < 400
            if not billed:
                return self._refused(answer, request, changes)
            try:
                reply = parse_reply(answer.content, request)._replace(changes=tuple(sorted(changes)))
            except UnusableAnswerError as error:
                return self._unusable(answer, request, changes, str(error))
            self._last_answer, generator.answered = time.monotonic(), True
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

    def _unusable(self, answer: Answer, request: Request, changes: frozenset[str], reason: str) -> Reply | _Retry:
        """Return the outcome of an answer without a reply, which may be an error with status 200."""
        status = status_of_error(answer.text) if reason == NO_MESSAGE else None
        if status is not None:
            return self._refused(answer._replace(status=status), request, changes)
        return _Retry(reason, unusable=reason)

    def _refused(self, answer: Answer, request: Request, changes: frozenset[str]) -> Reply | _Retry:
        """Return the outcome of a refusal. Raises ModelError for one that every request would meet."""
        refusal = classify_refusal(answer.status, answer.text, request)
        message = self._endpoint.hide_secrets(refusal_message(answer.text))
        words = f"HTTP {answer.status}: {message}" if message else f"HTTP {answer.status}"
        if refusal == "transient":
            after = retries.retry_after(answer.retry_after)
            if answer.status == 429:
                after = after or 0.0
                # requests that wait would be refused as well
                self._hold_until = max(self._hold_until, time.monotonic() + min(after, self.generator.deadline))
            return _Retry(f"HTTP {answer.status}", words, after, is_away=answer.status in retries.AWAY_STATUSES)
        if refusal in ("too long", "filtered"):
            return Reply(words, error=TOO_LONG if refusal == "too long" else FILTERED)
        if answer.status != 401 and refusal != "no quota":
            if needed := needed_changes(answer.text, request, changes):
                for change in sorted(needed):
                    self._warn(change, CHANGES[change])
                if not self.generator.answered:  # else other requests do without the change
                    self.generator.changes |= needed
                return _Retry(words, changes=needed)
            if self.generator.answered:
                return Reply(words, error=REJECTED)
        if error := self._global_error(refusal, words):
            raise error
        return Reply(words, error=REJECTED)

    def _global_error(self, refusal: Refusal, words: str) -> ModelError | None:
        """Return the error of a refusal that every request would meet; None if this one may be special."""
        shown, model = self._endpoint.shown, self.generator.model
        if refusal == "no quota":
            return NotScoredError(f"{shown} has no quota left for this key ({words}); renew it, {_CONTINUE}")
        errors = {
            "no key": f"{shown} refuses the key ({words}); {self._endpoint.advice}",
            "no model": f"{shown} has no model {model!r} ({words}) at {self._endpoint.path}; check its name and the "
            "address",
            "no schema": f"{shown} does not support a JSON Schema for replies ({words}); leave --structured out",
            "no logprobs": f"{shown} does not give the requested log-probabilities ({words}); "
            "--mode logprob needs a server that does",
        }
        return ModelError(errors[refusal]) if refusal in errors else None


async def _happens_within(seconds: float, event: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True
