"""Process reward models: every step as a forward pass written here, one number for all of them, or a reason."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

from rb_core.benchmarks.example import AssistantTurn, CompletionSet, Conversation, Message
from rb_core.benchmarks.processbench import read_processbench
from rb_core.benchmarks.row_location import RowLocation
from rb_core.doctor import examine
from rb_core.errors import ModelError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import AGGREGATES, ModelOptions
from rb_core.models.resolve import resolve
from rb_core.models.step_format import MORE_THAN_TEXT, SEPARATORS_UNCLEAR, split_steps
from rb_core.scorers.process import aggregated
from tests.benchmarks.processbench_rows import SOLUTIONS
from tests.fakes.prompts import ASK, ask, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import causal, edit_weights, process, two_layer_process

CLOSE = 1e-5
# Each family with a separator: an own token, a word before a line break, and white space.
SEPARATORS = {"qwen2": "<|im_start|>", "llama": " !\n", "mistral": " [", "phi3": "\n"}
STEPPED = [
    CompletionSet(ASK, ("It is in Europe.\n\nParis is the capital.\n\nSo: Paris", "Lyon", "I do not know.\n \nParis")),
    CompletionSet(ask("Name three rivers."), tuple("\n\n".join(["The Rhine.", "The Danube."] * n) for n in (1, 2, 5))),
    CompletionSet((*ask("Hi"), turn("assistant", "Hello."), turn("user", "Hi")), ("Hello\n\nyou", "")),
]


def step_logits(folder: Path, separator: str, prompt: Conversation, completion: str) -> torch.Tensor:
    """Return the (steps, 2) logits of the published computation, with torch alone, on one conversation."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "".join(step + separator for step in split_steps(completion))
    messages = [*prompt, turn("assistant", text)]
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    config = (folder / "config.json").read_text()
    if "ForCausalLM" in config:
        own = AutoModelForCausalLM.from_pretrained(folder).eval()(torch.tensor([ids])).logits[0]
        logits = own[:, [tokenizer.convert_tokens_to_ids(token) for token in ("-", "+")]]
    elif "ForTokenClassification" in config:
        logits = AutoModelForTokenClassification.from_pretrained(folder).eval()(torch.tensor([ids])).logits[0]
    else:
        weights = load_file(folder / "model.safetensors")
        states = AutoModel.from_pretrained(folder).eval()(torch.tensor([ids])).last_hidden_state[0]
        inner = (states @ weights["score.0.weight"].T + weights["score.0.bias"]).clamp(min=0)
        logits = inner @ weights["score.2.weight"].T + weights["score.2.bias"]
    core = separator.strip() or separator
    ends = [i for i, each in enumerate(ids) if tokenizer.decode([each]).strip(" ") == core]
    first = len(tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=False))
    return logits[[i for i in ends if i >= first][: len(split_steps(completion))]].detach()


