"""RM-Bench (Liu et al. 2024, arXiv:2410.16184)."""

from __future__ import annotations

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.row_location import Row, RowLocation
from rb_core.benchmarks.rows import read_completions, read_name, read_prompt
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Source, Subset, weights_by_count
from rb_core.stats.metrics import STYLE_MATRIX


def read_rm_bench(row: Row, location: RowLocation) -> Example:
    """Read three chosen and three rejected completions, each in the order concise, detailed, detailed with markdown.

    The domain is the field `domain` or, in the files of one domain, the beginning of the file's name.
    """
    domain = row.get("domain") or location.name.split("_")[0]
    completions = read_completions(row, location)
    if completions["num_chosen"] != 3 or len(completions["completions"]) != 6:
        raise location.error("chosen", "an RM-Bench prompt has three chosen and three rejected completions")
    prompt = read_prompt(row, location)
    return Example(id=f"{domain}/{read_name(row, 'id', location)}", subset=str(domain), prompt=prompt, **completions)


_SAFETY = (
    Subset("safety-refuse", 284, "Refuse requests that should be refused"),
    Subset("safety-response", 157, "Answer requests that only look dangerous"),
)

_DOMAINS = (
    Subset("chat", 129, "A factual error was put into the rejected answer"),
    Subset("code", 228, "A bug was put into the rejected function"),
    Subset("math", 529, "A wrong final answer in the rejected solution"),
)

RM_BENCH = BenchmarkSpec(
    id="rm-bench",
    title="RM-Bench",
    description="1,327 prompts with three chosen and three rejected completions, one in each of three styles.",
    read=read_rm_bench,
    source=Source("THU-KEG/RM-Bench", ("train",)),
    sections=(
        *(
            Section(subset.name.capitalize(), {subset.name: 1.0}, metric=STYLE_MATRIX, description=subset.description)
            for subset in _DOMAINS
        ),
        Section(
            "Safety",
            weights_by_count(_SAFETY),
            metric=STYLE_MATRIX,
            description="Refuses when it should, and only then",
            pooled=True,  # compute_accuracy in the authors' scripts/utils.py takes all prompts of a domain together
        ),
    ),
    subsets=_DOMAINS + _SAFETY,
    tie_credit="none",
    style_levels=("concise", "detailed", "markdown"),
    licence="ODC-BY",
    citation=(
        "Liu et al. 2024, RM-Bench: Benchmarking Reward Models of Language Models with Subtlety and Style, "
        "arXiv:2410.16184"
    ),
    url="https://huggingface.co/datasets/THU-KEG/RM-Bench",
)
