"""The tab *Compare*, and the comparison behind it, which is also published as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.comparison import ComparisonError, comparison, histogram, p_words, points, verdict
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result
from rb_core.space.compare.report import comparison_html, short_names
from rb_core.space.compare.tab import MAX_WAITING, ComparisonService
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import compare_outcomes
from tests.paths import ROOT
from tests.space.conftest import OpenPage, launched

TINY, LONGEST = "builtin/tiny-rm", "baseline/longest"
GPT = "openai/gpt-4o-2024-08-06"


@pytest.fixture(scope="module")
def source() -> ResultsFolder:
    """The results that come with the page, with their published outcomes."""
    return ResultsFolder(ROOT / "leaderboard_data")


@pytest.fixture(scope="module")
def example(source: ResultsFolder) -> list[str]:
    """The pair that the page offers for RewardBench."""
    return next(b["example"] for b in ComparisonService(source).choices()["boards"] if b["id"] == "rewardbench")


@pytest.fixture(scope="module")
def address(source: ResultsFolder) -> Iterator[str]:
    """A page over these results."""
    with launched(build(source)) as found:
        yield found


@pytest.fixture
def opened(open_page: OpenPage, address: str) -> OpenPage:
    """Opens the tab, ready to choose in."""

    def open_tab(query: str = "", **options) -> Page:
        page = open_page(query, at=address, tab="Compare", **options)
        expect(page.get_by_label("Benchmark", exact=True).locator("option").first).to_be_attached()
        return page

    return open_tab


def search(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Add a model")


def chosen(page: Page) -> list[str]:
    """The names of the chosen models, in order."""
    return page.get_by_role("list", name="Models to compare").get_by_role("link").all_inner_texts()


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


class Made:
    """Results and outcomes of a small benchmark, made up."""

    def __init__(self, results: Mapping[str, Result], outcomes: Mapping[str, ItemOutcomes]) -> None:
        self._results, self._outcomes = results, outcomes

    def results(self, benchmark: str) -> Mapping[str, Result]:
        return self._results if benchmark == "judgebench" else {}

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        return self._outcomes.get(model)


def made(**models: tuple[float, float | None]) -> Made:
    """Published results with the same value and standard error in every section of JudgeBench, without outcomes."""
    results = {}
    for name, (value, stderr) in models.items():
        estimate = Estimate(value=value, stderr=stderr)
        results[name] = Result(
            status="published",
            benchmark=BenchmarkRef(id="judgebench", title="JudgeBench", source="made up"),
            model=ModelRef(name=name, kind="generative"),
            sections={s.name: estimate for s in BENCHMARKS["judgebench"].sections},
            published=Published(source="made up"),
        )
    return Made(results, {})


# --------------------------------------------------------------------------------------------------------------------
# The comparison


def test_the_example_pair_is_compared_by_its_items(source: ResultsFolder, example: list[str]) -> None:
    """A pair with outcomes gets the paired difference, and its four counts add up to the examples of each subset."""
    found = comparison(source, "rewardbench", example)
    json.dumps(found, allow_nan=False)
    (pair,) = found["pairs"]
    first, second = (source.outcomes("rewardbench", model) for model in example)
    assert first is not None
    assert second is not None
    expected = compare_outcomes(first, second, BENCHMARKS["rewardbench"])
    assert (pair["basis"], pair["examples"], pair["p"]) == ("items", 2985, expected.p)
    assert expected.difference is not None
    assert pair["difference"]["value"] == expected.difference.value
    counts = ("both", "only_a", "only_b", "neither")
    assert sum(pair["agreement"][name] for name in counts) == 2985
    sizes = {subset.name: subset.count for subset in BENCHMARKS["rewardbench"].subsets}
    subsets = [row for row in found["rows"] if row["level"] == "subset"]
    assert len(subsets) == 23
    for row in subsets:
        assert sum(row["pairs"][0]["agreement"][name] for name in counts) == sizes[row["name"]]
        a, b = row["values"]
        assert row["pairs"][0]["difference"]["value"] == pytest.approx(a - b, abs=1e-4)


def test_a_subset_is_judged_by_mcnemar_and_its_counts(source: ResultsFolder, example: list[str]) -> None:
    """The p of a subset is the mid-p of its own two counts, worked out here from the binomial distribution."""
    row = next(r for r in comparison(source, "rewardbench", example)["rows"] if r["name"] == "xstest-should-respond")
    counts = row["pairs"][0]["agreement"]
    n, k = counts["only_a"] + counts["only_b"], min(counts["only_a"], counts["only_b"])
    below = sum(math.comb(n, i) for i in range(k)) + math.comb(n, k) / 2
    assert row["pairs"][0]["p"] == pytest.approx(min(1.0, 2 * below / 2**n))


def test_who_is_ahead_by_shares_of_ties_is_not_judged_by_who_is_right(source: ResultsFolder) -> None:
    """A model that ties everything earns a share of each example and is right on none: its differences are judged by
    their errors, never by counts that speak for the other model."""
    for row in comparison(source, "starter", [TINY, "baseline/constant"])["rows"]:
        if row["level"] == "subset" and row["name"] != "ties":
            difference, p = row["pairs"][0]["difference"], row["pairs"][0]["p"]
            z = abs(difference["value"]) / difference["stderr"]
            assert p == pytest.approx(math.erfc(z / math.sqrt(2))), row["name"]


def test_several_pairs_are_adjusted_by_holm(source: ResultsFolder) -> None:
    """With three pairs the smallest p of a row is tripled, the next doubled, and none falls below one before it."""
    others = [LONGEST, "baseline/shortest", "baseline/constant"]
    alone = {other: comparison(source, "starter", [TINY, other])["pairs"][0] for other in others}
    together = {pair["b"]: pair for pair in comparison(source, "starter", [TINY, *others])["pairs"]}
    assert list(together) == others
    least = 0.0
    for other, factor in zip(sorted(others, key=lambda other: alone[other]["p"]), (3, 2, 1), strict=True):
        least = max(least, min(1.0, factor * alone[other]["p"]))
        assert together[other]["p"] == pytest.approx(least)
        assert "by Holm" in together[other]["verdict"]
        assert "by Holm" not in alone[other]["verdict"]
    turned = comparison(source, "starter", [LONGEST, TINY])["pairs"][0]
    assert turned["difference"]["value"] == pytest.approx(-alone[LONGEST]["difference"]["value"])


def test_published_scores_alone_are_compared_by_their_errors(source: ResultsFolder, example: list[str]) -> None:
    """Without outcomes of one model the interval comes from both standard errors, says so, and there are no counts."""
    found = comparison(source, "rewardbench", [example[0], GPT])
    (pair,) = found["pairs"]
    assert (pair["basis"], pair["agreement"], pair["examples"]) == ("intervals", None, None)
    assert "From published scores alone" in pair["basis_words"]
    a, b = (source.results("rewardbench")[model].sections["Chat Hard"] for model in (example[0], GPT))
    assert a.stderr is not None
    assert b.stderr is not None
    cell = next(row for row in found["rows"] if row["name"] == "Chat Hard")["pairs"][0]
    assert cell["difference"]["stderr"] == pytest.approx(math.hypot(a.stderr, b.stderr))
    low, high = cell["difference"]["low"], cell["difference"]["high"]
    assert high - low == pytest.approx(2 * 1.959964 * cell["difference"]["stderr"], rel=1e-6)
    assert cell["agreement"] is None


def test_a_score_is_made_of_the_sections_that_all_have(source: ResultsFolder, example: list[str]) -> None:
    """Prior Sets, which one of the models lacks, count for none of them, and the reader is told."""
    other = "Ray2333/GRM-llama3-8B-distill"  # its published score has Prior Sets
    found = comparison(source, "rewardbench", [example[0], other])
    score = found["rows"][0]
    sections = source.results("rewardbench")[other].sections
    four = [sections[name].value for name in ("Chat", "Chat Hard", "Safety", "Reasoning")]
    assert score["values"][1] == pytest.approx(sum(v for v in four if v is not None) / 4)
    assert score["pairs"][0]["difference"]["value"] == pytest.approx(score["values"][0] - score["values"][1], abs=1e-3)
    assert any("without Prior Sets" in note for note in found["notes"])


def test_scores_give_margins_calibration_and_lengths(source: ResultsFolder) -> None:
    """A run with a score file has every view; a baseline, whose scores are no rewards, has no probability."""
    found = comparison(source, "starter", [TINY, LONGEST])
    tiny, longest = found["scores"]
    items = source.outcomes("starter", TINY)
    assert items is not None
    assert items.margins is not None
    assert tiny["margins"]["above"] == pytest.approx((items.margins > 0).mean())
    sure = 1 / (1 + np.exp(-items.margins))
    assert tiny["calibration"]["brier"] == pytest.approx(((1 - sure) ** 2).mean())
    assert sum(row["examples"] for row in tiny["calibration"]["bins"]) == 162
    assert longest["calibration"] is None
    assert longest["margins"]["examples"] == 162
    by_name = {row["name"]: row["value"] for row in longest["length"]}
    assert by_name["chosen longer"] > 0.9
    assert by_name["chosen shorter"] == 0


def test_a_histogram_keeps_every_margin_and_has_an_edge_at_zero() -> None:
    """Outliers fall into the outermost bins, and a margin of 0 counts as not above."""
    margins = np.concatenate([np.linspace(-1, 3, 500), [0.0, 0.0, 900.0, -900.0]])
    found = histogram(margins)
    assert sum(found["counts"]) == len(margins)
    zero = int(np.argmin(np.abs(found["edges"])))
    assert found["edges"][zero] == 0
    assert sum(found["counts"][:zero]) == (margins <= 0).sum()
    assert sum(histogram(np.zeros(5))["counts"]) == 5


@pytest.mark.parametrize(
    ("benchmark", "models", "message"),
    [
        ("nope", [TINY, LONGEST], "no results on 'nope'"),
        ("starter", [TINY, "no/such"], "no result of 'no/such' on starter"),
        ("starter", [TINY], "2 to 4 models: 1"),
        ("starter", [], "2 to 4 models: 0"),
        ("starter", [TINY, LONGEST, "baseline/shortest", "baseline/random", "baseline/constant"], "2 to 4 models: 5"),
        ("starter", [TINY, TINY], "one is named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    source: ResultsFolder, benchmark: str, models: list[str], message: str
) -> None:
    """Unknown benchmarks and models, too few, too many and repeated ones are errors that say what is wrong."""
    with pytest.raises(ComparisonError, match=message):
        comparison(source, benchmark, models)


def test_verdicts_say_what_is_shown() -> None:
    """Better, no difference, the same, and unknown are different sentences, and the one ahead stands first."""
    better = comparison(made(a=(0.5, 0.01), b=(0.9, 0.01)), "judgebench", ["a", "b"])["pairs"][0]
    assert better["verdict"].startswith("b is better than a by 40.0 points (95% interval 3")
    assert better["verdict"].endswith("p < 0.001).")
    open_ = comparison(made(a=(0.52, 0.1), b=(0.5, 0.1)), "judgebench", ["a", "b"])["pairs"][0]
    assert open_["verdict"].startswith(
        "No difference is shown: a is 2.0 points above b, which may be noise (95% interval −"
    )
    same = comparison(made(a=(0.5, 0.1), b=(0.5, 0.1)), "judgebench", ["a", "b"])["pairs"][0]
    assert "score the same to a tenth of a point" in same["verdict"]
    unknown = comparison(made(a=(0.5, None), b=(0.6, 0.1)), "judgebench", ["a", "b"])["pairs"][0]
    assert unknown["verdict"] == "b is 10.0 points above a; whether that is noise is not known."
    assert (unknown["basis"], unknown["p"]) == ("none", None)
    nothing = {"difference": {"value": None, "low": None, "high": None}, "p": None, "better": None}
    assert "cannot be compared as a whole" in verdict("a", "b", nothing, adjusted=False)


def test_numbers_in_words() -> None:
    """Points carry a sign but at zero, and p is never printed as zero."""
    assert [points(v) for v in (0.0213, -0.005, 0.00001)] == ["+2.1", "−0.5", "0.0"]
    assert [p_words(p) for p in (0.0001, 0.0123, 0.5)] == ["p < 0.001", "p = 0.012", "p = 0.50"]
    assert short_names(["a/x", "b/x", "c/y"]) == {"a/x": "a/x", "b/x": "b/x", "c/y": "y"}


def test_texts_are_never_markup(source: ResultsFolder) -> None:
    """Whatever a title, a name or a note says is escaped."""
    evil = "<img src=x onerror=alert(1)>\"'"
    found = comparison(source, "starter", [TINY, LONGEST])
    text = json.dumps(found).replace(TINY, "EVIL").replace("chat-easy", "EVIL").replace("Starter", "EVIL")
    found = json.loads(text.replace("EVIL", json.dumps(evil)[1:-1]))
    found["notes"].append(evil)
    assert "&lt;img" in comparison_html(found)
    assert "<img" not in comparison_html(found)


# --------------------------------------------------------------------------------------------------------------------
# The tab


def test_the_example_is_one_press_away(opened: OpenPage, example: list[str]) -> None:
    """The empty tab says what to do and offers a pair; its comparison has a verdict and links each model's page."""
    page = opened()
    expect(page.get_by_role("heading", name="Choose two to four models")).to_be_visible()
    page.get_by_role("button", name=f"Compare {example[0]} with {example[1]}").click()
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
    expect(page.get_by_role("heading", name="Choose two to four models")).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="Compared")).to_contain_text(example[1])
    table = page.get_by_role("region", name="Scores and differences")
    expect(table.get_by_role("row", name="Chat Hard", exact=False).first).to_be_visible()
    link = table.get_by_role("link", name=example[0].split("/")[1])
    assert parse_qs(urlsplit(link.get_attribute("href") or "").query) == {
        "tab": ["model"],
        "model": [example[0]],
        "board": ["rewardbench"],
    }
    expect(page.get_by_role("region", name="disagree").get_by_role("row", name="All examples")).to_contain_text("2,985")


