"""The result of an audit of one model: its effects, and how they were found.

Below a results root the score table is `audits/NAME/MODEL.parquet`, and the result `audits/NAME/MODEL.json` beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from rb_core.audits.report import AuditName, AuditTable, Text
from rb_core.errors import ResultError
from rb_core.results.effect import Effect
from rb_core.results.estimate import Record
from rb_core.results.failures import FAILED
from rb_core.results.schema import ModelRef, Run, Segment, from_json

MAX_AUDIT_BYTES = 2_000_000


class AuditRef(Record):
    """The audit. kind: as in the registry; settings: with the kind they give the audit back; the texts are those of
    `ModelAudit`; items: their number; sha256: digest of the scored prompts and completions."""

    kind: AuditName
    name: AuditName
    title: Text
    question: Text
    meaning: Text
    method: Text
    sources: tuple[Text, ...] = ()
    cautions: tuple[Text, ...] = ()
    settings: dict[str, Any] = {}
    items: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SelfTest(Record):
    """Trials of the audit with made-up scorers on the same items.

    runs: number of trials of each kind; planted: share of the scorers with an effect of twice the smallest detectable
    size in which it was found; unbiased: share of the scorers without any effect in which one was found; too_small:
    tested effects that are so uncertain that no scorer could have one of that size. passed: None where no trial was
    possible, for the `reason`.
    """

    runs: int
    planted: float | None = None
    unbiased: float | None = None
    too_small: int = 0
    passed: bool | None = None
    reason: Text = ""


class AuditCounts(Record):
    """Numbers of completions. reasons: unscored completions by cause."""

    completions: int
    unscored: int
    truncated: int
    reasons: dict[str, int] = {}


class AuditScores(Record):
    """The score table beside the result. sha256: of the file."""

    path: Annotated[str, Field(pattern=rf"^audits/{Segment}(/{Segment}){{1,2}}\.parquet$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AuditResult(Record):
    """The result of an audit of one model. checksum: as of a benchmark's result; only in files."""

    schema_version: Literal[1] = 1
    audit: AuditRef
    model: ModelRef
    effects: tuple[Effect, ...]
    tables: tuple[AuditTable, ...] = ()
    counts: AuditCounts
    self_test: SelfTest
    run: Run
    scores: AuditScores
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = None

    @property
    def failed_requests(self) -> int:
        """Number of completions without a score because a request to a server failed; the same command asks again."""
        return sum(count for reason, count in self.counts.reasons.items() if reason in FAILED)

    def path(self) -> Path:
        """Return the path of the result file below the results root."""
        return audit_path(self.audit.name, self.model.name)


def audit_path(audit: str, model: str) -> Path:
    """Return the path of an audit's result below a results root."""
    return Path("audits", audit, f"{model}.json")


def audit_scores_path(audit: str, model: str) -> Path:
    """Return the path of an audit's score table below a results root."""
    return Path("audits", audit, f"{model}.parquet")


def parse_audit_result(content: bytes, name: str) -> AuditResult:
    """Return the result in a file's content. Raises ResultError, naming file and field, for any other content."""
    if len(content) > MAX_AUDIT_BYTES:
        raise ResultError(f"{name}: the result of an audit has at most {MAX_AUDIT_BYTES:,} bytes")
    try:
        fields = json.loads(content)
        return from_json(AuditResult, fields).model_copy(update={"checksum": None})
    except ValidationError as error:
        first = error.errors()[0]
        raise ResultError(f"{name}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{name}: not readable JSON: {error}") from error


def read_audit_results(root: Path) -> tuple[list[AuditResult], list[str]]:
    """Return the results of audits below a root, sorted by path, and a message for each file that is refused."""
    results, refused = [], []
    for path in sorted((root / "audits").glob("*/**/*.json")):
        try:
            result = parse_audit_result(path.read_bytes(), str(path))
            if path != root / result.path():
                raise ResultError(f"{path}: its content belongs at {result.path()}")
            results.append(result)
        except (OSError, ResultError) as error:
            refused.append(str(error))
    return results, refused
