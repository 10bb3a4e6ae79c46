"""Aggregate a score file to a result: nothing but the file is needed."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import NamedTuple

from rb_core.errors import ResultError, ScoreTableError
from rb_core.files import write_atomically
from rb_core.results import paths, storage
from rb_core.results.judge_records import Judging
from rb_core.results.schema import BenchmarkRef, ModelRef, Notes, Published, Result, Run, ScoreFile, from_json
from rb_core.results.score_table import load_score_table
from rb_core.stats import published, summary


class WrittenResult(NamedTuple):
    """A result and the path it was written to."""

    result: Result
    path: Path


def aggregate_scores(scores_file: Path, column: str | None = None) -> Result:
    """Derive the result from the score file of a run or of published scores.

    column: of a file with the scores of many models, the model. Raises ScoreTableError when the file is damaged, lacks
    rows, or its benchmark is unknown to this version.
    """
    frame, metadata, spec = load_score_table(scores_file, column)
    try:
        benchmark, model = BenchmarkRef(**metadata["benchmark"]), from_json(ModelRef, metadata["model"])
        judging = from_json(Judging, metadata["judging"]) if "judging" in metadata else None
        notes = None if metadata["notes"] is None else Notes(**metadata["notes"])
        run = Run(**metadata["run"]) if "run" in metadata or "published" not in metadata else None
        source = Published(**metadata["published"]) if run is None else None
        accuracies = {str(name): float(value) for name, value in metadata.get("accuracies", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{scores_file}: the metadata of the run is incomplete: {error}") from error
    computed = summary.summarize(frame, spec)
    if accuracies:
        headline, sections, subsets, absent = published.estimates_from_accuracies(spec, accuracies, computed)
        computed = computed._replace(headline=headline, sections=sections, subsets=subsets, absent=absent)
    path = paths.scores_path(benchmark.id, model.name) if column is None else paths.joint_scores_path(benchmark.id)
    return Result(
        status="run" if run else "published",
        benchmark=benchmark,
        model=model,
        **computed._asdict(),
        notes=notes,
        judging=judging,
        run=run,
        scores=ScoreFile(
            path=path.as_posix(),
            sha256=hashlib.sha256(scores_file.read_bytes()).hexdigest(),
            column=column,
        ),
        published=source,
    )


def check_same_scores(scores_file: Path, result: Result) -> None:
    """Raise ScoreTableError if the result beside a score file was computed from a file with another digest."""
    root = paths.root_of(scores_file, result.scores_path())
    recorded = root / result.path() if root else None
    if recorded is None or not recorded.exists():
        return
    with contextlib.suppress(ResultError):  # an unreadable result has no digest to compare
        earlier = storage.read_result(recorded).scores
        if earlier and result.scores and earlier.sha256 != result.scores.sha256:
            raise ScoreTableError(
                f"{scores_file}: not the file that {recorded} was computed from (another SHA-256): "
                "it is damaged, or of another run; restore it, or delete the result"
            )


def write_aggregate(
    scores_file: Path, out: Path, column: str | None = None, *, overwrite: bool = False
) -> WrittenResult:
    """Aggregate, write the result below `out`, and copy the score file there unless it is there already.

    column: see `aggregate_scores`. Raises ScoreTableError as `aggregate_scores`, ResultError when a result exists and
    `overwrite` is False.
    """
    result = aggregate_scores(scores_file, column)
    path = storage.write_result(out, result, overwrite=overwrite)
    destination = out / result.scores_path()
    if destination.resolve() != scores_file.resolve():
        write_atomically(destination, scores_file.read_bytes())
    return WrittenResult(result, path)
