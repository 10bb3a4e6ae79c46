"""Replies are written down as they arrive, and kept with the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rb_core.errors import ScoreTableError
from rb_core.files import journal_line, write_table
from rb_core.results.failures import FAILED
from rb_core.scorers.http.replies import Reply, Token
from rb_core.scorers.judge.transcript import (
    Transcript,
    is_transcript,
    read_transcript,
    reply_from_json,
    write_transcript,
)
from rb_core.scorers.judge.types import CUT, JudgeRecord

TOKENS = (Token("A", -0.1, (("A", -0.1), ("B", -2.5))), Token("\u2028", -3.0, ()))
REPLY = Reply("Verdict: A", "stop", "", "hm", TOKENS, 12, None, 0.5, 2, ("seed",))


def test_replies_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "model.replies"
    first = Transcript(path, {"model": 1}).__enter__()
    first.add("judge", "aa", REPLY)
    with Transcript(path, {"model": 1}) as again:
        assert again.get("judge", "aa") == REPLY
        assert again.get("other", "aa") is None
    first._file.close()


def test_a_line_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("reason", sorted(FAILED))
def test_failed_requests_are_sent_again(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.replies"
    finished = [
        JudgeRecord("judge", "pairwise", (0, 1), REPLY, prompt_sha256="bb"),
        JudgeRecord("judge", "pairwise", (1, 0), Reply(error=reason), prompt_sha256="cc"),
    ]
    with Transcript(path, {}) as first:
        first.add("judge", "aa", Reply(error=reason, attempts=5))
    with Transcript(path, {}, finished=finished) as again:
        assert again.replies == {("judge", "bb"): REPLY}
        assert again.take_earlier("judge", "bb") == REPLY


def test_another_runs_replies_are_refused_and_kept(tmp_path: Path) -> None:
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
    path = tmp_path / "model.replies"
    with Transcript(path, {"temperature": 0}):
        assert path.exists()
    assert not path.exists()


def test_replies_of_an_unfinished_run_are_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "model.replies"
    with Transcript(path, {}) as first:
        first.add("judge", "aa", REPLY)
        assert first.take_earlier("judge", "aa") is None
    with Transcript(path, {}) as again:
        assert again.take_earlier("judge", "aa") == REPLY
        assert again.take_earlier("judge", "aa") is None
        assert again.get("judge", "aa") == REPLY


def test_another_runs_settings_are_named_before_its_version(tmp_path: Path) -> None:
    path = tmp_path / "model.replies"
    path.write_bytes(journal_line({"model": 1}) + journal_line(["judge", "aa", {"of": "another version"}]))
    with pytest.raises(ScoreTableError, match="different model"), Transcript(path, {"model": 2}):
        pass


@pytest.mark.parametrize(
    "content",
    [[], [1], ["j", "aa", ["t", "stop", "", "", [], "12"]], ["j", "aa", 3], ["j", "aa", [1, 2]], ["j", "aa", [None]]],
)
def test_a_line_of_another_version_is_an_error(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "model.replies"
    path.write_bytes(journal_line({}) + journal_line(content))
    with pytest.raises(ScoreTableError, match=r"model\.replies: of another version"), Transcript(path, {}):
        pass


def test_a_reply_that_changed_on_the_disk_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "model.replies"
    with Transcript(path, {}) as first:
        first.add("judge", "aa", REPLY)
        first.add("judge", "bb", REPLY)
    path.write_bytes(path.read_bytes().replace(b'"aa"', b'"ab"'))
    with Transcript(path, {}) as again:
        assert list(again.replies) == [("judge", "bb")]


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    record = JudgeRecord(
        "judge", "pairwise", (1, 0), REPLY, (1.0, 0.0), prompt_sha256="aa", example_id="e", authors=("a", "")
    )
    failed = JudgeRecord("judge", "ratings", (0,), Reply(error=CUT), error=CUT, injections=2)
    path = tmp_path / "t.parquet"
    write_transcript(path, [record, failed], {"model": "m"})
    assert read_transcript(path) == ([record, failed], {"model": "m"})
    assert is_transcript(path)
    assert reply_from_json([*REPLY]) == REPLY


def test_transcripts_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They have no changes of requests."""
    path = tmp_path / "t.parquet"
    record = JudgeRecord("judge", "pairwise", (1, 0), REPLY, (1.0, 0.0), prompt_sha256="aa", example_id="e")
    write_transcript(path, [record], {})
    write_table(path, pq.read_table(path).drop_columns(["changes"]), {})
    ((read,), _) = read_transcript(path)
    assert read.reply == REPLY._replace(changes=())


def test_a_file_that_is_not_a_transcript_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScoreTableError, match="no such transcript"):
        read_transcript(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(ScoreTableError, match="not a transcript"):
        read_transcript(tmp_path / "text.parquet")
    with pytest.raises(ScoreTableError, match="not a readable parquet file"):
        is_transcript(tmp_path / "text.parquet")
