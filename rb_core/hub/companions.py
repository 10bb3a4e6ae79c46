"""Files of a results root that are written by people or audits, and are pushed and pulled with the results as they are.

They are the registry of models, corrections of labels, reports of audits, and results of audits of models with their
score tables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from rb_core.audits.corrections import CORRECTIONS_FILE, MAX_CORRECTIONS_BYTES, parse_corrections
from rb_core.audits.report import MAX_REPORT_BYTES, parse_report, report_path
from rb_core.audits.result import MAX_AUDIT_BYTES, parse_audit_result
from rb_core.errors import ResultError, RewardBenchError, ScoreTableError
from rb_core.leaderboard.model_registry import MAX_REGISTRY_BYTES, REGISTRY_FILE, parse_registry
from rb_core.results.schema import Segment
from rb_core.results.score_table import check_score_file

DIFFERS = "differs from the one there"
MAX_AUDIT_SCORES_BYTES = 50_000_000
_REPORT = re.compile(rf"audits/{Segment}\.json")
_AUDIT = re.compile(rf"audits/{Segment}(/{Segment}){{1,2}}\.(json|parquet)")


def companion_limit(path: str) -> int | None:
    """Return the most bytes that a companion file may have; None for the path of any other file."""
    if path == REGISTRY_FILE:
        return MAX_REGISTRY_BYTES
    if path == CORRECTIONS_FILE:
        return MAX_CORRECTIONS_BYTES
    if _AUDIT.fullmatch(path):
        return MAX_AUDIT_SCORES_BYTES if path.endswith(".parquet") else MAX_AUDIT_BYTES
    return MAX_REPORT_BYTES if _REPORT.fullmatch(path) else None


def check_companion(path: str, content: bytes) -> None:
    """Raise RewardBenchError, naming file and field, for a companion file with other content than its name says."""
    if path == REGISTRY_FILE:
        parse_registry(content)
    elif path == CORRECTIONS_FILE:
        parse_corrections(content, path)
    elif path.endswith(".parquet"):
        check_score_file(content, path)
    elif _AUDIT.fullmatch(path):
        result = parse_audit_result(content, path)
        if result.path().as_posix() != path:
            raise ResultError(f"{path}: its content belongs at {result.path()}")
    else:
        report = parse_report(content, path)
        if report_path(report.audit).as_posix() != path:
            raise ResultError(f"{path}: its content belongs at {report_path(report.audit)}")


def read_companions(root: Path) -> dict[str, bytes]:
    """Return the companion files of a results root by path. Raises RewardBenchError for the first invalid one."""
    audits = (path for path in sorted((root / "audits").glob("**/*")) if path.suffix in (".json", ".parquet"))
    paths = [root / REGISTRY_FILE, root / CORRECTIONS_FILE, *audits]
    companions = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    for path, content in companions.items():
        check_companion(path, content)
        check_audit_scores(path, companions)
    return companions


def check_audit_scores(path: str, contents: Mapping[str, bytes]) -> None:
    """Raise ScoreTableError for the result of an audit without the score table that it was derived from, and for a
    score table without a result. contents: valid companion files by path."""
    if not _AUDIT.fullmatch(path):
        return
    if path.endswith(".parquet"):
        if f"{path.removesuffix('.parquet')}.json" not in contents:
            raise ScoreTableError(f"{path}: no result was derived from it")
        return
    scores = parse_audit_result(contents[path], path).scores
    if scores.path not in contents:
        raise ScoreTableError(f"{path}: its score table {scores.path} is missing or was refused")
    if hashlib.sha256(contents[scores.path]).hexdigest() != scores.sha256:
        raise ScoreTableError(f"{path}: was derived from another score table than the one at {scores.path}")


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
    for path in list(valid):
        try:
            check_audit_scores(path, valid)
        except RewardBenchError as error:
            refused.append(f"{path!r}: {error}")
            del valid[path]
    return valid, refused
