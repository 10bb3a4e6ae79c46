"""Classifiers: a score is the model's own forward pass on one unpadded conversation, or there is none."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.errors import ModelError
from rb_core.evaluation.evaluate import evaluate
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import COMPLETION_TOO_LONG
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.score_table import read_scores
from rb_core.scorers.base import Cell, scores_by_cell
from rb_core.scorers.classifier import ClassifierScorer
from rb_core.scorers.conversation_scorer import TOLERANCE
from rb_core.scorers.function import NOT_FINITE
from rb_core.scorers.load import load_scorer
from rb_core.scorers.loading import max_length_of
from tests.benchmarks.preference_files import write_jsonl
from tests.fakes import tiny_models, tiny_tokenizers
from tests.fakes.prompts import ASK, CANDIDATES, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import (
    BUILDERS,
    DECODERS,
    PAIR_ENCODERS,
    UNPACKABLE,
    classifier,
    edit_config,
    edit_weights,
)
from tests.fakes.tiny_tokenizers import DECLARED, TOOL_TEMPLATE, pair_tokenizer

TinyModel = Callable[[str], Path]
CLOSE = 1e-5
# The ways of batching that each architecture allows: an encoder's head is read by its own forward pass, and a model
# without a pad token refuses batches there.
PACKED = tuple(name for name in DECODERS if name not in UNPACKABLE)
WAYS = [
    *((name, "packed") for name in PACKED),
    *((name, "bucketed") for name in DECODERS),
    *((name, "bucketed-own-forward") for name in BUILDERS if name != "gpt2"),
]


PAIRS = [
    CompletionSet((turn("user", "What is the capital of France?"),), ("Paris, of course.", "I do not know.")),
    CompletionSet((turn("user", "Name a river."),), ("The Rhine", "The Danube, and the Volga as well.")),
]
WITH_SYSTEM: Conversation = (turn("system", "Please answer in one short sentence."), *ASK)


def load(folder: Path, name: str = "", batching: str = "", **options: Any) -> ClassifierScorer:
    """Load the scorer of a folder, with the template for an architecture of this name.

    batching: replaces the way of batching that was chosen at load time.
    """
    scorer: ClassifierScorer = load_copy(folder, **{"chat_template": DECLARED.get(name)} | options)
    scorer.batching = batching or scorer.batching
    return scorer


def drop_weight(folder: Path, name: str) -> None:
    """Take one weight out of a saved checkpoint."""
    edit_weights(folder, lambda weights: weights.__delitem__(name))


class Own:
    """The checkpoint as transformers runs it, by itself: what every score is compared with."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.template = DECLARED.get(name)

    def ids(self, prompt: Conversation, completion: str) -> list[int]:
        messages = [*prompt, turn("assistant", completion)]
        return list(
            self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, chat_template=self.template)
        )

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> list[float]:
        logits = self.model(torch.tensor([list(ids)])).logits
        return [float(value) for value in logits[0]]

    def scores(self, candidates: Sequence[CompletionSet]) -> list[list[float]]:
        return [[self.logits(self.ids(c.prompt, text))[0] for text in c.completions] for c in candidates]


@pytest.fixture(scope="module")
def own(tiny_model: TinyModel) -> Callable[[str], Own]:
    """The model as transformers runs it, loaded once."""
    return functools.cache(lambda name: Own(tiny_model(name), name))


@pytest.fixture(scope="module")
def expected(own: Callable[[str], Own]) -> Callable[[str], list[list[float]]]:
    """CANDIDATES' scores by the model's own forward pass. The dated template is rendered on its frozen day."""

    @functools.cache
    def get(name: str) -> list[list[float]]:
        model = own(name)
        if name == "llama-dated":
            model.template = tiny_tokenizers.DATED_TEMPLATE.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
        return model.scores(CANDIDATES)

    return get


def assert_close(found: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]], tolerance: float = CLOSE) -> None:
    for left, right in zip(found, wanted, strict=True):
        assert left == pytest.approx(right, abs=tolerance, rel=tolerance)


# ---- the token that is read, whoever the neighbours are


@pytest.mark.parametrize(("name", "batching"), WAYS)
def test_scores_are_the_models_own_forward_pass(
    tiny_model: TinyModel, expected: Callable[[str], list[list[float]]], name: str, batching: str
) -> None:
    scorer = load(tiny_model(name), name, batching)
    for scorer.batch_tokens in (64, 8192):
        assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected(name))


@pytest.mark.parametrize("batching", ["packed", "bucketed", "bucketed-own-forward"])
def test_the_batch_size_does_not_matter(
    tiny_model: TinyModel, expected: Callable[[str], list[list[float]]], batching: str
) -> None:
    scorer = load(tiny_model("llama"), "llama", batching)
    for scorer.batch_tokens in (1, 64, 512, 8192):
        plan = scorer.plan(CANDIDATES)
        sizes = [len(batch.cells) for batch in plan.batches]
        assert (max(sizes) == 1) if scorer.batch_tokens == 1 else (max(sizes) > 1 or scorer.batch_tokens < 512)
        scores = scores_by_cell(plan.batches, map(scorer.score, plan.batches))
        by_cell = [[scores[Cell(i, j)].value for j in range(len(c.completions))] for i, c in enumerate(CANDIDATES)]
        assert_close(by_cell, expected("llama"))
        assert values(score_completion_sets(scorer, CANDIDATES)) == by_cell


@pytest.mark.parametrize("name", BUILDERS)
def test_the_best_exact_batching_is_chosen(tiny_model: TinyModel, name: str) -> None:
    """Rows are packed for every architecture whose tokens only attend to earlier ones; the description has the way
    and the largest difference of the probes."""
    scorer = load(tiny_model(name), name)
    about = scorer.describe()
    assert about["batching"] == {"deberta": "bucketed-own-forward", "jamba": "bucketed"}.get(name, "packed")
    assert about["batching"] == scorer.batching
    assert about["probe"] == scorer.probe
    assert 0 <= about["probe"] < 10 * CLOSE
    own_attention = {"sdpa", "eager"}  # the checkpoint's, where rows are not packed
    assert about["attention"] in ({"packed"} if about["batching"] == "packed" else own_attention)
    assert scorer.model.config._attn_implementation in own_attention


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_rows_are_packed_in_half_precision_as_well(tiny_model: TinyModel, name: str, dtype: str) -> None:
    scorer = load(tiny_model(name), name, dtype=dtype)
    about = scorer.describe()
    assert (about["batching"], about["dtype"]) == ("packed", dtype)
    packed = values(score_completion_sets(scorer, CANDIDATES))
    scorer.batching = "single"
    alone = values(score_completion_sets(scorer, CANDIDATES))
    size = max(abs(value) for row in alone for value in row)
    assert_close(packed, alone, TOLERANCE[scorer.model.dtype] * size)
    assert scorer.model.score.weight.dtype == torch.float32
    assert sum(float(torch.tensor(v).to(scorer.model.dtype)) == v for row in packed for v in row) < len(packed)


