"""The page in a process of its own, whose log and memory can be read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.paths import ROOT
from tests.waiting import PATIENCE, wait_until


class PageProcess(NamedTuple):
    """Address and process id of a page, and the file that holds its output and errors."""

    url: str
    process: int
    log: Path


@contextmanager
def page_process(environment: Mapping[str, str], python: str = sys.executable) -> Iterator[PageProcess]:
    """Run `python app.py` for the time of the block, by default in this environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": port, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as file:
            app = subprocess.Popen(
                [python, "app.py"], cwd=ROOT, env=os.environ | settings | environment, stdout=file, stderr=file
            )
        try:

            def listens() -> bool:
                assert app.poll() is None, "the page ended at its start"
                return socket.socket().connect_ex(("127.0.0.1", int(port))) == 0

            wait_until(listens)
            yield PageProcess(f"http://127.0.0.1:{port}", app.pid, log)
        finally:
            app.terminate()
            app.wait(timeout=PATIENCE)


def resident_bytes(process: int) -> int:
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        pytest.skip("there is no /proc to read the memory of a process from")
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
