"""Search, filters, pins, hidden columns and the custom score."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from rb_core.space.leaderboard.tab import leaderboard_table
from rb_core.space.results_source import ResultsFolder, page_board_json
from rb_core.space.server import Page
from rb_core.stats.rank_intervals import RankInterval
from tests.space.conftest import Looks, OpenPage, Serve, assert_accessible, in_each_look
from tests.space.leaderboard.conftest import table_page
from tests.space.leaderboard.tables import (
    MISSING,
    NUM_MODELS,
    csv_rows,
    header,
    menu,
    numbers,
    shown,
    small_row,
    wait_for_parameter,
    wait_for_ranking,
)


def boards_json(results: ResultsFolder) -> list[dict[str, Any]]:
    return [page_board_json(board, results.traits(name)) for name, board in results.boards().items()]


def custom_scores(board: dict[str, Any], left_out: set[str]) -> dict[str, float | None]:
    """The weighted mean by model of the sections that are not left out, None without a required section."""
    used = [
        (i, column["weight"], column["required"])
        for i, column in enumerate(board["columns"])
        if column["role"] == "section" and column["label"] not in left_out
    ]
    scores: dict[str, float | None] = {}
    for row in board["rows"]:
        scored = [(weight, row[i]) for i, weight, _ in used if row[i] is not None]
        incomplete = any(required and row[i] is None for i, _, required in used) or not scored
        scores[row[1]] = None if incomplete else sum(w * v for w, v in scored) / sum(w for w, _ in scored)
    return scores


def test_search_and_kinds_narrow_the_table(open_page: OpenPage) -> None:
    """A comma means or, kinds narrow further, a live region counts the rows, and the address brings the view back."""
    page = open_page()
    search = page.get_by_role("searchbox")
    search.fill("Skywork, grm")
    names = shown(page, "Model")
    assert names
    assert all("skywork" in name.lower() or "grm" in name.lower() for name in names)
    assert any("skywork" not in name.lower() for name in names)
    expect(page.get_by_role("status").filter(has_text="models")).to_contain_text(f"{len(names)} of ")
    menu(page, "Kind").get_by_role("checkbox", name="Generative").check()
    page.keyboard.press("Escape")
    assert set(shown(page, "Kind")) == {"Generative"}
    assert len(shown(page, "Kind")) < len(names)
    search.fill("no such model anywhere")
    expect(page.get_by_text("No model matches")).to_be_visible()
    search.fill("llama")
    page.get_by_role("radio", name="All subsets").check()
    header(page, "hep-go").click()
    page.wait_for_url("**sort=-subset**")
    names = shown(page, "hep-go")
    page.reload()
    expect(search).to_have_value("llama")
    expect(page.get_by_role("button", name="Remove Kind: Generative")).to_be_visible()
    expect(page.get_by_role("radio", name="All subsets")).to_be_checked()
    expect(page.locator("th[aria-sort=descending]")).to_have_count(1)
    assert shown(page, "hep-go") == names


MATCHES = "([query, texts]) => texts.filter(window.rb.search(query))"


def test_a_search_finds_words_in_any_order(open_page: OpenPage) -> None:
    """Case, accents and punctuation do not count; a comma means or; a number is found at its beginning."""
    names = ["meta-llama/Llama-3-70B", "Llama-3.1-8B-Instruct", "org/Gemma-13B", "Mistral/Été_v3-base"]
    llama_70b, llama_8b, gemma, mistral = names
    page = open_page()
    for query, expected in {
        "": names,
        "llama 70b": [llama_70b],
        "70B LLAMA": [llama_70b],
        "llama3": [llama_70b, llama_8b],
        "llama-3.1": [llama_8b],
        "3b": [],
        "13b, ete": [gemma, mistral],
        "(llama": [llama_70b, llama_8b],
        " , ": names,
    }.items():
        assert page.evaluate(MATCHES, [query, names]) == expected, query
    page.get_by_role("searchbox").fill("llama 70b")
    names = shown(page, "Model")
    assert names
    assert all("llama" in name.lower() and "70b" in name.lower() for name in names)


def test_organisations_are_filtered_with_the_keyboard(open_page: OpenPage) -> None:
    """The menu opens, searches, filters and closes by keys alone, and its button gets the focus back."""
    page = open_page()
    button = page.locator(".rb-open", has_text="Organisation")
    button.focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("group", name="Organisation")
    page.keyboard.press("Tab")
    expect(panel.get_by_role("searchbox", name="Find an organisation")).to_be_focused()
    page.keyboard.type("skyw")
    expect(panel.get_by_role("checkbox")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    names = shown(page, "Model")
    assert len(names) > 3
    assert all(name.startswith("Skywork/") for name in names)
    expect(panel.get_by_role("checkbox", name="Skywork")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_contain_text("1")
    wait_for_parameter(page, "orgs", "Skywork")
    panel = menu(page, "Organisation")
    panel.get_by_role("searchbox").fill("no such name")
    expect(panel.get_by_role("checkbox")).to_have_count(0)
    expect(panel.get_by_role("status")).to_have_text("No such name")
    page.get_by_role("searchbox", name="Search models").click()
    expect(panel).to_be_hidden()
    page.get_by_role("button", name="Clear filters").click()
    assert len(shown(page, "Model")) == NUM_MODELS


def test_sizes_and_origins_are_filtered(open_page: OpenPage, small_url: str) -> None:
    """Sizes are short and sort as numbers with unknown last; the slider and the fields set the same two bounds."""
    page = open_page(at=small_url)
    header(page, "Size").click()
    assert shown(page, "Size") == ["71B", "12B", "8B", "3B", "2.3M", MISSING, MISSING]
    expect(page.get_by_role("cell", name="unknown", exact=True)).to_have_count(4)  # two sizes, two rank intervals
    sizes = menu(page, "Size")
    least, most = (sizes.get_by_role("spinbutton", name=name) for name in ("From", "to"))
    most.fill("8")  # 8.03 billion are shown as 8B
    assert shown(page, "Model") == ["big/two", "big/weak", "mine/tiny"]
    least.fill("3")
    assert shown(page, "Model") == ["big/two", "big/weak"]
    sizes.get_by_role("checkbox", name="Also the 2 models of unknown size").check()
    assert shown(page, "Model") == ["big/two", "big/weak", "alone", "baseline/longest"]
    wait_for_parameter(page, "size", "3-8")
    page.reload()
    assert shown(page, "Model") == ["big/two", "big/weak", "alone", "baseline/longest"]
    page.get_by_role("button", name="Remove Size: 3B to 8B, or unknown").click()
    assert len(shown(page, "Model")) == 7
    sizes = menu(page, "Size")
    slider = sizes.get_by_role("slider", name="Smallest size")
    slider.focus()
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "71 billion parameters")
    assert shown(page, "Model") == ["big/one"]
    expect(sizes.get_by_role("spinbutton", name="From")).to_have_value("71")
    page.keyboard.press("Home")
    assert len(shown(page, "Model")) == 7
    origin = menu(page, "Origin")
    origin.get_by_role("checkbox", name="Evaluated here").check()
    assert set(shown(page, "Origin")) == {"here", "here, in part"}
    origin.get_by_role("checkbox", name="Evaluated here").uncheck()
    origin.get_by_role("checkbox", name="As published").check()
    assert shown(page, "Model") == ["big/one", "big/two", "alone"]


def test_models_that_pass_the_filters_are_ranked_among_themselves(open_page: OpenPage, results: ResultsFolder) -> None:
    """At once by their scores, and with rank intervals and tiers when the server has answered; chips undo it."""
    board = results.boards()["rewardbench"]
    among = [row.model for row in board.ranked() if row.kind == "Generative"]
    page = open_page("?kinds=Generative&hide=section:Safety")
    assert shown(page, "Model")[: len(among)] == among
    assert shown(page, "Rank")[:3] == ["1", "2", "3"]
    expect(page.get_by_role("status").filter(has_text="models")).to_contain_text("ranked among themselves")
    expect(page.locator(".rb-band").first).to_contain_text("Tier 1")
    worst = [text.replace("~", "").split("–")[-1] for text in shown(page, "Rank interval")[: len(among)]]
    assert max(map(int, worst)) == len(among)
    licence = menu(page, "Licence")
    known = [row for row in board.rows if (model := results.registry().get(row.model)) and model.licence]
    expect(licence.get_by_role("checkbox", name=f"not known {len(board.rows) - len(known)}")).to_be_visible()
    page.keyboard.press("Escape")
    chip = page.get_by_role("button", name="Remove Kind: Generative")
    chip.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("searchbox", name="Search models")).to_be_focused()
    assert shown(page, "Rank")[:3] == ["1", "2", "3"]
    assert len(shown(page, "Model")) == NUM_MODELS
    assert shown(page, "Rank interval")[0] == "1–18"


def test_pins_and_hidden_columns_survive_a_reload(open_page: OpenPage) -> None:
    """Pinned rows stay on top in any order, with any filter and while scrolling, until they are released by a key."""
    page = open_page()
    name = shown(page, "Model")[20]
    pin = page.get_by_role("button", name=f"Pin {name}", exact=True)
    pin.click()
    expect(pin).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text(f"{name} is pinned on top")).to_be_visible()
    header(page, "Chat Hard").click()
    assert shown(page, "Model")[0] == name
    rest = numbers(shown(page, "Chat Hard")[1:])
    assert rest == sorted(rest, reverse=True)
    page.get_by_role("region", name="Leaderboard table").evaluate("(box) => { box.scrollTop = 3000; }")
    table = page.get_by_role("region", name="Leaderboard table").bounding_box()
    row = page.get_by_role("rowheader", name=name, exact=True).bounding_box()
    assert table
    assert row
    assert 0 < row["y"] - table["y"] < 80
    page.get_by_role("searchbox").fill("no such model anywhere")
    assert shown(page, "Model") == [name]
    expect(page.get_by_text("No other model matches")).to_be_visible()
    count = page.get_by_role("status").filter(has_text="models")
    expect(count).to_have_text(f"1 of {NUM_MODELS} models, 1 pinned on top")
    columns = menu(page, "Columns")
    for column in ("Kind", "Safety"):
        columns.get_by_role("checkbox", name=column, exact=True).focus()
        page.keyboard.press("Space")
        expect(page.get_by_role("columnheader", name=column, exact=True)).to_have_count(0)
        expect(columns.get_by_role("checkbox", name=column, exact=True)).to_be_focused()
    wait_for_parameter(page, "hide", "kind", "section:Safety")
    wait_for_parameter(page, "pins", name)
    wait_for_parameter(page, "q", "no such model anywhere")
    page.reload()
    assert shown(page, "Model") == [name]
    expect(page.get_by_role("columnheader", name="Chat", exact=True)).to_be_visible()
    expect(page.get_by_role("columnheader", name="Kind", exact=True)).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    heads = csv_rows(download.value.path())[0]
    assert "Chat" in heads
    assert not {"Kind", "Safety"} & set(heads)
    page.get_by_role("searchbox").fill("")
    pin.press("Space")
    expect(pin).to_be_focused()
    assert shown(page, "Model")[0] != name
    menu(page, "Columns").get_by_role("checkbox", name="Kind", exact=True).check()
    expect(page.get_by_role("columnheader", name="Kind", exact=True)).to_be_visible()
    page.get_by_role("radio", name="All subsets").check()
    subsets = menu(page, "Columns").get_by_role("group", name="Subsets: Chat", exact=True)
    expect(subsets.get_by_role("checkbox")).to_have_count(5)
    subsets.get_by_role("checkbox", name="alpacaeval-easy").uncheck()
    expect(page.get_by_role("columnheader", name="alpacaeval-easy")).to_have_count(0)


def test_the_weights_of_the_columns_give_the_headline(results: ResultsFolder) -> None:
    """The browser's score of all sections by their weights is the benchmark's own headline."""
    for board in boards_json(results):
        scores = custom_scores(board, set())
        place = next(i for i, column in enumerate(board["columns"]) if column["role"] == "headline")
        complete = [(row[place], scores[row[1]]) for row in board["rows"] if scores[row[1]] is not None]
        assert len(complete) >= 5
        for headline, score in complete:  # published ones are rounded to four digits, section by section
            assert headline == pytest.approx(score, abs=1e-4)


def assert_custom_score(page: BrowserPage, board: dict[str, Any], left_out: set[str]) -> None:
    """Give these sections no weight, and assert that the table is re-ranked by the mean of the others."""
    expected = custom_scores(board, left_out)
    weights = menu(page, "Weights")
    for name in left_out:
        weights.get_by_role("spinbutton", name=f"Weight of {name}", exact=True).fill("0")
    page.keyboard.press("Escape")
    expect(page.get_by_role("columnheader", name="Score", exact=True)).to_have_count(0)
    wait_for_ranking(page)
    names, scores, ranks = (shown(page, column) for column in ("Model", "Custom score", "Rank"))
    sweeps = [i for i, column in enumerate(board["columns"]) if column["role"] == "sweep"]
    ranked = [row for row in board["rows"] if all(row[i] is None for i in sweeps)]
    assert len(names) == len(ranked)
    for name, text in zip(names, scores, strict=True):
        score = expected[name]
        assert (text == MISSING) == (score is None)
        assert score is None or float(text) == pytest.approx(100 * score, abs=0.0501)
    exact = [score for name in names if (score := expected[name]) is not None]
    assert exact == pytest.approx(sorted(exact, reverse=True), abs=1e-5)
    assert numbers(ranks) == sorted(numbers(ranks))
    assert numbers(ranks)[0] == 1
    assert names != [row[1] for row in ranked]
    assert len(numbers(shown(page, "Tier"))) == len(numbers(ranks))
    assert MISSING not in shown(page, "Rank interval")[: len(numbers(ranks))]
    expect(page.locator("td.rb-headline").first).to_contain_text("95% interval")
    note = page.get_by_role("status").filter(has_text="Custom score")
    for text in (*left_out, "not the benchmark’s score"):
        expect(note).to_contain_text(text)
    wait_for_parameter(page, "weight", *(f"{name}:0" for name in left_out))


def test_a_custom_score_uses_the_remaining_sections(open_page: OpenPage, results: ResultsFolder) -> None:
    """It has intervals, rank intervals and tiers, survives a reload and can be undone.

    The last section keeps its weight; another board has its own.
    """
    rewardbench, rewardbench_2, *_ = boards_json(results)
    page = open_page("?board=rewardbench-2&show=tier")
    assert_custom_score(page, rewardbench_2, {"Ties"})
    page.get_by_role("radio", name="RewardBench", exact=True).check()
    expect(page.get_by_role("columnheader", name="Score", exact=True)).to_be_visible()
    assert_custom_score(page, rewardbench, {"Chat Hard", "Reasoning"})
    scores = shown(page, "Custom score")
    page.reload()
    assert shown(page, "Custom score") == scores
    page.get_by_role("button", name="Back to the benchmark’s score").click()
    expect(page.get_by_role("button", name="Weights", exact=True)).to_be_focused()
    expect(page.get_by_role("columnheader", name="Score", exact=True)).to_be_visible()
    assert shown(page, "Model") == [row[1] for row in rewardbench["rows"]]
    expect(page.locator("td.rb-headline").first).to_contain_text("95% interval")
    weights = menu(page, "Weights")
    for name in ("Chat", "Chat Hard", "Safety", "Reasoning", "Prior Sets"):
        weights.get_by_role("spinbutton", name=f"Weight of {name}", exact=True).fill("0")
    assert shown(page, "Custom score")[:30] == shown(page, "Prior Sets")[:30]
    weights.get_by_role("spinbutton", name="Weight of Chat", exact=True).fill("3")
    expect(page.locator(".rb-custom")).to_contain_text("Chat 86%")
    chat, prior, scores = (shown(page, name) for name in ("Chat", "Prior Sets", "Custom score"))
    for n in range(30):
        both = None if MISSING in (chat[n], prior[n]) else (6 * float(chat[n]) + float(prior[n])) / 7
        assert both is None or float(scores[n]) == pytest.approx(both, abs=0.11)


def test_scores_with_a_section_that_others_lack_are_marked_and_can_be_ranked_without_it(
    open_page: OpenPage, results: ResultsFolder
) -> None:
    page = open_page("?board=rewardbench")
    note = page.locator(".rb-custom")
    expect(note).to_contain_text("98 of the 206 scores include Prior Sets, 108 do not.")
    marked = page.locator("tbody tr", has=page.locator("td.rb-headline .rb-with"))
    expect(marked).to_have_count(98)
    expect(marked.first.locator("td.rb-headline")).to_have_attribute("title", re.compile("with Prior Sets$"))
    page.get_by_role("button", name="Rank by Chat, Chat Hard, Safety, and Reasoning").click()
    expect(note).to_contain_text("are computed as those of the benchmark’s score")
    expect(marked).to_have_count(0)
    wait_for_parameter(page, "weight", "Prior Sets:0")
    page.get_by_role("button", name="Back to the benchmark’s score").click()
    expect(marked).to_have_count(98)
    page.get_by_role("radio", name="RewardBench 2", exact=True).check()
    expect(note).to_be_hidden()


def test_a_custom_score_without_an_answer_of_the_server_has_no_intervals(
    open_page: OpenPage, serve: Serve, results: ResultsFolder
) -> None:
    """The browser computes scores and ranks by itself, and says what is missing."""
    with Page(results) as without_server:
        leaderboard_table()
    page = open_page("?board=rewardbench-2&weight=Ties:0", at=serve(without_server))
    expect(page.locator(".rb-custom")).to_contain_text("not available: the server did not answer")
    assert set(shown(page, "Rank interval")) == {MISSING}
    expect(page.locator("td.rb-headline").first).to_contain_text("unknown interval")
    assert numbers(shown(page, "Rank"))[:2] == [1, 2]


@in_each_look
def test_bounds_and_coverage_stand_beside_the_score_where_examples_are_unscored(
    open_page: OpenPage, serve: Serve, looks: Looks
) -> None:
    """A line begins each tier, in the order of the ranks."""
    whole = small_row(1, "mine/whole", "run", (0.6, 0.5, 0.7), interval=RankInterval(1, 1, "items"))
    part = small_row(2, "mine/part", "run", (0.65, 0.55, 0.75), interval=RankInterval(2, 2, "items"))
    bounded = part.headline.model_copy(update={"floor": 0.5, "ceiling": 0.7})
    rows = [
        replace(whole, tier=1, headline=whole.headline.model_copy(update={"floor": 0.6, "ceiling": 0.6})),
        replace(part, tier=2, headline=bounded, coverage=0.9),
    ]
    page = open_page("?show=tier", at=serve(table_page(*rows, detectable=0.029)))
    heads = page.get_by_role("columnheader").all_inner_texts()
    labels = [text.split("\n")[0].strip() for text in heads]
    assert labels.index("Bounds") == labels.index("Score") + 1
    assert labels.index("Coverage") == labels.index("Score") + 2
    assert shown(page, "Bounds") == ["60.0", "50.0–70.0"]
    assert shown(page, "Tier") == ["1", "2"]
    for text in ("count as failed in the rank", "can tell models 2.9 points apart"):
        expect(page.locator(".rb-notes")).to_contain_text(text)
    bands = page.locator(".rb-band")
    assert bands.all_inner_texts() == [
        "Tier 1: no clear difference from the best",
        "Tier 2: no clear difference from its first model",
    ]
    header(page, "Score").click()
    expect(bands).to_have_count(0)
    assert_accessible(page, looks, context=".rb-board")


def test_bounds_have_no_column_where_everything_is_scored(open_page: OpenPage) -> None:
    page = open_page("?board=starter")
    expect(page.locator(".rb-band").first).to_contain_text("Tier 1")
    expect(page.get_by_role("columnheader", name="Bounds")).to_have_count(0)
    expect(page.locator(".rb-notes")).not_to_contain_text("Bounds")


def test_development_checkpoints_are_folded_until_they_are_opened_or_searched(
    open_page: OpenPage, results: ResultsFolder
) -> None:
    board = results.boards()["rewardbench-2"]
    folded = [row.model for row in board.rows if row.sweep]
    page = open_page("?board=rewardbench-2")
    expect(page.get_by_role("status").filter(has_text="models")).to_contain_text(f"{len(folded)} development")
    assert set(shown(page, "Model")).isdisjoint(folded)
    sweep = page.get_by_role("button", name=f"{len(folded)} checkpoints")
    expect(sweep).to_have_attribute("aria-expanded", "false")
    sweep.focus()
    page.keyboard.press("Enter")
    expect(sweep).to_be_focused()
    expect(sweep).to_have_attribute("aria-expanded", "true")
    assert shown(page, "Model")[-len(folded) :] == folded
    assert set(shown(page, "Rank")[-len(folded) :]) == {MISSING}
    wait_for_parameter(page, "sweep", "RewardBench 2 development")
    page.reload()
    assert shown(page, "Model")[-len(folded) :] == folded
    page.get_by_role("button", name=f"{len(folded)} checkpoints").click()
    assert len(shown(page, "Model")) == len(board.rows) - len(folded)
    page.get_by_role("searchbox", name="Search models").fill("qwen32b")
    assert set(shown(page, "Model")) >= {name for name in folded if "qwen32b" in name}
