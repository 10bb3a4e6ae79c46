"""Sets of results to push and to pull, and what must hold of a repository that has them."""

from __future__ import annotations

import shutil
from pathlib import Path

from rb_core.leaderboard import derived_files
from rb_core.leaderboard.model_registry import REGISTRY_FILE
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result, parse_result, to_json
from rb_core.results.storage import write_result
from tests.fakes.hub_store import Repo
from tests.paths import BUNDLED

REPO = "me/results"


KEY = f"datasets/{REPO}"


RUN = "results/starter/baseline/longest.json"


RUN_SCORES = "scores/starter/baseline/longest.parquet"


def published(name: str, value: float = 0.5, retrieved: str = "2026-01-01") -> Result:
    """A published result with one section."""
    return Result(
        status="published",
        benchmark=BenchmarkRef(id="rewardbench", title="RewardBench", source="somewhere"),
        model=ModelRef(name=name, kind="classifier"),
        headline=Estimate(value=value),
        sections={"Chat": Estimate(value=value)},
        published=Published(source="somewhere", retrieved=retrieved),
    )


def write_set(root: Path, *results: Result) -> Path:
    """Write results below a root; those that stand there are replaced."""
    for result in results:
        write_result(root, result, overwrite=True)
    return root


def add_run(root: Path, path: str = RUN) -> Path:
    """Copy a bundled run with its score file below a root."""
    for name in (path, path.replace("results/", "scores/").replace(".json", ".parquet")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUNDLED / name, root / name)
    return root


def content(root: Path) -> dict[str, bytes]:
    """Every file below a root by path."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def results_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: text for path, text in files.items() if path.startswith("results/")}


def as_files(*results: Result) -> dict[str, bytes]:
    """Results as an honest repository holds them, with what is derived from them."""
    files = {result.path().as_posix(): to_json(result) for result in results}
    return files | derived_files.derive(files, REPO)


def assert_whole(files: dict[str, bytes]) -> None:
    """A commit is whole: its derived files come from its results, and every run has its scores."""
    results = results_of(files)
    if not results:
        return
    boards, digest = derived_files.read_leaderboard(files[derived_files.LEADERBOARD])
    registry = {path: text for path, text in files.items() if path == REGISTRY_FILE}
    assert digest == derived_files.results_digest(results | registry)
    for benchmark in boards:
        texts = derived_files.results_in_table(files[derived_files.table_path(benchmark)], benchmark).values()
        assert sorted(texts) == sorted(t for path, t in results.items() if path.split("/")[1] == benchmark)
    for path, text in results.items():
        result = parse_result(text, path)
        assert result.scores is None or result.scores_path().as_posix() in files


def assert_history_whole(repo: Repo) -> None:
    """Every commit that the repository ever had on main is whole, and none lost a result."""
    before: set[str] = set()
    for commit in repo.commits:
        files = repo.files(commit.oid)
        assert_whole(files)
        assert before <= results_of(files).keys()
        before = set(results_of(files))
