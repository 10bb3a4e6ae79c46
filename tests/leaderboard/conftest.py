from __future__ import annotations

import pytest

from rb_core.leaderboard.board import Board
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.schema import Result
from rb_core.results.storage import read_result
from tests.paths import BUNDLED


@pytest.fixture(scope="session")
def bundled_store() -> ResultsStore:
    store = ResultsStore(BUNDLED)
    store.refresh()
    assert store.refused == []
    return store


@pytest.fixture(scope="session")
def bundled_boards(bundled_store: ResultsStore) -> dict[str, Board]:
    """The bundled boards, with rank intervals."""
    return bundled_store.boards()


@pytest.fixture(scope="session")
def tiny_rm() -> Result:
    """The bundled run of the built-in model."""
    return read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
