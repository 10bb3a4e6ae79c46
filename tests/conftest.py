"""Fixtures for all tests: tiny models, each built once a session."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.paths import BUNDLED

if TYPE_CHECKING:
    from rb_core.leaderboard.board import Board
    from rb_core.leaderboard.store import ResultsStore

# The hub's client reads these when it is imported: the tests' local hub takes large files the LFS way, and is not to be
# asked anything for telemetry.
os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

# Processes with a thread for each core wait for each other. Numpy and torch read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long a property takes says nothing on a machine that does other things too.
settings.register_profile("rewardbench", deadline=None)
settings.load_profile("rewardbench")


# The files that take longest. They come first, so that no process ends with a long one while others are idle.
LONG_FILES = (
    "tests/evaluation/test_distributed.py",
    "tests/space/test_page.py",
    "tests/evaluation/test_evaluate.py",
    "tests/space/try_a_pair/test_tab.py",
    "tests/hub/test_push.py",
    "tests/benchmarks/test_load.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long files first and all others in their order."""
    place = {file: number for number, file in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its name in tiny_models.BUILDERS or CAUSAL_BUILDERS. Shared: tests must not change
    it."""
    from tests.fakes.tiny_models import BUILDERS, CAUSAL_BUILDERS

    root = tmp_path_factory.mktemp("tiny-models")
    builders = {**BUILDERS, **CAUSAL_BUILDERS}

    def build(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else builders[name](folder)

    return build


@pytest.fixture(scope="session")
def bundled_store() -> ResultsStore:
    """The bundled results, read once."""
    from rb_core.leaderboard.store import ResultsStore

    store = ResultsStore(BUNDLED)
    store.refresh()
    assert store.refused == []
    return store


@pytest.fixture(scope="session")
def bundled_boards(bundled_store: ResultsStore) -> dict[str, Board]:
    """The bundled boards, with rank intervals."""
    return bundled_store.boards()


@pytest.fixture(scope="session")
def silent_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results and scores of the baselines and of SILENT, a run with unscored examples. Shared: do not change it."""
    from tests.fakes.unscored_runs import silent_run

    root = tmp_path_factory.mktemp("silent")
    for name in ("results/starter", "scores/starter"):
        shutil.copytree(BUNDLED / name, root / name)
    silent_run(root)
    return root


@pytest.fixture(scope="session")
def sanitizing_transformers() -> None:
    """Skips where the installed transformers cannot encode control tokens as text; there the package refuses them."""
    from transformers import PreTrainedTokenizerFast

    if "sanitize_control_tokens" not in inspect.signature(PreTrainedTokenizerFast.apply_chat_template).parameters:
        pytest.skip("this version of transformers cannot encode control tokens as ordinary text")


@pytest.fixture
def tiny_copy(tiny_model: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a tiny model's folder that a test may damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(tiny_model(name), tmp_path / name))

    return copy
