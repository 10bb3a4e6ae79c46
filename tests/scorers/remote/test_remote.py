"""Reward models behind servers that speak each interface around a real tiny model: the scores are the local ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rb_core import retries
from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.errors import ModelError, NotScoredError
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.chat_format import COMPLETION_TOO_LONG
from rb_core.models.options import SERVER_APIS, JudgeOptions, ModelOptions, ServerApi
from rb_core.results import failures
from rb_core.results.score_table import Score
from rb_core.scorers.function import NOT_FINITE
from rb_core.scorers.http import client
from rb_core.scorers.load import load_model
from rb_core.scorers.remote.apis import APIS
from rb_core.scorers.remote.client import CUT_BY_SERVER, KEY_VARIABLE, TOO_LONG_FOR_SERVER
from rb_core.scorers.remote.scorer import NO_TEXT
from tests.fakes.judge_server import Fault
from tests.fakes.reward_server import ENDPOINTS, NAME, Flaw, RewardServer
from tests.fakes.tiny_models import classifier, edit_config
from tests.fakes.tiny_tokenizers import DECLARED

TinyModel = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(retries, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(client, "FIRST_CONTACT", 0.3)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def turns(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts))


SETS = (
    CompletionSet(turns("What is the capital of France?"), ("Paris", "London, as far as I know.", "")),
    CompletionSet(turns("Name a river.", "The Rhine.", "Another one, and say where it is."), ("The Volga.", "No")),
    CompletionSet(turns("What is the capital of France?"), ("Paris",)),
    CompletionSet(turns("Tell me about the dog. " * 12), ("It jumps over the fox", "yes")),
)


def options(server: RewardServer, folder: Path, **more: Any) -> ModelOptions:
    judge = JudgeOptions(deadline=more.pop("deadline", 5.0), concurrency=more.pop("concurrency", None))
    return ModelOptions(url=server.url, api=server.api, tokenizer=str(folder), judge=judge, **more)


def ready(server: RewardServer, folder: Path) -> Any:
    """Return a scorer of a server that has been checked, with a short deadline."""
    scorer: Any = load_model(NAME, options(server, folder))
    scorer.client.deadline = 0.3
    return scorer


def remote_scores(server: RewardServer, folder: Path, **more: Any) -> list[list[Score]]:
    return score_completion_sets(load_model(NAME, options(server, folder, **more)), SETS)


def local_scores(folder: Path, **more: Any) -> list[list[Score]]:
    return score_completion_sets(load_model(str(folder), ModelOptions(device="cpu", **more)), SETS)


def assert_same(remote: list[list[Score]], local: list[list[Score]]) -> None:
    for row, local_row in zip(remote, local, strict=True):
        for score, local_score in zip(row, local_row, strict=True):
            assert score.value == pytest.approx(local_score.value, abs=1e-5, nan_ok=True)
            assert score[1:] == local_score[1:]


MODELS = ("llama", "llama-pad-is-eos", "qwen3")
OFTEN = {("vllm-classify", "llama-pad-is-eos"), ("tei", "qwen3"), *((api, "llama") for api in SERVER_APIS)}


@pytest.mark.parametrize(
    ("api", "model"),
    [
        pytest.param(api, model, marks=() if (api, model) in OFTEN else pytest.mark.soak)
        for api in SERVER_APIS
        for model in MODELS
    ],
)
def test_scores_of_each_interface_equal_local_ones(api: ServerApi, model: str, tiny_model: TinyModel) -> None:
    """With a template that writes a BOS, one whose last token is not read, and one that adds to the completion; and
    with long prompts cut to the maximum length."""
    folder, more = tiny_model(model), {"max_length": 100}
    with RewardServer(api, folder) as server:
        remote = remote_scores(server, folder, **more)
    assert_same(remote, local_scores(folder, **more))
    assert any(score.truncated for row in remote for score in row)


@pytest.mark.parametrize("family", ["deberta", "roberta"])
def test_an_encoder_reads_a_text_to_which_the_server_adds_the_special_tokens(family: str, tmp_path: Path) -> None:
    folder = classifier(family, tmp_path / "m")
    joined = "{{ cls_token }}{% for turn in messages %}{{ turn['content'] }}{{ sep_token }}{% endfor %}"
    with RewardServer("tei", folder) as server:
        remote = remote_scores(server, folder, chat_template=joined)
    assert_same(remote, local_scores(folder, chat_template=joined))
    assert not any(score.reason for row in remote for score in row)


def test_the_outputs_of_each_token_are_reduced_to_the_last(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("vllm-pooling", folder, per_token=True) as server:
        assert_same(remote_scores(server, folder), local_scores(folder))


@pytest.mark.parametrize("api", SERVER_APIS)
def test_several_outputs_are_weighted_as_declared(api: ServerApi, tmp_path: Path) -> None:
    folder = classifier("llama", tmp_path / "m", num_labels=3)
    declared = {"output_weights": (0.5, -1.0, 2.0), "lower_is_better": True}
    with RewardServer(api, folder) as server:
        assert_same(remote_scores(server, folder, **declared), local_scores(folder, **declared))
        with pytest.raises(ModelError, match="3 outputs; declare the reward"):
            remote_scores(server, folder)


def test_equal_conversations_are_asked_about_once(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("sglang", folder) as server:
        scorer = load_model(NAME, options(server, folder))
        before = server.scored
        score_completion_sets(scorer, SETS)
        assert server.scored - before == len({(each.prompt[-1]["content"], t) for each in SETS for t in each[1]})


def test_a_completion_that_does_not_fit_is_not_sent(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("vllm-classify", folder) as server:
        remote = remote_scores(server, folder, max_length=8)
    reasons = {score.reason for row in remote for score in row}
    assert COMPLETION_TOO_LONG in reasons
    assert all(len(received.body["input"]) <= 8 for received in server.requests)


def test_a_template_without_the_special_tokens_that_the_server_adds_is_refused(tmp_path: Path) -> None:
    template = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    folder = classifier("roberta", tmp_path / "m")
    with RewardServer("tei", folder) as server, pytest.raises(ModelError, match="adds or drops special tokens"):
        remote_scores(server, folder, chat_template=template)


def test_a_conversation_that_no_text_gives_is_unscored(tiny_model: TinyModel) -> None:
    """The words of a conversation were tokenised otherwise than a server would."""
    folder = tiny_model("llama")
    scorer: Any
    with RewardServer("openrlhf", folder) as server:
        scorer = load_model(NAME, options(server, folder))
    (encoded,) = scorer.chat.encode(turns("Hi"), ("Yes",))
    letters = [i for letter in "the dog" for i in scorer.chat.tokenizer.encode(letter, add_special_tokens=False)]
    assert scorer.request(encoded).ids == encoded.ids
    assert scorer.request(encoded._replace(ids=(*encoded.ids, *letters))) == NO_TEXT


# ---- servers that are wrong


@pytest.mark.parametrize("api", ["vllm-classify", "vllm-pooling", "tei"])
def test_probabilities_are_refused(api: ServerApi, tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer(api, folder, flaw="sigmoid") as server, pytest.raises(ModelError, match="gives probabilities"):
        remote_scores(server, folder)


def test_scores_between_0_and_1_are_suspicious_where_nothing_else_can_be_asked_for(
    tiny_model: TinyModel, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_model("llama")
    with RewardServer("openrlhf", folder, flaw="sigmoid") as server, caplog.at_level(logging.WARNING):
        remote_scores(server, folder)
    assert "between 0 and 1" in caplog.text


def test_a_model_whose_config_declares_a_regression_may_score_between_0_and_1(tmp_path: Path) -> None:
    folder = classifier("llama", tmp_path / "m")
    edit_config(folder, problem_type="regression")
    with RewardServer("vllm-classify", folder, flaw="sigmoid") as server:
        assert all(0 <= score.value <= 1 for row in remote_scores(server, folder) for score in row)


@pytest.mark.parametrize("api", ["vllm-classify", "sglang", "tei"])
def test_a_server_that_adds_a_token_is_refused(api: ServerApi, tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer(api, folder, flaw="second-bos") as server, pytest.raises(ModelError, match="second BOS"):
        remote_scores(server, folder)


def test_a_conversation_that_the_server_cuts_is_unscored(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("sglang", folder, flaw="cuts") as server:
        server.flaw = ""
        scorer = load_model(NAME, options(server, folder))
        server.flaw = "cuts"
        rows = score_completion_sets(scorer, SETS)
    assert {score.reason for row in rows for score in row} == {"", CUT_BY_SERVER}
    assert all(score.num_tokens <= 40 for row in rows for score in row if not score.reason)


def test_another_model_is_refused(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    for server in (RewardServer("vllm-classify", folder, says="org/other"), RewardServer("vllm-pooling", folder)):
        server.models = None if server.says != NAME else {"org/other"}
        with server, pytest.raises(ModelError, match=r"other|no model"):
            remote_scores(server, folder)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("raw", said={"data": []}), failures.NO_SCORE),
        (Fault("raw", said={"model": NAME, "data": [{"probs": []}], "usage": {"prompt_tokens": 1}}), failures.NO_SCORE),
        (Fault("raw", said="[[1.0"), failures.NOT_JSON),
        (Fault("raw", said='{"data": [{"probs": [true]}], "usage": {"prompt_tokens": 9}}'), failures.NO_SCORE),
        (Fault("raw", said="1" * 200_000), failures.TOO_LARGE),
        (Fault("status", status=500), failures.SERVER_ERROR),
        (Fault("status", status=429, retry_after="0"), failures.SERVER_ERROR),
        (Fault("hang"), failures.SERVER_ERROR),
        (Fault("cut"), failures.SERVER_ERROR),
        (Fault("status", status=400, said="the prompt is too long"), TOO_LONG_FOR_SERVER),
        (Fault("status", status=400, said="odd"), failures.REJECTED),
    ],
)
def test_a_failed_request_leaves_its_conversation_unscored(fault: Fault, reason: str, tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("vllm-classify", folder) as server:
        scorer = ready(server, folder)
        scorer.client.deadline = 2.0  # long enough for the other requests, whatever else runs
        first, broken = server.tokenizer.encode("Volga")[-1], fault
        server.broken = lambda number: None
        answer = server.answer
        server.answer = lambda body: broken if first in body["input"] else answer(body)
        rows = score_completion_sets(scorer, SETS)
    assert [(i, j) for i, row in enumerate(rows) for j, score in enumerate(row) if score.reason == reason] == [(1, 0)]
    assert sum(math.isnan(score.value) for row in rows for score in row) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null"])
def test_a_number_that_is_none_is_unscored(value: str, tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("sglang", folder) as server:
        scorer = load_model(NAME, options(server, folder))
        said = f'{{"embedding": [{value}], "meta_info": {{"prompt_tokens": %d}}}}'
        server.answer = lambda body: Fault("raw", said=said % len(body["input_ids"]))
        rows = score_completion_sets(scorer, SETS)
    assert {score.reason for row in rows for score in row} == {NOT_FINITE}


# ---- servers that are away


def test_a_server_that_is_away_is_an_error_at_once(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("tei", folder) as server:
        asked = options(server, folder)
    with pytest.raises(NotScoredError, match="answers no request"):
        load_model(NAME, asked)


def test_the_key_is_that_of_reward_servers_and_appears_nowhere(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_model("llama")
    with RewardServer("sglang", folder, key="a-secret-key") as server, caplog.at_level(logging.DEBUG):
        with pytest.raises(ModelError, match=f"refuses the key.*set {KEY_VARIABLE}"):
            load_model(NAME, options(server, folder))
        monkeypatch.setenv("RB_JUDGE_API_KEY", "a-secret-key")
        with pytest.raises(ModelError, match="refuses the key"):
            load_model(NAME, options(server, folder))
        monkeypatch.setenv(KEY_VARIABLE, "a-secret-key")
        scorer = load_model(NAME, options(server, folder))
    assert "a-secret-key" not in caplog.text + repr(scorer) + str(scorer.describe())


def test_a_redirect_is_refused(tiny_model: TinyModel) -> None:
    folder = tiny_model("llama")
    with RewardServer("tei", folder) as server:
        server.fail(*[Fault("status", status=307, headers={"location": "http://127.0.0.1:1/"})] * 20)
        with pytest.raises(ModelError, match="redirects"):
            load_model(NAME, options(server, folder))


def test_many_failures_in_a_row_end_the_run(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model("llama")
    monkeypatch.setattr(client, "MAX_FAILURES_IN_A_ROW", 4)
    with RewardServer("sglang", folder) as server:
        scorer = ready(server, folder)
        monkeypatch.setattr(client, "FIRST_CONTACT", 5.0)
        server.broken = lambda number: Fault("status", status=500)
        with pytest.raises(NotScoredError, match="4 requests in a row had no answer"):
            score_completion_sets(scorer, SETS)


# ---- options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "http://127.0.0.1:1"}, "--url and --api are needed together"),
        ({"api": "tei"}, "--url and --api are needed together"),
        ({"api": "grpc", "url": "http://127.0.0.1:1"}, "unknown api 'grpc'"),
        ({"url": "127.0.0.1:1", "api": "tei"}, "http:// or https://"),
        ({"url": "http://127.0.0.1:1", "api": "tei", "kind": "classifier"}, "leave --kind out"),
        ({"url": "http://127.0.0.1:1", "api": "tei", "dtype": "float16"}, "--dtype applies only to"),
        ({"tokenizer": "x"}, "--tokenizer applies only to models with --url"),
        ({"judge": JudgeOptions(concurrency=2)}, "--concurrency applies only to judges with --base-url or --provider"),
    ],
)
def test_options_that_do_not_fit_are_refused(given: dict[str, Any], message: str, tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(str(tiny_model("llama")), ModelOptions(**given))


def test_a_name_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="--tokenizer"):
        load_model("tiny", ModelOptions(url="http://127.0.0.1:1", api="tei"))


@pytest.mark.parametrize("api", SERVER_APIS)
def test_the_address_may_have_the_path(api: ServerApi, tiny_model: TinyModel) -> None:
    assert APIS[api].path_below("") == APIS[api].path_below(ENDPOINTS[api]) == ENDPOINTS[api]
    assert APIS[api].path_below("/proxy") == f"/proxy{ENDPOINTS[api]}"


@pytest.mark.parametrize("flaw", ["", "scales"])
def test_a_pair_encoder_is_refused(flaw: Flaw, tmp_path: Path) -> None:
    folder = classifier("bert", tmp_path / "m")
    with RewardServer("tei", folder, flaw=flaw) as server, pytest.raises(ModelError, match="token types"):
        remote_scores(server, folder, chat_template=DECLARED.get("bert", "{{ messages[0]['content'] }}"))
