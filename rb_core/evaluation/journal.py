"""Append-only journal of a run's batches, so that a killed run resumes."""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from rb_core.errors import ScoreTableError
from rb_core.evaluation.distributed import ALONE, Processes
from rb_core.files import check_same_run, close_journal, differing_keys, open_journal, whole_lines
from rb_core.results.score_table import Score


class BatchScores(NamedTuple):
    """The scores of one batch of the plan, with the seconds it took."""

    batch: int
    scores: tuple[Score, ...]
    seconds: float


class Journal:
    """Append-only files beside the score file to be, one for each process: a header that names the run, then one line a
    batch.

    `fingerprint` says what the scores depend on (data, model, settings, plan). A journal of another run is not
    continued and not destroyed: opening it raises ScoreTableError, unless `discard` allows it to be replaced. A second
    run on the same file is refused as well. A line that a kill cut short is dropped, and its batch scored again. Closed
    without a single batch it leaves no file.

    The parts are `model.journal`, `model.journal-1` and so on. Whatever number of processes wrote them, every process
    finds in `done` what lies in any part on any of the machines. All processes open, collect and remove together.
    """

    def __init__(
        self, scores_path: Path, fingerprint: dict[str, Any], *, discard: bool = False, here: Processes = ALONE
    ) -> None:
        number = f"-{here.index}" if here.index else ""
        self.path = scores_path.with_suffix(f".journal{number}")
        self.done: dict[int, BatchScores] = {}
        self._scores_path = scores_path
        self._header = json.dumps(fingerprint, sort_keys=True)
        self._discard = discard
        self._here = here
        self._mine: dict[int, BatchScores] = {}
        self._taken: dict[int, float] = {}
        self._lock = FileLock(scores_path.with_suffix(f".lock{number}"), timeout=0)

    def __enter__(self) -> Journal:
        try:
            with self._here.together():
                self._acquire()
            self._check_same_run()
            with self._here.together():  # one reads for its machine; a file system that machines share is read twice
                found = self._read_parts() if self._here.is_local_main else {}
            self._merge(found)
            with self._here.together():
                self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if close_journal(self._file, self.path):
                Path(self._lock.lock_file).unlink(missing_ok=True)
        finally:
            self._lock.release()

    def append(self, entry: BatchScores) -> None:
        """Add one batch. It is in the operating system's hands when this returns, so that a kill cannot take it."""
        entry = entry._replace(seconds=round(entry.seconds + self._taken.pop(entry.batch, 0.0), 6))
        rows = [[None if math.isnan(s.value) else s.value, *s[1:]] for s in entry.scores]
        self._file.write(json.dumps([entry.batch, entry.seconds, rows]).encode() + b"\n")
        self._file.flush()
        self.done[entry.batch] = self._mine[entry.batch] = entry

    def forget(self) -> None:
        """Score all batches anew. The time that they have taken counts still."""
        self._taken = {index: entry.seconds for index, entry in self.done.items()}
        self.done = {}

    def collect(self) -> None:
        """Put into every process's `done` what the others have appended. Waits for all."""
        self._merge(self._mine)

    def remove(self) -> None:
        """Delete all parts, once their scores stand in the score file."""
        if self._here.is_local_main:
            for path in [*_numbered(self._scores_path, "journal"), *_numbered(self._scores_path, "lock")]:
                path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ScoreTableError(f"{self.path}: another run is writing here; wait for it to end") from None

    def _check_same_run(self) -> None:
        """Raises ScoreTableError unless every process is about to score the same plan with the same model."""
        first, *others = map(json.loads, self._here.gather(self._header))
        if differ := sorted({key for other in others for key in differing_keys(first, other)}):
            raise ScoreTableError(
                f"{self.path}: the processes do not agree on the run: they have a different {', '.join(differ)}; "
                "every machine needs the same data, model and versions"
            )

    def _merge(self, entries: dict[int, BatchScores]) -> None:
        for part in self._here.gather(entries):
            self.done |= part

    def _read_parts(self) -> dict[int, BatchScores]:
        """The batches in the parts on this machine."""
        done: dict[int, BatchScores] = {}
        for path in _numbered(self._scores_path, "journal"):
            try:
                done |= self._read(path)
            except ScoreTableError:
                if not self._discard:
                    raise
                path.unlink(missing_ok=True)
        return done

    def _open(self) -> None:
        """Open this process's own part."""
        self._file = open_journal(self.path, self._header)

    def _read(self, path: Path) -> dict[int, BatchScores]:
        """The batches in a part's whole lines. Raises ScoreTableError for another run's, and for damage."""
        header, *lines = whole_lines(path).splitlines() or [self._header.encode()]
        try:
            then, now = json.loads(header), json.loads(self._header)
            if not isinstance(then, dict):
                raise ValueError("the first line does not describe a run")
            entries = [_entry(line) for line in lines]
        except (ValueError, TypeError) as error:
            raise ScoreTableError(f"{path}: damaged ({error}); discard the unfinished run with --overwrite") from error
        check_same_run(path, then, now)
        return {entry.batch: entry for entry in entries}


def unfinished_runs(scores_path: Path) -> list[dict[str, Any]]:
    """The fingerprints of the journal parts on this machine that an unfinished run left; none where unreadable."""
    found = []
    for path in _numbered(scores_path, "journal"):
        with contextlib.suppress(ValueError):
            found += [json.loads(line) for line in whole_lines(path).splitlines()[:1]]
    return [header for header in found if isinstance(header, dict)]


def _numbered(scores_path: Path, kind: str) -> list[Path]:
    """The files of that kind which the processes have beside a score file, in the order of their numbers."""
    name = re.compile(re.escape(scores_path.with_suffix(f".{kind}").name) + r"(?:-(\d+))?")
    found = [(match, path) for path in scores_path.parent.glob("*") if (match := name.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0][1] or 0))]


def _entry(line: bytes) -> BatchScores:
    batch, seconds, rows = json.loads(line)
    if not isinstance(batch, int) or not all(isinstance(row[0], float | int | None) for row in rows):
        raise ValueError(f"batch {batch!r} has a score that is no number")
    return BatchScores(batch, tuple(Score(math.nan if v is None else v, *rest) for v, *rest in rows), seconds)
