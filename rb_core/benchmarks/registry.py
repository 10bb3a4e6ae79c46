"""The benchmarks of this package. To add one, see the README beside this file."""

from __future__ import annotations

from collections.abc import Mapping

from rb_core.benchmarks.judgebench import JUDGEBENCH
from rb_core.benchmarks.rewardbench import REWARDBENCH
from rb_core.benchmarks.rewardbench_2 import REWARDBENCH_2
from rb_core.benchmarks.rm_bench import RM_BENCH
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.benchmarks.starter import STARTER

BENCHMARKS: Mapping[str, BenchmarkSpec] = {
    spec.id: spec for spec in (REWARDBENCH, REWARDBENCH_2, RM_BENCH, JUDGEBENCH, STARTER)
}
