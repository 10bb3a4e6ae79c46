"""Read rows from local files and folders: JSON lines, JSON, CSV, TSV, parquet, and what `save_to_disk` writes.

Rows are streamed, and what a small file may expand to is bounded.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from rb_core.benchmarks.row_location import Row, RowError, RowLocation, describe_value
from rb_core.errors import DataError, as_text, first_line

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROW_BYTES = 2**26
MAX_DOCUMENT_BYTES = 2**28  # of a JSON file that is not JSON lines
MAX_ROWS = 5_000_000
MAX_FILES = 10_000
# A compressed file may expand to this many bytes, or to this many times its size.
MAX_EXPANDED_BYTES, MAX_EXPANSION = 2**28, 100
_BATCH_ROWS = 4096  # of a parquet file

_COMPRESSIONS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_TEXT_SUFFIXES = _SUFFIXES[:-1]
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t"}
_ENCODING_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# An empty cell of a CSV file in these columns is a missing value; in any other column it is an empty text.
_LABEL_COLUMNS = ("id", "subset", "group", "chosen_model", "rejected_model")
# As datasets writes them; older versions add a hash.
_SHARD = re.compile(r"(?P<name>.+?)[-_.]\d+[-_]of[-_](?P<count>\d+)(?:-[0-9a-f]{16})?")
_METADATA_FILES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")

Rows = Iterator[tuple[Row | RowError, RowLocation]]
NumberedValues = Iterator[tuple[int, Any]]  # line, and the row or the error in it


def read_rows(path: Path) -> Rows:
    """Yield (row, location) of a file, or of all files in a folder; for a row that cannot be read its error.

    Files `NAME-00000-of-00002` are shards of one split NAME. Raises DataError for a file that cannot be read.
    """
    counts: Counter[str] = Counter()
    for source, name, values in _open_all(path):
        for line, value in values:
            counts[name] += 1
            location = RowLocation(source, line, name, counts[name])
            yield _checked_row(value, location), location


def line_rows(stream: BinaryIO, source: str) -> Rows:
    """Yield (row, location) of JSON lines as they arrive; for a line that cannot be read its error."""
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        location = RowLocation(source, number, source)
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_ROW_BYTES)
            yield RowError(location, f"the line is longer than {MAX_ROW_BYTES:,} bytes"), location
        elif line.strip():
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                yield RowError(location, f"is not UTF-8: {error.reason} at byte {error.start}"), location
            else:
                yield _checked_row(_parsed(text, "not a line of JSON"), location), location


def text_rows(content: bytes, name: str) -> Rows:
    """Yield (row, location) of a text file in memory; for a row that cannot be read its error.

    name: of the file; its suffix says which format the content has. Raises DataError for content that cannot be read.
    """
    suffix, source = Path(name).suffix.lower(), as_text(name)
    if suffix not in _TEXT_SUFFIXES:
        raise DataError(f"{source}: unknown file type; expected one of {', '.join(_TEXT_SUFFIXES)}")
    file = _TextFile(source, suffix, lambda: io.BytesIO(content), MAX_EXPANDED_BYTES)
    for number, (line, value) in enumerate(_read_text(file), start=1):
        location = RowLocation(source, line, Path(source).stem, number)
        yield _checked_row(value, location), location


def table_rows(batches: Iterable[pa.RecordBatch | pa.Table], source: str, name: str) -> Rows:
    """Yield (row, location) of Arrow tables. Raises DataError when they cannot be decoded."""
    for number, row in _numbered_rows(batches, source):
        location = RowLocation(source, number, name, number)
        yield _checked_row(row, location), location


def file_name(path: Path) -> str:
    """Return a path's last part without its suffixes, as text that any file can hold."""
    stem = path.name
    if not path.is_dir():
        stem = stem.removesuffix(_compression(path))
        stem = Path(stem).stem
    return as_text(stem)


