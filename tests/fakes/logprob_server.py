"""A small server in OpenAI's format with log-probabilities, around a tiny model.

It shares no code with rb_core: one token after the other by the model's own forward pass on the whole text, without
cache, batch or `generate`. `with serve(folder) as url` starts one on loopback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

NAME = "tiny"


class Model:
    """A model that answers chat completions greedily."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.lock = Lock()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = self.tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        with self.lock:
            ids, steps, finish = self._go_on(prompt, most, body.get("top_logprobs") or 0)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": self.tokenizer.decode(ids, skip_special_tokens=True)},
            "finish_reason": finish,
            "logprobs": {"content": steps} if body.get("logprobs") else None,
        }
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids), "total_tokens": len(prompt) + len(ids)}
        return {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": NAME,
            "system_fingerprint": "tiny",
            "choices": [choice],
            "usage": usage,
        }

    @torch.no_grad()
    def _go_on(self, prompt: list[int], most: int, top: int) -> tuple[list[int], list[dict[str, Any]], str]:
        ids: list[int] = []
        steps: list[dict[str, Any]] = []
        for _ in range(most):
            logprobs = self.model(torch.tensor([[*prompt, *ids]])).logits[0, -1].double().log_softmax(-1)
            token = int(logprobs.argmax())
            if token == self.tokenizer.eos_token_id:
                return ids, steps, "stop"
            likeliest = [self._token(int(i), float(logprobs[i])) for i in logprobs.topk(top).indices] if top else []
            ids.append(token)
            steps.append(self._token(token, float(logprobs[token])) | {"top_logprobs": likeliest})
        return ids, steps, "length"

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self.tokenizer.decode([token])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run a server of the model in a folder. Its name there is NAME."""
    model = Model(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": NAME, "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(model.answer(body))

        def _send(self, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Keep the output of the tests free of requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
