"""The leaderboard of a benchmark: one row for each result, best headline first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ConfigDict

from rb_core.benchmarks.card import Card
from rb_core.benchmarks.custom import DEFAULT_CARD, custom_spec, recorded_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.leaderboard.model_registry import NO_MODELS, ModelRegistry, Recipe, RegisteredModel, read_registry
from rb_core.results.estimate import Chance, Estimate
from rb_core.results.schema import Result, kind_label
from rb_core.results.storage import read_results
from rb_core.stats.chance import compose_chance, declared_chance
from rb_core.stats.rank_intervals import RankInterval
from rb_core.stats.seed_spread import seed_spread

RANKED_STATUSES = ("run", "published")
DIGITS = 5  # of a fraction in leaderboard.json and on the page
HEADLINE_FIELDS = frozenset({"value", "stderr", "low", "high", "floor", "ceiling", "unscored_error"})
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # for boards that others wrote


@dataclass(frozen=True)
class BoardSection:
    """A section in which at least one model has a score.

    weight: in the headline; required: False for a section that a headline can do without.
    """

    name: str
    description: str = ""
    num_examples: int | None = None
    weight: float | None = None
    required: bool = True


@dataclass(frozen=True)
class BoardSubset:
    """A subset, or a part of a grouping, in which at least one model has a score.

    A subset that is all of its section is not listed. section: of a part, the name of its grouping.
    """

    name: str
    section: str | None = None
    description: str = ""
    num_examples: int | None = None


@dataclass(frozen=True)
class BoardRow:
    """The row of one model. Scores and shares are fractions from 0 to 1; None means not known."""

    __pydantic_config__ = _STRICT

    # From 1, by the score with every unscored example failed; equal scores share one. None without a headline, for a
    # partial run, on other data, and for a development checkpoint.
    rank: int | None
    model: str
    kind: str  # as `kind_label` gives it
    status: str  # "run", "partial run", "other data" (than published, or with other rules) or "published"
    headline: Estimate  # HEADLINE_FIELDS and no_interval
    coverage: float | None  # share of the examples that have a score
    consistency: float | None  # of a judge: share of pairs with the same verdict in both orders
    parameters: int | None
    sections: Mapping[str, float]
    subsets: Mapping[str, float]
    rank_interval: RankInterval | None = None
    tier: int | None = None  # from 1; models of one tier cannot be told apart from its first
    organisation: str | None = None
    sweep: str | None = None  # of a development checkpoint, which has no rank: the sweep it is part of
    includes: str | None = None  # optional sections that are part of this score and not of all others

    @property
    def can_rank(self) -> bool:
        """False for a run in part or on other data, and for a development checkpoint."""
        return self.status in RANKED_STATUSES and self.sweep is None


@dataclass(frozen=True)
class Board:
    """The leaderboard of one benchmark.

    sources: origins of the published rows; newest: latest date of any row (UTC); detectable: difference of two scores
    that a test finds with 80% power, for the median pair of models; None where not known; chance: expected scores of
    random choice; seed_band: the difference of two checkpoints of one recipe that seeds alone exceed in 5% of cases, by
    the development checkpoints on the board, None without any.
    """

    __pydantic_config__ = _STRICT

    id: str
    title: str
    description: str
    url: str
    licence: str
    citation: str
    sections: tuple[BoardSection, ...]
    subsets: tuple[BoardSubset, ...]
    rows: tuple[BoardRow, ...]
    sources: tuple[str, ...]
    newest: str | None
    detectable: float | None = None
    seed_band: float | None = None
    chance: Chance = field(default_factory=Chance)

    def row(self, model: str) -> BoardRow | None:
        """Return the row of a model, None where the board does not have it."""
        return next((row for row in self.rows if row.model == model), None)

    @property
    def uneven_sections(self) -> tuple[str, ...]:
        """Optional sections that some scores include and others do not, such as Prior Sets of RewardBench."""
        scored = [row for row in self.rows if row.headline.value is not None]
        counts = {s.name: sum(s.name in row.sections for row in scored) for s in self.sections if not s.required}
        return tuple(name for name, count in counts.items() if 0 < count < len(scored))

    @property
    def has_unscored(self) -> bool:
        """True if the bounds of a model's score differ from it."""
        return any(row.headline.has_bounds for row in self.rows)

    def with_includes(self) -> Board:
        """Return the board with what each score includes that others do not."""
        uneven = self.uneven_sections
        scores = {
            row.model: [s for s in uneven if s in row.sections and row.headline.value is not None] for row in self.rows
        }
        rows = tuple(replace(row, includes=", ".join(scores[row.model]) or None) for row in self.rows)
        return replace(self, rows=rows)

    def ranked(self) -> list[BoardRow]:
        """Return the rows that have a rank."""
        return [row for row in self.rows if row.rank is not None]

    def rounded(self) -> Board:
        """Return the board with every fraction rounded to the digits of leaderboard.json."""
        chance = Chance(
            headline=_round(self.chance.headline),
            sections=_round_all(self.chance.sections),
            subsets=_round_all(self.chance.subsets),
        )
        return replace(self, rows=tuple(map(_rounded, self.rows)), chance=chance, seed_band=_round(self.seed_band))


