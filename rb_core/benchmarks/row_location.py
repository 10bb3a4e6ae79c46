"""A row of preference data, its place, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from rb_core.errors import DataError

Row = Mapping[str, Any]
MAX_NAMED_ROWS = 20


class RowError(DataError):
    """A row that cannot be read. The message is `source:line: problem`."""

    def __init__(self, location: RowLocation, problem: str) -> None:
        super().__init__(f"{location}: {problem}")
        self.location, self.problem = location, problem


class NoPreference(Exception):  # noqa: N818 - no error: such a row is left out and counted
    """A readable row that says of no answer that it is better than another. The message is the reason."""


class RowLocation(NamedTuple):
    """Position of a row in its file or split, for error messages and for default ids.

    source: file name, or `repository/split`; line: from 1; name: the file's stem or the split's name; number: of the
    row among all rows with this name, from 1 (default: the line).
    """

    source: str
    line: int
    name: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"

    @property
    def default_id(self) -> str:
        return f"{self.name}/{self.number or self.line}"

    def error(self, field: str, problem: str) -> RowError:
        return RowError(self, f"field {field!r}: {problem}")


class RowProblems:
    """Errors of rows: all are counted, the first of them are named."""

    def __init__(self) -> None:
        self._errors: list[RowError] = []
        self._count = 0

    @contextmanager
    def collected(self, location: RowLocation) -> Iterator[None]:
        """Take note of an error that the row at this location causes in the block, instead of raising it."""
        try:
            yield
        except RowError as error:
            self._add(error)
        except DataError as error:
            self._add(RowError(location, str(error)))
        except RecursionError:
            self._add(RowError(location, "is nested too deeply"))

    def _add(self, error: RowError) -> None:
        self._count += 1
        if len(self._errors) < MAX_NAMED_ROWS:
            self._errors.append(error)

    def raise_any(self) -> None:
        """Raise DataError, one line, if there were errors: rows with the same problem are named together."""
        if self._count == 0:
            return
        lines: dict[tuple[str, str], list[str]] = {}
        for error in self._errors:
            lines.setdefault((error.location.source, error.problem), []).append(str(error.location.line))
        text = " | ".join(f"{source}:{', '.join(numbers)}: {problem}" for (source, problem), numbers in lines.items())
        if self._count > 1:
            named = f"; the first {MAX_NAMED_ROWS} are named" if self._count > MAX_NAMED_ROWS else ""
            text += f" ({self._count:,} rows cannot be read{named})"
        raise DataError(text)


def required_field(row: Row, field: str, location: RowLocation) -> Any:
    """Return the field's value. Raises DataError when it is missing or null."""
    value = row.get(field)
    if value is None:
        raise location.error(field, f"is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    return value


def describe_value(value: Any) -> str:
    """Return a value's type in words, for error messages."""
    if isinstance(value, str | list | dict) and not value:
        return "empty"
    if isinstance(value, list):
        return f"a list of {len(value)} with items of a wrong type"
    names = {str: "text", int: "a number", float: "a number", dict: "an object", bool: "true or false"}
    return names.get(type(value), type(value).__name__)
