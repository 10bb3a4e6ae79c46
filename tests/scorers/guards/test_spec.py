"""Names and arguments of guards."""

from __future__ import annotations

import pytest

from rb_core.errors import ModelError
from rb_core.scorers.guards.spec import parse_guard

URL = "http://user:secret@127.0.0.1:1/v1"


def test_arguments_are_options_of_the_model_and_of_requests() -> None:
    spec = parse_guard("classifier:org/name", "label=toxic,max_length=128,device=cpu")
    assert (spec.label, spec.options.max_length, spec.options.device) == ("toxic", 128, "cpu")
    spec = parse_guard(f"judge:llama@{URL}", "words=Yes,No,asked_by=template,concurrency=3")
    assert (spec.target, spec.url, spec.words) == ("llama", URL, ("Yes", "No"))
    assert spec.options.judge.concurrency == 3
    assert parse_guard("classifier:m", {"tokens": "unsafe,safe"}).options.tokens == ("unsafe", "safe")


def test_a_name_has_no_folder_and_no_address() -> None:
    assert parse_guard(f"moderation:omni@{URL}").name == "moderation:omni"
    assert parse_guard("/home/me/mine.py:guard").name == "mine.py:guard"


@pytest.mark.parametrize(
    ("guard", "arguments", "problem"),
    [
        ("toxicity", "", "--guard toxicity: expected words:FILE, classifier:MODEL"),
        ("words:no.txt", "", "--guard words:no.txt: no file no.txt"),
        ("classifier:", "", "nothing after the colon"),
        ("classifier:m", "lable=x", "no argument 'lable'; it takes label, safe_label"),
        ("classifier:m", "max_length=abc", "max_length: .*integer"),
        ("classifier:m", "max_length", "--guard-args: expected NAME=VALUE"),
        ("classifier:m", "reads=prompt", "reads: .*'completion' or 'conversation'"),
        ("classifier:m", "label=a,safe_label=b", "either label or safe_label"),
        ("classifier:m", "chat_template=no.jinja", "chat_template: .*no.jinja"),
        ("moderation:m", "", "give the server's address"),
        (f"moderation:@{URL}", "", "give the model's name before the address"),
        (f"judge:m@{URL}", "provider=auto", "either an address or a provider"),
        (f"judge:m@{URL}", "concurrency=0", "concurrency is 0; it must be at least 1"),
        (f"judge:m@{URL}", "words=a", "words: "),
        (f"judge:m@{URL}", "words=safe,safely", "neither begins the other"),
        (f"judge:m@{URL}", "asked_by=me", "asked_by: .*'own' or 'template'"),
    ],
)
def test_a_mistake_is_named_before_anything_is_loaded(guard: str, arguments: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as raised:
        parse_guard(guard, arguments)
    assert "secret" not in str(raised.value)
