"""A visitor's file of prompts with completions, read and checked by the code of the command `score`.

A file of any content ends as rows or in an InputError that says what to change. Nothing is written to a disk. No
gradio, no torch.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rb_core.benchmarks.files import text_rows
from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.benchmarks.prompt_rows import PromptRow, read_prompt_row
from rb_core.benchmarks.row_location import RowError, RowProblems
from rb_core.errors import DataError
from rb_core.evaluation.prompt_windows import own_columns
from rb_core.evaluation.score_writers import json_text
from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.question import MAX_ALL_CHARACTERS, MAX_CHARACTERS

MAX_ROWS = 200
MAX_FILE_BYTES = 1_000_000
MAX_ROW_COMPLETIONS = 16
MAX_NAME = 255  # characters of a file's name
MAX_MESSAGE = 2000  # characters; an error names many rows, and quotes the fields of a row
FILE_TYPES = (".jsonl", ".json", ".csv", ".tsv")
COMMAND = "python -m rb_core score FILE --model NAME --out scores.parquet"
FOR_MORE = f"Score it on your own machine: {COMMAND}"


def read_uploaded_file(upload: Any, columns: Any = "") -> list[PromptRow]:
    """Return the rows of a file. Raises InputError, with lines and fields, for one that cannot be scored.

    upload: `name`, `size` in bytes and `content` in base64, as the browser sends them; a file that is too large comes
    without content. columns: as `--columns`, such as "prompt=question,completion=answer".
    """
    name, content = _decoded(upload)
    if not isinstance(columns, str | None) or len(columns or "") > MAX_CHARACTERS:
        raise InputError("Columns is not text such as prompt=question,completion=answer.")
    try:
        return _read_rows(name, content, parse_columns((columns or "").strip()))
    except DataError as error:
        message = str(error)
        raise InputError(message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} …") from error


def _decoded(upload: Any) -> tuple[str, bytes]:
    """Return the file's name and bytes."""
    if upload is None:
        raise InputError("No file is chosen. Choose one first.")
    fields = upload if isinstance(upload, Mapping) else {}
    name, size, encoded = fields.get("name"), fields.get("size"), fields.get("content")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError("This file has no name that can be shown. Rename it.")
    if Path(name).suffix.lower() not in FILE_TYPES:
        raise InputError(f"{name}: is not a file of a known type. Choose one that ends with {', '.join(FILE_TYPES)}.")
    if encoded is None and isinstance(size, int) and size > MAX_FILE_BYTES:
        raise InputError(_too_large(name, size))
    try:
        content = base64.b64decode(str(encoded or ""), validate=True)
    except ValueError as error:
        raise InputError(f"{name}: could not be read. Choose it again.") from error
    if len(content) > MAX_FILE_BYTES:
        raise InputError(_too_large(name, len(content)))
    return name, content


def _read_rows(name: str, content: bytes, columns: Mapping[str, str]) -> list[PromptRow]:
    problems, rows = RowProblems(), []
    for number, (row, location) in enumerate(text_rows(content, name), start=1):
        if number > MAX_ROWS:
            raise InputError(f"{name}: has more than {MAX_ROWS} rows. {FOR_MORE}")
        with problems.collected(location):
            read = read_prompt_row(row, location, columns)
            _check_limits(read)
            json_text(own_columns(read))  # what cannot be written later is an error of its row
            rows.append(read)
    problems.raise_any()
    if not rows:
        raise InputError(f"{name}: has no rows.")
    return rows


def _check_limits(read: PromptRow) -> None:
    field = "+".join(read.fields)
    if (count := len(read.completions)) > MAX_ROW_COMPLETIONS:
        raise read.location.error(field, f"has {count} completions; at most {MAX_ROW_COMPLETIONS} are scored here")
    texts = {field: read.completions, "prompt": [message["content"] for message in read.prompt]}
    for name, contents in texts.items():
        if (longest := max(map(len, contents))) > MAX_CHARACTERS:
            problem = f"has {longest:,} characters; at most {MAX_CHARACTERS:,} are scored here"
            raise read.location.error(name, problem)
    if (total := sum(len(text) for contents in texts.values() for text in contents)) > MAX_ALL_CHARACTERS:
        problem = f"has {total:,} characters in all its texts; at most {MAX_ALL_CHARACTERS:,} are scored here"
        raise RowError(read.location, problem)


def _too_large(name: str, size: int) -> str:
    return f"{name}: has {size:,} bytes; at most {MAX_FILE_BYTES:,} are scored here. {FOR_MORE}"