def _checked_row(value: Any, location: RowLocation) -> Row | RowError:
    """Return the row with None for NaN, or an error if it is not a row of valid Unicode text."""
    if isinstance(value, Exception):
        return RowError(location, str(value))
    if not isinstance(value, dict):
        return RowError(location, f"expected an object with fields, got {describe_value(value)}")
    for field, content in value.items():
        if isinstance(content, str) and len(content) > MAX_ROW_BYTES:
            return location.error(field, f"has {len(content):,} characters, which is too much")
        try:
            surrogate = _find_surrogate((field, content))
        except RecursionError:
            return location.error(field, "is nested too deeply")
        if surrogate:
            return location.error(
                field.encode("ascii", "backslashreplace").decode(),
                f"has half a character ({surrogate}: a lone surrogate); repair the text",
            )
    return {
        field: None if isinstance(content, float) and math.isnan(content) else content
        for field, content in value.items()
    }


def _find_surrogate(value: Any) -> str:
    """Return the first lone surrogate in a value, as an escape; "" without one."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return rf"\u{ord(value[error.start]):04x}"
        return ""
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for part in parts if (found := _find_surrogate(part))), "")


# ---- files


def _open_all(path: Path) -> Iterator[tuple[str, str, NumberedValues]]:
    """Yield source, name and values of each file; the name of one in a subfolder, other than `data`, includes that."""
    if not path.exists():
        raise DataError(f"{as_text(str(path))}: no such file")
    if path.is_dir() and any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        yield from _open_saved(path)
        return
    files = _list_files(path)
    if path.is_dir():
        _check_shards(files)
    for file in files:
        place = file.relative_to(path) if path.is_dir() else Path(file.name)
        shard = _shard(file)
        folders = [as_text(folder) for folder in place.parts[:-1] if folder != "data"]
        name = "/".join([*folders, shard["name"] if shard else file_name(file)])
        yield as_text(place.as_posix()), name, _open_file(file)


def _check_shards(files: Iterable[Path]) -> None:
    """Raise DataError when shards of a split are missing, as after an incomplete download."""
    found = Counter((file.parent, shard["name"], int(shard["count"])) for file in files if (shard := _shard(file)))
    for (_, name, expected), number in found.items():
        if number < expected:
            raise DataError(f"{name}: {number} of {expected} shards are in the folder; complete it, or give one file")


def _shard(file: Path) -> re.Match[str] | None:
    return _SHARD.fullmatch(file_name(file))


def _list_files(path: Path) -> list[Path]:
    if path.is_file():
        if _suffix(path) not in _SUFFIXES or (_compression(path) and _suffix(path) not in _TEXT_SUFFIXES):
            raise DataError(f"{as_text(path.name)}: unknown file type; expected {_expected()}")
        return [path]
    if not path.is_dir():
        raise DataError(f"{as_text(str(path))}: is not a regular file")
    files = []
    for file in path.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if not hidden and file.is_file() and _suffix(file) in _SUFFIXES and file.name not in _METADATA_FILES:
            files.append(file)
            if len(files) > MAX_FILES:
                raise DataError(f"{as_text(str(path))}: more than {MAX_FILES} files; give a folder of preference data")
    if not files:
        raise DataError(f"{as_text(str(path))}: no preference file in this folder; expected {_expected()}")
    return sorted(files)


def _expected() -> str:
    return f"one of {', '.join(_SUFFIXES)}, text files also with {', '.join(_COMPRESSIONS)}"


def _compression(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in _COMPRESSIONS else ""


def _suffix(path: Path) -> str:
    return (Path(path.stem) if _compression(path) else path).suffix.lower()


def _open_saved(path: Path) -> Iterator[tuple[str, str, NumberedValues]]:
    """Open a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(str(path))
        splits = dict(saved) if isinstance(saved, DatasetDict) else {path.name: saved}
        for name, dataset in splits.items():
            table = dataset.with_format("arrow")
            yield f"{as_text(path.name)}/{name}", as_text(name), _numbered_rows(table.iter(256), as_text(path.name))
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{as_text(path.name)}: cannot be read as a saved dataset: {first_line(error)}") from error


def _open_file(path: Path) -> NumberedValues:
    """Yield (line, row) of a file. Raises DataError when it cannot be read."""
    name = as_text(path.name)
    try:
        values = _read_parquet(path) if _suffix(path) == ".parquet" else _read_text(_text_file(path))
        for count, (line, value) in enumerate(values, start=1):
            if count > MAX_ROWS:
                raise DataError(f"{name}: more than {MAX_ROWS:,} rows")
            yield line, value
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{name}: cannot be read, or is damaged: {first_line(error)}") from error


