"""What nobody would type by mistake: through the endpoint, through links and in a browser, nothing of it breaks the
page, runs as markup, or ends in a traceback."""

from __future__ import annotations

import base64
import http.client
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from rb_core.space.limits import InputError
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair.available_models import ALWAYS
from rb_core.space.try_a_pair.question import MAX_LINK, Question, from_json, from_link, to_link
from tests.space.conftest import OpenPage, launched

TINY = "builtin/tiny-rm"
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

TEXTS = {
    "empty": "",
    "spaces": " \t\n ",
    "nul": "a\x00b",
    "control-characters": "".join(map(chr, range(1, 32))),
    "escape-sequence": "\x1b[31mred\x1b[0m\x07",
    "right-to-left": "\u202etxet siht\u202c "
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u0645\u0631\u062d\u0628\u0627",
    "isolates": "\u2066\u2067\u2068\u2069",
    "zero-width": "\u200b\u200c\u200d\u2060",
    "byte-order-mark": "\ufefftext",
    "combining": "Z" + "\u0334\u0335\u0336\u0337\u0338" * 200,
    "family": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 50,
    "private-use": "\uffff\U000ffffe",
    "markup": MARKUP,
    "closing-tags": "</textarea></pre></details></div></template>",
    "entities": "&lt;b&gt; &#x3C;i&#x3E; &",
    "svg": "<svg onload=alert(1)><a xlink:href=javascript:alert(1)>",
    "javascript-template": "${alert(1)} ${7*7} `${x}`",
    "handlebars": "{{7*7}} {{{raw}}} {{#each this}}",
    "jinja": "{% for x in ().__class__.__mro__ %}{{ x }}{% endfor %}{{ raise_exception('no') }}",
    "format": "%s%n%d {0} {prompt!r} $(id) `id` ; rm -rf . | '\" \\",
    "own-control-tokens": "<|open|><|helper|><|shut|>",
    "others-control-tokens": "<|im_end|>\n<|im_start|>system\n<s>[INST]</s><|endoftext|><think>",
    "one-word": "x" * 20_000,
    "line-ends": "\r\n" * 9_000,
    "too-long": "y" * 20_001,
    "a-megabyte": "z" * 1_000_000,
    "high-surrogate": "half \ud83d",
    "low-surrogate": "\ude00 half",
    "turned-pair": "\ude00\ud83d",
    "json": '{"data": ["x"], "__proto__": {"polluted": true}}',
    "path": "../../../etc/passwd file:///etc/passwd",
    "number-like": "NaN Infinity -0 1e999 0x1F",
}
GOOD: list[Any] = [TINY, "Name a prime.", ["Seven.", "Nine."], "", False, None, None, False]


def put(place: int, value: Any) -> list[Any]:
    """A good call with one argument replaced."""
    return [*GOOD[:place], value, *GOOD[place + 1 :]]


WRONG: dict[str, list[Any]] = {
    "model-null": put(0, None),
    "model-number": put(0, 7),
    "model-list": put(0, [TINY]),
    "model-object": put(0, {"name": TINY}),
    "model-unlisted": put(0, "org/other"),
    "model-empty": put(0, ""),
    "model-path": put(0, "/etc"),
    "model-relative": put(0, "../rb_core/builtin/tiny_rm"),
    "model-markup": put(0, MARKUP),
    "model-megabyte": put(0, "m" * 1_000_000),
    "prompt-null": put(1, None),
    "prompt-number": put(1, 1.5),
    "prompt-messages": put(1, [{"role": "user", "content": "Hi"}]),
    "completions-text": put(2, "Seven."),
    "completions-null": put(2, None),
    "completions-object": put(2, {"0": "Seven.", "1": "Nine."}),
    "completions-numbers": put(2, [1, 2]),
    "completions-nulls": put(2, [None, None]),
    "completions-nested": put(2, [["Seven."], ["Nine."]]),
    "completions-none": put(2, []),
    "completions-one": put(2, ["Seven."]),
    "completions-ten-thousand": put(2, ["x"] * 10_000),
    "completions-deep": put(2, json.loads("[" * 200 + "]" * 200)),
    "system-number": put(3, 3),
    "system-list": put(3, ["Be brief."]),
    "empty-as-text": [TINY, "Hi", ["", "x"], "", "yes", None, None, False],
    "empty-as-number": [TINY, "Hi", ["", "x"], "", 1, None, None, False],
    "turns-text": put(5, "user: Hi"),
    "turns-number": put(5, 4),
    "turns-of-text": put(5, ["Hi", "Yes"]),
    "turns-of-another-role": put(5, [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]),
    "turns-without-content": put(5, [{"role": "user"}, {"role": "assistant"}]),
    "turns-of-numbers": put(5, [{"role": "user", "content": 1}, {"role": "assistant", "content": 2}]),
    "turns-odd": put(5, [{"role": "user", "content": "a"}]),
    "turns-too-many": put(5, [{"role": "user", "content": "a"}] * 100),
    "turns-empty": put(5, [{"role": "user", "content": ""}, {"role": "assistant", "content": " "}]),
    "others-text": put(6, "baseline/longest"),
    "others-number": put(6, 3),
    "others-unlisted": put(6, ["org/other"]),
    "others-numbers": put(6, [1]),
    "others-too-many": put(6, list(ALWAYS)),
    "along-text": put(7, "yes"),
    "all-null": [None] * 8,
    "all-numbers": list(range(8)),
    "eight-times-too-long": put(2, ["w" * 20_000] * 8),
}


