"""Rewards that are a token's logit or the log-odds of two tokens: as transformers' full logits give them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import COMPLETION_TOO_LONG
from rb_core.models.resolve import resolve
from tests.fakes.prompts import ASK, CANDIDATES, ask, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import CAUSAL_BUILDERS, adapter, causal, edit_weights
from tests.fakes.tiny_tokenizers import DECLARED

TinyModel = Callable[[str], Path]
CLOSE = 1e-5
QUESTION = "Is the answer right? Please answer y or n."
YES_NO = {"tokens": ("y", "n"), "question": QUESTION}
WAYS: Mapping[str, dict[str, Any]] = {
    "logit at the end": {"token": "!"},
    "log-odds at the end": {"tokens": ("y", "n")},
    "after the next header": {"tokens": (" the", "!"), "generation_prompt": True},
    "after a question": YES_NO,
}

# These take the same ways through the code as others.
SOAK_ONLY = {
    (name, way) for name in ("mistral-lm", "mixtral-lm", "phi3-lm") for way in WAYS if way != "after a question"
}
CASES = [
    pytest.param(*case, marks=[pytest.mark.soak] * (case in SOAK_ONLY))
    for case in itertools.product(CAUSAL_BUILDERS, WAYS)
]


class Own:
    """A language model as transformers runs it, and the reward from all its logits after one conversation."""

    def __init__(self, folder: Path, name: str, base: Path | None = None, **way: Any) -> None:
        model = AutoModelForCausalLM.from_pretrained(base or folder)
        self.model = (model if base is None else PeftModel.from_pretrained(model, str(folder))).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.name, self.way = name, way

    def ids(self, prompt: Any, completion: str) -> list[int]:
        question = [turn("user", self.way["question"])] if "question" in self.way else []
        options = {"chat_template": DECLARED.get(self.name), "return_dict": False}
        options["add_generation_prompt"] = bool(question) or self.way.get("generation_prompt", False)
        return list(self.tokenizer.apply_chat_template([*prompt, turn("assistant", completion), *question], **options))

    @torch.no_grad()
    def reward(self, ids: list[int]) -> float:
        logits = self.model(torch.tensor([ids])).logits[0, -1].double()
        if "token" in self.way:
            (token,) = self.tokenizer(self.way["token"], add_special_tokens=False).input_ids
            return float(logits[token])
        yes, no = (self.tokenizer(text, add_special_tokens=False).input_ids[0] for text in self.way["tokens"])
        logprobs = logits.log_softmax(0)
        return float(logprobs[yes] - logprobs[no])

    def rewards(self) -> list[list[float]]:
        return [[self.reward(self.ids(c.prompt, text)) for text in c.completions] for c in CANDIDATES]


def load(folder: Path, name: str = "", **way: Any) -> Any:
    return load_copy(folder, **{"chat_template": DECLARED.get(name)} | way)


def assert_rewards(scorer: Any, wanted: list[list[float]], batch_tokens: tuple[int, ...] = (4096,)) -> None:
    for budget in batch_tokens:
        scorer.batch_tokens = budget
        for left, right in zip(values(score_completion_sets(scorer, CANDIDATES)), wanted, strict=True):
            assert left == pytest.approx(right, abs=CLOSE, rel=CLOSE)


@pytest.mark.parametrize(("name", "way"), CASES)
def test_rewards_are_those_of_all_logits_after_each_conversation_alone(
    tiny_model: TinyModel, name: str, way: str
) -> None:
    scorer = load(tiny_model(name), name, **WAYS[way])
    wanted = Own(tiny_model(name), name, **WAYS[way]).rewards()
    assert scorer.batching == "packed"
    for batching in ("packed", "bucketed", "bucketed-own-forward", "single"):
        scorer.batching = batching
        assert_rewards(scorer, wanted, (1, 100, 4096) if way == "after a question" else (4096,))


def test_a_recurrent_model_is_read_in_other_batches(tmp_path: Path) -> None:
    folder = causal("jamba-lm", tmp_path / "jamba")
    scorer = load(folder, **YES_NO)
    assert scorer.batching != "packed"
    assert_rewards(scorer, Own(folder, "jamba", **YES_NO).rewards(), (1, 100, 4096))


def test_a_template_may_write_any_text_around_prompt_and_completion(tmp_path: Path) -> None:
    """The prompt format of Qwen3-Reranker: a system turn, query and document in one user turn, and an empty thought."""
    front = "<|im_start|>system\nAnswer y or n.<|im_end|>\n<|im_start|>user\n<Query>: {}\n<Document>: "
    back = "{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    query, document = "{{ messages[0].content }}", "{{ messages[1].content }}"
    template = front.format(query) + "{% if messages | length > 1 %}" + back.format(document) + "{% endif %}"
    folder = causal("qwen3-lm", tmp_path / "reranker")
    own = Own(folder, "", tokens=("y", "n"))
    scorer = load(folder, chat_template=template, tokens=("y", "n"))
    asked, *_ = CANDIDATES
    for (prompt, completions), row in zip([asked[:2]], score_completion_sets(scorer, [asked]), strict=True):
        for completion, score in zip(completions, row, strict=True):
            text = front.format(prompt[0]["content"]) + back.format(completion)
            ids = own.tokenizer(text, add_special_tokens=False).input_ids
            assert score.value == pytest.approx(own.reward(ids), abs=CLOSE, rel=CLOSE)


def test_an_adapter_is_applied(tmp_path: Path) -> None:
    base = causal("llama-lm", tmp_path / "base")
    folder = adapter(base, tmp_path / "adapter")
    assert resolve(str(folder), load(folder, **YES_NO).spec.options).kind == "token"
    assert_rewards(load(folder, **YES_NO), Own(folder, "", base, **YES_NO).rewards())


def test_the_head_runs_in_float32_in_a_half_precision_model(tiny_model: TinyModel) -> None:
    """Scores are no multiples of a bfloat16 step, and padding and packing are checked against the model's own logits,
    whose rounding is larger."""
    scorer = load(tiny_model("llama-lm"), dtype="bfloat16", **YES_NO)
    assert scorer.batching == "packed"
    scores = [score for row in values(score_completion_sets(scorer, CANDIDATES)) for score in row]
    assert any(float(torch.tensor(score).bfloat16()) != score for score in scores)
    assert scorer.model.language_model.lm_head.weight.dtype == torch.bfloat16


def test_a_cost_is_negated(tiny_model: TinyModel) -> None:
    wanted = Own(tiny_model("llama-lm"), "llama-lm", **YES_NO).rewards()
    assert_rewards(load(tiny_model("llama-lm"), lower_is_better=True, **YES_NO), [[-x for x in row] for row in wanted])


# ---- what follows the completion


def test_truncation_keeps_completion_and_question(tiny_model: TinyModel) -> None:
    own = Own(tiny_model("llama-lm"), "llama-lm", **YES_NO)
    long, short = CompletionSet(ask("Name a river. " * 60), ("The Rhine.",)), CompletionSet(ASK, ("The Rhine.",))
    whole = load(tiny_model("llama-lm"), **YES_NO)
    (kept,) = whole.encode(short)
    tail = kept.ids[kept.start :]
    scorer = load(tiny_model("llama-lm"), max_length=len(tail) + 20, **YES_NO)
    (cut,) = scorer.encode(long)
    assert (len(cut.ids), cut.ids[cut.start :]) == (len(tail) + 20, tail)
    assert cut.dropped == len(own.ids(long.prompt, "The Rhine.")) - len(cut.ids)
    ((score,),) = score_completion_sets(scorer, [long])
    assert score.truncated
    assert score.value == pytest.approx(own.reward(list(cut.ids)), abs=CLOSE)
    ((refused,),) = score_completion_sets(load(tiny_model("llama-lm"), max_length=len(tail) - 1, **YES_NO), [short])
    assert refused.reason == COMPLETION_TOO_LONG


@pytest.mark.parametrize("way", WAYS)
def test_a_completion_is_as_long_as_without_what_follows_it(tiny_model: TinyModel, way: str) -> None:
    folder = tiny_model("llama-lm")
    plain = score_completion_sets(load(folder, token="!"), CANDIDATES)  # noqa: S106 - no password
    asked = score_completion_sets(load(folder, **WAYS[way]), CANDIDATES)
    for left, right in zip(plain, asked, strict=True):
        assert [score.num_completion_tokens for score in left] == [score.num_completion_tokens for score in right]


@pytest.mark.parametrize("kept", ["messages[:2]", "messages[-1:]"])
def test_a_template_that_drops_the_question_or_the_rest_is_refused(tiny_model: TinyModel, kept: str) -> None:
    template = "{% for turn in " + kept + " %}[{{ turn['role'] }}]{{ turn['content'] }}{% endfor %}"
    with pytest.raises(ModelError, match=r"drops (assistant and )?user messages in a .* \(user, assistant, user\)"):
        load(tiny_model("llama-lm"), chat_template=template, **YES_NO)


def test_a_question_that_is_in_the_answer_too_is_still_missed(tiny_model: TinyModel) -> None:
    template = "{% for turn in messages[:2] %}[{{ turn['role'] }}]{{ turn['content'] }}{% endfor %}"
    scorer = load(tiny_model("llama-lm"), **YES_NO)
    chat = type(scorer.chat)(scorer.chat.tokenizer, 512, template, question=QUESTION, generation_prompt=True)
    with pytest.raises(ModelError, match="drops user messages"):
        chat.encode(ASK, (QUESTION,))


# ---- refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": "yes"}, r"--token 'yes' is 2 tokens of its tokenizer \('y', 'es'\); the reward is read at exac"),
        ({"token": "<|eot_id|> "}, r"--token '<\|eot_id\|> ' is 2 tokens"),
        ({"tokens": ("y", "yes")}, r"--tokens 'yes' is 2 tokens"),
        ({"tokens": ("y", "y")}, r"--tokens y,y are the same token"),
        ({"kind": "token"}, r"which token is its reward\? Pass --token TEXT, or --tokens YES,NO"),
    ],
)
def test_a_text_that_is_not_one_token_is_refused_with_its_pieces(
    tiny_model: TinyModel, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load(tiny_model("llama-lm"), **options)


def test_tokens_that_the_model_cannot_tell_apart_are_refused(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    yes, no = (AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False).input_ids[0] for text in "yn")

    def same_row(weights: dict[str, torch.Tensor]) -> None:
        weights["lm_head.weight"][yes] = weights["lm_head.weight"][no]

    edit_weights(folder, same_row)
    with pytest.raises(ModelError, match="have the same row of the output embedding, so every score would be 0"):
        load(folder, **YES_NO)
    load(folder, token="y")  # noqa: S106 - no password


def test_a_missing_output_embedding_is_refused(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    edit_weights(folder, lambda weights: weights.__delitem__("lm_head.weight"))
    with pytest.raises(ModelError, match=r"the checkpoint misses lm_head.weight"):
        load(folder, **YES_NO)


def test_a_token_without_a_logit_is_refused(tmp_path: Path) -> None:
    folder = causal("llama-lm", tmp_path / "small", vocab_size=50)
    with pytest.raises(ModelError, match=r"the token 'y' has the id 93; the model has 50 logits"):
        load(folder, token="y")  # noqa: S106 - no password


# ---- described


def test_the_result_says_what_was_read_and_where(tiny_model: TinyModel) -> None:
    about = load(tiny_model("llama-lm"), **YES_NO).describe()
    assert (about["kind"], about["tokens"], about["question"]) == ("token", ["y", "n"], QUESTION)
    assert about["architecture"] == "LlamaForCausalLM"
    assert about["kind_detail"] == "log-odds of token 93 ('y') over 82 ('n')"
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama-lm"))
    assert about["parameters"] == sum(weights.numel() for weights in model.parameters())
    assert load(tiny_model("llama-lm"), token="!").describe()["kind_detail"] == "logit of token 5 ('!')"  # noqa: S106
