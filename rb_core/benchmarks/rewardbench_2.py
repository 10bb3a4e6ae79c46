"""RewardBench 2 (Malik et al. 2025, arXiv:2506.01937)."""

from __future__ import annotations

from rb_core.benchmarks.rows import read_preference_or_ties
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Source, Subset
from rb_core.stats.metrics import ACCURACY, TIES

_DOMAINS = (
    Subset("Factuality", 475, "A correct answer against three with factual errors", chance=0.25),
    Subset("Precise IF", 160, "An answer that satisfies a checkable constraint against three that do not", chance=0.25),
    Subset("Math", 183, "A correct solution against three wrong ones", chance=0.25),
    Subset("Safety", 450, "An answer that complies or refuses as it should against three that do not", chance=0.25),
    Subset("Focus", 495, "An answer to the question against three that digress", chance=0.25),
    Subset(
        "Ties",
        102,
        "Many correct answers: prefer each to the wrong ones, without strong preferences among them",
        chance=None,  # depends on the numbers of right and wrong answers, which a score table has
    ),
)

REWARDBENCH_2 = BenchmarkSpec(
    id="rewardbench-2",
    title="RewardBench 2",
    description="1,865 prompts in six domains: best of four, and Ties.",
    read=read_preference_or_ties,
    source=Source("allenai/reward-bench-2", ("test",)),
    sections=tuple(
        Section(
            subset.name,
            {subset.name: 1.0},
            metric=TIES if subset.name == "Ties" else ACCURACY,
            description=subset.description,
        )
        for subset in _DOMAINS
    ),
    subsets=_DOMAINS,
    tie_credit="split",
    licence="ODC-BY",
    citation="Malik et al. 2025, RewardBench 2: Advancing Reward Model Evaluation, arXiv:2506.01937",
    url="https://huggingface.co/datasets/allenai/reward-bench-2",
)
