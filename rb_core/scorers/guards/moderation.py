"""Moderation endpoints: OpenAI's `/v1/moderations` and servers that speak it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rb_core.benchmarks.example import message_text
from rb_core.errors import quoted
from rb_core.results.failures import NO_SCORE, NOT_JSON
from rb_core.scorers.http.client import HttpClient
from rb_core.scorers.http.replies import Reply, UnusableAnswerError
from rb_core.scorers.http.session import Answer, Endpoint
from rb_core.scorers.judge.types import Request

KEY_VARIABLE = "RB_GUARD_API_KEY"
TOO_LONG_FOR_ENDPOINT = "longer than the moderation endpoint accepts"
FLAGGED = "flagged"  # the endpoint's own decision, beside its categories
MAX_ANSWER_BYTES = 1 << 18


class ModerationClient(HttpClient[Request]):
    """Answers of a moderation endpoint about a text: the messages of a request, joined by blank lines.

    The text of a reply is a JSON object with the score of each category, and `flagged` as 1 or 0.
    url: the server's address; the server's key is RB_GUARD_API_KEY in the environment.
    """

    too_long: ClassVar[str] = TOO_LONG_FOR_ENDPOINT

    def __init__(self, model: str, url: str, **limits: Any) -> None:
        super().__init__(model, **limits)
        self._server = Endpoint.of_server(url, moderations_path, KEY_VARIABLE)

    def endpoint(self) -> Endpoint:
        return self._server

    def body(self, request: Request, changes: frozenset[str]) -> Mapping[str, Any]:
        text = "\n\n".join(map(message_text, request.messages))
        return {"model": self.model, "input": text.encode("utf-8", "replace").decode()}

    def max_answer_bytes(self, request: Request) -> int:
        return MAX_ANSWER_BYTES

    def reply(self, answer: Answer, request: Request) -> Reply:
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError):
            raise UnusableAnswerError(NOT_JSON) from None
        try:
            (result,) = content["results"]
            scores = {str(name): float(score) for name, score in (result.get("category_scores") or {}).items()}
            if not isinstance(result[FLAGGED], bool):
                raise TypeError(f"{FLAGGED} is {quoted(str(result[FLAGGED]))}")
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UnusableAnswerError(NO_SCORE) from None
        return Reply(json.dumps(scores | {FLAGGED: float(result[FLAGGED])}))

    def continue_from(self, replies: Sequence[Reply]) -> None:
        """Take note that an unfinished run has these replies."""
        self.answered = self.answered or bool(replies)

    def describe(self) -> dict[str, Any]:
        """Return backend and model; never an address, which may hold a key."""
        return {"backend": "served", "source": self.model}


def moderations_path(path: str) -> str:
    """Return the path of moderations below the path of a base URL; one without a path stands for /v1."""
    return path if path.endswith("/moderations") else f"{path or '/v1'}/moderations"