# ---- text files


class _TextFile(NamedTuple):
    """A text file on a disk or in memory. limit: bytes that it may expand to."""

    name: str
    suffix: str
    open: Callable[[], BinaryIO]
    limit: int


def _text_file(path: Path) -> _TextFile:
    opener = _COMPRESSIONS.get(_compression(path), open)
    return _TextFile(as_text(path.name), _suffix(path), lambda: opener(path, "rb"), _expansion_limit(path))


def _read_text(file: _TextFile) -> NumberedValues:
    read = {".json": _read_json, ".csv": _read_csv, ".tsv": _read_csv}
    return read.get(file.suffix, _read_jsonl)(file)


def _lines(file: _TextFile, longest: int = 0) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of a UTF-8 file, which may begin with a byte order mark and be compressed.

    longest: limit of a line in bytes, 0 for that of a row.
    """
    longest = longest or MAX_ROW_BYTES
    name, limit = file.name, file.limit
    with file.open() as stream:
        number = total = 0
        while line := stream.readline(longest + 1):
            number, total = number + 1, total + len(line)
            if number == 1:
                line = _without_mark(line, name)
            if len(line) > longest:
                raise DataError(f"{name}:{number}: the line is longer than {longest:,} bytes")
            if total > limit:
                raise DataError(f"{name}: expands to more than {limit:,} bytes; decompress it first")
            yield number, _decoded(line, name, number)


def _expansion_limit(path: Path) -> int:
    return max(MAX_EXPANDED_BYTES, MAX_EXPANSION * path.stat().st_size)


def _without_mark(line: bytes, name: str) -> bytes:
    encoding = next((encoding for mark, encoding in _ENCODING_MARKS.items() if line.startswith(mark)), None)
    if encoding is None and b"\0" in line[:4]:
        encoding = "UTF-16 or UTF-32, or it is no text"
    if encoding:
        raise DataError(f"{name}: is encoded as {encoding}; save it as UTF-8")
    return line.removeprefix(codecs.BOM_UTF8)


def _decoded(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise DataError(
            f"{name}:{number}: is not UTF-8 (byte 0x{byte:02x}); perhaps ISO-8859-1 (Latin-1) or Windows-1252: "
            "save it as UTF-8"
        ) from error


def _read_jsonl(file: _TextFile) -> NumberedValues:
    for number, line in _lines(file):
        if line.strip():
            yield number, _parsed(line, "not a line of JSON")


def _read_json(file: _TextFile) -> NumberedValues:
    """Yield the rows of JSON lines, of a list of rows, or of an object that holds a list or columns."""
    lines = (line for _, line in _lines(file, MAX_DOCUMENT_BYTES) if line.strip())
    first, second = next(lines, ""), next(lines, "")
    if second and isinstance(_parsed(first, ""), dict):
        yield from _read_jsonl(file)
        return
    size, texts = 0, []
    for _, line in _lines(file, MAX_DOCUMENT_BYTES):
        size += len(line)
        if size > MAX_DOCUMENT_BYTES:
            raise DataError(f"{file.name}: one JSON value of more than {MAX_DOCUMENT_BYTES:,} bytes; use JSON lines")
        texts.append(line)
    content = _parsed("".join(texts), "cannot be read as JSON") if first else []
    if isinstance(content, Exception):
        raise DataError(f"{file.name}: {content}") from content
    yield from enumerate(_rows_of_document(content, file.name), start=1)


def _parsed(text: str, problem: str) -> Any:
    """Return the JSON value, or a ValueError that says what is wrong."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"character {error.colno}" if error.lineno == 1 else f"line {error.lineno}"
        return ValueError(f"{problem}: {error.msg} ({place})")
    except ValueError:
        return ValueError(f"{problem}: a number has more than 4,300 digits")
    except RecursionError:
        return ValueError(f"{problem}: nested too deeply")


