"""Examine a reward model behind a server: do its scores equal those of the checkpoint that it says it serves?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.doctor.inspection import MODEL_ERRORS, captured_logs
from rb_core.doctor.measurements import single_scores
from rb_core.doctor.probes import PAIRS
from rb_core.doctor.report import CheckResult, DoctorReport, Observation
from rb_core.errors import ModelError, first_line
from rb_core.models.chat_format import Encoded
from rb_core.models.options import JudgeOptions
from rb_core.models.resolve import ModelSpec, resolve
from rb_core.scorers.conversation_scorer import ConversationScorer
from rb_core.scorers.load import load_scorer
from rb_core.scorers.remote.apis import RewardRequest
from rb_core.scorers.remote.client import CUT_BY_SERVER, TOO_LONG_FOR_SERVER
from rb_core.scorers.remote.load import check_server, prepare_remote
from rb_core.scorers.remote.scorer import RemoteScorer

SAME_PRECISION = 1e-4  # largest difference, relative to the scores, of two computations in float32
LOW_PRECISION = 2e-2  # of a server that computes in 16 bits
CLOSER = 0.1  # an explanation has to leave less than this share of the difference
LONG_PROMPT = CompletionSet((Message(role="user", content="yes no " * 1500),), ("Yes.",))


class Compared(NamedTuple):
    """A conversation with its score on the server and here. reason: why the server gave none; num_tokens: as counted
    by the server, if it does."""

    encoded: Encoded
    served: float
    local: float
    reason: str = ""
    num_tokens: int | None = None


def examine_remote(spec: ModelSpec, model: str) -> DoctorReport:
    """Return the report on a server, compared with the checkpoint of its name, or the one of --tokenizer."""
    checks: list[CheckResult] = []

    def add(name: str, title: str, observation: Observation) -> bool:
        checks.append(CheckResult(name, title, *observation))
        return observation.status != "FAIL"

    messages: list[str] = []
    try:
        with captured_logs(messages):
            remote = prepare_remote(spec)
    except MODEL_ERRORS as error:
        add("tokenizer", "Tokenizer and template", Observation("FAIL", first_line(error)))
        return DoctorReport(model, tuple(checks))
    add("kind", "Model", Observation("FACT", f"{model} behind {remote.client.api.title}"))
    server_answers = add("server", "Server", _observe_server(remote))
    try:
        with captured_logs(messages):
            local = _load_local(spec, model)
    except MODEL_ERRORS as error:
        add("local", "Checkpoint", Observation("FAIL", first_line(error), "nothing to compare the server with"))
        return DoctorReport(model, tuple(checks))
    checkpoint = f"{spec.options.tokenizer or model}, {local.describe()['architecture']}"
    add("local", "Checkpoint", Observation("PASS", checkpoint))
    if server_answers:
        try:
            with captured_logs(messages):
                short = _compare(remote, local, [CompletionSet(prompt, (good, bad)) for prompt, good, bad in PAIRS])
                long = _compare(remote, local, [LONG_PROMPT])
        except MODEL_ERRORS as error:
            add("scores", "Scores", Observation("FAIL", first_line(error)))
            return DoctorReport(model, tuple(checks))
        add("tokens", "Tokens", _observe_tokens(short))
        same_scores = add("scores", "Scores", _observe_scores(short, local))
        add("length", "Long conversation", _observe_long(long, local, same_scores))
    return DoctorReport(model, tuple(checks))


def _load_local(spec: ModelSpec, model: str) -> ConversationScorer:
    options = replace(spec.options, url=None, api=None, tokenizer=None, judge=JudgeOptions())
    local = load_scorer(resolve(spec.options.tokenizer or model, options))
    if not isinstance(local, ConversationScorer):
        raise ModelError(f"{spec.checkpoint.name} is no model that scores conversations with a head")
    return local


def _observe_server(remote: RemoteScorer) -> Observation:
    messages: list[str] = []
    try:
        with captured_logs(messages):
            check_server(remote)
    except MODEL_ERRORS as error:
        return Observation("FAIL", first_line(error))
    if messages:
        return Observation("WARN", messages[0])
    return Observation("PASS", f"{remote.client.endpoint().shown} answers with raw outputs")


def _compare(remote: RemoteScorer, local: ConversationScorer, sets: Sequence[CompletionSet]) -> list[Compared]:
    """Score the conversations that fit into the model on the server and here, each by itself."""
    encoded = [each for row in map(local.encode, sets) for each in row]
    asked = [
        (each, request)
        for each, request in ((each, remote.request(each)) for each in encoded if not each.reason)
        if isinstance(request, RewardRequest)
    ]
    scores = single_scores(local, [each for each, _ in asked])
    compared: dict[int, Compared] = {}
    with closing(remote.client.generate([request for _, request in asked])) as replies:
        for index, reply in replies:
            served = remote.read(asked[index][0], reply)
            compared[index] = Compared(asked[index][0], served.value, scores[index], served.reason, reply.prompt_tokens)
    if not compared:
        raise ModelError("no conversation could be sent")
    return [compared[index] for index in range(len(asked))]


def _observe_tokens(compared: Sequence[Compared]) -> Observation:
    if any(each.num_tokens is None for each in compared):
        return Observation("FACT", "the server does not say how many tokens it reads")
    return Observation("PASS", "the server reads as many tokens as it is sent")


def _observe_scores(compared: Sequence[Compared], local: ConversationScorer) -> Observation:
    if unscored := [each.reason for each in compared if each.reason]:
        return Observation("FAIL", f"{len(unscored)} of {len(compared)} conversations have no score: {unscored[0]}")
    served, scores = ([getattr(each, name) for each in compared] for name in ("served", "local"))
    difference, scale = _difference(served, scores), max(map(abs, scores))
    found = f"{len(compared)} conversations differ by at most {difference:.3g}; scores reach {scale:.3g}"
    if difference <= SAME_PRECISION * scale:
        return Observation("PASS", found)
    for explanation, values in _explanations(compared, local):
        if _difference(served, values) <= max(CLOSER * difference, SAME_PRECISION * scale):
            return Observation("FAIL", f"{explanation}: {found}", "correct the server, or score the checkpoint itself")
    if difference <= LOW_PRECISION * scale:
        return Observation("PASS", f"{found}, which the precision of a 16-bit server explains")
    return Observation("FAIL", f"the server scores another model, or with another template: {found}")


def _explanations(compared: Sequence[Compared], local: ConversationScorer) -> Iterator[tuple[str, list[float]]]:
    """Yield possible faults of the server, with the scores that each would lead to."""
    scores = [each.local for each in compared]
    yield "the server applies a sigmoid", [1 / (1 + math.exp(-max(-700.0, score))) for score in scores]
    yield "the server has the opposite sign (--lower-is-better)", [-score for score in scores]
    bos, eos = local.chat.tokenizer.bos_token_id, local.chat.tokenizer.eos_token_id
    has_bos = all(each.encoded.ids[0] == bos for each in compared)
    changes: dict[str, Callable[[tuple[int, ...]], tuple[int, ...]]] = {}
    if bos is not None:
        changes[f"the server adds a {'second ' if has_bos else ''}BOS"] = lambda ids: (bos, *ids)
    if has_bos:
        changes["the server drops the BOS"] = lambda ids: ids[1:]
    if eos is not None:
        changes["the server adds an EOS"] = lambda ids: (*ids, eos)
    changes["the server reads the token before the last"] = lambda ids: ids[:-1]
    for explanation, change in changes.items():
        changed = [each.encoded._replace(ids=change(each.encoded.ids)) for each in compared]
        yield explanation, list(single_scores(local, changed))
    served = [each.served for each in compared]
    slope, shift = np.polyfit(scores, served, 1)
    yield f"the server scales scores (x {slope:.4g} {shift:+.4g})", [slope * score + shift for score in scores]


def _observe_long(compared: Sequence[Compared], local: ConversationScorer, same_scores: bool) -> Observation:
    (each,) = compared
    length = len(each.encoded.ids)
    if each.reason == CUT_BY_SERVER:
        return Observation("FAIL", f"the server cuts a conversation of {length} tokens", "pass a smaller --max-length")
    if each.reason == TOO_LONG_FOR_SERVER:
        return Observation("WARN", f"the server refuses {length} tokens", "pass a smaller --max-length")
    if each.reason:
        return Observation("FAIL", f"no score for {length} tokens: {each.reason}")
    difference, scale = abs(each.served - each.local), max(abs(each.local), 1.0)
    found = f"a conversation of {length} tokens differs by {difference:.3g}"
    if difference <= LOW_PRECISION * scale:
        return Observation("PASS", found)
    if not same_scores:
        return Observation("SKIP", f"not judged: short conversations differ as well; {found}")
    return Observation("FAIL", f"the server cuts long conversations: {found}", "pass a smaller --max-length")


def _difference(values: Sequence[float], others: Sequence[float]) -> float:
    return max(abs(value - other) for value, other in zip(values, others, strict=True))
