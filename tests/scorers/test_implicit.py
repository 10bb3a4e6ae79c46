"""Implicit rewards: beta times the log-ratio of two models over the completion's own tokens, or a named stand-in."""

from __future__ import annotations

import functools
import itertools
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rb_core.benchmarks.example import AssistantTurn, CompletionSet, Conversation, Message
from rb_core.errors import ModelError
from rb_core.evaluation import aggregate, evaluate
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import COMPLETION_TOO_LONG
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.score_table import read_scores
from rb_core.results.storage import read_result
from rb_core.scorers import implicit
from rb_core.scorers.conversation_scorer import TOLERANCE
from rb_core.scorers.function import NOT_FINITE
from rb_core.scorers.implicit import TOOL_RESULTS, UNKNOWN_TO_REFERENCE, ImplicitScorer
from rb_core.scorers.load import load_scorer
from tests.fakes.prompts import ASK, CANDIDATES, ask, turn, values
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_models import CAUSAL_BUILDERS, adapter, causal, changed_adapter, edit_weights
from tests.fakes.tiny_tokenizers import DECLARED, TOOL_TEMPLATE

TinyModel = Callable[[str], Path]
CLOSE = 1e-5
BETA = 0.3
WAYS = ("packed", "bucketed", "bucketed-own-forward", "single")


def load(folder: Path, name: str = "", **options: Any) -> ImplicitScorer:
    """Load the scorer of a folder, with the template for an architecture of this name."""
    scorer: ImplicitScorer = load_copy(folder, **{"chat_template": DECLARED.get(name), "kind": "implicit"} | options)
    return scorer


class Own:
    """Models as transformers runs them, and the number that is asked for, worked out step by step."""

    def __init__(self, name: str, *folders: Path) -> None:
        self.models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders]
        self.tokenizer = AutoTokenizer.from_pretrained(folders[0])
        self.template = DECLARED.get(name)

    def ids(self, prompt: Conversation, completion: str) -> tuple[list[int], int]:
        """The whole conversation, and how many tokens it has in common with the prompt that waits for an answer."""

        def encode(messages: Sequence[Message], *, waits: bool) -> list[int]:
            options = {"return_dict": False, "add_generation_prompt": waits, "chat_template": self.template}
            return list(self.tokenizer.apply_chat_template(list(messages), tokenize=True, **options))

        whole = encode([*prompt, turn("assistant", completion)], waits=False)
        asked = encode(prompt, waits=True)
        return whole, sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(asked, whole)))  # noqa: B905

    @torch.no_grad()
    def logprobs(self, model: Any, ids: Sequence[int], start: int) -> np.ndarray:
        """Return the log-probability of each token from `start` on."""
        found = model(torch.tensor([list(ids)])).logits[0].double().log_softmax(dim=-1)
        return np.array([float(found[i - 1, ids[i]]) for i in range(start, len(ids))])

    def ratios(self, prompt: Conversation, completion: str) -> np.ndarray:
        policy, reference = (self.logprobs(model, *self.ids(prompt, completion)) for model in self.models)
        return np.asarray(policy - reference)

    def scores(self, candidates: Sequence[CompletionSet], beta: float = BETA) -> list[list[float]]:
        return [[beta * float(self.ratios(c.prompt, text).sum()) for text in c.completions] for c in candidates]


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Return the reference of a tiny language model: same architecture and tokenizer, other weights."""
    root = tmp_path_factory.mktemp("references")

    def build(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else causal(name, folder, seed=5)

    return build


@pytest.fixture(scope="module")
def own(tiny_model: TinyModel, references: TinyModel) -> Callable[[str], Own]:
    return functools.cache(lambda name: Own(name, tiny_model(name), references(name)))


@pytest.fixture(scope="module")
def expected(own: Callable[[str], Own]) -> Callable[[str], list[list[float]]]:
    return functools.cache(lambda name: own(name).scores(CANDIDATES))


def assert_close(found: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]], tolerance: float = CLOSE) -> None:
    """Within a tolerance relative to the largest of the scores: they are differences of sums of like size."""
    size = max(1.0, *(abs(value) for row in wanted for value in row))
    for left, right in zip(found, wanted, strict=True):
        assert left == pytest.approx(right, abs=tolerance * size, rel=0)


# ---- the number


@pytest.mark.parametrize("name", CAUSAL_BUILDERS)
def test_the_score_is_beta_times_the_log_ratio_over_the_completion(
    tiny_model: TinyModel, references: TinyModel, expected: Callable[[str], list[list[float]]], name: str
) -> None:
    """In every architecture, batching and batch size the score follows from the models' own forward passes on the
    single conversation, and the prompt's tokens do not count."""
    scorer = load(tiny_model(name), name, reference=references(name), beta=BETA)
    assert scorer.batching == "packed"
    assert scorer.probe <= CLOSE * scorer.scale([])
    sizes = (1, 64, 8192) if name == "llama-lm" else (64,)
    for scorer.batching, scorer.batch_tokens in itertools.product(WAYS, sizes):
        assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected(name))