@pytest.mark.parametrize("name", BUILDERS)
def test_scores_of_the_tiny_models_differ_by_more_than_the_tolerance(
    expected: Callable[[str], list[list[float]]], name: str
) -> None:
    flat = sorted(itertools.chain.from_iterable(expected(name)))
    assert min(b - a for a, b in itertools.pairwise(flat)) > 100 * CLOSE
    assert max(map(abs, flat)) > 1


@pytest.mark.parametrize(("name", "batching"), [*((name, "") for name in BUILDERS), ("llama", "bucketed")])
def test_order_and_neighbours_do_not_matter(tiny_model: TinyModel, name: str, batching: str) -> None:
    scorer = load(tiny_model(name), name, batching)
    together = values(score_completion_sets(scorer, CANDIDATES))
    alone = [
        [score_completion_sets(scorer, [CompletionSet(c.prompt, (t,))])[0][0].value for t in c.completions]
        for c in CANDIDATES
    ]
    assert_close(together, alone)
    turned = [CompletionSet(c.prompt, c.completions[::-1]) for c in CANDIDATES[::-1]]
    assert_close([row[::-1] for row in values(score_completion_sets(scorer, turned))[::-1]], together)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "llama-dated"])
def test_tokens_and_empty_completions_are_counted_and_the_pad_token_is_kept(
    tiny_model: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    scorer = load(tiny_model(name), name)
    assert scorer.plan(CANDIDATES).notes["empty_completions"] == 1
    for row, each in zip(score_completion_sets(scorer, CANDIDATES), CANDIDATES, strict=True):
        for score, text in zip(row, each.completions, strict=True):
            assert score.num_tokens == len(own(name).ids(each.prompt, text))
            assert (score.truncated, score.reason) == (False, "")
    assert scorer.model.config.pad_token_id == own(name).model.config.pad_token_id
    assert scorer.chat.tokenizer.pad_token == own(name).tokenizer.pad_token


def test_pad_equal_to_eos_reads_the_token_before_the_final_eos(
    tiny_model: TinyModel, own: Callable[[str], Own]
) -> None:
    model = own("llama-pad-is-eos")
    ids = model.ids(ASK, "Paris!")
    assert ids[-1] == model.model.config.pad_token_id == model.tokenizer.eos_token_id
    with torch.no_grad():
        hidden = model.model.model(torch.tensor([ids])).last_hidden_state
        before = float(model.model.score(hidden[0, -2]))
        at_eos = float(model.model.score(hidden[0, -1]))
    assert abs(before - at_eos) > 100 * CLOSE
    scorer = load(tiny_model("llama-pad-is-eos"))
    ((score,),) = score_completion_sets(scorer, [CompletionSet(ASK, ("Paris!",))])
    assert score.value == pytest.approx(before, abs=CLOSE)
    assert scorer.describe()["scored_token"] in {"."}  # the probe's answer ends in a full stop


def test_without_a_pad_token_the_last_token_is_read(tiny_model: TinyModel, own: Callable[[str], Own]) -> None:
    model = own("gpt2")
    assert model.model.config.pad_token_id is None
    ids = model.ids(ASK, "Paris!")
    with torch.no_grad():
        last = float(model.model.score(model.model.transformer(torch.tensor([ids])).last_hidden_state[0, -1]))
    scorer = load(tiny_model("gpt2"), "gpt2")
    found = score_completion_sets(
        scorer, [CompletionSet(ASK, ("Paris!", "I do not know, but you could find it yourself."))]
    )
    assert found[0][0].value == pytest.approx(last, abs=CLOSE)
    assert scorer.describe()["scored_token"] in {"<|endoftext|>"}


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
@pytest.mark.parametrize("name", ["llama", "gemma2", "llama-pad-is-eos"])
def test_a_pad_token_inside_the_text_is_read_as_the_model_reads_it(
    tiny_model: TinyModel, own: Callable[[str], Own], name: str, batching: str
) -> None:
    pad = own(name).tokenizer.pad_token
    candidates = [CompletionSet(ASK, (f"One {pad} two", f"{pad}", "Three", f"Four {pad}{pad}"))]
    found = values(score_completion_sets(load(tiny_model(name), batching=batching), candidates))
    assert_close(found, own(name).scores(candidates))


def test_completions_that_are_all_pad_score_as_the_model_does(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("gpt2-pad-is-eos")
    template = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    scorer = load(folder, chat_template=template)
    model = Own(folder)
    model.template = template
    candidates = [CompletionSet((turn("user", "<|endoftext|>"),), ("<|endoftext|>", "<|endoftext|>" * 4, "Hm."))]
    for scorer.batching in ("packed", "bucketed", "single"):
        assert_close(values(score_completion_sets(scorer, candidates)), model.scores(candidates))


def test_a_negative_pad_token_id_means_none(tmp_path: Path) -> None:
    folder = tiny_models.llama(tmp_path / "llama", tiny_tokenizers.llama_tokenizer(pad_token=None))
    edit_config(folder, pad_token_id=-1)
    wanted = Own(folder).scores(CANDIDATES)
    for batching in ("packed", "bucketed"):
        assert_close(values(score_completion_sets(load(folder, batching=batching), CANDIDATES)), wanted)


def test_an_encoder_is_padded_on_the_right_only(tiny_copy: TinyModel, expected: Callable[[str], Any]) -> None:
    for name in ("deberta", "llama"):
        folder = tiny_copy(name)
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left"}))
        scorer = load(folder, name)
        assert scorer.chat.tokenizer.padding_side == "left"
        assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected(name))


class Fed(NamedTuple):
    """The input of one forward pass of a model without its head."""

    ids: list[list[int]]
    mask: list[list[int]]
    positions: list[list[int]] | None


def watched(scorer: ClassifierScorer) -> list[Fed]:
    """Collect the input of every forward pass from now on."""
    seen: list[Fed] = []

    def watch(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
        mask = torch.ones_like(ids) if mask is None else mask
        seen.append(Fed(ids.tolist(), mask.tolist(), None if positions is None else positions.tolist()))

    scorer.model.base_model.register_forward_pre_hook(watch, with_kwargs=True)
    return seen


def distinct(conversations: Sequence[Sequence[int]]) -> int:
    """Return the number of tokens, the common prefix counted once."""
    shared = 0
    for tokens in zip(*conversations, strict=False):
        if len(set(tokens)) > 1:
            break
        shared += 1
    return shared + sum(len(ids) - shared for ids in conversations)


def stripped(ids: list[int], pad: int | None) -> list[int]:
    """Return ids without pads at the end."""
    return ids[: max(i for i, token in enumerate(ids, 1) if token != pad)]


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_row_has_each_token_once(own: Callable[[str], Own], tiny_model: TinyModel, name: str) -> None:
    scorer = load(tiny_model(name), name)
    seen = watched(scorer)
    score_completion_sets(scorer, CANDIDATES)
    model = own(name)
    if name == "llama-dated":
        model.template = tiny_tokenizers.DATED_TEMPLATE.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    pad = scorer.pad_token_id()  # pads at the end stand behind the token that is read
    encoded = [[stripped(model.ids(each.prompt, text), pad) for text in each.completions] for each in CANDIDATES]
    (fed,) = seen
    (ids,), (mask,) = fed.ids, fed.mask
    assert len(ids) <= sum(map(distinct, encoded))
    assert mask == [1] * len(ids)
    assert fed.positions is not None
    (positions,) = fed.positions
    wanted = {(i, token) for each in encoded for one in each for i, token in enumerate(one)}
    assert set(zip(positions, ids, strict=True)) == wanted
    # a run of positions for each prompt and each completion, and each run goes up by one
    jumps = [i for i, (left, right) in enumerate(itertools.pairwise(positions), 1) if right != left + 1]
    assert positions[0] == 0
    assert len(jumps) + 1 <= sum(len(each) + 1 for each in encoded)
    runs = [ids[start:stop] for start, stop in itertools.pairwise([0, *jumps, len(ids)])]
    for each in encoded:
        for one in each:
            held = any(other is not one and other[: len(one)] == one for other in each)
            assert held or any(run == one[len(one) - len(run) :] for run in runs)


@pytest.mark.parametrize(
    ("name", "batching"), [(n, "bucketed") for n in DECODERS] + [("deberta", "bucketed-own-forward")]
)
def test_a_batch_is_padded_on_the_right(tiny_model: TinyModel, name: str, batching: str) -> None:
    scorer = load(tiny_model(name), name, batching)
    plan = scorer.plan(CANDIDATES)
    seen = watched(scorer)
    for batch in plan.batches:
        scorer.score(batch)
    found = set()
    for fed in seen:
        for row, kept in zip(fed.ids, fed.mask, strict=True):
            length = sum(kept)
            assert kept == [1] * length + [0] * (len(row) - length)
            found.add(tuple(row[:length]))
    assert found == {encoded.ids for batch in plan.batches for encoded in batch.inputs}
    assert max(len(fed.ids) for fed in seen) > 1


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1.0), ("float32", 1e-6), ("bfloat16", 1.0), ("bfloat16", 5e-3)]
)
def test_a_head_that_reads_before_the_first_pad_is_detected(
    tiny_copy: TinyModel, monkeypatch: pytest.MonkeyPatch, dtype: str, scale: float
) -> None:
    """A head that reads before the first pad token, as older ones do, runs in its own forward pass, however small its
    scores are."""
    from transformers import LlamaForSequenceClassification
    from transformers.modeling_outputs import SequenceClassifierOutputWithPast

    def forward(self: Any, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
        hidden = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        is_pad = (input_ids == self.config.pad_token_id).int()
        length = torch.where(is_pad.any(-1), is_pad.argmax(-1), input_ids.shape[-1])
        rows = torch.arange(len(input_ids))
        return SequenceClassifierOutputWithPast(logits=self.score(hidden)[rows, (length - 1).clamp(min=0)])

    monkeypatch.setattr(LlamaForSequenceClassification, "forward", forward)
    folder = tiny_copy("llama-pad-is-eos")
    edit_weights(folder, lambda weights: weights.update({"score.weight": weights["score.weight"] * scale}))
    scorer = load(folder, dtype=dtype)
    about = scorer.describe()
    assert about["batching"] not in {"bucketed", "packed"}
    assert about["scored_token"] is None  # nobody knows which it is
    if dtype == "float32":
        found, wanted = values(score_completion_sets(scorer, CANDIDATES)), Own(folder).scores(CANDIDATES)
        assert_close([[v / scale for v in row] for row in found], [[v / scale for v in row] for row in wanted])


# ---- the number


def test_scores_are_raw_logits(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    before = values(score_completion_sets(load(folder), CANDIDATES))
    edit_weights(folder, lambda weights: weights.update({"score.weight": 3 * weights["score.weight"]}))
    after = values(score_completion_sets(load(folder), CANDIDATES))
    assert_close(after, [[3 * value for value in row] for row in before])
    assert max(abs(value) for row in after for value in row) > 5
    assert min(value for row in after for value in row) < 0


@pytest.mark.parametrize("name", ["llama", "deberta"])
def test_the_head_runs_in_float32(tiny_model: TinyModel, own: Callable[[str], Own], name: str) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model(name), dtype=torch.bfloat16).eval()
    scorer = load(tiny_model(name), name, dtype="bfloat16")
    found = values(score_completion_sets(scorer, CANDIDATES))
    rounded = []
    for row, each in zip(found, CANDIDATES, strict=True):
        for value, text in zip(row, each.completions, strict=True):
            ids = own(name).ids(each.prompt, text)
            with torch.no_grad():
                in_bfloat16 = float(model(torch.tensor([ids])).logits[0, 0])
            assert value == pytest.approx(in_bfloat16, abs=0.5, rel=0.1)
            rounded.append(float(torch.tensor(value).bfloat16()) == value)
    assert not all(rounded)
    assert sum(rounded) < len(rounded) / 2
    assert scorer.describe()["dtype"] == "bfloat16"
    assert next(scorer.model.base_model.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_float32_head_on_a_bfloat16_body_is_exact(
    tiny_model: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model(name), dtype=torch.bfloat16).eval()
    scorer = load(tiny_model(name), name, dtype="bfloat16", batch_tokens=1)
    for text in CANDIDATES[0].completions:
        ids = own(name).ids(ASK, text)
        with torch.no_grad():
            hidden = model.base_model(torch.tensor([ids])).last_hidden_state[0, -1]
            wanted = float(hidden.float() @ model.score.weight[0].float())
        ((score,),) = score_completion_sets(scorer, [CompletionSet(ASK, (text,))])
        assert score.value == pytest.approx(wanted, abs=CLOSE, rel=CLOSE)


def test_the_default_dtype_is_the_checkpoints(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    assert load(folder).describe()["dtype"] == "float32"
    edit_weights(folder, lambda weights: weights.update({k: v.bfloat16() for k, v in weights.items()}))
    edit_config(folder, dtype="bfloat16")
    assert load(folder).describe()["dtype"] == "bfloat16"
    assert load(folder, dtype="float32").describe()["dtype"] == "float32"


@pytest.mark.parametrize("name", ["org-llama-gemma-2-27b-8bit-awq-gptq-fp16-bf16-beaver-cost"])
def test_the_name_of_a_model_decides_nothing(tiny_model: TinyModel, tmp_path: Path, name: str) -> None:
    plain = load(tiny_model("llama"))
    folder = tmp_path / name
    folder.symlink_to(tiny_model("llama"), target_is_directory=True)
    named = load(folder, name=f"org/{name}")
    assert score_completion_sets(named, CANDIDATES) == score_completion_sets(plain, CANDIDATES)
    assert named.describe() == plain.describe()
    assert not getattr(named.model, "is_quantized", False)


def test_nan_and_infinity_are_unscored_with_a_reason(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    for broken in (math.nan, math.inf):
        edit_weights(
            folder, lambda w, broken=broken: w.update({"score.weight": torch.full_like(w["score.weight"], broken)})
        )
        for row in score_completion_sets(load(folder), CANDIDATES):
            for score in row:
                assert math.isnan(score.value)
                assert score.reason == NOT_FINITE
                assert score.num_tokens > 0


def test_one_score_that_is_not_finite_does_not_affect_others(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    token = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("#")
    before = score_completion_sets(load(folder), CANDIDATES)

    def damage(weights: dict[str, torch.Tensor]) -> None:
        weights["model.embed_tokens.weight"][token] = math.nan

    edit_weights(folder, damage)
    scorer = load(folder)
    found = score_completion_sets(scorer, [*CANDIDATES, CompletionSet(ASK, ("#", "Paris is the capital of France."))])
    assert_close(values(found[:3]), values(before))
    assert (found[3][0].reason, found[3][1].reason) == (NOT_FINITE, "")
    assert found[3][1].value == pytest.approx(before[0][0].value, abs=CLOSE)


# ---- loading


@pytest.mark.parametrize(
    ("name", "weight"), [("llama", "score.weight"), ("deberta", "classifier.weight"), ("deberta", "pooler.dense.bias")]
)
def test_a_missing_head_weight_is_fatal(tiny_copy: TinyModel, name: str, weight: str) -> None:
    folder = tiny_copy(name)
    drop_weight(folder, weight)
    with pytest.raises(ModelError, match=rf"misses {weight}"):
        load(folder, name)


@pytest.mark.parametrize(
    "extra", ["v_heads.weight", "score.bias", "regression_head.weight", "model.layers.0.extra.weight"]
)
def test_an_unexpected_weight_is_fatal(tiny_copy: TinyModel, extra: str) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({extra: torch.ones(1, 32)}))
    with pytest.raises(ModelError, match=rf"unexpected {extra}"):
        load(folder)


def test_a_missing_body_weight_is_fatal(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    drop_weight(folder, "model.layers.1.mlp.up_proj.weight")
    with pytest.raises(ModelError, match=r"misses model.layers.1.mlp.up_proj.weight"):
        load(folder)


def test_a_head_of_another_shape_is_fatal(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({"score.weight": torch.ones(2, 32)}))
    with pytest.raises(ModelError, match=r"score.weight is \[2, 32\], by the config \[1, 32\]"):
        load(folder)


def test_a_language_model_is_no_reward_model(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda w: w.update({"lm_head.weight": w.pop("score.weight").repeat(400, 1)}))
    with pytest.raises(ModelError, match=r"misses score.weight"):
        load(folder)


def test_pickled_weights_are_refused(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load(folder)


@pytest.mark.parametrize("head", ["v_head.summary.weight", "value_head.weight"])
def test_a_value_head_in_a_classifier_names_its_kind(tiny_copy: TinyModel, head: str) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({head: torch.ones(1, 32)}))
    with pytest.raises(ModelError, match=rf"value head \({head}\).*pass --kind value-head"):
        load(folder)


UNUSED = ["lm_head.weight", "embed_out.weight", "model.layers.0.attn.masked_bias", "cls.predictions.bias"]


def test_heads_of_pretraining_are_accepted_and_recorded(
    tiny_copy: TinyModel, expected: Callable[[str], list[list[float]]]
) -> None:
    folder = tiny_copy("llama")
    edit_weights(folder, lambda weights: weights.update({name: torch.ones(3) for name in UNUSED}))
    scorer = load(folder)
    assert scorer.describe()["loading"] == [f"weights that the score does not use: {', '.join(sorted(UNUSED))}"]
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected("llama"))


def test_an_undamaged_checkpoint_has_nothing_left_out(tiny_model: TinyModel) -> None:
    assert load(tiny_model("llama")).describe()["loading"] is None


def test_a_pad_token_id_of_minus_one_is_recorded(tiny_copy: TinyModel) -> None:
    """The tokenizer has a pad token; the model reads the last token, as its own forward pass does."""
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=-1)
    scorer = load(folder)
    assert scorer.describe()["loading"] == ["pad_token_id -1 is no token: the last token is read"]
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), Own(folder).scores(CANDIDATES))


def test_a_quantisation_that_is_not_applied_is_not_recorded_as_applied(
    tiny_copy: TinyModel, expected: Callable[[str], list[list[float]]]
) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, quantization_config={"quant_method": "novel", "bits": 4})
    scorer = load(folder)
    assert scorer.describe()["quantization"] is None
    assert "quantisation 'novel' was not applied" in scorer.describe()["loading"][0]
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected("llama"))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused_unless_it_is_ignored(
    tiny_copy: TinyModel, file: str, expected: Callable[[str], list[list[float]]]
) -> None:
    folder = tiny_copy("llama")
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "modeling_x.X"}}))
    with pytest.raises(ModelError, match=rf"{file} names code of its own \(auto_map: AutoModel\).*--ignore-auto-map"):
        load(folder)
    scorer = load(folder, ignore_auto_map=True)
    if file == "config.json":
        assert scorer.describe()["loading"] == ["code of its own (auto_map) was not run"]
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected("llama"))


