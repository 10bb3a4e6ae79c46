"""Damaged checkpoints are refused in one line, or score like the model's own forward pass on what was written."""

from __future__ import annotations

import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import RewardBenchError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.load import load_scorer
from tests.fakes.damaged_checkpoints import ANY, FATAL
from tests.fakes.prompts import ASK
from tests.fakes.tiny_models import adapter, causal, classifier
from tests.fakes.tiny_tokenizers import DECLARED

CHECKPOINTS = ("llama", "gpt2", "bert", "deberta", "llama-lm", "reward adapter")
ASKED = CompletionSet(ASK, ("Paris is the capital.", "I do not know."))
SECONDS = 20.0
CASES = 20
SOAK_CASES = 500


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    folders = {name: classifier(name, root / name) for name in ("llama", "gpt2", "bert", "deberta")}
    folders["llama-lm"] = causal("llama-lm", root / "llama-lm")
    folders["reward adapter"] = adapter(folders["llama-lm"], root / "adapter", task="SEQ_CLS")
    for name, folder in folders.items():
        if name in DECLARED:
            (folder / "chat_template.jinja").write_text(DECLARED[name])
    return folders


def score(name: str, folder: Path) -> tuple[Any, list[float]]:
    """Return the scorer and its scores."""
    free = {"reference_free": "sum"} if name == "llama-lm" else {}
    scorer = load_scorer(resolve(str(folder), ModelOptions(device="cpu", **free)))  # type: ignore[arg-type]
    (scores,) = score_completion_sets(scorer, [ASKED])
    return scorer, [score.value for score in scores]


def own_scores(name: str, folder: Path, base: Path, starts: list[int]) -> list[float]:
    """Return the scores by transformers alone, one unpadded conversation at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if name == "llama-lm":
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
    elif name == "reward adapter":
        bare = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        model = PeftModel.from_pretrained(bare, str(folder)).eval()
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for text, start in zip(ASKED.completions, starts, strict=True):
        ids = own_ids(tokenizer, [*ASKED.prompt, {"role": "assistant", "content": text}])
        types = {}
        if getattr(model.config, "type_vocab_size", 0) > 1 and tokenizer.sep_token_id in ids:
            second = ids.index(tokenizer.sep_token_id) + 1
            types = {"token_type_ids": torch.tensor([[0] * second + [1] * (len(ids) - second)])}
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), **types).logits[0].float()
        if name == "llama-lm":
            logprobs = logits.log_softmax(-1)
            scores.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids))))
        else:
            scores.append(float(logits[0]))
    return scores


def own_ids(tokenizer: Any, turns: list[Any]) -> list[int]:
    """Return the ids of the rendered conversation, with content as text or as parts, whichever is written out."""
    in_parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    mixed = [in_parts[-1] if turn["role"] == "assistant" else turn for turn in turns]
    for messages in (turns, in_parts, mixed):
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False)
        except (TypeError, ValueError):
            continue
        if all(turn["content"] in text for turn in turns) and "'text':" not in text:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    raise AssertionError("what was written is not in the conversation that was scored")


def check(seed: int, checkpoints: dict[str, Path], folder: Path) -> str:
    """Damage a copy of a checkpoint and try to score with it; return what became of it."""
    rng = random.Random(seed)
    name = rng.choice(CHECKPOINTS)
    shutil.copytree(checkpoints[name], folder)
    fatal = rng.random() < 0.4
    damages = [rng.choice(sorted(FATAL))] if fatal else rng.sample(sorted(ANY), rng.choice([1, 1, 2]))
    for damage in damages:
        try:
            (FATAL if fatal else ANY)[damage](folder, rng)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError):
            if fatal:  # only a second damage may meet a file that the first one made unreadable
                raise
    case = f"seed {seed}: {name} with {damages}"
    error, started = "", time.monotonic()
    try:
        scorer, scores = score(name, folder)
    except RewardBenchError as refused:
        error = str(refused)
    assert time.monotonic() - started < SECONDS, case
    if error:
        assert error.isprintable(), (case, error)
        return f"{case}: {error}"
    assert not fatal, f"{case}: scored {scores}"
    encoded = scorer.encode(ASKED)
    tolerance = 1e-4 if scorer.model.dtype == torch.float32 else 5e-2
    own = own_scores(name, folder, checkpoints["llama-lm"], [each.start for each in encoded])
    for value, own_value, each in zip(scores, own, encoded, strict=True):
        if math.isfinite(own_value) and not each.reason:
            assert value == pytest.approx(own_value, abs=tolerance, rel=tolerance), case
        else:
            assert math.isnan(value), case
    return f"{case}: scored"


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rb_core.models.chat_format.SECONDS", 2.0)


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("cases", [range(CASES), pytest.param(range(CASES, SOAK_CASES), marks=pytest.mark.soak)])
def test_a_damaged_checkpoint_is_refused_in_one_line_or_scores_like_itself(
    checkpoints: dict[str, Path], tmp_path: Path, cases: range
) -> None:
    for seed in cases:
        check(seed, checkpoints, tmp_path / str(seed))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_an_undamaged_checkpoint_scores_like_itself(checkpoints: dict[str, Path], name: str) -> None:
    scorer, scores = score(name, checkpoints[name])
    starts = [encoded.start for encoded in scorer.encode(ASKED)]
    own = own_scores(name, checkpoints[name], checkpoints["llama-lm"], starts)
    assert scores == pytest.approx(own, abs=1e-4, rel=1e-4)
