"""Many visitors at once: everybody is answered or refused in words, and memory stays what it is."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from tests.paths import ROOT
from tests.space.conftest import launched

TINY = "builtin/tiny-rm"
REFUSALS = ("being served or waiting", "requests within a minute", "tokens; at most", "is empty")
MIB = 2**20
WORDS = ("a", "river", "bank", "holds", "much", "water", "and", "some", "gold")


class Crowd(NamedTuple):
    """How many visitors for how many seconds, and by how many bytes memory may have grown between a third of the time
    and the end."""

    visitors: int
    seconds: float
    growth: int


@contextmanager
def running_app(**environment: str) -> Iterator[tuple[str, int]]:
    """Address and process of the page as a host starts it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    app = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, **settings, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(address, app)
        yield address, app.pid
    finally:
        app.terminate()
        app.wait(timeout=20)


def _wait_until_it_answers(address: str, app: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while True:
        try:
            with urlopen(address, timeout=5):  # noqa: S310 (the address is our own)
                return
        except OSError:
            assert app.poll() is None, "the page ended at its start"
            assert time.monotonic() < end, "the page did not start"
            time.sleep(0.1)


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        pytest.skip("there is no /proc to read a process's memory from")
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def visit(client: Client, seed: int, until: float, said: list[tuple[str, float]], wrong: list[str]) -> None:
    """One visitor, who asks until the time is over: mostly what can be scored, now and then what cannot."""
    drawn = random.Random(seed)
    while time.monotonic() < until:
        words = " ".join(drawn.choices(WORDS, k=drawn.randint(1, 120)))
        completions = [f"{words} {number}" for number in range(drawn.randint(2, 4))]
        prompt = "" if drawn.random() < 0.05 else f"Question {drawn.random()}"
        begin = time.monotonic()
        try:
            found = client.predict(TINY, prompt, completions, along=drawn.random() < 0.3, api_name="/score")
            if None in found["scores"] or len(found["scores"]) != len(completions):
                wrong.append(f"{found}")
            said.append(("answered", time.monotonic() - begin))
        except AppError as error:
            kinds = [each for each in REFUSALS if each in str(error)]
            wrong.extend([] if kinds else [str(error)])
            said.append((kinds[0] if kinds else "wrong", time.monotonic() - begin))
            time.sleep(0.05)


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(6, 5.0, 96 * MIB), id="a-few-seconds"),
        pytest.param(Crowd(16, 120.0, 96 * MIB), id="two-minutes", marks=pytest.mark.soak),
    ],
)
def test_a_crowd_is_answered_or_refused_and_memory_stays(crowd: Crowd) -> None:
    """Every request of every visitor ends in scores or in a message, some of them in each, and nothing piles up."""
    with running_app(RB_LIVE_PER_MINUTE="1000", RB_LIVE_QUEUE=str(crowd.visitors // 2)) as (address, process):
        Client(address, verbose=False).predict(TINY, "Warm up.", ["Yes.", "No."], api_name="/score")
        said: list[tuple[str, float]] = []
        wrong: list[str] = []
        clients = [Client(address, verbose=False) for _ in range(crowd.visitors)]
        until = time.monotonic() + crowd.seconds
        threads = [
            threading.Thread(target=visit, args=(client, seed, until, said, wrong))
            for seed, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        time.sleep(crowd.seconds / 3)
        before = resident(process)
        for thread in threads:
            thread.join(timeout=crowd.seconds + 60)
        assert not any(thread.is_alive() for thread in threads)
        after = resident(process)
        seconds = sorted(took for kind, took in said if kind == "answered")
        print(
            f"{crowd.visitors} visitors, {crowd.seconds:.0f} s: {dict(Counter(kind for kind, _ in said))}; answered in "
            f"{median(seconds):.3f} s (median), {seconds[int(0.95 * len(seconds))]:.3f} s (95%); memory "
            f"{before / MIB:.0f} MiB, then {after / MIB:.0f} MiB"
        )
        assert wrong == []
        assert len(seconds) >= crowd.visitors // 2
        assert after - before < crowd.growth
        found = Client(address, verbose=False).predict(TINY, "Still there?", ["Yes.", "No."], api_name="/score")
        assert None not in found["scores"]


def test_one_too_many_a_minute_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, results_root: Path) -> None:
    """A visitor who asks too often reads how long to wait; another session of the same address goes on for a while."""
    monkeypatch.setenv("RB_LIVE_PER_MINUTE", "2")
    with launched(build(ResultsFolder(results_root))) as address:
        client = Client(address, verbose=False)
        for _ in range(2):
            client.predict("baseline/longest", "Hi", ["a", "bb"], api_name="/score")
        with pytest.raises(AppError, match=r"2 requests within a minute. Try again in \d+ seconds"):
            client.predict("baseline/longest", "Hi", ["a", "bb"], api_name="/score")
        Client(address, verbose=False).predict("baseline/longest", "Hi", ["a", "bb"], api_name="/score")
