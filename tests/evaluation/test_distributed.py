"""Many processes and machines: the same scores to the bit, none computed twice, and mistakes that end all of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from rb_core.benchmarks.example import CompletionSet
from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError, ModelError, ResultError, RewardBenchError, ScoreTableError
from rb_core.evaluation import aggregate, evaluate
from rb_core.evaluation.aggregate import WrittenResult
from rb_core.evaluation.distributed import SINGLE_PROCESS, Process, deal, this_process
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.schema import Result
from rb_core.results.score_table import Score, read_scores
from rb_core.results.storage import read_result
from rb_core.scorers.base import Batch, Cell, Plan, cells_of
from rb_core.scorers.function import FunctionScorer
from tests.paths import ROOT

SCORES = "scores/starter/builtin/tiny-rm.parquet"
RESULT = "results/starter/builtin/tiny-rm.json"


# ---- dealing


@given(st.lists(st.integers(0, 10**6), max_size=60), st.integers(1, 9))
def test_each_piece_is_dealt_once_and_loads_are_balanced(work: list[int], count: int) -> None:
    """Every piece has one owner, who has his in order; no two loads differ by more than the largest piece."""
    shares = deal(work, count)
    assert len(shares) == count
    assert sorted(index for share in shares for index in share) == list(range(len(work)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(work[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(work, default=0)
    assert deal(tuple(work), count) == shares


def test_deals_by_hand() -> None:
    """The largest piece left goes to whoever has least, the first of those who have equally little."""
    assert deal([5, 3, 3, 2, 2, 1], 2) == [[0, 3, 5], [1, 2, 4]]
    assert deal([1, 1, 1, 1], 3) == [[0, 3], [1], [2]]
    assert deal([0, 7], 3) == [[1], [0], []]
    assert deal([], 2) == [[], []]


# ---- threads in place of processes


@dataclass(frozen=True)
class Thread(Process):
    """A process played by a thread: the same exchange of values, without a launcher."""

    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    table: dict[int, Any] = field(default_factory=dict)

    def gather(self, value: Any) -> list[Any]:
        self.table[self.index] = value
        self.meeting.wait(30)
        values = [self.table[index] for index in range(self.count)]
        self.meeting.wait(30)
        return values


def in_threads(count: int, work: Callable[[Process], Any], *, machines: int = 1) -> list[Any]:
    """What the work gives in each of so many processes, spread evenly over machines; or the mistake that it raises."""
    meeting, table = threading.Barrier(count), dict[int, Any]()
    found: list[Any] = [None] * count

    def one(index: int) -> None:
        try:
            found[index] = work(Thread(index, count, index % (count // machines), meeting, table))
        except RewardBenchError as error:
            found[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_an_error_in_one_process_is_raised_in_all() -> None:
    """A mistake that one process meets ends all of them with the same message; of two the first process's."""

    def work(here: Process) -> None:
        with here.share_errors():
            pass
        with here.share_errors():
            if here.index in (1, 2):
                raise DataError(f"seen by {here.index}")

    assert [(type(error), str(error)) for error in in_threads(3, work)] == [(DataError, "seen by 1")] * 3


