"""Accuracy at equal style, on simulated models whose bias is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Section
from rb_core.results.estimate import StyleControl
from rb_core.stats.item_outcomes import Floats, ItemOutcomes
from rb_core.stats.metrics import TIES
from rb_core.stats.style_control import DOUBLE, PRIOR_SD, style_control
from tests.fakes.outcomes import PLAIN, item_outcomes

SPEC = replace(
    custom_spec("plain", {"easy": 1, "hard": 1}), sections=(Section("All", {"easy": 3.0, "hard": 1.0}),)
)  # where chosen completions are longer the examples are easy, and the other way round
SIZE = 240  # of each subset
ABILITY = {"easy": 2.0, "hard": 0.3}  # log-odds at equal length
TRUE = (3 * expit(ABILITY["easy"]) + expit(ABILITY["hard"])) / 4


def simulate(rng: np.random.Generator, bias: float, group_size: int = 1, shared: float = 0.0) -> ItemOutcomes:
    """Return outcomes of a model. bias: effect of the length difference on its log-odds.

    shared: share of the examples whose luck is that of their group.
    """
    subsets = np.repeat(list(ABILITY), SIZE)
    groups = np.arange(2 * SIZE) // group_size
    names = [f"g{group}" for group in groups]
    lengths = np.clip(rng.normal(np.where(subsets == "easy", 0.3, -0.3), 0.35), -0.95, 0.95)
    luck = np.where(rng.random(2 * SIZE) < shared, rng.random(2 * SIZE)[groups], rng.random(2 * SIZE))
    right = luck < expit(np.where(subsets == "easy", *ABILITY.values()) + bias * lengths)
    outcomes = item_outcomes("m", right.astype(float).tolist(), subsets=subsets.tolist(), groups=names)
    return replace(outcomes, lengths=lengths)


def controlled(outcomes: ItemOutcomes) -> StyleControl:
    style = style_control(outcomes, SPEC)
    assert style is not None
    return style


def repeated(count: int, bias: float, group_size: int = 1, shared: float = 0.0) -> list[StyleControl]:
    rng = np.random.default_rng(5)
    return [controlled(simulate(rng, bias, group_size, shared)) for _ in range(count)]


def mean(values: list[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def test_a_length_bias_is_removed() -> None:
    styles = repeated(60, bias=3.0)
    assert abs(mean([style.plain for style in styles]) - TRUE) > 0.012
    assert mean([style.value for style in styles]) == pytest.approx(TRUE, abs=0.01)
    assert mean([style.effects["length"].value for style in styles]) == pytest.approx(3.0 * DOUBLE, abs=0.06)


def test_without_a_bias_the_controlled_accuracy_is_the_plain_one() -> None:
    """Although the subset with the longer chosen completions is the easier one."""
    styles = repeated(60, bias=0.0)
    assert mean([style.plain for style in styles]) == pytest.approx(TRUE, abs=0.01)
    assert mean([style.value for style in styles]) == pytest.approx(mean([s.plain for s in styles]), abs=0.006)
    assert mean([style.effects["length"].value for style in styles]) == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize(("bias", "group_size", "shared"), [(0.0, 1, 0.0), (3.0, 1, 0.0), (3.0, 6, 0.6)])
def test_intervals_hold_the_truth(bias: float, group_size: int, shared: float) -> None:
    check_coverage(150, bias, group_size, shared, low=0.89, high=0.99)


@pytest.mark.soak
@pytest.mark.parametrize(("group_size", "shared"), [(1, 0.0), (2, 0.6), (6, 0.5), (6, 0.8)])
@pytest.mark.parametrize("bias", [0.0, 1.0, 3.0])
def test_intervals_hold_the_truth_in_many_simulations(bias: float, group_size: int, shared: float) -> None:
    check_coverage(4000, bias, group_size, shared, low=0.93, high=0.97)


def check_coverage(count: int, bias: float, group_size: int, shared: float, *, low: float, high: float) -> None:
    styles = repeated(count, bias, group_size, shared)
    covered = [s.low <= TRUE <= s.high for s in styles if s.low is not None and s.high is not None]
    assert len(covered) == count
    assert low <= np.mean(covered) <= high
    effects = [style.effects["length"] for style in styles]
    assert low <= np.mean([effect.low <= bias * DOUBLE <= effect.high for effect in effects]) <= high


def test_the_fit_is_that_of_a_general_optimizer() -> None:
    """Length and markdown, by minimizing the penalised deviance without derivatives of our own."""
    rng = np.random.default_rng(3)
    outcomes = simulate(rng, bias=1.0)
    assert outcomes.lengths is not None
    markdown = rng.normal(0, 0.2, len(outcomes))
    style = controlled(replace(outcomes, markdown=markdown))
    features = np.column_stack([outcomes.lengths / outcomes.lengths.std(), markdown / markdown.std()])
    hard = (outcomes.subsets == "hard") * 1

    def deviance(parameters: Floats) -> float:
        log_odds = features @ parameters[:2] + parameters[2] + parameters[3:][hard]
        prior = parameters[[0, 1, 3, 4]] / PRIOR_SD
        return float(np.logaddexp(0, log_odds).sum() - outcomes.credits @ log_odds + prior @ prior / 2)

    fit = minimize(deviance, np.zeros(5), method="BFGS", options={"gtol": 1e-6}).x
    log_odds = features @ fit[:2] + fit[2] + fit[3:][hard]
    weights = np.where(hard, 1.0, 3.0) / 4 / SIZE
    expected = weights @ (outcomes.credits - expit(log_odds) + expit(fit[2] + fit[3:][hard]))
    assert style.value == pytest.approx(expected, abs=1e-5)
    assert style.plain == pytest.approx(weights @ outcomes.credits)
    assert style.effects["length"].value == pytest.approx(fit[0] * DOUBLE / outcomes.lengths.std(), abs=1e-4)
    assert style.effects["markdown"].value == pytest.approx(fit[1] * DOUBLE / markdown.std(), abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_model_that_knows_nothing_but_the_length_is_at_half(sign: int) -> None:
    """Style separates right from wrong: the estimate stays finite, and its interval is wide."""
    outcomes = simulate(np.random.default_rng(7), bias=0.0)
    assert outcomes.lengths is not None
    style = controlled(replace(outcomes, credits=(sign * outcomes.lengths > 0) * 1.0))
    low, high = style.low or 1.0, style.high or 0.0
    assert low < 0.5 < high
    assert high - low > 0.1
    assert sign * style.effects["length"].value > np.log(20)


def test_bundled_baselines_show_their_bias(runs: dict[str, ItemOutcomes]) -> None:
    effects = {}
    for name in ("baseline/longest", "baseline/shortest", "baseline/random"):
        style = style_control(runs[name], BENCHMARKS["starter"])
        assert style is not None
        effects[name] = style.effects["length"]
    assert effects["baseline/longest"].low > 1
    assert effects["baseline/shortest"].high < -1
    assert effects["baseline/random"].low < 0 < effects["baseline/random"].high


def test_examples_without_score_or_length_and_other_metrics_are_left_out() -> None:
    outcomes = simulate(np.random.default_rng(1), bias=1.0)
    assert outcomes.lengths is not None
    is_scored, has_length = np.arange(len(outcomes)) % 5 != 0, np.arange(len(outcomes)) % 5 != 1
    earned, lengths = np.where(is_scored, outcomes.credits, np.nan), np.where(has_length, outcomes.lengths, np.nan)
    style = controlled(replace(outcomes, credits=earned, lengths=lengths))
    assert style == controlled(outcomes.take(is_scored & has_length))
    assert style.examples == len(outcomes) * 3 / 5
    (section,) = SPEC.sections
    ties = (Section("E", {"easy": 1.0}), Section("H", {"hard": 1.0}, metric=TIES))
    assert style_control(outcomes, replace(SPEC, sections=ties)) == style_control(
        outcomes.take(outcomes.subsets == "easy"), SPEC
    )
    assert style_control(outcomes, replace(SPEC, sections=(replace(section, metric=TIES),))) is None


def test_without_lengths_there_is_nothing() -> None:
    outcomes = item_outcomes("m", [1.0, 0.0] * 50)
    assert style_control(outcomes, PLAIN) is None
    assert style_control(replace(outcomes, lengths=np.full(100, np.nan)), PLAIN) is None


@pytest.mark.parametrize(
    ("credits", "groups", "lengths", "reason"),
    [
        ([1.0] * 95 + [0.0] * 5, 100, 0.1, "5 of 100 examples are wrong; at least 10 are needed"),
        ([0.0] * 100, 100, 0.1, "0 of 100 examples are right; at least 10 are needed"),
        ([0.5] * 100, 100, 0.1, "0 of 100 examples are right; at least 10 are needed"),
        ([1.0, 0.0] * 50, 100, 0.0, "0 of 100 examples are of another style than most; at least 10 are needed"),
        ([1.0, 0.0] * 50, 3, 0.1, "3 independent prompts; at least 11 are needed"),
    ],
)
def test_too_few_or_too_similar_examples_give_a_reason(
    credits: list[float], groups: int, lengths: float, reason: str
) -> None:
    outcomes = item_outcomes("m", credits, groups=[f"g{n % groups}" for n in range(100)])
    lengths_of_examples = lengths * np.random.default_rng(0).choice([-1.0, 1.0], 100)
    style = style_control(replace(outcomes, lengths=lengths_of_examples), PLAIN)
    assert style is not None
    assert (style.value, style.low, style.reason) == (None, None, reason)
    assert style.plain == pytest.approx(np.mean(credits))


def test_a_constant_difference_is_no_variation() -> None:
    outcomes = item_outcomes("m", [1.0, 0.0] * 50)
    style = style_control(replace(outcomes, lengths=np.full(100, 0.4)), PLAIN)
    assert style is not None
    assert style.reason == "0 of 100 examples are of another style than most; at least 10 are needed"


def test_any_outcomes_give_a_finite_estimate_or_a_reason() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        n, num_subsets = int(rng.integers(1, 120)), int(rng.integers(1, 9))
        subsets = [f"s{s}" for s in rng.integers(num_subsets, size=n)]
        spec = custom_spec("plain", dict.fromkeys(sorted(set(subsets)), 1))
        earned = rng.choice([0.0, 1.0, 0.25, np.nan], n, p=rng.dirichlet([1, 1, 0.2, 0.1]))
        lengths = rng.choice([rng.uniform(-1, 1, n), rng.choice([-1e-9, 0, 1e-9], n), np.sign(earned - 0.5)])
        groups = [f"g{g}" for g in rng.integers(rng.integers(1, n + 1), size=n)]
        outcomes = item_outcomes("m", earned.tolist(), subsets=subsets, groups=groups)
        style = style_control(replace(outcomes, lengths=lengths, markdown=lengths**2), spec)
        if style is None or style.value is None or style.low is None or style.high is None:
            assert style is None or style.reason
        else:
            assert 0 < style.low < style.value < style.high < 1


def test_published_models_have_lengths(items: dict[str, ItemOutcomes]) -> None:
    """On RewardBench the known bias of rewards without a reference for the length of an answer shows."""
    spec = BENCHMARKS["rewardbench"]
    styles = {
        name: style_control(items[name], spec)
        for name in ("allenai/tulu-2-dpo-70b", "allenai/tulu-2-dpo-70b_ref_free", "PKU-Alignment/beaver-7b-v1.0-reward")
    }
    effects = [style.effects["length"] for style in styles.values() if style is not None]
    assert len(effects) == 3
    assert effects[0].high < effects[1].low < effects[2].low
