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
from collections.abc import Awaitable, Generator, Iterable, Iterator
from typing import Any, NamedTuple, Self

import httpx

from rb_core import retries
from rb_core.errors import ModelError, first_line
from rb_core.scorers.judge.budget import Budget, BudgetLimits, Reservation
from rb_core.scorers.judge.chat_completions import (
    UnusableAnswerError,
    classify_refusal,
    max_answer_bytes,
    parse_reply,
    refusal_message,
    request_body,
)
from rb_core.scorers.judge.http_session import Answer, Endpoint, HttpSession
from rb_core.scorers.judge.types import SERVER_ERROR, TOO_LONG, Decoding, Reply, Request

logger = logging.getLogger(__name__)


class ServedGenerator:
    """Replies of a server, which receives up to `concurrency` requests at a time.

    Args:
        base_url: address of an OpenAI-compatible server, as http://127.0.0.1:8000/v1. Its key is RB_JUDGE_API_KEY in
            the environment; no other credential is sent.
        provider: inference provider of the hub ("auto" for any), used with the login of the hub's client. Exactly one
            of `base_url` and `provider` is given.
        deadline: seconds for a request, with all attempts and the waits between them.
        request_timeout: seconds for an attempt.
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
        concurrency: int = 64,
        deadline: float = 600.0,
        request_timeout: float = 300.0,
        limits: BudgetLimits | None = None,
        budget: Budget | None = None,
    ) -> None:
        if (base_url is None) == (provider is None):
            raise ModelError("a judge needs a base URL or a provider: give one of the two")
        if concurrency < 1:
            raise ModelError(f"the concurrency has to be at least 1, not {concurrency}")
        for name, seconds in (("deadline", deadline), ("timeout", request_timeout)):
            if not math.isfinite(seconds) or seconds <= 0:
                raise ModelError(f"the {name} of a request has to be a positive number of seconds, not {seconds}")
        self.model, self.decoding, self.provider = model, decoding, provider
        self.concurrency, self.deadline, self.request_timeout = concurrency, deadline, request_timeout
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

    def describe(self) -> dict[str, Any]:
        """Return backend and model; never an address, which may hold a key and may change between two starts."""
        return {"backend": self.provider or "served", "source": self.model}

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
        in_flight, more = 0, True
        with _Sender(self) as sender:
            while True:
                while more and in_flight < self.concurrency and not sender.stopped:
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
                    yield index, outcome
                elif not isinstance(outcome, _NotSentError):
                    error = error or outcome
        if error is not None:
            raise error


class _NotSentError(Exception):
    """A request that was not sent, or not again, after an error that every request would meet."""


class _Retry(NamedTuple):
    """A failed attempt. `after` holds the seconds that the server asked to wait."""

    reason: str
    after: float | None = None


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
        self._warned = False

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
        attempts, started = 0, math.inf
        while True:
            reservation = await self._reserve(request)
            started = min(started, time.monotonic())
            left = self.generator.deadline - (time.monotonic() - started)
            if left <= 0:
                self._settle(reservation, None, billed=False)
                return Reply(error=SERVER_ERROR, seconds=time.monotonic() - started, attempts=attempts)
            attempts += 1
            outcome = await self._attempt(request, reservation, min(left, self.generator.request_timeout))
            if isinstance(outcome, Reply):
                return outcome._replace(seconds=time.monotonic() - started, attempts=attempts)
            self._warn(outcome.reason)
            left = self.generator.deadline - (time.monotonic() - started)
            await self._pause(min(retries.next_wait(attempts, outcome.after), max(left, 0.0)))

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

    def _warn(self, reason: str) -> None:
        """Log the first failed attempt: nothing else is visible until the deadline."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s: %s; trying again for up to %g s per request",
                self._endpoint.shown,
                reason,
                self.generator.deadline,
            )

    async def _attempt(self, request: Request, reservation: Reservation, seconds: float) -> Reply | _Retry:
        """Send a request once. Raises ModelError for an error that every request would meet."""
        body = request_body(self.generator.remote_name, request, self.generator.decoding)
        reply, billed = None, True  # also if this is cancelled: the server may bill what it was sent
        try:
            async with asyncio.timeout(seconds):
                answer = await self._session.post(body, max_answer_bytes(request))
            if answer.status >= 400:
                billed = False
                return self._refused(answer, request)
            reply = parse_reply(answer.content, request)
            return reply
        except UnusableAnswerError as error:
            return _Retry(str(error))
        except httpx.InvalidURL:
            billed = False
            raise ModelError(f"{self._endpoint.shown} is not a valid address") from None
        except (TimeoutError, httpx.RequestError) as error:
            billed = not isinstance(error, httpx.ConnectError)
            message = self._endpoint.hide_secrets(first_line(error))
            return _Retry(f"no answer ({type(error).__name__}: {message})")
        finally:
            self._settle(reservation, reply, billed=billed)

    def _refused(self, answer: Answer, request: Request) -> Reply | _Retry:
        """Return the outcome of a refusal. Raises ModelError for one that every request would meet."""
        shown, model = self._endpoint.shown, self.generator.model
        refusal = classify_refusal(answer.status, answer.text, request)
        if refusal == "transient":
            after = retries.retry_after(answer.retry_after)
            if answer.status == 429 and after is not None:  # requests that wait would be refused as well
                self._hold_until = max(self._hold_until, time.monotonic() + min(after, self.generator.deadline))
            return _Retry(f"HTTP {answer.status}", after)  # the server's message may repeat the request's text
        if refusal == "too long":
            return Reply(error=TOO_LONG)
        message = self._endpoint.hide_secrets(refusal_message(answer.text))
        quoted = f"HTTP {answer.status}: {message}" if message else f"HTTP {answer.status}"
        errors = {
            "no key": f"{shown} refuses the key ({quoted}); {self._endpoint.advice}",
            "no model": f"{shown} has no model {model!r} ({quoted}); check its name and the address",
            "no schema": f"{shown} does not support a JSON Schema for replies ({quoted}); leave --structured out",
            "no logprobs": f"{shown} does not give the requested log-probabilities ({quoted}); "
            "--mode logprob needs a server that does",
        }
        raise ModelError(errors.get(refusal, f"{shown} refuses a request ({quoted})"))


async def _happens_within(seconds: float, event: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True
