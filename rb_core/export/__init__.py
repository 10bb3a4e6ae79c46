"""Export results: as the hub's evaluation results and model cards, and as records of Every Eval Ever.

Only complete results are exported: all examples of the benchmark, and a headline. Everything left out is named.
"""

from __future__ import annotations

from rb_core.export.every_eval_ever import RELATIONSHIPS, Reporter, every_eval_ever, write_records
from rb_core.export.hub_formats import (
    INDEX_FILE,
    TASK_NAME,
    Exported,
    for_the_hub,
    hub_files,
    index_block,
    model_index,
    write_for_the_hub,
)
from rb_core.export.model_cards import edited_card
from rb_core.export.pull_requests import PullRequestPlan, open_pull_request, plan_pull_request, target_repository
from rb_core.export.selection import source_link

__all__ = [
    "INDEX_FILE",
    "RELATIONSHIPS",
    "TASK_NAME",
    "Exported",
    "PullRequestPlan",
    "Reporter",
    "edited_card",
    "every_eval_ever",
    "for_the_hub",
    "hub_files",
    "index_block",
    "model_index",
    "open_pull_request",
    "plan_pull_request",
    "source_link",
    "target_repository",
    "write_for_the_hub",
    "write_records",
]
