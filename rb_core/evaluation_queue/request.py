"""A request to evaluate a model, and the states that it goes through.

    waiting -> running -> done, failed or refused
    running -> running   the lease is renewed, or taken over once it has ended
    running -> waiting   the worker gives it back

Who runs a request holds a lease: a worker's name, the number of the attempt and the time until which nobody else may
take the request. A change by anybody but its holder raises TransitionError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError, ModelError, RewardBenchError
from rb_core.models.options import (
    CHECKPOINTS,
    CONVERSATION_KINDS,
    ModelOptions,
    changed_options,
    check_options,
    flag,
    option_specs,
)
from rb_core.results.estimate import Record
from rb_core.results.schema import BenchmarkId, Segment, from_json

State: TypeAlias = Literal["waiting", "running", "done", "failed", "refused"]
FINAL: frozenset[State] = frozenset({"done", "failed", "refused"})
_NEXT: Mapping[State, frozenset[State]] = {"waiting": frozenset({"running"}), "running": FINAL | {"running", "waiting"}}

MAX_REQUEST_BYTES = 65_536
MAX_REASON = 2000  # characters
LONGEST_LEASE = timedelta(days=1)
# Options of a checkpoint that are the host's to choose, and the revision, which is a field of its own.
_NOT_REQUESTED = frozenset({"name", "revision", "device", "device_map", "batch_tokens"})
REQUEST_OPTIONS = frozenset(
    name
    for name, spec in option_specs(ModelOptions).items()
    if name not in _NOT_REQUESTED and not (spec.is_file or spec.is_local) and set(spec.applies_to) & set(CHECKPOINTS)
)
_OPTIONS = TypeAdapter(ModelOptions)

User = Annotated[str, Field(pattern=rf"^{Segment}$", max_length=100)]
Text = Annotated[str, Field(max_length=MAX_REASON)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class TransitionError(RewardBenchError):
    """A change that the state of a request does not allow."""


class EvaluationRequest(Record):
    """A request to evaluate one model at one commit on one benchmark.

    options: fields of ModelOptions in JSON, REQUEST_OPTIONS only; votes: the users who want it, the first of whom asked
    for it; parameters, gpu_hours: estimates of its cost; changed: time of the last change of state; reason: why it was
    refused, failed or given back; worker, attempt, lease_until: the lease; job: address of the job that evaluates it;
    result: address of its result; report: path of the doctor's report in the repository.
    """

    schema_version: Literal[1] = 1
    model: Annotated[str, Field(pattern=rf"^{Segment}/{Segment}$", max_length=200)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    benchmark: BenchmarkId
    options: dict[str, Any]
    votes: Annotated[tuple[User, ...], Field(min_length=1, max_length=500)]
    requested: AwareDatetime
    parameters: Count | None = None
    gpu_hours: Annotated[float, Field(ge=0, le=1e6)] | None = None
    state: State = "waiting"
    changed: AwareDatetime
    reason: Text = ""
    worker: User | None = None
    attempt: Count = 0
    lease_until: AwareDatetime | None = None
    job: Text = ""
    result: Text = ""
    report: Text = ""

    @model_validator(mode="after")
    def _check(self) -> EvaluationRequest:
        if self.benchmark not in BENCHMARKS:
            raise ValueError(f"unknown benchmark {self.benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
        parse_request_options(self.options, self.revision)
        if len(set(self.votes)) < len(self.votes):
            raise ValueError("votes: somebody has two")
        if self.state == "running" and (self.worker is None or self.lease_until is None):
            raise ValueError("a running request needs worker and lease_until")
        if self.lease_until is not None and self.lease_until - self.changed > LONGEST_LEASE:
            raise ValueError(f"lease_until: a lease ends after {LONGEST_LEASE} at most")
        if self.state in ("failed", "refused") and not self.reason:
            raise ValueError(f"a {self.state} request needs a reason")
        return self

    @property
    def id(self) -> str:
        """Digest of model, commit, benchmark and options: the same evaluation is requested once."""
        wanted = [self.model, self.revision, self.benchmark, self.options]
        return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def path(self) -> str:
        return f"requests/{self.id}.json"

    @property
    def title(self) -> str:
        return f"{self.model} on {self.benchmark}"

    def model_options(self) -> ModelOptions:
        """Return the options to evaluate the model with, its commit included."""
        return parse_request_options(self.options, self.revision)

    def is_free(self, worker: str, now: datetime) -> bool:
        """Return True if this worker may take the request: it waits, is the worker's own, or its lease has ended."""
        if self.state != "running":
            return self.state == "waiting"
        return self.worker == worker or self.lease_until is None or self.lease_until < now

    def taken(self, worker: str, now: datetime, lease: timedelta) -> EvaluationRequest:
        """Return the request with a new lease of the worker's."""
        if not self.is_free(worker, now):
            raise TransitionError(f"{self.title}: {self.worker or 'nobody'} holds it, and it is {self.state}")
        attempt = self.attempt + 1
        return self._to("running", now, worker=worker, attempt=attempt, lease_until=now + lease, reason="")

    def renewed(self, held: EvaluationRequest, now: datetime, lease: timedelta, job: str = "") -> EvaluationRequest:
        """Return the request with a later end of the lease in `held`. job: address of a job that was started."""
        self._check_held(held)
        return self._to("running", now, lease_until=now + lease, job=job or self.job)

    def settled(
        self, held: EvaluationRequest, state: State, now: datetime, reason: str = "", **fields: str
    ) -> EvaluationRequest:
        """Return the request in the state in which the holder of the lease in `held` leaves it."""
        self._check_held(held)
        return self._to(state, now, reason=reason[:MAX_REASON], lease_until=None, **fields)

    def voted(self, user: str) -> EvaluationRequest:
        """Return the request with the user's vote. Raises TransitionError unless it waits."""
        if self.state != "waiting":
            raise TransitionError(f"{self.title} was requested already and is {self.state}. {self.reason}".strip())
        return self if user in self.votes else self._with(votes=(*self.votes, user))

    def to_json(self) -> bytes:
        """Return the content of the request's file."""
        content = self.model_dump(mode="json", exclude_defaults=True) | {"schema_version": 1, "state": self.state}
        return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()

    def _check_held(self, held: EvaluationRequest) -> None:
        if (self.state, self.worker, self.attempt) != ("running", held.worker, held.attempt):
            raise TransitionError(f"{self.title}: {held.worker} no longer holds it; it is {self.state}")

    def _to(self, state: State, now: datetime, **fields: Any) -> EvaluationRequest:
        if state not in _NEXT.get(self.state, frozenset()):
            raise TransitionError(f"{self.title} is {self.state} and cannot become {state}")
        return self._with(state=state, changed=now, **fields)

    def _with(self, **fields: Any) -> EvaluationRequest:
        return EvaluationRequest.model_validate(dict(self) | fields)


