"""Requests from the page: check a model, file its request in the visitor's name, and show the queue."""

from __future__ import annotations

import json
import logging
import os
import shlex
import threading
import time
from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import RewardBenchError
from rb_core.evaluation_queue.checks import RequestLimits, RequestRefused, add_request, check_request
from rb_core.evaluation_queue.repository import Queue, RequestsRepo
from rb_core.evaluation_queue.request import EvaluationRequest, parse_request_options
from rb_core.hub.repository import ResultsRepo
from rb_core.models.options import CONVERSATION_KINDS, ModelOptions, command_line_options
from rb_core.space.html import is_web_address, message_html, notice_html, render
from rb_core.space.limits import RateLimiter

log = logging.getLogger(__name__)

QUEUE_AGE = 20.0  # seconds for which the queue is not read again
CHECKS_PER_MINUTE = 10
MAX_SHOWN = 100  # requests of the queue
MAX_TEXT = 2000  # characters of the options
DECLARED = "as the checkpoint declares"
FIELDS = ("model", "revision", "kind", "benchmark", "options")
NOBODY = "visitor"  # of a check, which files nothing
EVENT: dict[str, Any] = {"concurrency_limit": 4, "show_progress": "minimal", "api_visibility": "private"}


def signs_in() -> bool:
    """Return True on a Space whose settings let visitors sign in (`hf_oauth: true`)."""
    return bool(os.environ.get("OAUTH_CLIENT_ID"))


class RequestDesk:
    """The requests repository in RB_REQUESTS_REPO, as the page uses it. Commits are made with the host's token."""

    def __init__(self, repo: RequestsRepo, results: ResultsRepo, limits: RequestLimits) -> None:
        self.repo, self.results, self._limits = repo, results, limits
        self._rate = RateLimiter(CHECKS_PER_MINUTE)
        self._lock = threading.Lock()
        self._queue: Queue | None = None
        self._read = -QUEUE_AGE

    @classmethod
    def from_environment(cls) -> RequestDesk | None:
        """Return the desk of RB_REQUESTS_REPO, None without it. Raises RewardBenchError for a mistake in a variable."""
        name, results = os.environ.get("RB_REQUESTS_REPO"), os.environ.get("RB_RESULTS_REPO")
        if not name:
            return None
        if not results:
            raise RewardBenchError("RB_REQUESTS_REPO needs RB_RESULTS_REPO, the repository that results go to")
        return cls(RequestsRepo(name), ResultsRepo(results), RequestLimits.from_environment())

    def check(self, fields: Mapping[str, str], user: str) -> EvaluationRequest:
        """Return the request that a form asks for. Raises RewardBenchError with the reason why not."""
        return check_request(
            fields["model"].strip(), fields["benchmark"], _options(fields), user, self.results, self._limits
        )

    def file(self, request: EvaluationRequest) -> EvaluationRequest:
        """File a checked request, or the vote for one that waits. Raises RewardBenchError."""
        try:
            return add_request(self.repo, request, self._limits)
        finally:
            self._read = -QUEUE_AGE  # a visitor sees their own request

    def count(self, request: gr.Request) -> None:
        """Count a visitor's check. Raises InputError if there were too many in the last minute."""
        self._rate.count(request.session_hash, request.client.host if request.client else None)

    def queue_html(self) -> Markup:
        """Return the queue as a table; the last one that was read while the hub does not answer."""
        # One visitor reads; the others see what was read before.
        if time.monotonic() - self._read >= QUEUE_AGE and self._lock.acquire(blocking=False):
            try:
                self._queue = self.repo.queue()
            except RewardBenchError as error:
                log.warning("%s", error)
            finally:
                self._read = time.monotonic()
                self._lock.release()
        queue = self._queue
        if queue is None:
            return notice_html("The queue cannot be read now.")
        requests, address = queue.ordered(), f"{self.repo.api.endpoint}/datasets/{self.repo.name}/blob/main/"
        return render(
            "add/queue.html",
            requests=requests[:MAX_SHOWN],
            more=len(requests) - MAX_SHOWN,
            address=address,
            titles={spec.id: spec.title for spec in BENCHMARKS.values()},
            refused=len(queue.refused),
            link=lambda text: text if is_web_address(text) else None,
        )