@pytest.mark.parametrize("extra", [0, 3])
def test_tokens_beyond_the_embeddings_are_refused_before_scoring(tiny_copy: TinyModel, extra: int) -> None:
    folder = tiny_copy("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(extra)])
    tokenizer.save_pretrained(folder)
    scorer = load(folder)
    scorer.plan(CANDIDATES)
    text = "Paris <extra2>"
    if extra:
        with pytest.raises(ModelError, match=r"the id \d+ for '<extra2>', but the model has only \d+ embeddings"):
            scorer.plan([CompletionSet(ASK, (text,))])
    else:
        scorer.plan([CompletionSet(ASK, (text,))])


# ---- pairs of texts


def pair_scores(folder: Path, prompt: str, completions: Sequence[str]) -> list[float]:
    """Score with the tokenizer's own pair encoding, by itself."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"return_tensors": "pt", "return_token_type_ids": True}
    with torch.no_grad():
        return [float(model(**tokenizer(prompt, text, **options)).logits[0, 0]) for text in completions]


@pytest.mark.parametrize("name", PAIR_ENCODERS)
def test_prompt_and_completion_of_a_pair_encoder_are_segments(tmp_path: Path, name: str) -> None:
    folder = classifier(name, tmp_path / name)
    scorer = load(folder, name)
    found = values(score_completion_sets(scorer, PAIRS))
    wanted = [pair_scores(folder, c.prompt[0]["content"], c.completions) for c in PAIRS]
    assert_close(found, wanted)
    scorer.separator = None
    without_types = values(score_completion_sets(scorer, PAIRS))
    assert abs(found[0][0] - without_types[0][0]) > 0.1


def test_a_pair_encoder_whose_template_writes_no_separator_reads_one_text(tmp_path: Path) -> None:
    folder = classifier("bert", tmp_path / "bert")
    scorer = load(folder, chat_template="{{ cls_token }}{% for turn in messages %}{{ turn['content'] }}{% endfor %}")
    assert scorer.separator is not None
    inputs = scorer.inputs(scorer.encode(PAIRS[0]))
    assert inputs.token_types is None


def test_a_truncated_pair_keeps_its_segments(tmp_path: Path) -> None:
    folder = classifier("bert", tmp_path / "bert")
    whole = load(folder, "bert").encode(PAIRS[0])[0]
    scorer = load(folder, "bert", max_length=len(whole.ids) - 3)
    (cut, *_) = scorer.encode(PAIRS[0])
    assert cut.dropped == 3
    types = scorer.inputs([cut]).token_types
    assert types is not None
    assert int(types.sum()) == len(cut.ids) - cut.start - 1


def test_token_types_other_than_those_of_a_pair_are_refused(tmp_path: Path) -> None:
    tokenizer = pair_tokenizer()
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A", pair="[CLS]:2 $A [SEP] $B:1", special_tokens=ids
    )
    folder = classifier("bert", tmp_path / "bert", tokenizer, type_vocab_size=3)
    with pytest.raises(ModelError, match=r"gives a pair of texts the types \[2, 0"):
        load(folder, "bert")


# ---- code of the checkpoint


@pytest.mark.parametrize("model_type", ["llama", "something-new"])
def test_remote_code_is_not_executed(tiny_copy: TinyModel, model_type: str) -> None:
    folder = tiny_copy("llama")
    witness = folder / "ran"
    for module in ("configuration_evil", "modeling_evil", "tokenization_evil"):
        (folder / f"{module}.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    auto_map = {"AutoConfig": "configuration_evil.C", "AutoModelForSequenceClassification": "modeling_evil.M"}
    edit_config(folder, auto_map=auto_map, model_type=model_type)
    path = folder / "tokenizer_config.json"
    remote = {"auto_map": {"AutoTokenizer": ["tokenization_evil.T", "tokenization_evil.T"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | remote))
    with pytest.raises(ModelError, match="names code of its own"):
        load(folder)
    if model_type == "llama":
        assert load(folder, ignore_auto_map=True).describe()["architecture"] == "LlamaForSequenceClassification"
    else:
        with pytest.raises(ModelError, match=r"the model type 'something-new', which transformers .* does not know"):
            load(folder, ignore_auto_map=True)
    assert not witness.exists()


def test_pad_tokens_that_differ_are_an_error(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=0)
    with pytest.raises(ModelError, match=r"pad_token_id is 0 in the config and 4 in the tokenizer"):
        load(folder)


@pytest.mark.parametrize(("declared", "pad"), [("config", 1), ("tokenizer", 4)])
def test_the_declared_pad_token_decides_which_token_is_read(tiny_copy: TinyModel, declared: str, pad: int) -> None:
    """1 ends each turn, so the token before the last one is read if it is the pad token."""
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=1)
    model = Own(folder)
    model.model.config.pad_token_id = pad
    scorer = load(folder, pad_token=declared)
    assert scorer.batching == "packed"
    for batching in ("packed", "bucketed", "bucketed-own-forward"):
        scorer.batching = batching
        assert_close(values(score_completion_sets(scorer, CANDIDATES)), model.scores(CANDIDATES))
    assert scorer.describe()["loading"] == [f"pad token {pad}, that of the {declared}, as declared"]


def test_a_declared_pad_token_has_to_exist(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="--pad-token is tokenizer, and the tokenizer has no pad token"):
        load(tiny_model("gpt2"), "gpt2", pad_token="tokenizer")  # noqa: S106 - no password


@pytest.mark.parametrize(("name", "outputs"), [("llama", 1), ("deberta", 1), ("llama", 3)])
def test_a_config_without_num_labels_has_as_many_as_the_head_has_rows(tmp_path: Path, name: str, outputs: int) -> None:
    folder = classifier(name, tmp_path / name, num_labels=outputs)
    wanted = Own(folder, name).scores(CANDIDATES)
    config = json.loads((folder / "config.json").read_text())
    for field in ("num_labels", "id2label", "label2id"):
        config.pop(field, None)
    (folder / "config.json").write_text(json.dumps(config))
    scorer = load(folder, name, output_index=None if outputs == 1 else 0)
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)
    assert scorer.describe()["loading"] == [f"num_labels is not in config.json: {outputs} by the weights of the head"]


def test_a_missing_template_is_an_error(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="--chat-template"):
        load(tiny_model("gpt2"))


@pytest.mark.parametrize("damaged", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_file_is_one_clear_error(tiny_copy: TinyModel, damaged: str) -> None:
    folder = tiny_copy("llama")
    content = (folder / damaged).read_bytes()
    (folder / damaged).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="llama"):
        load(folder)


def test_a_folder_without_a_tokenizer_is_one_clear_error(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(ModelError):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "novel"}, r"declares the model type 'novel', which transformers .* does not know"),
        ({"model_type": "vit"}, r"has no class for a sequence classifier of the type vit"),
        ({"hidden_size": "32"}, r"its field hidden_size has a value of the wrong type"),
        ({"hidden_act": "novel"}, r"does not know the value 'novel'"),
        ({"num_attention_heads": 0}, r"a field has a value of the wrong type or size"),
        ({"quantization_config": {"bits": 4}}, r"quantization_config in config.json names no quant_method"),
        ({"intermediate_size": 10**9}, r"declares a model of [\d,]+ parameters, and the weights have [\d,]+ bytes"),
        ({"vocab_size": 300}, r"model.embed_tokens.weight is \[\d+, 32\], by the config \[300, 32\]"),
    ],
)
def test_what_transformers_cannot_load_is_said_in_our_own_words(
    tiny_copy: TinyModel, changes: dict[str, Any], message: str
) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("pattern", "message"), [(r"(a+)+$", "may never end"), (r"(a|aa)+$", "may never end"), ("(", "Oniguruma error")]
)
def test_a_tokenizer_whose_pattern_does_not_end_is_refused(tiny_copy: TinyModel, pattern: str, message: str) -> None:
    folder = tiny_copy("llama")
    path = folder / "tokenizer.json"
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pre_tokenizer": split}))
    with pytest.raises(ModelError, match=rf"its tokenizer cannot be loaded: .*{message}"):
        load(folder)


def test_a_pad_token_beyond_the_vocabulary_is_one_clear_error(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, pad_token_id=400)
    with pytest.raises(ModelError, match="llama"):
        load(folder)


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "cpu:x"])
def test_an_unavailable_device_is_a_clear_error(tiny_model: TinyModel, device: str) -> None:
    if device != "cpu:x" and (torch.cuda.is_available() or torch.backends.mps.is_available()):
        pytest.skip("this machine has one")
    with pytest.raises(ModelError, match=device):
        load(tiny_model("llama"), device=device)


def test_describe_returns_what_the_scores_depend_on(tiny_model: TinyModel) -> None:
    import hashlib

    scorer = load(tiny_model("gemma2"), fold_system=True, template_vars={"name": "model"})
    about = scorer.describe()
    assert about["template_vars"] == {"name": "model"}
    assert about["kind"] == "classifier"
    assert about["architecture"] == "Gemma2ForSequenceClassification"
    assert about["parameters"] == sum(t.numel() for t in load_file(tiny_model("gemma2") / "model.safetensors").values())
    assert about["chat_template_sha256"] == hashlib.sha256(tiny_tokenizers.GEMMA_TEMPLATE.encode()).hexdigest()
    assert about["system_role"] == "fold"
    assert about["max_length"] == 512
    assert about["attention"] == about["batching"] == "packed"
    assert about["output"] == "single"
    assert about["revision"].startswith("sha256:")
    assert about["scored_token"] in {"Ċ"}  # the template ends in a line feed
    assert about["probe"] < CLOSE


def test_an_encoder_has_no_scored_token(tiny_model: TinyModel) -> None:
    assert load(tiny_model("deberta"), "deberta").describe()["scored_token"] is None


def test_load_scorer_makes_a_classifier(tiny_model: TinyModel) -> None:
    assert isinstance(load_scorer(resolve(str(tiny_model("llama")), ModelOptions(device="cpu"))), ClassifierScorer)


# ---- several outputs


@pytest.fixture(scope="session")
def two_headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with two outputs."""
    return tiny_models.llama(tmp_path_factory.mktemp("two") / "two-headed", num_labels=2)


def test_two_outputs_need_a_declaration(two_headed: Path) -> None:
    with pytest.raises(ModelError, match=r"2 outputs.*--output-index.*--output-weights.*--lower-is-better"):
        load(two_headed)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"output_index": 0}, (1, 0)),
        ({"output_index": 1}, (0, 1)),
        ({"output_weights": (0.25, -2.0)}, (0.25, -2)),
        ({"output_index": 1, "lower_is_better": True}, (0, -1)),
        ({"output_weights": (1.0, 1.0), "lower_is_better": True}, (-1, -1)),
    ],
)
def test_declared_outputs_become_one_score(
    two_headed: Path, options: dict[str, Any], weights: tuple[float, float]
) -> None:
    model = Own(two_headed)
    wanted = [
        [sum(w * v for w, v in zip(weights, model.logits(model.ids(c.prompt, t)), strict=True)) for t in c.completions]
        for c in CANDIDATES
    ]
    scorer = load(two_headed, **options)
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)
    assert ("lower is better" in scorer.describe()["output"]) == options.get("lower_is_better", False)
    assert scorer.describe()["output"] != "single"