def _rows_of_document(content: Any, name: str) -> Sequence[Any]:
    """Return the rows in a JSON value: a list of rows, {"data": [...]}, {"field": [...]} or {"field": {"0": ...}}."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict) or not content:
        raise DataError(f"{name}: expected a JSON list of rows, got {describe_value(content)}")
    values = list(content.values())
    first = values[0]
    by_key = all(isinstance(value, dict) and value.keys() == first.keys() for value in values)
    if by_key and not _is_message(first):
        return [{field: content[field][key] for field in content} for key in first]
    lists = [value for value in values if isinstance(value, list) and value]
    equally_long = len(lists) == len(values) > 1 and len({len(value) for value in lists}) == 1
    # One row of conversations has lists of messages as well.
    if equally_long and (
        any(isinstance(value[0], list) for value in lists) or not any(_is_message(value[0]) for value in lists)
    ):
        return [dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True)]
    of_objects = [value for value in lists if isinstance(value[0], dict) and not _is_message(value[0])]
    return (
        of_objects[0] if len(of_objects) == 1 and not content.keys() & {"prompt", "chosen", "rejected"} else [content]
    )


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and ("content" in value or "value" in value)


def _read_csv(file: _TextFile) -> NumberedValues:
    """Yield (line, row) of comma, semicolon, tab or bar separated values, whichever the header has most of."""
    name = file.name
    header = next((line for _, line in _lines(file) if line.strip()), "")
    delimiter = max(_DELIMITERS[file.suffix], key=header.count)
    csv.field_size_limit(MAX_ROW_BYTES)
    rows = csv.DictReader((line for _, line in _lines(file)), delimiter=delimiter, strict=True)
    try:
        columns = rows.fieldnames or []
        if repeated := sorted({column for column in columns if columns.count(column) > 1}):
            raise DataError(f"{name}:1: the column {repeated[0]!r} is repeated")
        last = rows.line_num
        for row in rows:
            line, last = last + 1, rows.line_num
            if None in row or None in row.values():
                yield (
                    line,
                    ValueError(
                        f"the row that ends in line {rows.line_num} has not {len(columns)} cells like the header"
                    ),
                )
            else:
                yield line, {key: cell for key, cell in row.items() if cell or key not in _LABEL_COLUMNS}
    except csv.Error as error:
        raise DataError(
            f"{name}:{rows.reader.line_num}: cannot be read as {file.suffix[1:].upper()}: {error}"
        ) from error


# ---- tables


def _read_parquet(path: Path) -> NumberedValues:
    """Yield (number, row) of a parquet file. Texts are decoded only when it is known how long they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = as_text(path.name)
    limit = _expansion_limit(path)
    try:
        metadata = pq.read_metadata(path)
        leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        if metadata.num_rows > MAX_ROWS or size > limit:
            raise DataError(f"{name}: {metadata.num_rows:,} rows with {size:,} bytes are too many")
        # As dictionaries, repeated texts take no memory until they are decoded.
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            yield from _numbered_rows(file.iter_batches(_BATCH_ROWS), name, limit)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{name}: cannot be read as parquet: {first_line(error)}") from error


def _numbered_rows(batches: Iterable[pa.RecordBatch | pa.Table], name: str, limit: float = math.inf) -> NumberedValues:
    """Yield (number, row) of Arrow tables whose texts are at most `limit` bytes together."""
    import pyarrow as pa

    number = total = 0
    try:
        for batch in batches:
            small = sum(map(_decoded_bytes, batch.columns)) <= MAX_ROW_BYTES
            for part in [batch] if small else (batch.slice(index, 1) for index in range(batch.num_rows)):
                size = sum(map(_decoded_bytes, part.columns))
                total += size
                if total > limit or size > MAX_ROW_BYTES:
                    raise DataError(f"{name}: expands to {total:,} bytes at row {number + 1}, which is too much")
                for row in part.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{name}: row {number + 1} cannot be decoded: {first_line(error)}") from error


def _decoded_bytes(array: Any) -> int:
    """Return the size of an array's values, each repeated value counted each time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.ChunkedArray):
        return sum(map(_decoded_bytes, array.chunks))
    if pa.types.is_dictionary(array.type) and not pa.types.is_primitive(array.type.value_type):
        return pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices)).as_py() or 0
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return _decoded_bytes(array.flatten())
    if pa.types.is_struct(array.type):
        return sum(map(_decoded_bytes, array.flatten()))
    return int(array.nbytes)
