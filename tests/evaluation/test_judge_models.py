"""Judges with real weights, end to end: generated in this process, by `transformers serve` and by llama.cpp's server.

The weights are set by hand, so that the replies are known: the model answers every conversation with a verdict for A
and a rating of 7, and gives A more probability than B.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rb_core.errors import ModelError
from rb_core.evaluation import evaluate
from rb_core.models.options import MODES, JudgeOptions, Mode, ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.paths import scores_path, transcript_path
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge import scorer
from rb_core.scorers.judge.api_backend import ServedGenerator
from rb_core.scorers.judge.local_backend import LocalGenerator
from rb_core.scorers.judge.transcript import read_transcript
from rb_core.scorers.judge.types import CUT, NO_LOGPROBS, Decoding, JudgeRecord, Request
from tests.fakes import llama_server, logprob_server, real_server
from tests.fakes.tiny_models import change_generation_config, often_ending
from tests.fakes.tiny_tokenizers import chatml_tokenizer
from tests.scorers.judge.test_local_backend import PROMPTS

VERDICT, RATING = "Verdict: A\n", "Rating: 7"
CONTEXT = 4096
Run = tuple[Result, Path]  # with the folder of its files


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama without attention between tokens: each token determines the next one."""
    folder = tmp_path_factory.mktemp("speaker") / "model"
    tokenizer = chatml_tokenizer(ordinary=(VERDICT, RATING), model_max_length=CONTEXT)
    size = 32
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size,
        intermediate_size=size,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    verdict, rating, a, b = tokenizer.convert_tokens_to_ids([VERDICT, RATING, "A", "B"])
    newline = tokenizer("assistant\n").input_ids[-1]
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        inputs, outputs = model.model.embed_tokens.weight, model.lm_head.weight
        inputs.zero_()
        inputs[:, size - 1] = 1.0
        outputs.zero_()
        next_tokens = [(newline, verdict, 3.0), (verdict, rating, 3.0), (rating, tokenizer.eos_token_id, 3.0)]
        for index, (token, following, weight) in enumerate([*next_tokens, (newline, a, 2.0), (newline, b, 1.0)]):
            row = min(index, 3) if token != newline else 0
            inputs[token] = 0.0
            inputs[token, row] = 1.0
            outputs[following, row] = weight
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def transformers_url() -> Iterator[str]:
    pytest.importorskip("openai", reason="transformers serve takes openai's types")
    with real_server.serve() as url:
        yield url


