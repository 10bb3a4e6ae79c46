"""Checks of the chat template and the tokenizer: the text and the tokens that they make of a conversation."""

from __future__ import annotations

import json
from dataclasses import replace

from rb_core.benchmarks.example import Conversation, Message
from rb_core.doctor.inspection import InspectedModel
from rb_core.doctor.probes import PROBE_ANSWER, PROBE_PROMPT, probe_conversation
from rb_core.doctor.report import Observation
from rb_core.errors import ModelError
from rb_core.models.chat_format import ChatFormat
from rb_core.scorers.classifier import ClassifierScorer

# Words that no template and no tokenizer treats specially.
_MARK = "ZXQ7"
_THOUGHT = "ZXQ8"

_DIFFERENT_TEXTS = {
    "capitals": ("One Word", "one word"),
    "line breaks": ("one\nword", "one word"),
    "blank lines": ("one\n\nword", "one\nword"),
    "indentation": ("one\n    word", "one\nword"),
    "accents": ("r\u00e9sum\u00e9", "resume"),
}


def inspect_text(model: InspectedModel) -> Observation:
    """Check that texts that differ have different token ids."""

    def token_ids(text: str) -> list[int]:
        return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])

    ignored = [name for name, (text, other) in _DIFFERENT_TEXTS.items() if token_ids(text) == token_ids(other)]
    if ignored:
        found = f"the tokenizer ignores {', '.join(ignored)}"
        return Observation("WARN", found, "answers that differ only in these have the same score")
    return Observation("PASS", "the tokenizer keeps capitals, line breaks, indentation and accents")


def inspect_template(model: InspectedModel) -> Observation:
    if "template" in model.failures:
        return Observation("FAIL", model.failures["template"])
    chat = model.chat
    origin = "declared" if chat.template else f"the tokenizer's {chat.template_name or 'own'}"
    return Observation("PASS", f"{origin}, sha256 {chat.sha256}")


def inspect_variables(model: InspectedModel) -> Observation:
    """Check that each variable that was passed changes a rendered conversation, or the prompt in front of an answer."""
    chat = model.chat
    if not chat.variables:
        return Observation("FACT", "none passed")
    found = ", ".join(f"{name} = {json.dumps(value)}" for name, value in chat.variables.items())
    idle = [name for name in chat.variables if _texts(chat) == _texts(_without_variable(chat, name))]
    if idle:
        found = f"{found}; a conversation is the same without {', '.join(idle)}"
        return Observation("WARN", found, "check the value: it may be the template's default")
    return Observation("PASS", f"{found}; each changes the rendered text")


def _texts(chat: ChatFormat) -> tuple[str, str]:
    """Return the probe conversation and its prompt as text."""
    return chat.conversation_text(PROBE_PROMPT, PROBE_ANSWER), chat.text(PROBE_PROMPT, generation_prompt=True)


def _without_variable(chat: ChatFormat, name: str) -> ChatFormat:
    return replace(chat, variables={other: value for other, value in chat.variables.items() if other != name})


def inspect_conversation(model: InspectedModel) -> Observation:
    if "conversation" in model.failures:
        return Observation("FAIL", model.failures["conversation"], "the template must accept a question and its answer")
    return Observation("PASS", f"a question and its answer are {len(model.encoded.ids)} tokens")


def inspect_date(model: InspectedModel) -> Observation:
    """Check that the text does not depend on today's date, with and without a system message."""
    if "strftime_now" not in model.chat.source:
        return Observation("PASS", "the template does not ask for today's date")
    for messages in (probe_conversation(), (Message(role="system", content=_MARK), *probe_conversation())):
        text, other_day = (_rendered_on(model, day, messages) for day in ("ZXQA", "ZXQB"))
        if text is None or text == other_day:
            continue
        line = next((i for i, content in enumerate(text.splitlines()) if "ZXQA" in content), 0)
        frozen = model.chat.text(messages).splitlines()[line : line + 1]
        return Observation(
            "WARN",
            f"the template writes today's date ({frozen[0] if frozen else ''!r})",
            "rb_core freezes it to 26 Jul 2024; the model's own pipeline gives other scores on other days",
        )
    return Observation("FACT", "the template can ask for today's date, but does not write it into these conversations")


def _rendered_on(model: InspectedModel, day: str, messages: Conversation) -> str | None:
    """Return the conversation with `day` as the date; None if the template refuses it."""
    clock = f"{{%- macro strftime_now(format) -%}}{day}{{%- endmacro %}}\n"
    try:
        return replace(model.chat, template=clock + model.chat.source, template_name=None).text(messages)
    except ModelError:
        return None


def inspect_system_messages(model: InspectedModel) -> Observation:
    if model.chat.system_role == "fold":
        return Observation("PASS", "system messages are put into the first user turn, as declared")
    try:
        text = model.chat.text((Message(role="system", content=_MARK), *probe_conversation()))
    except ModelError as error:
        advice = "benchmarks with system messages cannot be scored without --fold-system"
        return Observation("WARN", f"refused: {model.error_line(error)}", advice)
    if _MARK not in text:
        return Observation("WARN", "silently dropped", "benchmarks with system messages need --fold-system")
    return Observation("PASS", "accepted as they are")


def inspect_turns(model: InspectedModel) -> Observation:
    texts = [f"{_MARK}{letter}" for letter in "abcd"]
    turns = tuple(Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts))
    try:
        rendered = model.chat.text(turns)
    except ModelError as error:
        return Observation("WARN", f"refused: {model.error_line(error)}", "prompts with several turns cannot be scored")
    positions = [rendered.find(text) for text in texts]
    if -1 in positions or positions != sorted(positions):
        advice = "the model does not see prompts with several turns as they were written"
        return Observation("WARN", "a turn is dropped or moved", advice)
    return Observation("PASS", "prompts with several turns are accepted")


