"""Take requests in order, evaluate them, and write what became of them.

A worker may be killed at any moment. It is named after its folder, which holds unfinished runs: started again, it goes
on with the request that it holds. Others take that request once its lease, which a thread renews, has ended.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from filelock import FileLock, Timeout

from rb_core.doctor.report import DoctorReport
from rb_core.errors import FileError, HubError, ModelError, RewardBenchError, first_line
from rb_core.evaluation_queue.checks import RequestRefused
from rb_core.evaluation_queue.repository import Queue, RequestsRepo
from rb_core.evaluation_queue.request import EvaluationRequest, State, TransitionError, utc_now
from rb_core.files import write_atomically
from rb_core.hub.client import can_retry

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE = timedelta(minutes=30)
BEATS = 3  # renewals in a lease
ATTEMPTS = 5  # after as many that ended without an answer, a request has failed


class UnfitModelError(ModelError):
    """A model that failed a check of the doctor, whose report is the answer to the request."""

    def __init__(self, report: DoctorReport) -> None:
        failed = [check for check in report.checks if check.status == "FAIL"]
        advice = f" ({failed[0].advice})" if failed[0].advice else ""
        super().__init__(f"doctor: {len(failed)} checks failed; {failed[0].title}: {failed[0].found}{advice}")
        self.report = report


class Evaluation(Protocol):
    """A way to evaluate a request. Each step is called again with the same request after a kill."""

    def evaluate(self, request: EvaluationRequest, hold: Hold) -> None:
        """Evaluate the model. Raises RequestRefused, UnfitModelError, or another error that is the answer."""

    def publish(self, request: EvaluationRequest) -> str:
        """Put the result into the results repository, and return its address."""

    def forget(self, request: EvaluationRequest) -> None:
        """Delete what is kept here of a request that has its answer."""


@dataclass
class Hold:
    """A request and the lease that a worker has on it."""

    repo: RequestsRepo
    request: EvaluationRequest
    lease: timedelta
    now: Callable[[], datetime]
    lost: threading.Event = field(default_factory=threading.Event)

    def renew(self, job: str = "") -> None:
        """Renew the lease. Raises TransitionError when somebody else has the request now, HubError."""

        def renewed(queue: Queue) -> EvaluationRequest:
            return self._found(queue).renewed(self.request, self.now(), self.lease, job)

        try:
            self.repo.update(renewed)
        except TransitionError:
            self.lost.set()
            raise

    def settle(
        self, state: State, reason: str = "", report: DoctorReport | None = None, **fields: str
    ) -> EvaluationRequest | None:
        """End the lease and leave the request in this state. Raises as `renew`."""
        files: dict[str, bytes] = {}
        if report is not None:
            fields["report"] = f"reports/{self.request.id}.json"
            files[fields["report"]] = (json.dumps(report.to_json(), indent=1) + "\n").encode()
        return self.repo.update(
            lambda queue: self._found(queue).settled(self.request, state, self.now(), reason, **fields), files
        )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease in a thread while the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name="renew-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self.lease.total_seconds() / BEATS):
            try:
                self.renew()
            except TransitionError as error:
                log.warning("%s", error)
                return
            except RewardBenchError as error:  # the next beat tries again
                log.warning("%s", error)

    def _found(self, queue: Queue) -> EvaluationRequest:
        request = queue.find(self.request)
        if request is None:
            raise TransitionError(f"{self.request.title}: the request was removed")
        return request


@dataclass
class Worker:
    """A worker with its name, and its way to evaluate."""

    repo: RequestsRepo
    name: str
    evaluation: Evaluation
    lease: timedelta = LEASE
    attempts: int = ATTEMPTS
    now: Callable[[], datetime] = utc_now
    pause: float = 60.0  # seconds before the hub is tried again

    def run_one(self) -> EvaluationRequest | None:
        """Take a request and carry it out; return it as it was left, None if none is free.

        Raises HubError when the hub does not answer; the request stays this worker's then.
        """
        request = self.repo.update(self._take)
        if request is None or request.state != "running":
            return request
        log.info("%s: attempt %s", request.title, request.attempt)
        hold = Hold(self.repo, request, self.lease, self.now)
        try:
            with hold.kept():
                settled = self._carried_out(hold)
        except TransitionError as error:  # taken over meanwhile: the answer is another worker's to give
            log.warning("%s", error)
            return request
        if settled is not None and settled.state != "waiting":
            self.evaluation.forget(request)
        return settled

    def _take(self, queue: Queue) -> EvaluationRequest | None:
        """Return the next request with a lease: one that this worker holds, one whose lease has ended, or the first
        that waits."""
        now = self.now()
        running = [each for each in queue.ordered() if each.state == "running" and each.is_free(self.name, now)]
        running.sort(key=lambda request: request.worker != self.name)
        request = next(iter([*running, *queue.waiting()]), None)
        if request is None:
            return None
        taken = request.taken(self.name, now, self.lease)
        if request.attempt < self.attempts:
            return taken
        reason = request.reason or "the worker stopped each time"
        return taken.settled(taken, "failed", now, f"given up after {request.attempt} attempts: {reason}")

    def _carried_out(self, hold: Hold) -> EvaluationRequest | None:
        """Evaluate, publish and settle."""
        try:
            self.evaluation.evaluate(hold.request, hold)
        except TransitionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model raises is the answer to its request
            state, reason = _answer(error, hold.request)
            report = error.report if isinstance(error, UnfitModelError) else None
            return self._patiently(lambda: hold.settle(state, reason, report))
        self._patiently(hold.renew)  # nothing is published for a request that somebody else has by now
        try:
            address = self._patiently(lambda: self.evaluation.publish(hold.request))
        except ModelError as error:
            reason = first_line(error)
            return self._patiently(lambda: hold.settle("failed", reason))
        return self._patiently(lambda: hold.settle("done", result=address))

    def _patiently(self, action: Callable[[], T]) -> T:
        """Call `action` until the hub takes it: an evaluation is not given up for an outage or a wrong token."""
        while True:
            try:
                return action()
            except HubError as error:
                log.warning("%s; trying again in %s s", error, self.pause)
                time.sleep(self.pause)


def _answer(error: Exception, request: EvaluationRequest) -> tuple[State, str]:
    """Return the state and the reason that an error of an evaluation leaves. An error of the hub or of this machine
    gives the request back."""
    if isinstance(error, RequestRefused):
        return "refused", str(error)
    if isinstance(error, FileError | HubError) or can_retry(error):
        log.warning("%s is given back: %s", request.title, error)
        return "waiting", first_line(error)
    if isinstance(error, RewardBenchError):
        return "failed", first_line(error)
    log.exception("%s failed", request.title, exc_info=error)
    return "failed", f"{type(error).__name__}: {first_line(error)}"


@contextmanager
def worker_name(folder: Path) -> Iterator[str]:
    """Yield the name of the worker of a folder, which no other process may use meanwhile. Raises HubError."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "worker.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise HubError(f"{folder}: another worker runs here; give this one its own folder with --work") from None
    try:
        file = folder / "worker-name"
        if not file.is_file():
            write_atomically(file, f"worker-{secrets.token_hex(4)}".encode())
        yield file.read_text(encoding="utf-8")
    finally:
        lock.release()
