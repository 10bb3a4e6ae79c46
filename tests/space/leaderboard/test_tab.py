"""The Leaderboard tab: boards, the table, its notes and marks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from rb_core import __version__
from rb_core.evaluation.evaluate import evaluate
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from rb_core.stats.rank_intervals import RankInterval
from tests.fakes.judged_runs import BENCHMARK as JUDGED
from tests.space.conftest import Looks, OpenPage, Serve, assert_accessible, in_each_look
from tests.space.leaderboard.conftest import table_page
from tests.space.leaderboard.tables import (
    MISSING,
    NUM_MODELS,
    csv_dicts,
    csv_rows,
    header,
    menu,
    numbers,
    shown,
    small_row,
)

CONSISTENCY = "Same verdict"


def test_the_switch_shows_every_board_without_overflow(open_page: OpenPage) -> None:
    """At 1440 pixels no column is cut off at the right edge, and no text is wider than its column except names."""
    page = open_page()
    switch = page.get_by_role("group", name="Benchmark").get_by_role("radio")
    columns = {"RewardBench": "Prior Sets", "RewardBench 2": "Factuality"}
    columns |= {"RM-Bench": "Safety", "RMB": "Helpfulness", "Starter": "Coverage"}
    expect(switch).to_have_count(9)
    table = page.get_by_role("region", name="Leaderboard table")
    for board, cell in columns.items():
        page.get_by_role("radio", name=board, exact=True).check()
        expect(page.get_by_role("columnheader", name=cell)).to_be_visible()
        expect(page.get_by_role("columnheader", name=CONSISTENCY)).to_have_count(0)  # no judges among these
        assert table.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0
        cut_off = "(cells) => cells.filter((td) => td.scrollWidth > td.clientWidth).map((td) => td.innerText)"
        assert table.get_by_role("cell").evaluate_all(cut_off) == []
    page.wait_for_url("**board=starter**")
    expect(page.get_by_role("rowheader", name="baseline/longest")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Origin")).to_have_count(0)  # the same in every row
    expect(page.get_by_role("button", name="Origin")).to_have_count(0)


def test_an_invalid_address_shows_the_first_board_with_its_notes(open_page: OpenPage) -> None:
    """Unknown tabs, boards, columns, kinds and views are ignored. Intervals and columns are described in text."""
    page = open_page("?tab=toString&board=nope&sort=-nope&kinds=nope&view=nope")
    expect(page.get_by_role("tab", selected=True)).to_have_text("Leaderboard")
    expect(page.get_by_role("radio", name="RewardBench", exact=True)).to_be_checked()
    assert numbers(shown(page, "Rank"))[:3] == [1, 2, 3]
    expect(page.locator("td.rb-headline").first).to_contain_text("95% interval")
    header(page, "Chat").focus()
    expect(page.get_by_role("tooltip")).to_contain_text("strong answer")
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()
    for text in (
        "Close ranks may be noise",
        "Newest result: 20",
        "ODC-BY",
        "Lambert et al.",
        "1 result file could not",
    ):
        expect(page.locator(".rb-notes")).to_contain_text(text)
    expect(page.locator("#results-line")).to_contain_text(f"rb_core {__version__}")


def test_headers_sort_with_missing_values_last(open_page: OpenPage) -> None:
    """By mouse and by keyboard, first descending for numbers; names are sorted from A regardless of case."""
    page = open_page()
    for name, keys in (("Prior Sets", None), ("Score", ("Enter", "Space"))):
        for number, direction in enumerate(("descending", "ascending")):
            if keys is None:
                header(page, name).click()
            else:
                header(page, name).focus()
                page.keyboard.press(keys[number])
            expect(page.locator(f'th[aria-sort="{direction}"]')).to_contain_text(name)
            expect(page.locator("th[aria-sort]")).to_have_count(1)
            expect(header(page, name)).to_be_focused()
            texts = shown(page, name)
            assert MISSING in texts
            values = numbers(texts)
            assert len(values) > 20
            assert values == sorted(values, reverse=direction == "descending")
    header(page, "Model").click()
    names = shown(page, "Model")
    assert [name.lower() for name in names[:3]] == sorted(name.lower() for name in names)[:3]


def test_subsets_are_grouped_by_section(open_page: OpenPage) -> None:
    """Each section spans exactly its own columns, and a subset's description has its size and licence."""
    page = open_page("?view=subsets")
    header(page, "hep-go").focus()
    for text in ("A correct Go function", "164 examples", "Licence: ODC-BY"):
        expect(page.get_by_role("tooltip")).to_contain_text(text)
    header(page, "Prior Sets: Section").focus()
    for text in ("Weight in the score: 0.5", "Random choice: 50.0"):
        expect(page.get_by_role("tooltip")).to_contain_text(text)
    expect(page.locator(".rb-chance")).to_contain_text("Expected of random choice: Score 50.0, Chat 50.0")
    groups = page.evaluate(
        "[...document.querySelectorAll('.rb-groups th[colspan]')].map(t => [t.innerText, t.colSpan])"
    )
    assert dict(groups)["Chat"] == 6
    assert dict(groups)["Chat Hard"] == 7
    header(page, "mt-bench-easy").click()
    values = numbers(shown(page, "mt-bench-easy"))
    assert values == sorted(values, reverse=True)
    widths = page.evaluate(
        "[...document.querySelectorAll('.rb-scroll tbody tr:not(.rb-band)')].map(r => r.children.length)"
    )
    below = page.evaluate("document.querySelectorAll('.rb-scroll thead tr:last-child th').length")
    beside = page.evaluate("document.querySelectorAll('.rb-groups th[rowspan]').length")
    assert set(widths) == {below + beside}


