"""The probe conversation and the tokens of a patient, as the checks ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb_core.benchmarks.example import Conversation, Message

if TYPE_CHECKING:
    from rb_core.doctor.measurements import Patient


def probe(answer: str | None = None) -> Conversation:
    """The probe conversation, or its question answered otherwise."""
    from rb_core.doctor.measurements import PROBE, PROBE_ANSWER

    return (*PROBE, Message(role="assistant", content=PROBE_ANSWER if answer is None else answer))


def question() -> Conversation:
    """The probe conversation before its answer."""
    return probe()[:-1]


def named(patient: Patient, token: int | None) -> str:
    """A token's id with its text."""
    return "none" if token is None else f"{token} ({patient.tokenizer.decode([token])!r})"


def eos_ids(patient: Patient) -> set[int]:
    """Whatever the tokenizer or the config calls the end of a sequence."""
    found = {patient.tokenizer.eos_token_id}
    if "model" not in patient.faults:
        said = patient.model.config.get_text_config().eos_token_id
        found |= set(said) if isinstance(said, list) else {said}
    return {token for token in found if token is not None}


def reads_tokens(patient: Patient) -> bool:
    """Whether the score is read at tokens that `reads` names."""
    return bool(getattr(patient.scorer, "reads_a_token", True))
