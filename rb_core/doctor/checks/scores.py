"""Checks of the scores: the position they are read at, their values, and other ways of computing them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rb_core.doctor.inspection import MODEL_ERRORS, InspectedModel
from rb_core.doctor.measurements import (
    ScoreDeviation,
    batched_scores,
    has_room_for,
    left_padded_scores,
    other_dtypes,
    read_position_difference,
    right_padded_scores,
    rounding_tolerance,
    score_deviation,
)
from rb_core.doctor.report import Observation, Status, skipped
from rb_core.models.chat_format import Encoded
from rb_core.scorers.conversation_scorer import ConversationScorer
from rb_core.scorers.heads.base import HeadedModel
from rb_core.scorers.loading import quantization_of

PaddedScores = Callable[[ConversationScorer, Sequence[Encoded]], tuple[float, ...]]


def inspect_read_position(model: InspectedModel) -> Observation:
    scorer, encoded = model.scorer, model.encoded
    if not model.reads_a_token:
        name = f"{type(model.network).__name__}'s"
        return Observation("FACT", f"{name} own forward pass reads the conversation as a whole")
    reads = scorer.reads(encoded)
    if model.spec.kind == "implicit":
        found = f"log-probabilities of the completion's {len(reads)} tokens, {reads[0] + 1} to {reads[-1] + 1}"
    else:
        position, pad = reads[-1], scorer.pad_token_id()
        reason = "the last token, as there is no pad token"
        if isinstance(model.network, HeadedModel):
            reason = model.network.position
        elif pad is not None:
            reason = f"the rightmost that is not {model.token_name(pad)}"
        neighbours = encoded.ids[max(0, position - 1) : position + 2]
        context = " ".join(repr(model.tokenizer.decode([token_id])) for token_id in neighbours)
        token = model.token_name(encoded.ids[position])
        found = f"token {position} of {len(encoded.ids)}, {token}, {reason}; context {context}"
        for other in reads[:-1]:
            found += f"; also token {other}, {model.token_name(encoded.ids[other])}"
    difference = read_position_difference(scorer, model.sequences, model.scores)
    if not difference <= rounding_tolerance(scorer, model.scores):
        found = f"{found}; the model's own forward pass reads elsewhere (difference {difference:.3g})"
        return Observation("WARN", found, "rb_core uses the model's own forward pass for this model")
    return Observation("PASS", f"{found}; the model's own forward pass agrees (difference {difference:.1g})")


def inspect_batching(model: InspectedModel) -> Observation:
    if "scorer" in model.failures:
        reason = model.failures["scorer"]
        later_steps = ("scorer", "scores", "finite")
        if reason in {model.failures[step] for step in model.failures.keys() - set(later_steps)}:
            return skipped(reason)
        return Observation("FAIL", reason, "the model cannot be scored as it is")
    scorer = model.scorer
    found = f"{scorer.batching}, at most {scorer.probe:.2g} from the model's own scores when it was loaded"
    messages = "; ".join(model.log_messages)
    if scorer.batching == "packed":
        return Observation("PASS", found)
    if scorer.batching == "single":
        return Observation("WARN", f"{found}; {messages}", "exact but slow: one conversation at a time")
    if not messages:
        return Observation("PASS", f"{found}; the model reads a conversation as a whole")
    return Observation("PASS", f"{found}; {messages}", "exact; completions of a prompt do not share its computation")


def inspect_finite(model: InspectedModel) -> Observation:
    if "finite" in model.failures:
        return Observation("FAIL", model.failures["finite"], "check the weights, or pass another --dtype")
    scores = model.scores
    low, high, mean = min(scores), max(scores), sum(scores) / len(scores)
    return Observation("PASS", f"{len(scores)} scores from {low:.4g} to {high:.4g}, mean {mean:.4g}, all finite")


def inspect_pairs(model: InspectedModel) -> Observation:
    pairs = _pairs(model)
    ties = sum(good == bad for good, bad in pairs)
    if ties == len(pairs):
        cause = "policy and reference are equal" if model.spec.kind == "implicit" else "the head gives a constant"
        found = f"both answers of every pair have the same score: {cause}"
        return Observation("FAIL", found, "check that the right weights were saved")
    if ties:
        return Observation("WARN", f"{ties} of {len(pairs)} pairs tie", "different answers with equal scores")
    return Observation("PASS", f"the answers of all {len(pairs)} pairs have different scores")


def inspect_order(model: InspectedModel) -> Observation:
    pairs = _pairs(model)
    correct = sum(good > bad for good, bad in pairs)
    found = f"{correct} of {len(pairs)} pairs with a higher score for the better answer"
    if len(pairs) >= 6 and correct <= 1:
        return Observation("WARN", found, "if the model predicts a cost, pass --lower-is-better")
    return Observation("FACT", found)


def inspect_batched(model: InspectedModel) -> Observation:
    difference = score_deviation(model.scores, batched_scores(model.scorer, model.completion_sets))
    advice = "scores depend on the rest of the batch: pass --batch-tokens 1, and report this as a bug"
    return _compared(model, difference, f"{model.scorer.batching} batches change scores", "FAIL", advice)


def inspect_right_padding(model: InspectedModel) -> Observation:
    advice = "tools that pad right get other scores; rb_core detected this and does not use such batches"
    return _padding(model, right_padded_scores, "right", advice)


def inspect_left_padding(model: InspectedModel) -> Observation:
    advice = "tools that pad left get other scores; rb_core never pads left"
    return _padding(model, left_padded_scores, "left", advice)


def _padding(model: InspectedModel, padded_scores: PaddedScores, side: str, advice: str) -> Observation:
    try:
        scores = padded_scores(model.scorer, model.sequences)
    except MODEL_ERRORS as error:
        found = f"the model's own forward pass refuses batches padded on the {side}: {model.error_line(error)}"
        return Observation("FACT", found)
    return _compared(model, score_deviation(model.scores, scores), "it changes scores", "WARN", advice)


def inspect_dtypes(model: InspectedModel) -> Observation:
    if quantization_of(model.network) is not None:
        return Observation("SKIP", "not checked: the weights are quantised")
    found, changed = [], False
    for dtype in other_dtypes(model.scorer):
        if not has_room_for(model.scorer, dtype):
            found.append(f"{dtype} not checked: not enough memory for a second copy")
            continue
        difference = score_deviation(model.scores, model.scores_in(dtype))
        found.append(f"{dtype} changes scores by up to {_describe(model, difference)}")
        changed |= difference.flipped > 0 or difference.largest == math.inf
    if changed:
        return Observation("WARN", "; ".join(found), "report the --dtype of a score; close pairs depend on it")
    return Observation("PASS" if found else "FACT", "; ".join(found) or "no other dtype to compare with")


def _pairs(model: InspectedModel) -> list[tuple[float, float]]:
    """Return (score of the good answer, score of the bad answer) of each pair."""
    return list(zip(model.scores[::2], model.scores[1::2], strict=True))


def _compared(
    model: InspectedModel, difference: ScoreDeviation, what: str, status_if_large: Status, advice: str
) -> Observation:
    """Return PASS for a difference that rounding explains, else the given status."""
    tolerance = rounding_tolerance(model.scorer, model.scores)
    if difference.largest <= tolerance:
        return Observation("PASS", f"{what} by at most {difference.largest:.2g} (rounding explains {tolerance:.2g})")
    return Observation(status_if_large, f"{what} by up to {_describe(model, difference)}", advice)


def _describe(model: InspectedModel, difference: ScoreDeviation) -> str:
    order = f"{difference.flipped} of {len(model.scores) // 2} pairs change order"
    if difference.flipped:
        order += f", with margins up to {difference.flipped_margin:.3g}"
    return f"{difference.largest:.3g}, {100 * difference.relative:.2g}% of the range of scores; {order}"