def test_texts_are_never_markup_nor_formulas(serve: Serve, open_page: OpenPage) -> None:
    """Markup and template syntax in names, descriptions and citations are shown as typed; the CSV runs no formula."""
    evil = '<img src=x onerror="document.title=1">${7*7}{{7*7}}`'
    rows = [
        small_row(1, "=HYPERLINK(1)", "run", (0.9, 0.8, 1.0), section=-0.5, kind=evil),
        small_row(2, f"@org/{evil}", "run", (0.8, None, None), section=0.5, kind="+kind"),
    ]
    page = open_page(at=serve(table_page(*rows, text=evil, section=evil)))
    assert page.locator("img[src=x]").count() == 0
    for place in (".rb-lead", ".rb-notes cite", ".rb-boards", "[data-menu=kinds]", ".rb-scroll"):
        expect(page.locator(place)).to_contain_text(evil)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    cells = csv_rows(download.value.path())
    assert [row[1] for row in cells[1:]] == ["'=HYPERLINK(1)", f"'@org/{evil}"]
    assert cells[2][2] == "'+kind"
    assert dict(zip(cells[0], cells[1], strict=True))[evil] == "-0.5"


def test_an_empty_page_shows_a_command_until_results_arrive(serve: Serve, open_page: OpenPage, tmp_path: Path) -> None:
    """A page opened after a result was written shows it, without a restart."""
    page = open_page(at=serve(build(ResultsFolder(tmp_path))))
    expect(page.get_by_role("heading", name="No results yet")).to_be_visible()
    expect(page.get_by_text("python -m rb_core evaluate")).to_be_visible()
    expect(page.locator("table")).to_be_hidden()
    evaluate("baseline/shortest", "starter", out=tmp_path)
    page.reload()
    expect(page.get_by_role("rowheader", name="baseline/shortest")).to_be_visible()