def new_request(
    model: str, revision: str, benchmark: str, options: ModelOptions, user: str, **estimates: float | None
) -> EvaluationRequest:
    """Return a waiting request. Raises RewardBenchError, naming the option, for one that a request cannot have."""
    requested = request_options(options)
    now = utc_now().isoformat()
    fields = {"model": model, "revision": revision, "benchmark": benchmark, "options": requested, "votes": [user]}
    try:
        return from_json(EvaluationRequest, {**fields, "requested": now, "changed": now, **estimates})
    except ValidationError as error:
        raise DataError(f"the request is not valid: {_first_problem(error)}") from None


def request_options(options: ModelOptions) -> dict[str, Any]:
    """Return the options that differ from their defaults, by field. Raises ModelError for one of the host's."""
    changed = {name: value for name, value, _ in changed_options(options) if name != "revision"}
    for name in changed:
        if name not in REQUEST_OPTIONS:
            raise ModelError(f"{flag(name)}: a request cannot have it; evaluate here and push the result instead")
    return changed


def parse_request_options(options: Mapping[str, Any], revision: str | None) -> ModelOptions:
    """Return a request's options. Raises ValueError for a name or a value that a request cannot have."""
    if unknown := sorted(options.keys() - REQUEST_OPTIONS):
        raise ValueError(f"options: a request cannot have {unknown[0]!r}")
    try:
        parsed = _OPTIONS.validate_json(json.dumps({**options, "revision": revision}, allow_nan=False), strict=True)
        check_options(parsed)
    except ValidationError as error:
        raise ValueError(f"options: {_first_problem(error)}") from None
    except RewardBenchError as error:
        raise ValueError(f"options: {error}") from None
    if parsed.kind not in (None, *CONVERSATION_KINDS):
        raise ValueError(f"options: kind: a request is for one of {', '.join(CONVERSATION_KINDS)}")
    return parsed


def parse_evaluation_request(content: bytes, path: str) -> EvaluationRequest:
    """Return the request in a file. Raises DataError, naming file and field, for any other content."""
    if len(content) > MAX_REQUEST_BYTES:
        raise DataError(f"{path}: {len(content)} bytes; a request has at most {MAX_REQUEST_BYTES}")
    try:
        request = EvaluationRequest.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{path}: {_first_problem(error)}") from None
    if request.path != path:
        raise DataError(f"{path}: its content belongs at {request.path}")
    return request


def utc_now() -> datetime:
    return datetime.now(UTC)


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {first['msg']}" if field else first["msg"].removeprefix("Value error, ")
