"""Judges behind a server: any with OpenAI's chat completions, or an inference provider of the hub.

consumer's thread                                     a thread with an event loop, while there are requests
takes a request when one may be sent  ------------->  budget -> hub's client -> again, until the deadline
gives replies out as they arrive      <-------------  a reply, or what would go wrong with every request
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import queue
import random
import threading
import time
import weakref
from collections.abc import Awaitable, Coroutine, Generator, Iterable, Iterator
from typing import Any, NamedTuple, Self, TypeVar

from rb_core import retries
from rb_core.errors import ModelError, first_line
from rb_core.scorers.judge import chat_completions
from rb_core.scorers.judge.budget import Budget, Limits, Reservation
from rb_core.scorers.judge.connection import Connection, Hidden, Server
from rb_core.scorers.judge.types import SERVER_ERROR, TOO_LONG, Decoding, Reply, Request

T = TypeVar("T")


logger = logging.getLogger(__name__)


class ServedGenerator:
    """Asks a server; `concurrency` requests are on their way at any time.

    base_url: of an OpenAI-compatible server, as http://127.0.0.1:8000/v1; its key is RB_JUDGE_API_KEY in the
    environment, and no other is sent. provider: of the hub ("auto" for any), with the login of the hub's client. One of
    the two is given.
    deadline: seconds for a request, all its tries and the waits between them included; request_timeout: for a try.
    budget: an account that is shared or has been spent from; by default a new one with these limits.

    Raises ModelError for arguments that cannot be meant.
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
        limits: Limits | None = None,
        budget: Budget | None = None,
    ) -> None:
        if (base_url is None) == (provider is None):
            raise ModelError("a judge is asked at a base URL or at a provider: give one of the two")
        if concurrency < 1:
            raise ModelError(f"at least one request has to be on its way, not {concurrency}")
        for name, seconds in (("deadline", deadline), ("timeout", request_timeout)):
            if not math.isfinite(seconds) or seconds <= 0:
                raise ModelError(f"the {name} of a request has to be a positive number of seconds, not {seconds}")
        self.model, self.decoding, self.provider = model, decoding, provider
        self.server = None if base_url is None else Server(base_url)
        self.concurrency, self.deadline, self.request_timeout = concurrency, deadline, request_timeout
        self.budget = budget or Budget(limits)
        self._running: weakref.WeakSet[Generator[tuple[int, Reply]]] = weakref.WeakSet()

    def generate(self, requests: Iterable[Request]) -> Generator[tuple[int, Reply]]:
        """The reply to every request with its place, in the order of arrival. Closing the iterator ends it all.

        The iterable is read in the thread of whoever takes the replies. Raises ModelError, BudgetSpent among them, once
        everything that was on its way has arrived and was given out; nothing is sent in the meantime.
        """
        replies = self._replies(enumerate(requests))
        self._running.add(replies)
        return replies

    def describe(self) -> dict[str, Any]:
        """What is asked and where: never a key or an address, which may hold one, and may change between two starts."""
        return {"backend": self.provider or "served", "source": self.model}

    def connect(self) -> Connection:
        """A connection of its own for each event loop."""
        return Connection(
            self.model,
            self.decoding,
            self.server or self.provider or "auto",
            concurrency=self.concurrency,
            request_timeout=self.request_timeout,
        )

    def close(self) -> None:
        """End every iterator that is not exhausted."""
        for replies in list(self._running):
            replies.close()

    def _replies(self, requests: Iterator[tuple[int, Request]]) -> Generator[tuple[int, Reply]]:
        failure: BaseException | None = None
        awaited, more = 0, True
        with _Sender(self) as sender:
            while True:
                # One request at least for each reply that was taken, even when further replies wait already.
                while more and awaited < self.concurrency and not sender.stopped:
                    place, request = next(requests, (-1, None))
                    if request is None:
                        more = False
                        break
                    sender.send(place, request)
                    awaited += 1
                    if not sender.arrived.empty():
                        break
                if not awaited:
                    break
                place, outcome = sender.arrived.get()
                awaited -= 1
                if isinstance(outcome, Reply):
                    yield place, outcome
                elif not isinstance(outcome, _NotSentError):
                    failure = failure or outcome
        if failure is not None:
            raise failure


class _NotSentError(Exception):
    """A request that is not sent, or not again, because others have shown that it is no use."""


class _Again(NamedTuple):
    """A try that may go better next time. after: seconds that the server asks for."""

    why: str
    after: float | None = None