def test_leads_within_noise_and_the_best_baseline_are_marked(open_page: OpenPage, small_url: str) -> None:
    """Each row has its rank interval, its method, and the number of lower-ranked models that are not worse.

    The line of the best baseline is at its score. Models that do not clear it have a mark.
    """
    page = open_page(at=small_url)
    rows = page.locator(".rb-rest tr")
    assert shown(page, "Rank interval") == ["1–2", "1–2", "3", "~4–6", "~4–6", MISSING, MISSING]
    expect(rows.nth(0)).to_contain_text("not significantly better than the next model")
    expect(rows.nth(1)).to_contain_text("significantly better than every model below")
    expect(rows.nth(3)).to_contain_text("about")
    expect(rows.nth(3)).to_contain_text("not significantly better than the next 2")
    notes = page.locator(".rb-notes")
    expect(notes).to_contain_text("this model may stand anywhere from second to ninth")
    expect(notes).to_contain_text("from the models’ intervals alone")
    expect(notes).to_contain_text("The dashed line is the best baseline, baseline/longest (65.0)")
    expect(page.get_by_role("rowheader", name="baseline/longest best baseline")).to_be_visible()
    for name in ("big/weak", "alone"):
        expect(page.get_by_role("rowheader", name=name)).to_contain_text("does not beat the best baseline")
    for name in ("mine/partly", "big/one"):
        expect(page.get_by_role("rowheader", name=name)).not_to_contain_text("baseline")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="baseline/longest"))
    line, dot = row.locator(".rb-score-bar").evaluate(
        "(e) => [getComputedStyle(e, '::after').left, getComputedStyle(e.querySelector('.rb-dot')).left]"
    )
    assert float(line[:-2]) == pytest.approx(float(dot[:-2]), abs=0.5)


BARS = """() => {
    const inView = [...document.querySelectorAll('.rb-rest tr:not(.rb-band)')].filter((row) => {
        const [table, own] = [document.querySelector('.rb-scroll'), row].map((e) => e.getBoundingClientRect());
        return own.top > table.top + 60 && own.bottom < table.bottom;
    });
    return ['score', 'rank'].map((name) => ({
        ends: [...document.querySelectorAll(`.rb-axis-${name} i`)].map((i) => Number(i.textContent)),
        bars: inView.map((row) => row.querySelector(`.rb-${name}-bar`)).filter((b) => b?.children.length).map((b) => {
            const [track, bar, mark] = [b, ...b.children].map((e) => e.getBoundingClientRect());
            return [bar.left, mark.left + 1, bar.right].map((x) => (x - track.left) / track.width);
        }),
        rows: inView.map((row) => row.querySelector('td.rb-headline').title),
        ranks: inView.map((row) => row.querySelector('.rb-range > div > span').textContent),
    }));
}"""


def test_axes_follow_the_rows_in_view(open_page: OpenPage) -> None:
    """Bars of scores and of ranks are at their values on axes that the rows in view fill, also after scrolling."""
    page = open_page()
    table = page.get_by_role("region", name="Leaderboard table")
    ends, text = [], ""
    for top in (0, 4000):
        table.evaluate("(box, top) => { box.scrollTop = top; }", top)
        page.wait_for_function("(text) => document.querySelector('.rb-axis-score').textContent !== text", arg=text)
        text = page.locator(".rb-axis-score").text_content() or ""
        scores, ranks = page.evaluate(BARS)
        (low, high), (first, last) = scores["ends"], ranks["ends"]
        ends.append((low, high, first, last))
        assert len(scores["bars"]) > 5
        for title, bar in zip(scores["rows"], scores["bars"], strict=True):
            value, lower, upper = map(float, re.match(r"(\S+), 95% interval (\S+) to ([\d.]+)", title).groups())  # type: ignore[union-attr]
            assert bar == pytest.approx([(v - low) / (high - low) for v in (lower, value, upper)], abs=0.03)
        for interval, bar in zip(ranks["ranks"], ranks["bars"], strict=True):
            best, worst = map(int, re.findall(r"\d+", interval.split(",")[0]))
            units = last - first + 1
            assert [bar[0], bar[2]] == pytest.approx([(best - first) / units, (worst - first + 1) / units], abs=0.03)
        for bars in (scores["bars"], ranks["bars"]):
            assert max(bar[2] for bar in bars) - min(bar[0] for bar in bars) > 0.5
    assert ends[0] != ends[1]


