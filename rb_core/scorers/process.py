"""Score with a process reward model: how likely each step of an answer is right, and one number for all of them.

A step's score is the log-odds that it is right, read at the separator after it. The score of a completion is the
log-odds of an aggregate of the steps' probabilities. So the order of completions is that of the aggregate, and nothing
is lost where probabilities are rounded to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.models.chat_format import Encoded
from rb_core.models.options import DEFAULT_AGGREGATE, Aggregate
from rb_core.models.step_format import split_steps
from rb_core.scorers.base import TokenReward
from rb_core.scorers.classifier import ClassifierScorer
from rb_core.scorers.conversation_scorer import PROBES, Inputs

_STEPS = ("Four boxes hold 24 eggs.", "Three of them break.", "24 - 3 = 21 are left.")


@dataclass
class ProcessScorer(ClassifierScorer):
    """A loaded process reward model; create it with `load`. aggregate: how its steps become one score."""

    kind = "process"
    probes: ClassVar[tuple[CompletionSet, ...]] = (
        *PROBES,
        CompletionSet(PROBES[0].prompt, tuple("\n\n".join(_STEPS[:count]) for count in range(1, 4))),
    )

    @property
    def aggregate(self) -> Aggregate:
        return (self.spec and self.spec.options.aggregate) or DEFAULT_AGGREGATE

    def reads(self, encoded: Encoded) -> tuple[int, ...]:
        return encoded.steps

    def values(self, inputs: Inputs) -> Tensor:
        return self._aggregate(self._log_odds(self.model.score(self.hidden(self.model.base_model, inputs))), inputs)

    def own_values(self, inputs: Inputs) -> Tensor:
        logits = self.model(**inputs.for_model()).logits
        return self._aggregate(self._log_odds(logits[inputs.reads.to(logits.device)]), inputs)

    def _log_odds(self, logits: Tensor) -> Tensor:
        """Return the (steps,) log-odds of the declared output among (steps, outputs) logits; of one output, itself."""
        logits = logits if logits.device.type == "mps" else logits.double()
        weights = self.output.weights
        if weights is None or len(weights) == 1:
            return logits[:, 0]
        index = weights.index(1.0)
        others = torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)
        return logits[:, index] - others.logsumexp(dim=1)

    def _aggregate(self, steps: Tensor, inputs: Inputs) -> Tensor:
        """Reduce the (steps,) log-odds of all conversations to (conversations,) float32."""
        sizes = [len(self.reads(sequence)) for sequence in inputs.sequences]
        return torch.stack([aggregated(each, self.aggregate) for each in torch.split(steps, sizes)]).float()

    @torch.inference_mode()
    def token_rewards(self, encoded: Encoded) -> list[float]:
        """Return the log-odds of each step, by one forward pass."""
        inputs = self.inputs([encoded], "bucketed")
        return self._log_odds(self.model.score(self.hidden(self.model.base_model, inputs))).cpu().tolist()

    def trace(self, prompt: Conversation, completion: str) -> list[TokenReward]:
        """Return the log-odds of each step of a completion, by one forward pass.

        Raises ModelError for a completion that cannot be scored.
        """
        rewards = self.token_rewards(self.encode_one(prompt, completion))
        return [TokenReward(text, reward) for text, reward in zip(split_steps(completion), rewards, strict=True)]

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        output = "" if self.output.weights is None else f" of output {self.output.weights.index(1.0)}"
        separator = self.spec.options.step_separator if self.spec else None
        return described | {
            "output": f"log-odds{output}",
            "aggregate": self.aggregate,
            "step_separator": separator,
        }


def aggregated(steps: Tensor, aggregate: Aggregate) -> Tensor:
    """Return the log-odds of an aggregate of probabilities, given their (steps,) log-odds.

    min: of the least likely step (Wang et al. 2024, Math-Shepherd, arXiv:2312.08935); prod: of the product (Lightman et
    al. 2023, arXiv:2305.20050); mean; last: of the last step.
    """
    if aggregate == "min":
        return steps.min()
    if aggregate == "last":
        return steps[-1]
    if aggregate == "prod":
        log_product = logsigmoid(steps).sum()
        return log_product - torch.log(-torch.expm1(log_product))
    return torch.logsumexp(logsigmoid(steps), dim=0) - torch.logsumexp(logsigmoid(-steps), dim=0)
