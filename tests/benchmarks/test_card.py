"""Cards of benchmarks that are not registered."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rb_core.benchmarks.card import Card, CardSection, CardSubset, parse_card, read_card_beside
from rb_core.benchmarks.custom import custom_spec, spec_from_json
from rb_core.benchmarks.layouts.pairs import read_standard
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec, spec_to_json
from rb_core.errors import DataError
from rb_core.evaluation.aggregate import aggregate_scores
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.leaderboard.board import load_boards
from rb_core.leaderboard.verify import COMPUTED_FIELDS, differing_values, verify
from rb_core.results.schema import Result
from rb_core.scorers.function import FunctionScorer
from tests.benchmarks.preference_files import write_jsonl

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
    assert read_card_beside(data) == Card(title="My pairs", licence="CC0-1.0", metric="best", ties="none")
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
        ("metric: most\n", r"mine\.jsonl\.card\.yaml: metric: is 'most': input should be one of all, .*pairs, best"),
        ("ties: 0.5\n", r"mine\.jsonl\.card\.yaml: ties: is 0.5: input should be 'none', 'half' or 'split'"),
        ("license: MIT\n", r"mine\.jsonl\.card\.yaml: license: unknown field; the fields are id, title, .*licence"),
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
    with pytest.raises(DataError, match=r"--metric: is 'most': input should be one of all, .*pairs, best"):
        load_benchmark(str(data), metric="most")


@pytest.mark.parametrize("option", ["metric", "ties"])
def test_a_registered_benchmark_has_its_own_rules(option: str) -> None:
    with pytest.raises(DataError, match=f"--{option} is for data of your own; 'starter' has"):
        load_benchmark("starter", **{option: "half"})


def test_a_record_keeps_the_settings() -> None:
    spec = custom_spec("custom-x", {"a": 2}, Card(metric="pairs", ties="half"))
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


# A card that names its data

CARD = """
id: honesty
title: Honesty
data: rows/mine.jsonl
columns: {prompt: question, chosen: good, rejected: bad, subset: part}
subsets:
  a: An answer that admits doubt
  b: {description: An answer that corrects the user, chance: 0.25}
sections:
  Whole: {subsets: [a], headline_weight: 2}
  Corrects: {weights: {b: 1}, metric: pairs}
ties: none
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "rows").mkdir()
    names = {"prompt": "question", "chosen": "good", "rejected": "bad", "subset": "part", "id": "id"}
    write_jsonl(tmp_path / "rows" / "mine.jsonl", [{names[field]: row[field] for field in row} for row in ROWS])
    path = tmp_path / "honesty.yaml"
    path.write_text(CARD, encoding="utf-8")
    return path


def score(benchmark: Benchmark, out: Path, name: str = "me/own") -> Result:
    """Score each completion by the number that it is."""
    return evaluate_scorer(FunctionScorer(lambda prompt, text: float(text)), name, benchmark, out=out).result


def extended(card: Path, name: str, **fields: object) -> Path:
    """Write a card beside another, with further fields."""
    content = {**yaml.safe_load(card.read_text(encoding="utf-8")), **fields}
    path = card.with_name(name)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_a_card_gives_sections_weights_and_descriptions(card: Path) -> None:
    benchmark = load_benchmark(str(card))
    first, second = benchmark.spec.sections
    assert (first.name, dict(first.weights), first.headline_weight, first.metric.name) == (
        "Whole",
        {"a": 1.0},
        2.0,
        "accuracy",
    )
    assert second.metric.name == "pairs"
    assert [(s.name, s.count, s.chance) for s in benchmark.spec.subsets] == [("a", 2, None), ("b", 1, 0.25)]
    result = score(benchmark, card.parent)
    assert result.headline is not None
    assert result.headline.value == pytest.approx((2 * 0 + 1) / 3)
    (board,) = load_boards(card.parent)[0].values()
    assert (board.title, [section.name for section in board.sections]) == ("Honesty", ["Whole", "Corrects"])


def test_results_need_the_card_no_more(card: Path) -> None:
    result = score(load_benchmark(str(card)), card.parent)
    card.unlink()
    assert aggregate_scores(card.parent / result.scores_path()) == result
    assert not verify(card.parent).differences


