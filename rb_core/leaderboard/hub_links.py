"""Addresses of models, results and published sources on the hub and on GitHub."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from rb_core.results.schema import KIND_LABELS, REFERENCE_FREE_SUFFIX

# Datasets in the layout that `import rewardbench-results` reads.
REWARD_BENCH_DATASETS = ("allenai/reward-bench-results", "allenai/reward-bench-2-results")
# Generative models are mostly behind APIs, and what scores without a checkpoint has no page on the hub.
_KINDS_ON_HUB = frozenset(
    KIND_LABELS[kind] for kind in ("classifier", "custom-classifier", "token", "process", "implicit")
)
_NOT_ON_HUB = ("baseline/", "builtin/", "local/", "unknown/")
_HUB = "https://huggingface.co"
_DATASET = re.compile(rf"{re.escape(_HUB)}/datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:[/?#]|$)")
MAX_TITLE_BYTES, MAX_DESCRIPTION_BYTES = 200, 1800  # at most 6,000 characters as percent escapes
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
        host = f"{_HUB}/datasets" if self.repo in REWARD_BENCH_DATASETS else "https://github.com"
        view = "blob" if "." in self.path.rpartition("/")[2] else "tree"
        return "/".join(part for part in (host, self.repo, view, self.commit, self.path) if part)


def source_files(source: str) -> list[SourceFile]:
    """Return the repositories and files that the source of a published result names."""
    matches = (_SOURCE.search(part) for part in source.split("; "))
    return [SourceFile(match["repo"], match["commit"], match["path"] or "") for match in matches if match]


def hub_page(model: str, kind: str) -> str | None:
    """Return the address of a model's page on the hub, None without one. kind: as `kind_label` gives it."""
    has_page = kind.removesuffix(REFERENCE_FREE_SUFFIX) in _KINDS_ON_HUB
    return f"{_HUB}/{model}" if has_page and "/" in model and not model.startswith(_NOT_ON_HUB) else None


def dataset_repo(address: str) -> str | None:
    """Return the repository ORG/NAME of the address of a dataset on the hub, None for any other address."""
    match = _DATASET.match(address)
    return match["repo"] if match else None


def discussion_page(repo: str, title: str, description: str) -> str:
    """Return the address of a new discussion of a dataset, filled in; its reader can edit it before it is posted.

    Title and description (Markdown) are cut at MAX_TITLE_BYTES and MAX_DESCRIPTION_BYTES, as servers refuse long
    addresses.
    """
    texts = ((title, MAX_TITLE_BYTES), (description, MAX_DESCRIPTION_BYTES))
    cut = (text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore") for text, limit in texts)
    quoted_title, quoted_description = (quote(text, safe="") for text in cut)
    return f"{_HUB}/datasets/{repo}/discussions/new?title={quoted_title}&description={quoted_description}"
