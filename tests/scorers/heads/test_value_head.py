"""Value heads of TRL, LLaMA-Factory and OpenRLHF: scored as a forward pass written here, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rb_core.errors import ModelError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.function import NOT_FINITE
from tests.fakes.prompts import ASK, CANDIDATES, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import (
    causal,
    edit_config,
    edit_weights,
    head_weights,
    llama_factory_value_head,
    openrlhf_value_head,
    trl_value_head,
)

CLOSE = 1e-5


def own_scores(folder: Path, prefix: str = "v_head.summary", base: Path | None = None) -> list[list[float]]:
    """Score CANDIDATES with torch alone: the hidden state of the last token, weight and bias, one text at a time."""
    model = AutoModelForCausalLM.from_pretrained(base or folder).eval()
    body = model.base_model if base is None else PeftModel.from_pretrained(model, str(folder)).eval().model.base_model
    tokenizer, head = AutoTokenizer.from_pretrained(folder), head_weights(prefix)
    weight, bias = head[f"{prefix}.weight"], head[f"{prefix}.bias"]
    if prefix != "v_head.summary":
        bias = torch.zeros(1)

    @torch.no_grad()
    def score(messages: list[object]) -> float:
        ids = tokenizer.apply_chat_template(messages, return_dict=False, return_tensors="pt")
        return float((body(ids).last_hidden_state[0, -1] @ weight.T + bias)[0])

    return [[score([*c.prompt, turn("assistant", text)]) for text in c.completions] for c in CANDIDATES]


def assert_own_scores(folder: Path, wanted: list[list[float]], batchings: tuple[str, ...] = ("packed",)) -> None:
    scorer = load_copy(folder)
    assert scorer.batching == "packed"
    for batching in (*batchings, "bucketed", "bucketed-own-forward", "single"):
        scorer.batching = batching
        for batch_tokens in (1, 100, 4096):
            scorer.batch_tokens = batch_tokens
            for left, right in zip(values(score_completion_sets(scorer, CANDIDATES)), wanted, strict=True):
                assert left == pytest.approx(right, abs=CLOSE, rel=CLOSE)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_head_among_the_weights_scores_the_last_token(tmp_path: Path, family: str) -> None:
    folder = trl_value_head(tmp_path / "trl", family)
    if family == "gpt2":
        template = "{% for turn in messages %}{{ turn['content'] }} {% endfor %}"
        (folder / "chat_template.jinja").write_text(template)
    assert resolve(str(folder)).kind == "value-head"
    assert_own_scores(folder, own_scores(folder))


def test_a_head_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = llama_factory_value_head(tmp_path / "factory")
    assert resolve(str(folder)).kind == "value-head"
    assert_own_scores(folder, own_scores(folder))


def test_a_head_beside_an_adapter(tmp_path: Path) -> None:
    base = causal("llama-lm", tmp_path / "base")
    folder = llama_factory_value_head(tmp_path / "adapter", base)
    assert resolve(str(folder)).kind == "value-head"
    assert_own_scores(folder, own_scores(folder, base=base))
    assert load_copy(folder).describe()["adapter"] == "local/adapter"


@pytest.mark.parametrize("prefix", ["value_head", "score", "reward_head"])
def test_the_config_names_the_head(tmp_path: Path, prefix: str) -> None:
    folder = openrlhf_value_head(tmp_path / "openrlhf", prefix, value_head_prefix=prefix)
    assert resolve(str(folder)).kind == "value-head"
    assert_own_scores(folder, own_scores(folder, prefix))


def test_a_score_layer_that_nothing_declares_needs_the_kind(tmp_path: Path) -> None:
    folder = openrlhf_value_head(tmp_path / "openrlhf", "score")
    with pytest.raises(ModelError, match=r"names RewardModel.*--kind value-head"):
        resolve(str(folder))
    found = values(score_completion_sets(load_copy(folder, kind="value-head"), CANDIDATES))
    assert found[0] == pytest.approx(own_scores(folder, "score")[0], abs=CLOSE)


@pytest.mark.parametrize("in_config", [True, False])
def test_rewards_are_normalised_if_the_config_says_so(tmp_path: Path, in_config: bool) -> None:
    statistics = {"mean": 0.5, "std": 4.0}
    folder = openrlhf_value_head(tmp_path / "rm", normalize_reward=True, **(statistics if in_config else {}))
    if not in_config:
        edit_weights(folder, lambda w: w.update({name: torch.tensor([v]) for name, v in statistics.items()}))
    raw = own_scores(folder, "value_head")
    assert_own_scores(folder, [[(score - 0.5) / 4.0 for score in row] for row in raw])
    assert load_copy(folder).describe()["kind_detail"] == "value head value_head, (reward - 0.5) / 4"
    edit_config(folder, normalize_reward=False)
    assert_own_scores(folder, raw)


def test_the_last_token_is_read_whatever_the_pad_token(tmp_path: Path) -> None:
    """The final end-of-turn token is read although it is the pad token, as the published code does by its mask."""
    folder = trl_value_head(tmp_path / "trl")
    wanted = own_scores(folder)
    edit_config(folder, pad_token_id=1)
    assert_own_scores(folder, wanted)


def test_the_head_runs_in_float32_in_a_half_precision_model(tmp_path: Path) -> None:
    scorer = load_copy(trl_value_head(tmp_path / "trl"), dtype="bfloat16")
    assert (scorer.model.dtype, scorer.model.score.summary.weight.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(scorer.model.score.summary.weight, head_weights()["v_head.summary.weight"])


def test_the_reward_at_the_last_token_is_the_score(tmp_path: Path) -> None:
    scorer = load_copy(trl_value_head(tmp_path / "trl"))
    rewards = scorer.trace(ASK, "Paris.")
    assert len({reward for _, reward in rewards}) == len(rewards) > 1
    scores = score_completion_sets(scorer, [CANDIDATES[0]._replace(prompt=ASK, completions=("Paris.",))])
    assert rewards[-1].reward == pytest.approx(scores[0][0].value, abs=CLOSE)


def test_the_result_names_kind_and_head(tmp_path: Path) -> None:
    described = load_copy(trl_value_head(tmp_path / "trl")).describe()
    assert (described["kind"], described["output"]) == ("custom-classifier", "single")
    assert described["kind_detail"] == "value head v_head.summary"
    described = load_copy(llama_factory_value_head(tmp_path / "factory"), lower_is_better=True).describe()
    assert described["output"] == "single, lower is better"
    assert described["kind_detail"] == "value head v_head.summary of value_head.safetensors"


def test_a_head_beside_an_implicit_reward_is_recorded_as_unused(tmp_path: Path) -> None:
    folder = llama_factory_value_head(tmp_path / "adapter", causal("llama-lm", tmp_path / "base"))
    described = load_copy(folder, kind="implicit").describe()
    assert described["loading"] == ["the value head in value_head.safetensors was not used"]


# ---- refused


def without_bias(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.__delitem__("v_head.summary.bias"))


def damage(folder: Path, **head: torch.Tensor) -> None:
    save_file({f"v_head.summary.{k}": v for k, v in head.items()}, folder / "value_head.safetensors")


def test_infinite_rewards_are_unscored(tmp_path: Path) -> None:
    folder = trl_value_head(tmp_path / "infinite")
    edit_weights(folder, lambda weights: weights["v_head.summary.bias"].fill_(torch.inf))
    scorer = load_copy(folder)
    assert (scorer.batching, scorer.probe) == ("single", 0.0)
    assert {score.reason for row in score_completion_sets(scorer, CANDIDATES) for score in row} == {NOT_FINITE}


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "width": (
        lambda f: damage(f, weight=torch.ones(1, 31), bias=torch.ones(1)),
        r"\[1, 31\]; the model needs",
    ),
    "outputs": (
        lambda f: damage(f, weight=torch.ones(2, 32), bias=torch.ones(2)),
        r"bias of its head has the shape \[2\]; the model needs",
    ),
    "no weight": (lambda f: damage(f, bias=torch.ones(1)), "its head misses weight"),
    "an extra": (lambda f: damage(f, weight=torch.ones(1, 32), scale=torch.ones(1)), "its head has unexpected scale"),
    "damaged": (lambda f: (f / "value_head.safetensors").write_text("x"), "no readable value_head.safetensors"),
    "pickle": (
        lambda f: (f / "value_head.safetensors").rename(f / "value_head.bin"),
        "reward head in value_head.bin, and pickle files are not read",
    ),
    "body": (
        lambda f: edit_weights(f, lambda w: w.__delitem__("model.norm.weight")),
        "misses model.norm.weight",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_head_is_named(tmp_path: Path, fault: str) -> None:
    folder = llama_factory_value_head(tmp_path / "factory")
    change, message = FAULTS[fault]
    change(folder)
    with pytest.raises(ModelError, match=message):
        load_copy(folder)


def test_a_language_model_without_a_value_head_is_refused(tmp_path: Path) -> None:
    folder = causal("llama-lm", tmp_path / "lm")
    with pytest.raises(ModelError, match=r"no value head: its weights have no v_head.summary.weight"):
        load_copy(folder, kind="value-head")


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"mean": 0.5, "std": 0.0}, "mean is 0.5 and their std 0"),
        ({"mean": float("nan"), "std": 1.0}, "mean is nan"),
        ({"mean": [0.5, 1.0], "std": 1.0}, "not a number"),
    ],
)
def test_statistics_that_no_reward_survives_are_refused(
    tmp_path: Path, statistics: dict[str, object], message: str
) -> None:
    folder = openrlhf_value_head(tmp_path / "rm", normalize_reward=True, **statistics)
    with pytest.raises(ModelError, match=message):
        load_copy(folder)


def test_options_of_other_kinds_do_not_apply(tmp_path: Path) -> None:
    folder = trl_value_head(tmp_path / "trl")
    with pytest.raises(ModelError, match="--output-index applies only to classifiers"):
        load_copy(folder, output_index=0)
    assert load_file(folder / "model.safetensors").keys() >= head_weights().keys()
