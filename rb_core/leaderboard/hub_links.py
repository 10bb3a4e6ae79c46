"""Addresses of models, results and published sources on the hub and on GitHub."""

from __future__ import annotations

import re
from typing import NamedTuple

from rb_core.results.schema import KIND_LABELS

# Datasets in the layout that `import rewardbench-results` reads.
REWARD_BENCH_DATASETS = ("allenai/reward-bench-results", "allenai/reward-bench-2-results")
# Generative models are mostly behind APIs, and what scores without a checkpoint has no page on the hub.
_KINDS_ON_HUB = frozenset(
    KIND_LABELS[kind] for kind in ("classifier", "custom-classifier", "token", "process", "implicit")
)
_NOT_ON_HUB = ("baseline/", "builtin/", "local/", "unknown/")
_SOURCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{7,40})(?::\s*(?P<path>[^\s,]+))?")


class HubPlace(NamedTuple):
    """A results repository at a commit; `address` is that of its files there, without a slash at the end."""

    repo: str
    commit: str
    address: str


class SourceFile(NamedTuple):
    """A repository at a commit, or a file in it, that a published result was taken from."""

    repo: str
    commit: str
    path: str

    @property
    def url(self) -> str:
        host = "https://huggingface.co/datasets" if self.repo in REWARD_BENCH_DATASETS else "https://github.com"
        view = "blob" if "." in self.path.rpartition("/")[2] else "tree"
        return "/".join(part for part in (host, self.repo, view, self.commit, self.path) if part)


def source_files(source: str) -> list[SourceFile]:
    """Return the repositories and files that the source of a published result names."""
    matches = (_SOURCE.search(part) for part in source.split("; "))
    return [SourceFile(match["repo"], match["commit"], match["path"] or "") for match in matches if match]


def hub_page(model: str, kind: str) -> str | None:
    """Return the address of a model's page on the hub, None without one. kind: a value of KIND_LABELS."""
    if kind not in _KINDS_ON_HUB or "/" not in model or model.startswith(_NOT_ON_HUB):
        return None
    return f"https://huggingface.co/{model}"
