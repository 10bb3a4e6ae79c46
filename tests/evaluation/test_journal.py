"""The journal: what was appended is read back, a kill loses nothing, and damage is never taken for scores."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.errors import FileError, ScoreTableError
from rb_core.evaluation.distributed import Process
from rb_core.evaluation.journal import BatchScores, Journal, unfinished_runs
from rb_core.files import journal_line
from rb_core.results.score_table import Score
from tests.fakes.processes import in_threads

RUN = {"model": {"name": "a/b", "dtype": "float32"}, "seed": 0}
FIRST = BatchScores(0, (Score(1.5, 10, False, "", 4), Score(-0.25, 7, True), Score.unscored("too long", 9)), 0.5)
SECOND = BatchScores(1, (Score(3.0, 4),), 0.25)
THIRD = BatchScores(2, (Score(0.1, 2), Score.unscored("not finite", 3, True)), 0.125)


def same(left: BatchScores, right: BatchScores) -> bool:
    """Return True for equal batches, NaN being equal to NaN."""
    return repr(left) == repr(right)


def test_a_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "org" / "model.parquet"
    with Journal(path, RUN) as journal:
        assert journal.done == {}
        journal.append(FIRST)
        journal.append(THIRD)
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0, 2]
        assert same(journal.done[0], FIRST)
        assert same(journal.done[2], THIRD)
        journal.append(SECOND)
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0, 1, 2]


@given(st.lists(st.tuples(st.floats(width=32), st.integers(0, 10**6), st.booleans(), st.text(max_size=8)), max_size=5))
def test_any_score_survives_the_journal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int, bool, str]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "model.parquet"
    entry = BatchScores(0, tuple(Score(*row) for row in rows), 1.0)
    with Journal(path, RUN) as journal:
        journal.append(entry)
    with Journal(path, RUN) as journal:
        assert same(journal.done[0], entry)


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_torn_last_line_is_dropped(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
        before = journal.path.read_bytes()
        journal.append(SECOND)
        after = journal.path.read_bytes()
    journal.path.write_bytes(before + after[len(before) :][:kept])
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [0]
        journal.append(SECOND)
    assert journal.path.read_bytes() == after


def test_a_torn_header_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        whole = journal.path.read_bytes()
    for cut in (0, 5, len(whole) - 1):
        journal.path.write_bytes(whole[:cut])
        with Journal(path, RUN) as journal:
            assert journal.done == {}
            assert journal.path.read_bytes() == whole


def test_a_run_that_scored_nothing_leaves_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    with pytest.raises(RuntimeError), Journal(path, RUN):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_is_forgotten_is_scored_anew_and_its_time_counts(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    with Journal(path, RUN) as journal:
        journal.keep(lambda scores: False)
        assert journal.done == {}
        journal.append(FIRST._replace(seconds=2.0))
    with Journal(path, RUN) as journal:
        assert journal.done[FIRST.batch].seconds == pytest.approx(FIRST.seconds + 2.0)


def test_another_runs_journal_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    before = journal.path.read_bytes()
    with pytest.raises(ScoreTableError, match=r"different seed.*--overwrite"), Journal(path, RUN | {"seed": 1}):
        pass
    assert journal.path.read_bytes() == before
    with pytest.raises(ScoreTableError, match="different device"), Journal(path, RUN | {"device": "cpu"}):
        pass
    with Journal(path, RUN) as journal:  # and the lock was let go each time
        assert list(journal.done) == [0]


def test_discard_replaces_another_runs_journal(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    with Journal(path, RUN | {"seed": 1}, discard=True) as journal:
        assert journal.done == {}
        journal.append(SECOND)
    with Journal(path, RUN | {"seed": 1}) as journal:
        assert list(journal.done) == [1]


def test_discard_keeps_the_same_runs_batches(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    with Journal(path, RUN, discard=True) as journal:
        assert list(journal.done) == [0]


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_a_changed_bit_is_never_taken_for_scores(tmp_path: Path, count: int) -> None:
    """The batch of a changed line is scored again; a changed first line refuses the journal, which is kept."""
    path, chance = tmp_path / "model.parquet", random.Random(14)
    written = {entry.batch: repr(entry) for entry in (FIRST, SECOND, THIRD)}
    with Journal(path, RUN) as journal:
        for entry in (FIRST, SECOND, THIRD):
            journal.append(entry)
    whole = journal.path.read_bytes()
    for bit in chance.sample(range(8 * len(whole)), count):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        journal.path.write_bytes(damaged)
        if bit // 8 <= whole.index(b"\n"):
            with pytest.raises(ScoreTableError, match=r"model.journal: its first line is damaged"), Journal(path, RUN):
                pass
            assert journal.path.read_bytes() == damaged
        else:
            with Journal(path, RUN) as again:
                assert len(again.done) in (1, 2)  # a changed end of line spoils two lines
                assert all(repr(entry) == written[batch] for batch, entry in again.done.items())


def test_a_damaged_line_is_named_and_its_batch_is_scored_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
        journal.append(SECOND)
    journal.path.write_bytes(journal.path.read_bytes().replace(b"1.5", b"2.5"))
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [SECOND.batch]
        assert f"{journal.path}: lines with a wrong checksum: 1" in caplog.text
        journal.append(FIRST)
    with Journal(path, RUN) as journal:
        assert {batch: repr(entry) for batch, entry in journal.done.items()} == {0: repr(FIRST), 1: repr(SECOND)}


OTHER_VERSIONS = {
    "a number": 17,
    "too few values": [0, 0.5],
    "no rows": [0, 0.5, 5],
    "no length": [0, 0.5, [[1.5]]],
    "an object": {"batch": 0},
    "a word for a score": [0, 0.5, [["high", 10, False, ""]]],
    "a word for a batch": ["first", 0.5, [[1.5, 10, False, ""]]],
}


@pytest.mark.parametrize("content", OTHER_VERSIONS.values(), ids=OTHER_VERSIONS)
def test_a_line_of_another_version_is_an_error(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    journal.path.write_bytes(journal_line(RUN) + journal_line(content))
    with pytest.raises(ScoreTableError, match=r"model.journal: of another version.*--overwrite"), Journal(path, RUN):
        pass
    with Journal(path, RUN, discard=True) as journal:
        assert journal.done == {}


@pytest.mark.parametrize(
    "line", [b"{{{{\n", b'{"seed": 0}\n', b"\xff\xfe\n", journal_line(17), journal_line([]), journal_line(None)]
)
def test_a_foreign_first_line_is_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "model.parquet"
    (tmp_path / "model.journal").write_bytes(line)
    with pytest.raises(ScoreTableError, match=r"model\.journal: its first line is damaged"), Journal(path, RUN):
        pass
    with Journal(path, RUN, discard=True) as journal:
        assert journal.done == {}


def test_a_full_disk_ends_a_run_in_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: a write fails in the middle of a line."""
    path = tmp_path / "model.parquet"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, limits[1]))
            with pytest.raises(FileError, match=r"model\.journal: cannot be written: file too large; make room"):
                journal.append(SECOND)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [FIRST.batch]
        journal.append(SECOND)
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [FIRST.batch, SECOND.batch]