def test_in_a_long_step_an_error_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who fails while the others may be busy for hours says so before they have ended."""

    def work(here: Process) -> None:
        with here.share_errors(long=True):
            if here.index == 1:
                raise ModelError("out of memory")
            while not caplog.messages:
                time.sleep(0.01)

    assert [str(error) for error in in_threads(2, work)] == ["out of memory"] * 2
    assert caplog.messages == ["process 2 of 2 stopped, the others go on: out of memory"]


def test_what_the_main_process_does_reaches_all() -> None:
    """A step of the main process is done once; its value, or its error, is everybody's."""
    calls = []

    def step() -> str:
        calls.append(1)
        return "done"

    assert in_threads(3, lambda here: here.on_main(step)) == ["done"] * 3
    assert len(calls) == 1

    def fails() -> None:
        raise ResultError("stands here")

    assert [str(error) for error in in_threads(2, lambda here: here.on_main(fails))] == ["stands here"] * 2


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of a launcher, or those of a world of one, mean one process that waits for nobody."""
    for variables in ({}, {"WORLD_SIZE": "1", "LOCAL_RANK": "0", "RANK": "0"}, {"WORLD_SIZE": "8"}):
        for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        this_process.cache_clear()
        assert this_process() is SINGLE_PROCESS
        assert this_process().gather(7) == [7]


def test_a_process_that_others_wait_for_in_vain_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a connection breaks the error says what that means and what to do."""

    def gather_object(values: list[Any]) -> list[Any]:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("accelerate.utils.gather_object", gather_object)
    with pytest.raises(RuntimeError, match="another process of this run has ended"):
        Process(0, 2).gather(1)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes on a machine share its GPUs out; a device that the user named, and one process, are left alone."""
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert SINGLE_PROCESS.device("auto") == "auto"
    assert Process(3, 4, 1).device("cpu") == "cpu"
    assert [Process(5, 6, local).device(name) for local, name in ((0, "auto"), (1, "cuda"))] == ["cuda:0", "cuda:1"]
    assert taken == [0, 1]
    with pytest.raises(ModelError, match="this machine has 2"):
        Process(2, 3, 2).device("auto")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert Process(2, 3, 2).device("auto") == "auto"


def test_a_model_spread_over_all_gpus_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """--device-map and a second process on the same machine would load the model twice onto the same GPUs."""
    with pytest.raises(ModelError, match="start one process on each machine"):
        Process(1, 2, 1).place(resolve("builtin/tiny-rm", ModelOptions(device_map="auto")))


# ---- whole runs in threads


@dataclass
class Counting(FunctionScorer):
    """Scores by length in batches of `batch_tokens` completions, and fails after a number of batches.

    chosen: the user gave the budget; otherwise it stands for one that was found in free memory.
    """

    batch_tokens: int = 8
    chosen: bool = False
    fails_after: int = 10**6
    scored: list[Cell] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(lambda prompt, completion: float(len(completion)))

    @property
    def measures_memory(self) -> bool:
        return not self.chosen

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        every = cells_of(completion_sets)
        parts = [every[start : start + self.batch_tokens] for start in range(0, len(every), self.batch_tokens)]
        inputs = [
            tuple((completion_sets[i].prompt, completion_sets[i].completions[j]) for i, j in part) for part in parts
        ]
        return Plan(tuple(Batch(tuple(part), given, len(part)) for part, given in zip(parts, inputs, strict=True)), {})

    def score(self, batch: Batch) -> list[Score]:
        if len(self.scored) == self.fails_after:
            raise ModelError("out of memory")
        self.scored.append(batch.cells[0])
        return super().score(batch)


class RunAll(Protocol):
    def __call__(self, scorers: Sequence[Counting], *outs: Path, **options: Any) -> list[Any]: ...


@pytest.fixture
def run_all(monkeypatch: pytest.MonkeyPatch) -> RunAll:
    """Run scorers on the starter benchmark, each in a process of its own; `outs`: the folders, one a machine."""
    local, starter = threading.local(), load_benchmark("starter")
    monkeypatch.setattr(evaluate, "this_process", lambda: local.here)

    def run(scorers: Sequence[Counting], *outs: Path, **options: Any) -> list[Any]:
        def work(here: Process) -> WrittenResult:
            local.here = here
            out = outs[here.index * len(outs) // len(scorers)]
            return evaluate.evaluate_scorer(scorers[here.index], "test/counting", starter, out=out, **options)

        return in_threads(len(scorers), work, machines=len(outs))

    return run


def numbers(result: Result) -> dict[str, Any]:
    """What a result says about the model, without when and where it was run."""
    return result.model_dump(exclude={"run", "scores"})


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if ".journal" in p.name or ".lock" in p.name)


def test_machines_that_share_no_folder_resume_what_each_of_them_has(run_all: RunAll, tmp_path: Path) -> None:
    """What lies in the parts of any machine is not scored again; the result stands on the first, the parts are gone."""
    one, two = tmp_path / "one", tmp_path / "two"
    alone = Counting()
    (reference,) = run_all([alone], tmp_path / "alone")
    begun = [Counting(fails_after=batches) for batches in (3, 4, 5, 6)]
    assert [str(error) for error in run_all(begun, one, two)] == ["out of memory"] * 4
    assert [len(scorer.scored) for scorer in begun] == [3, 4, 5, 6]  # who fails does not stop the others
    assert [len(list(out.rglob("*.journal*"))) for out in (one, two)] == [2, 2]
    ended = [Counting(), Counting()]
    finished = run_all(ended, one, two)
    assert sorted(cell for scorer in begun + ended for cell in scorer.scored) == sorted(alone.scored)
    assert finished[0] == finished[1]
    assert finished[0].path == one / "results/starter/test/counting.json"
    assert finished[0].result.run.processes == 2
    assert numbers(finished[0].result) == numbers(reference.result)
    assert left_over(tmp_path) == []
    assert not list(two.rglob("*.parquet"))


def test_an_unfinished_run_keeps_the_budget_it_was_begun_with(run_all: RunAll, tmp_path: Path) -> None:
    """Whatever memory is free now, the batches are those of the start; a budget that the user names is kept."""
    begun, later = Counting(batch_tokens=8, fails_after=5), Counting(batch_tokens=32)
    run_all([begun], tmp_path)
    (refused,) = run_all([Counting(batch_tokens=32, chosen=True)], tmp_path)
    assert "different batch_tokens, plan" in str(refused)
    (finished,) = run_all([later], tmp_path)
    assert (later.batch_tokens, finished.result.run.batch_tokens) == (8, 8)
    alone = Counting(batch_tokens=8)
    run_all([alone], tmp_path / "alone")
    assert begun.scored + later.scored == alone.scored


def test_another_runs_budget_is_not_taken(run_all: RunAll, tmp_path: Path) -> None:
    """A run that replaces an unfinished one of other settings plans with what it found itself."""
    run_all([Counting(batch_tokens=8, fails_after=5)], tmp_path, seed=1)
    (refused,) = run_all([Counting(batch_tokens=32)], tmp_path)
    assert "different batch_tokens, plan, seed" in str(refused)
    (finished,) = run_all([Counting(batch_tokens=32)], tmp_path, overwrite=True)
    assert finished.result.run.batch_tokens == 32


def test_processes_plan_with_the_smallest_budget_that_one_of_them_found(run_all: RunAll, tmp_path: Path) -> None:
    """What is free differs between devices; the plan must not."""
    scorers = [Counting(batch_tokens=budget) for budget in (32, 8, 16)]
    finished = run_all(scorers, tmp_path)
    assert [scorer.batch_tokens for scorer in scorers] == [8, 8, 8]
    assert finished[0].result.run.batch_tokens == 8


def test_processes_that_do_not_agree_on_the_run_stop(run_all: RunAll, tmp_path: Path) -> None:
    """Other data, versions or settings on one machine end the run before anything is scored."""
    scorers = [Counting(batch_tokens=budget, chosen=True) for budget in (8, 8, 16)]
    for error in run_all(scorers, tmp_path):
        assert isinstance(error, ScoreTableError)
        assert "have a different batch_tokens, plan" in str(error)
    assert not any(scorer.scored for scorer in scorers)
    assert run_all([Counting(), Counting()], tmp_path)[0].result.run.processes == 2  # and all locks were let go


@pytest.mark.parametrize("held", ["counting.lock", "counting.lock-1"])
def test_a_second_run_on_the_same_place_is_refused_in_all_processes(held: str, run_all: RunAll, tmp_path: Path) -> None:
    """While a process of another run is alive, whichever it is, no process of this one scores anything."""
    lock = tmp_path / "scores/starter/test" / held
    lock.parent.mkdir(parents=True)
    scorers = [Counting(), Counting()]
    with FileLock(lock):
        assert ["another run is writing here" in str(error) for error in run_all(scorers, tmp_path)] == [True, True]
        assert not any(scorer.scored for scorer in scorers)
    run_all(scorers, tmp_path)
    assert left_over(tmp_path) == []


# ---- real processes


def command(out: Path, *, count: int = 1, launch: Sequence[str] = ()) -> list[str]:
    """An evaluation by so many CPU processes; launch: further options of the launcher."""
    options = ["--model", "builtin/tiny-rm", "--benchmark", "starter", "--batch-tokens", "300", "--device", "cpu"]
    program = ["-m", "rb_core", "evaluate", *options, "--out", str(out)]
    if count == 1:
        return [sys.executable, *program]
    # its name for "as many processes as I say"; with --cpu accelerate starts a single one
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count)]
    settings = ["--mixed_precision", "no", "--dynamo_backend", "no", *(launch or _ONE_MACHINE)]
    return [sys.executable, *launcher, *settings, *program]


_ONE_MACHINE = ("--num_machines", "1", "--main_process_port", "0")
# sums over one thread, so that one process adds in the same order as each of many
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(out: Path, count: int) -> None:
    done = subprocess.run(
        command(out, count=count), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process gives."""
    out = tmp_path_factory.mktemp("one-process")
    finish(out, 1)
    return out