def test_models_are_chosen_by_keyboard_alone(opened: OpenPage) -> None:
    """Typing narrows the list, arrows and Enter choose, Escape closes, and focus is never lost."""
    page = opened("?board=starter")
    field = search(page)
    field.focus()
    page.keyboard.type("tiny")
    options = page.get_by_role("listbox", name="Models").get_by_role("option")
    expect(options).to_have_count(1)
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    page.keyboard.press("ArrowDown")
    assert TINY not in " ".join(options.all_inner_texts())
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox", name="Models")).to_be_hidden()
    page.keyboard.type("baseline")
    page.keyboard.press("ArrowDown")
    second = page.locator("#" + (field.get_attribute("aria-activedescendant") or "none")).locator("span").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
    assert chosen(page) == [TINY, second]
    page.keyboard.type("nothing like it")
    expect(options).to_have_text(["No such model here"])
    page.keyboard.press("Enter")
    assert chosen(page) == [TINY, second]
    page.get_by_role("button", name=f"Put first: {second}").press("Enter")
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text(
        f"{second.split('/')[1]} − tiny-rm"
    )
    assert chosen(page) == [second, TINY]
    page.get_by_role("button", name=f"Remove {TINY}").press("Enter")
    expect(field).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="One model is chosen")).to_be_visible()


