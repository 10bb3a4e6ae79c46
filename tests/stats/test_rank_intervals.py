"""Rank intervals against a plain computation, by hand, and by simulation where the truth is known."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.stats.composition import compose, section_scores
from rb_core.stats.intervals import weighted_mean
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import compare_outcomes
from rb_core.stats.rank_intervals import RankInterval, Standing, pair_errors, rank_models, tiers
from tests.fakes.outcomes import PLAIN, SIMULATED, item_outcomes, simulate_outcomes, without_scores

V1, STARTER = BENCHMARKS["rewardbench"], BENCHMARKS["starter"]


def subset_weights(spec: BenchmarkSpec, sections: frozenset[str]) -> dict[str, float]:
    """Return the weight of each subset in the headline of a result with these sections, by the spec."""
    total = sum(s.headline_weight for s in spec.sections if s.name in sections)
    return {
        name: s.headline_weight / total * weight / sum(s.weights.values())
        for s in spec.sections
        if s.name in sections
        for name, weight in s.weights.items()
    }


def plain_rank_intervals(standings: Sequence[Standing], spec: BenchmarkSpec) -> list[RankInterval]:
    """Compute rank intervals pair by pair: the variance of a difference is that of each subset's differences."""
    outcomes = [s.outcomes for s in standings if s.outcomes]
    subsets = outcomes[0].subsets
    weights = [subset_weights(spec, s.sections) for s in standings]
    pair_variance, own_variance = np.zeros((len(outcomes), len(outcomes))), np.zeros(len(outcomes))
    shares = np.zeros(len(outcomes))
    for name in set(subsets.tolist()):
        rows = subsets == name
        n = int(rows.sum())
        scaled = np.stack([w.get(name, 0.0) * o.credits[rows] for w, o in zip(weights, outcomes, strict=True)])
        own_variance += scaled.var(axis=1, ddof=1) / n
        pair_variance += np.stack([(scaled - scaled[i]).var(axis=1, ddof=1) / n for i in range(len(scaled))])
        shares += np.array([w.get(name, 0.0) ** 2 / n for w in weights])
    without_items = [not w.keys() <= set(subsets.tolist()) for w in weights]
    in_items = np.array([sum(w.get(name, 0.0) for name in set(subsets.tolist())) for w in weights])
    shares /= in_items**2
    stderrs = np.array([s.headline.stderr or math.nan for s in standings])
    rest = np.where(without_items, np.maximum(0.0, stderrs**2 - own_variance), 0.0)
    tests = []
    for i in range(len(standings)):
        for j in range(i):
            difference = (standings[i].headline.value or 0) - (standings[j].headline.value or 0)
            share = max(shares[i], shares[j])
            variance = (pair_variance[i, j] + rest[i] + rest[j]) * (1 - share) + difference**2 * share
            z = abs(difference) / math.sqrt(variance)
            tests.append((math.erfc(z / math.sqrt(2)), i, j, difference))
    better, worse = [0] * len(standings), [0] * len(standings)
    for number, (p, i, j, difference) in enumerate(sorted(tests)):
        if p * (len(tests) - number) > 0.05:
            break
        winner, loser = (i, j) if difference > 0 else (j, i)
        better[loser] += 1
        worse[winner] += 1
    return [RankInterval(1 + b, len(standings) - w, "items") for b, w in zip(better, worse, strict=True)]


def test_rank_intervals_are_those_of_a_plain_computation(
    results: dict[tuple[str, str], Result], items: dict[str, ItemOutcomes]
) -> None:
    """On the 133 bundled models, 8,778 pairs, in less than three seconds of one core."""
    standings = [
        Standing(name, result.headline, frozenset(result.sections), outcomes)
        for name, outcomes in items.items()
        if (result := results["rewardbench", name]).headline is not None
    ]
    assert len(standings) == 133
    begin = time.process_time()
    ranking = rank_models(standings, V1)
    assert time.process_time() - begin < 3
    assert ranking.intervals == plain_rank_intervals(standings, V1)
    assert ranking.detectable is not None
    assert 0.01 < ranking.detectable < 0.04


