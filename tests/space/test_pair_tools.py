"""Around a pair: several models, earlier turns, example sets, what-if, tokens, links, files and code."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from gradio_client import Client
from playwright.sync_api import Locator, Page, expect

from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair.agreement import place_of
from rb_core.space.try_a_pair.available_models import ALWAYS
from rb_core.space.try_a_pair.question import MAX_COMPLETIONS, MAX_EXCHANGES, MAX_LINK, Question, from_link
from rb_core.space.try_a_pair.report import address, curl_code, python_code
from rb_core.space.try_a_pair.what_if import CHANGES
from tests.paths import ROOT
from tests.space.conftest import OpenPage, live_here, score_text

TINY = "builtin/tiny-rm"
PROMPT = "How do I boil an egg?"
ANSWERS = ("Put it into boiling water for eight minutes, then cool it.", "No.")
TURNS = (("I have a pan.", "Good, and water?"),)


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def fill(page: Page, *completions: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    for number, text in enumerate(completions, 1):
        page.get_by_label(f"Completion {number}", exact=True).fill(text)


def score(page: Page) -> Locator:
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.locator("#outcome .rb-outcome")
    result.wait_for(timeout=60_000)
    return result


def test_models_stand_side_by_side(open_page: OpenPage) -> None:
    """Up to three models answer at once; what they disagree on is named, and a fourth is too many."""
    page = open_page(tab="Try a pair")
    fill(page, *ANSWERS)
    for model in ("baseline/longest", "baseline/shortest"):
        page.get_by_role("checkbox", name=model, exact=True).check()
    result = score(page)
    expect(result.get_by_role("table", name="Rank and score of each completion by model")).to_be_visible()
    expect(result).to_contain_text("baseline/longest and baseline/shortest disagree on 1 of 1 pair of completions")
    assert result.locator(".rb-of").all_inner_texts() == [TINY, "baseline/longest", "baseline/shortest"]
    expect(result.get_by_text("ranks differ")).to_have_count(2)
    page.get_by_role("checkbox", name="baseline/random", exact=True).check()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Choose at most 3 models; there are 4")


def test_earlier_turns_are_part_of_what_is_asked(open_page: OpenPage) -> None:
    """An exchange before the prompt is fed to the model; up to four can be added, and taken away again empty."""
    page = open_page(tab="Try a pair")
    fill(page, *ANSWERS)
    page.get_by_role("button", name="System prompt and earlier turns").click()
    add = page.get_by_role("button", name="Add an earlier exchange")
    for number in range(1, MAX_EXCHANGES + 1):
        add.click()
        expect(page.get_by_label(f"Earlier answer {number}")).to_be_visible()
    expect(add).to_be_disabled()
    for number in range(MAX_EXCHANGES, 1, -1):
        page.get_by_role("button", name="Remove the last exchange").click()
        expect(page.get_by_label(f"Earlier answer {number}")).to_be_hidden()
    page.get_by_label("Earlier question 1").fill(TURNS[0][0])
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Earlier exchange 1 lacks its question or its answer")
    page.get_by_label("Earlier answer 1").fill(TURNS[0][1])
    shown = [float(text) for text in score(page).locator(".rb-value").all_inner_texts()]
    outcome = live_here().score(Question((TINY,), PROMPT, ANSWERS, exchanges=TURNS))[0]
    assert shown == sorted((round(c.value or 0.0, 4) for c in outcome.completions), reverse=True)
    assert [c.value for c in outcome.completions] != [c.value for c in score_text(TINY, PROMPT, ANSWERS).completions]


def test_example_sets_come_from_the_starter_benchmark(open_page: OpenPage) -> None:
    """A set fills the form with its first example and says which is chosen; the button goes on to the next."""
    page = open_page(tab="Try a pair")
    another = page.get_by_role("button", name="Next of this set")
    expect(another).to_be_disabled()
    page.get_by_role("combobox", name="Or from a set of the starter benchmark").click()
    page.get_by_role("option", name="chat-multiturn").click()
    note = page.locator("#pair-note")
    expect(note).to_contain_text("1 of 10. Completion 1 is the chosen one.")
    first = page.get_by_label("Prompt", exact=True).input_value()
    another.click()
    expect(note).to_contain_text("2 of 10")
    assert page.get_by_label("Prompt", exact=True).input_value() != first
    expect(score(page).locator(".rb-value")).to_have_count(2)


def test_completions_are_swapped_and_shuffled(open_page: OpenPage) -> None:
    """Swapping exchanges the first two; shuffling keeps every text and leaves hidden boxes empty."""
    page = open_page(tab="Try a pair")
    fill(page, *ANSWERS)
    page.get_by_role("button", name="Swap 1 and 2").click()
    expect(page.get_by_label("Completion 1", exact=True)).to_have_value(ANSWERS[1])
    expect(page.get_by_label("Completion 2", exact=True)).to_have_value(ANSWERS[0])
    for _ in range(MAX_COMPLETIONS - 2):
        page.get_by_role("button", name="Add a completion").click()
    expect(page.get_by_label("Completion 8", exact=True)).to_be_visible()
    texts = [f"text {n}" for n in range(8)]
    fill(page, *texts)
    for _ in range(3):  # one order of 40,320 is the one that was there
        page.get_by_role("button", name="Shuffle").click()
    expect(page.get_by_label("Completion 1", exact=True)).not_to_have_value("")

    def now() -> list[str]:
        return [page.get_by_label(f"Completion {n}", exact=True).input_value() for n in range(1, 9)]

    page.wait_for_timeout(300)
    assert sorted(now()) == texts
    assert now() != texts


def test_pasted_json_fills_the_form(open_page: OpenPage) -> None:
    """A row of a preference file is read; what is no question leaves the form as it is and says why."""
    page = open_page(tab="Try a pair")
    page.get_by_role("button", name="Paste JSON").click()
    box = page.get_by_label("A question as JSON")
    box.fill('{"prompt": "Name a prime.", "chosen": "Seven.", "rejected": ["Nine.", "Eight."]}')
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.get_by_label("Completion 3", exact=True)).to_have_value("Eight.")
    expect(page.get_by_role("status").filter(has_text="Filled in")).to_be_visible()
    box.fill("{prompt: 1}")
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not JSON (line 1, column 2).")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Name a prime.")


def test_a_link_restores_everything(open_page: OpenPage) -> None:
    """The address that the button makes opens a page with the same inputs; what is too long for it is said."""
    page = open_page(tab="Try a pair")
    completions = ("Zwölf Minuten 🥚.", "", "<b>No</b> & “never”")
    page.get_by_role("button", name="Add a completion").click()
    expect(page.get_by_label("Completion 3", exact=True)).to_be_visible()
    fill(page, *completions)
    page.get_by_role("button", name="System prompt and earlier turns").click()
    page.get_by_label("System prompt", exact=True).fill("Be brief.")
    page.get_by_role("button", name="Add an earlier exchange").click()
    page.get_by_label("Earlier question 1").fill(TURNS[0][0])
    page.get_by_label("Earlier answer 1").fill(TURNS[0][1])
    page.get_by_role("checkbox", name="baseline/longest", exact=True).check()
    page.get_by_role("button", name="Copy a link to this").click()
    expect(page.get_by_role("status").filter(has_text="is the address of this page now")).to_be_visible()
    link = urlsplit(page.url)
    expected = Question((TINY, "baseline/longest"), PROMPT, completions, "Be brief.", TURNS)
    assert from_link(parse_qs(link.query)["pair"][0], ALWAYS) == expected
    other = open_page(f"?{link.query}", tab="Try a pair")
    expect(other.get_by_label("Completion 3", exact=True)).to_have_value(completions[2])
    expect(other.get_by_label("Completion 1", exact=True)).to_have_value(completions[0])
    expect(other.get_by_label("Completion 4", exact=True)).to_be_hidden()
    expect(other.get_by_role("checkbox", name="baseline/longest", exact=True)).to_be_checked()
    other.get_by_role("button", name="System prompt and earlier turns").click()
    expect(other.get_by_label("Earlier answer 1")).to_have_value(TURNS[0][1])
    expect(other.get_by_label("System prompt", exact=True)).to_have_value("Be brief.")
    other.get_by_label("Prompt", exact=True).fill("long " * MAX_LINK)
    other.get_by_role("button", name="Copy a link to this").click()
    expect(other.get_by_role("status").filter(has_text="too long for a link")).to_be_visible()


def test_the_outcome_can_be_taken_away(open_page: OpenPage, tmp_path: Path) -> None:
    """The downloaded JSON has question and scores, and can be pasted back; the code asks the same question."""
    page = open_page(tab="Try a pair")
    fill(page, *ANSWERS)
    result = score(page)
    with page.expect_download() as waiting:
        result.get_by_role("link", name="Download as JSON").click()
    file = tmp_path / "pair.json"
    waiting.value.save_as(file)
    found = json.loads(file.read_text(encoding="utf-8"))
    expected = [c.value for c in score_text(TINY, PROMPT, ANSWERS).completions]
    assert found["results"][0]["scores"] == expected
    assert [along[-1][0] for along in found["results"][0]["along"]] == ["<|shut|>"] * 2
    page.get_by_role("button", name="Paste JSON").click()
    page.get_by_label("A question as JSON").fill(file.read_text(encoding="utf-8"))
    page.get_by_role("button", name="Swap 1 and 2").click()
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.get_by_label("Completion 1", exact=True)).to_have_value(ANSWERS[0])
    result = score(page)
    result.get_by_text("The same as code").click()
    expect(result.locator(".rb-code pre").first).to_contain_text(f"Client('http://{urlsplit(page.url).netloc}')")


def test_the_code_runs_as_it_is_shown(url: str) -> None:
    """The program and the shell commands give the page's scores, whatever quotes and marks the texts have."""
    odd = ('It\'s "quoted" $HOME `id` \\n <b>', "Zwölf 🥚\nNo.")
    question = Question((TINY, "baseline/longest"), "What's this?", odd, "Be brief.", TURNS)
    expected = [c.value for c in live_here().score(question)[0].completions]
    python = subprocess.run(
        [sys.executable, "-c", python_code(question, url.rstrip("/"))],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(python.stdout.splitlines()[-1]) == expected
    shell = subprocess.run(
        ["bash", "-c", curl_code(question, url.rstrip("/"))], capture_output=True, text=True, check=True
    )
    data = next(line for line in shell.stdout.splitlines() if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: "))[0]["scores"] == expected


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("https://org-space.hf.space", "https://org-space.hf.space"),
        ("http://127.0.0.1:7861", "http://127.0.0.1:7861"),
        ("https://x';alert(1)//", "http://127.0.0.1:7860"),
        ("null", "http://127.0.0.1:7860"),
        (None, "http://127.0.0.1:7860"),
    ],
)
def test_only_an_address_gets_into_the_code(origin: str | None, said: str) -> None:
    """What the browser says of itself is taken if it is an address, and nothing else."""
    assert address(origin) == said


