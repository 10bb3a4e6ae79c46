"""What the formats share: which results are exported, and what they are about."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import ResultError, first_line
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result, Segment

# Organisations whose models exist in this package only.
OWN = ("builtin", "baseline")


def check_exportable(name: str) -> str:
    """The name of a model that others can look up. Raises ResultError for any other."""
    if not re.fullmatch(rf"{Segment}/{Segment}", name):
        raise ResultError(f"model {name!r}: expected ORG/NAME, as on the hub; only such a model can be exported")
    if name.partition("/")[0] in OWN:
        raise ResultError(f"{name} is part of this package; only models that others can look up are exported")
    return name


def why_incomplete(result: Result) -> str | None:
    """Why a result is not one to publish; None for one that is."""
    if result.benchmark.limit is not None:
        return f"only {result.benchmark.limit} examples were scored"
    if result.headline is None or result.headline.value is None:
        return "it has no headline"
    return None


def hub_dataset(result: Result) -> str | None:
    """The hub's dataset that a result is about; None where its rows came from elsewhere."""
    spec = BENCHMARKS.get(result.benchmark.id)
    return spec.source.repo if spec and spec.source and spec.source.repo == result.benchmark.source else None


def result_spec(result: Result) -> BenchmarkSpec:
    """The benchmark that a result is about; for one of somebody's own what the result says of it."""
    return BENCHMARKS.get(result.benchmark.id) or custom_spec(result.benchmark.id, result.benchmark.subsets)


def required_value(estimate: Estimate | None) -> float:
    """The value of an estimate that is known to have one."""
    if estimate is None or estimate.value is None:
        raise ResultError("a result without a headline cannot be exported")
    return estimate.value


def dataset_split(spec: BenchmarkSpec) -> str | None:
    """The split of the dataset that a benchmark's rows are in; None where there are several, or no dataset."""
    return spec.source.splits[0] if spec.source and len(spec.source.splits) == 1 else None


def source_link(source: str) -> str | None:
    """The first source of a published result as a link; None for one that is not on the web."""
    first = re.split("; | ", source, maxsplit=1)[0]
    if found := re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}):(.+)", first):
        repository, commit, path = found.groups()
        return f"https://github.com/{repository}/blob/{commit}/{quote(path)}"
    if re.match(r"https?://", first):
        return first
    paper = re.search(r"arXiv:(\d{4}\.\d{4,5}(?:v\d+)?)", source)
    return f"https://arxiv.org/abs/{paper[1]}" if paper else None


def to_yaml(content: Any) -> bytes:
    """Content as a YAML file, its fields in the order they have."""
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)).encode()


def from_yaml(name: str, content: bytes | str) -> Any:
    """The content of a YAML text. Raises ResultError, with this name for it, for one that is none."""
    import yaml

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:
        raise ResultError(f"{name}: not readable YAML: {first_line(error)}") from error
