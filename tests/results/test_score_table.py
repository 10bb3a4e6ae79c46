"""The score table and its journal: what was written is read back, and what is damaged is never taken for scores."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.errors import ScoreTableError
from rb_core.evaluation.distributed import Process
from rb_core.evaluation.journal import BatchScores, Journal, unfinished_runs
from rb_core.files import write_atomically
from rb_core.results.score_table import COLUMNS, SCHEMA, Score, read_scores, write_scores

RUN = {"model": {"name": "a/b", "dtype": "float32"}, "seed": 0}
FIRST = BatchScores(0, (Score(1.5, 10, False, "", 4), Score(-0.25, 7, True), Score.unscored("too long", 9)), 0.5)
SECOND = BatchScores(1, (Score(3.0, 4),), 0.25)
THIRD = BatchScores(2, (Score(0.1, 2), Score.unscored("not finite", 3, True)), 0.125)


def same(left: BatchScores, right: BatchScores) -> bool:
    """Equality under which NaN is NaN."""
    return repr(left) == repr(right)


def frame_of(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS).astype({"score": "float32", "completion": "int32"})


SCORES = frame_of(
    ("a:1", "chat", "g1", 0, True, 1.25, 10, 4, False, ""),
    ("a:1", "chat", "g1", 1, False, math.nan, 900, 7, True, "too long"),
    ("ü:2", "", "g2", 0, True, -3.0e-7, 1, 0, True, ""),
)


# ---- journal


def test_a_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    """A run that is started again finds each batch as it was scored: values, both lengths, flags, reasons, seconds."""
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
    """Every float32 value comes back bit for bit, NaN as NaN, with any reason."""
    path = tmp_path_factory.mktemp("journal") / "model.parquet"
    entry = BatchScores(0, tuple(Score(*row) for row in rows), 1.0)
    with Journal(path, RUN) as journal:
        journal.append(entry)
    with Journal(path, RUN) as journal:
        assert same(journal.done[0], entry)


def test_appended_batches_survive_a_kill(tmp_path: Path) -> None:
    """What append has returned from is in the file although the process never closed it."""
    path = tmp_path / "model.parquet"
    script = (
        "import os, sys; from pathlib import Path; from rb_core.evaluation.journal import *\n"
        "from rb_core.results.score_table import *\n"
        "journal = Journal(Path(sys.argv[1]), {'seed': 0}); journal.__enter__()\n"
        "journal.append(BatchScores(0, (Score(1.5, 3),), 0.5)); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    with Journal(path, {"seed": 0}) as journal:
        assert journal.done == {0: BatchScores(0, (Score(1.5, 3),), 0.5)}


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_torn_last_line_is_dropped(tmp_path: Path, kept: int) -> None:
    """A line that a kill cut short counts as not written, wherever the cut is, and the next append is whole."""
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
    """A journal whose first line was cut short holds nothing; it is begun again."""
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        whole = journal.path.read_bytes()
    for cut in (0, 5, len(whole) - 1):
        journal.path.write_bytes(whole[:cut])
        with Journal(path, RUN) as journal:
            assert journal.done == {}
            assert journal.path.read_bytes() == whole


def test_a_run_that_scored_nothing_leaves_no_journal(tmp_path: Path) -> None:
    """A mistake that shows before the first score keeps nothing from being corrected."""
    path = tmp_path / "model.parquet"
    with pytest.raises(RuntimeError), Journal(path, RUN):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_is_forgotten_is_scored_anew_and_its_time_counts(tmp_path: Path) -> None:
    """The new score replaces the old one, and the seconds of both are added up."""
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    with Journal(path, RUN) as journal:
        journal.forget()
        assert journal.done == {}
        journal.append(FIRST._replace(seconds=2.0))
    with Journal(path, RUN) as journal:
        assert journal.done[FIRST.batch].seconds == pytest.approx(FIRST.seconds + 2.0)


def test_another_runs_journal_is_refused_and_kept(tmp_path: Path) -> None:
    """A header of other settings is an error that names what differs; the file stays as it is."""
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
    """With discard the other run's batches are gone and this run's header stands."""
    path = tmp_path / "model.parquet"
    with Journal(path, RUN) as journal:
        journal.append(FIRST)
    with Journal(path, RUN | {"seed": 1}, discard=True) as journal:
        assert journal.done == {}
        journal.append(SECOND)
    with Journal(path, RUN | {"seed": 1}) as journal:
        assert list(journal.done) == [1]


def test_discard_keeps_the_same_runs_batches(tmp_path: Path) -> None:
    """Allowing another run's journal to be replaced does not throw this run's own away."""
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
    """Damage that no kill explains is never taken for scores, is named with the file, and can be discarded."""
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
    """A file that was never a journal is refused with its name, and replaced when that is allowed."""
    path = tmp_path / "model.parquet"
    (tmp_path / "model.journal").write_bytes(header + b"\n")
    with pytest.raises(ScoreTableError, match=r"model\.journal"), Journal(path, RUN):
        pass
    with Journal(path, RUN, discard=True) as journal:
        assert journal.done == {}


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """Two processes never write one journal: the second gets an error at once, and may go on when the first ends."""
    path = tmp_path / "model.parquet"
    script = (
        "import sys; from pathlib import Path; from rb_core.evaluation.journal import *\n"
        "from rb_core.results.score_table import *\n"
        "with Journal(Path(sys.argv[1]), {'seed': 0}) as journal:\n"
        "    journal.append(BatchScores(0, (Score(1.5, 3),), 0.5)); print('open', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(ScoreTableError, match="another run"), Journal(path, {"seed": 0}, discard=True):
            pass
        other.communicate("")
    assert other.returncode == 0
    with Journal(path, {"seed": 0}) as journal:
        assert list(journal.done) == [0]


def test_remove_leaves_nothing_behind(tmp_path: Path) -> None:
    """Once the scores stand in the score file neither journal nor lock is left."""
    with Journal(tmp_path / "model.parquet", RUN) as journal:
        journal.append(FIRST)
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_keeps_what_is_done(tmp_path: Path) -> None:
    """A run that ends in an error has its batches kept and its lock let go."""
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
    """Llama-3.1 and Llama-3.2 have a journal each."""
    paths = [Journal(tmp_path / f"Llama-{version}.parquet", RUN).path for version in ("3.1", "3.2", "3")]
    assert len(set(paths)) == 3


# ---- a part a process


def part(path: Path, index: int, *entries: BatchScores) -> None:
    """What a process of that number leaves behind when the run is killed."""
    here = Process(index)  # alone for all it knows, under the number that it had
    with Journal(path, RUN, process=here) as journal:
        for entry in entries:
            journal.append(entry)


def test_whatever_number_of_processes_wrote_it_all_is_found(tmp_path: Path) -> None:
    """The parts of a killed run are united, torn lines left out, by one process as by many; they go all at once."""
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
    """A foreign part counts like a foreign journal, whatever its number: an error, or gone at once with discard."""
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
    """A model called m.journal-1 has a journal of its own that a run of m neither reads nor removes."""
    other = tmp_path / "m.journal-1.parquet"
    part(other, 0, FIRST)
    part(other, 1, SECOND)
    before = sorted(p.name for p in tmp_path.iterdir())
    with Journal(tmp_path / "m.parquet", RUN | {"seed": 1}) as journal:
        assert journal.done == {}
        journal.remove()
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_unfinished_runs_are_told_by_their_headers(tmp_path: Path) -> None:
    """The fingerprints of all parts; a torn or foreign one tells nothing, and nothing is changed by looking."""
    path = tmp_path / "model.parquet"
    assert unfinished_runs(path) == []
    part(path, 0, FIRST)
    part(path, 1, THIRD)
    for number, content in enumerate([b'{"model": ', b"[1]\n", b"{{{\n", b"\xff\n", b""], start=2):
        (tmp_path / f"model.journal-{number}").write_bytes(content)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert unfinished_runs(path) == [RUN, RUN]
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


# ---- score file


def test_the_score_table_reads_back_as_written(tmp_path: Path) -> None:
    """All columns with their types, NaN as NaN, the metadata as they were; the hash is the file's."""
    path = tmp_path / "deep" / "scores.parquet"
    about = {"model": {"name": "ü/b"}, "run": {"seed": 3, "versions": {"python": "3"}}}
    digest = write_scores(path, SCORES, about)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    frame, found = read_scores(path)
    assert found == about
    assert list(frame.columns) == COLUMNS
    assert frame["score"].dtype == "float32"
    assert frame["score"].isna().tolist() == [False, True, False]
    pd.testing.assert_frame_equal(frame, SCORES, check_dtype=False)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """The file depends on its content alone."""
    digests = {write_scores(tmp_path / name, SCORES, {"b": 1, "a": 2}) for name in ("one.parquet", "two.parquet")}
    assert len(digests) == 1


