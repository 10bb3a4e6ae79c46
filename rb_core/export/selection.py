"""Select the results to export, and look up their benchmark, dataset and source."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import ResultError, first_line
from rb_core.leaderboard.board import spec_of_results
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result, Segment

# Organisations whose models exist in this package only.
PACKAGE_ORGANISATIONS = ("builtin", "baseline")


def check_exportable(name: str) -> str:
    """Return the name of a model that others can look up. Raises ResultError for any other name."""
    if not re.fullmatch(rf"{Segment}/{Segment}", name):
        raise ResultError(f"model {name!r}: expected ORG/NAME, as on the hub; only such a model can be exported")
    if name.partition("/")[0] in PACKAGE_ORGANISATIONS:
        raise ResultError(f"{name} is part of this package; only models that others can look up are exported")
    return name


def why_incomplete(result: Result) -> str | None:
    """Return why a result is not complete; None for a complete one."""
    if result.benchmark.limit is not None:
        return f"only {result.benchmark.limit} examples were scored"
    if result.headline is None or result.headline.value is None:
        return "it has no headline"
    return None


def hub_dataset(result: Result) -> str | None:
    """Return the hub dataset of a result; None if its rows came from elsewhere."""
    spec = BENCHMARKS.get(result.benchmark.id)
    return spec.source.repo if spec and spec.source and spec.source.repo == result.benchmark.source else None


def result_spec(result: Result) -> BenchmarkSpec:
    """Return the benchmark of a result; for a user's own file one with the subsets that the result lists."""
    return spec_of_results([result])


def required_value(estimate: Estimate | None) -> float:
    """Return the value of an estimate. Raises ResultError if it has none."""
    if estimate is None or estimate.value is None:
        raise ResultError("a result without a headline cannot be exported")
    return estimate.value


def dataset_split(spec: BenchmarkSpec) -> str | None:
    """Return the dataset split of a benchmark; None for several splits or no dataset."""
    return spec.source.splits[0] if spec.source and len(spec.source.splits) == 1 else None


def source_link(source: str) -> str | None:
    """Return the first source of a published result as a link; None if it is not on the web."""
    first = re.split("; | ", source, maxsplit=1)[0]
    if match := re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}):(.+)", first):
        repository, commit, path = match.groups()
        return f"https://github.com/{repository}/blob/{commit}/{quote(path)}"
    if re.match(r"https?://", first):
        return first
    paper = re.search(r"arXiv:(\d{4}\.\d{4,5}(?:v\d+)?)", source)
    return f"https://arxiv.org/abs/{paper[1]}" if paper else None


def to_yaml(content: Any) -> bytes:
    """Return content as a YAML file, with its fields in their own order."""
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)).encode()


def from_yaml(name: str, content: bytes | str) -> Any:
    """Parse a YAML text. Raises ResultError, which calls it `name`, for invalid YAML."""
    import yaml

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:
        raise ResultError(f"{name}: not readable YAML: {first_line(error)}") from error
