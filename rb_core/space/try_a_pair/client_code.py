"""Programs that ask a visitor's question again through the endpoint `score`."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from rb_core.space.try_a_pair.question import Question

LOCAL_ADDRESS = "http://127.0.0.1:7860"
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:\d{1,5})?|https?://\[[0-9A-Fa-f:]{2,39}\](:\d{1,5})?")


def page_address(origin: str | None) -> str:
    """Return the page's address from the request's Origin header, or a local address if the header is none."""
    return origin if origin and _ORIGIN.fullmatch(origin) else LOCAL_ADDRESS


def endpoint_arguments(question: Question) -> dict[str, Any]:
    """Return the arguments of the endpoint `score` by name, in its order."""
    first, *others = question.models
    return {
        "model": first,
        "prompt": question.prompt,
        "completions": list(question.completions),
        "system": question.system,
        "score_empty": any(not text.strip() for text in question.completions),
        "turns": question.turns,
        "others": others,
        "along": False,
    }


def python_code(question: Question, address: str) -> str:
    """Return a Python program that uses gradio's client."""
    arguments = endpoint_arguments(question).items()
    lines = [f"    {name}={value!r}," for name, value in arguments if value or name == "prompt"]
    return "\n".join(
        [
            "from gradio_client import Client",
            "",
            f"client = Client({address!r})",
            "result = client.predict(",
            *lines,
            '    api_name="/score",',
            ")",
            'print(result["scores"])',
        ]
    )


def curl_code(question: Question, address: str) -> str:
    """Return shell commands that send the question and read the answer."""
    body = shlex.quote(json.dumps({"data": list(endpoint_arguments(question).values())}))
    url = shlex.quote(f"{address}/gradio_api/call/score")
    return (
        f"EVENT=$(curl -s {url} -H 'Content-Type: application/json' \\\n"
        f"  -d {body} \\\n"
        """  | sed 's/.*"event_id": *"\\([^"]*\\)".*/\\1/')\n"""
        f"curl -sN {url}/$EVENT"
    )
