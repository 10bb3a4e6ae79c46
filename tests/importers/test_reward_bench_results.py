"""The importer of RewardBench's public layout, on small files made here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError
from rb_core.evaluation import aggregate, evaluate
from rb_core.importers import reward_bench_results
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores
from rb_core.results.storage import read_result
from rb_core.scorers.function import FunctionScorer
from rb_core.stats.metrics.ties import TIES_WEIGHTS
from tests.cli.command_line import rb
from tests.fakes.benchmarks import few_examples
from tests.fakes.commands import run_command
from tests.fakes.hub_server import COMMIT, hub

V1 = BENCHMARKS["rewardbench"]
CORE = [
    subset.name
    for section in V1.sections
    if section.required
    for subset in V1.subsets
    if subset.name in section.weights
]
DOMAINS = [subset.name for subset in BENCHMARKS["rewardbench-2"].subsets if subset.name != "Ties"]
PRIOR = {"anthropic_helpful": 0.5, "anthropic_hhh": 0.6, "shp": 0.7, "summarize": 0.8}


def put(folder: Path, name: str, content: Any) -> Path:
    """Write a file of the layout, as JSON unless it is text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def pairs() -> list[dict[str, Any]]:
    """Two pairs of each of RewardBench's subsets with one prompt; a longer answer is right in the first pair only."""
    rows = []
    for number, subset in enumerate(CORE):
        for second in (0, 1):
            chosen, rejected = ("c" * 9, "r" * (number % 7)) if not second else ("c" * (number % 3), "r" * 3)
            row = {"id": 10 * number + second, "subset": subset, "prompt": f"{subset}?"}
            rows.append(row | {"chosen": chosen + ".", "rejected": rejected + "."})
    return rows


def as_pairs(rows: list[dict[str, Any]], *, messages: bool = True, **more: Any) -> dict[str, Any]:
    """A file of scores as for pairs, the score being the answer's length; texts as messages or through a template."""
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("id", "subset")}
    for side in ("chosen", "rejected"):
        columns[f"scores_{side}"] = [float(len(row[side])) for row in rows]
        columns[f"text_{side}"] = [
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}]
            if messages
            else f"<user>{row['prompt']}<assistant>{row[side]}<end>"
            for row in rows
        ]
    columns["results"] = [int(c > r) for c, r in zip(columns["scores_chosen"], columns["scores_rejected"], strict=True)]
    return columns | {"model": "a/m", "model_type": "Seq. Classifier", "chat_template": "tokenizer"} | more


def accuracies(columns: dict[str, Any]) -> dict[str, Any]:
    """The file of accuracies that belongs to a file of scores."""
    found: dict[str, Any] = {
        name: columns[name] for name in ("model", "model_type", "chat_template") if name in columns
    }
    for name in dict.fromkeys(columns["subset"]):
        mine = [r for r, subset in zip(columns["results"], columns["subset"], strict=True) if subset == name]
        found[name] = sum(mine) / len(mine)
    return found


def best_of_four() -> list[dict[str, Any]]:
    """One prompt of each of RewardBench 2's domains, and two questions of Ties in both versions."""
    rows: list[dict[str, Any]] = [
        {
            "id": str(n),
            "subset": name,
            "prompt": f"{name}?",
            "chosen": ["c" * 4],
            "rejected": ["r" * (n + k) for k in (1, 2, 3)],
        }
        for n, name in enumerate(DOMAINS)
    ]
    for number in (0, 1):
        for kind, count in (("ref", 1), ("tied", 3)):
            chosen = ["c" * (6 + 3 * number + k) for k in range(count)]
            row = {"id": f"{kind}:{number}", "subset": "Ties", "prompt": f"{kind} {number}?"}
            rows.append(row | {"chosen": chosen, "rejected": ["r", "r" * (2 + 3 * number)]})
    return rows