@pytest.fixture(scope="module")
def llama_url(speaker: Path) -> Iterator[str]:
    for package in ("xllamacpp", "gguf"):
        pytest.importorskip(package, reason="llama.cpp's server and its format come with xllamacpp and gguf")
    with llama_server.serve(speaker, CONTEXT) as url:
        yield url


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs and a best of three, one prompt with a system message and several turns."""
    turns = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Name a prime."},
    ]
    rows: list[dict[str, object]] = [
        {"prompt": f"What is {n} + {n}?", "chosen": str(2 * n), "rejected": str(2 * n + 1)} for n in range(3)
    ]
    rows.append({"prompt": turns, "chosen": "Seven.", "rejected": "Nine."})
    rows.append({"prompt": "Name a colour.", "chosen": "Blue.", "rejected": ["Seven.", "A dog."]})
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def local_run(speaker: Path, benchmark: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mode], Run]:
    return cache(lambda mode: judged(str(speaker), mode, benchmark, tmp_path_factory.mktemp("local")))


def judged(model: str, mode: Mode, benchmark: Path, out: Path, url: str | None = None) -> Run:
    """Evaluate the model as a judge, and check that it ties everything and follows positions."""
    options = ModelOptions(name="test/speaker", judge=JudgeOptions(mode=mode, base_url=url, max_new_tokens=16))
    result = evaluate.evaluate(model, str(benchmark), options=options, out=out).result
    assert result.counts is not None
    assert result.judging is not None
    assert (result.counts.unscored, result.counts.ties) == (0, 5)
    assert result.judging.problems == {}
    if mode == "ratings":
        assert result.judging.position_consistency is None
    else:
        assert result.judging.position_consistency is not None
        assert result.judging.position_consistency.value == 0.0
        assert result.judging.first_position is not None
        assert result.judging.first_position.value == 1.0
    return result, out


def records_of(run: Run) -> list[JudgeRecord]:
    """Return the records of a run, without the seconds that replies took."""
    result, out = run
    records, _ = read_transcript(out / transcript_path(result.benchmark.id, result.model.name))
    return [replace(record, reply=record.reply._replace(seconds=0.0)) for record in records]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "logprob"])
def test_transformers_serve_and_this_process_agree(
    mode: Mode,
    speaker: Path,
    transformers_url: str,
    benchmark: Path,
    tmp_path: Path,
    local_run: Callable[[Mode], Run],
) -> None:
    """The same replies, token counts and scores for the same weights at temperature 0, in all modes that need text."""
    served, local = judged(str(speaker), mode, benchmark, tmp_path, transformers_url), local_run(mode)
    assert records_of(served) == records_of(local)
    tables = [read_scores(out / scores_path(run.benchmark.id, run.model.name))[0] for run, out in (served, local)]
    pd.testing.assert_frame_equal(*tables)
    judges = [run.model.judge for run, _ in (local, served)]
    assert [judge and judge.backend for judge in judges] == ["local", "served"]
    assert local[0].model.dtype == "float32"


def test_replies_are_those_of_transformers_serve(transformers_url: str, tmp_path: Path) -> None:
    """Text, end and token counts of a model whose replies end early, with a repetition penalty of its own."""
    folder = often_ending(tmp_path / "model")
    change_generation_config(folder, repetition_penalty=1.2, do_sample=True, top_p=0.9, temperature=0.6)
    requests = [Request(prompt, 30) for prompt in PROMPTS]
    options = ModelOptions(device="cpu", kind="generative")

    def replies(generator: ServedGenerator | LocalGenerator) -> list[Reply]:
        return [reply._replace(seconds=0.0) for _, reply in sorted(generator.generate(requests))]

    local = replies(LocalGenerator.load(resolve(str(folder), options), Decoding()))
    assert {reply.error for reply in local} == {"", CUT}
    assert local == replies(ServedGenerator(str(folder), Decoding(), base_url=transformers_url))


@pytest.mark.parametrize("mode", MODES)
def test_llama_cpp_and_this_process_agree(
    mode: Mode, llama_url: str, benchmark: Path, tmp_path: Path, local_run: Callable[[Mode], Run]
) -> None:
    """Another implementation of the same weights gives the same replies, and probabilities to 1e-4, in all modes."""
    served_run = judged(llama_server.NAME, mode, benchmark, tmp_path, llama_url)
    for served, local in zip(records_of(served_run), records_of(local_run(mode)), strict=True):
        assert served.points == pytest.approx(local.points, abs=1e-4)
        same = replace(served, points=local.points, reply=served.reply._replace(tokens=local.reply.tokens))
        assert same == local


def test_a_server_with_log_probabilities_and_this_process_agree(
    speaker: Path, benchmark: Path, tmp_path: Path, local_run: Callable[[Mode], Run]
) -> None:
    with logprob_server.serve(speaker) as url:
        served_run = judged(logprob_server.NAME, "logprob", benchmark, tmp_path, url)
    for served, local in zip(records_of(served_run), records_of(local_run("logprob")), strict=True):
        assert local.points == pytest.approx(served.points, abs=1e-4)
        assert local.points[0] == pytest.approx(1 / (1 + torch.e ** -(32**0.5)), abs=1e-4)


def test_a_server_without_log_probabilities_is_an_error(
    transformers_url: str, speaker: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "MAX_FAILURES_IN_A_ROW", 4)
    with pytest.raises(ModelError, match="without log-probabilities"):
        judged(str(speaker), "logprob", benchmark, tmp_path, transformers_url)


def test_no_verdict_among_the_most_likely_tokens_is_unscored(
    tiny_model: Callable[[str], Path], benchmark: Path, tmp_path: Path
) -> None:
    """A model that was never taught to answer with a letter has no probability of one, or has it unguessed."""
    options = ModelOptions(judge=JudgeOptions(mode="logprob"))
    result = evaluate.evaluate(str(tiny_model("llama-lm")), str(benchmark), options=options, out=tmp_path).result
    assert result.counts is not None
    assert set(result.counts.reasons) <= {NO_LOGPROBS, "longer than the judge's context"}
    assert result.counts.unscored + result.counts.scored == 5


def test_local_judges_make_a_panel(speaker: Path, benchmark: Path, tmp_path: Path) -> None:
    """The same model under two names agrees with itself; under one name it would be counted twice."""
    twin, again = tmp_path / "twin", tmp_path / "again" / "twin"
    again.parent.mkdir()
    for folder in (twin, again):
        shutil.copytree(speaker, folder)

    def panel(*judges: Path) -> Result:
        options = JudgeOptions(judges=tuple(map(str, judges)), mode="ratings", max_new_tokens=16)
        return evaluate.evaluate("", str(benchmark), options=ModelOptions(judge=options), out=tmp_path).result

    result = panel(speaker, twin)
    assert result.model.name == "panel/model+twin"
    assert result.judging is not None
    assert set(result.judging.members) == {"local/model", "local/twin"}
    assert result.judging.agreement is not None
    assert (result.judging.agreement.items, result.judging.agreement.fleiss_kappa) == (7, None)  # ties all
    with pytest.raises(ModelError, match="local/twin twice"):
        panel(twin, again)