def build_requests(page: gr.Blocks, desk: RequestDesk) -> None:
    """Lay out the form and the queue. Only the visitor's user name is used, never their token."""
    with gr.Column(elem_id="requests"):
        gr.HTML(render("add/requests.html", repo=desk.repo.name, oauth=signs_in()), apply_default_css=False)
        if signs_in():
            gr.LoginButton(size="md", icon=None, elem_id="sign-in")  # the page serves no files of gradio
        fields = _form()
        with gr.Row():
            check = gr.Button("Check the model")
            file = gr.Button("Request the evaluation", variant="primary", visible=signs_in())
        answer = gr.HTML(elem_id="request-answer", apply_default_css=False)
        queue = gr.HTML(value=desk.queue_html, elem_id="request-queue", apply_default_css=False)

    def check_form(model: str, revision: str, kind: str, benchmark: str, options: str, request: gr.Request) -> str:
        """Return what the check says."""
        return _answered(
            desk, dict(zip(FIELDS, (model, revision, kind, benchmark, options), strict=True)), None, request
        )

    def file_form(
        model: str, revision: str, kind: str, benchmark: str, options: str,
        profile: gr.OAuthProfile | None, request: gr.Request,
    ) -> tuple[str, str]:  # fmt: skip
        """File a request, and return what became of it, and the queue."""
        typed = dict(zip(FIELDS, (model, revision, kind, benchmark, options), strict=True))
        return _answered(desk, typed, profile.username if profile else "", request), desk.queue_html()

    check.click(check_form, fields, answer, **EVENT)
    if signs_in():
        file.click(file_form, fields, [answer, queue], **EVENT)


def _form() -> list[gr.components.Component]:
    """Lay out the fields of a request, in the order of FIELDS."""
    titles = [(spec.title, spec.id) for spec in BENCHMARKS.values()]
    with gr.Row():
        model = gr.Textbox(label="Model on the hub", placeholder="ORG/NAME", max_length=200)
        revision = gr.Textbox(label="Revision", placeholder="main", max_length=100)
        kind = gr.Dropdown([DECLARED, *CONVERSATION_KINDS], value=DECLARED, label="Kind of the requested model")
        benchmark = gr.Dropdown(titles, value=titles[0][1], label="Requested benchmark")
    example = '{"reference": "ORG/REFERENCE"}'
    options = gr.Textbox(label="Further options, as JSON", placeholder=example, max_length=MAX_TEXT)
    return [model, revision, kind, benchmark, options]


def _answered(desk: RequestDesk, fields: Mapping[str, str], user: str | None, request: gr.Request) -> Markup:
    """Return the answer to a check, or to a request of a user ("": not signed in), as HTML."""
    if user == "":
        return message_html("Sign in first: a request is made in your name.")
    try:
        desk.count(request)
        checked = desk.check(fields, user or NOBODY)
        filed = None if user is None else desk.file(checked)
    except RewardBenchError as error:
        return message_html(str(error))
    return render("add/answer.html", request=filed or checked, filed=filed is not None, command=_command(desk, checked))


def _options(fields: Mapping[str, str]) -> ModelOptions:
    """Return the model's options in a form. Raises RequestRefused for options that are not JSON, or not a request's."""
    try:
        options = json.loads(fields["options"][:MAX_TEXT] or "{}")
        if not isinstance(options, dict):
            raise ValueError("options: expected a JSON object")
        if fields["kind"] != DECLARED:
            options["kind"] = fields["kind"]
        return parse_request_options(options, fields["revision"].strip() or None)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(str(error)) from None


def _command(desk: RequestDesk, request: EvaluationRequest) -> str:
    """Return the command that files the same request with the reader's own token."""
    options = command_line_options(request.model_options())
    arguments = ["--requests", desk.repo.name, "--results", desk.results.name, "--model", request.model]
    return shlex.join(["python", "-m", "rb_core", "request", *arguments, "--benchmark", request.benchmark, *options])