def as_best_of_four(rows: list[dict[str, Any]], *, nested: bool = False) -> dict[str, Any]:
    """A file of scores as for RewardBench 2, the score being the answer's length."""
    scores = [[float(len(text)) for text in row["chosen"] + row["rejected"]] for row in rows]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("id", "subset")}
    columns["scores"] = [[[score] for score in each] for each in scores] if nested else scores
    columns["num_correct"] = [len(row["chosen"]) for row in rows]
    columns["text"] = [[f"<user>{row['prompt']}" for _ in row["chosen"] + row["rejected"]] for row in rows]
    columns["results"] = [
        None if row["subset"] == "Ties" else (each[0] == max(each)) / each.count(max(each))
        for row, each in zip(rows, scores, strict=True)
    ]
    return columns | {"model": "b/rm", "model_type": "Seq. Classifier"}


def a_run(benchmark: str, rows: list[dict[str, Any]], name: str, out: Path) -> Result:
    """A run of ours on the same rows with the same scores."""
    data = put(out, "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    scorer = FunctionScorer(lambda prompt, completion: float(len(completion)))
    return evaluate.evaluate_scorer(scorer, name, few_examples(benchmark, data), out=out).result


def note(result: Result) -> str:
    return (result.published.note if result.published else None) or ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One model with both of its RewardBench files."""
    columns = as_pairs(pairs())
    put(tmp_path / "public", "eval-set-scores/a/m.json", columns)
    put(tmp_path / "public", "eval-set/a/m.json", accuracies(columns))
    return tmp_path / "public"


Import = Callable[..., reward_bench_results.ImportReport]


@pytest.fixture
def imported(folder: Path, tmp_path: Path) -> Import:
    """Import the folder into tmp_path/out."""
    return lambda **options: reward_bench_results.import_results(str(folder), tmp_path / "out", **options)


def the_result(tmp_path: Path, name: str = "a/m", benchmark: str = "rewardbench") -> Result:
    return read_result(tmp_path / f"out/results/{benchmark}/{name}.json")


def test_an_import_has_the_numbers_and_the_examples_of_a_run(imported: Import, tmp_path: Path) -> None:
    """Scores of the same answers give the same estimates and, row for row, the same table as our own run."""
    report = imported()
    assert (report.written, report.tables, report.differences, report.refused) == ({"rewardbench": 1}, 1, [], [])
    result, run = the_result(tmp_path), a_run("rewardbench", pairs(), "a/m", tmp_path / "run")
    assert (result.status, result.model.kind) == ("published", "classifier")
    assert (result.headline, result.sections, result.subsets) == (run.headline, run.sections, run.subsets)
    assert (result.margins, result.counts) == (run.margins, run.counts)
    ours, theirs = (read_scores(tmp_path / f"{name}/scores/rewardbench/a/m.parquet")[0] for name in ("run", "out"))
    columns = ["example_id", "subset", "group", "completion", "is_chosen", "score", "reason"]
    assert theirs[columns].equals(ours[columns])
    assert set(theirs["num_tokens"]) == {0}


def test_the_source_is_a_name_with_its_files(imported: Import, tmp_path: Path) -> None:
    """Folder, files and today's date are recorded, and nothing of where the folder lies."""
    imported()
    published = the_result(tmp_path).published
    assert published is not None
    assert published.source == "public: eval-set/a/m.json, eval-set-scores/a/m.json"
    assert published.retrieved is not None
    for path in (tmp_path / "out").rglob("*.*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()


def test_an_imported_table_gives_its_result_again(imported: Import, folder: Path, tmp_path: Path) -> None:
    """`aggregate` derives the written result from the score file alone, also where prior sets are accuracies only."""
    put(folder, "pref-sets/a/m.json", PRIOR | {"model": "a/m", "mtbench_gpt4": 0.9})
    imported()
    result = the_result(tmp_path)
    assert result.scores is not None
    assert aggregate.aggregate_scores(tmp_path / "out" / result.scores.path) == result
    assert result.sections["Prior Sets"].value == pytest.approx(0.65)
    assert result.sections["Prior Sets"].method == "binomial"
    assert result.sections["Chat"].method == "beta"
    four = sum(result.sections[s.name].value or 0.0 for s in V1.sections if s.required)
    assert result.headline is not None
    assert result.headline.value == pytest.approx((four + 0.5 * 0.65) / 4.5)
    assert "no scores of anthropic_helpful" in note(result)


def test_a_published_accuracy_that_its_scores_do_not_give_is_reported(
    imported: Import, folder: Path, tmp_path: Path
) -> None:
    """The difference is listed and noted, and the recomputed number stands; rounding is none."""
    stated = accuracies(as_pairs(pairs()))
    put(folder, "eval-set/a/m.json", stated | {"hep-go": 0.123, "math-prm": stated["math-prm"] - 4e-4})
    report = imported()
    assert report.differences == [reward_bench_results.AccuracyDifference("a/m", "hep-go", 0.123, stated["hep-go"])]
    assert the_result(tmp_path).subsets["hep-go"].value == stated["hep-go"]
    assert "hep-go 0.1230 (recomputed: " in note(the_result(tmp_path))


def test_without_scores_the_record_weighs_the_published_accuracies(
    imported: Import, folder: Path, tmp_path: Path
) -> None:
    """Sections and headline follow from the accuracies, with binomial intervals and no score table."""
    (folder / "eval-set-scores/a/m.json").unlink()
    stated = dict.fromkeys(CORE, 0.8) | {"math-prm": 0.5, "xstest": 0.1, "pace": 3}
    put(folder, "eval-set/a/m.json", stated | {"model": "a/m", "model_type": "DPO", "ref_model": "a/base"})
    put(folder, "pref-sets/a/m.json", PRIOR)
    assert imported().tables == 0
    result = the_result(tmp_path)
    assert result.sections["Reasoning"].value == pytest.approx(0.65)  # mathematics and code, half each
    assert result.headline is not None
    assert result.headline.value == pytest.approx((3 * 0.8 + 0.65 + 0.5 * 0.65) / 4.5)
    assert result.headline.method == "binomial"
    assert result.subsets["hep-go"].method == "binomial"
    assert (result.model.kind, result.model.reference) == ("implicit", "a/base")
    assert (result.scores, result.counts) == (None, None)
    assert "left out of eval-set/a/m.json: pace" in note(result)


@pytest.mark.parametrize("nested", [False, True])
def test_rewardbench_2_with_ties(nested: bool, tmp_path: Path) -> None:
    """Best of four and the Ties composite are recomputed as in our own run, also from numbers in lists of their own."""
    columns = as_best_of_four(best_of_four(), nested=nested)
    put(tmp_path / "public", "eval-set-scores/b/rm.json", columns)
    put(tmp_path / "public", "eval-set/b/rm.json", {"model": "b/rm", "Ties": 0.5, **dict.fromkeys(DOMAINS, 1.0)})
    report = reward_bench_results.import_results(str(tmp_path / "public"), tmp_path / "out")
    run = a_run("rewardbench-2", best_of_four(), "b/rm", tmp_path / "run")
    result = the_result(tmp_path, "b/rm", "rewardbench-2")
    assert {n: e.value for n, e in result.sections.items()} == {n: e.value for n, e in run.sections.items()}
    # by hand: the longest of the r's is shorter, as long, longer; right answers of Ties win, by 4 at a spread of 2
    assert [result.subsets[name].value for name in DOMAINS[:3]] == [1.0, 0.5, 0.0]
    parts = {"tied": 1.0, "ref": 1.0, "margin": 1.0, "margin_hard": 1.0, "tanh": 0.7615941559557649}
    assert result.sections["Ties"].value == pytest.approx(sum(TIES_WEIGHTS[k] * v for k, v in parts.items()))
    assert {d.subset for d in report.differences} == {"Ties", *DOMAINS[1:]}
    assert aggregate.aggregate_scores(tmp_path / "out/scores/rewardbench-2/b/rm.parquet") == result


def test_outcomes_of_a_judge_make_no_score_table(imported: Import, folder: Path, tmp_path: Path) -> None:
    """Half points are kept in the published accuracy, which outcomes check, and stand in for it where there is none."""
    columns = as_pairs(pairs(), model_type="Generative RM")
    del columns["scores_chosen"], columns["scores_rejected"]
    columns["results"][0] = 0.5
    put(folder, "eval-set-scores/a/m.json", columns)
    stated = accuracies(columns)
    assert stated[CORE[0]] in (0.25, 0.75)
    put(folder, "eval-set/a/m.json", stated | {"hep-go": 0.123})
    report = imported()
    assert (report.tables, [d.subset for d in report.differences]) == (0, ["hep-go"])
    result = the_result(tmp_path)
    assert (result.subsets[CORE[0]].value, result.subsets["hep-go"].value) == (stated[CORE[0]], 0.123)
    assert "outcomes without scores, no score table" in note(result)
    (folder / "eval-set/a/m.json").unlink()
    imported(overwrite=True)
    result = the_result(tmp_path)
    assert result.subsets["hep-go"].value == stated["hep-go"]
    assert "accuracies from outcomes" in note(result)


def test_a_judge_with_scores_for_ties_only(tmp_path: Path) -> None:
    """Ties is recomputed from its ratings, the other domains keep their accuracies, and aggregate gives both again."""
    columns = as_best_of_four(best_of_four())
    for row, subset in enumerate(columns["subset"]):
        if subset != "Ties":
            columns["scores"][row], columns["results"][row] = None, 0.25
    put(tmp_path / "public", "eval-set-scores/b/rm.json", columns)
    put(tmp_path / "public", "eval-set/b/rm.json", {"model": "b/rm", "Ties": 0.2, **dict.fromkeys(DOMAINS, 0.25)})
    report = reward_bench_results.import_results(str(tmp_path / "public"), tmp_path / "out")
    assert [d.subset for d in report.differences] == ["Ties"]
    result = the_result(tmp_path, "b/rm", "rewardbench-2")
    assert result.sections["Math"].value == 0.25
    assert result.sections["Ties"].value == pytest.approx(1.0 + 0.01 * 0.7615941559557649)
    assert result.headline is not None
    assert aggregate.aggregate_scores(tmp_path / "out/scores/rewardbench-2/b/rm.parquet") == result


def test_a_missing_score_is_unscored(imported: Import, folder: Path, tmp_path: Path) -> None:
    """No score and a score that is not finite leave an example out of the accuracy, counted and with the reason."""
    columns = as_pairs(pairs())
    columns["scores_chosen"][0], columns["scores_rejected"][3] = None, 1e300
    put(folder, "eval-set-scores/a/m.json", columns)
    imported()
    counts = the_result(tmp_path).counts
    assert counts is not None
    assert counts.unscored == 2
    assert counts.reasons == {"no score published": 1, "score not finite": 1}


def test_ids_and_prompts_come_from_a_file_beside(imported: Import, folder: Path, tmp_path: Path) -> None:
    """A file without ids, and with prompts inside a template's text, gets both from one with the same examples."""
    columns = as_pairs(pairs(), messages=False, model="a/old")
    del columns["id"]
    put(folder, "eval-set-scores/a/old.json", columns)
    imported()
    first, second = (read_scores(tmp_path / f"out/scores/rewardbench/a/{name}.parquet")[0] for name in ("m", "old"))
    assert second.equals(first)
    assert "ids of eval-set-scores/a/old.json from eval-set-scores/a/m.json" in note(the_result(tmp_path, "a/old"))


def test_examples_that_are_not_provably_the_same_are_named_by_their_places(
    imported: Import, folder: Path, tmp_path: Path
) -> None:
    """Where one text differs no id is taken over, and every example is a group of its own."""
    columns = as_pairs(pairs(), messages=False, model="a/old")
    del columns["id"]
    columns["text_chosen"][5] = "another text"
    put(folder, "eval-set-scores/a/old.json", columns)
    imported()
    frame, _ = read_scores(tmp_path / "out/scores/rewardbench/a/old.parquet")
    assert frame["example_id"].iloc[0] == f"{CORE[0]}/row-1"
    assert frame["group"].nunique() == len(pairs())
    assert "named by their places" in note(the_result(tmp_path, "a/old"))
    assert "independent" in note(the_result(tmp_path, "a/old"))


def test_ids_that_repeat_across_subsets_are_told_apart(imported: Import, folder: Path, tmp_path: Path) -> None:
    """Then an example's subset is part of its name; within a subset a repeated id is refused."""
    columns = as_pairs(pairs())
    columns["id"] = [row % 2 for row in range(len(pairs()))]
    put(folder, "eval-set-scores/a/m.json", columns)
    imported()
    assert read_scores(tmp_path / "out/scores/rewardbench/a/m.parquet")[0]["example_id"].iloc[0] == f"{CORE[0]}/0"
    columns["id"] = [0] * len(pairs())
    put(folder, "eval-set-scores/a/m.json", columns)
    assert "stands twice in alpacaeval-easy" in imported(overwrite=True).refused[0]


def test_prior_sets_are_recomputed_under_our_names(imported: Import, folder: Path, tmp_path: Path) -> None:
    """A prior example is SPLIT/ID, as our loader has it; subsets that the benchmark dropped are passed over."""
    columns = {
        "subset": ["shp", "shp", "pku_better"],
        "id": [7.0, 8.0, None],
        "scores_chosen": [1.0, 1.0, 0.0],
        "scores_rejected": [0.0, 2.0, 1.0],
    }
    put(folder, "pref-sets-scores/a/m.json", columns)
    put(folder, "pref-sets/a/m.json", PRIOR)
    report = imported()
    assert report.refused == []
    assert report.differences == [reward_bench_results.AccuracyDifference("a/m", "shp", 0.7, 0.5)]
    frame, _ = read_scores(tmp_path / "out/scores/rewardbench/a/m.parquet")
    assert list(frame[frame["subset"] == "shp"]["example_id"].unique()) == ["shp/7", "shp/8"]
    assert the_result(tmp_path).sections["Prior Sets"].value == pytest.approx((0.5 + 0.6 + 0.5 + 0.8) / 4)


def test_a_whole_prior_split_without_ids_is_numbered(imported: Import, folder: Path, tmp_path: Path) -> None:
    """Our loader names its rows by their numbers from one; of a part of a split that cannot be known."""
    columns = {
        "subset": ["anthropic_hhh"] * 221 + ["shp"],
        "scores_chosen": [1.0] * 222,
        "scores_rejected": [0.0] * 222,
    }
    put(folder, "pref-sets-scores/a/m.json", columns)
    imported()
    frame, _ = read_scores(tmp_path / "out/scores/rewardbench/a/m.parquet")
    names = frame[frame["subset"].isin(("anthropic_hhh", "shp"))]["example_id"].unique()
    assert [names[0], names[220], names[221]] == ["anthropic_hhh/1", "anthropic_hhh/221", "shp/row-1"]


@pytest.mark.parametrize(
    ("place", "stated", "name"),
    [
        ("c/deep/checkpoint/final", "/home/someone/checkpoint/final", "checkpoint/final"),
        ("c/deep/er", "c/deeper", "c/deeper"),
        ("c/named.jsonl", "c/named.jsonl", "c/named"),
        ("c/with space", None, "c/with-space"),
    ],
)
def test_names_become_paths(
    imported: Import, folder: Path, tmp_path: Path, place: str, stated: str | None, name: str
) -> None:
    """A path on some machine, the name of a file and odd characters are made a name, and what stood there is noted."""
    put(folder, f"eval-set/{place}.json", dict.fromkeys(CORE, 0.5) | {"model": stated})
    assert imported().refused == []
    assert f"published as '{place}'" in note(the_result(tmp_path, name))
    assert the_result(tmp_path, name).model.kind == "unknown"


def test_an_object_an_example_is_read_too(imported: Import, folder: Path, tmp_path: Path) -> None:
    columns = as_pairs(pairs())
    lists = {name: value for name, value in columns.items() if isinstance(value, list)}
    rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    put(folder, "eval-set-scores/c/rows.json", "".join(json.dumps(row, indent=4) + "\n" for row in rows))
    put(folder, "eval-set-scores/c/lines.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert imported().written == {"rewardbench": 3}
    for name in ("c/rows", "c/lines"):
        assert the_result(tmp_path, name).subsets == the_result(tmp_path).subsets


SMALL = {"subset": ["hep-go"], "id": [1], "scores_chosen": [1.0], "scores_rejected": [0.0]}
TIES = {"subset": ["Ties"], "id": ["ref:1"], "scores": [[2.0, 1.0]], "num_correct": [1]}


MALFORMED: list[tuple[str, Any, str]] = [
    ("eval-set", "version https://git-lfs", "not readable JSON"),
    ("eval-set", "[1]", "expected an object"),
    ("eval-set", {"model": "c/x"}, "has no subset of rewardbench or rewardbench-2"),
    ("eval-set", {"hep-go": 87.5}, "field 'hep-go': is 87.5; expected a fraction"),
    ("eval-set", {"hep-go": True}, "field 'hep-go': is True; expected a fraction"),
    ("eval-set", '{"hep-go": 1}{"hep-go": 1}', "expected one object, found 2"),
    ("pref-sets", PRIOR, "the prior sets alone"),
    ("eval-set-scores", {"id": [1]}, "field 'subset'"),
    ("eval-set-scores", SMALL | {"id": [1, 2]}, "field 'id': has 2 entries for 1 examples"),
    ("eval-set-scores", SMALL | {"id": [1.5]}, "example 1: field 'id': is 1.5"),
    ("eval-set-scores", SMALL | {"results": [7]}, "field 'results': is 7"),
    ("eval-set-scores", SMALL | {"scores_chosen": ["high"]}, "field 'scores_chosen': expected one number"),
    ("eval-set-scores", SMALL | {"scores_chosen": [[1.0, 2.0]]}, "expected one number, found 2"),
    ("eval-set-scores", {"subset": ["hep-go", "hep-lisp"]}, "is 'hep-lisp', which rewardbench does not have"),
    ("eval-set-scores", {"subset": ["hep-go"], "id": [1]}, "neither scores nor accuracies nor outcomes"),
    ("eval-set-scores", TIES | {"id": ["1"]}, "a Ties example is called ref:N or tied:N"),
    ("eval-set-scores", TIES | {"num_correct": [2]}, "field 'num_correct': is 2 for 2 scores"),
    ("eval-set-scores", {k: v for k, v in TIES.items() if k != "num_correct"}, "'num_correct': is None"),
    ("eval-set-scores", TIES | {"scores": [[[1.0, 2.0], [1.0, 2.0]]]}, "expected one number a completion"),
]


def test_a_malformed_file_is_refused_with_the_reason(imported: Import, folder: Path) -> None:
    """Nothing is written for it, and the other model is imported."""
    for number, (name, content, _) in enumerate(MALFORMED):
        put(folder, f"{name}/c/x{number}.json", content)
    report = imported()
    assert report.written == {"rewardbench": 1}
    lines = {number: [x for x in report.refused if f"c/x{number}.json" in x] for number in range(len(MALFORMED))}
    assert {number: len(refused) for number, refused in lines.items()} == dict.fromkeys(lines, 1)
    for number, (name, _, message) in enumerate(MALFORMED):
        assert f"{name}/c/x{number}.json" in lines[number][0]
        assert message in lines[number][0]


def test_a_refused_file_leaves_the_rest_of_its_model(imported: Import, folder: Path, tmp_path: Path) -> None:
    put(folder, "eval-set-scores/a/m.json", "{")
    assert len(imported().refused) == 1
    assert "eval-set-scores/a/m.json is left out" in note(the_result(tmp_path))
    assert the_result(tmp_path).scores is None


def test_files_of_two_benchmarks_and_two_files_of_one_name_are_refused(imported: Import, folder: Path) -> None:
    put(folder, "eval-set/c/x.json", dict.fromkeys(DOMAINS, 0.5))
    put(folder, "eval-set-scores/c/x.json", SMALL)
    put(folder, "eval-set/a/m.jsonl.json", dict.fromkeys(CORE, 0.5))
    report = imported()
    assert report.written == {"rewardbench": 1}
    assert "eval-set/c/x.json is of rewardbench-2" in " ".join(report.refused)
    assert "a/m.jsonl: is called a/m, as is a/m" in " ".join(report.refused)


def test_nothing_is_replaced_unasked_and_a_run_never(imported: Import, folder: Path, tmp_path: Path) -> None:
    """A second import needs overwrite and then gives the same bytes; a run's result and its scores always stay."""
    imported()
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    report = imported()
    assert "replace it with --overwrite" in report.refused[0]
    assert report.written == {}
    assert imported(overwrite=True).refused == []
    assert all(path.read_bytes() == content for path, content in files.items())
    for path in files:
        path.unlink()
    a_run("rewardbench", pairs(), "a/m", tmp_path / "out")
    assert "is the result of a run" in imported(overwrite=True).refused[0]
    (tmp_path / "out/results/rewardbench/a/m.json").unlink()
    assert "holds the scores of a run" in imported(overwrite=True).refused[0]


def test_a_table_goes_with_the_result_that_it_belonged_to(imported: Import, folder: Path, tmp_path: Path) -> None:
    """Where an import without scores replaces one with scores no table is left behind."""
    imported()
    (folder / "eval-set-scores/a/m.json").unlink()
    imported(overwrite=True)
    assert the_result(tmp_path).scores is None
    assert list((tmp_path / "out/scores").rglob("*.parquet")) == []


def test_a_folder_without_the_layout_is_an_error(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, revision, message in (
        (empty, None, "no .json file in a folder eval-set"),
        (folder / "eval-set/a/m.json", None, "is not a folder"),
        (folder, "main", "has no revision"),
    ):
        with pytest.raises(DataError, match=message):
            reward_bench_results.import_results(str(source), tmp_path / "out", revision=revision)


def test_the_command_prints_differences_and_refused_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 when everything was imported, 1 when a file was refused, 2 when nothing was imported."""
    stated = accuracies(as_pairs(pairs()))
    put(folder, "eval-set/a/m.json", stated | {"hep-go": 0.123})
    command = ["import", "rewardbench-results", str(folder), "--out", str(tmp_path / "out")]
    assert rb(command, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "0.1230" in out
    assert "1 recomputed from scores, 1 differences, 0 refused" in out
    put(folder, "eval-set/c/x.json", "{")
    assert rb([*command, "--overwrite"], monkeypatch) == 1
    assert "refused: eval-set/c/x.json: not readable JSON" in capsys.readouterr().err
    assert rb(command, monkeypatch) == 2


def test_a_dataset_comes_from_the_hub_at_one_commit(folder: Path, tmp_path: Path) -> None:
    """The source names repository and commit; what the hub does not have is one line and exit code 2."""
    put(folder, "README.md", "not read")
    with hub({"datasets/some/results": folder}) as url:
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        command = ["import", "rewardbench-results", "some/results", "--out", str(tmp_path / "out")]
        done = run_command(command, environment)
        missing = run_command([*command, "--revision", "nope"], environment)
    assert done.returncode == 0, done.stderr
    published = the_result(tmp_path).published
    assert published is not None
    assert published.source.startswith(f"some/results@{COMMIT}: eval-set/a/m.json")
    assert missing.returncode == 2
    assert missing.stderr.splitlines()[-1].startswith("error: dataset some/results is no folder here")


def test_scores_keep_all_their_digits(imported: Import, folder: Path, tmp_path: Path) -> None:
    """Scores that differ by less than float32 resolves are no tie, and the accuracy is the published one."""
    columns = as_pairs(pairs())
    columns["scores_chosen"] = [1.0 + 1e-9] * len(columns["id"])
    columns["scores_rejected"] = [1.0] * len(columns["id"])
    put(folder, "eval-set-scores/a/m.json", columns)
    put(folder, "eval-set/a/m.json", {"model": "a/m"} | dict.fromkeys(columns["subset"], 1.0))
    assert imported().differences == []
    counts = the_result(tmp_path).counts
    assert counts is not None
    assert counts.ties == 0