@pytest.mark.parametrize("name", CAUSAL_BUILDERS)
def test_each_token_changes_the_score_by_more_than_the_tolerance(
    expected: Callable[[str], Any], own: Callable[[str], Own], name: str
) -> None:
    size = max(abs(value) for row in expected(name) for value in row)
    model = own(name)
    for each in CANDIDATES:
        for text in each.completions:
            ratios = BETA * np.abs(model.ratios(each.prompt, text))
            assert ratios[[0, -1]].min() > 5 * CLOSE * size


@pytest.mark.parametrize("name", CAUSAL_BUILDERS)
def test_the_closing_token_counts_once(
    tiny_model: TinyModel, references: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    scorer = load(tiny_model(name), name, reference=references(name))
    (scores,) = score_completion_sets(scorer, CANDIDATES[:1])
    for text, score, encoded in zip(CANDIDATES[0].completions, scores, scorer.encode(CANDIDATES[0]), strict=True):
        ids, start = own(name).ids(ASK, text)
        assert (list(encoded.ids), encoded.start) == (ids, start)
        assert list(scorer.reads(encoded)) == list(range(start - 1, len(ids) - 1))
        assert score.num_completion_tokens == len(ids) - start
        ends = [token for token in ids[start:] if token in scorer.chat.special_ids]
        assert ends
        assert len(ends) == len(set(ends))


@pytest.mark.parametrize("name", CAUSAL_BUILDERS)
def test_order_and_neighbours_do_not_matter(tiny_model: TinyModel, references: TinyModel, name: str) -> None:
    scorer = load(tiny_model(name), name, reference=references(name), beta=BETA)
    together = values(score_completion_sets(scorer, CANDIDATES))
    alone = [
        [score_completion_sets(scorer, [CompletionSet(c.prompt, (t,))])[0][0].value for t in c.completions]
        for c in CANDIDATES
    ]
    assert_close(together, alone)
    turned = [CompletionSet(c.prompt, c.completions[::-1]) for c in CANDIDATES[::-1]]
    assert_close([row[::-1] for row in values(score_completion_sets(scorer, turned))[::-1]], together)


@pytest.mark.parametrize("batching", WAYS)
def test_the_start_of_the_completion_matters_for_equal_tokens(
    tiny_model: TinyModel, references: TinyModel, batching: str
) -> None:
    template = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    options = {"reference": references("llama-lm"), "chat_template": template, "beta": BETA}
    scorer = load(tiny_model("llama-lm"), **options)
    scorer.batching = batching
    model = Own("", tiny_model("llama-lm"), references("llama-lm"))
    model.template = template
    candidates = [
        CompletionSet(ask("The Rhine"), (", the Danube and the Volga",)),
        CompletionSet(ask("The Rhine, the Danube"), (" and the Volga",)),
    ]
    encoded = [scorer.encode(each)[0] for each in candidates]
    assert encoded[0].ids == encoded[1].ids
    assert encoded[0].start < encoded[1].start
    found = values(score_completion_sets(scorer, candidates))
    assert abs(found[0][0] - found[1][0]) > 100 * CLOSE
    assert_close(found, model.scores(candidates))


def test_a_model_measured_against_itself_scores_zero(tiny_model: TinyModel) -> None:
    scorer = load(tiny_model("llama-lm"), reference=tiny_model("llama-lm"))
    for scorer.batching in WAYS:
        assert set(itertools.chain.from_iterable(values(score_completion_sets(scorer, CANDIDATES)))) == {0.0}


def test_beta_scales_the_score_and_has_a_default(tiny_model: TinyModel, references: TinyModel) -> None:
    one, two, default = (
        load(tiny_model("llama-lm"), reference=references("llama-lm"), beta=beta) for beta in (1.0, 2.0, None)
    )
    wanted = values(score_completion_sets(one, CANDIDATES))
    assert_close(values(score_completion_sets(two, CANDIDATES)), [[2 * v for v in row] for row in wanted])
    assert_close(values(score_completion_sets(default, CANDIDATES)), [[0.1 * v for v in row] for row in wanted])
    assert (one.describe()["beta"], default.describe()["beta"]) == (1.0, 0.1)


@pytest.mark.parametrize(
    ("name", "variant"), [("llama-lm", "sum"), ("llama-lm", "mean"), ("llama-lm", "norm"), ("gemma2-lm", "sum")]
)
def test_reference_free_variants(tiny_model: TinyModel, own: Callable[[str], Own], name: str, variant: str) -> None:
    combine = {"sum": np.sum, "mean": np.mean, "norm": lambda logprobs: -np.sqrt(np.square(logprobs).sum())}[variant]
    model = own(name)
    wanted = [
        [float(combine(model.logprobs(model.models[0], *model.ids(c.prompt, text)))) for text in c.completions]
        for c in CANDIDATES
    ]
    scorer = load(tiny_model(name), name, reference_free=variant)
    assert scorer.batching == "packed"
    for scorer.batching in WAYS:
        assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)
    about = scorer.describe()
    assert about["output"] == f"reference-free {variant}"
    assert "beta" not in about
    assert "reference" not in about


