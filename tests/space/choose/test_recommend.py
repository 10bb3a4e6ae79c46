from __future__ import annotations

import ast
import shlex

import pytest

from rb_core.audits.traits import BASELINE
from rb_core.errors import RewardBenchError
from rb_core.leaderboard.custom_scores import custom_board
from rb_core.models.options import check_options
from rb_core.space.choose.loading_code import loading_code
from rb_core.space.choose.recommend import PERMISSIVE, SHOWN, Recommender, Wish, parse_wish
from rb_core.space.choose.report import recommendation_html, summary_text
from rb_core.space.choose.uses import USES
from rb_core.space.results_source import ResultsFolder

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def recommender(results: ResultsFolder) -> Recommender:
    return Recommender(results)


def test_the_group_is_what_no_candidate_is_significantly_better_than(
    recommender: Recommender, results: ResultsFolder
) -> None:
    weights = {"Safety": 3.0, "Math": 1.0}
    answer = recommender.answer(Wish("best-of-n", "rewardbench-2", weights, max_size=10e9))
    board = results.boards()["rewardbench-2"]
    names = [row.model for row in board.ranked() if row.parameters and row.parameters <= 10e9 and row.kind != BASELINE]
    ranked = custom_board(board, results.results(board.id), {}, weights, names)
    group = [row for row in ranked.rows if row.rank_interval is not None and row.rank_interval.best == 1]
    assert [entry["model"] for entry in answer["group"]] + answer["more"] == [row.model for row in group]
    assert len(answer["group"]) == min(len(group), SHOWN)
    assert answer["candidates"] + sum(answer["left_out"].values()) == len(board.ranked())
    for entry, row in zip(answer["group"], group, strict=False):
        assert entry["score"]["value"] == row.headline.value
        assert entry["score"]["value"] == pytest.approx(
            0.75 * row.sections["Safety"] + 0.25 * row.sections["Math"], abs=1e-4
        )
        assert set(entry["sections"]) == set(weights)


def test_conditions_leave_out_what_is_not_known(recommender: Recommender, results: ResultsFolder) -> None:
    registry = results.registry()
    for wish in (Wish(licence="permissive"), Wish(openness="data"), Wish(min_size=1e9, max_size=3e9)):
        answer = recommender.answer(wish)
        for entry in answer["group"]:
            registered = registry.get(entry["model"])
            assert not wish.licence or (registered and (registered.licence or "").lower() in PERMISSIVE)
            assert not wish.openness or (registered and registered.training_data)
            assert not wish.max_size or 1e9 <= entry["parameters"] <= 3e9
        assert sum(answer["left_out"].values()) > 0
    assert recommender.answer(Wish(min_size=9e15))["group"] == []


def test_evidence_has_the_numbers_of_the_report(recommender: Recommender, results: ResultsFolder) -> None:
    report = next(report for report in results.reports() if report.audit == "downstream")
    rows = {(str(row[1]), str(row[2])): row for row in report.tables[0].rows}
    sentences = " ".join(recommender.answer(Wish("rlhf"))["evidence"])
    for group in ("all models", "on-policy"):
        r = rows["PPO, mean of 9 tasks", group][4]
        assert f"correlation {r:.2f}".replace("-", "−") in sentences
    points = [point.y for point in report.figure.points if point.group == "on-policy"] if report.figure else []
    assert f"scored {sum(points) / len(points):.1f} on average (n = {len(points)})" in sentences
    assert "does not say" in recommender.answer(Wish("rlhf"))["advice"][0]


def test_traits_are_those_of_the_board(recommender: Recommender, results: ResultsFolder) -> None:
    by_key = {trait.key: trait for trait in results.traits("rewardbench")}
    answer = recommender.answer(Wish("rlhf", "rewardbench"))
    traits = {entry["model"]: entry["traits"] for entry in answer["group"]}
    model = next(model for model, known in traits.items() if known)
    assert [trait["value"] for trait in traits[model]] == [
        by_key[key].values[model].value for key in USES["rlhf"].traits
    ]


@pytest.mark.parametrize("benchmark", ["rewardbench", "themis-code-rewardbench", "starter"])
def test_code_is_valid_for_every_model_and_use(results: ResultsFolder, benchmark: str) -> None:
    for number, result in enumerate(results.results(benchmark).values()):
        use = list(USES.values())[number % len(USES)]
        code = loading_code(result, None, use)
        program = ast.parse(code["python"])
        call = next(
            node for node in ast.walk(program) if isinstance(node, ast.Call) and "load_model" in ast.dump(node.func)
        )
        assert ast.literal_eval(call.args[0]) in shlex.split(code["command"])
        assert ("reference-free" in str(result.model.kind_detail)) == ("--reference-free" in code["command"])


def test_options_of_the_code_are_allowed(results: ResultsFolder) -> None:
    from rb_core.leaderboard.reproduce import loading_options

    kinds = {result.model.kind: result for result in results.results("rewardbench").values()}
    for result in kinds.values():
        check_options(loading_options(result, "ORG/BASE"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"use": "cooking"}, "no use"),
        ({"benchmark": "nothing"}, "no benchmark"),
        ({"weights": {"Nothing": 1}}, "no section"),
        ({"weights": [1]}, "weights are numbers"),
        ({"max_size": "large"}, "max_size is not a number"),
        ({"licence": "mine"}, "licence is"),
        ({"use": 3}, "use is a number"),
    ],
)
def test_a_wrong_wish_is_refused_with_its_reason(
    recommender: Recommender, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(RewardBenchError, match=message):
        recommender.answer(parse_wish(dict(fields)))


def test_every_text_is_escaped_and_small_groups_have_words(recommender: Recommender) -> None:
    answer = recommender.answer(Wish("judge", "starter"))
    assert summary_text(answer) == "One model fits."
    entry = answer["group"][0] | {
        "model": MARKUP,
        "licence": MARKUP,
        "command": MARKUP,
        "python": MARKUP,
        "note": MARKUP,
    }
    html = recommendation_html(answer | {"group": [entry, entry], "more": [MARKUP], "left_out": {MARKUP: 2}})
    assert "<img" not in html
    assert "cannot be told apart" in summary_text(answer | {"tied": 3, "candidates": 9})
    assert "No model fits" in summary_text(answer | {"tied": 0, "candidates": 0})
