"""Replies are written down as they arrive, and kept with the scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.errors import ScoreTableError
from rb_core.scorers.judge.transcript import (
    Transcript,
    is_transcript,
    read_transcript,
    reply_from_json,
    write_transcript,
)
from rb_core.scorers.judge.types import CUT, SERVER_ERROR, JudgeRecord, Reply, Token

TOKENS = (Token("A", -0.1, (("A", -0.1), ("B", -2.5))), Token("\u2028", -3.0, ()))
REPLY = Reply("Verdict: A", "stop", "", "hm", TOKENS, 12, None, 0.5, 2)


def test_what_was_added_is_there_after_a_kill(tmp_path: Path) -> None:
    """A transcript that nobody closed gives every reply back, to the last token."""
    path = tmp_path / "model.replies"
    first = Transcript(path, {"model": 1}).__enter__()
    first.add("judge", "aa", REPLY)
    with Transcript(path, {"model": 1}) as again:
        assert again.get("judge", "aa") == REPLY
        assert again.get("other", "aa") is None
    first._file.close()


def test_a_line_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    """Half a line is no reply, and what is added after it stands on a line of its own."""
    path = tmp_path / "model.replies"
    with Transcript(path, {}) as first:
        first.add("judge", "aa", REPLY)
    with path.open("ab") as file:
        file.write(b'["judge", "bb", ["half')
    with Transcript(path, {}) as again:
        assert again.get("judge", "bb") is None
        again.add("judge", "cc", REPLY)
    with Transcript(path, {}) as once_more:
        assert [sha for _, sha in once_more.replies] == ["aa", "cc"]


def test_what_the_server_failed_to_answer_is_asked_again(tmp_path: Path) -> None:
    """A reply that never came is not one that a later start can use."""
    path = tmp_path / "model.replies"
    with Transcript(path, {}) as first:
        first.add("judge", "aa", Reply(error=SERVER_ERROR, attempts=5))
    with Transcript(path, {}) as again:
        assert again.get("judge", "aa") is None


def test_another_runs_replies_are_refused_and_kept(tmp_path: Path) -> None:
    """Other settings neither continue a run nor destroy it, unless that is asked for."""
    path = tmp_path / "model.replies"
    with Transcript(path, {"temperature": 0}) as first:
        first.add("judge", "aa", REPLY)
    with pytest.raises(ScoreTableError, match="different temperature"), Transcript(path, {"temperature": 1}):
        pass
    with Transcript(path, {"temperature": 0}) as same:
        assert same.get("judge", "aa") == REPLY
    with Transcript(path, {"temperature": 1}, discard=True) as other:
        assert other.replies == {}


def test_a_run_without_a_reply_leaves_no_journal(tmp_path: Path) -> None:
    """A mistake that shows with the first request keeps nothing from being corrected."""
    path = tmp_path / "model.replies"
    with Transcript(path, {"temperature": 0}):
        assert path.exists()
    assert not path.exists()


def test_what_an_earlier_start_left_is_taken_once(tmp_path: Path) -> None:
    """It is booked once, however often it is looked at; what is added later is none of it."""
    path = tmp_path / "model.replies"
    with Transcript(path, {}) as first:
        first.add("judge", "aa", REPLY)
        assert first.take_earlier("judge", "aa") is None
    with Transcript(path, {}) as again:
        assert again.take_earlier("judge", "aa") == REPLY
        assert again.take_earlier("judge", "aa") is None
        assert again.get("judge", "aa") == REPLY


def test_another_versions_lines_do_not_hide_what_differs(tmp_path: Path) -> None:
    """A journal of other settings is told by these, whatever its lines look like."""
    path = tmp_path / "model.replies"
    path.write_text('{"model": 1}\n["judge", "aa", {"of": "another version"}]\n')
    with pytest.raises(ScoreTableError, match="different model"), Transcript(path, {"model": 2}):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "[1]",
        '["j", "aa", ["t", "stop", "", "", [], "12"]]',
        '["j", "aa", 3]',
        '["j", "aa", [1, 2]]',
        "{",
        '["j", "aa", [null]]',
    ],
)
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, line: str) -> None:
    """A whole line that is no reply is not skipped."""
    path = tmp_path / "model.replies"
    path.write_text("{}\n" + line + "\n")
    with pytest.raises(ScoreTableError, match=r"model\.replies: damaged"), Transcript(path, {}):
        pass


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Lists, tokens, missing counts and metadata survive the file; a second reading sees the same."""
    record = JudgeRecord(
        "judge", "pairwise", (1, 0), REPLY, (1.0, 0.0), prompt_sha256="aa", example_id="e", authors=("a", "")
    )
    failed = JudgeRecord("judge", "ratings", (0,), Reply(error=CUT), error=CUT, injections=2)
    path = tmp_path / "t.parquet"
    write_transcript(path, [record, failed], {"model": "m"})
    assert read_transcript(path) == ([record, failed], {"model": "m"})
    assert is_transcript(path)
    assert reply_from_json([*REPLY]) == REPLY


def test_what_is_no_transcript_is_refused_by_name(tmp_path: Path) -> None:
    """A missing file and one of another kind."""
    with pytest.raises(ScoreTableError, match="no such transcript"):
        read_transcript(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(ScoreTableError, match="not a transcript"):
        read_transcript(tmp_path / "text.parquet")
    with pytest.raises(ScoreTableError, match="not a readable parquet file"):
        is_transcript(tmp_path / "text.parquet")
