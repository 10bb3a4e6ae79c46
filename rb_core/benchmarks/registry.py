"""The benchmarks of this package. To add one, see the README beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rb_core.benchmarks.judgebench import JUDGEBENCH
from rb_core.benchmarks.processbench import PROCESSBENCH
from rb_core.benchmarks.rewardbench import REWARDBENCH
from rb_core.benchmarks.rewardbench_2 import REWARDBENCH_2
from rb_core.benchmarks.rm_bench import RM_BENCH
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.benchmarks.starter import STARTER

BENCHMARKS: Mapping[str, BenchmarkSpec] = {
    spec.id: spec for spec in (REWARDBENCH, REWARDBENCH_2, RM_BENCH, JUDGEBENCH, PROCESSBENCH, STARTER)
}


def registered_spec(benchmark_id: str, sizes: Mapping[str, int]) -> BenchmarkSpec | None:
    """Return the spec of a registered benchmark, or of one on other data, as `judgebench-1a2b3c4d`; None for other ids.

    sizes: number of examples of each subset in the other data.
    """
    name, _, digest = benchmark_id.rpartition("-")
    return (
        BENCHMARKS[name].for_other_data(digest, sizes) if is_other_data(benchmark_id) else BENCHMARKS.get(benchmark_id)
    )


def is_other_data(benchmark_id: str) -> bool:
    """Return True for the id of a registered benchmark on other data than the published, as `judgebench-1a2b3c4d`."""
    name, _, digest = benchmark_id.rpartition("-")
    return name in BENCHMARKS and re.fullmatch("[0-9a-f]{8}", digest) is not None
