"""From a visitor's model to the board: sign-in, request, worker, result."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from playwright.sync_api import Browser, expect

from rb_core.errors import RewardBenchError
from rb_core.evaluation_queue.checks import RequestLimits
from rb_core.evaluation_queue.evaluations import LocalEvaluation
from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.evaluation_queue.request import EvaluationRequest
from rb_core.evaluation_queue.worker import Hold, Worker
from rb_core.hub.repository import ResultsRepo
from rb_core.space.add.requests import RequestDesk
from rb_core.space.hub_results import HubResults
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server, use_hub
from tests.fakes.hub_server import serve as serve_hub
from tests.fakes.requests import REQUESTS, REQUESTS_KEY, make_request, model_files, request_files, requests_in
from tests.fakes.result_sets import KEY, REPO, as_files, published, write_set
from tests.space.conftest import TWO_LOOKS, OpenPage, Serve, assert_accessible

TOKEN = "hf_" + "w" * 34


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RB_HUB_TIMEOUT", "2")
    monkeypatch.setattr("rb_core.retries.FIRST_WAIT", 0.01)
    with serve_hub(tokens={TOKEN: "write"}) as hub:
        use_hub(hub.url, tmp_path / "cache", monkeypatch)
        hub.add_repo(REQUESTS_KEY)
        hub.add_repo(KEY, as_files(published("a/one", 0.8)))
        hub.add_repo("models/org/mine", model_files())
        settings = {"HF_TOKEN": TOKEN, "RB_REQUESTS_REPO": REQUESTS, "RB_RESULTS_REPO": REPO}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield hub


class Published(LocalEvaluation):
    """An evaluation that finds a result without a model; `test_evaluations` has a real one."""

    def evaluate(self, request: EvaluationRequest, hold: Hold) -> None:
        write_set(self.work / request.id, published(request.model, 0.9))


def source(server: Server, tmp_path: Path) -> HubResults:
    shown = HubResults(ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN)), ResultsFolder(tmp_path / "none"))
    shown.check()
    return shown


@pytest.fixture
def signing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The settings of a Space with `hf_oauth: true`, whose provider is a stand-in."""
    pytest.importorskip("authlib")
    pytest.importorskip("itsdangerous")
    from tests.fakes.oauth_provider import CLIENT, SECRET, provide

    with provide() as provider:
        settings = {"OAUTH_CLIENT_ID": CLIENT, "OAUTH_CLIENT_SECRET": SECRET, "OAUTH_SCOPES": "openid profile"}
        for name, value in (settings | {"OPENID_PROVIDER_URL": provider.url}).items():
            monkeypatch.setenv(name, value)
            monkeypatch.setattr(f"gradio.oauth.{name}", value)
        monkeypatch.setattr("gradio.oauth.get_space", lambda: "org/space")
        yield provider


def test_a_visitor_signs_in_and_their_model_comes_to_the_board(
    server: Server,
    signing_in: object,
    tmp_path: Path,
    browser: Browser,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = source(server, tmp_path)
    address = serve(build(shown))
    page = browser.new_page(reduced_motion="reduce")  # for `open_page` a request that sign-in cuts is an error
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}?tab=add")
    page.get_by_label("Model on the hub").fill("org/mine")
    page.get_by_role("button", name="Request the evaluation").click()
    answer, queue = page.locator("#request-answer"), page.get_by_label("Queue of requests")
    expect(answer).to_contain_text("Sign in first")
    page.get_by_role("button", name="Sign in with Hugging Face").click()
    page.get_by_role("link", name="Authorize").click()
    expect(page.get_by_role("button", name="Logout (visitor)")).to_be_visible()

    page.get_by_label("Model on the hub").fill("org/none")
    page.get_by_role("button", name="Request the evaluation").click()
    expect(answer).to_contain_text("there is no model org/none on the hub")
    page.get_by_label("Model on the hub").fill("org/mine")
    page.get_by_role("button", name="Request the evaluation").click()
    expect(answer).to_contain_text("org/mine on rewardbench is waiting, with 1 vote.")
    expect(queue).to_contain_text("org/mine")
    (request,) = requests_in(server.repo(REQUESTS_KEY).files()).values()
    assert request.votes == ("visitor",)
    assert_accessible(page, TWO_LOOKS, "#requests")

    api = HfApi(endpoint=server.url, token=TOKEN)
    evaluation = Published(ResultsRepo(REPO, api), tmp_path / "work", RequestLimits())
    settled = Worker(RequestsRepo(REQUESTS, api), "one", evaluation).run_one()
    assert settled is not None
    assert settled.state == "done"
    shown.check()
    page.goto(address)
    expect(page.locator(".rb-scroll tbody tr").first).to_contain_text("mine")
    page.close()
    assert errors == []

    tokens = signing_in.tokens  # type: ignore[attr-defined]
    assert len(tokens) == 1
    stored = b"".join(b"".join(server.repo(key).files().values()) for key in (REQUESTS_KEY, KEY))
    assert tokens[0].encode() not in stored
    assert tokens[0] not in caplog.text


@pytest.mark.soak
def test_without_sign_in_the_check_shows_the_command(
    server: Server, tmp_path: Path, open_page: OpenPage, serve: Serve
) -> None:
    page = open_page("?tab=add", at=serve(build(source(server, tmp_path))))
    expect(page.get_by_role("button", name="Sign in")).to_have_count(0)
    expect(page.get_by_role("button", name="Request the evaluation")).to_have_count(0)
    page.get_by_label("Model on the hub").fill("org/mine")
    page.get_by_label("Further options, as JSON").fill('{"dtype": "float32"}')
    page.get_by_role("button", name="Check the model").click()
    expect(page.get_by_label("Command that requests it")).to_contain_text(
        f"rb_core request --requests {REQUESTS} --results {REPO} --model org/mine --benchmark rewardbench"
    )
    expect(page.get_by_label("Command that requests it")).to_contain_text("--dtype float32")
    page.get_by_label("Further options, as JSON").fill('{"url": "http://127.0.0.1"}')
    page.get_by_role("button", name="Check the model").click()
    expect(page.locator("#request-answer")).to_contain_text("a request cannot have 'url'")


def test_the_queue_shows_what_there_is_and_survives_the_hub(server: Server) -> None:
    server.commit(REQUESTS_KEY, request_files(make_request(), make_request(1)) | {"requests/<b>.json": b"{"})
    desk = RequestDesk.from_environment()
    assert desk is not None
    html = desk.queue_html()
    assert html.count('<th scope="row">') == 2
    assert "1 file of the repository is no request" in html
    desk._read = -1e9
    server.fail(Fault("503", times=100))
    assert desk.queue_html() == html


def test_a_mistake_of_the_host_is_found_at_the_start(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RB_REQUEST_PER_DAY", "many")
    with pytest.raises(RewardBenchError, match="RB_REQUEST_PER_DAY is 'many'"):
        RequestDesk.from_environment()
    monkeypatch.delenv("RB_RESULTS_REPO")
    with pytest.raises(RewardBenchError, match="needs RB_RESULTS_REPO"):
        RequestDesk.from_environment()
    monkeypatch.delenv("RB_REQUESTS_REPO")
    assert RequestDesk.from_environment() is None
