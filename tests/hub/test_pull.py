"""Pulling, with the real client against the local hub."""

from __future__ import annotations

import hashlib
import io
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import HubError, ResultError
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.hub import folders
from rb_core.hub.companions import companion_limit
from rb_core.hub.pull import Pulled, check_out, pull
from rb_core.hub.push import push
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.leaderboard.verify import verify
from rb_core.results.schema import MAX_RESULT_BYTES, to_json
from rb_core.results.storage import read_result
from rb_core.scorers.function import FunctionScorer
from rb_core.space.results_source import ResultsFolder
from tests.benchmarks.preference_files import write_jsonl
from tests.fakes.commands import run_command
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.hub_store import Repo
from tests.fakes.result_sets import (
    BUNDLED,
    KEY,
    REPO,
    RUN,
    add_run,
    as_files,
    assert_whole,
    content,
    published,
    results_of,
    write_set,
)
from tests.hub.conftest import TOKEN
from tests.paths import ROOT


def fetch(repo: ResultsRepo, root: Path, **options: bool) -> Pulled:
    return pull(REPO, root, repo=repo, **options)


# --------------------------------------------------------------------------------------------------------------------
# What comes


def test_what_was_pushed_comes_back_byte_for_byte_and_once(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    """A second pull fetches nothing, and a third what is new."""
    push(REPO, BUNDLED, create=True, repo=repo)
    done = fetch(repo, tmp_path / "pulled")
    there = {path: c for path, c in server.repo(KEY).files().items() if not path.startswith(".git")}
    assert content(tmp_path / "pulled") == there
    bundled = content(BUNDLED)
    mine = {path: c for path, c in bundled.items() if path.startswith(("results/", "scores/")) or companion_limit(path)}
    assert {path: c for path, c in there.items() if not derived_files.is_derived(path)} == mine
    number = len(results_of(bundled))
    assert (done.commit, done.results, done.refused, dict(done.kept)) == (server.repo(KEY).head, number, (), {})
    before = server.count("/resolve/")
    assert fetch(repo, tmp_path / "pulled").written == 0
    assert server.count("/resolve/") == before
    push(REPO, write_set(tmp_path / "set", published("a/new")), repo=repo)
    fetch(repo, tmp_path / "pulled")
    assert (tmp_path / "pulled/results/rewardbench/a/new.json").read_bytes() == to_json(published("a/new"))
    assert_whole(content(tmp_path / "pulled"))


def test_the_tables_load_as_datasets(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    push(REPO, BUNDLED, create=True, repo=repo)
    fetch(repo, tmp_path / "pulled")
    code = f"""
import datasets, pandas
for place in ({str(tmp_path / "pulled")!r}, {REPO!r}):
    for name, rows in (("rewardbench", 212), ("rewardbench-2", 197), ("starter", 6)):
        table = datasets.load_dataset(place, name, split="train")
        assert len(table) == rows, (place, name, len(table))
        assert table["score"][0] >= table["score"][1], table["score"][:2]
boards = pandas.read_json("hf://datasets/{REPO}/leaderboard.json")["boards"]
assert {{"rewardbench", "rewardbench-2", "starter", "themis-code-rewardbench"}} <= {{board["id"] for board in boards}}
one = pandas.read_json("hf://datasets/{REPO}/{RUN}", typ="series")
assert one["model"]["name"] == "baseline/longest"
"""
    environment = server.environment(tmp_path / "home", TOKEN)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_revision_can_be_pulled(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    first = server.add_repo(KEY, as_files(published("a/one"))).head
    server.commit(KEY, as_files(published("a/one"), published("b/two")))
    done = pull(REPO, tmp_path / "old", revision=first, repo=repo)
    assert (done.commit, done.results) == (first, 1)
    assert content(tmp_path / "old") == server.repo(KEY).files(first)
    with pytest.raises(HubError, match="no such repository, revision or file"):
        pull(REPO, tmp_path / "none", revision="nope", repo=repo)
    assert not (tmp_path / "none").exists()


def test_everything_comes_from_one_commit(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    first = as_files(*[published(f"org/model-{i}", 0.1) for i in range(5)])
    server.add_repo(KEY, first)
    original = repo.state

    def state_then_push(revision: str | None = None) -> object:
        found = original(revision)
        server.commit(KEY, as_files(*[published(f"org/model-{i}", 0.9) for i in range(5)]))
        return found

    repo.state = state_then_push  # type: ignore[method-assign,assignment]
    fetch(repo, tmp_path / "pulled")
    assert content(tmp_path / "pulled") == first


# --------------------------------------------------------------------------------------------------------------------
# What is here already


def test_results_of_ones_own_stay_and_are_in_what_is_derived(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one")))
    root = add_run(write_set(tmp_path / "mine", published("b/own")))
    (root / "scores/starter/baseline/other.journal").write_bytes(b"half a run")
    mine = content(root)
    fetch(repo, root)
    after = content(root)
    assert {path: after[path] for path in mine} == mine
    assert len(results_of(after)) == 3
    assert_whole(after)


def test_a_newer_result_here_stays(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    path = "results/rewardbench/a/one.json"
    server.add_repo(KEY, as_files(published("a/one", 0.1, "2026-01-01"), published("b/two")))
    root = write_set(tmp_path / "mine", published("a/one", 0.2, "2026-03-01"))
    done = fetch(repo, root)
    assert "the one on the hub is of 2026-01-01" in done.kept[path]
    assert read_result(root / path).headline == published("a/one", 0.2).headline
    assert (root / "results/rewardbench/b/two.json").exists()
    assert_whole(content(root))
    fetch(repo, root, overwrite=True)
    assert content(root) == server.repo(KEY).files()


def test_an_older_result_here_is_replaced(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, as_files(published("a/one", 0.9, "2026-05-01")))
    root = write_set(tmp_path / "mine", published("a/one", 0.2, "2026-03-01"))
    link = tmp_path / "kept.json"
    link.hardlink_to(root / "results/rewardbench/a/one.json")
    fetch(repo, root)
    assert content(root) == server.repo(KEY).files()
    assert link.read_bytes() == to_json(published("a/one", 0.2, "2026-03-01"))


def test_two_pulls_into_one_folder_do_not_meet(repo: ResultsRepo, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".mine.pull.lock"), pytest.raises(HubError, match="another pull"):
        fetch(repo, tmp_path / "mine")


def test_the_folder_is_exchanged_in_two_steps_where_one_is_not_to_be_had(
    server: Server, repo: ResultsRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchange_at_once", lambda left, right: False)
    server.add_repo(KEY, as_files(published("a/one")))
    root = write_set(tmp_path / "mine", published("b/own"))
    fetch(repo, root)
    assert len(results_of(content(root))) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.pull.lock", "mine"]


# --------------------------------------------------------------------------------------------------------------------
# A repository that means harm

GOOD = as_files(published("good/one", 0.9), published("good/two", 0.8))
BAD = "results/rewardbench/bad/file.json"
SCORES = "scores/rewardbench/bad/file.parquet"


def text_of(**changes: object) -> bytes:
    """A result's JSON at the bad path with some of its values changed."""
    return json.dumps(json.loads(to_json(published("bad/file"))) | changes).encode()


def run_text(scores: bytes = b"", **said: str) -> bytes:
    """A run's result for the bad path that names a score file."""
    run = json.loads((BUNDLED / RUN).read_bytes())
    run["benchmark"]["id"], run["model"]["name"] = "rewardbench", "bad/file"
    run["scores"] = {"path": SCORES, "sha256": hashlib.sha256(scores).hexdigest()} | said
    return json.dumps(run).encode()


def parquet(**columns: list[object]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def forged(path: str, text: bytes = b"{}", **more: object) -> Callable[[Repo], None]:
    return lambda repo: repo.forge(path, text, **more) and None  # type: ignore[arg-type,func-returns-value]


def with_scores(scores: bytes, said: bytes | None = None, **more: object) -> Callable[[Repo], None]:
    """A run whose score file has this content; `said`: the content whose hash the result names."""

    def place(repo: Repo) -> None:
        repo.forge(BAD, run_text(scores if said is None else said))
        repo.forge(SCORES, scores, lfs=True, **more)  # type: ignore[arg-type]

    return place


HOSTILE: dict[str, tuple[Callable[[Repo], None], str]] = {
    "traversal": (forged("../evil.json"), "../evil.json"),
    "traversal in results": (forged("results/../../evil.json"), "results/../../evil.json"),
    "traversal in the name": (forged("results/rewardbench/../../../evil.json"), "results/rewardbench/../../../evil"),
    "traversal in scores": (forged("scores/x/../../../evil.parquet"), "scores/x/../../../evil.parquet"),
    "traversal in tables": (forged("tables/../../evil.parquet"), "tables/../../evil.parquet"),
    "absolute": (forged("/tmp/evil-absolute.json"), "/tmp/evil-absolute.json"),  # noqa: S108 - it must not be written
    "absolute in results": (forged("results//etc/evil.json"), "results//etc/evil.json"),
    "backslashes": (forged("results\\..\\..\\evil.json"), "evil.json"),
    "backslashes in a name": (forged("results/rewardbench/..\\..\\evil.json"), "evil.json"),
    "drive": (forged("results/rewardbench/C:/evil.json"), "C:/evil.json"),
    "hidden": (forged("results/rewardbench/.git/config.json"), ".git/config.json"),
    "control characters": (forged("results/rewardbench/a/b\n\x1b[31mred.json"), r"a/b\n\x1b[31mred"),
    "too deep": (forged("results/rewardbench/a/b/c/d.json"), "a/b/c/d.json"),
    "another kind of file": (forged("results/rewardbench/a/code.py", b"import os"), "code.py"),
    "a pickle as scores": (forged("scores/rewardbench/a/b.pkl", b"\x80\x04"), "b.pkl"),
    "symlink": (forged(BAD, symlink="/etc/passwd"), BAD),
    "2 GB in the listing": (forged(BAD, text_of(), size=2 * 1024**3), "2147483648 bytes"),
    "more than it says": (forged(BAD, text_of() + b" " * 10_000_000, size=500), BAD),
    "negative size": (forged(BAD, text_of(), size=-1), "-1 bytes"),
    "a large result": (forged(BAD, b" " * (MAX_RESULT_BYTES + 1)), BAD),
    "invalid JSON": (forged(BAD, b'{"schema_version": 1,'), "not readable JSON"),
    "no text": (forged(BAD, b"\xff\xfe\x00{"), BAD),
    "NaN": (forged(BAD, to_json(published("bad/file")).replace(b"0.5", b"NaN")), "headline.value"),
    "infinity": (forged(BAD, to_json(published("bad/file")).replace(b"0.5", b"1e999")), "headline.value"),
    "unknown schema version": (forged(BAD, text_of(schema_version=2)), "schema version 2"),
    "a version that is a list": (forged(BAD, text_of(schema_version=[1])), "schema version [1]"),
    "unknown field": (forged(BAD, text_of(__class__="os.system")), "__class__"),
    "no object": (forged(BAD, b"[1, 2]"), "schema version None"),
    "deep nesting": (forged(BAD, b"[" * 200_000 + b"]" * 200_000), BAD),
    "a huge number": (forged(BAD, text_of(limit=0).replace(b'"limit": 0', b'"limit": ' + b"9" * 5000)), BAD),
    "another model's result": (forged(BAD, to_json(published("good/one", 1.0))), "belongs to"),
    "a name with a path": (forged(BAD, text_of(model={"name": "../../x", "kind": "classifier"})), "model.name"),
    "wrong hash": (forged(BAD, text_of(), etag="0" * 40), "another hash"),
    "scores with a wrong hash": (with_scores(parquet(a=[1]), b"other"), "another score file"),
    "scores that are no parquet": (with_scores(b"PAR1 not at all PAR1"), "not a readable parquet"),
    "scores of other columns": (with_scores(parquet(a=[1])), "lacks the columns"),
    "scores that claim 2 GB": (with_scores(parquet(a=[1]), size=2 * 1024**3), "2147483648 bytes"),
    "scores without a result": (forged(SCORES, parquet(a=[1]), lfs=True), "no result was derived from it"),
    "scores missing": (forged(BAD, run_text()), "is missing or was refused"),
    "scores elsewhere": (forged(BAD, run_text(path="/etc/passwd")), "scores.path"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name(server: Server, repo: ResultsRepo, tmp_path: Path, name: str) -> None:
    place, said = HOSTILE[name]
    place(server.add_repo(KEY, GOOD))
    outside = tmp_path / "a/b/c"
    root = outside / "pulled"
    done = fetch(repo, root)
    assert any(said in message for message in done.refused), done.refused
    assert all("\n" not in message and "\x1b" not in message for message in done.refused)
    assert content(root) == GOOD
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in written if not path.startswith("a/b/c/pulled/")} <= {"a/b/c/.pulled.pull.lock"}
    assert not Path("/tmp/evil-absolute.json").exists()  # noqa: S108
    assert not any(path.is_symlink() for path in root.rglob("*"))


def test_several_bad_files_are_all_named(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    there = server.add_repo(KEY, GOOD)
    for i in range(20):
        there.forge(f"results/rewardbench/bad/file-{i}.json", b"{")
    there.forge("../evil.json")
    done = fetch(repo, tmp_path / "pulled")
    assert len(done.refused) == 21
    assert content(tmp_path / "pulled") == GOOD


def test_derived_files_that_lie_are_replaced_by_our_own(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    lie = as_files(published("good/one", 0.1))
    server.add_repo(KEY, GOOD | {path: text for path, text in lie.items() if derived_files.is_derived(path)})
    fetch(repo, tmp_path / "pulled")
    assert content(tmp_path / "pulled") == GOOD


def test_the_card_of_a_benchmark_goes_up_and_down_with_its_results(
    server: Server, repo: ResultsRepo, tmp_path: Path
) -> None:
    """From the pulled card and the data alone, others get the same benchmark; a forged card does not come down."""
    rows = [{"id": str(i), "subset": "ab"[i % 2], "prompt": f"p{i}", "chosen": "1", "rejected": "0"} for i in range(4)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    card = tmp_path / "card.yaml"
    card.write_text("{id: mine, title: Mine, data: rows.jsonl, sections: {Late: [b], Early: [a]}}", encoding="utf-8")
    scorer = FunctionScorer(lambda prompt, text: float(text))
    name = evaluate_scorer(scorer, "me/one", load_benchmark(str(card)), out=tmp_path / "mine").result.benchmark.id
    push(REPO, tmp_path / "mine", create=True, repo=repo)
    place = f"benchmarks/{name}.yaml"
    assert place in server.repo(KEY).files()
    pulled = tmp_path / "pulled"
    assert fetch(repo, pulled).refused == ()
    again = load_benchmark(str(pulled / place), data=tmp_path / "rows.jsonl")
    assert again.spec == load_benchmark(str(card)).spec
    assert [section.name for section in again.spec.sections] == ["Late", "Early"]
    assert verify(pulled, whole=True).differences == ()
    assert ResultsFolder(pulled).boards()[name].title == "Mine"
    forged = (pulled / place).read_text(encoding="utf-8").replace("Late", "Other")
    server.repo(KEY).forge(place, forged.encode())
    assert fetch(repo, pulled).written == 0
    check_out(repo, tmp_path / "out")
    assert [difference.path for difference in verify(tmp_path / "out", whole=True).differences] == [place]


@pytest.mark.parametrize("kind", ["500", "503", "429", "cut-down", "wrong-hash", "stall"])
def test_a_fault_on_the_way_down_passes(server: Server, repo: ResultsRepo, tmp_path: Path, kind: str) -> None:
    server.add_repo(KEY, GOOD)
    for at in (1, 3, 4):
        server.fail(Fault(kind, at=at, seconds=3 if kind == "stall" else 0.1))
    done = fetch(repo, tmp_path / "pulled")
    assert done.refused == ()
    assert content(tmp_path / "pulled") == GOOD


def test_a_hub_that_is_gone_leaves_the_folder_as_it_was(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    server.add_repo(KEY, GOOD)
    root = write_set(tmp_path / "mine", published("b/own"))
    before = content(root)
    server.fail(Fault("503", times=1000))
    with pytest.raises(HubError, match="try again later") as caught:
        fetch(repo, root)
    assert "\n" not in str(caught.value)
    assert content(root) == before


def test_a_disk_that_is_full_leaves_the_folder_as_it_was(
    server: Server, repo: ResultsRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo(KEY, GOOD)
    root = write_set(tmp_path / "mine", published("b/own"))
    before = content(root)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultError, match="No space left"):
        fetch(repo, root)
    assert content(root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.pull.lock", "mine"]


# --------------------------------------------------------------------------------------------------------------------
# Kills and readers


@pytest.mark.parametrize("number", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_a_killed_pull_leaves_the_old_set_or_the_new(
    server: Server, repo: ResultsRepo, tmp_path: Path, number: int
) -> None:
    dice = random.Random(number)
    sets = [
        as_files(*[published(f"org/model-{j}", (i + 1) / 10, f"2026-01-{i + 1:02}") for j in range(60)]) for i in (0, 1)
    ]
    there = server.add_repo(KEY, sets[0])
    commits = [there.head, server.commit(KEY, sets[1]).oid]
    root = tmp_path / "pulled"
    arguments = f"{REPO!r}, Path({str(root)!r}), overwrite=True"
    seen = []
    for i in range(number):
        code = (
            "from pathlib import Path; import huggingface_hub.hf_api; from rb_core.hub.pull import pull\n"
            f"print('ready', flush=True); pull({arguments}, revision={commits[i % 2]!r})"
        )
        before = content(root) if root.exists() else {}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=server.environment(tmp_path / "home", TOKEN),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(dice.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        after = content(root) if root.exists() else {}
        assert after in (before, sets[i % 2])
        seen.append(after == sets[i % 2])
        if i % 2 == 1:
            pull(REPO, root, revision=commits[i % 2], overwrite=True, repo=repo)
            assert content(root) == sets[i % 2]
            assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".pulled")) == [".pulled.pull.lock"]
    assert len(set(seen)) == 2 or number < 50  # some kills came before the exchange, and some after


def test_a_reader_sees_one_set_at_any_time(server: Server, repo: ResultsRepo, tmp_path: Path) -> None:
    sets = [as_files(*[published(f"org/model-{j}", (i + 1) / 10) for j in range(20)]) for i in (0, 1)]
    there = server.add_repo(KEY, sets[0])
    commits = [there.head, server.commit(KEY, sets[1]).oid]
    root = tmp_path / "pulled"
    pull(REPO, root, revision=commits[0], repo=repo)
    missing: list[float] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            if not (root / "results/rewardbench/org/model-7.json").exists():
                missing.append(time.monotonic())

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(20):
        pull(REPO, root, revision=commits[(i + 1) % 2], overwrite=True, repo=repo)
        assert content(root) == sets[(i + 1) % 2]
    ended.set()
    thread.join()
    assert missing == []


def test_the_command_names_commit_and_refusals(server: Server, tmp_path: Path) -> None:
    there = server.add_repo(KEY, GOOD)
    command = ["sync", "pull", "--repo", REPO, "--out", str(tmp_path / "pulled")]
    environment = server.environment(tmp_path / "home", TOKEN, COLUMNS="200")
    done = run_command(command, environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{REPO} at {there.head[:10]}" in done.stdout
    there.forge(BAD, b"{")
    done = run_command(command, environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"refused: '{BAD}': not readable JSON")
