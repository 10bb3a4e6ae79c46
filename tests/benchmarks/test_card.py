"""Cards of a user's own data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rb_core.benchmarks.card import Card, read_card
from rb_core.benchmarks.custom import custom_spec, spec_from_json
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import spec_to_json
from rb_core.errors import DataError
from rb_core.evaluation.aggregate import aggregate_scores
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.leaderboard.board import load_boards
from rb_core.leaderboard.verify import verify
from rb_core.scorers.function import FunctionScorer

# The score of a completion is the number that it is.
ROWS = [
    {"id": "1", "subset": "a", "prompt": "p", "chosen": ["5", "1"], "rejected": ["3", "1"]},
    {"id": "2", "subset": "a", "prompt": "q", "chosen": ["2"], "rejected": ["2", "0"]},
    {"id": "3", "subset": "b", "prompt": "r", "chosen": ["4"], "rejected": ["1"]},
]
# Of the four pairs of the first example two are won and one is tied; of the two of the second, one and one.
EXPECTED = {
    ("all", "none"): (0 + 0 + 1) / 3,
    ("all", "half"): (0 + 1 / 2 + 1) / 3,
    ("all", "split"): (0 + 1 / 2 + 1) / 3,
    ("pairs", "none"): (2 / 4 + 1 / 2 + 1) / 3,
    ("pairs", "half"): (2.5 / 4 + 1.5 / 2 + 1) / 3,
    ("pairs", "split"): (2.5 / 4 + 1.5 / 2 + 1) / 3,
    ("best", "none"): (1 + 0 + 1) / 3,
    ("best", "half"): (1 + 1 / 2 + 1) / 3,
    ("best", "split"): (1 + 1 / 2 + 1) / 3,
}
# 1 of C(4, 2), 1 of 3, 1 of 2; half of all pairs; 2 of 4, 1 of 3, 1 of 2.
CHANCE = {"all": (1 / 6 + 1 / 3 + 1 / 2) / 3, "pairs": 1 / 2, "best": (1 / 2 + 1 / 3 + 1 / 2) / 3}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


def write_card(data: Path, text: str) -> None:
    data.with_name(f"{data.name}.card.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("metric", "ties"), EXPECTED)
def test_a_file_is_scored_by_its_settings(data: Path, metric: str, ties: str) -> None:
    """The settings are recorded, so that the score file and the results alone give the numbers and the board."""
    benchmark = load_benchmark(str(data), metric=metric, ties=ties)
    written = evaluate_scorer(FunctionScorer(lambda prompt, text: float(text)), "me/own", benchmark, out=data.parent)
    assert written.result.headline is not None
    assert written.result.headline.value == pytest.approx(EXPECTED[metric, ties])
    assert written.result.chance is not None
    assert written.result.chance.headline == pytest.approx(CHANCE[metric])
    assert aggregate_scores(data.parent / written.result.scores_path()) == written.result
    assert not verify(data.parent).differences
    (board,) = load_boards(data.parent)[0].values()
    assert board.chance.headline == pytest.approx(CHANCE[metric])
    assert [(row.model, row.rank) for row in board.rows] == [("me/own", 1)]


def test_different_settings_are_different_boards(data: Path) -> None:
    settings = [(metric, ties) for metric, ties in EXPECTED] + [(None, None)]
    ids = [load_benchmark(str(data), metric=metric, ties=ties).spec.id for metric, ties in settings]
    assert len(set(ids)) == len(EXPECTED)  # the last settings are those of all and split
    assert all(name.startswith("custom-mine-") for name in ids)


def test_the_card_states_settings_and_description_and_options_win(data: Path) -> None:
    write_card(data, "title: My pairs\nlicence: CC0-1.0\nmetric: best\nties: none\n")
    assert read_card(data) == Card(title="My pairs", licence="CC0-1.0", metric="best", ties="none")
    spec = load_benchmark(str(data)).spec
    assert (spec.title, spec.licence, spec.sections[0].metric.name, spec.tie_credit) == (
        "My pairs",
        "CC0-1.0",
        "best",
        "none",
    )
    other = load_benchmark(str(data), ties="half").spec
    assert (other.sections[0].metric.name, other.tie_credit) == ("best", "half")


def test_a_board_shows_what_the_card_says(data: Path) -> None:
    write_card(data, "title: My pairs\nlicence: CC0-1.0\nurl: https://example.org/pairs\n")
    scorer = FunctionScorer(lambda prompt, text: float(text))
    evaluate_scorer(scorer, "me/own", load_benchmark(str(data)), out=data.parent)
    (board,) = load_boards(data.parent)[0].values()
    assert (board.title, board.licence, board.url) == ("My pairs", "CC0-1.0", "https://example.org/pairs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metric: most\n", r"mine\.jsonl\.card\.yaml: metric: is 'most': input should be 'all', 'pairs' or 'best'"),
        ("ties: 0.5\n", r"mine\.jsonl\.card\.yaml: ties: is 0.5: input should be 'none', 'half' or 'split'"),
        ("license: MIT\n", r"mine\.jsonl\.card\.yaml: license: unknown field; the fields are title, .*licence"),
        ("title: 2024\n", r"mine\.jsonl\.card\.yaml: title: is 2024: input should be a valid string"),
        ("url: javascript:alert(1)\n", r"mine\.jsonl\.card\.yaml: url: is 'javascript:alert\(1\)'"),
        ("- metric\n", r"mine\.jsonl\.card\.yaml: expected fields such as 'metric: pairs'"),
        ("a: [\n", r"mine\.jsonl\.card\.yaml: not readable YAML"),
    ],
)
def test_a_wrong_card_is_an_error_that_names_file_and_field(data: Path, text: str, message: str) -> None:
    write_card(data, text)
    with pytest.raises(DataError, match=message):
        load_benchmark(str(data))


def test_a_wrong_option_is_named(data: Path) -> None:
    with pytest.raises(DataError, match="--metric: is 'most': input should be 'all', 'pairs' or 'best'"):
        load_benchmark(str(data), metric="most")


@pytest.mark.parametrize("option", ["metric", "ties"])
def test_a_registered_benchmark_has_its_own_rules(option: str) -> None:
    with pytest.raises(DataError, match=f"--{option} is for data of your own; 'starter' has"):
        load_benchmark("starter", **{option: "half"})


def test_a_record_keeps_the_settings() -> None:
    spec = custom_spec("custom-x", {"a": 2}, Card(metric="pairs", ties="half"))
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
