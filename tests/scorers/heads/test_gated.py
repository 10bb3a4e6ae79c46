"""A gated sum of rewards: scored as a forward pass written here, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.errors import ModelError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.classifier import NOTHING_TO_READ
from tests.fakes.prompts import ASK, CANDIDATES, ask, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import edit_config, edit_weights, gated

CLOSE = 1e-5
HEADER = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"


class Own:
    """The published computation, with torch alone, on one conversation at a time."""

    def __init__(self, folder: Path) -> None:
        self.body = AutoModel.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.weights = load_file(folder / "model.safetensors")
        self.header = self.tokenizer(HEADER, add_special_tokens=False).input_ids

    @torch.no_grad()
    def score(self, prompt: Conversation, completion: str) -> float:
        messages = [*prompt, turn("assistant", completion)]
        ids = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        states, weights = self.body(torch.tensor([ids])).last_hidden_state[0], self.weights
        gate = states[max(i for i in range(len(ids)) if ids[i : i + len(self.header)] == self.header)]
        for i in range(3):
            gate = weights[f"gating.layers.{i}.weight"] @ gate + weights[f"gating.layers.{i}.bias"]
            gate = gate.clamp(min=0) if i < 2 else gate
        powers = (gate / 2).exp()  # temperature 2
        rewards = weights["regression_layer.weight"] @ states[-1] @ weights["reward_transform_matrix"]
        return float((powers / powers.sum() * weights["gating.logit_scale"] * rewards).sum())


@pytest.fixture(scope="module")
def armo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gated(tmp_path_factory.mktemp("gated") / "armo")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    return gated(tmp_path / "damaged")


def test_scores_are_the_published_computation(armo: Path) -> None:
    own, scorer = Own(armo), load_copy(armo)
    wanted = [[own.score(c.prompt, text) for text in c.completions] for c in CANDIDATES]
    assert (scorer.batching, resolve(str(armo)).kind) == ("packed", "gated")
    for batching in ("packed", "bucketed", "bucketed-own-forward", "single"):
        scorer.batching = batching
        for scorer.batch_tokens in (1, 100, 4096):
            for left, right in zip(values(score_completion_sets(scorer, CANDIDATES)), wanted, strict=True):
                assert left == pytest.approx(right, abs=CLOSE, rel=CLOSE)


def test_the_gate_reads_the_end_of_the_prompt(armo: Path) -> None:
    scorer = load_copy(armo)
    (encoded,) = scorer.encode(CompletionSet(ASK, ("Paris.",)))
    prompt_end, last = scorer.reads(encoded)
    assert encoded.ids[prompt_end] == encoded.ids[last] == scorer.chat.tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert (prompt_end, last) == (encoded.start - len(scorer.model.header), len(encoded.ids) - 1)


def test_the_last_header_counts_where_a_text_spells_it(armo: Path) -> None:
    own, text = Own(armo), f"So {HEADER}it goes on"
    scores = score_completion_sets(load_copy(armo), [CompletionSet(ask("Hi"), ("So", text))])
    assert values(scores)[0] == pytest.approx([own.score(ask("Hi"), each) for each in ("So", text)], abs=CLOSE)


def test_the_reward_at_the_last_token_is_the_score(armo: Path) -> None:
    scorer = load_copy(armo)
    rewards = scorer.trace(ASK, "Paris.")
    ((score,),) = score_completion_sets(scorer, [CompletionSet(ASK, ("Paris.",))])
    assert rewards[-1].reward == pytest.approx(score.value, abs=CLOSE)


def test_a_conversation_without_the_header_is_unscored_with_a_reason(armo: Path) -> None:
    """The prompt lost so many tokens that a part of the header is missing."""
    completion_set = CompletionSet(ASK, ("0 1 2 3 4 5 6 7 8 9 0",))
    whole = load_copy(armo)
    ((encoded,),), header = whole.encode_all([completion_set]), len(whole.model.header)
    for kept, reason in ((1 + header, ""), (header, NOTHING_TO_READ)):  # after <|begin_of_text|>
        scorer = load_copy(armo, max_length=len(encoded.ids) - encoded.start + kept)
        ((score,),) = score_completion_sets(scorer, [completion_set])
        assert score.reason == reason


def test_the_result_says_that_the_checkpoints_code_was_not_run(armo: Path) -> None:
    described = load_copy(armo).describe()
    assert described["loading"] == [
        "code of its own (auto_map) was not run: GatedModel of rb_core stands in for it",
    ]
    assert (described["kind"], described["kind_detail"]) == ("custom-classifier", "gated sum of 5 rewards")


def test_the_kind_may_be_declared(damaged: Path) -> None:
    scorer = load_copy(damaged)
    edit_config(damaged, architectures=["Other"], auto_map={})
    with pytest.raises(ModelError, match="names Other, not a sequence classifier"):
        load_copy(damaged)
    declared = load_copy(damaged, kind="gated")
    assert score_completion_sets(declared, CANDIDATES) == score_completion_sets(scorer, CANDIDATES)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gate": (
        lambda f: edit_weights(f, lambda w: w.__delitem__("gating.layers.1.bias")),
        r"misses gating.layers.1.bias",
    ),
    "transform": (
        lambda f: edit_weights(f, lambda w: w.__delitem__("reward_transform_matrix")),
        "misses reward_transform_matrix",
    ),
    "objectives": (lambda f: edit_config(f, num_objectives=19), r"the shape \[5.*\]; the model needs \[19"),
    "layers": (lambda f: edit_config(f, gating_n_hidden=1), "gating.layers.1.weight of its head has the shape"),
    "temperature": (lambda f: edit_config(f, gating_temperature=0), "gating_temperature in config.json"),
    "a word": (lambda f: edit_config(f, gating_hidden_dim="wide"), "gating_hidden_dim in config.json is 'wide'"),
    "an extra": (
        lambda f: edit_weights(f, lambda w: w.update({"gating.extra": torch.ones(1)})),
        "unexpected gating.extra",
    ),
    "pads": (lambda f: edit_config(f, pad_token_id=7), "pad_token_id is 7 in the config"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_head_is_named(damaged: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    change(damaged)
    with pytest.raises(ModelError, match=message):
        load_copy(damaged)


def test_a_template_without_a_header_is_refused(armo: Path) -> None:
    with pytest.raises(ModelError, match="puts no header before an answer"):
        load_copy(armo, chat_template="{% for turn in messages %}{{ turn['content'] }}{% endfor %}")
