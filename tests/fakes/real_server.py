"""`transformers serve` in a process of its own, on loopback: the server that people run, not a stand-in for one.

`with serve() as url` gives the base URL for OpenAI's clients. A model is named by its folder and loaded at its first
request. The server has neither log-probabilities nor JSON schemas: see logprob_server.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from tempfile import TemporaryFile

# Starting imports torch, which takes long where cores are shared.
STARTS_WITHIN = 120.0


@contextmanager
def serve(*options: str) -> Iterator[str]:
    """Run a server in float32 on the CPU. Raises RuntimeError, with its output, if it does not answer in time."""
    port = free_port()
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32", *options]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with TemporaryFile("w+") as written:
        process = subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)
        try:
            wait_for(port, process, lambda: (written.seek(0), written.read()[-3000:])[1])
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[str] | subprocess.Popen[bytes], written: object) -> None:
    """Wait until the server reports its health."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        if healthy(port):
            return
        time.sleep(0.1)
    said = written() if callable(written) else ""
    raise RuntimeError(f"the server did not start (exit status {process.poll()}): {said}")


def healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):  # it does not listen yet
        return False
    finally:
        connection.close()
