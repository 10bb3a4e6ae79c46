"""Chat format: token ids are those of the template, from one call of the tokenizer, and no message is lost silently."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rb_core.benchmarks.example import AssistantTurn, Conversation, Message, Role
from rb_core.errors import ModelError
from rb_core.models.chat_format import COMPLETION_TOO_LONG, ChatFormat, fold_system
from rb_core.models.registry import RECORDS
from tests.fakes.damaged_checkpoints import edit_json
from tests.fakes.tiny_tokenizers import (
    DATED_TEMPLATE,
    DECLARED,
    GPT2_TEMPLATE,
    LLAMA_TEMPLATE,
    TOKENIZERS,
    TOOL_TEMPLATE,
    llama_tokenizer,
)

LONG_ENOUGH = 10_000
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FAMILIES = ("llama", "qwen3", "gemma2", "gpt2", "deberta")


def turn(role: Role, content: str) -> Message:
    return Message(role=role, content=content)


ASK: Conversation = (turn("user", "What is the capital of France?"),)
WITH_SYSTEM: Conversation = (turn("system", "Please answer in one short sentence."), *ASK)
TURNS: Conversation = (
    turn("user", "Name three rivers."),
    turn("assistant", "The Rhine, the Danube and the Volga."),
    turn("user", "And the capital of France?"),
)


@cache
def tokenizer_of(name: str) -> Any:
    return TOKENIZERS[name]()


def chat_of(name: str, max_length: int = LONG_ENOUGH, **options: Any) -> ChatFormat:
    template = options.pop("template", DECLARED.get(name))
    return ChatFormat(tokenizer_of(name), max_length, template, **options)


def own_ids(chat: ChatFormat, prompt: Conversation, completion: str) -> list[int]:
    """Return the ids of one call of the tokenizer, to compare with."""
    messages = [*prompt, turn("assistant", completion)]
    ids = chat.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, chat_template=chat.template)
    return list(ids)


def encode(chat: ChatFormat, prompt: Conversation, completion: str) -> Any:
    (encoded,) = chat.encode(prompt, (completion,))
    return encoded


def dropping_template(role: str) -> str:
    """Return a template that silently drops the messages of a role."""
    return "{% set messages = messages | rejectattr('role', 'equalto', '" + role + "') | list %}" + LLAMA_TEMPLATE


# ---- one call, every role


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name != "llama-dated"])
def test_ids_are_those_of_one_call_of_the_chat_template(name: str) -> None:
    chat = chat_of(name)
    completions = ("Paris is the capital of France.", "I do not know.", "")
    for prompt in (ASK, TURNS):
        encoded = chat.encode(prompt, completions)
        assert [list(e.ids) for e in encoded] == [own_ids(chat, prompt, completion) for completion in completions]


@pytest.mark.parametrize("name", ["llama", "llama-dated", "gemma2"])
def test_a_template_with_bos_gives_exactly_one_although_the_tokenizer_adds_one_to_any_text(name: str) -> None:
    chat = chat_of(name)
    bos = chat.tokenizer.bos_token_id
    assert chat.tokenizer.encode("text")[0] == bos
    ids = encode(chat, TURNS, "Paris.").ids
    assert ids[0] == bos
    assert ids.count(bos) == 1


def test_a_template_without_bos_gets_none() -> None:
    chat = chat_of("llama", template="{% for turn in messages %}{{ turn['content'] }}{% endfor %}")
    assert chat.tokenizer.bos_token_id not in encode(chat, ASK, "Paris.").ids


@pytest.mark.parametrize("name", ["llama", "llama-dated", "qwen3"])
def test_a_system_message_stays_a_system_message(name: str) -> None:
    chat = chat_of(name)
    text = chat.text((*WITH_SYSTEM, turn("assistant", "Paris.")))
    header = "<|im_start|>system" if name == "qwen3" else "<|start_header_id|>system<|end_header_id|>"
    assert text.count(header) == 1
    before, _, after = text.partition(header)
    assert WITH_SYSTEM[0]["content"] in after.split("user")[0]
    assert WITH_SYSTEM[0]["content"] not in before
    user = "<|im_start|>user\n" if name == "qwen3" else "<|start_header_id|>user<|end_header_id|>\n\n"
    assert user + ASK[0]["content"] in text


def test_an_error_about_a_system_message_names_fold_system() -> None:
    chat = chat_of("gemma2")
    with pytest.raises(ModelError, match=r"(?s)system, user.*there is no system role here.*--fold-system"):
        chat.encode(WITH_SYSTEM, ("Paris.",))


def test_an_error_about_other_messages_does_not_name_fold_system() -> None:
    chat = chat_of("gemma2")
    with pytest.raises(ModelError, match="roles must take turns") as caught:
        chat.encode((*ASK, *ASK), ("Paris.",))
    assert "--fold-system" not in str(caught.value)


def test_a_folded_system_message_is_in_front_of_the_first_user_turn() -> None:
    chat = chat_of("gemma2", system_role="fold")
    text = chat.text((*WITH_SYSTEM, turn("assistant", "Paris.")))
    system, user = (message["content"] for message in WITH_SYSTEM)
    assert text.startswith(f"<bos><start_of_turn>user\n{system}\n\n{user}<end_of_turn>\n<start_of_turn>model\nParis.")
    assert encode(chat, WITH_SYSTEM, "Paris.").ids == tuple(
        own_ids(chat, (turn("user", f"{system}\n\n{user}"),), "Paris.")
    )


def test_folding_leaves_conversations_without_system_messages_alone() -> None:
    assert fold_system(TURNS) == TURNS
    folded = fold_system((turn("system", "S"), *TURNS))
    assert [m["role"] for m in folded] == [m["role"] for m in TURNS]
    assert folded[1:] == TURNS[1:]


def test_folding_keeps_the_tools_of_a_system_message() -> None:
    system: Any = {"role": "system", "content": "S", "tools": TOOLS}
    assert fold_system((system, *ASK)) == ({**ASK[0], "content": f"S\n\n{ASK[0]['content']}", "tools": TOOLS},)


def test_folding_needs_a_user_turn_to_fold_into() -> None:
    with pytest.raises(ModelError, match="user turn"):
        fold_system((turn("system", "S"), turn("assistant", "A")))
    with pytest.raises(ModelError, match="user turn"):
        fold_system((turn("system", "S"),))


def test_a_silently_dropped_system_message_is_an_error() -> None:
    chat_of("llama").check_system_role()
    chat = chat_of("llama", template=dropping_template("system"))
    assert "Please" not in chat.text(WITH_SYSTEM)
    with pytest.raises(ModelError, match=r"drops system messages.*--fold-system"):
        chat.check_system_role()


@pytest.mark.parametrize("name", ["gpt2", "gpt2-pad-is-eos", "deberta"])
def test_a_tokenizer_without_template_needs_one(name: str) -> None:
    with pytest.raises(ModelError, match=r"no chat template.*--chat-template"):
        chat_of(name, template=None)


# ---- what was written is in the rendered conversation

PARTS = "{% for part in turn['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
CALL: Any = {"type": "function", "function": {"name": "add", "arguments": {"a": "first\nline", "b": 2}}}
TOOLS: Any = [{"type": "function", "function": {"name": "add", "description": "Add up.", "parameters": {}}}]


def answer(text: str = "", **fields: Any) -> AssistantTurn:
    message: Any = {"role": "assistant", "content": text, **fields}
    return AssistantTurn(message)


@pytest.mark.parametrize("roles", [("user", "assistant", "system"), ("assistant",), ("user",)])
def test_a_template_that_reads_parts_gets_parts(roles: tuple[str, ...]) -> None:
    """A list of parts renders as the string does, for each role that the template reads in parts."""
    content = "turn['content'] | trim"
    either = f"{{% if turn['role'] in {roles} %}}{PARTS}{{% else %}}{{{{ {content} }}}}{{% endif %}}"
    by_role = LLAMA_TEMPLATE.replace(
        f"+ {content} + '<|eot_id|>' }}}}",
        "}}" + either + "{{ '<|eot_id|>' }}",
    )
    assert "part['text']" in by_role
    plain, with_parts = chat_of("llama"), chat_of("llama", template=by_role)
    for prompt in (ASK, WITH_SYSTEM, TURNS):
        assert with_parts.encode(prompt, ("Paris.", "")) == plain.encode(prompt, ("Paris.", ""))
        assert with_parts.encode_prompts([prompt]) == plain.encode_prompts([prompt])


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_template_that_drops_a_role_is_refused(role: str) -> None:
    chat = chat_of("llama", template=dropping_template(role))
    conversation = (turn("system", "S"), *TURNS)
    with pytest.raises(ModelError, match=rf"drops {role} messages .*(--chat-template|--fold-system)"):
        chat.encode(conversation, ("user",))  # a word that the template writes as well
    with pytest.raises(ModelError, match=rf"drops {role} messages"):
        chat.encode_prompts([conversation])


@pytest.mark.parametrize("template", ["{{ messages[-1]['content'] }}", "{{ messages[0]['content'] }}", "Hi", ""])
def test_a_template_that_drops_a_turn_is_refused(template: str) -> None:
    with pytest.raises(ModelError, match=r"chat template"):
        chat_of("llama", template=template or "{{ '' }}").encode(TURNS, ("Paris.",))


@pytest.mark.parametrize("change", ["[:20]", ".split('</think>')[-1]", " | replace('Lyon', '')"])
def test_a_template_that_drops_a_part_of_a_text_is_refused(change: str) -> None:
    template = LLAMA_TEMPLATE.replace("turn['content'] | trim", f"(turn['content']{change})")
    chat = chat_of("llama", template=template)
    chat.encode((turn("user", "Capital?"),), ("Paris.",))
    with pytest.raises(ModelError, match="drops a part of the assistant message '<think>It is not"):
        chat.encode((turn("user", "Capital?"),), ("Paris.", "<think>It is not Lyon.</think>Paris."))


def test_changed_white_space_and_json_are_not_dropped_text() -> None:
    template = LLAMA_TEMPLATE.replace("turn['content'] | trim", "(turn['content'] | tojson)")
    for chat in (chat_of("llama", template=template), chat_of("qwen3")):
        chat.encode(ASK, (' Paris \n\n "is" \t it. ', "<think>\nHm.\n</think>\n\n\u00e9"))


def test_tool_calls_tools_and_reasoning_reach_the_model() -> None:
    chat = chat_of("llama", template=TOOL_TEMPLATE)
    prompt: Any = ({"role": "user", "content": "2+2?", "tools": TOOLS},)
    other = {**CALL, "function": {**CALL["function"], "arguments": {"a": "first\nline", "b": 3}}}
    first, second = chat.encode(prompt, (answer(tool_calls=[CALL]), answer(tool_calls=[other])))
    assert first.ids != second.ids
    text = chat.tokenizer.decode(chat.encode(prompt, (answer("4", reasoning_content="2 and 2"),))[0].ids)
    assert "Add up." in text
    assert text.endswith("(2 and 2)4")
    answered: Any = (*prompt, answer(tool_calls=[CALL]).messages[0], {"role": "tool", "name": "add", "content": "4"})
    assert chat.encode(answered, ("Four.",))[0].start > first.start


def test_parallel_calls_and_their_results_are_read_in_order() -> None:
    chat = chat_of("llama", template=TOOL_TEMPLATE)
    calls: Any = [{**CALL, "id": name, "function": {"name": name, "arguments": {"x": name * 2}}} for name in ("f", "g")]
    results: Any = [{"role": "tool", "tool_call_id": name, "content": f"{name} gives 1"} for name in ("f", "g")]
    completion = AssistantTurn(answer(tool_calls=calls).messages[0], *results, turn("assistant", "Both give 1."))
    encoded = chat.encode(ASK, (completion, answer(tool_calls=calls)))
    text = chat.tokenizer.decode(encoded[0].ids[encoded[0].start :])
    expected = ['f{"x": "ff"}', 'g{"x": "gg"}', "f gives 1", "g gives 1", "Both give 1."]
    places = [text.index(part) for part in expected]
    assert places == sorted(places)
    assert encoded[0].start == encoded[1].start


def test_arguments_that_differ_in_their_name_alone_are_read_or_refused() -> None:
    def call(name: str) -> AssistantTurn:
        return answer(tool_calls=[{"function": {"name": "f", "arguments": {name: 1, "type": {"id": True}}}}])

    first, second = chat_of("llama", template=TOOL_TEMPLATE).encode(ASK, (call("city"), call("country")))
    assert first.ids != second.ids
    values = TOOL_TEMPLATE.replace("['arguments'] | tojson", "['arguments'].values() | list | tojson")
    with pytest.raises(ModelError, match="drops assistant messages"):
        chat_of("llama", template=values).encode(ASK, (call("city"),))


@pytest.mark.parametrize(
    ("prompt", "completion", "role"),
    [
        ({"role": "user", "content": "2+2?"}, answer(tool_calls=[CALL]), "assistant"),
        ({"role": "user", "content": "2+2?"}, answer("4", reasoning_content="Hm."), "assistant"),
        (
            {"role": "user", "content": "2+2?"},
            answer("4", tool_calls=[{"function": {"name": "4", "arguments": 4}}]),
            "assistant",
        ),
        ({"role": "user", "content": "2+2?", "tools": TOOLS}, "4", "user"),
    ],
)
def test_tool_calls_tools_and_reasoning_are_refused_where_the_template_drops_them(
    prompt: Any, completion: str, role: str
) -> None:
    with pytest.raises(ModelError, match=f"drops {role} messages"):
        chat_of("llama").encode((prompt,), (completion,))


# ---- templates that do not end


@pytest.mark.parametrize(
    "template",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_given_up(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rb_core.models.chat_format.SECONDS", 0.2)
    with pytest.raises(ModelError, match=r"chat template (refuses|with 1 conversations .* takes longer than)"):
        encode(chat_of("llama", template=template), ASK, "Paris.")


@pytest.mark.parametrize("as_list", [False, True])
def test_one_of_several_templates_is_chosen_by_name_and_never_guessed(tmp_path: Path, as_list: bool) -> None:
    named = {"rag": "RAG" + LLAMA_TEMPLATE, "tool_use": LLAMA_TEMPLATE}
    saved = llama_tokenizer(None if as_list else named)
    saved.save_pretrained(tmp_path)  # each template in a file of its own
    if as_list:  # as older versions of transformers published them
        templates = [{"name": name, "template": template} for name, template in named.items()]
        edit_json(tmp_path / "tokenizer_config.json", lambda content: content.update(chat_template=templates))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    chosen = ChatFormat(tokenizer, LONG_ENOUGH, template_name="rag")
    assert chosen.text(ASK).startswith("RAG<|begin_of_text|>")
    assert chosen.sha256 == hashlib.sha256(named["rag"].encode()).hexdigest()
    for name in (None, "Rag", ""):
        missing = "default" if name is None else name
        with pytest.raises(ModelError, match=rf"the chat templates rag, tool_use, and none of the name {missing}: "):
            ChatFormat(tokenizer, LONG_ENOUGH, template_name=name)
    tokenizer.chat_template["default"] = LLAMA_TEMPLATE
    assert ChatFormat(tokenizer, LONG_ENOUGH).text(ASK) == chosen.text(ASK).removeprefix("RAG")


def test_a_single_template_cannot_be_chosen_by_name() -> None:
    with pytest.raises(ModelError, match=r"no chat template named 'rag': it has one without a name"):
        chat_of("llama", template_name="rag")
    with pytest.raises(ModelError, match=r"no chat template named 'rag': it has none"):
        ChatFormat(tokenizer_of("gpt2"), LONG_ENOUGH, template_name="rag")


@pytest.mark.parametrize("value", [False, "x", [1, 2], {"a": None}])
def test_variables_reach_the_template_in_every_rendering(value: Any) -> None:
    template = "{{ style | tojson }}" + LLAMA_TEMPLATE
    chat = chat_of("llama", template=template, variables={"style": value})
    (encoded,) = chat.encode(ASK, ("Paris.",))
    as_json = json.dumps(value)
    assert chat.tokenizer.decode(encoded.ids) == chat.text((*ASK, turn("assistant", "Paris.")))
    assert chat.text(ASK).startswith(as_json + "<|begin_of_text|>")
    assert not encoded.rewritten
    assert chat.encode_prompts([ASK])[0] == list(encoded.ids[: encoded.start])


def test_a_variable_that_the_template_lacks_is_refused() -> None:
    with pytest.raises(ModelError, match="--template-vars styl: the chat template has no such variable"):
        chat_of("llama", template="{{ style }}" + LLAMA_TEMPLATE, variables={"styl": 1})


def test_a_template_that_writes_without_measure_is_refused() -> None:
    template = "{{ 'a' * 2000000 }}{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    with pytest.raises(ModelError, match=r"makes 2,000,0\d\d characters"):
        encode(chat_of("llama", template=template), ASK, "Paris.")


def test_a_tokenizer_that_fails_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of("llama")
    render = chat.tokenizer.apply_chat_template

    def fail(messages: Any, tokenize: bool = True, **options: Any) -> Any:
        if tokenize:
            raise RuntimeError("retry-limit-in-match over")
        return render(messages, tokenize=False, **options)

    monkeypatch.setattr(chat.tokenizer, "apply_chat_template", fail)
    with pytest.raises(ModelError, match=r"the tokenizer refuses a conversation of \(user\): retry-limit"):
        encode(chat, ASK, "Paris.")


# ---- where the completion starts


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_completion_starts_after_the_prompt_even_when_it_repeats_it(name: str) -> None:
    chat = chat_of(name)
    for completion in ("What is the capital of France?", "user", "Answer: Paris", "Paris is it."):
        encoded = encode(chat, ASK, completion)
        tail = chat.tokenizer.decode(encoded.ids[encoded.start :], skip_special_tokens=False)
        head = chat.tokenizer.decode(encoded.ids[: encoded.start], skip_special_tokens=False)
        assert tail.count(completion) == 1
        assert ASK[0]["content"] in head


def test_the_start_is_the_length_of_the_rendered_prompt() -> None:
    """Prompt and completion meet at a control token, so the completion starts exactly at its own first token."""
    for name in ("llama", "gemma2", "qwen3"):
        chat = chat_of(name)
        prompt = chat.tokenizer.apply_chat_template(
            list(ASK), tokenize=True, return_dict=False, add_generation_prompt=True
        )
        assert encode(chat, ASK, "Paris.").start == len(prompt)


def test_a_completion_that_the_template_rewrites_is_marked() -> None:
    """The template inserts an empty think block."""
    chat = chat_of("qwen3")
    encoded = encode(chat, ASK, "Paris.")
    tail = chat.tokenizer.decode(encoded.ids[encoded.start :])
    assert tail == "<think>\n\n</think>\n\nParis.<|im_end|>\n"
    assert encoded.rewritten
    own_thoughts = encode(chat, ASK, "<think>\nHm.\n</think>\n\nParis.")
    assert not own_thoughts.rewritten


def test_an_empty_completion_that_the_template_rewrites_is_marked() -> None:
    assert encode(chat_of("qwen3"), ASK, "").rewritten


def test_a_trimmed_completion_is_marked_as_rewritten() -> None:
    chat = chat_of("llama")
    assert encode(chat, ASK, "  Paris.").rewritten
    assert not encode(chat, ASK, "Paris.").rewritten


@settings(max_examples=25)
@given(prompt=ANY_TEXT, completion=ANY_TEXT)
@pytest.mark.parametrize("name", ["llama", "qwen3", "deberta"])
def test_any_text_encodes_to_the_templates_own_ids(name: str, prompt: str, completion: str) -> None:
    chat = chat_of(name)
    asked: Conversation = (turn("user", prompt),)
    encoded = encode(chat, asked, completion)
    assert list(encoded.ids) == own_ids(chat, asked, completion)
    rendered = chat.tokenizer.apply_chat_template(
        list(asked), tokenize=True, return_dict=False, add_generation_prompt=True, chat_template=chat.template
    )
    assert 0 <= encoded.start <= len(encoded.ids)
    assert list(encoded.ids[: encoded.start]) == list(rendered[: encoded.start])


# ---- dates, hashes


class _OtherDay:
    """A clock in 2051."""

    @staticmethod
    def now() -> Any:
        from datetime import datetime

        return datetime(2051, 3, 4, 5, 6, 7)  # without a zone, as transformers reads it


def test_the_date_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of("llama-dated")
    before, ids_before = chat.text(ASK), encode(chat, ASK, "Paris.").ids
    assert "Today Date: 26 Jul 2024\n" in before
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", _OtherDay)
    unfrozen = chat.tokenizer.apply_chat_template(list(ASK), tokenize=False)
    assert "04 Mar 2051" in unfrozen  # the clock did change
    assert chat.text(ASK) == before == unfrozen.replace("04 Mar 2051", "26 Jul 2024")
    assert encode(chat, ASK, "Paris.").ids == ids_before


@pytest.mark.parametrize(
    ("format", "expected"),
    [("%Y-%m-%d", "2024-07-26"), ("%B %d, %Y", "July 26, 2024"), ("%d %b %Y", "26 Jul 2024"), ("%A", "Friday")],
)
def test_each_format_of_the_date_is_frozen(format: str, expected: str) -> None:
    chat = chat_of("llama", template="{{ strftime_now('" + format + "') }}")
    assert chat.text(ASK) == expected


@pytest.mark.parametrize(
    "start", ["", " ", "\n", "\n\n", "  \n  ", "  {% if true %}x{% endif %}", "\n  {%- if true %}x{% endif %}"]
)
def test_freezing_the_date_changes_nothing_else(start: str) -> None:
    template = start + "{{ strftime_now('day') }}{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    chat = chat_of("llama", template=template)
    assert chat.text(ASK) == chat.tokenizer.apply_chat_template(list(ASK), tokenize=False, chat_template=template)


def test_the_hash_is_that_of_the_published_template() -> None:
    dated = hashlib.sha256(DATED_TEMPLATE.encode()).hexdigest()
    assert chat_of("llama-dated").sha256 == dated
    declared = hashlib.sha256(GPT2_TEMPLATE.encode()).hexdigest()
    assert chat_of("gpt2").sha256 == declared


@pytest.mark.parametrize("template", ["{% for %}", "{{ nothing.at.all }}", "{{ 1 // 0 }}", "{{ messages[7] + 1 }}"])
def test_a_faulty_template_is_a_model_error(template: str) -> None:
    with pytest.raises(ModelError, match="chat template"):
        encode(chat_of("llama", template=template), ASK, "Paris.")


# ---- control tokens


@pytest.mark.usefixtures("sanitizing_transformers")
@pytest.mark.parametrize(
    ("name", "token"), [("qwen3", "<|im_end|>"), ("gemma2", "<end_of_turn>"), ("llama", "<|eot_id|>")]
)
@pytest.mark.parametrize("where", ["prompt", "completion"])
def test_control_tokens_in_text_stay_raw_unless_sanitized(name: str, token: str, where: str) -> None:
    """Benchmark runs encode a control token as the template would; Try a pair encodes it as ordinary text."""
    text = f"Stop {token} now"
    prompt: Conversation = (turn("user", text if where == "prompt" else "Stop now"),)
    completion = text if where == "completion" else "Stop now"
    raw, clean = chat_of(name), chat_of(name, sanitize=True)
    token_id = raw.tokenizer.convert_tokens_to_ids(token)
    written_by_template = encode(raw, (turn("user", "Stop now"),), "Stop now").ids.count(token_id)
    assert encode(raw, prompt, completion).ids.count(token_id) == written_by_template + 1
    sanitized = encode(clean, prompt, completion)
    assert sanitized.ids.count(token_id) == written_by_template
    assert token in clean.tokenizer.decode(sanitized.ids).replace(token, "", written_by_template)


def test_sanitizing_changes_no_text_without_control_tokens() -> None:
    for name in FAMILIES:
        raw, clean = chat_of(name), chat_of(name, sanitize=True)
        assert raw.encode(TURNS, ("Paris.", "")) == clean.encode(TURNS, ("Paris.", ""))


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("qwen3", "<|im_start|>"),
        ("gemma2", "<start_of_turn>"),
        ("llama", "<|eot_id|>"),
        ("llama", "<|start_header_id|>"),
    ],
)
def test_control_tokens_in_text_are_found(name: str, token: str) -> None:
    chat = chat_of(name)
    assert chat.tokenizer.convert_tokens_to_ids(token) in chat.tokenizer.added_tokens_decoder
    assert chat.control_tokens("nothing here", f"and {token} there") == [token]
    assert chat.control_tokens("nothing here", "<|nor there|>") == []


def test_without_the_option_control_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of("qwen3", sanitize=True)
    render = chat.tokenizer.apply_chat_template

    def older(conversation: Any, chat_template: str | None = None, **options: Any) -> Any:
        assert "sanitize_control_tokens" not in options
        return render(conversation, chat_template=chat_template, **options)

    monkeypatch.setattr(chat.tokenizer, "apply_chat_template", older)
    assert encode(chat, ASK, "Paris.").ids
    with pytest.raises(ModelError, match=r"<\|im_end\|>"):
        encode(chat, ASK, "Paris.<|im_end|>")


# ---- length


@pytest.mark.parametrize("name", FAMILIES)
def test_truncation_drops_the_oldest_prompt_tokens_only(name: str) -> None:
    whole = encode(chat_of(name), TURNS, "Paris is the capital.")
    leading = 0 if name == "gpt2" else 1
    completion = whole.ids[whole.start :]
    for excess in (1, 5, whole.start - leading):
        limit = len(whole.ids) - excess
        cut = encode(chat_of(name, limit), TURNS, "Paris is the capital.")
        assert len(cut.ids) == limit
        assert (cut.dropped, cut.reason) == (excess, "")
        assert cut.ids[cut.start :] == completion
        assert cut.ids[:leading] == whole.ids[:leading]
        assert cut.ids[leading:] == whole.ids[leading + excess :]


def test_the_leading_special_token_is_kept_whatever_it_is_called() -> None:
    template = LLAMA_TEMPLATE.replace("{{- bos_token }}", "")
    whole = encode(chat_of("llama", template=template), TURNS, "Paris.")
    assert whole.ids[0] == chat_of("llama").tokenizer.convert_tokens_to_ids("<|start_header_id|>")
    cut = encode(chat_of("llama", len(whole.ids) - 7, template=template), TURNS, "Paris.")
    assert cut.ids == (whole.ids[0], *whole.ids[8:])


@pytest.mark.parametrize("name", FAMILIES)
def test_what_fits_is_not_truncated(name: str) -> None:
    whole = encode(chat_of(name), TURNS, "Paris.")
    assert encode(chat_of(name, len(whole.ids)), TURNS, "Paris.") == whole
    assert (whole.dropped, whole.reason) == (0, "")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_completion_that_does_not_fit_has_a_reason(name: str) -> None:
    leading = 0 if name == "gpt2" else 1
    whole = encode(chat_of(name), ASK, "Paris is the capital.")
    limit = len(whole.ids) - whole.start + leading - 1
    assert encode(chat_of(name, limit), ASK, "Paris is the capital.").reason == COMPLETION_TOO_LONG
    assert encode(chat_of(name, limit + 1), ASK, "Paris is the capital.").reason == ""


def test_completions_of_a_prompt_are_truncated_independently() -> None:
    whole = chat_of("llama").encode(ASK, ("No.", "Paris is the capital of France. " * 8))
    short, long = chat_of("llama", len(whole[0].ids)).encode(ASK, ("No.", "Paris is the capital. " * 8))
    assert short == whole[0]
    assert long.reason == COMPLETION_TOO_LONG


# ---- templates of records


@pytest.mark.parametrize(
    ("prompt", "first"),
    [
        (ASK, "What is the capital of France?"),
        (WITH_SYSTEM, "Please answer in one short sentence.\n\nWhat is the capital of France?"),
        (TURNS, "\n\n".join(message["content"] for message in TURNS)),
        ((*TURNS, *TURNS[1:]), "\n\n".join(message["content"] for message in (*TURNS, *TURNS[1:]))),
    ],
    ids=["single", "system", "turns", "many turns"],
)
def test_the_pair_template_gives_a_sentence_pair(prompt: Conversation, first: str) -> None:
    """The template of the DeBERTa record gives the tokenizer's own sentence pair, turns joined by blank lines."""
    record = RECORDS["OpenAssistant/reward-model-deberta-v3-large-v2"]
    chat = chat_of("deberta", template=record.chat_template, system_role=record.system_role)
    plain = chat.tokenizer.encode
    cls, sep = chat.tokenizer.cls_token_id, chat.tokenizer.sep_token_id
    for completion in (" Paris, of course. ", ""):
        encoded = encode(chat, prompt, completion)
        before = [cls, *plain(first, add_special_tokens=False)]
        assert list(encoded.ids) == [*before, sep, *plain(completion, add_special_tokens=False), sep]
        assert encoded.start == len(before)