@pytest.mark.parametrize("clustered", [False, True])
def test_the_error_behind_rank_intervals_is_that_of_the_comparison(
    runs: dict[str, ItemOutcomes], clustered: bool
) -> None:
    """With shared prompts and Ties."""
    models = [runs[name] for name in ("builtin/tiny-rm", "baseline/longest", "baseline/random")]
    if clustered:  # every two neighbours share a prompt, but for Ties, whose two versions do already
        groups = models[0].groups.copy()
        plain = np.flatnonzero(models[0].subsets != "ties")
        groups[plain[1::2]] = groups[plain[: len(plain) - len(plain) % 2 : 2]]
        models = [replace(outcomes, groups=groups) for outcomes in models]
    sections = frozenset(s.name for s in STARTER.sections)
    standings = [Standing(outcomes.model, Estimate(value=0.5), sections, outcomes) for outcomes in models]
    variances = pair_errors(standings, STARTER).variances
    for i, a in enumerate(models):
        for j, b in enumerate(models[:i]):
            score = compare_outcomes(a, b, STARTER).score
            assert score is not None
            assert math.sqrt(variances[i, j]) == pytest.approx(score.difference.stderr, rel=1e-9)


def test_intervals_serve_where_items_are_not_known() -> None:
    """By hand: differences of 0.2 with errors of 0.03 are significant at any of six, of 0.1 are not; a model without
    an error has no rank interval, and keeps every worst rank one lower."""
    values = [0.9, 0.88, 0.8, 0.6, 0.5]
    standings = [Standing(f"m{n}", Estimate(value=v, stderr=0.03), frozenset({"All"})) for n, v in enumerate(values)]
    standings[-1] = standings[-1]._replace(headline=Estimate(value=0.5))
    assert rank_models(standings, PLAIN).intervals == [
        (1, 4, "intervals"),
        (1, 4, "intervals"),
        (1, 4, "intervals"),
        (4, 5, "intervals"),
        None,
    ]
    assert rank_models([], PLAIN) == ([], None)
    assert rank_models(standings[:1], PLAIN).intervals == [(1, 1, "intervals")]


def test_items_and_intervals_mix_on_a_board() -> None:
    """A pair in which one model has no outcomes is tested by the two errors; the other pairs by items."""
    rng = np.random.default_rng(2)
    base = (rng.random(400) < 0.7).astype(float)
    better = np.where((base == 0) & (rng.random(400) < 0.12), 1.0, base)

    def standing(model: str, credits: np.ndarray) -> Standing:
        value = float(credits.mean())
        headline = Estimate(value=value, stderr=math.sqrt(value * (1 - value) / 400))
        return Standing(model, headline, frozenset({"All"}), item_outcomes(model, credits.tolist()))

    standings = [standing("better", better), standing("base", base), standing("alone", base)._replace(outcomes=None)]
    assert rank_models(standings, PLAIN).intervals == [(1, 2, "items"), (2, 3, "items"), (1, 3, "intervals")]


def test_sections_beyond_the_items_add_their_own_error() -> None:
    """With half of the headline not in the outcomes, a difference that these alone would decide is left open."""
    spec = replace(custom_spec("plain", {"s": 1, "t": 1}), sections=(Section("S", {"s": 1}), Section("T", {"t": 1})))
    better, base = [1.0] * 120 + [0.0] * 80, [1.0] * 80 + [0.0] * 120
    standings = [
        Standing(name, Estimate(value=value, stderr=0.06), frozenset({"S", "T"}), item_outcomes(name, earned))
        for name, earned, value in (("a", better, 0.6), ("b", base, 0.5))
    ]
    assert rank_models(standings, spec).intervals == [(1, 2, "items"), (1, 2, "items")]
    only_items = [s._replace(sections=frozenset({"S"})) for s in standings]
    assert rank_models(only_items, spec).intervals == [(1, 1, "items"), (2, 2, "items")]


# ---- unscored examples


def board_of(outcomes: Sequence[ItemOutcomes], spec: BenchmarkSpec) -> list[Standing]:
    """Return standings with the headline, its error and bounds by the outcomes."""
    standings = []
    for model in outcomes:
        composition = compose(model, spec)
        assert composition.headline is not None
        headline = weighted_mean(composition.measures, composition.headline).estimate()
        standings.append(Standing(model.model, headline, frozenset(composition.sections), model))
    return standings


