"""Judges that are models: the whole path with real weights, generated in this process and by real servers.

The model is built from a config and its weights are set by hand, so that what it says is known: it answers every
conversation with a verdict for A and a rating of 7, and gives A more probability than B.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rb_core.errors import ModelError
from rb_core.evaluation import evaluate
from rb_core.models.options import MODES, JudgeOptions, Mode, ModelOptions
from rb_core.results.paths import scores_path, transcript_path
from rb_core.results.schema import Result
from rb_core.results.score_table import read_scores
from rb_core.scorers.judge import scorer
from rb_core.scorers.judge.transcript import read_transcript
from rb_core.scorers.judge.types import NO_LOGPROBS, JudgeRecord
from tests.fakes import llama_server, logprob_server, real_server
from tests.fakes.tiny_tokenizers import chatml_tokenizer

VERDICT, RATING = "Verdict: A\n", "Rating: 7"
CONTEXT = 4096


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama without mixing between tokens: each token is followed by what the one before it leads to."""
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
        leads = [(newline, verdict, 3.0), (verdict, rating, 3.0), (rating, tokenizer.eos_token_id, 3.0)]
        for place, (token, following, weight) in enumerate([*leads, (newline, a, 2.0), (newline, b, 1.0)]):
            row = min(place, 3) if token != newline else 0
            inputs[token] = 0.0
            inputs[token, row] = 1.0
            outputs[following, row] = weight
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(speaker: Path) -> Iterator[str]:
    """The address of `transformers serve` with that model."""
    pytest.importorskip("openai", reason="transformers serve takes openai's types")
    with real_server.serve(speaker) as url:
        yield url


@pytest.fixture(scope="module")
def llama(speaker: Path) -> Iterator[str]:
    """The address of llama.cpp's server with that model."""
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


def judged(model: str, mode: Mode, benchmark: Path, out: Path, url: str | None = None) -> Result:
    options = ModelOptions(name="test/speaker", judge=JudgeOptions(mode=mode, base_url=url, max_new_tokens=16))
    return evaluate.evaluate(model, str(benchmark), options=options, out=out).result


def check(result: Result, mode: Mode) -> None:
    """What this model's habit gives in that mode: ties everywhere, and no verdict that keeps to an answer."""
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


def records(result: Result, out: Path) -> list[JudgeRecord]:
    """The records of a run, without the seconds that replies took."""
    found, _ = read_transcript(out / transcript_path(result.benchmark.id, result.model.name))
    return [replace(record, reply=record.reply._replace(seconds=0.0)) for record in found]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "logprob"])
def test_a_real_server_and_this_process_say_the_same(
    mode: Mode, speaker: Path, served: str, benchmark: Path, tmp_path: Path
) -> None:
    """Every mode that needs text, end to end, by `transformers serve` and by the local backend: the same replies, token
    counts, scores and habits for the same weights at temperature 0."""
    there = judged(real_server.name_of(speaker), mode, benchmark, tmp_path / "there", served)
    here = judged(str(speaker), mode, benchmark, tmp_path / "here")
    check(there, mode)
    check(here, mode)
    assert records(there, tmp_path / "there") == records(here, tmp_path / "here")
    place = scores_path(here.benchmark.id, here.model.name)
    tables = [read_scores(tmp_path / side / place)[0] for side in ("there", "here")]
    pd.testing.assert_frame_equal(*tables)
    assert here.model.judge is not None
    assert there.model.judge is not None
    assert (here.model.judge.backend, there.model.judge.backend) == ("local", "served")
    assert here.model.dtype == "float32"


@pytest.mark.parametrize("mode", MODES)
def test_llama_cpp_and_this_process_say_the_same(
    mode: Mode, speaker: Path, llama: str, benchmark: Path, tmp_path: Path
) -> None:
    """All four modes, end to end, by another implementation of the same weights: the same replies, probabilities to
    1e-4, and habits."""
    there = judged(llama_server.NAME, mode, benchmark, tmp_path / "there", llama)
    here = judged(str(speaker), mode, benchmark, tmp_path / "here")
    check(there, mode)
    check(here, mode)
    for served, local in zip(records(there, tmp_path / "there"), records(here, tmp_path / "here"), strict=True):
        assert served.points == pytest.approx(local.points, abs=1e-4)
        same = replace(served, points=local.points, reply=served.reply._replace(tokens=local.reply.tokens))
        assert same == local


def test_probabilities_of_a_verdict_are_the_same_served_and_here(
    speaker: Path, benchmark: Path, tmp_path: Path
) -> None:
    """Mode logprob, end to end, by a server that gives log-probabilities and by the local backend."""
    with logprob_server.serve(speaker) as url:
        there = judged(logprob_server.NAME, "logprob", benchmark, tmp_path / "there", url)
    here = judged(str(speaker), "logprob", benchmark, tmp_path / "here")
    check(there, "logprob")
    check(here, "logprob")
    for served, local in zip(records(there, tmp_path / "there"), records(here, tmp_path / "here"), strict=True):
        assert local.points == pytest.approx(served.points, abs=1e-4)
        assert local.points[0] == pytest.approx(1 / (1 + torch.e ** -(32**0.5)), abs=1e-4)


def test_a_server_without_log_probabilities_is_said_to_be_one(
    served: str, speaker: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`transformers serve` has none: mode logprob ends and says what it needs."""
    monkeypatch.setattr(scorer, "MAX_FAILURES_IN_A_ROW", 4)
    with pytest.raises(ModelError, match="without log-probabilities"):
        judged(real_server.name_of(speaker), "logprob", benchmark, tmp_path, served)


def test_no_verdict_among_the_likeliest_tokens_is_unscored(
    tiny_model: Callable[[str], Path], benchmark: Path, tmp_path: Path
) -> None:
    """A model that was never taught to answer with a letter has no probability of one, or has it unguessed."""
    result = judged(str(tiny_model("llama-lm")), "logprob", benchmark, tmp_path)
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
        asked = JudgeOptions(judges=tuple(map(str, judges)), mode="ratings", max_new_tokens=16)
        return evaluate.evaluate("", str(benchmark), options=ModelOptions(judge=asked), out=tmp_path).result

    result = panel(speaker, twin)
    assert result.model.name == "panel/model+twin"
    assert result.judging is not None
    assert set(result.judging.members) == {"local/model", "local/twin"}
    assert result.judging.agreement is not None
    assert (result.judging.agreement.items, result.judging.agreement.fleiss_kappa) == (7, None)  # ties all
    with pytest.raises(ModelError, match="local/twin twice"):
        panel(twin, again)
