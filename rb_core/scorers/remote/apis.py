"""Interfaces of servers of reward models: the body of a request, and the outputs in an answer.

Sources: vLLM (vllm/entrypoints/pooling), SGLang (`EmbeddingReqInput` and `/classify` of its http_server.py), OpenRLHF
(openrlhf/cli/serve_rm.py) and Text Embeddings Inference (router/src/http).

To add an interface, add a class here and its name to `SERVER_APIS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from rb_core.models.options import ServerApi


class RewardRequest(NamedTuple):
    """A conversation for a server. ids: the tokens to read; text: what gives these tokens, where text is sent; prompt:
    its prompt alone, for servers that are told; raw: False asks for outputs with the activation of the server."""

    ids: tuple[int, ...]
    text: str = ""
    prompt: str = ""
    raw: bool = True


class RewardAnswer(NamedTuple):
    """An answer: raw outputs of the head, NaN where the server has none; the tokens that the server counted and the
    name of its model, None where it does not say."""

    outputs: tuple[float, ...]
    num_tokens: int | None = None
    model: str | None = None


class RewardApi(ABC):
    """An interface. `parse` raises KeyError, IndexError, TypeError or ValueError for an answer of another form."""

    title: ClassVar[str]
    path: ClassVar[str]  # below the server's address
    takes_ids: ClassVar[bool] = True
    adds_special_tokens: ClassVar[bool] = False  # what the server's tokenizer adds to a text
    has_raw_switch: ClassVar[bool] = False  # a request can ask for raw outputs

    @abstractmethod
    def body(self, model: str, request: RewardRequest) -> dict[str, Any]:
        """Return the JSON body of a request about one conversation."""

    @abstractmethod
    def parse(self, content: Any, headers: Mapping[str, str], labels: Sequence[str]) -> RewardAnswer:
        """Return the outputs in an answer's JSON. labels: names of the model's outputs, in order."""

    def path_below(self, path: str) -> str:
        """Return the path to post to, given that of the address: the whole, or that of the server."""
        return path if path.endswith(self.path) else f"{path}{self.path}"


class VllmClassify(RewardApi):
    """vLLM's `/classify`. Versions name the switch differently, and ignore fields that they do not know."""

    title = "vLLM /classify"
    path = "/classify"
    has_raw_switch = True

    def body(self, model: str, request: RewardRequest) -> dict[str, Any]:
        switches = dict.fromkeys(("use_activation", "activation", "softmax"), not request.raw)
        return {"model": model, "input": list(request.ids), "add_special_tokens": False, **switches}

    def parse(self, content: Any, headers: Mapping[str, str], labels: Sequence[str]) -> RewardAnswer:
        (entry,) = content["data"]
        return RewardAnswer(numbers(self.outputs(entry)), content["usage"]["prompt_tokens"], content["model"])

    def outputs(self, entry: Any) -> Any:
        """Return the outputs of a conversation."""
        return entry["probs"]


class VllmPooling(VllmClassify):
    """vLLM's `/pooling`, which gives the outputs of the conversation, or of each token: the last one has the score."""

    title = "vLLM /pooling"
    path = "/pooling"

    def body(self, model: str, request: RewardRequest) -> dict[str, Any]:
        return super().body(model, request) | {"encoding_format": "float"}

    def outputs(self, entry: Any) -> Any:
        data = entry["data"]
        return data[-1] if isinstance(data[0], list) else data


class SglangClassify(RewardApi):
    """SGLang's own `/classify` (not `/v1/classify`, which applies a softmax)."""

    title = "SGLang /classify"
    path = "/classify"

    def body(self, model: str, request: RewardRequest) -> dict[str, Any]:
        return {"input_ids": list(request.ids)}

    def parse(self, content: Any, headers: Mapping[str, str], labels: Sequence[str]) -> RewardAnswer:
        (entry,) = content if isinstance(content, list) else [content]
        return RewardAnswer(numbers(entry["embedding"]), entry["meta_info"]["prompt_tokens"])


class OpenRlhf(RewardApi):
    """OpenRLHF's `/get_reward`, which reads the text as it is, and cuts it at its own --max_len without a word."""

    title = "OpenRLHF /get_reward"
    path = "/get_reward"
    takes_ids = False

    def body(self, model: str, request: RewardRequest) -> dict[str, Any]:
        return {"query": [request.text], "prompts": [request.prompt]}

    def parse(self, content: Any, headers: Mapping[str, str], labels: Sequence[str]) -> RewardAnswer:
        (reward,) = content["rewards"]
        return RewardAnswer(numbers(reward))


class TeiPredict(RewardApi):
    """The `/predict` of Text Embeddings Inference, whose outputs are sorted by size and named by their labels."""

    title = "Text Embeddings Inference /predict"
    path = "/predict"
    takes_ids = False
    adds_special_tokens = True
    has_raw_switch = True

    def body(self, model: str, request: RewardRequest) -> dict[str, Any]:
        return {"inputs": request.text, "raw_scores": request.raw, "truncate": False}

    def parse(self, content: Any, headers: Mapping[str, str], labels: Sequence[str]) -> RewardAnswer:
        count = headers.get("x-compute-tokens")
        scores = {str(entry["label"]): entry["score"] for entry in content}
        values = [scores[label] for label in labels] if len(content) > 1 else list(scores.values())
        return RewardAnswer(numbers(values), None if count is None else int(count))


APIS: Mapping[ServerApi, RewardApi] = {
    "vllm-classify": VllmClassify(),
    "vllm-pooling": VllmPooling(),
    "sglang": SglangClassify(),
    "openrlhf": OpenRlhf(),
    "tei": TeiPredict(),
}


def numbers(value: Any) -> tuple[float, ...]:
    """Return an output or a list of them as numbers, null as NaN. Raises TypeError for anything else, and for none."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(each is None or type(each) in (int, float) for each in values):
        raise TypeError("not a list of numbers")
    return tuple(float("nan") if each is None else float(each) for each in values)
