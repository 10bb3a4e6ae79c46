"""Real weights: every score equals the model's own forward pass on the single conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rb_core.benchmarks.example import CompletionSet
from rb_core.benchmarks.load import load_benchmark
from rb_core.evaluation.evaluate import evaluate
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import MODES, JudgeOptions, Mode, ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge.local_backend import LocalGenerator
from rb_core.scorers.judge.types import Request
from rb_core.scorers.load import load_scorer
from tests.fakes.prompts import ASK, CANDIDATES, values
from tests.real.conftest import answer_logprob, encode_answer

pytestmark = pytest.mark.real

CLOSE = 1e-4
BETA = 0.1
SETS = (
    *CANDIDATES[1:],
    CompletionSet(ASK, ("Paris is the capital of France.", "I do not know.", "Lyon")),
    *(CompletionSet(example.prompt, example.completions) for example in load_benchmark("starter").examples[:4]),
)
OwnScore = Callable[[CompletionSet, str], float]


def assert_equal_scores(folder: Path, own: OwnScore, **options: Any) -> None:
    """Assert that scores equal those of `own`, relative to the largest, in rows of several sizes."""
    scorer: Any = load_scorer(resolve(str(folder), ModelOptions(device="cpu", **options)))
    with torch.no_grad():
        expected = [[own(completions, text) for text in completions.completions] for completions in SETS]
    largest = max(1.0, *(abs(value) for row in expected for value in row))
    assert len({round(value, 3) for row in expected for value in row}) > len(SETS)
    for scorer.batch_tokens in (1, 4096):
        for left, right in zip(values(score_completion_sets(scorer, SETS)), expected, strict=True):
            assert left == pytest.approx(right, abs=CLOSE * largest)


def own_logprob(model: Any, folder: Path) -> Callable[[CompletionSet, str], tuple[float, int]]:
    """Return a function that gives the log-probability of an answer, and how many tokens it has."""
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def logprob(completions: CompletionSet, text: str) -> tuple[float, int]:
        ids, start = encode_answer(tokenizer, completions.prompt, text)
        return float(answer_logprob(model, ids, start)), len(ids) - start

    return logprob


@pytest.mark.parametrize("variant", ["sum", "mean"])
def test_the_implicit_reward_without_a_reference(smollm2: Path, variant: str) -> None:
    logprob = own_logprob(AutoModelForCausalLM.from_pretrained(smollm2).eval(), smollm2)

    def own(completions: CompletionSet, text: str) -> float:
        value, tokens = logprob(completions, text)
        return value / (tokens if variant == "mean" else 1)

    assert_equal_scores(smollm2, own, kind="implicit", reference_free=variant)


def assert_log_ratios(folder: Path, reference_folder: Path, policy_model: Any, reference_model: Any) -> None:
    """Assert that scores are beta times the log-ratio of the two models."""
    trained, reference = (own_logprob(model, reference_folder) for model in (policy_model, reference_model))
    assert_equal_scores(
        folder,
        lambda completions, text: BETA * (trained(completions, text)[0] - reference(completions, text)[0]),
        kind="implicit",
        reference=str(reference_folder),
        beta=BETA,
    )


def test_a_policy_trained_by_dpo_against_its_reference(smollm2: Path, policy: Path) -> None:
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (policy, smollm2)]
    assert_log_ratios(policy, smollm2, *models)


def test_an_adapter_trained_by_dpo_against_its_base(smollm2: Path, adapter: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(smollm2)
    trained = PeftModel.from_pretrained(base, str(adapter)).eval()
    assert_log_ratios(adapter, smollm2, trained, AutoModelForCausalLM.from_pretrained(smollm2).eval())


def test_a_classifier(scored_smollm2: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(scored_smollm2).eval()
    tokenizer = AutoTokenizer.from_pretrained(scored_smollm2)

    def own(completions: CompletionSet, text: str) -> float:
        ids, _ = encode_answer(tokenizer, completions.prompt, text)
        return float(model(torch.tensor([ids])).logits[0, 0])

    assert_equal_scores(scored_smollm2, own)


def test_a_value_head(smollm2: Path, valued_smollm2: Path) -> None:
    body = AutoModelForCausalLM.from_pretrained(smollm2).eval().model
    tokenizer, weights = AutoTokenizer.from_pretrained(smollm2), load_file(valued_smollm2 / "model.safetensors")
    weight, bias = weights["v_head.summary.weight"][0], weights["v_head.summary.bias"]

    def own(completions: CompletionSet, text: str) -> float:
        ids, _ = encode_answer(tokenizer, completions.prompt, text)
        return float(body(torch.tensor([ids])).last_hidden_state[0, -1] @ weight + bias)

    assert_equal_scores(valued_smollm2, own)


def test_a_pair_encoder(minilm: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(minilm).eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    sets = [completions for completions in SETS if len(completions.prompt) == 1]
    scorer = load_scorer(resolve(str(minilm), ModelOptions(device="cpu")))
    with torch.no_grad():
        expected = [
            [
                float(model(**tokenizer(completions.prompt[0]["content"], text, return_tensors="pt")).logits[0, 0])
                for text in completions.completions
            ]
            for completions in sets
        ]
    for left, right in zip(values(score_completion_sets(scorer, sets)), expected, strict=True):
        assert left == pytest.approx(right, abs=CLOSE)


class WatchedGenerator:
    """Keeps each request with its reply."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pairs: list[tuple[Request, Reply]] = []
        generate = LocalGenerator.generate

        def watched(generator: LocalGenerator, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
            asked = list(requests)
            for number, reply in generate(generator, asked):
                self.pairs.append((asked[number], reply))
                yield number, reply

        monkeypatch.setattr(LocalGenerator, "generate", watched)


@pytest.mark.parametrize("mode", MODES)
def test_a_judge(smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """Each reply is what transformers generates greedily from the single prompt; probabilities are its own."""
    watched = WatchedGenerator(monkeypatch)
    options = ModelOptions(kind="generative", device="cpu", judge=JudgeOptions(mode=mode, max_new_tokens=12))
    written = evaluate(str(smollm2), "starter", options=options, out=tmp_path, limit=2)
    assert written.result.counts is not None
    model, tokenizer = AutoModelForCausalLM.from_pretrained(smollm2).eval(), AutoTokenizer.from_pretrained(smollm2)
    assert watched.pairs
    for request, reply in watched.pairs:
        turns = [dict(message) for message in request.messages]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=False)
        if mode == "logprob":
            with torch.no_grad():
                logprobs = model(ids).logits[0, -1].log_softmax(dim=-1)
            assert_top_logprobs(tokenizer, logprobs, reply)
        else:
            assert reply.text.strip() == own_reply(model, tokenizer, ids, request.max_tokens).strip()


def own_reply(model: Any, tokenizer: Any, ids: torch.Tensor, max_tokens: int) -> str:
    mask = torch.ones_like(ids)
    out = model.generate(ids, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False)
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


def assert_top_logprobs(tokenizer: Any, logprobs: torch.Tensor, reply: Reply) -> None:
    (token,) = reply.tokens
    best, ids = logprobs.topk(len(token.top))
    texts: Sequence[str] = [tokenizer.decode([index]) for index in ids.tolist()]
    assert {text.strip() for text, _ in token.top} == {text.strip() for text in texts}
    assert sorted((value for _, value in token.top), reverse=True) == pytest.approx(best.tolist(), abs=CLOSE)