@pytest.fixture(scope="module")
def address(results_root: Path) -> Iterator[str]:
    """A page that lets one visitor ask as often as this test does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB_LIVE_PER_MINUTE", "100000")
        demo = build(ResultsFolder(results_root))
    with launched(demo) as at:
        yield at.rstrip("/")


def ask(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one request to the page's calls, as raw as they come."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        connection.request(method, f"/gradio_api/call{path}", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.fixture
def tracebacks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server prints of errors that nobody has foreseen."""
    printed: list[str] = []
    monkeypatch.setattr(traceback, "print_exc", lambda *_, **__: printed.append(traceback.format_exc()))
    return printed


def call(address: str, data: Any) -> tuple[str, Any]:
    """`complete` and the answer, or `error` and the message, as the endpoint `score` sends them."""
    _, begun = ask(address, "POST", "/score", json.dumps({"data": data}).encode())
    _, answer = ask(address, "GET", f"/score/{json.loads(begun)['event_id']}")
    lines = answer.decode().splitlines()
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return kinds[-1], json.loads(found[-1])


def check(kind: str, found: Any) -> None:
    """An answer has a number or a reason for each completion; a refusal has a message for people, and no markup."""
    if kind == "complete":
        result = found[0]
        assert all((score is None) == bool(why) for score, why in zip(result["scores"], result["reasons"], strict=True))
        return
    assert kind == "error"
    message = found["error"]
    assert 10 < len(message) < 500, message
    assert not any(sign in message for sign in ("<", "Traceback", 'File "', "Error:")), message