def compare(reference: Path, out: Path, count: int) -> None:
    """The same table to the bit, the same numbers, and nothing left over."""
    (one, _), (other, _) = (read_scores(path / SCORES) for path in (reference, out))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert np.array_equal(one["score"].to_numpy().view("int32"), other["score"].to_numpy().view("int32"))
    results = [read_result(path / RESULT) for path in (reference, out)]
    assert numbers(results[0]) == numbers(results[1])
    assert aggregate.aggregate_scores(out / SCORES) == results[1]
    assert results[1].run is not None
    assert results[1].run.processes == count
    assert left_over(out) == []


def scored(files: Iterable[Path]) -> list[int]:
    """The batches in the whole lines of journal parts, as often as they stand there."""
    lines = [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    return [entry[0] for entry in map(json.loads, lines) if isinstance(entry, list)]


def parts(out: Path) -> list[Path]:
    return sorted((out / SCORES).parent.glob("tiny-rm.journal*"))


def test_two_processes_give_what_one_gives(reference: Path, tmp_path: Path) -> None:
    """The score table of two processes is that of one, bit for bit, and so are the numbers."""
    finish(tmp_path, 2)
    compare(reference, tmp_path, 2)


def worker(launcher: subprocess.Popen[str], rank: int) -> psutil.Process:
    """The process of that number."""
    return next(p for p in psutil.Process(launcher.pid).children() if p.environ().get("RANK") == str(rank))


def kill_one(out: Path, count: int, rank: int) -> bool:
    """Start a run and kill one of its processes when it has scored a few batches; False if all was done before."""
    launcher = start(command(out, count=count))
    own = (out / SCORES).with_suffix(f".journal-{rank}")
    while launcher.poll() is None and not (own.exists() and len(scored([own])) >= 3):
        time.sleep(0.005)
    if launcher.poll() is None:
        worker(launcher, rank).kill()
    launcher.communicate(timeout=60)
    return launcher.returncode != 0


def test_a_killed_process_ends_the_run_and_the_next_scores_only_what_is_missing(
    reference: Path, tmp_path: Path
) -> None:
    """After the SIGKILL of one of three processes two others finish the run, and every batch was scored once."""
    out = tmp_path / "out"
    while not kill_one(out, 3, 1):
        shutil.rmtree(out)
    links = tmp_path / "links"
    links.mkdir()
    for path in parts(out):  # the same files under names that the run does not remove
        os.link(path, links / path.name)
    before = scored(links.iterdir())
    assert len(list(links.iterdir())) == 3
    assert 3 <= len(before) == len(set(before))
    finish(out, 2)
    compare(reference, out, 2)
    after = scored(links.iterdir())
    assert len(before) < len(after)
    assert sorted(after) == list(range(len(after)))


def test_an_existing_result_ends_every_process_with_one_message(reference: Path) -> None:
    """Nothing is scored or changed, each process exits with 2, and the mistake is told once."""
    before = {p: p.read_bytes() for p in reference.rglob("*") if p.is_file()}
    launcher = start(command(reference, count=2))
    printed = launcher.communicate(timeout=120)[0]
    assert launcher.returncode != 0
    assert printed.count("error: ") == printed.count("this result exists already") == 1
    assert [line.split()[2] for line in printed.splitlines() if line.startswith("  exitcode")] == ["2", "2"]
    assert {p: p.read_bytes() for p in reference.rglob("*") if p.is_file()} == before


# ---- the same, longer


@pytest.mark.soak
def test_three_processes_give_what_one_gives(reference: Path, tmp_path: Path) -> None:
    """The score table of three processes is that of one, bit for bit."""
    finish(tmp_path, 3)
    compare(reference, tmp_path, 3)


@pytest.mark.soak
def test_two_machines_give_what_one_gives(reference: Path, tmp_path: Path) -> None:
    """Two launchers that share no folder end with the same table on the first machine and nothing on the second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outs = [tmp_path / name for name in ("one", "two")]
    meeting = ("--num_machines", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", port)
    launchers = [
        start(command(out, count=4, launch=(*meeting, "--machine_rank", str(rank)))) for rank, out in enumerate(outs)
    ]
    printed = [launcher.communicate(timeout=120)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], printed
    compare(reference, outs[0], 4)
    assert not [path for path in outs[1].rglob("*") if path.is_file()]


@pytest.mark.soak
def test_many_kills_at_random_cost_no_batch(reference: Path, tmp_path: Path) -> None:
    """Killed again and again at any moment, a worker or the whole job, with one to three processes: each run goes on
    where the last one stopped, no batch is scored twice, and the scores are the same to the bit."""
    chance = random.Random(0)
    kills = runs = 0
    while kills < 30:
        runs += 1
        out, count = tmp_path / str(runs), 0
        while not (out / RESULT).exists():
            count = chance.randint(1, 3)
            kills += kill_at_random(out, count, chance)
            entries = scored(parts(out))
            assert len(entries) == len(set(entries))
        if not parts(out):
            compare(reference, out, count)


def kill_at_random(out: Path, count: int, chance: random.Random) -> bool:
    """Start a run; after a random time kill one process of it, or all. False if it was done."""
    launcher = start(command(out, count=count))
    time.sleep(chance.uniform(2, 12))
    with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself in the meantime
        everything = [psutil.Process(launcher.pid), *psutil.Process(launcher.pid).children(recursive=True)]
        for process in everything if chance.random() < 0.3 else everything[-1:]:
            process.kill()
    launcher.communicate(timeout=60)
    return launcher.returncode != 0
