"""A board as a table of columns and cells: the form of leaderboard.json, of the parquet tables and of `show`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from rb_core.leaderboard.board import Board, BoardRow, BoardSection, BoardSubset
from rb_core.results.estimate import Estimate

ColumnRole = Literal[
    "rank", "model", "kind", "status", "headline", "low", "high", "coverage", "consistency", "parameters", "section",
    "subset",
]  # fmt: skip
Cell = str | float | int | None


@dataclass(frozen=True)
class Column:
    """A column. Every role but "section" and "subset" has one column at most.

    parent: section of a subset; count: number of examples; weight, required: of a section, see BoardSection.
    """

    key: str
    label: str
    role: ColumnRole
    parent: str | None = None
    description: str = ""
    count: int | None = None
    weight: float | None = None
    required: bool = True

    def cell(self, row: BoardRow) -> Cell:
        """Return the value of a row in this column, None where it has none."""
        if self.role == "section":
            return row.sections.get(self.label)
        if self.role == "subset":
            return row.subsets.get(self.label)
        if self.role == "headline":
            return row.headline.value
        value: Cell = getattr(row.headline if self.role in ("low", "high") else row, self.role)
        return value


CONSISTENCY = Column(
    "consistency",
    "Same verdict",
    "consistency",
    description="Of a judge: share of the pairs with the same verdict when the completions change places",
)
FIXED_COLUMNS = (
    Column("rank", "Rank", "rank", description="Place by score; equal scores share it"),
    Column("model", "Model", "model"),
    Column("kind", "Kind", "kind", description="How the model turns a conversation into a score"),
    Column("status", "Origin", "status", description="Scored with this package, or published elsewhere"),
    Column("score", "Score", "headline", description="The benchmark's headline: the weighted mean of its sections"),
    Column("low", "95% low", "low", description="Lower end of the score's 95% interval"),
    Column("high", "95% high", "high", description="Upper end of the score's 95% interval"),
    Column("coverage", "Coverage", "coverage", description="Share of the examples that the model could score"),
    CONSISTENCY,
    Column(
        "parameters",
        "Parameters",
        "parameters",
        description="Number of parameters: of a run as loaded, of a published model as its name or card says",
    ),
)
_TEXT_ROLES = ("model", "kind", "status")
_INTEGER_ROLES = ("rank", "parameters")


def board_columns(board: Board) -> tuple[Column, ...]:
    """Return the columns of a board: fixed ones, sections, subsets; consistency only where a judge has one."""
    has_judges = any(row.consistency is not None for row in board.rows)
    return (
        *(column for column in FIXED_COLUMNS if column is not CONSISTENCY or has_judges),
        *(
            Column(f"section:{s.name}", s.name, "section", None, s.description, s.num_examples, s.weight, s.required)
            for s in board.sections
        ),
        *(
            Column(f"subset:{s.name}", s.name, "subset", s.section, s.description, s.num_examples)
            for s in board.subsets
        ),
    )


def board_to_json(board: Board) -> dict[str, Any]:
    """Return a board as leaderboard.json and the page have it, fractions rounded."""
    columns, rows = board_columns(board), board.rounded().rows
    return {
        "id": board.id,
        "title": board.title,
        "description": board.description,
        "url": board.url,
        "licence": board.licence,
        "citation": board.citation,
        "columns": [asdict(column) for column in columns],
        "rows": [[column.cell(row) for column in columns] for row in rows],
        "sources": list(board.sources),
        "newest": board.newest,
    }


@dataclass(frozen=True)
class _BoardFields:
    """The fields of a board in leaderboard.json."""

    id: str
    title: str
    description: str
    url: str
    licence: str
    citation: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    sources: tuple[str, ...]
    newest: str | None


_BOARD_FIELDS_ADAPTER = TypeAdapter(_BoardFields)


def board_from_json(content: Any) -> Board:
    """Read a board that `board_to_json` wrote, possibly on a machine of someone else.

    Raises ValueError for a missing field, column or cell, for a value of another type and for a link to anything but
    the web.
    """
    fields = _BOARD_FIELDS_ADAPTER.validate_python(content)
    _check_columns(fields)
    if fields.url and not fields.url.startswith(("https://", "http://")):
        raise ValueError(f"{fields.id}: url is not a web address")
    return Board(
        id=fields.id,
        title=fields.title,
        description=fields.description,
        url=fields.url,
        licence=fields.licence,
        citation=fields.citation,
        sections=tuple(
            BoardSection(c.label, c.description, c.count, c.weight, c.required)
            for c in fields.columns
            if c.role == "section"
        ),
        subsets=tuple(
            BoardSubset(c.label, c.parent, c.description, c.count) for c in fields.columns if c.role == "subset"
        ),
        rows=tuple(_row_from_cells(fields, cells) for cells in fields.rows),
        sources=fields.sources,
        newest=fields.newest,
    )


def _check_columns(fields: _BoardFields) -> None:
    roles = {column.role for column in fields.columns}
    required = [column.role for column in FIXED_COLUMNS if column is not CONSISTENCY]
    if missing := [role for role in required if role not in roles]:
        raise ValueError(f"{fields.id}: no column for {', '.join(missing)}")
    names = [c.role if c.role not in ("section", "subset") else f"{c.role} {c.label}" for c in fields.columns]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{fields.id}: more than one column for {', '.join(repeated)}")


def _row_from_cells(fields: _BoardFields, cells: tuple[Any, ...]) -> BoardRow:
    if len(cells) != len(fields.columns):
        raise ValueError(f"{fields.id}: a row of {len(cells)} cells for {len(fields.columns)} columns")
    cells_by_column = list(zip(fields.columns, cells, strict=True))
    for column, cell in cells_by_column:
        if not _fits(cell, column.role):
            raise ValueError(f"{fields.id}: column {column.key}: {cell!r} is not a valid {column.role}")
    fixed = {column.role: cell for column, cell in cells_by_column}
    return BoardRow(
        rank=fixed["rank"],
        model=fixed["model"],
        kind=fixed["kind"],
        status=fixed["status"],
        headline=Estimate(value=fixed["headline"], low=fixed["low"], high=fixed["high"]),
        coverage=fixed["coverage"],
        consistency=fixed.get("consistency"),
        parameters=fixed["parameters"],
        sections={c.label: cell for c, cell in cells_by_column if c.role == "section" and cell is not None},
        subsets={c.label: cell for c, cell in cells_by_column if c.role == "subset" and cell is not None},
    )


def _fits(cell: object, role: ColumnRole) -> bool:
    if role in _TEXT_ROLES:
        return isinstance(cell, str)
    if cell is None:
        return True
    if isinstance(cell, bool):
        return False
    if role in _INTEGER_ROLES:
        return isinstance(cell, int)
    return isinstance(cell, int | float) and math.isfinite(cell)
