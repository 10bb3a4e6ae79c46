from __future__ import annotations

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.leaderboard.comparison import compare_models
from rb_core.space.api import RequestError
from rb_core.space.examples.answer import PAGE_SIZE, ExamplesRequest, ExamplesService
from rb_core.space.examples.report import address, examples_html
from rb_core.space.examples.texts import FOLDER_VARIABLE, NOWHERE, MissingTextsError, TextCache, Texts, load_texts
from rb_core.space.results_source import ResultsFolder
from rb_core.stats.item_outcomes import ItemOutcomes
from tests.paths import BUNDLED
from tests.waiting import PATIENCE

A, B = "builtin/tiny-rm", "baseline/longest"
MARKUP = "<img src=x onerror=alert(1)>"


def no_texts(benchmark: str) -> Texts:
    raise MissingTextsError(NOWHERE)


@pytest.fixture(scope="module")
def service(results: ResultsFolder) -> ExamplesService:
    return ExamplesService(results, TextCache(no_texts))


def test_counts_of_items_are_those_of_compare(service: ExamplesService, results: ResultsFolder) -> None:
    comparison = compare_models(results, "starter", [A, B]).to_json()
    counts = {row["name"]: row["pairs"][0]["agreement"] for row in comparison["rows"] if row["level"] == "subset"}
    counts[""] = comparison["pairs"][0]["agreement"]
    for subset in ("", "ties", "hard-factual"):
        for name, filter_name in (("both", "both"), ("only_a", "only-a"), ("only_b", "only-b"), ("neither", "neither")):
            answer = service.answer(ExamplesRequest("starter", subset, filter_name, A, B), wait=5)
            assert answer["count"] == counts[subset][name]


def test_outcomes_and_difficulty_are_those_of_the_file(service: ExamplesService) -> None:
    answer = service.answer(ExamplesRequest("rewardbench", "donotanswer"), wait=5)
    table = pq.read_table(BUNDLED / "items" / "rewardbench.parquet").to_pandas().set_index("example_id")
    rows = table[table["subset"] == "donotanswer"][answer["models"]].astype(bool)
    assert (answer["count"], sum(answer["about"]["difficulty"])) == (136, 136)
    wrong = (~rows).sum(axis=1).sort_values(ascending=False)
    assert [len(item["wrong"]) for item in answer["items"]] == wrong.tolist()[:PAGE_SIZE]
    for item in answer["items"]:
        assert set(item["wrong"]) == {model for model in answer["models"] if not rows.loc[item["id"], model]}
        assert item["prompt"] is None
    assert answer["texts_message"] == NOWHERE
    listed = service.answer(ExamplesRequest("rewardbench", filter="strong"), wait=5)
    assert {item["id"] for item in listed["items"]} == {"1422", "1454", "1457", "1470", "1490", "1548"}
    assert all(item["suspect"] and item["strong_wrong"] == listed["strong"] for item in listed["items"])


class HubLikeResults(ResultsFolder):
    """Results whose boards come without the outcomes of runs, as those of the hub do."""

    def ranking_outcomes(self, benchmark: str) -> dict[str, ItemOutcomes | None]:
        return {}


def test_the_outcomes_of_runs_come_from_their_score_files(service: ExamplesService) -> None:
    of_runs = ExamplesService(HubLikeResults(BUNDLED), TextCache(no_texts))
    request = ExamplesRequest("starter", "hard-factual", "only-b", A, B)
    answer, expected = of_runs.answer(request, wait=5), service.answer(request, wait=5)
    assert set(answer["models"]) == {name for name in expected["models"] if name in answer["models"]} != set()
    assert [item["id"] for item in answer["items"]] == [item["id"] for item in expected["items"]]