def inspect_answer(model: InspectedModel) -> Observation:
    """Check what the template changes in a plain answer, in one with white space, and in one with a thought."""
    chat, plain = model.chat, f"{_MARK} is the answer."
    text, prompt = chat.conversation_text(PROBE_PROMPT, plain), chat.text(PROBE_PROMPT, generation_prompt=True)
    if plain not in text:
        return Observation("WARN", "the conversation does not contain the answer", "the model reads another text")
    changes, notes = [], []
    differing = (i for i, (a, b) in enumerate(zip(text, prompt, strict=False)) if a != b)
    added = text[next(differing, min(len(text), len(prompt))) : text.rindex(plain)]
    if added and prompt == chat.text(PROBE_PROMPT):
        notes.append(f"there is no generation prompt, so {added!r} counts as part of the completion")
    elif added:
        changes.append(f"{added!r} is added in front of the answer")
    spaced = f" \n{plain}\n "
    if spaced not in chat.conversation_text(PROBE_PROMPT, spaced):
        changes.append("white space around the answer is trimmed")
    if _THOUGHT not in chat.conversation_text(PROBE_PROMPT, f"<think>\n{_THOUGHT}\n</think>\n\n{plain}"):
        changes.append("a <think> block in the answer is dropped")
    if changes:
        advice = "such completions are counted in the result, and refused where the template drops a part of one"
        return Observation("WARN", "; ".join(changes + notes), advice)
    return Observation("PASS", "; ".join(["unchanged", *notes]))


def inspect_start(model: InspectedModel) -> Observation:
    encoded = model.encoded
    completion = model.tokenizer.decode(list(encoded.ids[encoded.start :]))
    found = f"at token {encoded.start} of {len(encoded.ids)}: {completion!r}"
    text, prompt = _texts(model.chat)
    if not text.startswith(prompt):
        found = f"{found}; the rendered prompt is not a prefix of the conversation"
        return Observation("WARN", found, "the completion starts where prompt and conversation begin to differ")
    return Observation("PASS", f"{found}; the rendered prompt is a prefix of the conversation")


def inspect_bos(model: InspectedModel) -> Observation:
    ids, bos = model.encoded.ids, model.tokenizer.bos_token_id
    marker = ids[0] if bos is None and ids[0] in model.chat.special_ids else bos
    count = next((i for i, token_id in enumerate(ids) if token_id != marker), len(ids))
    tokenizer_adds_it = bos is not None and list(model.tokenizer("Hi")["input_ids"])[:1] == [bos]
    if count > 1:
        return Observation(
            "FAIL",
            f"{count} BOS tokens {model.token_name(marker)} at the front",
            "the template writes it more than once: pass a corrected copy with --chat-template",
        )
    if count == 0 and tokenizer_adds_it:
        found = f"no BOS token at the front, but the tokenizer puts {model.token_name(bos)} before plain text"
        return Observation("WARN", found, "unless the model was trained without it, the template should write it")
    if count == 0 or bos is None:
        return Observation("FACT", f"no BOS token; the conversation begins with {model.token_name(ids[0])}")
    trap = "; tools that tokenize the rendered text again add a second one" if tokenizer_adds_it else ""
    return Observation("PASS", f"one BOS token {model.token_name(bos)} at the front{trap}")


def inspect_eos(model: InspectedModel) -> Observation:
    encoded, eos_ids = model.encoded, model.eos_ids
    end = len(encoded.ids) - encoded.num_closing
    count = sum(token_id in eos_ids for token_id in encoded.ids[encoded.start : end])
    last = f"the last token is {model.token_name(encoded.ids[-1])}"
    if count > 1:
        found = f"{count} end-of-sequence tokens after the answer; {last}"
        return Observation("WARN", found, "was the model trained with that many? Most templates write one")
    return Observation("FACT", f"{count or 'no'} end-of-sequence token after the answer; {last}")


def inspect_segments(model: InspectedModel) -> Observation:
    """Check that an encoder of sentence pairs reads prompt and answer as its tokenizer would pass them."""
    scorer, encoded = model.scorer, model.encoded
    if not isinstance(scorer, ClassifierScorer) or scorer.separator is None:
        return Observation("FACT", "the model does not tell the texts of a pair apart")
    second = scorer.second_text(encoded)
    if second is None:
        found = f"one text: no separator {model.token_name(scorer.separator)} stands before the answer"
        return Observation("WARN", found, "a model of sentence pairs needs a template that writes one")
    types = [0] * second + [1] * (len(encoded.ids) - second)
    pair = model.tokenizer(PROBE_PROMPT[0]["content"], PROBE_ANSWER, return_token_type_ids=True)
    if (list(encoded.ids), types) != (list(pair["input_ids"]), list(pair["token_type_ids"])):
        found = f"the answer's segment starts at token {second}, unlike in the tokenizer's own pair of texts"
        return Observation("WARN", found, "was the model trained with this template?")
    return Observation("PASS", f"the answer's segment starts at token {second}, as in the tokenizer's own pair")


def inspect_control_tokens(model: InspectedModel) -> Observation:
    tokenizer, special = model.tokenizer, sorted(model.chat.special_ids)
    if not special:
        return Observation("FACT", "the tokenizer has no special tokens")
    spelled = [i for i in special if tokenizer(tokenizer.decode([i]), add_special_tokens=False)["input_ids"] == [i]]
    found = f"{len(special)} special tokens; {len(spelled)} of them are also produced by text that spells them"
    return Observation("FACT", found)