@pytest.mark.parametrize("name", ["llama-lm"])
def test_the_mean_follows_from_the_sum_and_the_number_of_tokens(tiny_model: TinyModel, name: str) -> None:
    total = score_completion_sets(load(tiny_model(name), name, reference_free="sum"), CANDIDATES)
    mean = score_completion_sets(load(tiny_model(name), name, reference_free="mean"), CANDIDATES)
    assert_close([[s.value / s.num_completion_tokens for s in row] for row in total], values(mean))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["llama-lm", "gemma2-lm"])
def test_rows_are_packed_in_half_precision_as_well(
    tiny_model: TinyModel, references: TinyModel, name: str, dtype: str
) -> None:
    scorer = load(tiny_model(name), name, reference=references(name), dtype=dtype, beta=1.0)
    about = scorer.describe()
    assert (about["batching"], about["dtype"]) == ("packed", dtype)
    packed = values(score_completion_sets(scorer, CANDIDATES))
    scorer.batching = "single"
    alone = values(score_completion_sets(scorer, CANDIDATES))
    assert_close(packed, alone, TOLERANCE[scorer.model.dtype])


# ---- what goes through the head


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the number of rows in each call of a language model's head."""
    rows: list[int] = []
    forward = torch.nn.Linear.forward

    def watched(self: torch.nn.Linear, states: torch.Tensor) -> torch.Tensor:
        if self.out_features > 300:  # nothing else in a tiny model is as wide as its vocabulary
            rows.append(states.numel() // states.shape[-1])
        return forward(self, states)

    monkeypatch.setattr(torch.nn.Linear, "forward", watched)
    return rows


@pytest.mark.parametrize(("name", "at_once"), [("llama-lm", 1), ("gemma2-lm", 3), ("qwen2-lm", 1000)])
def test_logits_are_never_held_for_all_tokens(
    tiny_model: TinyModel,
    references: TinyModel,
    expected: Callable[[str], Any],
    heads: list[int],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    at_once: int,
) -> None:
    scorer = load(tiny_model(name), name, reference=references(name), beta=BETA)
    vocabulary = scorer.model.get_output_embeddings().weight.shape[0]
    monkeypatch.setattr(implicit, "LOGITS_AT_ONCE", {"cpu": at_once * vocabulary})
    heads.clear()
    found = score_completion_sets(scorer, CANDIDATES)
    beginnings = {
        (index, encoded.ids[: token + 1])
        for index, row in enumerate(scorer.encode_all(CANDIDATES))
        for encoded in row
        for token in scorer.reads(encoded)
    }
    assert max(heads) <= at_once
    assert sum(heads) == 2 * len(beginnings)  # of policy and reference, each token once
    assert_close(values(found), expected(name))


def test_a_vocabulary_beyond_the_limit_is_processed_by_single_tokens(
    tiny_model: TinyModel, references: TinyModel, expected: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implicit, "LOGITS_AT_ONCE", {"cpu": 1})
    scorer = load(tiny_model("llama-lm"), reference=references("llama-lm"), beta=BETA)
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), expected("llama-lm"))


