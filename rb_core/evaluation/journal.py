"""Append-only journal of a run's batches, so that a killed run resumes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from rb_core.errors import ScoreTableError
from rb_core.evaluation.distributed import SINGLE_PROCESS, Process
from rb_core.files import (
    append_entry,
    close_journal,
    differing_keys,
    explaining_write_errors,
    open_journal,
    read_journal,
    read_journal_run,
)
from rb_core.results.score_table import Score


class BatchScores(NamedTuple):
    """The scores of one batch of the plan, with the seconds it took."""

    batch: int
    scores: tuple[Score, ...]
    seconds: float


class Journal:
    """Append-only files beside the future score file, one part per process: a header that identifies the run, then one
    line per batch.

    `fingerprint` holds everything that the scores depend on (data, model, settings, plan). A journal of another run is
    neither continued nor destroyed: opening it raises ScoreTableError, unless `discard` allows replacing it. A second
    run on the same file raises as well. A line that a kill cut short, or that has changed on the disk, is dropped, and
    its batch is scored again. A part that is closed without a single batch leaves no file.

    The parts are `model.journal`, `model.journal-1` and so on. `done` holds in every process the batches of all parts
    on all machines, whatever number of processes wrote them. All processes must open, collect and remove together.
    """

    def __init__(
        self,
        scores_path: Path,
        fingerprint: Mapping[str, Any],
        *,
        discard: bool = False,
        process: Process = SINGLE_PROCESS,
    ) -> None:
        number = f"-{process.index}" if process.index else ""
        self.path = scores_path.with_suffix(f".journal{number}")
        self.done: dict[int, BatchScores] = {}
        self._scores_path = scores_path
        self._run: dict[str, Any] = json.loads(json.dumps(fingerprint))
        self._discard = discard
        self._process = process
        self._appended: dict[int, BatchScores] = {}
        self._earlier_seconds: dict[int, float] = {}
        self._lock = FileLock(scores_path.with_suffix(f".lock{number}"), timeout=0)

    def __enter__(self) -> Journal:
        process = self._process
        try:
            with process.share_errors():
                self._acquire()
            self._check_same_run()
            with process.share_errors():  # one process reads for its machine; a shared file system is read repeatedly
                entries = self._read_parts() if process.is_local_main else {}
            self._merge(entries)
            with process.share_errors():
                self._file = open_journal(self.path, self._run)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._file.closed and close_journal(self._file, self.path):
                Path(self._lock.lock_file).unlink(missing_ok=True)
        finally:
            self._lock.release()

    def append(self, entry: BatchScores) -> None:
        """Add one batch, which a kill cannot lose when this returns. Raises FileError when the disk is full."""
        entry = entry._replace(seconds=round(entry.seconds + self._earlier_seconds.pop(entry.batch, 0.0), 6))
        rows = [[None if math.isnan(s.value) else s.value, *s[1:]] for s in entry.scores]
        append_entry(self._file, self.path, [entry.batch, entry.seconds, rows])
        self.done[entry.batch] = self._appended[entry.batch] = entry

    def keep(self, keeps: Callable[[Sequence[Score]], bool]) -> None:
        """Mark the batches whose scores are not kept as missing. The time that they took still counts."""
        dropped = {index for index, entry in self.done.items() if not keeps(entry.scores)}
        self._earlier_seconds = {index: self.done.pop(index).seconds for index in dropped}

    def collect(self) -> None:
        """Add to every process's `done` what the others have appended. Waits for all."""
        self._merge(self._appended)

    def remove(self) -> None:
        """Delete all parts, once their scores are in the score file. Waits for all: no part is deleted while open."""
        self._file.close()
        self._process.gather(None)
        if self._process.is_local_main:
            for path in [*_parts(self._scores_path, "journal"), *_parts(self._scores_path, "lock")]:
                path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        with explaining_write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise ScoreTableError(f"{self.path}: another run is writing here; wait until it has ended") from None

    def _check_same_run(self) -> None:
        """Raise ScoreTableError unless every process is about to score the same plan with the same model."""
        first, *others = self._process.gather(self._run)
        if differing := sorted({key for other in others for key in differing_keys(first, other)}):
            raise ScoreTableError(
                f"{self.path}: the processes of this run have a different {', '.join(differing)}; "
                "use the same data, model and versions on every machine"
            )

    def _merge(self, entries: dict[int, BatchScores]) -> None:
        for part in self._process.gather(entries):
            self.done |= part

    def _read_parts(self) -> dict[int, BatchScores]:
        """Return the batches in the parts on this machine. Raises ScoreTableError unless they may be discarded."""
        entries: dict[int, BatchScores] = {}
        for path in _parts(self._scores_path, "journal"):
            try:
                entries |= self._read(path)
            except ScoreTableError:
                if not self._discard:
                    raise
                path.unlink(missing_ok=True)
        return entries

    def _read(self, path: Path) -> dict[int, BatchScores]:
        """Return the batches in a part. Raises ScoreTableError for the part of another run or version."""
        try:
            entries = [_batch_scores(*entry) for entry in read_journal(path, self._run)]
        except (ValueError, TypeError) as error:
            raise ScoreTableError(
                f"{path}: of another version ({error}); discard the unfinished run with --overwrite"
            ) from error
        return {entry.batch: entry for entry in entries}


def unfinished_runs(scores_path: Path) -> list[dict[str, Any]]:
    """Return the fingerprints of the readable journal parts that an unfinished run left on this machine."""
    runs = map(read_journal_run, _parts(scores_path, "journal"))
    return [run for run in runs if run is not None]


def _parts(scores_path: Path, kind: str) -> list[Path]:
    """Return the files of that kind which processes have beside a score file, ordered by process number."""
    name = re.compile(re.escape(scores_path.with_suffix(f".{kind}").name) + r"(?:-(\d+))?")
    matches = [(match, path) for path in scores_path.parent.glob("*") if (match := name.fullmatch(path.name))]
    return [path for _, path in sorted(matches, key=lambda pair: int(pair[0][1] or 0))]


def _batch_scores(batch: Any, seconds: Any, rows: Any) -> BatchScores:
    if not isinstance(batch, int) or not all(isinstance(row[0], float | int | None) for row in rows):
        raise ValueError(f"batch {batch!r} has a score that is not a number")
    return BatchScores(batch, tuple(Score(math.nan if v is None else v, *rest) for v, *rest in rows), seconds)
