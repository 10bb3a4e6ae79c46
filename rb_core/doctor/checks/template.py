"""Checks of the text and of the conversation: what template and tokenizer make of what is asked and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb_core.benchmarks.example import Conversation, Message
from rb_core.doctor.probe import eos_ids, named, probe, question
from rb_core.doctor.report import Finding
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat

if TYPE_CHECKING:
    from rb_core.doctor.measurements import Patient

# A word that no template and no tokenizer has a use for.
_MARK = "ZXQ7"


_THOUGHT = "ZXQ8"


def find_text(patient: Patient) -> Finding:
    """What tokenising loses: texts that differ and have the same ids."""

    def ids(text: str) -> list[int]:
        return list(patient.tokenizer(text, add_special_tokens=False)["input_ids"])

    unlike = {
        "capitals": ("One Word", "one word"),
        "line breaks": ("one\nword", "one word"),
        "blank lines": ("one\n\nword", "one\nword"),
        "indentation": ("one\n    word", "one\nword"),
        "accents": ("r\u00e9sum\u00e9", "resume"),
    }
    lost = [what for what, (text, other) in unlike.items() if ids(text) == ids(other)]
    if lost:
        found = f"the tokenizer does not tell {', '.join(lost)}"
        return Finding("WARN", found, "answers that differ in nothing else score the same")
    return Finding("PASS", "the tokenizer keeps capitals, line breaks, indentation and accents")


def find_template(patient: Patient) -> Finding:
    if "template" in patient.faults:
        return Finding("FAIL", patient.faults["template"])
    whose = "declared" if patient.spec.chat_template else "the tokenizer's own"
    return Finding("PASS", f"{whose}, sha256 {patient.chat.sha256}")


def find_conversation(patient: Patient) -> Finding:
    if "conversation" in patient.faults:
        return Finding("FAIL", patient.faults["conversation"], "the template must take a question and its answer")
    return Finding("PASS", f"a question and its answer are {len(patient.encoded.ids)} tokens")


def find_date(patient: Patient) -> Finding:
    source = patient.tokenizer.get_chat_template(patient.spec.chat_template)
    if "strftime_now" not in source:
        return Finding("PASS", "the template does not ask for today's date")
    for messages in (probe(), (Message(role="system", content=_MARK), *probe())):
        one, other = (_rendered_on(patient, source, day, messages) for day in ("ZXQA", "ZXQB"))
        if one is None or one == other:
            continue
        line = next((i for i, text in enumerate(one.splitlines()) if "ZXQA" in text), 0)
        frozen = patient.chat.text(messages).splitlines()[line : line + 1]
        return Finding(
            "WARN",
            f"the template writes today's date ({frozen[0] if frozen else ''!r})",
            "frozen to 26 Jul 2024 here; the model's own pipeline gives other scores on other days",
        )
    return Finding("FACT", "the template can ask for today's date, and does not write it into these conversations")


def _rendered_on(patient: Patient, source: str, day: str, messages: Conversation) -> str | None:
    """The conversation with that in the place of the date; None where the template refuses it."""
    clock = f"{{%- macro strftime_now(format) -%}}{day}{{%- endmacro %}}\n"
    chat = ChatFormat(patient.tokenizer, patient.chat.max_length, clock + source, patient.chat.system_role)
    try:
        return chat.text(messages)
    except ModelError:
        return None


def find_system(patient: Patient) -> Finding:
    if patient.chat.system_role == "fold":
        return Finding("PASS", "system messages are put into the first user turn, as declared")
    try:
        text = patient.chat.text((Message(role="system", content=_MARK), *probe()))
    except ModelError as error:
        return Finding("WARN", f"refused: {patient.said(error)}", "benchmarks that have some cannot be scored without")
    if _MARK not in text:
        return Finding("WARN", "dropped without a word", "benchmarks with system messages need --fold-system")
    return Finding("PASS", "taken as they are")


def find_several_turns(patient: Patient) -> Finding:
    texts = (f"{_MARK}a", f"{_MARK}b", f"{_MARK}c", f"{_MARK}d")
    turns = tuple(Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts))
    try:
        text = patient.chat.text(turns)
    except ModelError as error:
        return Finding("WARN", f"refused: {patient.said(error)}", "prompts of several turns cannot be scored")
    places = [text.find(each) for each in texts]
    if -1 in places or places != sorted(places):
        return Finding("WARN", "a turn is dropped or moved", "prompts of several turns are not what the model is fed")
    return Finding("PASS", "prompts of several turns are taken")


def find_answer(patient: Patient) -> Finding:
    """What the template does to an answer: compared as text, with one that has white space and one with a thought."""
    chat, plain = patient.chat, f"{_MARK} is the answer."
    text, prompt = chat.text(probe(plain)), chat.text(question(), generation_prompt=True)
    if plain not in text:
        return Finding(
            "WARN", "the answer is not in the conversation as it was written", "the model reads another text"
        )
    changes, notes = [], []
    added = text[_shared(text, prompt) : text.rindex(plain)]
    if added and prompt == chat.text(question()):
        notes.append(f"there is no generation prompt, so {added!r} counts as the completion's")
    elif added:
        changes.append(f"{added!r} is added in front of the answer")
    spaced = f" \n{plain}\n "
    if spaced not in chat.text(probe(spaced)):
        changes.append("white space around the answer is trimmed")
    if _THOUGHT not in chat.text(probe(f"<think>\n{_THOUGHT}\n</think>\n\n{plain}")):
        changes.append("a <think> block in the answer is dropped")
    if changes:
        advice = "the model does not read the answer as it is written; the result counts such completions"
        return Finding("WARN", "; ".join(changes + notes), advice)
    return Finding("PASS", "; ".join(["kept as it is", *notes]))


def _shared(left: str, right: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def find_start(patient: Patient) -> Finding:
    chat, encoded = patient.chat, patient.encoded
    prompt = chat.text(question(), generation_prompt=True)
    begins = patient.tokenizer.decode(list(encoded.ids[encoded.start :]))
    said = f"at token {encoded.start} of {len(encoded.ids)}: {begins!r}"
    if not chat.text(probe()).startswith(prompt):
        advice = "the completion is taken from where prompt and conversation part ways"
        return Finding("WARN", f"{said}; the rendered prompt is not the beginning of the conversation", advice)
    return Finding("PASS", f"{said}; the rendered prompt is the beginning of the conversation")


def find_bos(patient: Patient) -> Finding:
    tokenizer, ids = patient.tokenizer, patient.encoded.ids
    bos = tokenizer.bos_token_id
    marker = ids[0] if bos is None and ids[0] in patient.chat.special_ids else bos
    front = next((i for i, token in enumerate(ids) if token != marker), len(ids))
    plain = list(tokenizer("Hi")["input_ids"])
    adds = bos is not None and plain[:1] == [bos]
    if front > 1:
        return Finding(
            "FAIL",
            f"{front} BOS tokens {named(patient, marker)} at the front",
            "the template writes it more than once: give a copy that does so once with --chat-template",
        )
    if front == 0 and adds:
        found = f"no BOS token at the front, while the tokenizer puts {named(patient, bos)} before a plain text"
        return Finding("WARN", found, "was the model trained without it? If not, the template lacks it")
    if front == 0 or bos is None:
        return Finding("FACT", f"no BOS token; the conversation begins with {named(patient, ids[0])}")
    trap = "; tools that tokenise the rendered text anew put a second one before it" if adds else ""
    return Finding("PASS", f"one BOS token {named(patient, bos)} at the front{trap}")


def find_eos(patient: Patient) -> Finding:
    encoded, eos = patient.encoded, eos_ids(patient)
    count = sum(token in eos for token in encoded.ids[encoded.start :])
    last = f"the last token is {named(patient, encoded.ids[-1])}"
    if count > 1:
        found = f"{count} end-of-sequence tokens after the answer; {last}"
        return Finding("WARN", found, "was the model trained with as many? A template writes one as a rule")
    return Finding("FACT", f"{count or 'no'} end-of-sequence token after the answer; {last}")


def find_control_tokens(patient: Patient) -> Finding:
    tokenizer, special = patient.tokenizer, sorted(patient.chat.special_ids)
    if not special:
        return Finding("FACT", "the tokenizer has no special tokens")
    spelled = [i for i in special if tokenizer(tokenizer.decode([i]), add_special_tokens=False)["input_ids"] == [i]]
    becomes = f"{len(spelled)} of {len(special)} special tokens" if len(spelled) < len(special) else "any of them"
    if not spelled:
        becomes = "none of them"
    return Finding("FACT", f"{len(special)} special tokens; text that spells {becomes} is read as a control token")