def test_the_address_brings_the_comparison_back(opened: OpenPage) -> None:
    """Board and models are in the address, and a page opened there compares the same; four are the most."""
    page = opened("?board=starter")
    for name in ("tiny", "longest", "shortest", "random"):
        search(page).fill(name)
        page.get_by_role("option", name=name).click()
    expect(search(page)).to_be_disabled()
    expect(page.get_by_role("region", name="Scores and differences")).to_contain_text("tiny-rm − random")
    names = [TINY, LONGEST, "baseline/shortest", "baseline/random"]
    assert parameters(page) == {"tab": ["compare"], "board": ["starter"], "models": [",".join(names)]}
    again = opened(f"?{urlsplit(page.url).query}")
    expect(again.get_by_role("region", name="Scores and differences")).to_contain_text("tiny-rm − random")
    assert chosen(again) == names
    again.get_by_label("Benchmark", exact=True).select_option("rewardbench-2")
    expect(again.get_by_text("Not on RewardBench 2, and left out")).to_contain_text(LONGEST)
    assert chosen(again) == []
    assert parameters(again) == {"tab": ["compare"], "board": ["rewardbench-2"]}


def test_an_address_made_up_is_not_obeyed(opened: OpenPage) -> None:
    """Unknown names are named and left out; an unknown board is the first one."""
    page = opened("?board=nope&models=<b>no</b>,no/such")
    expect(page.get_by_text("Not on RewardBench, and left out: <b>no</b>, no/such.")).to_be_visible()
    assert chosen(page) == []
    expect(page.get_by_label("Benchmark", exact=True)).to_have_value("rewardbench")