def test_an_unscored_completion_is_null_in_the_file(tmp_path: Path) -> None:
    """Readers other than this one see a missing value, not a NaN that a mean would spread."""
    write_scores(tmp_path / "s.parquet", SCORES, {})
    assert pq.read_table(tmp_path / "s.parquet")["score"].null_count == 1


def test_an_empty_table_reads_back(tmp_path: Path) -> None:
    """No rows is a table like any other."""
    write_scores(tmp_path / "s.parquet", SCORES.iloc[:0], {"a": 1})
    frame, about = read_scores(tmp_path / "s.parquet")
    assert (len(frame), list(frame.columns), about) == (0, COLUMNS, {"a": 1})


def test_extra_columns_are_not_written(tmp_path: Path) -> None:
    """Only the schema's columns go into the file."""
    write_scores(tmp_path / "s.parquet", SCORES.assign(secret=1), {})
    assert pq.read_table(tmp_path / "s.parquet").column_names == COLUMNS


def test_a_missing_score_file_is_named(tmp_path: Path) -> None:
    """The error has the path."""
    with pytest.raises(ScoreTableError, match=r"none\.parquet: no such"):
        read_scores(tmp_path / "none.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello, world", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Foreign and damaged bytes are refused with the file's name."""
    path = tmp_path / "bad.parquet"
    path.write_bytes(content)
    with pytest.raises(ScoreTableError, match=r"bad\.parquet"):
        read_scores(path)


def test_a_truncated_score_file_is_an_error(tmp_path: Path) -> None:
    """Half a file is no file."""
    path = tmp_path / "half.parquet"
    write_scores(path, SCORES, {})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ScoreTableError, match=r"half\.parquet"):
        read_scores(path)


