"""Fixtures for all tests: tiny models, each built once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the hub client is imported: no test may reach the network


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its name in tiny_models.BUILDERS. Shared: tests must not change it."""
    from tests.tiny_models import BUILDERS

    root = tmp_path_factory.mktemp("tiny-models")

    def build(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else BUILDERS[name](folder)

    return build


@pytest.fixture
def tiny_copy(tiny_model: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A copy of a tiny model's folder that a test may damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(tiny_model(name), tmp_path / name))

    yield copy
