"""Load a judge or a panel: its templates, budget and reply source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.models.options import Mode
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.judge.budget import Budget, BudgetLimits, Prices
from rb_core.scorers.judge.panel import PanelScorer
from rb_core.scorers.judge.prompt_templates import Template, load_template
from rb_core.scorers.judge.protocols import PromptConfig
from rb_core.scorers.judge.scorer import JudgeScorer
from rb_core.scorers.judge.types import Decoding, ReplySource


def load_judge(spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> JudgeScorer | PanelScorer:
    """Return the scorer of a judge, or of a panel, whose judges share one budget.

    Raises ModelError if a model cannot be loaded, DataError for an invalid template.
    """
    budget = Budget(limits_of(spec))
    if not spec.members:
        return _judge(spec, seed, budget)
    vote = spec.options.judge.vote
    if vote is None:
        raise ModelError(f"{spec.name}: a panel needs --vote")
    return PanelScorer([_judge(member, seed, budget) for member in spec.members], vote)


def limits_of(spec: ModelSpec) -> BudgetLimits:
    """Return the limits of a run."""
    judge = spec.options.judge
    prices = None
    if judge.price_prompt is not None and judge.price_completion is not None:
        prices = Prices(judge.price_prompt, judge.price_completion)
    return BudgetLimits(judge.max_tokens_total, judge.max_cost, prices)


def _judge(spec: ModelSpec, seed: int, budget: Budget) -> JudgeScorer:
    judge = spec.options.judge
    mode = judge.mode or "pairwise"
    default = Decoding()
    decoding = Decoding(
        temperature=default.temperature if judge.temperature is None else judge.temperature,
        max_tokens=judge.max_new_tokens or default.max_tokens,
        seed=seed,
    )
    templates: dict[Mode, Template] = {"ratings": load_template("ratings")}
    templates[mode] = load_template(mode, judge.template)
    config = PromptConfig(templates, decoding, structured=judge.structured, expected=judge.expected)
    author = judge.author or (spec.checkpoint.name if spec.options.name else None)  # --name names the result
    return JudgeScorer(spec.name, mode, config, reply_source(spec, decoding, budget), budget, author)


def reply_source(spec: ModelSpec, decoding: Decoding, budget: Budget, **server: Any) -> ReplySource:
    """Return the generator of a judge's replies. server: further arguments of `ServedGenerator`, where it is one."""
    judge = spec.options.judge
    if not judge.served:
        from rb_core.scorers.judge.local_backend import LocalGenerator

        return LocalGenerator.load(replace(spec, name=spec.checkpoint.name), decoding)
    from rb_core.scorers.judge.api_backend import ServedGenerator

    options: dict[str, Any] = {"concurrency": judge.concurrency, "deadline": judge.deadline}
    options |= {"extra_body": judge.extra_fields, "fold_system": spec.system_role == "fold"}
    return ServedGenerator(
        spec.checkpoint.location,
        decoding,
        base_url=judge.base_url,
        provider=judge.provider,
        budget=budget,
        **{name: value for name, value in options.items() if value},
        **server,
    )
