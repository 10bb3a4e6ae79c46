from __future__ import annotations

import pytest

from rb_core.results.schema import Result
from rb_core.results.storage import read_result
from tests.paths import BUNDLED


@pytest.fixture(scope="session")
def tiny_rm() -> Result:
    """The bundled run of the built-in model."""
    return read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
