"""Recompute the results of audits of models from their score tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rb_core.audits.result import AuditResult, parse_audit_result
from rb_core.audits.run import aggregate_audit
from rb_core.audits.self_test import SelfTests
from rb_core.errors import ResultError, RewardBenchError, first_line
from rb_core.leaderboard.verify import Mismatch, count_numbers, differing_values
from rb_core.results.schema import is_unchanged

COMPUTED = ("effects", "tables", "counts", "self_test")


class AuditCheck(NamedTuple):
    """The outcome of `verify_audits`. results: number of result files, also of those that cannot be read; numbers:
    recomputed numbers."""

    results: int
    numbers: int
    mismatches: tuple[Mismatch, ...]


def verify_audits(root: Path) -> AuditCheck:
    """Recompute the results of audits below a results root, and list every value that differs."""
    results = numbers = 0
    mismatches: list[Mismatch] = []
    with_result: set[Path] = set()
    self_tests = SelfTests()
    for path in sorted((root / "audits").glob("*/**/*.json")):
        results += 1
        place = path.relative_to(root).as_posix()
        with_result.add(path.with_name(f"{path.name.removesuffix('.json')}.parquet"))
        try:
            result = parse_audit_result(path.read_bytes(), place)
            if result.path().as_posix() != place:
                raise ResultError(f"says it is {result.path().as_posix()}")
            computed = aggregate_audit(root / result.scores.path, self_tests)
        except RewardBenchError as error:
            mismatches.append(Mismatch(place, problem=str(error).removeprefix(f"{place}: ")))
            continue
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # one table that fits no audit must not end the check of all others
            problem = f"{result.scores.path} cannot be aggregated: {type(error).__name__}: {first_line(error)}"
            mismatches.append(Mismatch(place, problem=problem))
            continue
        numbers += count_numbers([computed.model_dump(mode="json")[name] for name in COMPUTED])
        different = list(_differences(place, result, computed))
        if not different and not is_unchanged(path.read_bytes()):
            different.append(Mismatch(place, "checksum", problem="differs: the file was changed after it was written"))
        mismatches += different
    for path in sorted((root / "audits").glob("*/**/*.parquet")):
        if path not in with_result:
            mismatches.append(Mismatch(path.relative_to(root).as_posix(), problem="no result was computed from it"))
    return AuditCheck(results, numbers, tuple(mismatches))


def _differences(place: str, result: AuditResult, computed: AuditResult) -> Iterator[Mismatch]:
    says, gives = (version.model_dump(mode="json", exclude_none=True) for version in (result, computed))
    for difference in differing_values(says, gives):
        yield Mismatch(place, *difference)