def test_a_card_is_named_by_data_and_rules_until_it_states_the_digest_of_its_data(card: Path) -> None:
    plain = load_benchmark(str(card))
    assert plain.spec.id.removeprefix("honesty-").isalnum()
    assert plain.spec.id != "honesty"
    described = load_benchmark(str(extended(card, "b.yaml", description="Other words")))
    assert described.spec.id == plain.spec.id
    assert load_benchmark(str(extended(card, "c.yaml", ties="half"))).spec.id != plain.spec.id
    pinned = extended(card, "d.yaml", sha256=plain.sha256)
    assert load_benchmark(str(pinned)).spec.id == "honesty"
    names = {"id": "id", "subset": "part", "chosen": "good", "rejected": "bad"}
    rows = [{"question": "new"} | {name: row[field] for field, name in names.items()} for row in ROWS]
    other = write_jsonl(card.with_name("other.jsonl"), rows)
    assert load_benchmark(str(pinned), data=other).spec.id.startswith("honesty-")
    write_jsonl(card.parent / "rows" / "mine.jsonl", rows)
    with pytest.raises(DataError, match=r"^d\.yaml: sha256: the examples of mine\.jsonl have "):
        load_benchmark(str(pinned))


def test_results_of_one_id_with_other_rules_are_not_ranked_together(card: Path) -> None:
    sha256 = load_benchmark(str(card)).sha256
    for name, ties in (("a/one", "none"), ("a/two", "none"), ("b/other", "half")):
        score(load_benchmark(str(extended(card, "pinned.yaml", sha256=sha256, ties=ties))), card.parent, name)
    (board,) = load_boards(card.parent)[0].values()
    assert {row.model: (row.rank, row.status) for row in board.rows} == {
        "a/one": (1, "run"),
        "a/two": (1, "run"),
        "b/other": (None, "other data"),
    }


def test_verify_compares_the_card_in_the_folder_with_the_one_of_the_results(card: Path) -> None:
    benchmark = load_benchmark(str(card))
    score(benchmark, card.parent)
    place = card.parent / "benchmarks" / f"{benchmark.spec.id}.yaml"
    place.parent.mkdir()
    extended(card, "other.yaml", ties="half").rename(place)
    (difference,) = verify(card.parent).differences
    assert str(difference) == f'benchmarks/{place.name}: ties: says "half", the results give "none"'