def test_damage_inside_a_score_file_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    """Flipped bytes anywhere end in an error of this package or in a table, never in another exception."""
    path = tmp_path / "flipped.parquet"
    write_scores(path, SCORES, {"model": "m"})
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_scores(path)
        except ScoreTableError as error:
            assert "flipped.parquet" in str(error)  # noqa: PT017 - both ends are right


def test_a_foreign_parquet_is_an_error(tmp_path: Path) -> None:
    """A parquet with other columns names what it lacks; one without this package's metadata says so."""
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"example_id": ["a"], "subset": ["s"]}), path)
    with pytest.raises(ScoreTableError, match=r"lacks the columns group, completion, is_chosen"):
        read_scores(path)
    SCORES.to_parquet(path)
    with pytest.raises(ScoreTableError, match="not written by this package"):
        read_scores(path)


@pytest.mark.parametrize("about", [b"", b"no json", b"\xff\xfe", b"[1, 2]", b"3"])
def test_metadata_that_is_no_object_is_an_error(tmp_path: Path, about: bytes) -> None:
    """A description of the run that cannot be read is refused with the file's name."""
    path = tmp_path / "foreign.parquet"
    table = pa.Table.from_pandas(SCORES[COLUMNS], schema=SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"rewardbench": about}), path)
    with pytest.raises(ScoreTableError, match=r"foreign\.parquet"):
        read_scores(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("score", ["high", "low", "low"]),
        ("num_tokens", [1.5, 2.0, 3.0]),
        ("is_chosen", ["yes", "no", "no"]),
        ("subset", [None, "a", "b"]),
    ],
)
def test_a_column_of_another_type_is_an_error(tmp_path: Path, column: str, values: list[Any]) -> None:
    """Values are not bent into the schema's types; a missing value where there must be one is refused."""
    path = tmp_path / "typed.parquet"
    table = pa.Table.from_pandas(SCORES.assign(**{column: values})[COLUMNS], preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"rewardbench": b"{}"}), path)
    with pytest.raises(ScoreTableError, match=r"typed\.parquet"):
        read_scores(path)


def test_a_folder_is_no_score_file(tmp_path: Path) -> None:
    """A path that is a folder is refused, not read as a dataset of many files."""
    write_scores(tmp_path / "folder.parquet" / "one.parquet", SCORES, {})
    with pytest.raises(ScoreTableError, match=r"folder\.parquet"):
        read_scores(tmp_path / "folder.parquet")


# ---- whole files or none


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new content is there, readable by others, and no temporary file beside it."""
    path = tmp_path / "a" / "file.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """When writing fails the old content stands and the temporary file is gone."""
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    """Content that cannot be written leaves an empty folder."""
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file.json", "text")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_unscored_is_nan_with_a_reason() -> None:
    """A failure is never a number."""
    score = Score.unscored("why", 5, True, 3)
    assert math.isnan(score.value)
    assert score[1:] == (5, True, "why", 3)


def test_the_journal_is_lines_of_json(tmp_path: Path) -> None:
    """One line a batch after the header, so that a kill can only ever cut the last."""
    with Journal(tmp_path / "model.parquet", RUN) as journal:
        journal.append(FIRST)
        journal.append(BatchScores(1, (Score.unscored("two\nlines"),), 0.0))
    lines = journal.path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [type(json.loads(line)) for line in lines] == [dict, list, list]
