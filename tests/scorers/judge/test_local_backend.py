"""Replies generated in this process: the model's own in every batch, and those of a server."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rb_core.benchmarks.example import Conversation
from rb_core.errors import ModelError
from rb_core.models.chat_format import fold_system
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge import generation, local_backend
from rb_core.scorers.judge.api_backend import ServedGenerator
from rb_core.scorers.judge.local_backend import LocalGenerator
from rb_core.scorers.judge.types import CUT, KEPT_TOKENS, NO_LOGPROBS, TOO_LONG, Decoding, Request
from tests.fakes import logprob_server
from tests.fakes.prompts import ask, turn
from tests.fakes.tiny_models import CAUSAL_BUILDERS, causal, change_generation_config, edit_weights, often_ending
from tests.fakes.tiny_tokenizers import CHATML_TEMPLATE, DECLARED, LLAMA_TEMPLATE, chatml_tokenizer

TinyModel = Callable[[str], Path]
CLOSE = 1e-5
NAMES = tuple(CAUSAL_BUILDERS)
MOST = 8
GREEDY = Decoding()

PROMPTS: tuple[Conversation, ...] = (
    ask("What is the capital of France?"),
    ask("Hi"),
    (turn("user", "Name a river."), turn("assistant", "The Rhine."), turn("user", "And one more, please! " * 3)),
    (turn("system", "You are a careful assistant."), turn("user", "Which is better, A or B?")),
    ask("Ünïcödé – 你好, 世界 🎈\n\n\ttabs and   spaces"),
    ask("0 1 2 3 4 5 6 7 8 9 " * 4),
    (turn("system", "Please answer in one short sentence."), *ask("The quick brown fox?")),
    ask("[[A]] or [[B]]? {{ braces }} <b>markup</b>"),
    (turn("user", "a"), turn("assistant", ""), turn("user", "b")),
    ask("How do you find it yourself? " * 5),
    ask("."),
    (turn("user", "1"), turn("assistant", "2"), turn("user", "3"), turn("assistant", "4"), turn("user", "5")),
)


def load(folder: Path, name: str = "", decoding: Decoding = GREEDY, **options: Any) -> LocalGenerator:
    options = {"chat_template": DECLARED.get(name), "device": "cpu", "kind": "generative"} | options
    options |= {"fold_system": name.startswith("gemma")}
    return LocalGenerator.load(resolve(str(folder), ModelOptions(**options)), decoding)


def requests(max_tokens: int = MOST, top: int = 0, prompts: Sequence[Conversation] = PROMPTS) -> list[Request]:
    return [Request(prompt, max_tokens, top) for prompt in prompts]


def replies(generator: LocalGenerator | ServedGenerator, asked: Sequence[Request]) -> list[Reply]:
    found = dict(generator.generate(asked))
    assert sorted(found) == list(range(len(asked)))
    return [found[place] for place in range(len(asked))]


def texts(generator: LocalGenerator, asked: Sequence[Request]) -> list[str]:
    return [reply.text for reply in replies(generator, asked)]


class Own:
    """The same model as transformers runs it, one prompt at a time."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.name = name

    def ids(self, prompt: Conversation) -> list[int]:
        turns = fold_system(prompt) if self.name.startswith("gemma") else prompt
        options = {"return_dict": False, "add_generation_prompt": True, "chat_template": DECLARED.get(self.name)}
        return list(self.tokenizer.apply_chat_template([dict(t) for t in turns], tokenize=True, **options))

    def reply(self, prompt: Conversation, max_tokens: int = MOST) -> list[int]:
        ids = torch.tensor([self.ids(prompt)])
        out = self.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False)
        return list(out[0, ids.shape[1] :].tolist())

    def text(self, prompt: Conversation, max_tokens: int = MOST) -> str:
        return str(self.tokenizer.decode(self.reply(prompt, max_tokens), skip_special_tokens=True))

    @torch.no_grad()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the log-probabilities (tokens, vocabulary) of the token after each."""
        return self.model(torch.tensor([list(ids)])).logits[0].double().log_softmax(-1)


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return often_ending(tmp_path_factory.mktemp("ending") / "model")


# ---- greedy replies


@pytest.mark.parametrize("name", NAMES)
def test_replies_are_the_models_own_at_any_batch_size_and_order(tiny_model: TinyModel, name: str) -> None:
    own = Own(tiny_model(name), name)
    expected = [own.text(prompt) for prompt in PROMPTS]
    generator = load(tiny_model(name), name)
    assert generator.batching == "padded"
    assert texts(generator, requests()) == expected
    generator.rows = 3
    assert texts(generator, requests()[::-1]) == expected[::-1]


def test_a_reply_ends_before_the_token_that_ends_it(ending: Path) -> None:
    """The end token is counted, but is not part of the text."""
    own, generator = Own(ending), load(ending)
    found = replies(generator, requests(24))
    assert {reply.finish for reply in found} == {"stop", "length"}
    for prompt, reply in zip(PROMPTS, found, strict=True):
        ids = own.reply(prompt, 24)
        ended = ids[-1] == own.tokenizer.eos_token_id
        assert (reply.finish, reply.error) == (("stop", "") if ended else ("length", CUT))
        assert reply.completion_tokens == len(ids)
        assert reply.prompt_tokens == len(own.ids(prompt))
        assert reply.text == own.tokenizer.decode(ids, skip_special_tokens=True)
        assert "<|eot_id|>" not in reply.text
        assert reply.seconds > 0


def test_a_request_for_one_token_is_not_cut_off(tiny_model: TinyModel) -> None:
    generator = load(tiny_model("llama-lm"))
    for top in (0, 5):
        found = replies(generator, requests(1, top))
        assert {(reply.finish, reply.error) for reply in found} <= {("length", ""), ("stop", "")}


def test_every_token_that_ends_a_turn_ends_a_reply(tiny_copy: Callable[[str], Path]) -> None:
    """Those of the generation config, and the tokenizer's where that config omits it."""
    folder = tiny_copy("llama-lm")
    usual = load(folder)
    plain = replies(usual, requests())
    first = usual.chat.tokenizer.encode(plain[0].text, add_special_tokens=False)[2]
    change_generation_config(folder, eos_token_id=[first, 3])
    generator = load(folder)
    assert set(generator.end_tokens) == {first, 3, 1}
    found = replies(generator, requests())
    for before, after in zip(plain, found, strict=True):
        assert before.text.startswith(after.text)
    assert any(reply.finish == "stop" for reply in found)