def logit(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


PLAIN = {"min": min, "prod": math.prod, "mean": lambda p: sum(p) / len(p), "last": lambda p: p[-1]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("process")
    made = {family: process(family, root / family) for family in SEPARATORS}
    return made | {"two-layers": two_layer_process(root / "two"), "verdict": causal("llama-lm", root / "verdict")}


def declared(name: str) -> dict[str, Any]:
    if name == "verdict":
        return {"step_separator": SEPARATORS["llama"], "tokens": ("+", "-")}
    return {"step_separator": SEPARATORS.get(name, SEPARATORS["qwen2"]), "output_index": 1}


@pytest.mark.parametrize("name", [*SEPARATORS, "two-layers", "verdict"])
def test_scores_are_the_published_computation(folders: dict[str, Path], name: str) -> None:
    separator = declared(name)["step_separator"]
    steps = [
        [step_logits(folders[name], separator, c.prompt, text).softmax(dim=1)[:, 1].double() for text in c.completions]
        for c in STEPPED
    ]
    for aggregate in AGGREGATES:
        scorer = load_copy(folders[name], **declared(name), aggregate=aggregate)
        assert (scorer.batching, resolve_kind(folders[name])) == ("packed", "process")
        wanted = [[logit(PLAIN[aggregate](each.tolist())) for each in row] for row in steps]
        for batching in ("packed", "bucketed", "bucketed-own-forward", "single"):
            scorer.batching = batching
            for scorer.batch_tokens in (1, 100, 4096):
                for left, right in zip(values(score_completion_sets(scorer, STEPPED)), wanted, strict=True):
                    assert left == pytest.approx(right, abs=CLOSE, rel=CLOSE)


def resolve_kind(folder: Path) -> str:
    return resolve(str(folder), ModelOptions(step_separator="x")).kind


def test_beginnings_of_a_solution_are_read_once(folders: dict[str, Path]) -> None:
    """All steps of a solution go through the model with its longest beginning, and give what each gives alone."""
    scorer = load_copy(folders["qwen2"], step_separator=SEPARATORS["qwen2"], output_index=1, aggregate="last")
    example = read_processbench(SOLUTIONS[4].row(4), RowLocation("x", 1, "gsm8k"))
    whole = CompletionSet(example.prompt, example.completions)
    (batch,) = scorer.plan([whole]).batches
    assert len(batch.cells) == 3
    assert batch.tokens == len(scorer.needed_tokens(scorer.encode(whole)[-1]))
    trace = scorer.trace(example.prompt, example.completions[-1])
    assert [token.text for token in trace] == list(SOLUTIONS[4].steps)
    (scores,) = values(score_completion_sets(scorer, [whole]))
    assert scores == pytest.approx([token.reward for token in trace], abs=CLOSE)


def test_the_step_below_the_threshold_is_the_first_one_under_the_minimum_too(folders: dict[str, Path]) -> None:
    last, minimum = (
        load_copy(folders["llama"], step_separator=SEPARATORS["llama"], output_index=1, aggregate=aggregate)
        for aggregate in ("last", "min")
    )
    for number, solution in enumerate(SOLUTIONS):
        example = read_processbench(solution.row(number), RowLocation("x", 1, "gsm8k"))
        sets = [CompletionSet(example.prompt, example.completions)]
        first = [
            next((i for i, score in enumerate(values(score_completion_sets(scorer, sets))[0]) if score < 0), -1)
            for scorer in (last, minimum)
        ]
        assert first[0] == first[1]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_declared_output_is_compared_with_all_others(tmp_path: Path, index: int) -> None:
    folder = process("qwen2", tmp_path / "three", num_labels=3)
    scorer = load_copy(folder, step_separator="<|im_start|>", output_index=index)
    logits = step_logits(folder, "<|im_start|>", ASK, "Paris")
    ((score,),) = values(score_completion_sets(scorer, [CompletionSet(ASK, ("Paris",))]))
    assert score == pytest.approx(logit(float(logits.softmax(dim=1)[0, index])), abs=CLOSE)


def test_one_output_is_the_log_odds_itself(tmp_path: Path) -> None:
    folder = process("qwen2", tmp_path / "one", num_labels=1)
    for index in (None, 0):
        scorer = load_copy(folder, step_separator="<|im_start|>", output_index=index)
        ((score,),) = values(score_completion_sets(scorer, [CompletionSet(ASK, ("Paris",))]))
        assert score == pytest.approx(float(step_logits(folder, "<|im_start|>", ASK, "Paris")[0, 0]), abs=CLOSE)


def test_the_text_that_is_shown_is_the_text_that_is_read(folders: dict[str, Path]) -> None:
    chat = load_copy(folders["qwen2"], **declared("qwen2")).chat
    (encoded,) = chat.encode(ASK, ("One.\n\nTwo.",))
    assert chat.tokenizer.decode(encoded.ids) == chat.conversation_text(ASK, "One.\n\nTwo.")


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_aggregates_keep_what_probabilities_would_round_away(aggregate: Any) -> None:
    """With q = 1 - p: the largest q, 1 - product of p, the mean q, and the last q, exact for q near 0."""
    q = [1e-17, 3e-18, 2e-17]
    wanted = {"min": 2e-17, "prod": 3.3e-17, "mean": 1.1e-17, "last": 2e-17}[aggregate]
    steps = torch.tensor([math.log1p(-each) - math.log(each) for each in q], dtype=torch.float64)
    assert float(aggregated(steps, aggregate)) == pytest.approx(-math.log(wanted), rel=1e-12)


def test_a_completion_that_holds_a_separator_is_unscored_with_a_reason(folders: dict[str, Path]) -> None:
    scorer = load_copy(folders["llama"], step_separator=SEPARATORS["llama"], output_index=1)
    sets = [CompletionSet(ASK, ("Paris ! is\n\nnice", "Paris is\n\nnice"))]
    ((bad, good),) = score_completion_sets(scorer, sets)
    assert bad.reason == SEPARATORS_UNCLEAR
    assert math.isnan(bad.value)
    assert math.isfinite(good.value)
    with pytest.raises(ModelError, match="another number of step separators"):
        scorer.trace(ASK, "Paris ! is\n\nnice")


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("llama", {"output_index": 1}, "text that follows each step.*--step-separator"),
        ("llama", {"step_separator": "<extra_0>", "output_index": 1}, "'<extra_0>' is \\d+ tokens of the tokenizer"),
        ("llama", {"step_separator": "\n", "output_index": 1}, "'\\\\n' does not end with a token.*--chat-template"),
        ("llama", {"step_separator": " !\n"}, "its head has 2 outputs; declare the one that means right"),
        ("llama", {"step_separator": " !\n", "output_index": 2}, "its head has 2 outputs, which does not match"),
        ("llama", {"step_separator": "", "output_index": 1}, "--step-separator: expected a text"),
        ("llama", {"kind": "classifier", "step_separator": " !"}, "a process reward model, which is not of the kind"),
        ("llama", {"step_separator": " !", "output_weights": (1.0, 0.0)}, "--output-weights applies only to classifi"),
    ],
)
def test_undeclared_settings_are_asked_for(
    folders: dict[str, Path], family: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_copy(folders[family], **options)


def test_a_model_without_a_head_is_refused(tmp_path: Path) -> None:
    folder = process("llama", tmp_path / "broken")
    edit_weights(folder, lambda weights: [weights.pop(name) for name in ("score.weight", "score.bias")])
    with pytest.raises(ModelError, match="no head at steps"):
        load_copy(folder, step_separator=" !", output_index=1)


def test_a_turn_with_tool_calls_has_no_steps(folders: dict[str, Path]) -> None:
    scorer = load_copy(folders["llama"], **declared("llama"))
    answer = AssistantTurn(Message(role="assistant", content="Paris", reasoning_content="It is in France."))
    scorer.chat.__dict__["_check_written"] = lambda *_: None  # the tiny template writes no reasoning
    ((score,),) = score_completion_sets(scorer, [CompletionSet(ASK, (answer,))])
    assert score.reason == MORE_THAN_TEXT


# ---- doctor


def findings(folder: Path, **options: Any) -> dict[str, str]:
    report = examine(str(folder), ModelOptions(device="cpu", **options))
    return {check.id: f"{check.status} {check.found}" for check in report.checks}


def test_doctor_passes_a_good_model(folders: dict[str, Path]) -> None:
    found = findings(folders["qwen2"], step_separator="<|im_start|>", output_index=1)
    assert not [text for text in found.values() if text.startswith("FAIL")]
    assert "the separator after each step" in found["read"]


@pytest.mark.parametrize(
    ("options", "check", "message"),
    [
        ({"step_separator": "<extra_0>", "output_index": 1}, "template", "is \\d+ tokens of the tokenizer"),
        ({"step_separator": "\n\n", "output_index": 1}, "template", "does not end with a token"),
        ({"step_separator": " !\n"}, "output", "declare the one that means right"),
    ],
)
def test_doctor_names_what_is_not_declared(
    folders: dict[str, Path], options: dict[str, Any], check: str, message: str
) -> None:
    found = findings(folders["llama"], **options)
    assert found[check].startswith("FAIL")
    assert re.search(message, found[check])


def test_doctor_names_a_head_of_zeros_and_a_missing_one(tmp_path: Path) -> None:
    folder = process("qwen2", tmp_path / "zeros")
    edit_weights(folder, lambda weights: weights["score.weight"].zero_())
    options = {"step_separator": "<|im_start|>", "output_index": 1}
    assert findings(folder, **options)["head"].startswith("FAIL")
    edit_weights(folder, lambda weights: weights.pop("score.weight"))
    assert "its head misses weight" in findings(folder, **options)["kind"]


def test_doctor_passes_verdict_tokens_and_names_one_that_is_several(folders: dict[str, Path]) -> None:
    found = findings(folders["verdict"], **declared("verdict"))
    assert not [text for text in found.values() if text.startswith("FAIL")]
    assert "log-odds of token" in found["head"]
    broken = findings(folders["verdict"], step_separator=" !\n", tokens=("right", "wrong"))
    assert "is the reward" in broken["kind"] or "tokens of its tokenizer" in broken["kind"]
