"""Files of a results root that are written by people or audits, and are pushed and pulled with the results as they are.

They are the registry of models, corrections of labels and reports of audits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rb_core.audits.corrections import CORRECTIONS_FILE, MAX_CORRECTIONS_BYTES, parse_corrections
from rb_core.audits.report import MAX_REPORT_BYTES, parse_report, report_path
from rb_core.errors import ResultError, RewardBenchError
from rb_core.leaderboard.model_registry import MAX_REGISTRY_BYTES, REGISTRY_FILE, parse_registry
from rb_core.results.schema import Segment

DIFFERS = "differs from the one there"
_REPORT = re.compile(rf"audits/{Segment}\.json")


def companion_limit(path: str) -> int | None:
    """Return the most bytes that a companion file may have; None for the path of any other file."""
    if path == REGISTRY_FILE:
        return MAX_REGISTRY_BYTES
    if path == CORRECTIONS_FILE:
        return MAX_CORRECTIONS_BYTES
    return MAX_REPORT_BYTES if _REPORT.fullmatch(path) else None


def check_companion(path: str, content: bytes) -> None:
    """Raise RewardBenchError, naming file and field, for a companion file with other content than its name says."""
    if path == REGISTRY_FILE:
        parse_registry(content)
    elif path == CORRECTIONS_FILE:
        parse_corrections(content, path)
    else:
        report = parse_report(content, path)
        if report_path(report.audit).as_posix() != path:
            raise ResultError(f"{path}: its content belongs at {report_path(report.audit)}")


def read_companions(root: Path) -> dict[str, bytes]:
    """Return the companion files of a results root by path. Raises RewardBenchError for the first invalid one."""
    paths = [root / REGISTRY_FILE, root / CORRECTIONS_FILE, *sorted((root / "audits").glob("*.json"))]
    companions = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    for path, content in companions.items():
        check_companion(path, content)
    return companions


def valid_companions(contents: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """Return the valid companion files among fetched files by path, and a message for each invalid one."""
    valid, refused = {}, []
    for path, content in sorted(contents.items()):
        if companion_limit(path) is None:
            continue
        try:
            check_companion(path, content)
        except RewardBenchError as error:
            refused.append(f"{path!r}: {error}")
        else:
            valid[path] = content
    return valid, refused