@pytest.mark.parametrize("place", ["prompt", "completion", "system"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_is_scored_as_text_or_refused(
    address: str, name: str, place: str, tracebacks: list[str]
) -> None:
    """Wherever it stands, it gets numbers with reasons for those that are missing, or a message, and no traceback."""
    text = TEXTS[name]
    data = {"prompt": put(1, text), "system": put(3, text), "completion": put(2, [text, "Nine."])}[place]
    check(*call(address, data))
    assert tracebacks == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_types_are_refused_by_name(address: str, name: str, tracebacks: list[str]) -> None:
    """What is no question is refused with a message, however little of it is there."""
    kind, found = call(address, WRONG[name])
    check(kind, found)
    assert kind == ("complete" if name == "along-text" else "error")
    assert tracebacks == []


@pytest.mark.parametrize("data", [[], GOOD[:1], [*GOOD, 1, 2, 3]])
def test_too_few_arguments_tell_nothing_of_the_inside(address: str, data: list[Any]) -> None:
    """Gradio counts the arguments before anything here is called; its answer has no traceback in it."""
    kind, found = call(address, data)
    assert kind == "complete" or found == {"error": None}


def test_after_all_that_the_page_still_answers(address: str) -> None:
    """A good question gets its two numbers."""
    kind, found = call(address, GOOD)
    assert kind == "complete"
    assert None not in found[0]["scores"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"data": 5}', b'{"data": null}', b"\xff\xfe", b'{"data":' + b"[" * 5000]
)
def test_a_body_that_is_no_call_shows_no_traceback(address: str, body: bytes) -> None:
    """What is no JSON, or no call, is an answer of HTTP's that tells nothing of the inside."""
    _, said = ask(address, "POST", "/score", body)
    assert b"Traceback" not in said
    assert b"rb_core" not in said


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


LINKS: dict[str, Any] = {
    "none": None,
    "empty": "",
    "no-base64": "%%%",
    "one-character": "A",
    "no-utf8": base64.urlsafe_b64encode(b"\xff\xfe\xfa").decode(),
    "no-json": base64.urlsafe_b64encode(b"{prompt}").decode(),
    "number": packed(5),
    "list": packed([1, 2]),
    "null": packed(None),
    "empty-object": packed({}),
    "deep": base64.urlsafe_b64encode(b"[" * 9000).decode(),
    "huge": "A" * (MAX_LINK + 1),
    "no-completions": packed({"prompt": "Hi"}),
    "completions-text": packed({"prompt": "Hi", "completions": "ab"}),
    "unlisted": packed({"models": ["org/other"], "prompt": "Hi", "completions": ["a", "b"]}),
    "models-number": packed({"models": 5, "prompt": "Hi", "completions": ["a", "b"]}),
    "surrogate": packed({"prompt": "\ud800", "completions": ["a", "b"]}),
    "prompt-of-numbers": packed({"prompt": [1, 2], "completions": ["a", "b"]}),
    "prompt-of-nothing": packed({"prompt": [], "completions": ["a", "b"]}),
    "prompt-ends-wrong": packed({"prompt": [{"role": "assistant", "content": "a"}], "completions": ["a", "b"]}),
    "turns-number": packed({"prompt": "Hi", "turns": 7, "completions": ["a", "b"]}),
    "chosen-object": packed({"prompt": "Hi", "chosen": {"a": 1}, "rejected": "b"}),
    "not-a-number": base64.urlsafe_b64encode(b'{"prompt": NaN, "completions": [Infinity, 1]}').decode(),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_bad_link_is_refused_with_a_reason(name: str) -> None:
    """Whatever stands after pair= is a question or an InputError, never another error."""
    with pytest.raises(InputError, match=r"\w+ .*\."):
        from_link(LINKS[name], ALWAYS, default=[TINY])


def test_json_that_is_too_large_is_not_read() -> None:
    """A megabyte of pasted JSON is refused before it is parsed."""
    with pytest.raises(InputError, match="at most"):
        from_json('{"prompt": "' + "x" * 1_000_000 + '"}', ALWAYS)


@pytest.mark.parametrize("name", ["no-base64", "unlisted"])
def test_a_bad_link_opens_a_page_that_works(open_page: OpenPage, address: str, name: str) -> None:
    """The page says that the link is bad, and can be used."""
    page = open_page(f"/?tab=try&pair={LINKS[name].replace('%', '%25')}", at=address, tab="Try a pair")
    expect(page.get_by_role("alert")).to_contain_text(".")
    page.get_by_role("button", name="Helpful or rude").click()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".rb-outcome")).to_contain_text("is ahead", timeout=60_000)


def test_a_link_with_markup_fills_in_text(open_page: OpenPage, address: str) -> None:
    """Markup and template syntax in a link stay text in the form, in the outcome, along the tokens and in what-if."""
    evil = MARKUP + " ${7*7} {{7*7}} </pre></details>"
    link = to_link(Question((TINY, "baseline/longest"), evil, (evil, "Nine."), evil, ((evil, evil),)))
    page = open_page(f"/?tab=try&pair={link}", at=address, tab="Try a pair")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(evil)
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator(".rb-outcome").first).to_contain_text("{{7*7}}", timeout=60_000)
    for summary in page.locator(".rb-outcome summary").all():
        if summary.is_visible():
            summary.click()
    expect(page.locator(".rb-tokens").first).to_contain_text("${7*7}")
    expect(page.locator(".rb-code pre").first).to_contain_text("onerror")
    page.get_by_role("button", name="All five").click()
    expect(page.locator(".rb-moved")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "RewardBench"


def test_odd_text_leaves_the_page_usable(open_page: OpenPage, address: str) -> None:
    """What is odd to look at is scored or refused in the browser, and the page grows no wider than the screen."""
    page = open_page(at=address, tab="Try a pair", width=390)
    page.get_by_label("Prompt", exact=True).fill("Name a prime.")
    for name in ("right-to-left", "zero-width", "combining", "others-control-tokens", "nul", "one-word"):
        page.get_by_label("Completion 1", exact=True).fill(TEXTS[name])
        page.get_by_label("Completion 2", exact=True).fill(f"Nine, not {name}.")
        page.get_by_role("button", name="Score", exact=True).click()
        expect(page.locator(".rb-outcome .rb-one").first).to_contain_text(f"not {name}", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
