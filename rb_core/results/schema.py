"""Result schema v1: the records of a result file, and reading and writing them.

`SCHEMA_VERSION` is raised when a reader of old files would misread new ones: a field is renamed, removed, or changes
its meaning. A new optional field does not raise it. A file of an unknown version is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from rb_core.benchmarks.card import Card
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import ResultError
from rb_core.files import checksum
from rb_core.models.options import Aggregate, Combination
from rb_core.results.estimate import Chance, Counts, Estimate, Margins, Matrix, Record, StyleControl
from rb_core.results.failures import FAILED
from rb_core.results.judge_records import JudgeRef, Judging
from rb_core.results.paths import joint_scores_path, result_path, scores_path

SCHEMA_VERSION = 1
SCHEMA_FILE = "result-v1.schema.json"
MAX_RESULT_BYTES = 2_000_000

ModelKind = Literal[
    "classifier",
    "custom-classifier",
    "token",
    "process",
    "implicit",
    "generative",
    "baseline",
    "function",
    "ensemble",
    "unknown",
]
KIND_LABELS: dict[str, str] = {
    "classifier": "Sequence classifier",
    "custom-classifier": "Custom classifier",
    "token": "Token probability",
    "process": "Process reward",
    "implicit": "Implicit (DPO)",
    "generative": "Generative",
    "baseline": "Baseline",
    "function": "Function",
    "ensemble": "Ensemble",
    "unknown": "Unknown",
}
REFERENCE_FREE_SUFFIX = ", reference-free"  # of the label of an implicit reward without a reference model

# Settings of a model that change a score by rounding only, or not at all.
_WITHOUT_EFFECT = {"name", "threshold", "parameters", "attention", "batching", "probe", "loading"}

# One organisation and one name, or a name alone, in characters that are safe in a path and a URL.
Segment = r"[A-Za-z0-9_][A-Za-z0-9_.+\-]*"
ModelName = Annotated[str, Field(pattern=rf"^{Segment}(/{Segment})?$", max_length=200)]
BenchmarkId = Annotated[str, Field(pattern=rf"^{Segment}$", max_length=100)]

RecordType = TypeVar("RecordType", bound=BaseModel)


def from_json(record: type[RecordType], fields: Any) -> RecordType:
    """Return a record of parsed JSON. Raises ValueError for anything else."""
    return record.model_validate_json(json.dumps(fields))


class BenchmarkRef(Record):
    """The examples that were scored. revision: commit hash of the dataset; sha256: over the examples; subsets: the
    number of examples of each subset in the data before any limit; unwinnable: examples with the same chosen and
    rejected text, or with none; card: of a user's own data, if it says anything."""

    id: BenchmarkId
    title: str
    source: str
    revision: str | None = None
    sha256: str | None = None
    limit: int | None = None
    subsets: dict[str, Annotated[int, Field(ge=0, lt=2**53)]] = {}
    unwinnable: int | None = None
    card: Card | None = None


class ModelRef(Record):
    """The model that scored them, and its settings. revision: commit hash; parameters: their number; output: how
    several outputs, or a completion's log-probabilities, became one score; template_name, template_vars: the chosen
    chat template of a checkpoint with several, and the variables that were passed to the template; tokens: of a token
    as reward, one or two; question, generation_prompt: what follows a completion, a user's question and the header of
    the next turn; reference, beta: of an implicit reward; batching: how conversations shared a forward pass; probe: the
    largest difference, measured when loaded, between batched scores and the model's own forward pass on one
    conversation at a time; loading: what was left out of the checkpoint, such as unused weights; tokenizer: of a
    model behind a server, the checkpoint whose tokenizer and chat template wrote its input; judge: how a generative
    judge was asked; threshold: a score from which on a step is right, where a benchmark compares scores with
    one (default 0); step_separator, aggregate: of a process reward model; ensemble: the models that were combined."""

    name: ModelName
    kind: ModelKind
    kind_detail: str | None = None
    source: str | None = None
    revision: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    dtype: str | None = None
    attention: str | None = None
    quantization: str | None = None
    chat_template_sha256: str | None = None
    template_name: str | None = None
    template_vars: dict[str, Any] | None = None
    tokens: list[str] | None = None
    question: str | None = None
    generation_prompt: bool | None = None
    system_role: str | None = None
    max_length: int | None = None
    scored_token: str | None = None
    reference: str | None = None
    reference_revision: str | None = None
    beta: float | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    output: str | None = None
    batching: str | None = None
    probe: float | None = None
    loading: list[str] | None = None
    tokenizer: str | None = None
    tokenizer_revision: str | None = None
    judge: JudgeRef | None = None
    threshold: float | None = None
    step_separator: str | None = None
    aggregate: Aggregate | None = None
    ensemble: EnsembleRef | None = None

    def score_settings(self) -> dict[str, Any]:
        """Return the settings that change scores by more than rounding; equal for models whose scores compare."""
        ignored = _WITHOUT_EFFECT if self.kind == "function" else _WITHOUT_EFFECT | {"kind_detail"}
        members = {"members": {"__all__": {"model": _WITHOUT_EFFECT}}}
        return self.model_dump(mode="json", exclude=dict.fromkeys(ignored, True) | {"ensemble": members})


class EnsembleMember(Record):
    """A model of an ensemble. mean, sd: of its scores on the benchmark that scales them; a score x counts as
    (x - mean) / sd."""

    model: ModelRef
    mean: float
    sd: float


class EnsembleRef(Record):
    """The models of an ensemble, and how their scaled scores are combined. penalty: the number of standard deviations
    that mean-sd subtracts; scale_by: the benchmark whose scores give mean and sd."""

    members: tuple[EnsembleMember, ...]
    combine: Combination
    penalty: float | None = None
    scale_by: str | None = None


