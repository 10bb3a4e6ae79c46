from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from rb_core.leaderboard.board import Board, build_board, group_by_benchmark
from rb_core.leaderboard.hub_links import HubPlace
from rb_core.leaderboard.model_registry import NO_MODELS, ModelRegistry, RegisteredModel
from rb_core.leaderboard.model_report import UnknownModelError, model_names, model_report
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.schema import Published, Result
from rb_core.stats.item_outcomes import ItemOutcomes
from tests.fakes.results import published
from tests.paths import BUNDLED

HUB = HubPlace("me/results", "c" * 40, f"https://hub.example/datasets/me/results/blob/{'c' * 40}")
GRM = "Ray2333/GRM-gemma2-2B-rewardmodel-ft"


class Source:
    """Results in memory; `read` False: only the boards have arrived."""

    def __init__(
        self,
        *results: Result,
        hub: HubPlace | None = None,
        read: bool = True,
        registry: ModelRegistry = NO_MODELS,
        find_outcomes: Callable[[str, str], ItemOutcomes | None] = lambda benchmark, model: None,
    ) -> None:
        self._find_outcomes = find_outcomes
        groups = group_by_benchmark(results)
        self._boards = {name: build_board(group).rounded() for name, group in groups.items()}
        self._results = {name: {r.model.name: r for r in group} if read else {} for name, group in groups.items()}
        self._hub = hub
        self._registry = registry

    def boards(self) -> Mapping[str, Board]:
        return self._boards

    def results(self, benchmark: str) -> Mapping[str, Result]:
        return self._results[benchmark]

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        return self._find_outcomes(benchmark, model)

    def registry(self) -> ModelRegistry:
        return self._registry

    def on_hub(self) -> HubPlace | None:
        return self._hub


@pytest.fixture(scope="module")
def bundled(bundled_boards: dict[str, Board], bundled_store: ResultsStore) -> Source:
    return Source(*(result for name in bundled_boards for result in bundled_store.results(name).values()))


def only_entry(source: Source, model: str) -> dict[str, Any]:
    (entry,) = model_report(source, model).to_json()["results"]
    return dict(entry)


def test_a_report_has_the_numbers_of_the_result_files_and_the_rank_on_every_board(bundled: Source) -> None:
    report = model_report(bundled, GRM).to_json()
    assert [entry["benchmark"]["id"] for entry in report["results"]] == ["rewardbench", "rewardbench-2"]
    first = report["results"][0]
    result = json.loads((BUNDLED / "results" / "rewardbench" / f"{GRM}.json").read_text(encoding="utf-8"))
    parts = {part["name"]: part["estimate"] for part in first["parts"]}
    assert first["headline"]["value"] == result["headline"]["value"]
    assert parts["Chat Hard"]["low"] == result["sections"]["Chat Hard"]["low"]
    assert parts["hep-java"]["high"] == result["subsets"]["hep-java"]["high"]
    assert first["rank"] < first["of"] == 206  # of 212, six have no headline
    assert first["absent"] == {"Prior Sets": "not published"}
    assert first["weak_spots"][0]["drop"] == first["weak_spots"][0]["rank"] - first["weak_spots"][0]["overall"]
    json.dumps(report, allow_nan=False)


def test_published_outcomes_give_accuracy_by_length_and_at_equal_style(bundled_store: ResultsStore) -> None:
    """A run's result has both already; on RewardBench 2 no outcomes of single examples are published."""
    results = [bundled_store.results(name)[GRM] for name in ("rewardbench", "rewardbench-2")]
    source = Source(*results, find_outcomes=bundled_store.outcomes)
    first, second = model_report(source, GRM).to_json()["results"]
    assert first["length"]["chosen longer"]["scored"] > 700
    assert first["style"]["examples"] == 1693
    assert first["style"]["low"] < first["style"]["plain"] < first["style"]["high"]
    assert first["style"]["text"].startswith("Accuracy at equal length and markdown: ")
    assert (second["length"], second["style"]) == ({}, None)


def test_weak_spots_are_subsets_or_else_sections(bundled: Source) -> None:
    """On RewardBench 2 only sections are published."""
    first, second = model_report(bundled, GRM).benchmarks
    weak_subsets = {spot.name for spot in first.weak_spots()}
    weak_sections = {spot.name for spot in second.weak_spots()}
    assert weak_subsets
    assert weak_subsets <= {subset.name for subset in first.board.subsets}
    assert weak_sections
    assert weak_sections <= {section.name for section in second.board.sections}


