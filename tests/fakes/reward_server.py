"""Servers of reward models, on loopback: each speaks its interface as documented, around a real tiny model.

    with RewardServer("vllm-classify", folder) as server:
        ...                       # server.url is the address; server.fail(...) and the rest are those of JudgeServer

A conversation goes through the model by itself, unpadded. vLLM and SGLang put the head on the last token, the others
run the checkpoint's own class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rb_core.models.options import ServerApi
from tests.fakes.judge_server import Fault, JudgeServer

# What a server does wrong: a sigmoid whatever was asked for; a BOS before what it is sent; the beginning of a long
# conversation alone; every score scaled.
Flaw = Literal["", "sigmoid", "second-bos", "cuts", "scales"]
NAME = "org/tiny"


ENDPOINTS: dict[ServerApi, str] = {
    "vllm-classify": "/classify",
    "vllm-pooling": "/pooling",
    "sglang": "/classify",
    "openrlhf": "/get_reward",
    "tei": "/predict",
}


class RewardServer(JudgeServer):
    """A server of one model.

    flaw: what it does wrong; says: the model's name in its answers; per_token: `/pooling` gives an output of each
    token; scored: how many conversations it has scored.
    """

    def __init__(
        self,
        api: ServerApi,
        folder: Path,
        *,
        flaw: Flaw = "",
        says: str = NAME,
        per_token: bool = False,
        broken: Callable[[int], Fault | None] = lambda number: None,
        **options: Any,
    ) -> None:
        super().__init__(self._answered, path="", endpoint=ENDPOINTS[api], **options)
        self.api, self.flaw, self.says, self.per_token, self.broken = api, flaw, says, per_token, broken
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.scored = 0
        self.cut = 40  # tokens that it reads if it cuts

    def _answered(self, body: Any) -> Fault:
        ids, raw = self._read(body)
        self.scored += 1
        if fault := self.broken(self.scored):
            return fault
        if self.flaw == "second-bos":
            ids = [self.tokenizer.bos_token_id, *ids]
        if self.flaw == "cuts":
            ids = ids[: self.cut]
        outputs = self._outputs(ids)
        if not raw or self.flaw == "sigmoid":
            outputs = [[1 / (1 + math.exp(-value)) for value in row] for row in outputs]
        if self.flaw == "scales":
            outputs = [[3 * value + 1 for value in row] for row in outputs]
        return Fault("raw", said=self._content(outputs, len(ids)), headers={"x-compute-tokens": str(len(ids))})

    def _read(self, body: Any) -> tuple[list[int], bool]:
        """Return the token ids that the server reads, and whether raw outputs are asked for."""
        if self.api in ("vllm-classify", "vllm-pooling"):
            return body["input"], not body["use_activation"]
        if self.api == "sglang":
            return body["input_ids"], True
        text = body["query"][0] if self.api == "openrlhf" else body["inputs"]
        ids = self.tokenizer(text, add_special_tokens=self.api == "tei")["input_ids"]
        return ids, self.api == "openrlhf" or body["raw_scores"]

    @torch.inference_mode()
    def _outputs(self, ids: Sequence[int]) -> list[list[float]]:
        """Return the raw outputs of each token; of the conversation alone where the checkpoint's class chooses."""
        inputs = torch.tensor([ids])
        if self.api in ("openrlhf", "tei"):
            return self.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits.tolist()  # type: ignore[no-any-return]
        states = self.model.base_model(input_ids=inputs).last_hidden_state
        return self.model.score(states)[0].tolist()  # type: ignore[no-any-return]

    def _content(self, outputs: list[list[float]], num_tokens: int) -> Any:
        last = outputs[-1]
        usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
        if self.api == "vllm-classify":
            entry: dict[str, Any] = {"index": 0, "label": "LABEL_0", "probs": last, "num_classes": len(last)}
            return {"object": "list", "model": self.says, "data": [entry], "usage": usage}
        if self.api == "vllm-pooling":
            data = [{"index": 0, "object": "pooling", "data": outputs if self.per_token else last}]
            return {"object": "list", "model": self.says, "data": data, "usage": usage}
        if self.api == "sglang":
            return {"embedding": last, "meta_info": {"id": "1", "prompt_tokens": num_tokens}}
        if self.api == "openrlhf":
            rewards = last if len(last) == 1 else [last]
            return {"rewards": rewards, "scores": rewards, "extra_logs": {"dummy_scores": rewards}}
        entries = [{"label": f"LABEL_{index}", "score": value} for index, value in enumerate(last)]
        return sorted(entries, key=lambda each: -each["score"])