def kind_label(model: ModelRef) -> str:
    """Return a model's kind for comparisons of kinds: implicit rewards without a reference are a kind of their own."""
    label = KIND_LABELS[model.kind]
    is_reference_free = "reference-free" in f"{model.output} {model.kind_detail}"
    return label + REFERENCE_FREE_SUFFIX if is_reference_free else label


class Notes(Record):
    """Peculiarities of the input: empty completions, examples that spell out control tokens, completions that the
    chat template changed."""

    empty_completions: int = 0
    control_token_examples: int = 0
    rewritten_completions: int = 0


class Run(Record):
    """The command, machine and software of a run. Times in seconds, memory in bytes, started in UTC.

    duration: the time spent scoring, added up over the processes; peak_memory: the largest of any process.
    """

    command: str
    started: str
    duration: float
    seed: int
    batch_tokens: int | None = None
    processes: int | None = None
    device: str
    device_name: str | None = None
    peak_memory: int | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str]


class ScoreFile(Record):
    """The score table that a result was computed from, relative to the results root. column: of a file with the scores
    of many models, the name that this model has there."""

    path: Annotated[str, Field(pattern=rf"^scores/{Segment}(/{Segment}){{0,2}}\.parquet$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    column: ModelName | None = None


class Published(Record):
    """The source of a published result. retrieved: UTC date."""

    source: str
    retrieved: str | None = None
    note: str | None = None


class Result(Record):
    """One model on one benchmark. Values are fractions from 0 to 1; `absent` gives the reason for each section, or
    headline, without a score; `groupings` has the parts of other divisions of the subsets. checksum: CRC-32 of the
    file's other content as JSON with sorted keys; only in files."""

    schema_version: Literal[1] = 1
    status: Literal["run", "published"]
    benchmark: BenchmarkRef
    model: ModelRef
    headline: Estimate | None = None
    sections: dict[str, Estimate] = {}
    subsets: dict[str, Estimate] = {}
    groupings: dict[str, dict[str, Estimate]] | None = None
    absent: dict[str, str] = {}
    length: dict[str, Estimate] = {}
    style: StyleControl | None = None
    matrices: dict[str, Matrix] = {}
    margins: Margins | None = None
    chance: Chance | None = None
    counts: Counts | None = None
    notes: Notes | None = None
    judging: Judging | None = None
    run: Run | None = None
    scores: ScoreFile | None = None
    published: Published | None = None
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = None

    @model_validator(mode="after")
    def _check_source(self) -> Result:
        if self.status == "published" and self.published is None:
            raise ValueError("a published result needs 'published' with its source")
        if self.status == "run" and (self.run is None or self.scores is None or self.counts is None):
            raise ValueError("a result of a run needs 'run', 'scores' and 'counts'")
        return self

    @property
    def coverage(self) -> float | None:
        """Share of the examples that were scored; None for a published result."""
        return self.counts.scored / self.counts.examples if self.counts else None

    @property
    def failed_requests(self) -> int:
        """Number of requests to a server without an answer, which the same command sends again."""
        if self.judging is not None:
            return self.judging.failed
        reasons = self.counts.reasons if self.counts else {}
        return sum(count for reason, count in reasons.items() if reason in FAILED)

    @property
    def shares_scores(self) -> bool:
        """True if the score file holds the scores of other models as well."""
        return self.scores is not None and self.scores.column is not None

    def path(self) -> Path:
        """Return the path of the result file below the results root."""
        return result_path(self.benchmark.id, self.model.name)

    def scores_path(self) -> Path:
        """Return the path of the score file below the results root."""
        if self.shares_scores:
            return joint_scores_path(self.benchmark.id)
        return scores_path(self.benchmark.id, self.model.name)

    def differing_subsets(self) -> list[str]:
        """Return the subsets with another number of examples than published, by the score file; empty without one."""
        spec = BENCHMARKS.get(self.benchmark.id)
        if spec is None or self.scores is None:
            return []
        return spec.differing_subsets({name: (e.scored or 0) + (e.unscored or 0) for name, e in self.subsets.items()})


def to_json(result: Record) -> bytes:
    """Return a result file's content, indented, with its checksum; the same result gives the same bytes."""
    content = result.model_dump(mode="json", exclude_none=True)
    content["checksum"] = _checksum(content)
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def is_unchanged(content: bytes) -> bool:
    """Return False if a result file's checksum is not that of its other content; a file may have none."""
    fields = json.loads(content)
    return "checksum" not in fields or fields["checksum"] == _checksum(fields)


def _checksum(fields: dict[str, Any]) -> str:
    others = {name: value for name, value in fields.items() if name != "checksum"}
    return checksum(json.dumps(others, sort_keys=True).encode()).decode()


def parse_result(content: bytes, name: str) -> Result:
    """Return the result in a file's content. Raises ResultError, naming file and field, for any other content."""
    if len(content) > MAX_RESULT_BYTES:
        raise ResultError(f"{name}: {len(content)} bytes; a result has at most {MAX_RESULT_BYTES}")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{name}: not readable JSON: {error}") from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if version != SCHEMA_VERSION:
        raise ResultError(f"{name}: schema version {version!r}; this package reads version {SCHEMA_VERSION}")
    try:
        return from_json(Result, fields).model_copy(update={"checksum": None})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise ResultError(f"{name}: {field}: {first['msg']}") from error


def json_schema() -> bytes:
    """Return the JSON Schema of a result file, as published."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Result.model_json_schema()
    schema["title"] = "RewardBench result, schema version 1"
    return (json.dumps(schema, indent=1) + "\n").encode()
