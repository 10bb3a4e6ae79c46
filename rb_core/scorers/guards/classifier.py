"""A classifier as a guard: the log-odds of its unsafe label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rb_core.errors import ModelError
from rb_core.models.options import Output
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.scorers.base import Scorer
from rb_core.scorers.classifier import ClassifierScorer
from rb_core.scorers.guards.spec import GuardSpec, Reads
from rb_core.scorers.load import load_scorer
from rb_core.scorers.loading import load_config, load_tokenizer


class LabelScorer(ClassifierScorer):
    """Score with the log-odds of one label of a classifier, whose other outputs are its other labels.

    As in transformers' pipelines for texts: the probability of a label is the softmax over all outputs, or, with one
    output or labels that do not exclude each other, the sigmoid of its own.
    """

    def reduce(self, logits: Tensor) -> Tensor:
        logits, label = logits.float(), (self.output.weights or (1.0,)).index(1.0)
        log_odds = logits[:, label]
        if logits.shape[1] > 1 and self.model.config.problem_type != "multi_label_classification":
            others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
            log_odds = log_odds - others.logsumexp(dim=1)
        return -log_odds if self.lower_is_better else log_odds


def load_classifier_guard(guard: GuardSpec) -> tuple[Scorer, Reads]:
    """Return a classifier whose score is the log-odds of unsafe, and what it reads: with a chat template the
    conversation, else the completion.

    Raises ModelError if the model has no such label, is of another kind, or cannot be loaded.
    """
    spec = resolve(guard.target, guard.options)
    if spec.kind == "token" and len(spec.options.reward_tokens) == 2:
        return load_scorer(spec), guard.reads or "conversation"
    if spec.kind != "classifier":
        raise ModelError(
            f"{spec.name} is of the kind {spec.kind}, whose score is no probability: a guard is a sequence classifier, "
            "or a language model with tokens=UNSAFE,SAFE"
        )
    index, is_safe = find_label(guard, spec)
    output = Output((*[0.0] * index, 1.0))
    spec = replace(spec, output=output, lower_is_better=is_safe)
    tokenizer = load_tokenizer(spec)
    has_template = spec.chat_template is not None or bool(getattr(tokenizer, "chat_template", None))
    if not has_template:
        spec = replace(spec, chat_template=plain_template(tokenizer))
    return LabelScorer.load(spec), guard.reads or ("conversation" if has_template else "completion")


def find_label(guard: GuardSpec, spec: ModelSpec) -> tuple[int, bool]:
    """Return the index of the output that the guard names, and True if it means safe. Raises ModelError without one."""
    config = load_config(spec)
    labels = [str(config.id2label[i]) for i in range(config.num_labels)]
    named = guard.label if guard.safe_label is None else guard.safe_label
    if config.problem_type == "regression":
        raise ModelError(f"{spec.name} is a regression, whose output is no probability")
    if named is None and len(labels) == 1:
        return 0, False
    if named not in labels:
        said = "which label means unsafe?" if named is None else f"no label {named!r};"
        raise ModelError(f"{spec.name}: {said} give label=L or safe_label=L, with L one of {', '.join(labels)}")
    return labels.index(named), guard.safe_label is not None


def plain_template(tokenizer: Any) -> str:
    """Return a chat template that makes of a text the tokens that the tokenizer makes of it by itself."""
    plain, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    start = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    before, after = (_written(tokenizer, ids) for ids in (whole[:start], whole[start + len(plain) :]))
    return f"{before}{{{{ messages | map(attribute='content') | join('\\n\\n') }}}}{after}"


def _written(tokenizer: Any, ids: Sequence[int]) -> str:
    text = "".join(map(str, tokenizer.convert_ids_to_tokens(list(ids))))
    return f"{{{{ {json.dumps(text)} }}}}" if text else ""