def test_a_board_without_baselines_has_no_line(open_page: OpenPage) -> None:
    """A model's name opens its page; a model on the hub also has a link to the hub."""
    page = open_page("?board=rewardbench-2&q=GRM-gemma2-2B")
    expect(page.locator(".rb-notes")).not_to_contain_text("baseline")
    assert page.locator(".rb-score-bar").first.evaluate("(e) => getComputedStyle(e, '::after').content") == "none"
    name = "Ray2333/GRM-gemma2-2B-rewardmodel-ft"
    hub = page.get_by_role("link", name=f"{name} on the hub")
    expect(hub).to_have_attribute("href", f"https://huggingface.co/{name}")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("tabpanel", name="Model").get_by_role("heading", name=name)).to_be_visible()


def test_judges_have_a_column_for_their_consistency(open_page: OpenPage, judged_url: str) -> None:
    """It replaces the kind when all rows are judges: on their own board, and on another one by the filter."""
    page = open_page(f"?board={JUDGED}", at=judged_url)
    head = page.get_by_role("columnheader", name=CONSISTENCY)
    expect(page.get_by_role("columnheader", name="Kind")).to_have_count(0)
    head.get_by_role("button").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("when the completions change places")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    first = page.locator(".rb-rest tr").first
    expect(first).to_contain_text("judge")
    expect(first).to_contain_text("73.7")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert [row[CONSISTENCY] for row in csv_dicts(download.value.path())] == ["0.73684", "", ""]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    content = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [row["consistency"] for row in content["rows"]] == [0.73684, None, None]
    menu(page, "Columns").get_by_role("checkbox", name=CONSISTENCY).uncheck()
    expect(head).to_have_count(0)
    page.get_by_role("checkbox", name=CONSISTENCY).check()
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="RewardBench 2").check()
    expect(head).to_have_count(0)
    expect(page.locator(".rb-notes")).to_contain_text("Choose only the kind Generative")
    menu(page, "Kind").get_by_role("checkbox", name="Generative").check()
    page.keyboard.press("Escape")
    expect(head).to_be_visible()
    table = page.get_by_role("region", name="Leaderboard table")
    assert table.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0
    page.get_by_role("button", name="Clear").click()
    expect(head).to_have_count(0)
    expect(page.get_by_role("columnheader", name="Kind")).to_be_visible()


@in_each_look
def test_axe_finds_nothing_in_menus_pins_and_custom_scores(open_page: OpenPage, looks: Looks) -> None:
    page = open_page("?q=skywork&pins=openai/gpt-4-0613&pins=Qwen/WorldPM-72B&weight=Chat:0&orgs=Skywork")
    page.get_by_role("button", name="Copy link").click()
    for name, look in zip(("Weights", "Organisation", "Columns", "Size"), looks, strict=False):
        menu(page, name)
        assert_accessible(page, [look])
        page.keyboard.press("Escape")
    assert_accessible(open_page("?board=starter&view=subsets"), looks)


def test_a_card_says_what_is_known_of_a_model(open_page: OpenPage) -> None:
    """For a mouse over its name, for the focus, and for a tap beside it on a phone; Escape closes it."""
    page = open_page("?q=Skywork-Reward-Gemma-2-27B")
    card = page.locator(".rb-card")
    name = page.locator(".rb-rest .rb-model").first
    name.hover()
    expect(card).to_be_visible()
    for text in (
        "Skywork/Skywork-Reward-Gemma-2-27B",
        "27B parameters",
        "95% interval",
        "by the data anywhere from 1",
        "of 212",
    ):
        expect(card).to_contain_text(text)
    page.keyboard.press("Escape")
    page.mouse.move(0, 0)
    expect(card).to_be_hidden()
    page.get_by_role("button", name="Pin Skywork").first.focus()
    page.keyboard.press("Tab")
    expect(card).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".rb-rest td.rb-headline").first.click()
    expect(card).to_contain_text("Length gap")
    page.locator(".rb-lead").click()
    expect(card).to_be_hidden()


