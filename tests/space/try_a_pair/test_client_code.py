from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rb_core.space.try_a_pair.client_code import curl_code, page_address, python_code
from rb_core.space.try_a_pair.question import Question
from tests.paths import ROOT
from tests.space.try_a_pair.conftest import TINY, bundled_models


def test_the_programs_print_the_pages_scores_whatever_quotes_the_texts_have(url: str) -> None:
    completions = ('It\'s "quoted" $HOME `id` \\n <b>', "Zwölf 🥚\nNo.")
    turns = (("I have a pan.", "Good, and water?"),)
    question = Question((TINY, "baseline/longest"), "What's this?", completions, "Be brief.", turns)
    expected = [completion.value for completion in bundled_models().score(question)[0].completions]
    program = [sys.executable, "-c", python_code(question, url.rstrip("/"))]
    python = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(python.stdout.splitlines()[-1]) == expected
    program = ["bash", "-c", curl_code(question, url.rstrip("/"))]
    shell = subprocess.run(program, capture_output=True, text=True, check=True)
    data = next(line for line in shell.stdout.splitlines() if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: "))[0]["scores"] == expected


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ("https://org-space.hf.space", "https://org-space.hf.space"),
        ("http://127.0.0.1:7861", "http://127.0.0.1:7861"),
        ("https://x';alert(1)//", "http://127.0.0.1:7860"),
        ("null", "http://127.0.0.1:7860"),
        (None, "http://127.0.0.1:7860"),
    ],
)
def test_the_address_in_the_code_is_a_web_address(origin: str | None, address: str) -> None:
    assert page_address(origin) == address