def load_boards(root: Path) -> tuple[dict[str, Board], list[str]]:
    """Return the board of each benchmark with results below root, and a message for each refused file.

    Raises DataError for a registry of models that cannot be read.
    """
    registry = read_registry(root)
    results, refused = read_results(root)
    groups = group_by_benchmark(registry.merge_aliases(results))
    return {benchmark: build_board(group, registry) for benchmark, group in groups.items()}, refused


def group_by_benchmark(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Group results by benchmark id: registered benchmarks first, the others in alphabetical order."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.benchmark.id, []).append(result)
    order = [name for name in BENCHMARKS if name in groups] + sorted(groups.keys() - BENCHMARKS.keys())
    return {benchmark: groups[benchmark] for benchmark in order}


def build_board(results: Sequence[Result], registry: ModelRegistry = NO_MODELS) -> Board:
    """Build the board of one or more results of the same benchmark. registry: of the models in it."""
    spec = spec_of_results(results)
    sections, subsets = _sections(spec, results), _subsets(spec, results)
    rules = _rules(card_of_results(results))
    statuses = {result.model.name: _status(result, rules) for result in results}
    sort_values = {
        result.model.name: _sort_value(result, statuses[result.model.name], registry.get(result.model.name))
        for result in results
    }
    ordered = sorted(
        results, key=lambda result: (-sort_values[result.model.name], -_value(result), result.model.name.lower())
    )
    values = [sort_values[result.model.name] for result in ordered]
    ranks = [None if value == -math.inf else values.index(value) + 1 for value in values]
    rows = [
        _row(result, rank, statuses[result.model.name], sections, subsets, registry)
        for result, rank in zip(ordered, ranks, strict=True)
    ]
    board = Board(
        id=spec.id,
        title=spec.title,
        description=spec.description,
        url=spec.url,
        licence=spec.licence,
        citation=spec.citation,
        sections=sections,
        subsets=subsets,
        rows=tuple(rows),
        sources=tuple(sorted({result.published.source.split(":")[0] for result in results if result.published})),
        newest=max((date for result in results if (date := _date(result))), default=None),
        seed_band=_seed_band(results, registry),
        chance=_shown_chance(chance_of_results(results), sections, subsets),
    )
    return board.with_includes()


def _seed_band(results: Sequence[Result], registry: ModelRegistry) -> float | None:
    runs: dict[Recipe, list[float]] = {}
    for result in results:
        registered, value = registry.get(result.model.name), result.headline.value if result.headline else None
        if registered is not None and registered.recipe is not None and value is not None:
            runs.setdefault(registered.recipe.without_seed(), []).append(value)
    spread = seed_spread(runs.values())
    return None if spread is None else spread.band


def chance_of_results(results: Sequence[Result]) -> Chance:
    """Return the expected scores of random choice: on the published data where known, else on those of a result."""
    spec = spec_of_results(results)
    rules = _rules(card_of_results(results))
    ranked = (result for result in results if _status(result, rules) in RANKED_STATUSES)
    of_data = [result.chance.subsets for result in ranked if result.chance]
    subsets = {name: value for chances in of_data for name, value in chances.items()} | declared_chance(spec)
    return compose_chance(subsets, spec)


def _shown_chance(chance: Chance, sections: Sequence[BoardSection], subsets: Sequence[BoardSubset]) -> Chance:
    return Chance(
        headline=chance.headline,
        sections={s.name: chance.sections[s.name] for s in sections if s.name in chance.sections},
        subsets={s.name: chance.subsets[s.name] for s in subsets if s.name in chance.subsets},
    )


def spec_of_results(results: Sequence[Result]) -> BenchmarkSpec:
    """Return the spec of the results' benchmark; for a user's own file one section with the subsets they have."""
    benchmark = results[0].benchmark
    card = card_of_results(results)
    counts: dict[str, int] = {}
    for result in results:
        if _rules(result.benchmark.card) == _rules(card):
            counts |= result.benchmark.subsets
    return recorded_spec(benchmark.id, counts, card) or custom_spec(benchmark.id, counts)


def card_of_results(results: Iterable[Result]) -> Card | None:
    """Return the card of the results' benchmark; None if no result has one.

    Where cards of one id differ, it is the newest of those whose rules most results were scored by.
    """
    cards = [(_date(result) or "", card) for result in results if (card := result.benchmark.card)]
    counts = Counter(card.rules for _, card in cards)
    newest = max(cards, key=lambda dated: (counts[dated[1].rules], dated[1].rules, dated[0]), default=None)
    return newest[1] if newest else None


def _sections(spec: BenchmarkSpec, results: Sequence[Result]) -> tuple[BoardSection, ...]:
    scored = {name for result in results for name in result.sections}
    return tuple(
        BoardSection(s.name, s.description, _num_examples(s, spec), s.headline_weight, s.required)
        for s in spec.sections
        if s.name in scored
    )


def _num_examples(section: Section, spec: BenchmarkSpec) -> int | None:
    counts = [subset.count for subset in spec.subsets if subset.name in section.weights]
    return None if None in counts else sum(count or 0 for count in counts)


def _subsets(spec: BenchmarkSpec, results: Sequence[Result]) -> tuple[BoardSubset, ...]:
    scored = {name for result in results for name in result.subsets}
    subsets = []
    for subset in spec.subsets:
        section = spec.section_of(subset.name)
        is_whole_section = section is not None and len(section.weights) == 1
        if subset.name in scored and not is_whole_section:
            parent = section.name if section else None
            subsets.append(BoardSubset(subset.name, parent, subset.description, subset.count))
    parts = {name for result in results for name in _parts(result)}
    for name, grouping in spec.groupings.items():
        subsets += [BoardSubset(p.name, name, "", _num_examples(p, spec)) for p in grouping if p.name in parts]
    return tuple(subsets)


def _row(
    result: Result,
    rank: int | None,
    status: str,
    sections: Sequence[BoardSection],
    subsets: Sequence[BoardSubset],
    registry: ModelRegistry,
) -> BoardRow:
    registered = registry.get(result.model.name)
    headline = result.headline or Estimate()
    consistency = result.judging.position_consistency if result.judging else None
    return BoardRow(
        rank=rank,
        model=result.model.name,
        kind=kind_label(result.model),
        status=status,
        headline=Estimate.model_validate(headline.model_dump(include={*HEADLINE_FIELDS, "no_interval"})),
        coverage=result.coverage,
        consistency=consistency.value if consistency else None,
        parameters=result.model.parameters or (registered.parameters if registered else None),
        sections=_values(sections, result.sections),
        subsets=_values(subsets, {**result.subsets, **_parts(result)}),
        organisation=registry.organisation_of(result.model.name),
        sweep=registered.sweep if registered else None,
    )


def _parts(result: Result) -> dict[str, Estimate]:
    """Return the parts of all groupings by name."""
    return {name: estimate for parts in (result.groupings or {}).values() for name, estimate in parts.items()}


def _rules(card: Card | None) -> str:
    return (card or DEFAULT_CARD).rules


def _status(result: Result, rules: str) -> str:
    """Return the status of a row. rules: those of the board's card."""
    if result.status == "run" and result.benchmark.limit is not None:
        return "partial run"
    is_other = result.differing_subsets() or _rules(result.benchmark.card) != rules
    return "other data" if is_other else result.status


def _values(
    parts: Sequence[BoardSection] | Sequence[BoardSubset], estimates: Mapping[str, Estimate]
) -> dict[str, float]:
    values = {part.name: estimates[part.name].value for part in parts if part.name in estimates}
    return {name: value for name, value in values.items() if value is not None}


def _sort_value(result: Result, status: str, registered: RegisteredModel | None) -> float:
    """Return the headline to rank by, with every unscored example failed.

    Minus infinity for a model without a headline, for a partial run, for one on other data, and for a checkpoint of a
    development sweep.
    """
    value = result.headline.ranked_by if result.headline else None
    is_ranked = status in RANKED_STATUSES and not (registered and registered.sweep)
    return value if value is not None and is_ranked else -math.inf


def _value(result: Result) -> float:
    value = result.headline.value if result.headline else None
    return -math.inf if value is None else value


def _date(result: Result) -> str | None:
    return result.run.started[:10] if result.run else result.published.retrieved if result.published else None


def _rounded(row: BoardRow) -> BoardRow:
    headline = {name: _round(getattr(row.headline, name)) for name in HEADLINE_FIELDS}
    return replace(
        row,
        headline=row.headline.model_copy(update=headline),
        coverage=_round(row.coverage),
        consistency=_round(row.consistency),
        sections=_round_all(row.sections),
        subsets=_round_all(row.subsets),
    )


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _round_all(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items()}