def test_score_views_are_drawn_and_tabled(opened: OpenPage) -> None:
    """Two runs with score files show margins, calibration and accuracy by length, each drawing with its table."""
    page = opened(f"?board=starter&models={TINY},{LONGEST}")
    for name in ("Margins of tiny-rm", "Margins of longest", "Calibration of tiny-rm"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    expect(page.get_by_role("img", name="Calibration of longest")).to_have_count(0)
    for name in ("Margins", "Calibration", "Accuracy by length"):
        expect(page.get_by_role("region", name=name, exact=True).get_by_role("table")).to_be_visible()
    expect(page.get_by_role("region", name="Calibration", exact=True)).to_contain_text("ECE 0.")


def test_what_the_server_refuses_is_shown(source: ResultsFolder, tmp_path: Path) -> None:
    """A refusal is a message in place of a comparison, escaped, and is not remembered."""
    service = ComparisonService(source)
    answer = service.view("starter", [TINY, "<b>"])
    assert 'role="alert"' in answer["html"]
    assert "&lt;b&gt;" in answer["html"]
    right = service.compare("starter", [TINY, LONGEST])
    assert service.compare("starter", [TINY, LONGEST]) is right
    assert ComparisonService(ResultsFolder(tmp_path)).choices() == {"boards": []}


def test_a_name_that_cannot_be_written_is_refused_in_what_can(source: ResultsFolder) -> None:
    """Half of a character in a name is escaped in the message, which the browser is sent as UTF-8."""
    answer = ComparisonService(source).view("starter", [TINY, "\ud800"])
    assert "There is no result of &#39;\\ud800&#39; on starter." in answer["html"]
    json.dumps(answer, ensure_ascii=False).encode()


def test_comparisons_do_not_pile_up(source: ResultsFolder) -> None:
    """Where too many wait already a visitor reads so at once, and the next is served when there is room again."""
    service = ComparisonService(source)
    with ExitStack() as others:
        for _ in range(MAX_WAITING + 1):
            others.enter_context(service._line.admit())
        assert "being served or waiting" in service.view("starter", [TINY, LONGEST])["html"]
    assert "Compared" in service.view("starter", [TINY, LONGEST])["status"]


def check(page: Page, width: int) -> None:
    """No violation by axe-core, and the page does not scroll sideways."""
    found = Axe().run(page, context="#compare")
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_violation(opened: OpenPage, theme: str, width: int) -> None:
    """With all views of two runs and the list of models open."""
    page = opened(f"?board=starter&models={TINY},{LONGEST}", theme=theme, width=width)
    expect(page.get_by_role("heading", name="Accuracy by length")).to_be_visible()
    assert page.evaluate("document.body.classList.contains('dark')") is (theme == "dark")
    search(page).fill("b")
    expect(page.get_by_role("listbox", name="Models").get_by_role("option").first).to_be_visible()
    check(page, width)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_where_little_is_known(opened: OpenPage, theme: str) -> None:
    """Before anything is chosen, and with published scores alone, on a narrow screen."""
    page = opened("?board=rewardbench-2", theme=theme, width=390)
    check(page, 390)
    page.get_by_role("button", name="Compare Skywork").click()
    expect(page.get_by_text("From published scores alone")).to_be_visible()
    expect(page.get_by_text("Not known for")).to_be_visible()
    check(page, 390)