def test_a_prompt_that_does_not_fit_is_not_truncated(tiny_model: TinyModel) -> None:
    generator = load(tiny_model("llama-lm"), max_length=100)
    asked = ask("0 1 2 3 4 5 6 7 8 9 " * 2)
    length = len(generator.chat.encode_prompts([asked])[0])
    fits, beyond = replies(generator, [Request(asked, 100 - length), Request(asked, 101 - length)])
    assert fits.error != TOO_LONG
    assert fits.text
    assert (beyond.error, beyond.text, beyond.prompt_tokens) == (TOO_LONG, "", length)


def test_marks_of_reasoning_are_kept_although_they_are_special_tokens(tmp_path: Path) -> None:
    tokenizer = chatml_tokenizer(CHATML_TEMPLATE, extra_special_tokens=["<think>", "</think>"])
    folder = causal("llama-lm", tmp_path / "model", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(folder)
    generator = load(folder)
    ids = tokenizer.encode("<think>The dog</think>Paris<|im_start|>")
    assert generator._text(ids) == "<think>The dog</think>Paris"


# ---- what the model's generation config says


def test_penalties_apply_and_ignore_padding(tiny_copy: Callable[[str], Path]) -> None:
    folder = tiny_copy("llama-lm")
    plain = texts(load(folder), requests())
    settings = {"repetition_penalty": 1.8, "do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20}
    change_generation_config(folder, **settings)
    own = Own(folder)
    expected = [own.text(prompt) for prompt in PROMPTS]
    generator = load(folder)
    assert generator.describe()["generation"] == {"repetition_penalty": 1.8}
    for group in generator._batches(generator._encode(list(enumerate(requests())))):
        assert len({len(asked.ids) for asked in group}) == 1
    assert expected != plain
    assert texts(generator, requests()) == expected


def test_settings_without_effect_do_not_split_batches(tiny_copy: Callable[[str], Path]) -> None:
    folder = tiny_copy("llama-lm")
    change_generation_config(
        folder, repetition_penalty=1.0, no_repeat_ngram_size=0, do_sample=True, top_k=3, max_length=9
    )
    generator = load(folder)
    assert generator.own_settings == {}
    assert len(list(generator._batches(generator._encode(list(enumerate(requests())))))) == 1


# ---- sampling


def test_a_sample_does_not_depend_on_its_batch(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama-lm")
    generator = load(folder, decoding=Decoding(temperature=0.9))
    together = texts(generator, requests())
    assert together != texts(load(folder), requests())
    assert texts(generator, requests()[::-1]) == together[::-1]
    generator.rows = 1
    assert texts(generator, requests()) == together
    assert texts(load(folder, decoding=Decoding(temperature=0.9, seed=1)), requests()) != together


def test_noise_samples_the_softmax() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    config = SimpleNamespace(top_k=None, top_p=None, min_p=None)
    asked = [Request(ask(str(i)), 1) for i in range(2000)]
    steps = generation.sampling(config, Decoding(temperature=2.0), asked, torch.device("cpu"))
    drawn = scores.repeat(len(asked), 1)
    for step in steps:
        drawn = step(torch.zeros(len(asked), 1, dtype=torch.int64), drawn)
    shares = torch.bincount(drawn.argmax(-1), minlength=4) / len(asked)
    assert torch.allclose(shares, (scores[0] / 2).softmax(-1), atol=0.04)


def test_the_models_own_top_k_applies_when_sampling(tiny_copy: Callable[[str], Path]) -> None:
    folder = tiny_copy("llama-lm")
    greedy = texts(load(folder), requests())
    change_generation_config(folder, do_sample=True, top_k=1)
    assert texts(load(folder, decoding=Decoding(temperature=1.0)), requests()) == greedy


# ---- log-probabilities


@pytest.mark.parametrize("name", NAMES)
def test_alternatives_are_the_models_own_single_forward_pass(tiny_model: TinyModel, name: str) -> None:
    own = Own(tiny_model(name), name)
    generator = load(tiny_model(name), name, Decoding(temperature=0.7))
    for prompt, reply in zip(PROMPTS, replies(generator, requests(1, 20)), strict=True):
        expected = own.logprobs(own.ids(prompt))[-1].topk(20)
        (token,) = reply.tokens
        assert [logprob for _, logprob in token.top] == pytest.approx(expected.values.tolist(), abs=CLOSE)
        assert [text for text, _ in token.top] == [own.tokenizer.decode([i]) for i in expected.indices]
        assert (token.text, token.logprob) == token.top[0]
        assert reply.completion_tokens == 1


def test_no_text_is_generated_for_one_token(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One forward pass, in which the head sees one token per prompt."""
    generator = load(tiny_model("llama-lm"))
    monkeypatch.setattr(generator.model, "generate", lambda **_: pytest.fail("generated"))
    seen: list[torch.Size] = []
    hook = generator.model.lm_head.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0].shape))
    assert len(replies(generator, requests(1, 5))) == len(PROMPTS)
    hook.remove()
    assert seen == [torch.Size([len(PROMPTS), 1, 32])]
    assert not generator.model.lm_head._forward_pre_hooks


def test_log_probabilities_of_a_text_are_raw_and_of_its_last_tokens(ending: Path) -> None:
    """The model's own at any temperature, without the token that ends the text."""
    own, generator = Own(ending), load(ending, decoding=Decoding(temperature=1.3))
    found = replies(generator, requests(48, 3))
    assert {reply.finish for reply in found} == {"stop", "length"}
    assert any(len(reply.tokens) == KEPT_TOKENS for reply in found)
    for prompt, reply in zip(PROMPTS, found, strict=True):
        if reply.finish == "stop" and reply.completion_tokens == 1:
            continue
        start = own.ids(prompt)
        # the ids are not in a reply: find them by going along the likeliest
        (row,) = generator._generate([start], [Request(prompt, 48, 3)], None)
        text = row[:-1] if row[-1] in generator.end_tokens else row
        logprobs = own.logprobs([*start, *text])[len(start) - 1 :]
        kept = range(max(0, len(text) - KEPT_TOKENS), len(text))
        assert [token.text for token in reply.tokens] == [own.tokenizer.decode([text[i]]) for i in kept]
        assert [t.logprob for t in reply.tokens] == pytest.approx([float(logprobs[i, text[i]]) for i in kept], abs=1e-4)
        for i, token in zip(kept, reply.tokens, strict=True):
            assert [v for _, v in token.top] == pytest.approx(logprobs[i].topk(3).values.tolist(), abs=1e-4)


def test_log_probabilities_that_are_not_finite_are_dropped(tiny_copy: Callable[[str], Path]) -> None:
    folder = tiny_copy("llama-lm")
    generator = load(folder)
    with torch.no_grad():
        generator.model.lm_head.weight[7] = math.nan
    for reply in replies(generator, requests(1, 5)):
        assert (reply.error, reply.tokens) == (NO_LOGPROBS, ())


# ---- the stream of requests


def test_requests_are_taken_as_they_are_needed(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local_backend.WINDOW, "cpu", 4)
    taken: list[int] = []

    def asked() -> Iterator[Request]:
        for i, request in enumerate(requests(2)):
            taken.append(i)
            yield request

    stream = load(tiny_model("llama-lm")).generate(asked())
    first = next(stream)
    assert len(taken) == 4
    assert {place for place, _ in [first, *(next(stream) for _ in range(3))]} == {0, 1, 2, 3}
    assert len(taken) == 4
    stream.close()


def test_requests_of_all_kinds_may_be_mixed(tiny_model: TinyModel) -> None:
    generator = load(tiny_model("llama-lm"))
    mixed = [Request(p, n, top) for p, (n, top) in zip(PROMPTS, [(5, 0), (1, 4), (9, 2), (1, 0)] * 3, strict=True)]
    together = replies(generator, mixed)
    for request, reply in zip(mixed, together, strict=True):
        (alone,) = replies(generator, [request])
        assert (alone.text, alone.finish, alone.error) == (reply.text, reply.finish, reply.error)
        assert [len(token.top) for token in reply.tokens] == [len(token.top) for token in alone.tokens]
        assert len(reply.tokens) == (min(request.max_tokens, KEPT_TOKENS) if request.top_logprobs else 0)


def test_a_schema_needs_a_server(tiny_model: TinyModel) -> None:
    """It is refused after the replies before it were yielded."""
    stream = load(tiny_model("llama-lm")).generate(
        [Request(PROMPTS[0], 2), Request(PROMPTS[1], 2, 0, {"type": "object"})]
    )
    assert next(stream)[0] == 0
    with pytest.raises(ModelError, match="needs a server"):
        next(stream)


def test_out_of_memory_halves_batches(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(tiny_model("llama-lm"))
    expected, real, sizes = texts(generator, requests()), generator._generate, []

    def generate(rows: list[list[int]], *rest: Any) -> list[list[int]]:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("no memory")
        return real(rows, *rest)

    monkeypatch.setattr(generator, "_generate", generate)
    assert texts(generator, requests()) == expected
    failed = sum(size > 3 for size in sizes)
    sizes.clear()
    assert texts(generator, requests()) == expected
    assert failed > 0
    assert all(size <= 6 for size in sizes)


def test_out_of_memory_with_one_request_is_an_error(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(tiny_model("llama-lm"))
    monkeypatch.setattr(generator, "_replies", lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("no memory")))
    with pytest.raises(ModelError, match="out of memory with one request"):
        list(generator.generate(requests()[:1]))


def test_other_errors_are_not_taken_for_memory(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(tiny_model("llama-lm"))
    monkeypatch.setattr(generator, "_replies", lambda _: (_ for _ in ()).throw(RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(generator.generate(requests()))


def test_lone_surrogates_are_replaced_as_for_a_server(tiny_model: TinyModel) -> None:
    generator = load(tiny_model("llama-lm"))
    assert texts(generator, [Request(ask("a\ud83db"), 5)]) == texts(generator, [Request(ask("a?b"), 5)])


# ---- what is put together


def test_replies_are_generated_alone_if_padding_changes_logits(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    padded = LocalGenerator._padded

    def unmasked(self: LocalGenerator, rows: Sequence[Sequence[int]], *, left: bool) -> dict[str, torch.Tensor]:
        made = padded(self, rows, left=left)
        return made | {"attention_mask": torch.ones_like(made["attention_mask"])}

    monkeypatch.setattr(LocalGenerator, "_padded", unmasked)
    generator = load(tiny_model("llama-lm"))
    assert generator.batching == "single"
    assert "one at a time" in caplog.text
    own = Own(tiny_model("llama-lm"))
    assert texts(generator, requests()) == [own.text(prompt) for prompt in PROMPTS]


def test_rows_on_both_sides_of_a_rope_switch_are_apart(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that crosses it is generated alone."""
    generator = load(tiny_model("llama-lm"))
    monkeypatch.setattr(local_backend, "rope_switch_lengths", lambda _: [30])
    asked = [
        local_backend.EncodedRequest(i, Request(PROMPTS[0], 10), [5] * n)
        for i, n in enumerate((12, 20, 21, 25, 30, 31, 40))
    ]
    groups = {tuple(sorted(each.number for each in group)) for group in generator._batches(asked)}
    assert groups == {(0, 1), (2,), (3,), (4,), (5, 6)}


def test_batches_hold_what_memory_does(tiny_model: TinyModel) -> None:
    generator = load(tiny_model("llama-lm"), batch_tokens=200)
    groups = list(generator._batches(generator._encode(list(enumerate(requests(50))))))
    assert len(groups) > 3
    for group in groups:
        assert len(group) == 1 or len(group) * max(len(each.ids) + 50 for each in group) <= 200


# ---- loading, and what the model says of itself


def test_a_missing_weight_is_fatal(tiny_copy: Callable[[str], Path]) -> None:
    folder = tiny_copy("llama-lm")
    edit_weights(folder, lambda weights: weights.__delitem__("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match=r"misses model\.layers\.1\.mlp\.up_proj\.weight"):
        load(folder)


def test_control_tokens_in_a_text_are_text(tiny_model: TinyModel, sanitizing_transformers: None) -> None:
    generator = load(tiny_model("llama-lm"))
    plain, spelled = generator.chat.encode_prompts([ask("ab"), ask("a<|eot_id|>b")])
    assert spelled.count(1) == plain.count(1)
    assert len(spelled) > len(plain)


def test_a_template_that_drops_system_messages_is_refused(tiny_copy: Callable[[str], Path]) -> None:
    silent = CHATML_TEMPLATE.replace("for turn in messages", "for turn in messages if turn['role'] != 'system'")
    generator = load(tiny_copy("qwen2-lm"), chat_template=silent)
    assert len(replies(generator, requests(2, prompts=PROMPTS[:3]))) == 3
    with pytest.raises(ModelError, match="drops system messages"):
        list(generator.generate(requests(2)))


def test_the_generator_describes_itself(tiny_model: TinyModel) -> None:
    variables = {"enable_thinking": False}
    decoding = Decoding(temperature=0.5, seed=3)
    template = LLAMA_TEMPLATE + "{% if enable_thinking %}<think>{% endif %}"
    model = load(tiny_model("llama-lm"), decoding=decoding, chat_template=template, template_vars=variables)
    described = model.describe()
    assert described["template_vars"] == variables
    assert described["architecture"] == "LlamaForCausalLM"
    assert described["dtype"] == "float32"
    assert described["batching"] == "padded"
    assert described["backend"] == "local"
    assert described["max_length"] == 512
    assert described["revision"].startswith("sha256:")
    assert len(described["chat_template_sha256"]) == 64
    assert described["probe"] < 1e-3
    assert described["sampling"] == "noise seeded for each request"


def test_log_probabilities_are_those_of_a_server(ending: Path) -> None:
    asked = requests(8, 5, PROMPTS[:6]) + requests(1, 5, PROMPTS[:6])
    with logprob_server.serve(ending) as url:
        served_replies = replies(ServedGenerator(logprob_server.NAME, GREEDY, base_url=url), asked)
    compared = 0
    for local, served in zip(replies(load(ending), asked), served_replies, strict=True):
        assert local.text == served.text
        if not served.tokens:  # ended at once, for which that server has no token to report
            assert local.finish == "stop"
            continue
        for ours, theirs in zip(local.tokens, served.tokens, strict=True):
            assert ours.text == theirs.text
            assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
            assert [text for text, _ in ours.top] == [text for text, _ in theirs.top]
            assert [v for _, v in ours.top] == pytest.approx([v for _, v in theirs.top], abs=1e-4)
            compared += 1
    assert compared > 9
