"""The transcript of a judge: a journal of replies while a run lasts, then a parquet file with one row per request.

A reply is appended to the journal when it arrives, so that no request is paid for twice: after a kill, or when a limit
was reached, the same command sends only the requests that have no reply. The scores of a complete run can be derived
again from the parquet file with a newer parser.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ScoreTableError
from rb_core.files import append_entry, close_journal, open_journal, read_journal, read_table, write_table
from rb_core.results.failures import FAILED
from rb_core.scorers.http.replies import Reply, Token
from rb_core.scorers.judge.types import JudgeRecord

SCHEMA = pa.schema(
    [
        pa.field("judge", pa.string(), nullable=False),
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("order", pa.list_(pa.int32()), nullable=False),
        pa.field("prompt_sha256", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("reasoning", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("logprobs", pa.string(), nullable=False),
        pa.field("shares", pa.list_(pa.float64()), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("injections", pa.int32(), nullable=False),
        pa.field("authors", pa.list_(pa.string()), nullable=False),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("tries", pa.int32(), nullable=False),
    ]
)
OPTIONAL = pa.schema([pa.field("changes", pa.list_(pa.string()), nullable=False)])  # files of before have none


class Transcript:
    """The replies of a run, by judge and hash of the request.

    With a path, the replies of an unfinished run are read from its journal and new ones appended; without one,
    replies are kept in memory. Requests that failed are sent again. A journal without a reply is deleted when it is
    closed. `earlier` holds the keys of the replies of the unfinished run, until they are taken.

    finished: records of a finished run with the same settings, whose failed requests are sent again.

    Raises ScoreTableError if the journal belongs to another run and `discard` does not allow to replace it.
    """

    def __init__(
        self,
        path: Path | None = None,
        run: dict[str, Any] | None = None,
        *,
        discard: bool = False,
        finished: Iterable[JudgeRecord] = (),
    ) -> None:
        self.replies: dict[tuple[str, str], Reply] = {}
        self.earlier: set[tuple[str, str]] = set()
        self.path = path
        self._run: dict[str, Any] = json.loads(json.dumps(run or {}))
        self._finished = {(record.judge, record.prompt_sha256): record.reply for record in finished}
        self._discard = discard

    def __enter__(self) -> Transcript:
        if self.path is not None:
            self.replies = dict(self._finished)
            try:
                self._read(self.path)
            except ScoreTableError:
                if not self._discard:
                    raise
                self.path.unlink()
            self.replies = {key: reply for key, reply in self.replies.items() if reply.error not in FAILED}
            self.earlier = set(self.replies)
            self._file = open_journal(self.path, self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is not None:
            close_journal(self._file, self.path)

    def get(self, judge: str, sha256: str) -> Reply | None:
        return self.replies.get((judge, sha256))

    def take_earlier(self, judge: str, sha256: str) -> Reply | None:
        """Return the reply if the unfinished run left it; only the first call returns it."""
        if (judge, sha256) not in self.earlier:
            return None
        self.earlier.remove((judge, sha256))
        return self.replies[judge, sha256]

    def add(self, judge: str, sha256: str, reply: Reply) -> None:
        """Add a reply and hand it to the operating system, so that a kill cannot lose it."""
        self.replies[judge, sha256] = reply
        if self.path is not None:
            append_entry(self._file, self.path, [judge, sha256, reply])

    def remove(self) -> None:
        """Delete the journal, once its replies are in the table."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        try:
            entries = read_journal(path, self._run)
            replies = {(str(judge), str(sha256)): reply_from_json(reply) for judge, sha256, reply in entries}
        except (ValueError, TypeError) as error:
            raise ScoreTableError(
                f"{path}: of another version ({error}); discard the unfinished run with --overwrite"
            ) from error
        self.replies |= replies


def reply_from_json(fields: Any) -> Reply:
    """Return the reply of a journal's line. Raises TypeError or ValueError for anything else."""
    reply = Reply(*fields)
    if not all(isinstance(text, str) for text in (reply.text, reply.finish, reply.error, reply.reasoning)):
        raise ValueError("a reply without text")
    if not all(isinstance(count, int | None) for count in (reply.prompt_tokens, reply.completion_tokens)):
        raise ValueError("a token count that is not an integer")
    if not isinstance(reply.seconds, float | int) or not isinstance(reply.attempts, int):
        raise ValueError("a reply without seconds and attempts")
    return reply._replace(tokens=_tokens_from_json(reply.tokens), changes=tuple(map(str, reply.changes)))


def _tokens_from_json(entries: Any) -> tuple[Token, ...]:
    return tuple(Token(text, logprob, tuple((t, p) for t, p in top)) for text, logprob, top in entries)


def record_to_row(record: JudgeRecord) -> dict[str, Any]:
    """Return a record as a row of the table."""
    reply = record.reply
    return {
        "judge": record.judge,
        "example_id": record.example_id,
        "mode": record.mode,
        "order": list(record.order),
        "prompt_sha256": record.prompt_sha256,
        "text": reply.text,
        "reasoning": reply.reasoning,
        "finish_reason": reply.finish,
        "problem": reply.error,
        "logprobs": json.dumps(reply.tokens) if reply.tokens else "",
        "shares": list(record.points),
        "reason": record.error,
        "injections": record.injections,
        "authors": list(record.authors),
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "seconds": reply.seconds,
        "tries": reply.attempts,
        "changes": list(reply.changes),
    }


def record_from_row(row: dict[str, Any]) -> JudgeRecord:
    """Return the record of a row. Raises KeyError, TypeError or ValueError for a damaged one."""
    reply = Reply(
        text=row["text"],
        finish=row["finish_reason"],
        error=row["problem"],
        reasoning=row["reasoning"],
        tokens=_tokens_from_json(json.loads(row["logprobs"])) if row["logprobs"] else (),
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        seconds=row["seconds"],
        attempts=row["tries"],
        changes=tuple(row.get("changes", ())),
    )
    return JudgeRecord(
        judge=row["judge"],
        mode=row["mode"],
        order=tuple(row["order"]),
        reply=reply,
        points=tuple(row["shares"]),
        error=row["reason"],
        prompt_sha256=row["prompt_sha256"],
        injections=row["injections"],
        example_id=row["example_id"],
        authors=tuple(row["authors"]),
    )


def write_transcript(path: Path, records: Iterable[JudgeRecord], metadata: dict[str, Any]) -> None:
    """Write the records as a table, one row per request, with the description of the run."""
    schema = pa.schema([*SCHEMA, *OPTIONAL])
    frame = pd.DataFrame([record_to_row(record) for record in records], columns=schema.names)
    frame = frame.astype({"prompt_tokens": "Int64", "completion_tokens": "Int64"})
    write_table(path, pa.Table.from_pandas(frame, schema, preserve_index=False), metadata)


def read_transcript(path: Path) -> tuple[list[JudgeRecord], dict[str, Any]]:
    """Return the records and the description of the run. Raises ScoreTableError for a file that is not a transcript."""
    table, metadata = read_table(path, "transcript", SCHEMA, optional=OPTIONAL)
    try:
        return [record_from_row(row) for row in table.to_pylist()], metadata
    except (KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a transcript: {error}") from error


def is_transcript(path: Path) -> bool:
    """Return True if a parquet file has a transcript's columns. Raises ScoreTableError for an unreadable file."""
    try:
        return "prompt_sha256" in pq.read_schema(path).names
    except FileNotFoundError:
        raise ScoreTableError(f"{path}: no such score file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a readable parquet file: {error}") from error
