"""Several processes and machines: the same scores to the bit, none computed twice, and errors that end all of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
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
from rb_core.errors import DataError, ModelError, ResultError, ScoreTableError
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
from tests.fakes.processes import in_threads
from tests.paths import ROOT

SCORES = "scores/starter/builtin/tiny-rm.parquet"
RESULT = "results/starter/builtin/tiny-rm.json"


# ---- dealing


@given(st.lists(st.integers(0, 10**6), max_size=60), st.integers(1, 9))
def test_every_piece_is_dealt_once_and_loads_are_balanced(work: list[int], count: int) -> None:
    shares = deal(work, count)
    assert len(shares) == count
    assert sorted(index for share in shares for index in share) == list(range(len(work)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(work[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(work, default=0)
    assert deal(tuple(work), count) == shares


def test_deals_by_hand() -> None:
    assert deal([5, 3, 3, 2, 2, 1], 2) == [[0, 3, 5], [1, 2, 4]]
    assert deal([1, 1, 1, 1], 3) == [[0, 3], [1], [2]]
    assert deal([0, 7], 3) == [[1], [0], []]
    assert deal([], 2) == [[], []]


# ---- the steps of a run, with threads in place of processes


def test_an_error_in_one_process_is_raised_in_all() -> None:
    def work(process: Process) -> None:
        with process.share_errors():
            pass
        with process.share_errors():
            if process.index in (1, 2):
                raise DataError(f"seen by {process.index}")

    assert [(type(error), str(error)) for error in in_threads(3, work)] == [(DataError, "seen by 1")] * 3


def test_an_error_in_a_long_step_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    def work(process: Process) -> None:
        with process.share_errors(long=True):
            if process.index == 1:
                raise ModelError("out of memory")
            while not caplog.messages:
                time.sleep(0.01)

    assert [str(error) for error in in_threads(2, work)] == ["out of memory"] * 2
    assert caplog.messages == ["process 2 of 2 stopped, the others go on: out of memory"]


def test_a_step_of_the_main_process_reaches_all() -> None:
    calls = []

    def step() -> str:
        calls.append(1)
        return "done"

    assert in_threads(3, lambda process: process.on_main(step)) == ["done"] * 3
    assert len(calls) == 1

    def fails() -> None:
        raise ResultError("stands here")

    assert [str(error) for error in in_threads(2, lambda process: process.on_main(fails))] == ["stands here"] * 2


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in ({}, {"WORLD_SIZE": "1", "LOCAL_RANK": "0", "RANK": "0"}, {"WORLD_SIZE": "8"}):
        for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        this_process.cache_clear()
        assert this_process() is SINGLE_PROCESS
        assert this_process().gather(7) == [7]


def test_a_broken_connection_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather_object(values: list[Any]) -> list[Any]:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("accelerate.utils.gather_object", gather_object)
    with pytest.raises(RuntimeError, match="another process of this run has ended"):
        Process(0, 2).gather(1)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that the user named, and a single process, are left alone."""
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)

    def device(process: Process, name: str, model: str = "builtin/tiny-rm") -> str:
        return process.place(resolve(model, ModelOptions(device=name))).options.device

    assert device(SINGLE_PROCESS, "auto") == "auto"
    assert device(Process(3, 4, 1), "cpu") == "cpu"
    assert device(Process(3, 4, 3), "auto", "baseline/longest") == "auto"
    assert [device(Process(5, 6, local), name) for local, name in ((0, "auto"), (1, "cuda"))] == ["cuda:0", "cuda:1"]
    assert taken == [0, 1]
    options = ModelOptions(ensemble=("builtin/tiny-rm", "baseline/longest"), scale_by="starter")
    members = Process(5, 6, 1).place(resolve("", options)).members
    assert [member.options.device for member in members] == ["cuda:1", "auto"]
    with pytest.raises(ModelError, match="this machine has 2"):
        device(Process(2, 3, 2), "auto")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device(Process(2, 3, 2), "auto") == "auto"


def test_a_model_spread_over_all_gpus_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="start one process on each machine"):
        Process(1, 2, 1).place(resolve("builtin/tiny-rm", ModelOptions(device_map="auto")))


# ---- whole runs in threads