def test_texts_are_those_of_the_benchmark_and_every_text_is_escaped(results: ResultsFolder) -> None:
    service = ExamplesService(results, TextCache(load_texts))
    answer = service.answer(ExamplesRequest("starter", "Safety"), wait=PATIENCE)
    examples = {example.id: example for example in load_benchmark("starter").examples}
    assert answer["texts"] == "ready"
    assert answer["count"] == sum(example.subset.startswith("safety") for example in examples.values())
    for item in answer["items"]:
        assert (*item["chosen"], *item["rejected"]) == examples[item["id"]].completions
    item = answer["items"][0] | {"prompt": [{"role": "user", "text": MARKUP}], "chosen": [MARKUP * 100], "id": MARKUP}
    html = examples_html(answer | {"items": [item], "texts_message": MARKUP, "title": MARKUP, "a": MARKUP, "b": MARKUP})
    assert "<img" not in html


def test_a_benchmark_without_outcomes_shows_its_parts_and_texts(service: ExamplesService) -> None:
    answer = service.answer(ExamplesRequest("rewardbench-2"), wait=5)
    assert (answer["of"], answer["items"], answer["about"]["difficulty"]) == (0, [], None)
    assert {part["name"] for part in answer["parts"]} >= {"Factuality", "Math"}
    assert all(part["scores"]["best"] > part["scores"]["median"] for part in answer["parts"])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ExamplesRequest("nothing"), "no benchmark"),
        (ExamplesRequest("starter", "nothing"), "no subset"),
        (ExamplesRequest("starter", filter="nothing"), "no filter"),
        (ExamplesRequest("starter", filter="only-a", a="baseline/longest"), "needs A and B"),
        (ExamplesRequest("starter", filter="wrong", a="no/model"), "a: the outcomes"),
        (ExamplesRequest("rewardbench-2", filter="unsolved"), "needs outcomes"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(
    service: ExamplesService, request_: ExamplesRequest, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        service.answer(request_, wait=5)


def test_a_page_beyond_the_last_is_the_last_and_an_address_leads_back_to_its_answer(service: ExamplesService) -> None:
    answer = service.answer(ExamplesRequest("rewardbench", "hep-go", page=999), wait=5)
    assert answer["page"] == answer["pages"] == 17
    assert address(answer, page=2) == "?tab=examples&board=rewardbench&subset=hep-go&page=2"
    assert address(answer, filter="only-b", a=A) == (
        f"?tab=examples&board=rewardbench&subset=hep-go&filter=only-b&a={A.replace('/', '%2F')}"
    )


def test_one_item_is_shown_where_it_is_asked_for(service: ExamplesService) -> None:
    answer = service.answer(ExamplesRequest("rewardbench", item="1422"), wait=5)
    assert ([item["id"] for item in answer["items"]], answer["count"]) == (["1422"], 1)
    assert "item=" not in address(answer)
    with pytest.raises(RequestError, match="no item"):
        service.answer(ExamplesRequest("rewardbench", "hep-go", item="no such"), wait=5)


def test_texts_are_read_in_the_background_and_a_failure_is_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    can_end = threading.Event()

    def slow(benchmark: str) -> Texts:
        can_end.wait(PATIENCE)
        return Texts({})

    cache = TextCache(slow)
    assert cache.get("slow").state == "loading"
    can_end.set()
    assert cache.get("slow", wait=PATIENCE).state == "ready"
    (tmp_path / "rewardbench.jsonl").write_text(
        '{"id": 5, "subset": "hep-go", "prompt": "Add.", "chosen": "a + b", "rejected": "a - b"}\n', encoding="utf-8"
    )
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    loaded = TextCache(load_texts).get("rewardbench", wait=PATIENCE).texts
    assert loaded.examples["5"].completions == ("a + b", "a - b")
    assert loaded.lengths == {"5": 14}
    assert TextCache(load_texts).get("themis-code-rewardbench", wait=PATIENCE).message == NOWHERE
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nothing"))
    assert "does not answer" in TextCache(load_texts).get("starter", wait=PATIENCE).message