@pytest.mark.parametrize(
    "options",
    [{"output_index": 2}, {"output_weights": (1.0,)}, {"output_weights": (1.0, 2.0, 3.0)}, {"output_weights": ()}],
)
def test_an_output_beyond_the_head_is_an_error(two_headed: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="2 outputs"):
        load(two_headed, **options)


def test_lower_is_better_negates_a_single_output(tiny_model: TinyModel, expected: Callable[[str], Any]) -> None:
    found = values(score_completion_sets(load(tiny_model("llama"), lower_is_better=True), CANDIDATES))
    assert_close(found, [[-value for value in row] for row in expected("llama")])


def test_an_undeclared_output_cannot_unscore(two_headed: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(two_headed, tmp_path / "half-broken"))

    def damage(weights: dict[str, torch.Tensor]) -> None:
        weights["score.weight"][1] = math.nan

    wanted = values(score_completion_sets(load(folder, output_index=0), CANDIDATES))
    edit_weights(folder, damage)
    assert_close(values(score_completion_sets(load(folder, output_index=0), CANDIDATES)), wanted)


# ---- length


def test_the_default_limit_is_the_models_own(tiny_model: TinyModel) -> None:
    assert load(tiny_model("llama")).chat.max_length == 512
    assert load(tiny_model("gpt2"), "gpt2").chat.max_length == 256
    assert load(tiny_model("llama"), max_length=77).describe()["max_length"] == 77


