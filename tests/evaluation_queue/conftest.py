"""A local hub with a requests repository, as the code under test reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.hub.repository import ResultsRepo
from tests.fakes.hub_server import Server, serve, use_hub
from tests.fakes.requests import REQUESTS, REQUESTS_KEY
from tests.fakes.result_sets import KEY, REPO
from tests.hub.conftest import TOKEN


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A hub with two empty repositories, which is the hub of this process's clients too."""
    monkeypatch.setenv("RB_HUB_TIMEOUT", "2")
    monkeypatch.setattr("rb_core.retries.FIRST_WAIT", 0.01)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve(tokens={TOKEN: "write"}) as running:
        running.add_repo(REQUESTS_KEY)
        running.add_repo(KEY)
        use_hub(running.url, tmp_path / "cache", monkeypatch)
        yield running


@pytest.fixture
def repo(server: Server) -> RequestsRepo:
    return RequestsRepo(REQUESTS, HfApi(endpoint=server.url, token=TOKEN))


@pytest.fixture
def board(server: Server) -> ResultsRepo:
    return ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN))