def test_what_if_shows_how_scores_move(open_page: OpenPage) -> None:
    """One change gives before, after and difference; all five give a table each; the numbers add up."""
    page = open_page(tab="Try a pair")
    fill(page, *ANSWERS)
    page.get_by_role("button", name="Refusal", exact=True).click()
    moved = page.locator(".rb-moved")
    table = moved.get_by_role("table", name=f"Refusal, {TINY}")
    expect(table.get_by_role("row")).to_have_count(3, timeout=60_000)
    cells = [[cell.inner_text() for cell in row.locator("td").all()] for row in table.locator("tbody tr").all()]
    assert cells[0][1] == cells[1][1], "a refusal is the same text for every completion"
    for before, after, change in cells:
        assert float(after) - float(before) == pytest.approx(float(change.strip("▲▼ \n")), abs=2e-4)
    page.get_by_role("button", name="All five").click()
    expect(moved.locator("table")).to_have_count(len(CHANGES))
    page.get_by_label("Prompt", exact=True).fill("")
    page.get_by_role("button", name="Markdown", exact=True).click()
    expect(page.locator("#shifts").get_by_role("alert")).to_contain_text("The prompt is empty")


def test_the_reward_along_the_tokens_ends_in_the_score(open_page: OpenPage) -> None:
    """Line, marked tokens and table say the same; the last value is the score; the box turns it off."""
    page = open_page(tab="Try a pair")
    fill(page, *ANSWERS)
    result = score(page)
    result.get_by_text("The reward along the tokens", exact=True).click()
    along = result.locator(".rb-along")
    along.get_by_text("As a table").first.click()
    rows = along.get_by_role("table", name="Tokens of completion 1").locator("tbody tr")
    outcome = score_text(TINY, PROMPT, ANSWERS)
    assert float(rows.last.locator("td").nth(2).inner_text()) == pytest.approx(outcome.completions[0].value, abs=2e-4)
    tokens = along.locator(".rb-tokens").first.locator("span")
    assert tokens.count() == rows.count()
    expect(along.get_by_role("img", name="Reward along completion 1")).to_be_visible()
    page.get_by_role("checkbox", name="Show the reward along the tokens").uncheck()
    page.get_by_label("Completion 2", exact=True).fill("Never.")
    page.get_by_role("button", name="Score", exact=True).click()
    expect(result).to_contain_text("Never.")
    expect(along).to_have_count(0)


