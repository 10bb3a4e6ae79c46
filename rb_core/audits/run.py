"""Run an audit on a model: score its items by the ordinary path, and derive the result from the score table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from rb_core.audits.model_audit import AuditItem, ModelAudit
from rb_core.audits.registry import registered_audit
from rb_core.audits.result import (
    AuditCounts,
    AuditRef,
    AuditResult,
    AuditScores,
    audit_path,
    audit_scores_path,
    parse_audit_result,
)
from rb_core.audits.self_test import SelfTests
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ResultError, ScoreTableError
from rb_core.evaluation.distributed import this_process
from rb_core.evaluation.evaluate import BYTES_PER_COMPLETION, RunFiles, check_seed, load_scorer_for, score_benchmark
from rb_core.files import check_writable, read_table, write_atomically, write_table
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.paths import root_of
from rb_core.results.schema import ModelRef, Run, from_json, to_json
from rb_core.results.storage import check_free, check_model_name
from rb_core.scorers.base import Scorer
from rb_core.stats.effects import adjusted

# A score table of an audit has the columns of any score table, and those of the audit.
_NAMES = {"example_id": "item", "group": "unit", "subset": "group"}  # as `ModelAudit` names the columns
_COLUMNS = (
    "item", "base", "unit", "group", "variant", "completion", "label", "score", "num_tokens", "truncated", "reason",
)  # fmt: skip


class WrittenAudit(NamedTuple):
    """A result and the path that it was written to."""

    result: AuditResult
    path: Path


def run_audit(
    model: str,
    audit: ModelAudit,
    *,
    options: ModelOptions | None = None,
    seed: int = 0,
    out: Path = Path("leaderboard_data"),
    overwrite: bool = False,
    progress: bool = False,
) -> WrittenAudit:
    """Score an audit's items with a model and write score table and result below `out`.

    A killed run resumes when it is started again with the same arguments. Raises RewardBenchError for a user's mistakes
    in all processes. Nothing in `out` is replaced without `overwrite`.
    """
    process = this_process()
    with process.share_errors():
        spec = resolve(model, options or ModelOptions())
        check_model_name(spec.name)
        items = audit.items()
        benchmark = audit.benchmark(items)
    # before a large model is loaded
    columns = process.on_main(partial(_prepare, audit, items, benchmark, spec.name, seed, out, overwrite=overwrite))
    scorer = load_scorer_for(spec, benchmark, seed)
    return _score_items(
        scorer, spec.name, audit, benchmark, columns, seed=seed, out=out, overwrite=overwrite, progress=progress
    )


def audit_scorer(
    scorer: Scorer,
    name: str,
    audit: ModelAudit,
    *,
    seed: int = 0,
    out: Path,
    overwrite: bool = False,
    progress: bool = False,
) -> WrittenAudit:
    """Audit any scorer, under the given model name. Raises as `run_audit`."""
    items = audit.items()
    benchmark = audit.benchmark(items)
    prepare = partial(_prepare, audit, items, benchmark, name, seed, out, overwrite=overwrite)
    columns = this_process().on_main(prepare)
    return _score_items(
        scorer, name, audit, benchmark, columns, seed=seed, out=out, overwrite=overwrite, progress=progress
    )


def _score_items(
    scorer: Scorer,
    name: str,
    audit: ModelAudit,
    benchmark: Benchmark,
    columns: Mapping[str, Sequence[Any]],
    *,
    seed: int,
    out: Path,
    overwrite: bool,
    progress: bool,
) -> WrittenAudit:
    """Score the items, which `benchmark` holds, and write result and score table, with these columns of the audit."""
    files = RunFiles(out / audit_scores_path(audit.name, name), out / audit_path(audit.name, name), out)

    def finish(scores: pd.DataFrame, metadata: dict[str, Any], replaces: bool) -> WrittenAudit:
        frame = scores.astype({"score": "float64"}).assign(**columns)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        ref = _ref(audit, benchmark)
        write_table(files.scores, table, metadata | {"audit": ref.model_dump(mode="json")})
        result = aggregate_audit(files.scores)
        write_atomically(files.result, to_json(result))
        _kept(files.scores).unlink(missing_ok=True)
        return WrittenAudit(result, files.result)

    return score_benchmark(scorer, name, benchmark, files, finish, seed=seed, overwrite=overwrite, progress=progress)


def _prepare(
    audit: ModelAudit,
    items: Sequence[AuditItem],
    benchmark: Benchmark,
    name: str,
    seed: int,
    out: Path,
    *,
    overwrite: bool,
) -> dict[str, Sequence[Any]]:
    """Return the columns that the audit adds to the score table, in the order of the items' completions.

    Raises RewardBenchError unless the result can be written.
    """
    check_model_name(name)
    check_seed(seed)
    _ref(audit, benchmark)
    path = out / audit_path(audit.name, name)
    check_free(path, overwrite=overwrite or _has_failures(path))
    check_writable(path.parent, BYTES_PER_COMPLETION * sum(len(example.completions) for example in benchmark.examples))
    kept = _kept(out / audit_scores_path(audit.name, name))
    if overwrite:
        kept.unlink(missing_ok=True)
    return {
        "base": [item.base or item.id for item in items for _ in item.completions],
        "variant": [item.variant for item in items for _ in item.completions],
        "label": [label for item in items for label in item.labels],
        **audit.row_columns(items, kept),
    }


def _kept(scores: Path) -> Path:
    """Return the file for what an audit pays for before its items are scored."""
    return scores.with_suffix(".kept")


def _has_failures(path: Path) -> bool:
    """Return True for a result some of whose requests to a server failed, which the same command sends again."""
    try:
        return parse_audit_result(path.read_bytes(), str(path)).failed_requests > 0
    except (OSError, ResultError):
        return False


def _ref(audit: ModelAudit, benchmark: Benchmark) -> AuditRef:
    return AuditRef(
        kind=audit.kind,
        name=audit.name,
        title=audit.title,
        question=audit.question,
        meaning=audit.meaning,
        method=audit.method,
        sources=audit.sources,
        cautions=audit.cautions,
        settings=audit.settings,
        items=len(benchmark.examples),
        sha256=benchmark.sha256,
    )


def read_audit_scores(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the score table of an audit, with the columns that `ModelAudit` names, and its metadata.

    Raises ScoreTableError for any other file.
    """
    table, metadata = read_table(path, "score table of an audit")
    frame = table.to_pandas().rename(columns=_NAMES)
    if missing := [name for name in _COLUMNS if name not in frame]:
        raise ScoreTableError(f"{path}: not a score table of an audit: it lacks {', '.join(missing)}")
    others = [name for name in frame if name not in (*_COLUMNS, "is_chosen", "num_completion_tokens", "num_markdown")]
    return frame[[*_COLUMNS, *others]], metadata


