"""RewardBench (Lambert et al. 2024, arXiv:2403.13787)."""

from __future__ import annotations

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.row_location import Row, RowLocation
from rb_core.benchmarks.rows import read_completions, read_preference, read_prompt
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Source, Subset, equal_weights, weights_by_count


def read_prior(row: Row, location: RowLocation) -> Example:
    """Read a row of the prior preference sets, where a split is a subset and ids are unique only within it."""
    row_id = row["id"] if row.get("id") is not None else location.line
    return Example(
        id=f"{location.name}/{row_id}",
        subset=location.name,
        prompt=read_prompt(row, location),
        **read_completions(row, location),
    )


_CHAT = (
    Subset("alpacaeval-easy", 100, "A strong model's answer against a much weaker one's"),
    Subset("alpacaeval-length", 95, "A strong model's answer against a weaker one's of similar length"),
    Subset("alpacaeval-hard", 95, "A strong model's answer against a good but weaker one's"),
    Subset("mt-bench-easy", 28, "MT-Bench answers rated 10 against 1"),
    Subset("mt-bench-med", 40, "MT-Bench answers rated 9 against 2 to 5"),
)

_CHAT_HARD = (
    Subset("mt-bench-hard", 37, "MT-Bench answers rated 7 or 8 against 5 or 6"),
    Subset("llmbar-natural", 100, "Instruction following, natural pairs"),
    Subset("llmbar-adver-neighbor", 134, "The rejected answer answers a similar instruction"),
    Subset("llmbar-adver-GPTInst", 92, "The rejected answer answers a variant of the instruction that a model wrote"),
    Subset("llmbar-adver-GPTOut", 47, "The rejected answer was made unhelpful by a model"),
    Subset("llmbar-adver-manual", 46, "The rejected answer was made misleading by hand"),
)

_SAFETY = (
    Subset("refusals-dangerous", 100, "Refuse a dangerous request rather than comply"),
    Subset("refusals-offensive", 100, "Refuse an offensive request rather than comply"),
    Subset("xstest-should-refuse", 154, "Refuse requests that should be refused"),
    Subset("xstest-should-respond", 250, "Answer requests that only look dangerous"),
    Subset("donotanswer", 136, "Refuse questions a responsible model does not answer"),
)

_MATH = Subset("math-prm", 447, "A human's solution against a model's wrong one")

_CODE = tuple(
    Subset(f"hep-{language}", 164, f"A correct {label} function against one with a bug")
    for language, label in (
        ("cpp", "C++"),
        ("go", "Go"),
        ("java", "Java"),
        ("js", "JavaScript"),
        ("python", "Python"),
        ("rust", "Rust"),
    )
)

_PRIOR = (
    Subset("anthropic_helpful", 6192, "Anthropic's helpfulness preferences, test split"),
    Subset("anthropic_hhh", 221, "Helpful, honest, harmless alignment pairs"),
    Subset("shp", 1741, "Stanford Human Preferences, a sample with clear votes"),
    Subset("summarize", 9000, "Summaries that people preferred"),
)

# Scored and shown, but in no section.
_PRIOR_SHOWN = (
    Subset("anthropic_harmless", None, "Anthropic's harmlessness preferences, test split"),
    Subset("mtbench_human", None, "MT-Bench, human preferences"),
    Subset("mtbench_gpt4", None, "MT-Bench, a model's preferences"),
)

REWARDBENCH = BenchmarkSpec(
    id="rewardbench",
    title="RewardBench",
    description=(
        "2,985 prompts in four sections, each with a better and a worse answer. Prior preference sets are an optional "
        "fifth section."
    ),
    read=read_preference,
    source=Source("allenai/reward-bench", ("filtered",)),
    prior=Source("allenai/preference-test-sets", tuple(subset.name for subset in _PRIOR + _PRIOR_SHOWN)),
    read_prior=read_prior,
    sections=(
        Section("Chat", weights_by_count(_CHAT), description="Can it tell a strong answer from a weak one?"),
        Section("Chat Hard", weights_by_count(_CHAT_HARD), description="Trick questions and subtle differences"),
        Section("Safety", weights_by_count(_SAFETY), description="Refuses if and only if it should"),
        Section(
            "Reasoning",
            # math-prm counts as much as all the code subsets together (RewardBench paper, section 4.2)
            {_MATH.name: 984.0} | weights_by_count(_CODE),
            description="Mathematics and code, half each",
        ),
        Section(
            "Prior Sets",
            equal_weights(_PRIOR),
            headline_weight=0.5,
            required=False,
            description="Older preference test sets; half the weight of a section",
        ),
    ),
    subsets=(*_CHAT, *_CHAT_HARD, *_SAFETY, _MATH, *_CODE, *_PRIOR, *_PRIOR_SHOWN),
    tie_credit="none",
    licence="ODC-BY; subsets keep their own licences",
    citation="Lambert et al. 2024, RewardBench: Evaluating Reward Models for Language Modeling, arXiv:2403.13787",
    url="https://huggingface.co/datasets/allenai/reward-bench",
)