def test_another_process_is_refused_until_it_is_killed_and_its_batches_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    script = (
        "import sys; from pathlib import Path; from rb_core.evaluation.journal import *\n"
        "with Journal(Path(sys.argv[1]), {'seed': 0}) as journal:\n"
        "    journal.append(BatchScores(0, (Score(1.5, 3),), 0.5)); print('open', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(ScoreTableError, match="another run"), Journal(path, {"seed": 0}, discard=True):
            pass
        other.kill()
    with Journal(path, {"seed": 0}) as journal:
        assert journal.done == {0: BatchScores(0, (Score(1.5, 3),), 0.5)}


def test_remove_leaves_nothing_behind(tmp_path: Path) -> None:
    with Journal(tmp_path / "model.parquet", RUN) as journal:
        journal.append(FIRST)
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_keeps_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"

    def run() -> None:
        with Journal(path, RUN) as journal:
            journal.append(FIRST)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        run()
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [0]


def test_names_with_dots_do_not_share_a_journal(tmp_path: Path) -> None:
    paths = [Journal(tmp_path / f"Llama-{version}.parquet", RUN).path for version in ("3.1", "3.2", "3")]
    assert len(set(paths)) == 3


# ---- one part per process


def part(path: Path, index: int, *entries: BatchScores) -> None:
    """Write what a killed process of that number leaves behind."""
    with Journal(path, RUN, process=Process(index)) as journal:
        for entry in entries:
            journal.append(entry)


def test_whatever_number_of_processes_wrote_it_all_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    part(path, 0, FIRST)
    part(path, 3, THIRD)
    part(path, 12, SECOND, BatchScores(5, (Score(1.0, 1),), 0.1))
    torn = tmp_path / "model.journal-12"
    torn.write_bytes(torn.read_bytes()[:-3])
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0, 1, 2]
        assert same(journal.done[2], THIRD)
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    part(path, 2, SECOND)
    with pytest.raises(ScoreTableError, match=r"model\.journal-2: .*different seed"), Journal(path, RUN | {"seed": 1}):
        pass
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [1]
    with Journal(path, RUN | {"seed": 1}, discard=True) as journal:
        assert journal.done == {}
        assert sorted(p.name for p in tmp_path.glob("*.journal*")) == ["model.journal"]


