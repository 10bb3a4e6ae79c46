"""The dataset repository of the requests: one file a request, and one commit a change.

A change is decided on the files of one commit and made on top of that commit (`parent_commit`). If somebody else has
committed in between, the hub refuses it, and it is decided again on the new files. So two workers never take the same
request, and no change is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rb_core.errors import DataError, HubError
from rb_core.evaluation_queue.request import MAX_REQUEST_BYTES, EvaluationRequest, parse_evaluation_request
from rb_core.hub.client import can_retry, client_errors, explain, retrying, wait
from rb_core.hub.repository import DatasetRepo

MAX_REPORT_BYTES = 1_000_000
TRIES_TO_COMMIT = 30  # most of them meet others' commits, which need no wait
_REQUEST = re.compile(r"requests/[0-9a-f]{16}\.json")
_REPORT = re.compile(r"reports/[0-9a-f]{16}\.json")


@dataclass(frozen=True)
class Queue:
    """The requests at a commit by id, and a message for each file that is refused, which begins with its path."""

    commit: str
    requests: Mapping[str, EvaluationRequest]
    refused: tuple[str, ...] = ()

    def find(self, request: EvaluationRequest) -> EvaluationRequest | None:
        """Return the request as it is here. Raises HubError if its file is refused, so that it is not overwritten."""
        for message in self.refused:
            if message.startswith(repr(request.path)):
                raise HubError(message)
        return self.requests.get(request.id)

    def waiting(self) -> list[EvaluationRequest]:
        """Return the requests that wait: those with the most votes first, then the oldest."""
        requests = [request for request in self.requests.values() if request.state == "waiting"]
        return sorted(requests, key=lambda request: (-len(request.votes), request.requested, request.id))

    def ordered(self) -> list[EvaluationRequest]:
        """Return all requests: those that run, those that wait in their order, then the others, newest first."""
        others = [request for request in self.requests.values() if request.state != "waiting"]
        others.sort(key=lambda request: (request.state != "running", -request.changed.timestamp()))
        running = sum(request.state == "running" for request in others)
        return [*others[:running], *self.waiting(), *others[running:]]


class RequestsRepo(DatasetRepo):
    """A dataset repository that holds requests."""

    option = "--requests"
    folders = ("requests/", "reports/")
    layout = "requests/<id>.json, reports/<id>.json"
    # by path and git's object id: a request, or the reason why the file is refused
    _known: Mapping[tuple[str, str], EvaluationRequest | str] = MappingProxyType({})

    def limit(self, path: str) -> int | None:
        if _REQUEST.fullmatch(path):
            return MAX_REQUEST_BYTES
        return MAX_REPORT_BYTES if _REPORT.fullmatch(path) else None

    def queue(self) -> Queue:
        """Return the queue at the newest commit; a file is fetched only once. Raises HubError."""
        state = retrying(self.state, f"reading {self.name}")
        entries = [entry for path, entry in state.files.items() if path.startswith("requests/")]
        known = {(e.path, e.oid): self._known[e.path, e.oid] for e in entries if (e.path, e.oid) in self._known}
        unread = list(state.refused)
        for entry, content in self.fetch_all([e for e in entries if (e.path, e.oid) not in known], state.commit):
            if isinstance(content, bytes):
                known[entry.path, entry.oid] = _read(content, entry.path)
            elif can_retry(content):
                raise content
            else:
                unread.append(str(content))
        self._known = known
        requests = {each.id: each for each in known.values() if isinstance(each, EvaluationRequest)}
        refused = [each for each in known.values() if isinstance(each, str)]
        return Queue(state.commit, requests, tuple(sorted([*unread, *refused])))

    def update(
        self, decide: Callable[[Queue], EvaluationRequest | None], files: Mapping[str, bytes] | None = None
    ) -> EvaluationRequest | None:
        """Commit the request that `decide` returns for the queue, and return it; None if it returns None.

        decide: called again whenever somebody else has committed; what it raises ends the update. files: further files
        of the commit, by path. Raises HubError when the hub refuses or does not answer.
        """
        sent: EvaluationRequest | None = None
        for attempt in range(1, TRIES_TO_COMMIT + 1):
            queue = self.queue()
            if sent is not None and queue.find(sent) == sent:
                return sent  # an earlier attempt arrived although its answer was lost
            sent = decide(queue)
            if sent is None or queue.find(sent) == sent:
                return sent
            try:
                self._commit(sent, queue.commit, files or {})
            except client_errors() as error:
                if attempt == TRIES_TO_COMMIT or not can_retry(error):
                    raise HubError(f"writing to {self.name}: {explain(error)}") from error
                wait(1, error)
            else:
                return sent
        raise AssertionError("unreachable: the last attempt returns or raises")

    def user(self) -> str:
        """Return the name of the user whose token is used."""
        return str(retrying(self.api.whoami, "asking the hub whose token this is")["name"])

    def create(self, *, private: bool = False) -> None:
        """Create the repository unless it exists."""
        retrying(
            lambda: self.api.create_repo(self.name, repo_type="dataset", private=private, exist_ok=True),
            f"creating {self.name}",
        )

    def _commit(self, request: EvaluationRequest, parent: str, files: Mapping[str, bytes]) -> None:
        from huggingface_hub import CommitOperationAdd

        contents = {request.path: request.to_json(), **files}
        self.api.create_commit(
            self.name,
            [CommitOperationAdd(path, content) for path, content in contents.items()],
            commit_message=f"{request.state.capitalize()}: {request.title} ({request.id})",
            repo_type="dataset",
            parent_commit=parent,
        )


def _read(content: bytes, path: str) -> EvaluationRequest | str:
    """Return the request in a file, or the reason why the file is refused."""
    try:
        return parse_evaluation_request(content, path)
    except DataError as error:
        return repr(path) + str(error).removeprefix(path)