def test_a_margin_is_placed_among_the_models_own(client: Client, tmp_path: Path) -> None:
    """The bundled scores of the built-in model say how large its margin is for it; without them it is not known."""
    source = ResultsFolder(ROOT / "leaderboard_data")
    small, large = score_text(TINY, PROMPT, ["Yes.", "Yes!"]), score_text(TINY, PROMPT, ANSWERS)
    places = [place_of(outcome, source) for outcome in sorted((small, large), key=lambda each: each.margin or 0.0)]
    assert places[0] is not None
    assert places[1] is not None
    assert (places[0].benchmark, places[0].margins) == ("Starter", 162)
    assert 0 <= places[0].share < places[1].share <= 1
    found = client.predict(TINY, PROMPT, list(ANSWERS), api_name="/score")
    value = pytest.approx(100 * places[1].share)
    assert found["percentile"] == {"benchmark": "Starter", "value": value, "margins": 162}
    assert place_of(large, ResultsFolder(tmp_path)) is None


def test_a_live_pair_is_answered_in_half_a_second(client: Client) -> None:
    """Once the model is loaded, question to answer over the endpoint; the best of ten, since others use the cores."""
    client.predict(TINY, PROMPT, list(ANSWERS), api_name="/score")
    took = []
    for number in range(10):
        begin = time.perf_counter()
        client.predict(TINY, f"{PROMPT} {number}", list(ANSWERS), api_name="/score")
        took.append(time.perf_counter() - begin)
    print(f"a live pair on {TINY}: {min(took):.3f} s at best, {median(took):.3f} s in the middle")
    assert min(took) < 0.5


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_no_violation_in_what_is_shown(open_page: OpenPage, width: int, theme: str) -> None:
    """Two models, tokens and their table, code, what-if and a note pass axe-core; nothing is wider than the screen."""
    page = open_page("?q=tiny", tab="Try a pair", theme=theme, width=width)  # little in what is hidden
    fill(page, *ANSWERS)
    page.get_by_role("checkbox", name="baseline/longest", exact=True).check()
    result = score(page)
    for name in ("The reward along the tokens", "As a table", "The same as code", "The text the model was fed"):
        result.get_by_text(name, exact=True).first.click()
    page.get_by_role("button", name="System prompt and earlier turns").click()
    page.get_by_role("button", name="Add an earlier exchange").click()
    page.get_by_label("Earlier question 1").fill("Hi")
    page.get_by_label("Earlier answer 1").fill("Hello.")
    page.get_by_role("button", name="Copy a link to this").click()
    expect(page.locator(".rb-told")).to_be_visible()
    page.get_by_role("button", name="Doubled length").click()
    expect(page.locator(".rb-moved")).to_be_visible(timeout=30_000)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
