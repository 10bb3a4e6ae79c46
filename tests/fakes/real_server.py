"""`transformers serve` in a thread, on loopback: the server that people run, not a stand-in for one.

`with serve() as url` gives the base URL for OpenAI's clients. A model is named by its folder and loaded at its first
request. The server has neither log-probabilities nor JSON schemas: see logprob_server.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException

from tests.waiting import wait_until

STARTS_WITHIN = 120.0  # seconds


@contextmanager
def serve() -> Iterator[str]:
    """Run a server in float32 on the CPU. Raises TimeoutError if it does not answer in time."""
    from transformers.cli.serve import Serve

    port = free_port()
    log_level = logging.getLogger("transformers").level
    server = Serve(host="127.0.0.1", port=port, device="cpu", dtype="float32", non_blocking=True)
    try:
        wait_until(lambda: healthy(port), STARTS_WITHIN)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill_server()
        logging.getLogger("transformers").setLevel(log_level)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):  # it does not listen yet
        return False
    finally:
        connection.close()