def test_pinned_models_lead_to_compare(open_page: OpenPage) -> None:
    page = open_page("?pins=Skywork/Skywork-Reward-Gemma-2-27B-v0.2")
    link = page.locator(".rb-pair")
    expect(link).to_be_hidden()
    page.locator(".rb-rest .rb-pin").first.click()
    expect(link).to_have_text("Compare 2 pinned")
    query = parse_qs(urlsplit(link.get_attribute("href") or "").query)
    assert query["tab"] == ["compare"]
    assert query["models"][0].split(",")[0] == "Skywork/Skywork-Reward-Gemma-2-27B-v0.2"


@pytest.mark.parametrize("width", [1440, 390])
def test_the_first_rows_are_in_the_first_view(open_page: OpenPage, width: int) -> None:
    page = open_page(width=width)
    page.set_viewport_size({"width": width, "height": 900 if width == 1440 else 844})
    rows = page.locator(".rb-rest tr:not(.rb-band)")
    expect(rows.nth(2)).to_be_in_viewport()
    expect(page.locator(".rb-rest td.rb-headline").first).to_be_in_viewport(ratio=0.99)


MEASURE = """async ([selector, act, times]) => {
    const took = [];
    const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    for (let n = 0; n < times; n += 1) {
        const begun = performance.now(), target = document.querySelector(selector);
        if (act === 'type') {
            target.value = ['s', 'sk', 'sky', 'l', 'll', 'lla', 'llama', ''][n % 8];
            target.dispatchEvent(new Event('input', { bubbles: true }));
        } else target.click();
        document.querySelector('.rb-scroll').getBoundingClientRect();
        await painted();
        took.push(performance.now() - begun);
    }
    return took;
}"""


@pytest.mark.soak
@pytest.mark.parametrize(("count", "limit"), [(212, 50), (2000, 150)])
def test_filter_and_sort_are_fast(
    open_page: OpenPage, serve: Serve, record_property: Any, count: int, limit: int
) -> None:
    """Milliseconds of processor time for script, style and layout, which do not depend on what else runs."""
    kinds = ("Generative", "Sequence classifier", "Implicit (DPO)")
    rows = []
    for n in range(count):
        value, interval = 0.99 - n / 3000, RankInterval(max(1, n - 9), min(count, n + 9), "items")
        headline, parameters = (value, value - 0.01, value + 0.01), (n % 70 + 1) * 10**9
        kind, name = kinds[n % 3], f"org{n % 40}/llama-{n}-8B"
        rows.append(small_row(n + 1, name, "published", headline, kind=kind, parameters=parameters, interval=interval))
    page = open_page(at=serve(table_page(*rows)))
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
        return 1000 * sum(float(metrics[f"{part}Duration"]) for part in ("Script", "Layout", "RecalcStyle"))

    selectors = {"type": ".rb-query", "sort": 'thead [data-key="score"]', "filter": 'input[value="Generative"]'}
    times = {}
    for act, selector in selectors.items():
        before = used()
        page.evaluate(MEASURE, [selector, act, 8])
        times[act] = (used() - before) / 8
    assert max(times.values()) < limit, times


def test_only_rows_near_the_view_are_laid_out(open_page: OpenPage) -> None:
    """This makes typing and sorting fast on the largest board."""
    page = open_page("?view=subsets")
    laid_out = "(row) => row.checkVisibility({ contentVisibilityAuto: true })"
    heads = page.get_by_role("region", name="Leaderboard table").locator("tbody").get_by_role("rowheader")
    assert heads.count() == NUM_MODELS
    assert heads.first.evaluate(laid_out)
    assert not heads.last.evaluate(laid_out)
    heads.last.scroll_into_view_if_needed()
    expect(heads.last).to_be_in_viewport()
    assert heads.last.evaluate(laid_out)
