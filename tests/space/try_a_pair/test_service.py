"""Many visitors at once: everybody is answered or refused with a message, and memory does not grow."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from rb_core.space.limits import Limits
from rb_core.space.page import build
from rb_core.space.results_source import ResultsFolder
from rb_core.space.try_a_pair.available_models import AvailableModels, ListedJudge
from rb_core.space.try_a_pair.question import Question
from rb_core.space.try_a_pair.scoring import PairScorer
from rb_core.space.try_a_pair.service import PairService
from tests.fakes.judge_server import JudgeServer
from tests.fakes.judges import judge
from tests.space.conftest import Serve, launched
from tests.space.page_process import page_process, resident_bytes
from tests.space.try_a_pair.conftest import TINY

REFUSALS = ("being served or waiting", "requests within a minute", "tokens; at most", "is empty")
MIB = 2**20
WORDS = ("a", "river", "bank", "holds", "much", "water", "and", "some", "gold")


class Crowd(NamedTuple):
    """visitors for so many seconds; own_process: the page runs in a process of its own, whose memory is measured."""

    visitors: int
    seconds: float
    own_process: bool


@contextmanager
def running_page(crowd: Crowd, root: Path) -> Iterator[tuple[str, int]]:
    """Start a page that half of the crowd may wait for; yield its address and process."""
    limits = {"RB_LIVE_PER_MINUTE": "1000", "RB_LIVE_QUEUE": str(crowd.visitors // 2)}
    if crowd.own_process:
        with page_process(limits) as page:
            yield page.url, page.process
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setenv(name, value)
        page = build(ResultsFolder(root))
    with launched(page) as address:
        yield address, os.getpid()


def visit(client: Client, seed: int, until: float, answers: list[tuple[str, float]], wrong: list[str]) -> None:
    """Ask until the time is over and one was answered: mostly valid questions, now and then an invalid one."""
    drawn, is_answered = random.Random(seed), False
    while time.monotonic() < until or not is_answered:
        words = " ".join(drawn.choices(WORDS, k=drawn.randint(1, 120)))
        completions = [f"{words} {number}" for number in range(drawn.randint(2, 4))]
        prompt = "" if drawn.random() < 0.05 else f"Question {drawn.random()}"
        begin = time.monotonic()
        try:
            result = client.predict(TINY, prompt, completions, along=drawn.random() < 0.3, api_name="/score")
            if None in result["scores"] or len(result["scores"]) != len(completions):
                wrong.append(f"{result}")
            answers.append(("answered", time.monotonic() - begin))
            is_answered = True
        except AppError as error:
            kind = next((refusal for refusal in REFUSALS if refusal in str(error)), "wrong")
            if kind == "wrong":
                wrong.append(str(error))
            answers.append((kind, time.monotonic() - begin))
            time.sleep(0.05)


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(4, 0.9, own_process=False), id="a-second"),
        pytest.param(Crowd(16, 600.0, own_process=True), id="ten-minutes", marks=pytest.mark.soak),
    ],
)
def test_a_crowd_is_answered_or_refused_and_memory_stays(crowd: Crowd, tmp_path: Path) -> None:
    with running_page(crowd, tmp_path) as (address, process):
        clients = [Client(address, verbose=False) for _ in range(crowd.visitors)]
        clients[0].predict(TINY, "Warm up.", ["Yes.", "No."], api_name="/score")
        answers: list[tuple[str, float]] = []
        wrong: list[str] = []
        until = time.monotonic() + crowd.seconds
        visits = ((client, seed, until, answers, wrong) for seed, client in enumerate(clients))
        threads = [threading.Thread(target=visit, args=arguments) for arguments in visits]
        for thread in threads:
            thread.start()
        time.sleep(crowd.seconds / 3)
        before = resident_bytes(process)
        for thread in threads:
            thread.join(timeout=crowd.seconds + 60)
        assert not any(thread.is_alive() for thread in threads)
        after = resident_bytes(process)
        seconds = sorted(took for kind, took in answers if kind == "answered")
        print(
            f"{crowd.visitors} visitors, {crowd.seconds:.0f} s: {dict(Counter(kind for kind, _ in answers))}; answered "
            f"in {median(seconds):.3f} s (median), {seconds[int(0.95 * len(seconds))]:.3f} s (95%); memory "
            f"{before / MIB:.0f} MiB, then {after / MIB:.0f} MiB"
        )
        assert wrong == []
        assert len(seconds) >= crowd.visitors
        assert after - before < 96 * MIB
        result = clients[0].predict(TINY, "Still there?", ["Yes.", "No."], api_name="/score")
        assert None not in result["scores"]


def test_a_visitor_above_the_rate_limit_reads_how_long_to_wait(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
) -> None:
    """Another session of the same address goes on for a while."""
    monkeypatch.setenv("RB_LIVE_PER_MINUTE", "2")
    address = serve(build(ResultsFolder(tmp_path)))
    client, other = Client(address, verbose=False), Client(address, verbose=False)
    for _ in range(2):
        client.predict("baseline/longest", "Hi", ["a", "bb"], api_name="/score")
    with pytest.raises(AppError, match=r"2 requests within a minute. Try again in \d+ seconds"):
        client.predict("baseline/longest", "Hi", ["a", "bb"], api_name="/score")
    other.predict("baseline/longest", "Hi", ["a", "bb"], api_name="/score")


def test_no_gpu_is_borrowed_to_wait_for_a_server(tmp_path: Path) -> None:
    """Judges on servers are asked outside the call that a Space lends its GPU for; other models are not."""
    calls: list[str] = []

    def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            calls.append(function.__name__)
            return function(*args)

        return wrapped

    with JudgeServer(judge(lambda prompt, answer: len(answer) / 1000)) as server:
        listed = ListedJudge("test/judge", "test/judge", server.url)
        scorer = PairScorer(AvailableModels((), lambda name: False, judges=(listed,)), Limits(judge_seconds=1))
        service = PairService(scorer, ResultsFolder(tmp_path), on_gpu)
        question = Question(("test/judge",), "Hi", ("One", "Two"))
        assert service.score(question, False)[0].judge is not None
        assert calls == []
        both = Question(("test/judge", "baseline/longest"), "Hi", ("One", "Two"))
        assert len(service.score(both, False)) == 2
    assert calls == ["score"]