@pytest.mark.parametrize("name", ["llama", "gpt2", "deberta"])
def test_a_limit_beyond_the_models_own_is_refused(tiny_model: TinyModel, name: str) -> None:
    with pytest.raises(ModelError, match=r"--max-length is 4096.*(512|256)"):
        load(tiny_model(name), name, max_length=4096)


def test_the_tokenizers_limit_does_not_raise_the_models(tmp_path: Path) -> None:
    folder = tiny_models.gpt2(tmp_path / "gpt2", tiny_tokenizers.gpt2_tokenizer(model_max_length=2048))
    assert load(folder, "gpt2").chat.max_length == 256
    with pytest.raises(ModelError, match=r"--max-length is 300.*256"):
        load(folder, "gpt2", max_length=300)


def test_a_model_without_a_limit_needs_one(tiny_model: TinyModel) -> None:
    spec = resolve(str(tiny_model("llama")))
    config = SimpleNamespace(get_text_config=SimpleNamespace)
    tokenizer = SimpleNamespace(model_max_length=VERY_LARGE_INTEGER)
    with pytest.raises(ModelError, match="--max-length"):
        max_length_of(spec, config, tokenizer)
    said = resolve(str(tiny_model("llama")), ModelOptions(max_length=100))
    assert max_length_of(said, config, tokenizer) == 100


