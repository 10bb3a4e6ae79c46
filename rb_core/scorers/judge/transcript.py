"""What a judge was asked and answered: written down as it arrives, and kept as one parquet file beside the scores.

A run appends every reply to a journal the moment it comes, so that nothing is paid for twice: after a kill, or when a
limit was reached, the same command asks only what was not answered. When the run is complete the replies become one
table, a row a request, from which the scores can be derived again with a newer parser and without asking anyone.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ScoreTableError
from rb_core.files import METADATA, check_same_run, close_journal, open_journal, whole_lines, write_table
from rb_core.scorers.judge.types import SERVER_ERROR, Reply, Token

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


class Transcript:
    """The replies of a run by judge and hash of the request.

    Opened at a path it begins with what an unfinished run left there and appends what is added; without one it is kept
    in memory alone. A reply that the server failed to give is not counted as one: it is asked for again. Closed without
    a single line it leaves no file. earlier: the replies that the unfinished run left, until they are taken.

    Raises ScoreTableError when another run's replies stand at the path, unless `discard` allows to replace them.
    """

    def __init__(self, path: Path | None = None, run: dict[str, Any] | None = None, *, discard: bool = False) -> None:
        self.replies: dict[tuple[str, str], Reply] = {}
        self.earlier: set[tuple[str, str]] = set()
        self.path = path
        self._header = json.dumps(run or {}, sort_keys=True)
        self._discard = discard

    def __enter__(self) -> Transcript:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._read(self.path)
            except ScoreTableError:
                if not self._discard:
                    raise
                self.path.unlink()
            self._file = open_journal(self.path, self._header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is not None:
            close_journal(self._file, self.path)

    def get(self, judge: str, sha256: str) -> Reply | None:
        """The reply to that request, if there is one."""
        return self.replies.get((judge, sha256))

    def take_earlier(self, judge: str, sha256: str) -> Reply | None:
        """The reply to that request if an earlier start left it; once."""
        if (judge, sha256) not in self.earlier:
            return None
        self.earlier.remove((judge, sha256))
        return self.replies[judge, sha256]

    def add(self, judge: str, sha256: str, reply: Reply) -> None:
        """Add a reply. It is in the operating system's hands when this returns, so that a kill cannot take it."""
        self.replies[judge, sha256] = reply
        if self.path is not None:
            self._file.write(json.dumps([judge, sha256, reply]).encode() + b"\n")
            self._file.flush()

    def remove(self) -> None:
        """Delete the journal, once its replies stand in the table."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        """Take up the replies in a journal's whole lines. Raises ScoreTableError for another run's, and for damage."""
        header, *lines = whole_lines(path).splitlines() or [self._header.encode()]
        try:
            then, now = json.loads(header), json.loads(self._header)
            if not isinstance(then, dict):
                raise ValueError("the first line does not describe a run")
            check_same_run(path, then, now)
            entries = [json.loads(line) for line in lines]
            found = {(str(judge), str(sha256)): reply_from_json(reply) for judge, sha256, reply in entries}
        except (ValueError, TypeError) as error:
            raise ScoreTableError(
                f"{path}: damaged, or of another version ({error}); discard the unfinished run with --overwrite"
            ) from error
        self.replies = {key: reply for key, reply in found.items() if reply.problem != SERVER_ERROR}
        self.earlier = set(self.replies)


def reply_from_json(fields: Any) -> Reply:
    """A reply as the journal has it. Raises TypeError or ValueError for anything else."""
    reply = Reply(*fields)
    if not all(isinstance(text, str) for text in (reply.text, reply.finish, reply.problem, reply.reasoning)):
        raise ValueError("a reply without its text")
    if not all(isinstance(count, int | None) for count in (reply.prompt_tokens, reply.completion_tokens)):
        raise ValueError("a number of tokens that is none")
    if not isinstance(reply.seconds, float | int) or not isinstance(reply.tries, int):
        raise ValueError("a reply without its seconds and tries")
    return reply._replace(tokens=_tokens(reply.tokens))


def _tokens(found: Any) -> tuple[Token, ...]:
    return tuple(Token(text, logprob, tuple((t, p) for t, p in top)) for text, logprob, top in found)


def tokens_to_json(tokens: tuple[Token, ...]) -> str:
    """Log-probabilities as a cell of the table; empty for none."""
    return json.dumps(tokens) if tokens else ""


def tokens_from_json(cell: str) -> tuple[Token, ...]:
    """What `tokens_to_json` wrote."""
    return _tokens(json.loads(cell)) if cell else ()


def write_transcript(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> None:
    """Write the table, one row a request, with what is to be known of the run."""
    write_table(path, frame, SCHEMA, metadata)


def read_transcript(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table and its metadata. Raises ScoreTableError when the file is missing or no transcript."""
    try:
        with path.open("rb") as file:  # on one thread: see read_scores
            table = pq.read_table(file, use_threads=False, pre_buffer=False)
        about = json.loads((table.schema.metadata or {})[METADATA])
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except FileNotFoundError:
        raise ScoreTableError(f"{path}: no such transcript") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a transcript of a judge: {error}") from error
    if not isinstance(about, dict):
        raise ScoreTableError(f"{path}: its description of the run is not an object")
    return table.to_pandas(), about


def is_transcript(path: Path) -> bool:
    """Whether a parquet file is a transcript, by its columns. Raises ScoreTableError for a file that is none at all."""
    try:
        return "prompt_sha256" in pq.read_schema(path).names
    except FileNotFoundError:
        raise ScoreTableError(f"{path}: no such score file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a readable parquet file: {error}") from error
