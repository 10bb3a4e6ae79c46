"""Derive a result from a score file alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from rb_core.errors import ScoreTableError
from rb_core.files import write_atomically
from rb_core.results import paths, storage
from rb_core.results.judge_records import Judging
from rb_core.results.schema import BenchmarkRef, ModelRef, Notes, Published, Result, Run, ScoreFile, from_json
from rb_core.results.score_table import read_scores, write_scores
from rb_core.scorers.judge import reparse
from rb_core.scorers.judge.transcript import write_transcript
from rb_core.stats import published, summary
from rb_core.stats.item_outcomes import check_rows, spec_of


class Finished(NamedTuple):
    """A result and where it was written."""

    result: Result
    path: Path


# Aggregating


def aggregate(scores_file: Path) -> Result:
    """Derive the result from a score file alone, of a run or of published scores.

    Raises ScoreTableError when the file is damaged, lacks rows, or its benchmark is unknown to this version.
    """
    frame, about = read_scores(scores_file)
    check_rows(frame, scores_file)
    try:
        benchmark, model = BenchmarkRef(**about["benchmark"]), from_json(ModelRef, about["model"])
        judged = from_json(Judging, about["judging"]) if "judging" in about else None
        notes = None if about["notes"] is None else Notes(**about["notes"])
        run_record = Run(**about["run"]) if "run" in about or "published" not in about else None
        source = Published(**about["published"]) if run_record is None else None
        accuracies = {str(name): float(value) for name, value in about.get("accuracies", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{scores_file}: its description of the run is not complete: {error}") from error
    spec = spec_of(benchmark.id, about, frame, scores_file)
    computed = summary.compute(frame, spec, run_record.seed if run_record else 0)
    if accuracies:
        headline, sections, subsets, absent = published.estimates_from(spec, accuracies, computed)
        computed = computed._replace(headline=headline, sections=sections, subsets=subsets, absent=absent)
    return Result(
        status="run" if run_record else "published",
        benchmark=benchmark,
        model=model,
        headline=computed.headline,
        sections=computed.sections,
        subsets=computed.subsets,
        absent=computed.absent,
        length=computed.length,
        matrices=computed.matrices,
        margins=computed.margins,
        counts=computed.counts,
        notes=notes,
        judging=judged,
        run=run_record,
        scores=ScoreFile(
            path=paths.scores_path(benchmark.id, model.name).as_posix(),
            sha256=hashlib.sha256(scores_file.read_bytes()).hexdigest(),
        ),
        published=source,
    )


def reread(transcript: Path, out: Path, *, overwrite: bool = False) -> Finished:
    """Parse the replies of a transcript again and write the new transcript, scores and result below `out`.

    Raises ScoreTableError as `reparse_transcript`, ResultError as `write_result`.
    """
    scores, records, about = reparse.reparse_transcript(transcript)
    benchmark, model = str(about["benchmark"]["id"]), str(about["model"]["name"])
    storage.check_free(out / paths.result_path(benchmark, model), overwrite=overwrite)
    write_transcript(out / paths.transcript_path(benchmark, model), records, about)
    scores_file = out / paths.scores_path(benchmark, model)
    write_scores(scores_file, scores, about)
    return write_aggregate(scores_file, out, overwrite=overwrite)


def write_aggregate(scores_file: Path, out: Path, *, overwrite: bool = False) -> Finished:
    """Aggregate and write the result below `out`, with its score file beside it."""
    result = aggregate(scores_file)
    path = storage.write_result(out, result, overwrite=overwrite)
    place = out / paths.scores_path(result.benchmark.id, result.model.name)
    if place.resolve() != scores_file.resolve():
        write_atomically(place, scores_file.read_bytes())
    return Finished(result, path)