def test_a_config_with_a_value_of_the_wrong_kind_is_one_clear_error(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama")
    edit_config(folder, max_position_embeddings="many")
    with pytest.raises(ModelError, match=r"llama.*max_position_embeddings"):
        load(folder)


def test_a_model_that_counts_positions_from_its_pad_token_has_as_many_fewer(tmp_path: Path) -> None:
    """RoBERTa: 64 positions, of which those up to the pad token's id, here 0, are not used."""
    tokenizer = pair_tokenizer(model_max_length=VERY_LARGE_INTEGER)
    folder = classifier("roberta", tmp_path / "roberta", tokenizer, max_position_embeddings=64)
    scorer = load(folder, "deberta")
    assert scorer.chat.max_length == 63
    asked = CompletionSet((turn("user", "What is the capital? " * 20),), ("Paris.", "Lyon"))
    (encoded,) = scorer.encode_all([asked])
    assert [len(each.ids) for each in encoded] == [63, 63]
    model = Own(folder)
    assert_close(values(score_completion_sets(scorer, [asked])), [[model.logits(each.ids)[0] for each in encoded]])
    with pytest.raises(ModelError, match="the model's own limit is 63"):
        load(folder, "deberta", max_length=64)


def test_a_model_with_few_positions_loads(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizers.gpt2_tokenizer(model_max_length=48)
    folder = tiny_models.gpt2(tmp_path / "short", tokenizer, n_positions=48)
    model = Own(folder, "gpt2")
    found = score_completion_sets(load(folder, "gpt2"), [CompletionSet((turn("user", "Hi"),), ("Hello.", "?"))])
    assert_close(values(found), model.scores([CompletionSet((turn("user", "Hi"),), ("Hello.", "?"))]))


@pytest.mark.parametrize(
    ("name", "batching"), [way for way in WAYS if way[0] in {"llama", "qwen3", "gemma2", "gpt2", "deberta"}]
)
def test_a_truncated_conversation_scores_as_its_own_tail(
    tiny_model: TinyModel, own: Callable[[str], Own], name: str, batching: str
) -> None:
    model = own(name)
    prompt: Conversation = (turn("user", "Name three rivers in Europe: " + "the Rhine, " * 12),)
    whole = model.ids(prompt, "The Danube.")
    leading = 0 if name == "gpt2" else 1
    scorer = load(tiny_model(name), name, batching, max_length=len(whole) - 10)
    ((long, short),) = score_completion_sets(scorer, [CompletionSet(prompt, ("The Danube.", "?"))])
    wanted = model.logits([*whole[:leading], *whole[leading + 10 :]])[0]
    assert long.value == pytest.approx(wanted, abs=CLOSE, rel=CLOSE)
    start = len(scorer.chat.encode(prompt, ("The Danube.",))[0].ids) - long.num_completion_tokens
    assert long[1:4] == (len(whole) - 10, True, "")
    assert 0 < start < len(whole) - 10
    assert math.isfinite(short.value)


@pytest.mark.parametrize("name", ["llama", "deberta"])
def test_a_completion_beyond_the_limit_is_unscored(tiny_model: TinyModel, own: Callable[[str], Own], name: str) -> None:
    scorer = load(tiny_model(name), name, max_length=60)
    candidates = [CompletionSet(ASK, ("Paris.", "The Rhine, the Danube. " * 30, "Lyon."))]
    (scores,) = score_completion_sets(scorer, candidates)
    assert math.isnan(scores[1].value)
    assert scores[1].reason == COMPLETION_TOO_LONG
    kept = [scores[0], scores[2]]
    assert_close([[s.value for s in kept]], own(name).scores([CompletionSet(ASK, ("Paris.", "Lyon."))]))
    assert [s.reason for s in kept] == ["", ""]


def test_no_forward_pass_if_nothing_fits(tiny_model: TinyModel) -> None:
    scorer = load(tiny_model("llama"), max_length=60)
    (scores,) = score_completion_sets(scorer, [CompletionSet(ASK, ("The Rhine. " * 40, "The Danube. " * 40))])
    assert {s.reason for s in scores} == {COMPLETION_TOO_LONG}


# ---- what is counted


def test_examples_with_control_tokens_are_counted_and_scored_raw(
    tiny_model: TinyModel, own: Callable[[str], Own]
) -> None:
    candidates = [
        CompletionSet(ASK, ("Stop <|im_end|> now", "and <|im_start|> again")),
        CompletionSet((turn("user", "What does <|im_end|> mean?"),), ("The end.", "Nothing.")),
        CompletionSet(ASK, ("Paris.", "Lyon.")),
    ]
    scorer = load(tiny_model("qwen3"))
    assert scorer.plan(candidates).notes["control_token_examples"] == 2
    assert_close(values(score_completion_sets(scorer, candidates)), own("qwen3").scores(candidates))


@pytest.mark.usefixtures("sanitizing_transformers")
def test_sanitizing_encodes_control_tokens_as_text(tiny_model: TinyModel) -> None:
    import dataclasses

    scorer = load(tiny_model("qwen3"))
    live = dataclasses.replace(scorer, chat=dataclasses.replace(scorer.chat, sanitize=True))
    candidates = [CompletionSet(ASK, ("Stop <|im_end|> now", "Paris."))]
    (raw,), (clean,) = score_completion_sets(scorer, candidates), score_completion_sets(live, candidates)
    assert raw[1] == clean[1]
    assert clean[0].num_tokens > raw[0].num_tokens
    assert abs(clean[0].value - raw[0].value) > 100 * CLOSE


def test_rewritten_completions_are_counted(tiny_model: TinyModel) -> None:
    candidates = [CompletionSet(ASK, ("Paris.", "<think>\nHm.\n</think>\n\nLyon."))]
    assert load(tiny_model("qwen3")).plan(candidates).notes["rewritten_completions"] == 1
    assert load(tiny_model("gemma2")).plan(candidates).notes["rewritten_completions"] == 0


# ---- system messages


def test_a_refused_system_message_stops_the_plan(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="--fold-system"):
        load(tiny_model("gemma2")).plan([*CANDIDATES, CompletionSet(WITH_SYSTEM, ("Paris.", "Lyon."))])


def test_a_dropped_system_message_stops_the_plan(tiny_model: TinyModel) -> None:
    dropping = (
        "{% for turn in messages if turn['role'] != 'system' %}{{ turn['role'] + ': ' + turn['content'] }}{% endfor %}"
    )
    scorer = load(tiny_model("llama"), chat_template=dropping)
    scorer.plan(CANDIDATES)
    with pytest.raises(ModelError, match="drops system messages"):
        scorer.plan([CompletionSet(WITH_SYSTEM, ("Paris.", "Lyon."))])
    with pytest.raises(ModelError, match="drops system messages"):  # not only the first time
        scorer.plan([CompletionSet(WITH_SYSTEM, ("Paris.", "Lyon."))])


def test_a_folded_system_message_is_scored_in_the_user_turn(tiny_model: TinyModel, own: Callable[[str], Own]) -> None:
    scorer = load(tiny_model("gemma2"), fold_system=True)
    folded: Conversation = (turn("user", "\n\n".join(message["content"] for message in WITH_SYSTEM)),)
    wanted = own("gemma2").scores([CompletionSet(folded, ("Paris.",))])
    assert_close(values(score_completion_sets(scorer, [CompletionSet(WITH_SYSTEM, ("Paris.",))])), wanted)
    assert scorer.describe()["system_role"] == "fold"


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_a_native_system_message_is_scored_as_such(tiny_model: TinyModel, own: Callable[[str], Own], name: str) -> None:
    scorer = load(tiny_model(name))
    found = values(
        score_completion_sets(scorer, [CompletionSet(WITH_SYSTEM, ("Paris.",)), CompletionSet(ASK, ("Paris.",))])
    )
    assert_close(found, own(name).scores([CompletionSet(WITH_SYSTEM, ("Paris.",)), CompletionSet(ASK, ("Paris.",))]))
    assert abs(found[0][0] - found[1][0]) > 100 * CLOSE


# ---- the plan


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
@pytest.mark.parametrize("batch_tokens", [1, 100])
def test_the_plan_holds_every_completion_once_and_is_repeatable(
    tiny_model: TinyModel, batch_tokens: int, batching: str
) -> None:
    scorer = load(tiny_model("llama"), batching=batching, max_length=60)
    scorer.batch_tokens = batch_tokens
    candidates = [*CANDIDATES, CompletionSet(ASK, ("The Rhine. " * 40, "Paris."))]
    plan = scorer.plan(candidates)
    cells = sorted(tuple(cell) for batch in plan.batches for cell in batch.cells)
    assert cells == [(i, j) for i, c in enumerate(candidates) for j in range(len(c.completions))]
    assert scorer.plan(candidates) == plan
    for batch in plan.batches:
        assert len(batch.cells) == len(batch.inputs)
        if len({e.ids for e in batch.inputs}) > 1 and not batch.inputs[0].reason:
            width = len(batch.cells) * max(len(e.ids) for e in batch.inputs)
            assert batch.tokens <= batch_tokens
            assert batching == "packed" or width <= batch_tokens


def test_an_empty_input_makes_an_empty_plan(tiny_model: TinyModel) -> None:
    scorer = load(tiny_model("llama"))
    assert scorer.plan([]).batches == ()
    assert score_completion_sets(scorer, []) == []


def test_candidates_hold_no_label() -> None:
    assert CompletionSet._fields == ("prompt", "completions", "needs_ratings")


def test_scoring_is_repeatable(tiny_model: TinyModel) -> None:
    for name in ("deberta", "gpt2"):  # both have dropout in their configs
        scorer = load(tiny_model(name), name)
        assert score_completion_sets(scorer, CANDIDATES) == score_completion_sets(scorer, CANDIDATES)
        assert score_completion_sets(load(tiny_model(name), name), CANDIDATES) == score_completion_sets(
            scorer, CANDIDATES
        )


def test_equal_tokens_tie(tiny_model: TinyModel) -> None:
    asked = [CompletionSet(ASK, ("Paris.", "Rome, which is in Italy.", "Paris.", "Paris.", "Lyon."))] * 3
    scorer = load(tiny_model("llama"))
    for scorer.batching, scorer.batch_tokens in itertools.product(("packed", "bucketed"), (1, 64, 8192)):
        scores = score_completion_sets(scorer, asked)
        assert len({each[i].value for each in scores for i in (0, 2, 3)}) == 1


# ---- positions that depend on the length


def test_a_short_conversation_keeps_its_rope_scaling_beside_a_long_one(tmp_path: Path) -> None:
    """With longrope, positions are scaled differently beyond a length; a batch must not mix both scalings."""
    paces = {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4, "original_max_position_embeddings": 140}
    folder = tiny_models.classifier(
        "phi3",
        tmp_path / "longrope",
        original_max_position_embeddings=140,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10_000.0} | paces,
    )
    candidates = [
        *CANDIDATES,
        CompletionSet((turn("user", "Name rivers."),), ("The Rhine, the Danube, the Volga. " * 8,)),
    ]
    found = score_completion_sets(load(folder), candidates)
    assert found[-1][0].num_tokens > 140 > found[0][0].num_tokens
    assert_close(values(found), Own(folder).scores(candidates))


# ---- token by token


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "llama-dated"])
def test_the_trace_is_the_heads_value_after_each_token_of_the_completion(
    tiny_model: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    """At the token that is read the value is the score; at the others it is the head applied to the hidden states."""
    scorer = load(tiny_model(name), name)
    candidates = CompletionSet(ASK, ("Paris is the capital of France.", ""))
    (scores,) = score_completion_sets(scorer, [candidates])
    seen = watched(scorer)
    for score, encoded in zip(scores, scorer.encode(candidates), strict=True):
        seen.clear()
        trace = scorer.token_rewards(encoded)
        assert len(seen) == 1
        assert len(trace) == score.num_completion_tokens
        (read,) = scorer.reads(encoded)
        if read >= encoded.start:
            assert trace[read - encoded.start] == pytest.approx(score.value, abs=CLOSE, rel=CLOSE)
        with torch.no_grad():
            hidden = own(name).model.base_model(torch.tensor([encoded.ids])).last_hidden_state[0]
            wanted = own(name).model.score(hidden)[encoded.start :, 0].tolist()
        assert trace == pytest.approx(wanted, abs=CLOSE, rel=CLOSE)


def test_an_encoder_has_no_trace(tiny_model: TinyModel) -> None:
    scorer = load(tiny_model("deberta"), "deberta")
    with pytest.raises(ModelError, match="no reward per token"):
        scorer.token_rewards(scorer.encode(CANDIDATES[0])[0])


# ---- tools


def test_tools_calls_and_results_are_scored_as_the_model_reads_them(tmp_path: Path) -> None:
    """From a card to the score table: each score is the model's own on the conversation that its template writes."""
    folder = tiny_models.classifier("llama", tmp_path / "model", tiny_tokenizers.llama_tokenizer(TOOL_TEMPLATE))
    tools = [{"type": "function", "function": {"name": "add", "description": "Add up.", "parameters": {}}}]
    ask = {"role": "user", "content": "What is 2 + 2?"}

    def calls(*numbers: int) -> dict[str, Any]:
        functions = [{"name": "add", "arguments": {"a": number}} for number in numbers]
        return {"role": "assistant", "content": "", "tool_calls": [{"function": each} for each in functions]}

    said = [{"role": "tool", "content": "4"}, {"role": "assistant", "content": "Four."}]
    turns = [[calls(2), *said], [calls(3), *said], [calls(2, 3), said[0], *said], [calls(2)]]
    row = {"question": [ask], "tools": tools, "good": [turns[0]], "bad": turns[1:]}
    write_jsonl(tmp_path / "agents.jsonl", [row])
    card = tmp_path / "agents.yaml"
    card.write_text("{data: agents.jsonl, columns: {prompt: question, chosen: good, rejected: bad}}", encoding="utf-8")
    result = evaluate(str(folder), str(card), options=ModelOptions(name="me/agent"), out=tmp_path).result
    scores = read_scores(tmp_path / result.scores_path())[0]["score"].tolist()

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    expected = []
    for messages in turns:
        ids = tokenizer.apply_chat_template([ask, *messages], tools=tools, return_dict=False)
        with torch.no_grad():
            expected.append(float(model(torch.tensor([ids])).logits[0, 0]))
    assert scores == pytest.approx(expected, rel=CLOSE, abs=CLOSE)
    assert len({round(score, 4) for score in scores}) == len(turns)