@pytest.mark.parametrize("model", ["baseline/longest", "baseline/prompt-overlap"])
@pytest.mark.parametrize("by_items", [True, False])
def test_no_set_of_unscored_examples_improves_a_best_rank(
    runs: dict[str, ItemOutcomes], model: str, by_items: bool
) -> None:
    """Beside the original and in its place: random sets, and errors. Without items as on a board from the hub."""
    rng = np.random.default_rng(11)
    original_run = runs[model]
    position = list(runs).index(model)

    def intervals(outcomes: Sequence[ItemOutcomes]) -> list[RankInterval | None]:
        standings = board_of(outcomes, STARTER)
        return rank_models([s if by_items else s._replace(outcomes=None) for s in standings], STARTER).intervals

    best = intervals(list(runs.values()))[position]
    assert best is not None
    errors = np.flatnonzero(original_run.credits < 1)
    sets = [rng.choice(len(original_run), int(rng.integers(1, 80)), replace=False) for _ in range(40)]
    ranked = 0
    sets += [errors[rng.random(len(errors)) < share] for share in (0.1, 0.3, 0.5, 0.7, 1.0)]
    for rows in sets:
        copy = replace(without_scores(original_run, rows), model="copy")
        replaced = intervals([copy if run is original_run else run for run in runs.values()])[position]
        beside = intervals([*runs.values(), copy])
        original, added = beside[position], beside[-1]
        assert original is not None
        if replaced is None or added is None:  # a subset without any score: no headline, no rank
            continue
        assert replaced.best >= best.best
        assert added.best >= original.best
        ranked += 1
    assert ranked > 30


def hardest_unscored(boards: int, seed: int) -> None:
    """Check boards of ten equal models, one of which leaves its hardest 2 to 20% unscored."""
    rng = np.random.default_rng(seed)
    for _ in range(boards):
        models = simulate_outcomes(rng, [1.0] * 10)
        missed = np.sum([model.credits for model in models], axis=0) + rng.random(len(models[0]))
        share = rng.uniform(0.02, 0.2)
        gaps = without_scores(models[0], np.argsort(missed)[: int(share * len(missed))])
        complete, with_gaps = (
            rank_models(board_of([first, *models[1:]], SIMULATED), SIMULATED).intervals for first in (models[0], gaps)
        )
        assert complete[0] is not None
        assert with_gaps[0] is not None
        assert with_gaps[0].best >= complete[0].best
        for model in models[1:]:
            score = compare_outcomes(gaps, model, SIMULATED).score
            full = compare_outcomes(models[0], model, SIMULATED).score
            assert score is not None
            assert full is not None
            is_better = score.p < 0.05 and (score.difference.floor or 0) > 0
            assert not is_better or (full.p < 0.05 and (full.difference.value or 0) > 0)


def test_leaving_the_hardest_examples_unscored_gains_nothing() -> None:
    hardest_unscored(10, seed=12)


@pytest.mark.soak
def test_leaving_the_hardest_examples_unscored_gains_nothing_on_many_boards() -> None:
    hardest_unscored(300, seed=13)


# ---- tiers


def test_a_tier_holds_the_models_that_can_have_the_rank_of_its_first() -> None:
    intervals = [RankInterval(1, 3, "items"), RankInterval(1, 4, "items"), RankInterval(2, 4, "items"), None]
    assert tiers([1, 2, 3, 4], intervals) == [1, 1, 2, None]
    chain = [RankInterval(1, 2, "items"), RankInterval(1, 3, "items"), RankInterval(2, 4, "items")]
    assert tiers([1, 2, 3], [*chain]) == [1, 1, 2]
    assert tiers([], []) == []


def narrowed_boards(boards: int, seed: int) -> dict[str, int]:
    """Return how many simulated boards of eight equal models have a narrowed rank interval, by items and intervals."""
    rng = np.random.default_rng(seed)
    narrowed = {"items": 0, "intervals": 0}
    for _ in range(boards):
        standings = []
        for outcomes in simulate_outcomes(rng, [1.0] * 8):
            scores = section_scores(outcomes, SIMULATED)
            headline = Estimate(value=(scores["S"] + 0.5 * scores["T"]) / 1.5, stderr=0.03)
            standings.append(Standing(outcomes.model, headline, frozenset(scores), outcomes))
        for method in narrowed:
            shown = standings if method == "items" else [s._replace(outcomes=None) for s in standings]
            narrowed[method] += any(interval != (1, 8, method) for interval in rank_models(shown, SIMULATED).intervals)
    return narrowed


def test_a_board_of_equal_models_is_left_open() -> None:
    """At most 8% of 100 simulated boards have a narrowed rank interval."""
    narrowed = narrowed_boards(100, seed=3)
    assert 0 < narrowed["items"] <= 8
    assert narrowed["intervals"] <= 8


@pytest.mark.soak
def test_many_boards_of_equal_models_are_left_open() -> None:
    """At most 6% of 2,000 simulated boards have a narrowed rank interval."""
    narrowed = narrowed_boards(2000, seed=3)
    assert 0 < narrowed["items"] <= 120
    assert narrowed["intervals"] <= 120
