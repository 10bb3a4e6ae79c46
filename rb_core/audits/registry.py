"""The audits of a model. To add one, see the README beside this file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rb_core.audits.fairness.audit import FairnessAudit
from rb_core.audits.model_audit import ModelAudit
from rb_core.audits.property_file import PropertyAudit
from rb_core.audits.report import AuditReport
from rb_core.audits.result import AuditResult, read_audit_results
from rb_core.audits.robustness.audit import RobustnessAudit
from rb_core.audits.safety.audit import SafetyAudit
from rb_core.audits.values.audit import ValuesAudit

AUDITS: Mapping[str, type[ModelAudit]] = {
    audit.kind: audit for audit in (PropertyAudit, SafetyAudit, FairnessAudit, RobustnessAudit, ValuesAudit)
}


def registered_audit(kind: str, settings: Mapping[str, Any]) -> ModelAudit:
    """Return the audit of a kind with its settings. Raises ValueError for an unknown kind or invalid settings."""
    if kind not in AUDITS:
        raise ValueError(f"there is no audit {kind!r}")
    return AUDITS[kind].from_settings(settings)


def audit_views(root: Path) -> tuple[list[AuditReport], list[str]]:
    """Return the page's entry of each audit with results below a root, and a message for each file that is refused."""
    results, refused = read_audit_results(root)
    by_name: dict[str, list[AuditResult]] = defaultdict(list)
    for result in results:
        if result.audit.kind in AUDITS:
            by_name[result.audit.name].append(result)
        else:
            refused.append(f"{root / result.path()}: an audit of the unknown kind {result.audit.kind!r}")
    return [AUDITS[group[0].audit.kind].view(group) for group in by_name.values()], refused