def test_a_name_that_looks_like_a_part_is_another_model(tmp_path: Path) -> None:
    other = tmp_path / "m.journal-1.parquet"
    part(other, 0, FIRST)
    part(other, 1, SECOND)
    before = sorted(p.name for p in tmp_path.iterdir())
    with Journal(tmp_path / "m.parquet", RUN | {"seed": 1}) as journal:
        assert journal.done == {}
        journal.remove()
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_unfinished_runs_are_told_by_their_headers(tmp_path: Path) -> None:
    path = tmp_path / "model.parquet"
    assert unfinished_runs(path) == []
    part(path, 0, FIRST)
    part(path, 1, THIRD)
    for number, content in enumerate([b'{"model": ', journal_line([1]), b'{"seed": 0}\n', b"\xff\n", b""], start=2):
        (tmp_path / f"model.journal-{number}").write_bytes(content)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert unfinished_runs(path) == [RUN, RUN]
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_line_is_the_checksum_of_its_json_and_the_json(tmp_path: Path) -> None:
    with Journal(tmp_path / "model.parquet", RUN) as journal:
        journal.append(FIRST)
        journal.append(BatchScores(1, (Score.unscored("two\nlines"),), 0.0))
    lines = journal.path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    checksums, texts = zip(*(line.split(b" ", 1) for line in lines), strict=True)
    assert [type(json.loads(text)) for text in texts] == [dict, list, list]
    assert [int(checksum, 16) for checksum in checksums] == [zlib.crc32(text) for text in texts]


def test_no_part_is_deleted_while_a_process_has_it_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.parquet"
    events: list[str] = []
    unlink = Path.unlink

    def observed(self: Path, missing_ok: bool = False) -> None:
        events.append(self.name)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", observed)

    def work(process: Process) -> None:
        with Journal(path, RUN, process=process) as journal:
            if process.is_main:
                journal.append(FIRST)
            else:
                time.sleep(0.1)
                events.append("ready")
            journal.remove()

    in_threads(2, work)
    assert events[0] == "ready"
    assert sorted(events[1:]) == ["model.journal", "model.journal-1", "model.lock", "model.lock-1"]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_part_may_vanish_while_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.parquet"
    opened = Path.open

    def vanishing(self: Path, mode: str = "r", *options: Any) -> Any:
        file = opened(self, mode, *options)
        if mode == "rb":
            self.unlink()
        return file

    with Journal(path, RUN):
        monkeypatch.setattr(Path, "open", vanishing)
    assert list(tmp_path.iterdir()) == []
