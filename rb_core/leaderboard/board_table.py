"""A board as a table of columns and cells: the form of leaderboard.json, of the parquet tables and of `show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from rb_core.leaderboard.board import DIGITS, HEADLINE_FIELDS, Board, BoardRow, BoardSection, BoardSubset

ColumnRole = Literal[
    "rank", "model", "tier", "best", "worst", "kind", "status", "headline", "stderr", "low", "high", "coverage",
    "floor", "ceiling", "consistency", "parameters", "organisation", "sweep", "includes", "section", "subset",
]  # fmt: skip
Cell = str | float | int | None


@dataclass(frozen=True)
class Column:
    """A column. Every role but "section" and "subset" has one column at most.

    parent: section of a subset; count: number of examples; weight, required: of a section, see BoardSection;
    chance: expected score of random choice in a column of scores, where known.
    """

    key: str
    label: str
    role: ColumnRole
    parent: str | None = None
    description: str = ""
    count: int | None = None
    weight: float | None = None
    required: bool = True
    chance: float | None = None

    def cell(self, row: BoardRow) -> Cell:
        """Return the value of a row in this column, None where it has none."""
        if self.role == "section":
            return row.sections.get(self.label)
        if self.role == "subset":
            return row.subsets.get(self.label)
        if self.role == "headline":
            return row.headline.value
        if self.role in ("best", "worst"):
            return getattr(row.rank_interval, self.role, None)
        value: Cell = getattr(row.headline if self.role in HEADLINE_FIELDS else row, self.role)
        return value


CONSISTENCY = Column(
    "consistency",
    "Same verdict",
    "consistency",
    description="Of a judge: share of the pairs with the same verdict when the completions change places",
)
SWEEP = Column(
    "sweep",
    "Development sweep",
    "sweep",
    description="Of a development checkpoint, which has no rank: the sweep that it is part of",
)
INCLUDES = Column(
    "includes",
    "Includes",
    "includes",
    description="Optional sections that are part of this score and not of all others",
)
RANKING = (
    Column("tier", "Tier", "tier", description="Models of one tier cannot be told apart from its first model"),
    Column("best", "Best rank", "best", description="1 + the number of models that are significantly better"),
    Column("worst", "Worst rank", "worst", description="Number of models less those that are significantly worse"),
)
FIXED_COLUMNS = (
    Column(
        "rank", "Rank", "rank", description="Place by score, unscored examples counted as failed; equal scores share it"
    ),
    Column("model", "Model", "model"),
    *RANKING,
    Column("kind", "Kind", "kind", description="How the model turns a conversation into a score"),
    Column("status", "Origin", "status", description="Scored with this package, or published elsewhere"),
    Column("score", "Score", "headline", description="The benchmark's headline: the weighted mean of its sections"),
    Column("stderr", "Error", "stderr", description="Standard error of the score"),
    Column("low", "95% low", "low", description="Lower end of the score's 95% interval"),
    Column("high", "95% high", "high", description="Upper end of the score's 95% interval"),
    Column("coverage", "Coverage", "coverage", description="Share of the examples that the model could score"),
    Column("floor", "Floor", "floor", description="The score with every unscored example failed; the rank uses it"),
    Column("ceiling", "Ceiling", "ceiling", description="The score with every unscored example passed"),
    CONSISTENCY,
    Column(
        "parameters",
        "Parameters",
        "parameters",
        description="Number of parameters: of a run as loaded, of a published model as its name or card says",
    ),
    Column("organisation", "Organisation", "organisation", description="Maker of the model"),
    SWEEP,
    INCLUDES,
)
_OPTIONAL = (*RANKING, CONSISTENCY, SWEEP, INCLUDES)
_TEXT_FIELDS = ("id", "title", "description", "url", "licence", "citation")
_COLUMNS, _BOARD = TypeAdapter(tuple[Column, ...]), TypeAdapter(Board)


def board_columns(board: Board) -> tuple[Column, ...]:
    """Return the columns of a board: fixed ones, sections, subsets.

    Consistency, sweep and what a score includes only where a row has one; tiers and rank intervals only where two
    models were compared.
    """
    left_out = set(RANKING if board.detectable is None else ())
    left_out |= {c for c in (CONSISTENCY, SWEEP, INCLUDES) if all(c.cell(row) is None for row in board.rows)}
    chance = board.chance
    fixed = (column for column in FIXED_COLUMNS if column not in left_out)
    sections = (
        Column(f"section:{s.name}", s.name, "section", None, s.description, s.num_examples, s.weight, s.required)
        for s in board.sections
    )
    subsets = (
        Column(f"subset:{s.name}", s.name, "subset", s.section, s.description, s.num_examples) for s in board.subsets
    )
    return (
        *(replace(column, chance=chance.headline) if column.role == "headline" else column for column in fixed),
        *(replace(column, chance=chance.sections.get(column.label)) for column in sections),
        *(replace(column, chance=chance.subsets.get(column.label)) for column in subsets),
    )


def chance_cells(columns: Sequence[Column]) -> list[Cell]:
    """Return the cells of a table's last row, of random choice; empty where no expected score is known."""
    if all(column.chance is None for column in columns):
        return []
    return ["random choice" if column.role == "model" else column.chance for column in columns]