@dataclass
class Counting(FunctionScorer):
    """Scores by length in batches of `batch_tokens` completions, and fails after a number of batches.

    chosen: the user gave the budget; otherwise it stands for one that was derived from free memory.
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
    """Run scorers on the starter benchmark, one process each; `outs`: the folders, one per machine."""
    local, starter = threading.local(), load_benchmark("starter")
    monkeypatch.setattr(evaluate, "this_process", lambda: local.process)

    def run(scorers: Sequence[Counting], *outs: Path, **options: Any) -> list[Any]:
        def work(process: Process) -> WrittenResult:
            local.process = process
            out = outs[process.index * len(outs) // len(scorers)]
            return evaluate.evaluate_scorer(scorers[process.index], "test/counting", starter, out=out, **options)

        return in_threads(len(scorers), work, machines=len(outs))

    return run


def numbers(result: Result) -> dict[str, Any]:
    """Return a result without the time and place of its run."""
    return result.model_dump(exclude={"run", "scores"})


def journal_files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if ".journal" in p.name or ".lock" in p.name)


def test_machines_that_share_no_folder_resume_what_each_of_them_has(run_all: RunAll, tmp_path: Path) -> None:
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
    assert journal_files(tmp_path) == []
    assert not list(two.rglob("*.parquet"))


def test_an_unfinished_run_keeps_its_token_budget(run_all: RunAll, tmp_path: Path) -> None:
    begun, later = Counting(batch_tokens=8, fails_after=5), Counting(batch_tokens=32)
    run_all([begun], tmp_path)
    (refused,) = run_all([Counting(batch_tokens=32, chosen=True)], tmp_path)
    assert "different batch_tokens, plan" in str(refused)
    (finished,) = run_all([later], tmp_path)
    assert (later.batch_tokens, finished.result.run.batch_tokens) == (8, 8)
    alone = Counting(batch_tokens=8)
    run_all([alone], tmp_path / "alone")
    assert begun.scored + later.scored == alone.scored


def test_the_budget_of_another_run_is_not_used(run_all: RunAll, tmp_path: Path) -> None:
    run_all([Counting(batch_tokens=8, fails_after=5)], tmp_path, seed=1)
    (refused,) = run_all([Counting(batch_tokens=32)], tmp_path)
    assert "different batch_tokens, plan, seed" in str(refused)
    (finished,) = run_all([Counting(batch_tokens=32)], tmp_path, overwrite=True)
    assert finished.result.run.batch_tokens == 32


def test_processes_plan_with_their_smallest_budget(run_all: RunAll, tmp_path: Path) -> None:
    scorers = [Counting(batch_tokens=budget) for budget in (32, 8, 16)]
    finished = run_all(scorers, tmp_path)
    assert [scorer.batch_tokens for scorer in scorers] == [8, 8, 8]
    assert finished[0].result.run.batch_tokens == 8


def test_processes_with_different_settings_stop(run_all: RunAll, tmp_path: Path) -> None:
    scorers = [Counting(batch_tokens=budget, chosen=True) for budget in (8, 8, 16)]
    for error in run_all(scorers, tmp_path):
        assert isinstance(error, ScoreTableError)
        assert "have a different batch_tokens, plan" in str(error)
    assert not any(scorer.scored for scorer in scorers)
    assert run_all([Counting(), Counting()], tmp_path)[0].result.run.processes == 2  # and all locks were let go


@pytest.mark.parametrize("held", ["counting.lock", "counting.lock-1"])
def test_a_second_run_of_the_same_model_is_refused_in_all_processes(held: str, run_all: RunAll, tmp_path: Path) -> None:
    lock = tmp_path / "scores/starter/test" / held
    lock.parent.mkdir(parents=True)
    scorers = [Counting(), Counting()]
    with FileLock(lock):
        assert ["another run is writing here" in str(error) for error in run_all(scorers, tmp_path)] == [True, True]
        assert not any(scorer.scored for scorer in scorers)
    run_all(scorers, tmp_path)
    assert journal_files(tmp_path) == []


# ---- real processes

STARTER = ("--benchmark", "starter", "--device", "cpu", "--batch-tokens", "300")
TINY = ("--model", "builtin/tiny-rm", *STARTER)
# one thread, so that one process adds in the same order as each of several
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def launch(
    out: Path, *options: str, count: int, machine: Sequence[str] = (), program: Sequence[str] = ("-m", "rb_core")
) -> subprocess.Popen[str]:
    """Start an evaluation by `count` processes with accelerate's launcher."""
    # --multi_gpu is its option for "as many processes as I say"; with --cpu accelerate starts a single one
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count)]
    settings = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    machine = machine or ("--num_machines", "1", "--main_process_port", "0")
    command = [sys.executable, *launcher, *settings, *machine, *program, "evaluate", *options, "--out", str(out)]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(out: Path, count: int) -> None:
    launcher = launch(out, *TINY, count=count)
    printed = launcher.communicate(timeout=300)[0]
    assert launcher.returncode == 0, printed
    assert printed.count("written to") == 1


def evaluate_here(out: Path) -> None:
    """Evaluate in this process, with the settings of the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        evaluate.evaluate("builtin/tiny-rm", "starter", options=ModelOptions(batch_tokens=300, device="cpu"), out=out)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by one process."""
    out = tmp_path_factory.mktemp("one-process")
    evaluate_here(out)
    return out


def compare(reference: Path, out: Path, count: int) -> None:
    """Assert the same table to the bit, the same numbers, and that no journal is left."""
    (one, _), (other, _) = (read_scores(path / SCORES) for path in (reference, out))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert np.array_equal(one["score"].to_numpy().view("int32"), other["score"].to_numpy().view("int32"))
    results = [read_result(path / RESULT) for path in (reference, out)]
    assert numbers(results[0]) == numbers(results[1])
    assert aggregate.aggregate_scores(out / SCORES) == results[1]
    assert results[1].run is not None
    assert results[1].run.processes == count
    assert journal_files(out) == []