def test_a_run_has_settings_counts_and_files(tiny_rm: Result) -> None:
    entry = only_entry(Source(tiny_rm, hub=HUB), "builtin/tiny-rm")
    assert entry["settings"]["chat_template_sha256"] == tiny_rm.model.chat_template_sha256
    assert entry["settings"]["probe"] == tiny_rm.model.probe
    assert tiny_rm.run
    assert entry["run"]["versions"] == tiny_rm.run.versions
    assert tiny_rm.counts
    assert entry["counts"]["completions"] == tiny_rm.counts.completions
    assert [file["url"] for file in entry["files"]] == [f"{HUB.address}/{file['path']}" for file in entry["files"]]
    assert [file["path"] for file in entry["files"]] == [
        tiny_rm.path().as_posix(),
        tiny_rm.scores_path().as_posix(),
    ]


def test_a_result_is_reported_where_it_lies_or_else_at_the_benchmarks_dataset(bundled: Source, tiny_rm: Result) -> None:
    first = model_report(bundled, GRM).to_json()["results"][0]["report"]
    assert first.startswith("https://huggingface.co/datasets/allenai/reward-bench/discussions/new?title=")
    assert quote(GRM, safe="") in first
    assert only_entry(Source(tiny_rm), "builtin/tiny-rm")["report"] is None  # its benchmark is no dataset on the hub
    on_hub = only_entry(Source(tiny_rm, hub=HUB), "builtin/tiny-rm")["report"]
    assert "/datasets/me/results/discussions/new?" in on_hub
    assert HUB.commit in on_hub


def test_an_unknown_name_is_refused_with_similar_names(bundled: Source) -> None:
    with pytest.raises(UnknownModelError, match=r"'me/Skywork-Reward-Gemma'.* Did you mean Skywork/Skywork-Reward-Gem"):
        model_report(bundled, "me/Skywork-Reward-Gemma")
    with pytest.raises(UnknownModelError, match=r"named 'zzzz'\.$"):
        model_report(bundled, "zzzz")
    names = model_names(bundled.boards().values())
    assert len(names) == len(set(names))
    assert "builtin/tiny-rm" in names


def test_without_the_result_file_the_numbers_are_the_boards(tiny_rm: Result) -> None:
    entry = only_entry(Source(tiny_rm, read=False), "builtin/tiny-rm")
    assert entry["score"]["value"] == pytest.approx(tiny_rm.headline.value if tiny_rm.headline else None, abs=1e-5)
    assert entry["rank"] == 1
    assert "settings" not in entry


def test_a_partial_run_has_scores_of_its_parts_and_no_ranks(tiny_rm: Result) -> None:
    partial = tiny_rm.model_copy(update={"benchmark": tiny_rm.benchmark.model_copy(update={"limit": 9})})
    parts = only_entry(Source(partial, read=False), "builtin/tiny-rm")["parts"]
    sections = [part for part in parts if part["level"] == "section"]
    assert [s["estimate"]["value"] for s in sections] == [round(e.value or 0, 5) for e in tiny_rm.sections.values()]
    assert {section["rank"] for section in sections} == {None}


def test_sources_that_are_files_have_links() -> None:
    source = f"allenai/reward-bench-2-results@{'e' * 40}: eval-set/a/b.json"
    entry = only_entry(Source(published("a/b", published=Published(source=source))), "a/b")
    (link,) = entry["published"]["links"]
    assert link["url"] == (
        f"https://huggingface.co/datasets/allenai/reward-bench-2-results/blob/{'e' * 40}/eval-set/a/b.json"
    )


def test_any_name_of_a_model_gives_the_page_of_its_canonical_one() -> None:
    registered = RegisteredModel(
        name="org/new", aliases=("org/old",), organisation="Org", base_model="some/base", sources=("a card",)
    )
    registry = ModelRegistry([registered])
    source = Source(published("org/new"), registry=registry)
    report = model_report(source, "org/old").to_json()
    assert report == model_report(source, "org/new").to_json()
    assert (report["model"], report["organisation"]) == ("org/new", "Org")
    assert report["facts"] == {
        "aliases": ["org/old"], "organisation": "Org", "base_model": "some/base", "sources": ["a card"],
    }  # fmt: skip
    # a board that has the alias alone keeps it
    assert model_report(Source(published("org/old"), registry=registry), "org/old").model == "org/old"
    assert model_report(Source(published("org/other")), "org/other").to_json()["facts"] == {}