def board_to_json(board: Board) -> dict[str, Any]:
    """Return a board as leaderboard.json and the page have it, fractions rounded."""
    board = board.rounded()
    columns = board_columns(board)
    content = {name: getattr(board, name) for name in _TEXT_FIELDS} | {
        "columns": [asdict(column) for column in columns],
        "rows": [[column.cell(row) for column in columns] for row in board.rows],
        "sources": list(board.sources),
        "newest": board.newest,
    }
    known = {"detectable": board.detectable, "seed_band": board.seed_band}
    return content | {name: round(value, DIGITS) for name, value in known.items() if value is not None}


def detectable_text(board: Board) -> str:
    """Return what the board can tell apart, and what seeds alone change, in sentences; empty where not known."""
    if board.detectable is None:
        return ""
    examples = [section.num_examples or 0 for section in board.sections if section.required]
    subject = f"These {sum(examples):,} examples" if all(examples) and examples else "These examples"
    points = f"{100 * board.detectable:.1f}"
    text = f"{subject} can tell models {points} points apart (80% power, median pair)."
    if board.seed_band is None:
        return text
    seeds = f"Two runs of one training recipe differ by up to {100 * board.seed_band:.1f} points by their seeds alone"
    return f"{text} {seeds} (19 of 20 pairs): a rank compares checkpoints, not recipes."


def board_from_json(content: Any) -> Board:
    """Read a board that `board_to_json` wrote, possibly on a machine of someone else.

    Raises ValueError, KeyError or TypeError for a missing field, column or cell, for a value of another type, and for a
    link to anything but the web.
    """
    name = str(content["id"])
    try:
        columns = _COLUMNS.validate_python(content["columns"])
        _check_columns(name, columns)
        fields = {field: content[field] for field in (*_TEXT_FIELDS, "sources", "newest")} | {
            "sections": [
                asdict(BoardSection(c.label, c.description, c.count, c.weight, c.required))
                for c in columns
                if c.role == "section"
            ],
            "subsets": [
                asdict(BoardSubset(c.label, c.parent, c.description, c.count)) for c in columns if c.role == "subset"
            ],
            "rows": [_row_fields(name, columns, cells) for cells in content["rows"]],
            "chance": _chance_fields(columns),
            "seed_band": content.get("seed_band"),
        }
        board = _BOARD.validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if board.url and not board.url.startswith(("https://", "http://")):
        raise ValueError(f"{name}: url is not a web address")
    return board


def _check_columns(name: str, columns: Sequence[Column]) -> None:
    roles = {column.role for column in columns}
    if missing := [c.role for c in FIXED_COLUMNS if c.role not in roles and c not in _OPTIONAL]:
        raise ValueError(f"{name}: no column for {', '.join(missing)}")
    labels = [f"{c.role} {c.label}" if c.role in ("section", "subset") else c.role for c in columns]
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"{name}: more than one column for {', '.join(repeated)}")


def _chance_fields(columns: Sequence[Column]) -> dict[str, Any]:
    def known(role: ColumnRole) -> dict[str, float]:
        return {c.label: c.chance for c in columns if c.role == role and c.chance is not None}

    return {
        "headline": next(iter(known("headline").values()), None),
        "sections": known("section"),
        "subsets": known("subset"),
    }


def _row_fields(name: str, columns: Sequence[Column], cells: Sequence[Any]) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise ValueError(f"{name}: a row of {len(cells)} cells for {len(columns)} columns")
    fields: dict[str, Any] = {"consistency": None, "sweep": None, "sections": {}, "subsets": {}, "headline": {}}
    for column, cell in zip(columns, cells, strict=True):
        if column.role in ("section", "subset"):
            fields[f"{column.role}s"] |= {} if cell is None else {column.label: cell}
        elif column in RANKING:
            continue  # the reader compares the models itself
        elif column.role == "headline" or column.role in HEADLINE_FIELDS:
            fields["headline"]["value" if column.role == "headline" else column.role] = cell
        else:
            fields[column.role] = cell
    return fields
