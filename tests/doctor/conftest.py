"""Reports on undamaged tiny models, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from rb_core.doctor import DoctorReport
from tests.doctor.reports import TinyModel, diagnose


@pytest.fixture(scope="session")
def report_on(tiny_model: TinyModel) -> Callable[[str], DoctorReport]:
    return cache(lambda name: diagnose(tiny_model(name), name))
