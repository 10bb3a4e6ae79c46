"""Judges behind a server: any with OpenAI's chat completions, or an inference provider of the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rb_core.errors import ModelError
from rb_core.scorers.http.client import HttpClient
from rb_core.scorers.http.refusals import Refusal
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.http.session import Answer, Endpoint
from rb_core.scorers.judge import chat_completions
from rb_core.scorers.judge.budget import Budget, BudgetLimits
from rb_core.scorers.judge.refusals import classify_judge_refusal, needed_changes
from rb_core.scorers.judge.types import TOO_LONG, Decoding, Request

KEY_VARIABLE = "RB_JUDGE_API_KEY"


class ServedGenerator(HttpClient[Request]):
    """Replies of a server, which receives up to `concurrency` requests at a time.

    Args:
        base_url: address of an OpenAI-compatible server, as http://127.0.0.1:8000/v1. Its key is RB_JUDGE_API_KEY in
            the environment; no other credential is sent.
        fold_system: send the system message at the beginning of the user's.
        extra_body: further fields of every request.
        provider: inference provider of the hub ("auto" for any), used with the login of the hub's client. Exactly one
            of `base_url` and `provider` is given.
        deadline: seconds for a request, with all attempts and the waits between them.
        budget: account shared with other generators; by default a new one with `limits`.
        key_variable: environment variable that holds the server's key.

    Raises ModelError for invalid arguments.
    """

    too_long: ClassVar[str] = TOO_LONG

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        *,
        base_url: str | None = None,
        provider: str | None = None,
        fold_system: bool = False,
        extra_body: Mapping[str, Any] | None = None,
        concurrency: int = 64,
        deadline: float = 600.0,
        limits: BudgetLimits | None = None,
        budget: Budget | None = None,
        key_variable: str = KEY_VARIABLE,
    ) -> None:
        if (base_url is None) == (provider is None):
            raise ModelError("a judge needs a base URL or a provider: give one of the two")
        self.budget = budget or Budget(limits)
        super().__init__(model, concurrency=concurrency, deadline=deadline, account=self.budget)
        self.decoding, self.provider, self.extra_body, self.fold_system = decoding, provider, extra_body, fold_system
        self.changes = frozenset({"system"} if fold_system else ())  # keys of CHANGES
        self._server = None if base_url is None else Endpoint.of_server(base_url, completions_path, key_variable)

    def continue_from(self, replies: Sequence[Reply]) -> None:
        """Take note that an unfinished run has these replies: changes that all of them needed are made at once."""
        if replies:
            self.answered = True
            self.changes |= frozenset.intersection(*(frozenset(reply.changes) for reply in replies))

    def describe(self) -> dict[str, Any]:
        """Return backend and model; never an address, which may hold a key and may change between two starts."""
        settings: dict[str, Any] = {"backend": self.provider or "served", "source": self.model}
        settings |= {"system_role": "fold"} if self.fold_system else {}
        return settings | ({"extra_body": dict(self.extra_body)} if self.extra_body else {})

    @property
    def remote_name(self) -> str:
        """Name of the model for the endpoint, which has the provider's name after a colon."""
        return self.model if self.provider in (None, "auto") else f"{self.model}:{self.provider}"

    def endpoint(self) -> Endpoint:
        return self._server or Endpoint.of_provider(self.provider or "auto")

    def body(self, request: Request, changes: frozenset[str]) -> Mapping[str, Any]:
        return chat_completions.request_body(self.remote_name, request, self.decoding, changes, self.extra_body)

    def max_answer_bytes(self, request: Request) -> int:
        return chat_completions.max_answer_bytes(request)

    def reply(self, answer: Answer, request: Request) -> Reply:
        return chat_completions.parse_reply(answer.content, request)

    def refusal(self, answer: Answer, request: Request) -> Refusal:
        return classify_judge_refusal(answer.status, answer.text, request)

    def needed_changes(self, answer: Answer, request: Request, changes: frozenset[str]) -> Mapping[str, str]:
        needed = needed_changes(answer.text, request, changes)
        return {change: chat_completions.CHANGES[change] for change in needed}

    def global_errors(self, words: str) -> Mapping[Refusal, str]:
        shown = self.endpoint().shown
        return {
            **super().global_errors(words),
            "no schema": f"{shown} does not support a JSON Schema for replies ({words}); leave --structured out",
            "no logprobs": f"{shown} does not give the requested log-probabilities ({words}); "
            "--mode logprob and guards need a server that does",
        }


def completions_path(path: str) -> str:
    """Return the path of chat completions below the path of a base URL; one without a path stands for /v1."""
    return path if path.endswith("/chat/completions") else f"{path or '/v1'}/chat/completions"
