"""Checks of the scores: where they are read, whether they are numbers, and what other ways of running give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb_core.doctor.probe import named, reads_tokens
from rb_core.doctor.report import Finding, Status, unchecked

if TYPE_CHECKING:
    from rb_core.doctor.measurements import Compared, Patient


def find_read(patient: Patient) -> Finding:
    """Where the score is read, why, and whether the model's own forward pass agrees."""
    from rb_core.doctor.measurements import read_at_a_token, tolerance

    scorer, encoded = patient.scorer, patient.encoded
    if not reads_tokens(patient):
        return Finding("FACT", f"{type(patient.model).__name__}'s own forward pass reads the conversation as a whole")
    reads = scorer.reads(encoded)
    if patient.spec.kind == "implicit":
        said = f"the log-probabilities of the completion's {len(reads)} tokens, {reads[0] + 1} to {reads[-1] + 1}"
    else:
        here, pad = reads[0], scorer.pad_token_id()
        why = (
            "the last, as there is no pad token" if pad is None else f"the rightmost that is not {named(patient, pad)}"
        )
        around = " ".join(repr(patient.tokenizer.decode([token])) for token in encoded.ids[max(0, here - 1) : here + 2])
        said = f"token {here} of {len(encoded.ids)}, {named(patient, encoded.ids[here])}, {why}; around it {around}"
    difference = read_at_a_token(scorer, patient.works, patient.own)
    if not difference <= max(tolerance(scorer, patient.own), 0.0):
        advice = "rb_core uses the model's own forward pass for this model"
        return Finding("WARN", f"{said}; the model's own forward reads elsewhere ({difference:.3g} apart)", advice)
    return Finding("PASS", f"{said}; the model's own forward pass agrees ({difference:.1g} apart)")


def find_batching(patient: Patient) -> Finding:
    others = {reason for step, reason in patient.faults.items() if step not in ("scorer", "scores", "finite")}
    if "scorer" in patient.faults:
        if patient.faults["scorer"] in others:
            return Finding("SKIP", unchecked(patient.faults["scorer"]))
        return Finding("FAIL", patient.faults["scorer"], "the model cannot be scored as it is")
    scorer = patient.scorer
    said = f"{scorer.batching}, at most {scorer.probe:.2g} from the model's own scores when it was loaded"
    because = "; ".join(patient.remarks)
    if scorer.batching == "packed":
        return Finding("PASS", said)
    if scorer.batching == "single":
        return Finding("WARN", f"{said}; {because}", "exact, and slow: one conversation at a time")
    if not because:
        return Finding("PASS", f"{said}; the model reads a conversation as a whole")
    return Finding("PASS", f"{said}; {because}", "exact; completions of a prompt do not share its tokens")


def find_finite(patient: Patient) -> Finding:
    if "finite" in patient.faults:
        return Finding("FAIL", patient.faults["finite"], "look at the weights, or give another --dtype")
    own = patient.own
    mean = sum(own) / len(own)
    return Finding("PASS", f"{len(own)} scores from {min(own):.4g} to {max(own):.4g}, mean {mean:.4g}, all finite")


def find_pairs(patient: Patient) -> Finding:
    own, count = patient.own, len(patient.own) // 2
    ties = sum(own[i] == own[i + 1] for i in range(0, len(own), 2))
    if ties == count:
        what = "policy and reference are the same" if patient.spec.kind == "implicit" else "the head is dead"
        return Finding("FAIL", f"both answers of every pair score the same: {what}", "check what was saved")
    if ties:
        return Finding("WARN", f"{ties} of {count} pairs tie", "scores that different answers share tell nothing")
    return Finding("PASS", f"the answers of all {count} pairs score differently")


def find_order(patient: Patient) -> Finding:
    own, count = patient.own, len(patient.own) // 2
    right = sum(own[i] > own[i + 1] for i in range(0, len(own), 2))
    said = f"{right} of {count} pairs in the order that a person would choose"
    if count >= 6 and right <= 1:
        return Finding("WARN", said, "if the model gives a cost, say --lower-is-better")
    return Finding("FACT", said)


def find_batched(patient: Patient) -> Finding:
    from rb_core.doctor.measurements import batched_scores, compare

    compared = compare(patient.own, batched_scores(patient.scorer, patient.candidates))
    advice = "scores depend on their neighbours: give --batch-tokens 1, and report it as a bug"
    return _same(patient, compared, f"{patient.scorer.batching} batches move scores", "FAIL", advice)


def find_right(patient: Patient) -> Finding:
    from rb_core.doctor.measurements import FAULTS, compare, right_padded_scores

    try:
        found = right_padded_scores(patient.scorer, patient.works)
    except FAULTS as error:
        return Finding("FACT", f"the model's own forward pass takes no padded batch: {patient.said(error)}")
    advice = "other tools that pad right get other numbers; rb_core found this out and does not use such batches"
    return _same(patient, compare(patient.own, found), "it moves scores", "WARN", advice)


def find_left(patient: Patient) -> Finding:
    from rb_core.doctor.measurements import FAULTS, compare, left_padded_scores

    try:
        found = left_padded_scores(patient.scorer, patient.works)
    except FAULTS as error:
        return Finding("FACT", f"the model's own forward pass takes no batch padded on the left: {patient.said(error)}")
    advice = "other tools that pad left get other numbers; rb_core never pads left"
    return _same(patient, compare(patient.own, found), "it moves scores", "WARN", advice)


def find_dtypes(patient: Patient) -> Finding:
    from rb_core.doctor.measurements import compare, has_room_for, other_dtypes, scores_in
    from rb_core.scorers.loading import quantization_of

    if quantization_of(patient.model) is not None:
        return Finding("SKIP", "not checked: the weights are quantised")
    said, flipped, broken = [], 0, False
    for dtype in other_dtypes(patient):
        if not has_room_for(patient, dtype):
            said.append(f"{dtype} not checked: too little memory for a second copy")
            continue
        other = compare(patient.own, scores_in(patient, dtype))
        said.append(f"{dtype} moves scores by up to {_difference(patient, other)}")
        flipped += other.flipped
        broken |= other.largest == float("inf")
    if flipped or broken:
        return Finding("WARN", "; ".join(said), "say which --dtype a score was made with; close pairs depend on it")
    return Finding("PASS" if said else "FACT", "; ".join(said) or "nothing to compare with")


def _same(patient: Patient, other: Compared, what: str, otherwise: Status, advice: str) -> Finding:
    """PASS where the difference is no more than rounding explains."""
    from rb_core.doctor.measurements import tolerance

    allowed = tolerance(patient.scorer, patient.own)
    if other.largest <= allowed:
        return Finding("PASS", f"{what} by at most {other.largest:.2g} (rounding explains {allowed:.2g})")
    return Finding(otherwise, f"{what} by up to {_difference(patient, other)}", advice)


def _difference(patient: Patient, other: Compared) -> str:
    order = f"{other.flipped} of {len(patient.own) // 2} pairs change order"
    if other.flipped:
        order += f", of scores at most {other.apart:.3g} apart"
    return f"{other.largest:.3g}, {100 * other.of_spread:.2g}% of the scores' spread; {order}"