def aggregate_audit(path: Path, self_tests: SelfTests | None = None) -> AuditResult:
    """Derive the result from the score table of an audit, which must lie below `audits` in a results root.

    self_tests: those of other tables. Raises ScoreTableError when the table is damaged, or its audit is unknown to this
    version.
    """
    scores, metadata = read_audit_scores(path)
    try:
        ref, model = from_json(AuditRef, metadata["audit"]), from_json(ModelRef, metadata["model"])
        run = from_json(Run, metadata["run"])
        audit = registered_audit(ref.kind, ref.settings)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: the metadata of the audit is incomplete: {error}") from error
    place = audit_scores_path(ref.name, model.name)
    if root_of(path, place) is None:
        raise ScoreTableError(f"{path}: its content belongs at {place}")
    unscored = scores["score"].isna()
    return AuditResult(
        audit=ref,
        model=model,
        effects=tuple(adjusted(audit.effects(scores))),
        tables=audit.tables(scores),
        counts=AuditCounts(
            completions=len(scores),
            unscored=int(unscored.sum()),
            truncated=int(scores["truncated"].sum()),
            reasons={str(k): int(v) for k, v in scores["reason"][unscored].value_counts(sort=False).items()},
        ),
        self_test=(self_tests or SelfTests()).outcome(audit, scores),
        run=run,
        scores=AuditScores(path=place.as_posix(), sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
    )
