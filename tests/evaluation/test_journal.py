"""The journal: what was appended is read back, a kill loses nothing, and damage is never taken for scores."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.errors import ScoreTableError
from rb_core.evaluation.distributed import Process
from rb_core.evaluation.journal import BatchScores, Journal, unfinished_runs
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
        journal.rescore_all()
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


DAMAGE = {
    "no json": b"{{{{",
    "half a line": b"[0, 0.5, [[1.5, 10, fal",
    "zeros": b"\0" * 12,
    "not utf-8": b'[0, 0.5, [[1.5, 10, false, "\xff\xfe"]]]',
    "a number": b"17",
    "too few values": b"[0, 0.5]",
    "no rows": b"[0, 0.5, 5]",
    "no length": b"[0, 0.5, [[1.5]]]",
    "an object": b'{"batch": 0}',
    "a word for a score": b'[0, 0.5, [["high", 10, false, ""]]]',
    "a word for a batch": b'["first", 0.5, [[1.5, 10, false, ""]]]',
}


@pytest.mark.parametrize("line", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
        journal.append(SECOND)
    lines = journal.path.read_bytes().splitlines()
    journal.path.write_bytes(b"\n".join([lines[0], line, lines[2]]) + b"\n")
    with pytest.raises(ScoreTableError, match=r"model.journal: damaged.*--overwrite"), Journal(path, RUN):
        pass
    with Journal(path, RUN, discard=True) as journal:
        assert journal.done == {}


@pytest.mark.parametrize("header", [b"{{{{", b"17", b"[]", b"null", b'"text"', b"\xff\xfe"])
def test_a_foreign_header_is_an_error(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.parquet"
    (tmp_path / "model.journal").write_bytes(header + b"\n")
    with pytest.raises(ScoreTableError, match=r"model\.journal"), Journal(path, RUN):
        pass
    with Journal(path, RUN, discard=True) as journal:
        assert journal.done == {}


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
    for number, content in enumerate([b'{"model": ', b"[1]\n", b"{{{\n", b"\xff\n", b""], start=2):
        (tmp_path / f"model.journal-{number}").write_bytes(content)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert unfinished_runs(path) == [RUN, RUN]
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_journal_is_lines_of_json(tmp_path: Path) -> None:
    with Journal(tmp_path / "model.parquet", RUN) as journal:
        journal.append(FIRST)
        journal.append(BatchScores(1, (Score.unscored("two\nlines"),), 0.0))
    lines = journal.path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [type(json.loads(line)) for line in lines] == [dict, list, list]


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