def scored(files: Iterable[Path]) -> list[int]:
    """Return the batches in the whole lines of journal parts, as often as they are there."""
    lines = [line.partition(b" ")[2] for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    return [entry[0] for entry in map(json.loads, lines) if isinstance(entry, list)]


def parts(out: Path) -> list[Path]:
    return sorted((out / SCORES).parent.glob("tiny-rm.journal*"))


def kill_one(out: Path, count: int, rank: int) -> bool:
    """Start a run and kill one of its processes when it has scored a few batches; False if the run was complete."""
    launcher = launch(out, *TINY, count=count)
    own = (out / SCORES).with_suffix(f".journal-{rank}")
    while launcher.poll() is None and not (own.exists() and len(scored([own])) >= 3):
        time.sleep(0.02)
    if launcher.poll() is None:
        workers = psutil.Process(launcher.pid).children()
        next(worker for worker in workers if worker.environ().get("RANK") == str(rank)).kill()
    launcher.communicate(timeout=300)
    return launcher.returncode != 0


def test_a_killed_process_ends_the_run_and_the_next_scores_only_what_is_missing(
    reference: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    while not kill_one(out, 2, 1):
        shutil.rmtree(out)
    links = tmp_path / "links"
    links.mkdir()
    for path in parts(out):  # the same files under names that the run does not remove
        os.link(path, links / path.name)
    before = scored(links.iterdir())
    assert len(list(links.iterdir())) == 2
    assert 3 <= len(before) == len(set(before))
    evaluate_here(out)
    compare(reference, out, 1)
    after = scored(links.iterdir())
    assert len(before) < len(after)
    assert sorted(after) == list(range(len(after)))


def test_two_processes_write_one_result_and_refuse_to_replace_it(tmp_path: Path) -> None:
    out, script = tmp_path / "out", tmp_path / "twice.py"
    script.write_text(
        "import hashlib, os, pathlib, sys\n"
        "from rb_core.cli.main import main, make_app\n"
        "make_app()(sys.argv[1:], standalone_mode=False)\n"
        # the first process deletes the journals, maybe while the other one lists the folder
        "written = pathlib.Path(sys.argv[-1]).rglob('*.*') if os.environ['RANK'] == '0' else ()\n"
        "for file in written:\n"
        "    print('first', file.name, hashlib.sha256(file.read_bytes()).hexdigest())\n"
        "main()\n"
    )
    options = ("--model", "baseline/longest", "--benchmark", "starter")
    launcher = launch(out, *options, count=2, program=(str(script),))
    printed = launcher.communicate(timeout=300)[0]
    assert launcher.returncode != 0
    assert printed.count("written to") == 1
    assert printed.count("error: ") == printed.count("this result exists already") == 1
    assert [line.split()[2] for line in printed.splitlines() if line.startswith("  exitcode")] == ["2", "2"]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 2
    for file in files:
        assert f"first {file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" in printed


# ---- the same, longer


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_give_the_table_of_one(reference: Path, tmp_path: Path, count: int) -> None:
    finish(tmp_path, count)
    compare(reference, tmp_path, count)


@pytest.mark.soak
def test_two_machines_give_the_table_of_one_process(reference: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outs = [tmp_path / name for name in ("one", "two")]
    meeting = ("--num_machines", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", port)
    launchers = [
        launch(out, *TINY, count=4, machine=(*meeting, "--machine_rank", str(rank))) for rank, out in enumerate(outs)
    ]
    printed = [launcher.communicate(timeout=300)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], printed
    compare(reference, outs[0], 4)
    assert not [path for path in outs[1].rglob("*") if path.is_file()]


@pytest.mark.soak
def test_many_random_kills_lose_no_batch(reference: Path, tmp_path: Path) -> None:
    """Killed again and again at any moment, a worker or the whole job, with two or three processes: every run resumes
    where the last one stopped, no batch is scored twice, and the scores are the same to the bit."""
    chance = random.Random(0)
    kills = runs = 0
    while kills < 30:
        runs += 1
        out, count = tmp_path / str(runs), 0
        while not (out / RESULT).exists():
            count = chance.randint(2, 3)
            kills += kill_at_random(out, count, chance)
            entries = scored(parts(out))
            assert len(entries) == len(set(entries))
        if not parts(out):
            compare(reference, out, count)


def kill_at_random(out: Path, count: int, chance: random.Random) -> bool:
    """Start a run; after a random time kill one process of it, or all. False if the run was complete."""
    launcher = launch(out, *TINY, count=count)
    time.sleep(chance.uniform(2, 12))
    with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself in the meantime
        everything = [psutil.Process(launcher.pid), *psutil.Process(launcher.pid).children(recursive=True)]
        for process in everything if chance.random() < 0.3 else everything[-1:]:
            process.kill()
    launcher.communicate(timeout=300)
    return launcher.returncode != 0
