"""A local hub and the repository on it, as the code under test reaches it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import HfApi

from rb_core.hub.repository import ResultsRepo
from tests.fakes.hub_server import Server, serve
from tests.fakes.result_sets import REPO

TOKEN = "hf_" + "w" * 34
READER = "hf_" + "r" * 34


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(tokens={TOKEN: "write", READER: "read"}) as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for between tries is not what these tests are about."""
    monkeypatch.setenv("RB_HUB_TIMEOUT", "2")
    monkeypatch.setattr("rb_core.retries.FIRST_WAIT", 0.01)


@pytest.fixture
def repo(server: Server) -> ResultsRepo:
    """The repository by the unmodified client, with a token that may write."""
    return ResultsRepo(REPO, HfApi(endpoint=server.url, token=TOKEN))
