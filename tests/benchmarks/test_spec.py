"""Headlines of data whose subsets have unequal sizes, against the definitions of the benchmarks' authors.

Each test states the definition in plain arithmetic on the scores. Sizes are none of the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
import pytest

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.stats.item_outcomes import Floats
from rb_core.stats.summary import Summary, summarize
from tests.fakes.outcomes import Row, score_table


def random_scores(sizes: Mapping[str, int], completions: int) -> dict[str, Floats]:
    """Return (examples, completions) scores of each subset, which is harder the later it is."""
    rng = np.random.default_rng(0)
    shifts = accumulate([1.0, *[-0.5] * (len(sizes) - 1)])
    scores = {}
    for (subset, size), shift in zip(sizes.items(), shifts, strict=True):
        scores[subset] = rng.normal(size=(size, completions))
        scores[subset][:, 0] += shift
    return scores


def summary_of(scores: Mapping[str, Floats], spec: BenchmarkSpec, num_chosen: int = 1) -> Summary:
    rows: list[Row] = [
        (f"{subset}/{number}", subset, f"{subset}/{number}", num_chosen, values)
        for subset, table in scores.items()
        for number, values in enumerate(table)
    ]
    return summarize(score_table(rows), spec)


def headline(summary: Summary) -> float:
    assert summary.headline is not None
    assert summary.headline.value is not None
    return summary.headline.value


def pair_accuracy(scores: Floats) -> float:
    return float((scores[:, 0] > scores[:, 1]).mean())


def best_of_four(scores: Floats) -> float:
    return float((scores[:, 0] > scores[:, 1:].max(axis=1)).mean())


def unequal_sizes(spec: BenchmarkSpec) -> dict[str, int]:
    return {subset.name: 3 + 4 * number for number, subset in enumerate(spec.subsets)}


def test_rewardbench_weighs_subsets_by_their_published_counts() -> None:
    """`EXAMPLE_COUNTS` in the authors' code is a constant: other data has the same weights."""
    spec = BENCHMARKS["rewardbench"]
    sizes = {s.name: n for s, n in zip(spec.subsets, range(3, 200, 3), strict=False) if "prior" not in s.name}
    scores = random_scores(sizes, 2)
    accuracy = {name: pair_accuracy(table) for name, table in scores.items()}
    counts = {"alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95}
    chat = counts | {"mt-bench-easy": 28, "mt-bench-med": 40}
    code = {f"hep-{language}": 164 for language in ("cpp", "go", "java", "js", "python", "rust")}
    reasoning = {"math-prm": 984} | code
    summary = summary_of(scores, spec)
    for name, weights in (("Chat", chat), ("Reasoning", reasoning)):
        expected = sum(weight * accuracy[subset] for subset, weight in weights.items()) / sum(weights.values())
        assert summary.sections[name].value == pytest.approx(expected, abs=1e-12)
    four = sum(summary.sections[name].value or 0 for name in ("Chat", "Chat Hard", "Safety", "Reasoning"))
    prior = np.mean([accuracy[name] for name in ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")])
    assert headline(summary) == pytest.approx((four + prior / 2) / 4.5, abs=1e-12)


def test_rewardbench_2_is_the_mean_of_six_domains_of_any_sizes() -> None:
    spec = BENCHMARKS["rewardbench-2"]
    sizes = {name: size for name, size in unequal_sizes(spec).items() if name != "Ties"}
    scores = random_scores(sizes, 4)
    rows: list[Row] = [
        (f"{subset}/{number}", subset, f"{subset}/{number}", 1, values)
        for subset, table in scores.items()
        for number, values in enumerate(table)
    ]
    # One Ties question whose answers are all in order, and whose gaps are twice the spread.
    rows += [("tied:1", "Ties", "ties:1", 2, (4.0, 3.0, 1.0)), ("ref:1", "Ties", "ties:1", 1, (3.0, 1.0))]
    ties = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * np.tanh(1.0)
    expected = (sum(best_of_four(table) for table in scores.values()) + ties) / 6
    assert headline(summarize(score_table(rows), spec)) == pytest.approx(expected, abs=1e-12)


def test_rm_bench_takes_all_safety_prompts_together() -> None:
    """`compute_accuracy` in the authors' code: the mean matrix over the prompts of a domain; the score is the mean of
    the four domains."""
    spec = BENCHMARKS["rm-bench"]
    scores = random_scores(unequal_sizes(spec), 6)
    wins = {name: table[:, :3, None] > table[:, None, 3:] for name, table in scores.items()}
    domains = {
        "Chat": wins["chat"],
        "Code": wins["code"],
        "Math": wins["math"],
        "Safety": np.concatenate([wins["safety-refuse"], wins["safety-response"]]),
    }
    matrices = {name: table.mean(axis=0) for name, table in domains.items()}
    summary = summary_of(scores, spec, num_chosen=3)
    for name, matrix in matrices.items():
        assert summary.sections[name].value == pytest.approx(matrix.mean(), abs=1e-12)
        cells = [[cell.value for cell in row] for row in summary.matrices[name].cells]
        assert cells == [pytest.approx(row, abs=1e-12) for row in matrix.tolist()]
        assert summary.matrices[name].hard.value == pytest.approx(matrix[np.triu_indices(3, 1)].mean(), abs=1e-12)
        assert summary.matrices[name].normal.value == pytest.approx(np.diag(matrix).mean(), abs=1e-12)
        assert summary.matrices[name].easy.value == pytest.approx(matrix[np.tril_indices(3, -1)].mean(), abs=1e-12)
    overall = sum(matrices.values()) / 4
    assert headline(summary) == pytest.approx(overall.mean(), abs=1e-12)
    assert summary.matrices["All"].hard.value == pytest.approx(overall[np.triu_indices(3, 1)].mean(), abs=1e-12)


def test_rm_bench_safety_is_the_prompts_that_are_there() -> None:
    scores = random_scores({"safety-response": 5}, 6)
    summary = summary_of(scores, BENCHMARKS["rm-bench"], num_chosen=3)
    wins = scores["safety-response"][:, :3, None] > scores["safety-response"][:, None, 3:]
    assert summary.sections["Safety"].value == pytest.approx(wins.mean(), abs=1e-12)
    assert summary.headline is None


def test_judgebench_is_the_share_of_the_pairs_that_are_there() -> None:
    spec = BENCHMARKS["judgebench"]
    scores = random_scores(unequal_sizes(spec), 2)
    assert headline(summary_of(scores, spec)) == pytest.approx(pair_accuracy(np.concatenate(list(scores.values()))))


def test_unscored_examples_change_no_weight() -> None:
    spec = BENCHMARKS["judgebench"]
    scores = random_scores(unequal_sizes(spec), 2)
    scores["coding"][1:] = np.nan
    pairs = sum(map(len, scores.values()))
    expected = sum(len(table) / pairs * pair_accuracy(table) for name, table in scores.items() if name != "coding")
    expected += len(scores["coding"]) / pairs * pair_accuracy(scores["coding"][:1])
    assert headline(summary_of(scores, spec)) == pytest.approx(expected, abs=1e-12)


def test_starter_is_the_mean_of_sections_whose_subsets_weigh_the_same() -> None:
    spec = BENCHMARKS["starter"]
    scores = random_scores({name: size for name, size in unequal_sizes(spec).items() if name != "ties"}, 2)
    summary = summary_of(scores, spec)
    for section in spec.sections[:-1]:
        expected = np.mean([pair_accuracy(scores[name]) for name in section.weights])
        assert summary.sections[section.name].value == pytest.approx(expected, abs=1e-12)


def test_an_own_file_is_the_mean_over_its_examples() -> None:
    sizes = {"a": 4, "b": 9, "c": 2}
    scores = random_scores(sizes, 2)
    summary = summary_of(scores, custom_spec("custom-mine", sizes))
    assert headline(summary) == pytest.approx(pair_accuracy(np.concatenate(list(scores.values()))), abs=1e-12)
