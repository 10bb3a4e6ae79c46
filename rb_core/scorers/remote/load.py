"""Load the tokenizer of a reward model behind a server, and check the server with a few short conversations."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import ModelError, NotScoredError
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.conversation_scorer import PROBES
from rb_core.scorers.loading import check_pad_token, load_config, load_tokenizer, max_length_of, pad_token_of
from rb_core.scorers.remote.apis import APIS
from rb_core.scorers.remote.client import RewardClient
from rb_core.scorers.remote.scorer import NO_TEXT, RemoteScorer

log = logging.getLogger(__name__)

SAME = 1e-2  # difference of two answers about one conversation that the precision of a server explains


def load_remote(spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> RemoteScorer:
    """Return the scorer of a reward model behind a server that gives raw outputs.

    Raises ModelError if the tokenizer cannot be loaded, the server refuses the key or the model, reads other tokens, or
    gives probabilities; NotScoredError if it does not answer.
    """
    scorer = prepare_remote(spec)
    check_server(scorer)
    return scorer


def prepare_remote(spec: ModelSpec) -> RemoteScorer:
    """Return the scorer without asking the server. Raises ModelError if the tokenizer cannot be loaded."""
    options = spec.options
    if options.url is None or options.api is None:
        raise ModelError(f"{spec.name}: a reward model behind a server needs --url and --api")
    config, tokenizer = load_config(spec), load_tokenizer(spec)
    check_pad_token(spec.name, config, tokenizer, options.pad_token)
    pads = {"tokenizer": tokenizer.pad_token_id, "config": pad_token_of(config)}
    _check_single_text(spec, config, tokenizer)
    labels = [str(config.id2label[i]) for i in sorted(config.id2label)]
    limits: dict[str, Any] = {"concurrency": options.judge.concurrency, "deadline": options.judge.deadline}
    limits = {name: value for name, value in limits.items() if value is not None}
    client = RewardClient(spec.served_name, APIS[options.api], options.url, labels, **limits)
    chat = spec.chat_format(tokenizer, max_length_of(spec, config, tokenizer))
    return RemoteScorer(
        client, chat, spec, pads[options.pad_token or "config"], is_regression=config.problem_type == "regression"
    )


def _check_single_text(spec: ModelSpec, config: Any, tokenizer: Any) -> None:
    """Raise ModelError for an encoder that tells the texts of a pair apart, which no interface can send it."""
    if (getattr(config, "type_vocab_size", None) or 0) < 2:
        return
    if any(tokenizer("a", "b", return_token_type_ids=True)["token_type_ids"]):
        raise ModelError(
            f"{spec.name}: it reads prompt and completion as a pair with token types, which a server is not sent: "
            "score it without --url"
        )


def check_server(scorer: RemoteScorer) -> None:
    """Ask about a few short conversations. Raises ModelError or NotScoredError as `load_remote`."""
    raw = ask_about_probes(scorer)
    if not raw or scorer.is_regression:  # the config declares that there is no activation
        return
    outputs = [output for reply in raw for output in reply]
    if not all(0.0 <= output <= 1.0 for output in outputs):
        return
    shown = scorer.client.endpoint().shown
    if scorer.client.api.has_raw_switch:
        activated = [output for reply in ask_about_probes(scorer, raw=False) for output in reply]
        is_ignored = all(abs(a - b) < SAME for a, b in zip(outputs, activated, strict=True))
    else:
        is_ignored = all(abs(math.fsum(reply) - 1.0) < SAME for reply in raw)
        if not is_ignored:
            log.warning(
                "%s: all outputs for a few conversations lie between 0 and 1. If the server applies a sigmoid, these "
                "are no raw outputs: compare with the checkpoint, `doctor --url ... --api ... --model CHECKPOINT`",
                shown,
            )
    if is_ignored:
        raise ModelError(
            f"{shown} gives probabilities (a sigmoid or softmax of the outputs) instead of raw outputs, and those of "
            "high scores are all 1: start the server so that it gives raw outputs"
        )


def ask_about_probes(scorer: RemoteScorer, *, raw: bool = True) -> list[list[float]]:
    """Return the outputs for each of a few short conversations. Raises ModelError or NotScoredError without them."""
    encoded = [sequence for row in scorer.chat.encode_all([each[:2] for each in PROBES]) for sequence in row]
    requests = [scorer.request(sequence, raw=raw) for sequence in encoded if not sequence.reason]
    if requests and all(request == NO_TEXT for request in requests):
        raise ModelError(
            f"{scorer.spec.name}: {NO_TEXT}, as {scorer.client.api.title} reads it: its tokenizer adds or drops "
            "special tokens that the chat template writes; use an --api that takes token ids"
        )
    asked = [request for request in requests if not isinstance(request, str)]
    replies: dict[int, list[float]] = {}
    with closing(scorer.client.generate(asked)) as arriving:
        for index, reply in arriving:
            if reply.error:
                words = f" ({reply.text})" if reply.text else ""
                raise NotScoredError(
                    f"{scorer.client.endpoint().shown}: {reply.error}{words}, for a short conversation of "
                    f"{len(asked[index].ids)} tokens"
                )
            replies[index] = json.loads(reply.text)
    return [replies[index] for index in range(len(asked))]