class _Sender:
    """An event loop in a thread of its own, with one HTTP session; everything but send and stopped is called in it."""

    def __init__(self, generator: ServedGenerator) -> None:
        self.generator, self.budget = generator, generator.budget
        self.connection = generator.connect()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="judge", daemon=True)
        self.arrived: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
        self.tasks: set[asyncio.Task[Reply]] = set()
        self.stop = asyncio.Event()
        self.settled = asyncio.Event()
        self.turn = asyncio.Lock()
        self.held_until = 0.0
        self.warned = False
        self.hidden = Hidden(self.connection, self.thread)

    def __enter__(self) -> Self:
        self.hidden.logger.addFilter(self.hidden)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._finish(), self.loop)
        # An iterator that nobody holds can be collected in any thread, this one included.
        if threading.current_thread() is not self.thread:
            self.thread.join()
        self.hidden.logger.removeFilter(self.hidden)

    @property
    def stopped(self) -> bool:
        """Whether nothing is sent any more."""
        return self.stop.is_set()

    def send(self, place: int, request: Request) -> None:
        """Have a request answered: what becomes of it arrives with its place."""
        self.loop.call_soon_threadsafe(self._start, place, request)

    def _start(self, place: int, request: Request) -> None:
        task = self.loop.create_task(self._stopping(self._answered(request)))
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self._arrive, place))

    def _arrive(self, place: int, task: asyncio.Task[Reply]) -> None:
        self.tasks.discard(task)
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.arrived.put((place, failure or task.result()))

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _finish(self) -> None:
        """Cancel what is on its way, close every connection, and end the loop."""
        try:
            # Only these: a task that the HTTP library started for itself is its own to end.
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await self.connection.aclose()
            await self.loop.shutdown_asyncgens()
            # A socket is closed by the loop after the connection was.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            self.loop.stop()

    async def _stopping(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it; whatever it raises would be raised for every request, so nothing more is sent."""
        try:
            return await work
        except Exception:
            self.stop.set()
            raise

    async def _answered(self, request: Request) -> Reply:
        """A reply, after as many tries as fit before the deadline, which runs from when it is sent first."""
        tries, started = 0, math.inf
        while True:
            reservation = await self._reserved(request)
            started = min(started, time.monotonic())
            left = self.generator.deadline - (time.monotonic() - started)
            if left <= 0:
                self._let_go(reservation)
                return Reply(error=SERVER_ERROR, seconds=time.monotonic() - started, attempts=tries)
            tries += 1
            outcome = await self._try(request, reservation, min(left, self.generator.request_timeout))
            if isinstance(outcome, Reply):
                return outcome._replace(seconds=time.monotonic() - started, attempts=tries)
            self._warn(outcome.why)
            left = self.generator.deadline - (time.monotonic() - started)
            await self._pause(min(retries.next_wait(tries, outcome.after), max(left, 0.0)))

    async def _reserved(self, request: Request) -> Reservation:
        """Wait while the server asks to, and for the budget, in the order of arrival.

        Raises BudgetSpent, and _NotSentError where others have stopped meanwhile.
        """
        while (wait := self.held_until - time.monotonic()) > 0:
            await self._pause(wait + random.uniform(0, retries.FIRST_WAIT))
        async with self.turn:
            while not self.stopped:
                self.settled.clear()
                reservation = self.budget.reserve(request)
                if reservation is not None:
                    return reservation
                # Another generator with the same budget does not wake this one.
                await _within(1.0, self.settled.wait())
        raise _NotSentError

    async def _pause(self, seconds: float) -> None:
        if await _within(seconds, self.stop.wait()):
            raise _NotSentError

    def _warn(self, why: str) -> None:
        """Say once that something has to be tried again: until the deadline there is nothing else to see."""
        if not self.warned:
            self.warned = True
            logger.warning(
                "%s: %s; trying again, for up to %g s a request", self.connection.where, why, self.generator.deadline
            )

    async def _try(self, request: Request, reservation: Reservation, seconds: float) -> Reply | _Again:
        """Send it once. Raises ModelError for what would go wrong with every request."""
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        http = self.connection.http
        reply, billed = None, True
        try:
            async with asyncio.timeout(seconds):
                content = await self.connection.post(request)
            reply = chat_completions.reply(content, request)
            return reply
        except chat_completions.UnusableError as error:
            return _Again(str(error))
        except HfHubHTTPError as error:
            billed = False
            return self._refusal(error.response, request)
        except OfflineModeIsEnabled:
            billed = False
            raise ModelError("the hub's client is offline; unset HF_HUB_OFFLINE to ask a provider") from None
        except (http.LocalProtocolError, UnicodeEncodeError):
            billed = False
            raise ModelError("the hub's token has a character that cannot be sent; correct HF_TOKEN") from None
        except http.InvalidURL:
            billed = False
            raise ModelError(f"{self.connection.where} is no address that can be asked") from None
        except (TimeoutError, http.RequestError) as error:
            billed = not isinstance(error, http.ConnectError)
            return _Again(f"no answer ({type(error).__name__}: {self.connection.hidden(first_line(error))})")
        except ValueError as error:  # what the client does not even send: a provider without this model, no login
            billed = False
            raise ModelError(f"{self.connection.where}: {self.connection.hidden(first_line(error))}") from None
        finally:
            # Also when this is cancelled: then, too, the server may bill what it was sent.
            if billed:
                self.budget.settle(reservation, reply)
            else:
                self.budget.release(reservation)
            self.settled.set()

    def _let_go(self, reservation: Reservation) -> None:
        self.budget.release(reservation)
        self.settled.set()

    def _refusal(self, response: Any, request: Request) -> Reply | _Again:
        """What an HTTP status means. Raises ModelError for what would go wrong with every request."""
        status, text = response.status_code, response.text
        said = self.connection.hidden(chat_completions.words(text))
        said = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        meaning = chat_completions.meaning(status, text, request)
        if meaning == "again":
            after = retries.retry_after(response.headers.get("retry-after"))
            if status == 429 and after is not None:
                # Requests that are not sent yet would be refused as well.
                self.held_until = max(self.held_until, time.monotonic() + min(after, self.generator.deadline))
            return _Again(f"HTTP {status}", after)  # it is logged, and the server's words may repeat the request's
        if meaning == "too long":
            return Reply(error=TOO_LONG)
        where, model = self.connection.where, self.generator.model
        raise ModelError(
            {
                "no key": f"{where} refuses the key ({said}); {self.connection.advice}",
                "no model": f"{where} has no model {model!r} ({said}); check its name and the address",
                "no schema": f"{where} does not take a JSON Schema for replies ({said}); leave --structured out",
                "no logprobs": f"{where} does not give the log-probabilities that are asked for ({said}); "
                "--mode logprob needs a server that does",
            }.get(meaning, f"{where} refuses a request ({said})")
        )


async def _within(seconds: float, event: Awaitable[Any]) -> bool:
    """Wait for an event; whether it came in time."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True
