"""Requests to a server of a reward model, and the check that its answers are what a local model would say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rb_core.errors import ModelError, quoted
from rb_core.results.failures import NO_SCORE, NOT_JSON
from rb_core.scorers.http.client import HttpClient
from rb_core.scorers.http.replies import Reply, UnusableAnswerError
from rb_core.scorers.http.session import Answer, Endpoint
from rb_core.scorers.remote.apis import RewardApi, RewardRequest

KEY_VARIABLE = "RB_REWARD_API_KEY"
TOO_LONG_FOR_SERVER = "longer than the server accepts"
CUT_BY_SERVER = "the server cut the conversation"
MAX_ANSWER_BYTES = 1 << 16
BYTES_PER_TOKEN_OUTPUT = 64  # of an output of each token, as JSON


class RewardClient(HttpClient[RewardRequest]):
    """Outputs of a reward model on a server; the text of a reply is their list as JSON.

    url: the server's address; labels: names of the model's outputs, in order. Raises ModelError for invalid arguments.
    """

    too_long: ClassVar[str] = TOO_LONG_FOR_SERVER

    def __init__(self, model: str, api: RewardApi, url: str, labels: Sequence[str] = (), **limits: Any) -> None:
        super().__init__(model, **limits)
        self.api, self.labels = api, labels
        self._server = Endpoint.of_server(url, api.path_below, KEY_VARIABLE)

    def endpoint(self) -> Endpoint:
        return self._server

    def body(self, request: RewardRequest, changes: frozenset[str]) -> Mapping[str, Any]:
        return self.api.body(self.model, request)

    def max_answer_bytes(self, request: RewardRequest) -> int:
        return MAX_ANSWER_BYTES + BYTES_PER_TOKEN_OUTPUT * len(request.ids) * max(1, len(self.labels))

    def reply(self, answer: Answer, request: RewardRequest) -> Reply:
        """Return the outputs. Raises ModelError for another model's, and if the server adds tokens."""
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError):
            raise UnusableAnswerError(NOT_JSON) from None
        try:
            parsed = self.api.parse(content, answer.headers, self.labels)
        except (KeyError, IndexError, TypeError, ValueError):
            raise UnusableAnswerError(NO_SCORE) from None
        shown, sent = self._server.shown, len(request.ids)
        if parsed.model not in (None, self.model):
            raise ModelError(
                f"{shown} answers for the model {quoted(str(parsed.model))}, not {self.model!r}: if this is the model, "
                "give this name with --model"
            )
        if parsed.num_tokens is not None and parsed.num_tokens > sent:
            raise ModelError(
                f"{shown} reads {parsed.num_tokens} tokens where {sent} were sent: it adds special tokens, such as a "
                "second BOS; start it so that it does not, or use an --api that takes token ids"
            )
        if parsed.num_tokens is not None and parsed.num_tokens < sent:
            return Reply(f"{parsed.num_tokens} of {sent} tokens", error=CUT_BY_SERVER)
        return Reply(json.dumps(parsed.outputs), prompt_tokens=parsed.num_tokens)