def test_a_card_beside_data_is_the_same_benchmark_as_the_data(data: Path) -> None:
    write_card(data, "sections: {Both: {subsets: [a, b]}}\n")
    benchmark = load_benchmark(str(data))
    assert load_benchmark(f"{data}.card.yaml").spec == benchmark.spec
    assert benchmark.spec.sections[0].name == "Both"
    write_card(data, "title: Mine")
    assert benchmark.spec.id != load_benchmark(str(data)).spec.id
    write_card(data, "data: other.jsonl\n")
    with pytest.raises(DataError, match=r"mine\.jsonl\.card\.yaml: data: must be left out"):
        load_benchmark(str(data))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "rewardbench"}, r"id: 'rewardbench' is an id of a benchmark of this package"),
        ({"id": "custom-x"}, r"id: 'custom-x' is an id of a benchmark of this package, or one with a digest"),
        ({"id": "a/b"}, r"id: is 'a/b': string should match pattern"),
        ({"data": "../rows/mine.jsonl"}, r"data: name a file or folder beside the card"),
        ({"data": "/etc/passwd"}, r"data: name a file or folder beside the card"),
        ({"data": "lost.jsonl"}, r"data: there is no .*lost\.jsonl; restore it, or give a copy with --data"),
        ({"data": ""}, r"data: is missing; name a file beside the card, or a dataset with hub"),
        ({"hub": "org/name"}, r"hub: the card names data already"),
        ({"splits": ["test"]}, r"hub: is missing; config, splits and revision belong to a dataset"),
        ({"sections": {"S": {"subsets": ["c"]}}}, r"sections\.S: there is no subset 'c' among the card's subsets"),
        (
            {"sections": {"S": {"weights": {"a": -1}}}},
            r"sections\.S\.weights\.a: is -1: input should be greater than 0",
        ),
        (
            {"sections": {"S": {"size": 1}}},
            r"sections\.S\.size: unknown field; the fields are name, description, subsets",
        ),
        ({"sections": {"S": {}}}, r"sections\.S: give the section either subsets"),
        (
            {"sections": {"S": {"subsets": ["a"]}, "T": {"subsets": ["a"]}}},
            r"sections\.T: the subset 'a' is in 'S' already",
        ),
        (
            {"subsets": {"a": None}, "sections": {}},
            r"mine\.jsonl:3: field 'subset': is 'b'; the subsets of wrong\.yaml are a",
        ),
        ({"subsets": {"a": "", "b": "", "c": ""}}, r"the subset 'c' has no examples in mine\.jsonl: remove it"),
        ({"subsets": {}, "sections": {"S": {"subsets": ["a", "c"]}}}, r"the subset 'c' has no examples in mine\.jsonl"),
        ({"metric": "ties", "sections": {}}, r"mine\.jsonl:1.*does not fit the metric 'ties': the id is '1'"),
        (
            {"metric": "matrix", "sections": {}},
            r"does not fit the metric 'matrix': 2 chosen and 2 rejected completions for 0",
        ),
    ],
)
def test_a_wrong_field_of_a_card_is_named(card: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_benchmark(str(extended(card, "wrong.yaml", **fields)))


@pytest.mark.parametrize("option", [{"metric": "pairs"}, {"ties": "half"}, {"columns": {"prompt": "q"}}])
def test_a_card_with_an_id_has_its_own_rules(card: Path, option: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"is for data of your own; 'honesty\.yaml' has fields and rules of its own"):
        load_benchmark(str(card), **option)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: &x [1, 1]\nb: [*x, *x]\n", "line 2: a card has no references"),
        (b"ties: none\nties: half\n", "line 1: 'ties' is repeated"),
        (b"title: " + b"x" * 200_001, "such a file has at most 200,000 bytes"),
        (b"!!python/object/apply:os.getcwd []\n", "not readable YAML"),
        (b"[" * 2000, "not readable YAML"),
        (b"\xff", "not readable YAML"),
    ],
)
def test_hostile_cards_are_refused(text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^c.yaml: .*{message}"):
        parse_card(text, "c.yaml")


# Registered benchmarks as cards


def card_of(spec: BenchmarkSpec) -> Card:
    return Card(
        title=spec.title,
        description=spec.description,
        url=spec.url,
        licence=spec.licence,
        citation=spec.citation,
        hub=spec.source.repo if spec.source else "",
        splits=list(spec.source.splits) if spec.source else [],
        subsets=[CardSubset(name=s.name, description=s.description, chance=s.chance) for s in spec.subsets],
        sections=[
            CardSection(
                name=s.name,
                description=s.description,
                weights=dict(s.weights),
                metric=s.metric.name,
                headline_weight=s.headline_weight,
                required=s.required,
                pooled=s.pooled,
                harmonic=s.harmonic,
            )
            for s in spec.sections
        ],
        ties=spec.tie_credit,
        pooled=spec.pooled,
        style_levels=list(spec.style_levels),
    )


@pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=lambda spec: spec.id)
def test_every_registered_benchmark_can_be_written_as_a_card(spec: BenchmarkSpec) -> None:
    read = parse_card(card_of(spec).to_yaml().encode(), "card.yaml")
    counts = {s.name: s.count for s in spec.subsets if s.count is not None}
    assert custom_spec(spec.id, counts, read) == replace(spec, read=read_standard, prior=None, read_prior=None)


def form_of(spec: BenchmarkSpec, subset: str) -> tuple[int, int]:
    """Return the numbers of chosen and rejected completions of an example."""
    return {"matrix": (3, 3), "ties": (2, 3)}.get(spec.metric_of(subset).name, (1, 3))


@pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=lambda spec: spec.id)
def test_a_card_gives_the_numbers_of_a_registered_benchmark(spec: BenchmarkSpec, tmp_path: Path) -> None:
    rows = []
    for index, subset in enumerate(spec.subsets):
        chosen, rejected = form_of(spec, subset.name)
        for version in ("ref", "tied"):
            texts = [str((index * 7 + k * (3 if version == "ref" else 5)) % 11) for k in range(chosen + rejected)]
            rows.append(
                {
                    "id": f"{version}:{index}",
                    "subset": subset.name,
                    "prompt": f"{subset.name} {version}",
                    "chosen": texts[:chosen],
                    "rejected": texts[chosen:],
                }
            )
    data = write_jsonl(tmp_path / "mine.jsonl", rows)
    sizes = Counter(str(row["subset"]) for row in rows)
    own = card_of(spec).model_copy(update={"hub": "", "splits": []})
    write_card(data, own.to_yaml())
    by_card = load_benchmark(str(data))
    registered = replace(by_card, spec=spec.for_other_data(by_card.sha256, sizes), card=None)
    results = [score(benchmark, tmp_path) for benchmark in (by_card, registered)]
    fields = {*COMPUTED_FIELDS, "absent"}
    mine, theirs = (result.model_dump(mode="json", include=fields) for result in results)
    assert list(differing_values(mine, theirs)) == []
    assert mine["headline"] is not None
