"""The section *Score a file* in a browser."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from rb_core.evaluation.score_writers import json_text, score_rows
from rb_core.space.html import minus
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair.result import ScoredFile
from rb_core.space.try_a_pair.uploaded_file import COMMAND, MAX_ROWS, read_uploaded_file
from tests.paths import BUNDLED
from tests.space.conftest import Looks, OpenPage, Serve, assert_accessible, in_each_look
from tests.space.try_a_pair.conftest import MARKUP, PROMPT, TINY, bundled_models, uploaded

TAB = "Try a pair"
EVIL = MARKUP + " ${7*7} {{7*7}} `${alert(1)}` </textarea>\"'"
ROWS: Sequence[dict[str, Any]] = (
    {"id": 2**60 + 1, "prompt": PROMPT, "completions": ["=HYPERLINK(1)", "Eight minutes.\n", "=HYPERLINK(1)"]},
    {"id": None, "-x": [1.5, "ü"], "prompt": EVIL, "completions": [EVIL]},
    {"id": -3, "prompt": "Name a prime.", "completions": ["word " * 3900]},
)


def as_lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def open_section(page: Page) -> None:
    page.get_by_role("button", name="Score a file").press("Enter")
    expect(page.get_by_label("File", exact=True)).to_be_visible()


def score_file(page: Page, name: str, text: str) -> Locator:
    """Choose a file, press the button, and wait until there are scores or a message."""
    shown = page.locator("#file-scores").locator(".rb-file-scores, .rb-message")
    page.get_by_label("File", exact=True).set_input_files({"name": name, "mimeType": "", "buffer": text.encode()})
    page.get_by_role("button", name="Score the file").press("Enter")
    shown.wait_for()
    return shown


@in_each_look
def test_a_file_is_scored_and_downloaded_as_score_writes_it(open_page: OpenPage, looks: Looks, tmp_path: Path) -> None:
    """By keyboard, apart from the choice of the file. Markup and template syntax stay text, formulas become text."""
    text = as_lines(ROWS)
    *_, scored = bundled_models().score_rows(TINY, read_uploaded_file(uploaded("a.jsonl", text)))
    assert isinstance(scored, ScoredFile)
    expected = list(score_rows(scored.prompts, ResultsFolder(BUNDLED).percentiles(scored.model)))

    page = open_page("?q=tiny", tab=TAB)
    open_section(page)
    expect(page.get_by_text(COMMAND)).to_be_visible()
    result = score_file(page, "pairs.jsonl", text)
    expect(page.locator("#file-status").get_by_role("status")).to_have_text("Scoring is done.")
    expect(result.get_by_role("heading", name="3 rows, 5 completions scored by builtin/tiny-rm")).to_be_visible()
    expect(result).to_contain_text("4 scored, 1 unscored, 0 truncated.")
    expect(result).to_contain_text("of the scores of the chosen answers of Starter.")
    rows = result.get_by_role("table", name="All rows").locator("tbody tr")
    expect(rows).to_have_count(len(ROWS))
    expect(rows.nth(1)).to_contain_text("${7*7} {{7*7}} `${alert(1)}` </textarea>\"'")
    expect(rows.nth(2)).to_contain_text("not scored: completion alone exceeds the maximum length")
    best = max(row["score"] for row in expected[:3])
    expect(rows.nth(0).locator(".rb-value")).to_have_text(minus(f"{best:.4f}"))

    saved = {}
    for label in ("CSV", "JSON lines"):
        with page.expect_download() as download:
            result.get_by_role("button", name=f"Download {label}").press("Enter")
        download.value.save_as(tmp_path / download.value.suggested_filename)
        saved[label] = (tmp_path / download.value.suggested_filename).read_bytes().decode()
    expect(result.get_by_role("status")).to_have_text("5 completions saved as scores.jsonl")
    assert saved["JSON lines"].splitlines() == [json_text(row) for row in expected]
    header, *cells = csv.reader(io.StringIO(saved["CSV"], newline=""))
    assert header[:4] == ["id", "prompt", "'-x", "row"]
    assert [row[0] for row in cells] == [str(2**60 + 1)] * 3 + ["", "-3"]
    assert [row[header.index("completion")] for row in cells][:3] == [
        "'=HYPERLINK(1)",
        "Eight minutes.\n",
        "'=HYPERLINK(1)",
    ]
    assert [row[2] for row in cells] == ["", "", "", '[1.5, "ü"]', ""]
    assert [float(row[header.index("score")]) for row in cells[:4]] == [row["score"] for row in expected[:4]]
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "Try a pair · RewardBench"
    assert_accessible(page, looks)


def test_a_file_that_cannot_be_scored_is_refused_and_the_pair_form_goes_on(open_page: OpenPage) -> None:
    page = open_page("?q=tiny", tab=TAB)
    expect(page.get_by_label("File", exact=True)).to_be_hidden()
    open_section(page)
    page.get_by_role("button", name="Score the file").click()
    alert = page.locator("#file-scores").get_by_role("alert")
    expect(alert).to_have_text("No file is chosen. Choose one first.")
    row = as_lines([{"question": PROMPT, "answer": "Eight minutes."}])
    for name, text, message in (
        ("a.jsonl", row * (MAX_ROWS + 1), f"a.jsonl: has more than 200 rows. Score it on your own machine: {COMMAND}"),
        ("a.jsonl", "x" * 1_000_001, "a.jsonl: has 1,000,001 bytes; at most 1,000,000 are scored here."),
        ("a.csv", "prompt,chosen\nx\n", "a.csv:2: the row that ends in line 2 has not 2 cells like the header"),
        ("b.jsonl", row + '{"q": 1}\n', "b.jsonl:2: has no completion; it has 'q'"),
    ):
        score_file(page, name, text)
        expect(alert).to_contain_text(message)
    page.get_by_label("Columns (optional)").fill("prompt=q,completion=a")
    page.get_by_role("radio", name="baseline/longest").check()
    score_file(page, "b.jsonl", '{"q": "x", "a": "y"}\n')
    expect(page.get_by_role("heading", name="1 row, 1 completion scored by baseline/longest")).to_be_visible()
    page.get_by_role("button", name="A tie").click()
    expect(page.get_by_label("Completion 2", exact=True)).to_have_value("The Danube.")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".rb-outcome")).to_contain_text("A tie between completions 1 and 2")


def send_file(http: httpx.Client, session: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Send a file as the page does, and yield the lines of its answer."""
    handlers = http.get("config").json()["dependencies"]
    (number,) = (each["id"] for each in handlers if each["api_name"] == "score_file_of_page")
    event = {"data": [TINY, "", uploaded("a.jsonl", as_lines(rows))], "fn_index": number, "session_hash": session}
    http.post("gradio_api/queue/join", json=event)
    with http.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as answer:
        yield from filter(None, answer.iter_lines())


def test_a_file_whose_visitor_leaves_makes_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
) -> None:
    monkeypatch.setenv("RB_LIVE_FILES", "1")
    long = [{"prompt": str(number), "completions": ["word " * 300] * 2} for number in range(150)]
    with httpx.Client(base_url=serve(build(ResultsFolder(tmp_path))), timeout=60) as http:
        leaving = send_file(http, "leaving", long)
        next(line for line in leaving if "completions are scored" in line)
        assert any("1 request is being served or waiting" in line for line in send_file(http, "second", ROWS[:1]))
        leaving.close()
        for attempt in range(100):
            if any("3 completions scored by" in line for line in send_file(http, f"later{attempt}", ROWS[:1])):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the file of the visitor who left still takes the place")