# ---- adapters


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal("llama-lm", tmp_path_factory.mktemp("adapters") / "base", seed=8)


@pytest.fixture(scope="module")
def published(base: Path) -> Path:
    return adapter(base, base.parent / "adapter")


@pytest.fixture
def adapted(published: Path, tmp_path: Path) -> Callable[..., Path]:
    return functools.partial(changed_adapter, published, tmp_path / "changed")


def merged(base: Path, folder: Path, out: Path) -> Path:
    """The adapter merged into its base, as a whole checkpoint."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).merge_and_unload()
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    return out


def test_an_adapter_is_measured_against_its_base(base: Path, published: Path, tmp_path: Path) -> None:
    """Base and adapter score like the merged checkpoint with a separate copy of the base as its reference, which is
    the default reference."""
    scorer = load(published, beta=BETA)
    assert (scorer.batching, scorer.reference) == ("packed", None)
    wanted = Own("llama-lm", merged(base, published, tmp_path / "merged"), base).scores(CANDIDATES)
    for scorer.batching in WAYS:
        assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)
    two = load(tmp_path / "merged", reference=base, beta=BETA)
    assert_close(values(score_completion_sets(two, CANDIDATES)), wanted)
    said = load(published, reference=base, beta=BETA)
    assert_close(values(score_completion_sets(said, CANDIDATES)), wanted)
    about = scorer.describe()
    assert (about["adapter"], about["reference"]) == ("local/adapter", "local/base")
    assert about["adapter_revision"] != about["reference_revision"] == about["revision"]
    assert about["adapter_revision"].startswith("sha256:")


def test_an_adapter_may_be_measured_against_another_model(
    base: Path, published: Path, references: TinyModel, tmp_path: Path
) -> None:
    whole = merged(base, published, tmp_path / "merged")
    scorer = load(published, reference=references("llama-lm"), beta=BETA)
    assert_close(
        values(score_completion_sets(scorer, CANDIDATES)),
        Own("llama-lm", whole, references("llama-lm")).scores(CANDIDATES),
    )
    free, wanted = load(published, reference_free="sum"), load(whole, reference_free="sum")
    assert_close(values(score_completion_sets(free, CANDIDATES)), values(score_completion_sets(wanted, CANDIDATES)))


def test_an_adapter_is_switched_on_again_after_an_error(published: Path) -> None:
    scorer = load(published, beta=BETA)
    wanted = values(score_completion_sets(scorer, CANDIDATES))
    body = scorer.model.base_model
    forward, passes = body.forward, []

    def fail(*args: Any, **options: Any) -> Any:
        passes.append(1)
        if len(passes) == 2:  # the policy's pass is the first
            raise torch.OutOfMemoryError("CUDA out of memory. injected")
        return forward(*args, **options)

    body.forward = fail
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)
    assert len(passes) > 2
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)


def test_a_reference_that_runs_out_of_memory_is_split_as_well(tiny_model: TinyModel, references: TinyModel) -> None:
    scorer = load(tiny_model("llama-lm"), reference=references("llama-lm"), beta=BETA)
    wanted = values(score_completion_sets(scorer, CANDIDATES))
    body = scorer.reference.base_model
    forward = body.forward

    def fail(*args: Any, **options: Any) -> Any:
        if options["input_ids"].numel() > 180:
            raise torch.OutOfMemoryError("CUDA out of memory. injected")
        return forward(*args, **options)

    body.forward = fail
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), wanted)
    assert scorer.limit.tokens is not None


def random_like(base: Path, name: str) -> torch.Tensor:
    return torch.randn(load_file(base / "model.safetensors")[name].shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["lm_head.weight", "model.embed_tokens.weight"])
def test_base_weights_in_an_adapter_do_not_change_the_reference(
    base: Path, adapted: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """peft saves an enlarged embedding or head beside the adapter, and loading it replaces the base's: such an adapter
    is refused, or the reference is the published base."""
    folder = adapted(lambda weights: weights.update({f"base_model.model.{name}": random_like(base, name)}))
    try:
        scorer = load(folder, beta=BETA)
    except ModelError:
        return
    model = Own("llama-lm", base, base)
    model.models[0] = scorer.model
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), model.scores(CANDIDATES))


@pytest.mark.parametrize("settings", [{"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"}])
def test_an_initialisation_that_changes_the_base_does_not_change_the_reference(
    base: Path, adapted: Callable[..., Path], settings: dict[str, Any]
) -> None:
    """Some adapters subtract from the base's weights when they are applied: such an adapter is refused, or the
    reference is the published base."""
    try:
        scorer = load(adapted(**settings), beta=BETA)
    except ModelError:
        return
    model = Own("llama-lm", base, base)
    model.models[0] = scorer.model
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), model.scores(CANDIDATES))


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases_do_not_change_the_reference(tmp_path: Path, bias: str) -> None:
    """Biases of the base that are saved with the adapter stay when it is switched off: it is refused, or the reference
    is the published base."""
    from peft import LoraConfig, get_peft_model

    base = causal("qwen2-lm", tmp_path / "base")
    settings = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", bias=bias)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    wrapped.save_pretrained(tmp_path / "adapter")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "adapter")
    try:
        scorer = load(tmp_path / "adapter", beta=BETA)
    except ModelError:
        return
    model = Own("qwen2-lm", base, base)
    model.models[0] = scorer.model
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), model.scores(CANDIDATES))


def test_modules_to_save_are_switched_off_with_the_adapter(base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    settings = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", modules_to_save=["lm_head"])
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    wrapped.save_pretrained(tmp_path / "adapter")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "adapter")
    scorer = load(tmp_path / "adapter", beta=BETA)
    model = Own("llama-lm", base, base)
    model.models[0] = PeftModel.from_pretrained(model.models[0], tmp_path / "adapter").eval()
    assert_close(values(score_completion_sets(scorer, CANDIDATES)), model.scores(CANDIDATES))


def drop_first(weights: dict[str, torch.Tensor]) -> None:
    del weights[min(weights)]


def add_a_layer(weights: dict[str, torch.Tensor]) -> None:
    weights["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 32)


def rename(weights: dict[str, torch.Tensor]) -> None:
    weights["something.else"] = weights.pop(min(weights))


@pytest.mark.parametrize(
    ("edit", "settings", "message"),
    [
        (drop_first, {}, "misses .*lora_A"),
        (add_a_layer, {}, "unexpected .*layers.9"),
        (rename, {}, "misses|unexpected"),
        (len, {"r": 8}, "changed"),  # weights of another shape than the config says
        (len, {"target_modules": ["nothing_like_it"]}, "changed"),
        (len, {"target_modules": ["q_proj", "v_proj", "k_proj"]}, "misses .*k_proj"),
        (len, {"target_modules": ["q_proj"]}, "unexpected .*v_proj"),
        (len, {"modules_to_save": ["lm_head"]}, "changed"),
        (len, {"peft_type": "NONSENSE"}, "changed"),
        (len, {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, "changes the input"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_clear_error(
    adapted: Callable[..., Path], edit: Any, settings: dict[str, Any], message: str
) -> None:
    folder = adapted(edit, **settings)
    with pytest.raises(ModelError, match=message):
        load(folder)


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_one_clear_error(adapted: Callable[..., Path], file: str) -> None:
    folder = adapted()
    (folder / file).write_bytes((folder / file).read_bytes()[:60])
    with pytest.raises(ModelError, match="changed"):
        load(folder)


def test_a_pickled_adapter_is_refused(adapted: Callable[..., Path]) -> None:
    folder = adapted()
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"no pickle at all")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors.*pickle files are not read"):
        load(folder)


def test_a_whole_checkpoint_with_an_adapter_beside_it_is_refused(tiny_copy: TinyModel, published: Path) -> None:
    folder = tiny_copy("llama-lm")
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(published / file, folder)
    with pytest.raises(ModelError, match=r"config\.json and an adapter_config"):
        load(folder, reference_free="sum")


def test_without_peft_the_message_says_what_to_install(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match="pip install peft"):
        load(published)


# ---- loading


def test_a_reference_with_another_vocabulary_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match=r"different ids for .* tokens"):
        load(tiny_model("llama-lm"), reference=tiny_model("qwen2-lm"))


def test_a_token_unknown_to_the_reference_leaves_a_completion_unscored(tiny_model: TinyModel, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama-lm"))
    last = len(tokenizer) - 1
    smaller = causal("llama-lm", tmp_path / "smaller", seed=5, vocab_size=last)
    scorer = load(tiny_model("llama-lm"), reference=smaller, beta=BETA)
    text = tokenizer.decode([last])
    candidates = [CompletionSet(ASK, ("Paris.", f"It is{text}.", "Lyon."))]
    assert last in scorer.encode(candidates[0])[1].ids
    (scores,) = score_completion_sets(scorer, candidates)
    assert [score.reason for score in scores] == ["", UNKNOWN_TO_REFERENCE, ""]
    assert math.isnan(scores[1].value)
    assert scores[1].num_completion_tokens > 0
    wanted = Own("llama-lm", tiny_model("llama-lm"), smaller).scores([CompletionSet(ASK, ("Paris.", "Lyon."))])
    assert_close([[scores[0].value, scores[2].value]], wanted)


def test_a_language_model_needs_a_reference_or_a_variant(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match=r"--reference.*--reference-free sum, mean or norm"):
        load(tiny_model("llama-lm"))


@pytest.mark.parametrize("which", ["policy", "reference"])
@pytest.mark.parametrize("extra", [False, True])
def test_a_missing_or_unexpected_weight_is_fatal_in_either_model(
    tiny_copy: TinyModel, references: TinyModel, tmp_path: Path, which: str, extra: bool
) -> None:
    policy = tiny_copy("llama-lm")
    reference = Path(shutil.copytree(references("llama-lm"), tmp_path / "reference"))
    damaged = policy if which == "policy" else reference
    name = "model.layers.1.mlp.up_proj.weight"
    edit_weights(damaged, lambda w: w.update({"v_head.weight": torch.ones(1, 32)}) if extra else w.__delitem__(name))
    with pytest.raises(ModelError, match="value head" if extra else f"misses {name}"):
        load(policy, reference=reference)


def test_tokens_that_the_policy_lacks_are_refused_before_scoring(tiny_copy: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(folder)
    scorer = load(folder, reference_free="sum")
    with pytest.raises(ModelError, match=r"for '<extra>', but the model has only \d+ embeddings"):
        scorer.plan([CompletionSet(ASK, ("Paris <extra>",))])


def test_a_classifier_is_no_language_model(tiny_model: TinyModel, references: TinyModel) -> None:
    with pytest.raises(ModelError, match=r"lm_head|score"):
        load(tiny_model("llama"), reference=references("llama-lm"))


def test_pickled_references_are_refused(tiny_model: TinyModel, references: TinyModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(references("llama-lm"), tmp_path / "reference"))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load(tiny_model("llama-lm"), reference=folder)


def test_the_shorter_of_two_limits_holds(tiny_model: TinyModel, tmp_path: Path) -> None:
    short = causal("llama-lm", tmp_path / "short", seed=5, max_position_embeddings=100)
    assert load(tiny_model("llama-lm"), reference=short).chat.max_length == 100
    assert load(tiny_model("llama-lm"), reference=short, max_length=60).chat.max_length == 60
    with pytest.raises(ModelError, match=r"--max-length is 200.*100"):
        load(tiny_model("llama-lm"), reference=short, max_length=200)


def test_load_scorer_makes_an_implicit_scorer(tiny_model: TinyModel, references: TinyModel) -> None:
    options = ModelOptions(device="cpu", reference=str(references("llama-lm")))
    scorer = load_scorer(resolve(str(tiny_model("llama-lm")), options))
    assert isinstance(scorer, ImplicitScorer)
    about = scorer.describe()
    assert about["kind"] == "implicit"
    assert about["architecture"] == "LlamaForCausalLM"
    assert about["output"] == "log-ratio"
    assert about["reference"] == "local/llama-lm"
    assert about["reference_revision"] != about["revision"]


# ---- length


@pytest.mark.parametrize("name", ["llama-lm", "qwen2-lm", "gpt2-lm"])
def test_a_truncated_conversation_scores_as_its_own_tail(
    tiny_model: TinyModel, references: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    model = own(name)
    prompt = ask("Name three rivers in Europe: " + "the Rhine, " * 12)
    whole, start = model.ids(prompt, "The Danube.")
    leading = 0 if name == "gpt2-lm" else 1
    kept = [*whole[:leading], *whole[leading + 10 :]]
    scorer = load(tiny_model(name), name, reference=references(name), beta=BETA, max_length=len(whole) - 10)
    policy, reference = (model.logprobs(each, kept, start - 10) for each in model.models)
    for scorer.batching in WAYS:
        ((long, short),) = score_completion_sets(scorer, [CompletionSet(prompt, ("The Danube.", "?"))])
        assert_close([[long.value]], [[BETA * float((policy - reference).sum())]])
        assert long[1:] == (len(whole) - 10, True, "", len(whole) - start)
        assert math.isfinite(short.value)


@pytest.mark.parametrize("name", ["llama-lm", "gpt2-lm"])
def test_a_completion_beyond_the_limit_is_unscored(
    tiny_model: TinyModel, references: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    scorer = load(tiny_model(name), name, reference=references(name), beta=BETA, max_length=60)
    (scores,) = score_completion_sets(scorer, [CompletionSet(ASK, ("Paris.", "The Rhine, the Danube. " * 30, "Lyon."))])
    assert [score.reason for score in scores] == ["", COMPLETION_TOO_LONG, ""]
    assert_close([[scores[0].value, scores[2].value]], own(name).scores([CompletionSet(ASK, ("Paris.", "Lyon."))]))


@pytest.mark.parametrize("name", ["llama-lm", "gpt2-lm"])
def test_every_token_of_a_completion_counts_or_it_is_unscored(
    tiny_model: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    """If truncation leaves no token before the completion, its first token has no probability, and the other tokens
    alone are not a score."""
    model = own(name)
    ids, start = model.ids(ASK, "Paris is the capital.")
    completion = len(ids) - start
    for max_length in range(completion - 1, completion + 4):
        scorer = load(tiny_model(name), name, reference_free="sum", max_length=max_length)
        ((score,),) = score_completion_sets(scorer, [CompletionSet(ASK, ("Paris is the capital.",))])
        if score.reason:
            assert math.isnan(score.value)
            continue
        (encoded,) = scorer.encode(CompletionSet(ASK, ("Paris is the capital.",)))
        assert len(scorer.token_rewards(encoded)) == score.num_completion_tokens == completion
        wanted = model.logprobs(model.models[0], encoded.ids, len(encoded.ids) - completion).sum()
        assert score.value == pytest.approx(wanted, rel=CLOSE)


def test_a_completion_without_a_token_has_no_mean(tiny_model: TinyModel) -> None:
    template = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    candidates = [CompletionSet(ASK, ("", " Paris."))]
    scorer = load(tiny_model("llama-lm"), chat_template=template, reference_free="mean")
    ((empty, full),) = score_completion_sets(scorer, candidates)
    assert math.isnan(empty.value)
    assert (empty.reason, empty.num_completion_tokens) == (NOT_FINITE, 0)
    assert math.isfinite(full.value)


def test_a_score_that_is_not_finite_is_unscored(tiny_copy: TinyModel, references: TinyModel) -> None:
    folder = tiny_copy("llama-lm")
    token = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("#")
    before = score_completion_sets(load(folder, reference=references("llama-lm"), beta=BETA), CANDIDATES)

    def damage(weights: dict[str, torch.Tensor]) -> None:
        weights["model.embed_tokens.weight"][token] = math.nan

    edit_weights(folder, damage)
    for policy, reference, sign in ((folder, references("llama-lm"), 1), (references("llama-lm"), folder, -1)):
        scorer = load(policy, reference=reference, beta=BETA)
        found = score_completion_sets(scorer, [*CANDIDATES, CompletionSet(ASK, ("# one", "Lyon"))])
        assert [score.reason for score in found[3]] == [NOT_FINITE, ""]
        assert_close(values(found[:3]), [[sign * value for value in row] for row in values(before)])


# ---- token by token


@pytest.mark.parametrize("name", CAUSAL_BUILDERS)
def test_the_trace_adds_up_to_the_score(
    tiny_model: TinyModel, references: TinyModel, own: Callable[[str], Own], name: str
) -> None:
    scorer = load(tiny_model(name), name, reference=references(name), beta=BETA)
    passes: list[int] = []
    for model in (scorer.model, scorer.reference):
        model.base_model.register_forward_pre_hook(lambda *args, **options: passes.append(1), with_kwargs=True)
    for each, scores in zip(CANDIDATES, score_completion_sets(scorer, CANDIDATES), strict=True):
        for text, score, encoded in zip(each.completions, scores, scorer.encode(each), strict=True):
            passes.clear()
            trace = scorer.token_rewards(encoded)
            assert len(passes) == 2
            assert len(trace) == score.num_completion_tokens
            wanted = BETA * own(name).ratios(each.prompt, text)
            assert_close([trace], [wanted.tolist()])
            assert sum(trace) == pytest.approx(score.value, abs=CLOSE * max(1.0, float(np.abs(wanted).sum())))


def test_the_trace_of_a_variant_is_the_log_probabilities(tiny_model: TinyModel, own: Callable[[str], Own]) -> None:
    model = own("llama-lm")
    wanted = model.logprobs(model.models[0], *model.ids(ASK, "Paris.")).tolist()
    for variant in ("sum", "mean", "norm"):
        scorer = load(tiny_model("llama-lm"), reference_free=variant)
        (encoded,) = scorer.encode(CompletionSet(ASK, ("Paris.",)))
        assert_close([scorer.token_rewards(encoded)], [wanted])


# ---- a whole run


def test_a_result_names_the_reference(
    tiny_model: TinyModel, references: TinyModel, own: Callable[[str], Own], tmp_path: Path
) -> None:
    """From end to end: the result names reference, revision and beta, the table has the numbers and their lengths, and
    aggregating it again gives the same result."""
    rows = [
        {"prompt": f"Question {i}?", "chosen": "Yes. " * (i % 3 + 1), "rejected": "No, not at all. " * (i % 2 + 1)}
        for i in range(8)
    ]
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ModelOptions(
        device="cpu", kind="implicit", name="test/dpo", beta=BETA, reference=str(references("llama-lm"))
    )
    finished = evaluate.evaluate(str(tiny_model("llama-lm")), str(data), options=options, out=tmp_path)
    about = read_result(finished.path).model
    assert (about.kind, about.beta, about.reference, about.output) == ("implicit", BETA, "local/llama-lm", "log-ratio")
    assert about.reference_revision is not None
    assert about.reference_revision.startswith("sha256:")
    assert about.reference_revision != about.revision
    assert about.batching == "packed"
    scores = next((tmp_path / "scores").rglob("*.parquet"))
    assert aggregate.aggregate_scores(scores) == finished.result
    frame, _ = read_scores(scores)
    texts = [(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    model = own("llama-lm")
    wanted = [BETA * float(model.ratios(ask(prompt), text).sum()) for prompt, text in texts]
    assert_close([frame["score"].tolist()], [wanted])
    lengths = [len(ids) - start for ids, start in (model.ids(ask(prompt), text) for prompt, text in texts)]
    assert frame["num_completion_tokens"].tolist() == lengths


def test_a_result_names_the_reference_free_variant(tiny_model: TinyModel, tmp_path: Path) -> None:
    options = ModelOptions(device="cpu", reference_free="mean", name="test/mean")
    finished = evaluate.evaluate(str(tiny_model("llama-lm")), "starter", options=options, limit=6, out=tmp_path)
    about = read_result(finished.path).model
    assert (about.kind, about.output) == ("implicit", "reference-free mean")
    assert (about.reference, about.reference_revision, about.beta) == (None, None, None)


def test_results_of_tools_are_not_the_policys_words(tiny_model: TinyModel) -> None:
    scorer = load(tiny_model("llama-lm"), "llama-lm", chat_template=TOOL_TEMPLATE, reference_free="sum")
    call: Message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    completions = (AssistantTurn(call), AssistantTurn(call, turn("tool", "4"), turn("assistant", "Four.")))
    ((scored, unscored),) = score_completion_sets(scorer, [CompletionSet(ASK, completions)])
    assert math.isfinite(scored.value)
    assert (math.isnan(unscored.value), unscored.reason) == (True, TOOL_RESULTS)
