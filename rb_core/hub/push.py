"""Pushing results: one commit on top of what lies there, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rb_core.errors import HubError, ResultError, ScoreTableError
from rb_core.hub.client import TRIES, client_errors, explained, is_missing, is_passing, retrying, status_of, wait
from rb_core.hub.repository import ResultsRepo, State
from rb_core.leaderboard import derived_files
from rb_core.results.schema import Result, parse_result
from rb_core.results.storage import read_results, why_not_replace

EMPTY = State("", None, {})


@dataclass(frozen=True)
class LocalResult:
    """A result here: its file's content, and its score file where it has one."""

    result: Result
    content: bytes
    scores: Path | None


@dataclass(frozen=True)
class PushPlan:
    """What a push would do to a repository at a commit, by path.

    kept: results there that stay, each with the reason; unchanged: how many are there already; files: everything that
    goes into the commit, derived files included; a path stands for a file that is read when it is sent.
    """

    commit: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    kept: Mapping[str, str]
    unchanged: int
    files: Mapping[str, bytes | Path]

    def lines(self) -> list[str]:
        """The plan for people: replaced and kept results by name, added ones by number for each benchmark."""
        counts: dict[str, int] = {}
        for path in self.added:
            counts[path.split("/")[1]] = counts.get(path.split("/")[1], 0) + 1
        lines = [f"add {count} results of {benchmark}" for benchmark, count in counts.items()]
        lines += [f"replace {path}" for path in self.replaced]
        lines += [f"keep {path}: {reason}; replace it with --overwrite" for path, reason in self.kept.items()]
        scores = sum(path.startswith("scores/") for path in self.files)
        others = sorted(path for path in self.files if derived_files.is_derived(path))
        lines += [f"send {scores} score files"] if scores else []
        lines += [f"derive {', '.join(others)}"] if others else []
        return [*lines, f"{self.unchanged} results are there already"]

    def title(self) -> str:
        """The commit's title. It ends with a mark of the content, by which a pull request is known again."""
        mark = hashlib.sha256()
        for path in sorted(path for path in self.files if not derived_files.is_derived(path)):
            content = self.files[path]
            mark.update(path.encode() + hashlib.sha256(content if isinstance(content, bytes) else b"").digest())
        number = len(self.added) + len(self.replaced)
        what = f"{number} result{'s' * (number != 1)}" if number else "Derived files"
        return f"{what} ({mark.hexdigest()[:8]})"


@dataclass(frozen=True)
class Pushed:
    """What became of a push: the plan, and the address of the commit or pull request; None when nothing was to do."""

    plan: PushPlan
    url: str | None


def push(
    name: str,
    root: Path,
    *,
    create: bool = False,
    private: bool = False,
    pr: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    show: Callable[[PushPlan], None] = lambda plan: None,
    repo: ResultsRepo | None = None,
) -> Pushed:
    """Bring the results below `root`, their scores and what is derived from them to a dataset repository.

    One commit on top of the one that was read; when somebody else pushed in between, everything is read and derived
    anew. Nothing is deleted, and no result replaced by an older or a lesser one unless `overwrite` says so. `show` gets
    each plan before it is carried out. Raises ResultError or ScoreTableError for a file here that is not valid,
    HubError when the hub refuses or stays out of reach.
    """
    repo = repo or ResultsRepo(name)
    local = read_local(root)
    if create and not dry_run:
        retrying(lambda: _create(repo, private), f"creating {name}")
    shown: PushPlan | None = None
    for number in range(1, TRIES + 1):
        state = retrying(lambda: _state(repo, missing_ok=create and dry_run), f"reading {name}")
        plan = plan_push(repo, state, local, overwrite=overwrite)
        if plan != shown:
            show(plan)
            shown = plan
        if not plan.files or dry_run:
            return Pushed(plan, _landed(repo, state) if number > 1 and not plan.files else None)
        try:
            return Pushed(plan, _open_pull_request(repo, plan) if pr else _commit(repo, plan))
        except client_errors() as error:
            if number == TRIES or not is_passing(error):
                outcome = "nothing was changed there" if status_of(error) else "push again to see whether it arrived"
                raise HubError(f"pushing to {name}: {explained(error)}; {outcome}") from None
            wait(number, error)
    raise AssertionError("unreachable: the last try returns or raises")


def read_local(root: Path) -> dict[str, LocalResult]:
    """The results below a root by path, with their score files. Raises for the first that is not valid."""
    results, refused = read_results(root)
    if refused:
        raise ResultError(f"{len(refused)} of the files to push are no results; the first: {refused[0]}")
    if not results:
        raise ResultError(f"{root}: there are no results below it")
    found: dict[str, LocalResult] = {}
    for result in results:
        path = result.path().as_posix()
        content = (root / path).read_bytes()
        found[path] = LocalResult(parse_result(content, path), content, _score_file(root, result))
    return found


def _score_file(root: Path, result: Result) -> Path | None:
    if result.scores is None:
        return None
    path = root / result.scores_path()
    if not path.is_file():
        raise ScoreTableError(f"{path}: {result.path()} says it was derived from this file, which is not there")
    if hashlib.sha256(path.read_bytes()).hexdigest() != result.scores.sha256:
        raise ScoreTableError(f"{path}: is not the file that {result.path()} was derived from; aggregate it again")
    return path


# --------------------------------------------------------------------------------------------------------------------
# The plan


def plan_push(repo: ResultsRepo, state: State, local: Mapping[str, LocalResult], *, overwrite: bool) -> PushPlan:
    """Compare by content hash, decide for each result, and derive what follows from the whole."""
    there = read_remote(repo, state, local)
    added, replaced, kept, unchanged = [], [], {}, 0
    files: dict[str, bytes | Path] = {}
    for path, mine in local.items():
        if path not in state.files:
            added.append(path)
        elif there.get(path) == mine.content:
            unchanged += 1
        elif reason := None if overwrite else _reason_to_keep(mine.result, there.get(path), path):
            kept[path] = reason
            continue
        else:
            replaced.append(path)
        if there.get(path) != mine.content:
            files[path] = mine.content
        if mine.scores is not None and not _has_scores(state, mine.result):
            files[mine.result.scores_path().as_posix()] = mine.scores
    merged = {**there, **{path: content for path, content in files.items() if isinstance(content, bytes)}}
    files |= _derived(repo, state, merged)
    return PushPlan(state.commit, tuple(added), tuple(replaced), kept, unchanged, files)


def read_remote(repo: ResultsRepo, state: State, local: Mapping[str, LocalResult]) -> dict[str, bytes]:
    """The result files of a state by path, those that are results. Raises HubError when one cannot be fetched."""
    found, refused = repo.read(state, state.results(), lambda path: local[path].content if path in local else None)
    if refused:
        raise HubError(f"{repo.name}: {len(refused)} of its results cannot be read; the first: {refused[0]}")
    return {path: content for path, content in found.items() if _is_result(content, path)}


def _is_result(content: bytes, path: str) -> bool:
    try:
        return parse_result(content, path).path().as_posix() == path
    except ResultError:
        return False


def _reason_to_keep(mine: Result, there: bytes | None, path: str) -> str | None:
    if there is None:
        return "what lies there is no result that this version can read"
    return why_not_replace(mine, parse_result(there, path))


def _has_scores(state: State, result: Result) -> bool:
    entry = state.files.get(result.scores_path().as_posix())
    return entry is not None and result.scores is not None and entry.sha256 == result.scores.sha256


def _derived(repo: ResultsRepo, state: State, merged: Mapping[str, bytes]) -> dict[str, bytes]:
    """The derived files that the commit has to bring: none where those there come from the very same results."""
    oids = {path: derived_files.git_oid(content) for path, content in merged.items()}
    if _derived_from(repo, state) == derived_files.digest(oids):
        return {}
    return {
        path: content
        for path, content in derived_files.derive(merged, repo.name).items()
        if path not in state.files or not state.files[path].holds(content)
    }


def _derived_from(repo: ResultsRepo, state: State) -> str | None:
    """The digest of the results that the repository's derived files come from; None where another version made them."""
    entry = state.files.get(derived_files.LEADERBOARD)
    if entry is None:
        return None
    ((_, content),) = repo.fetch_all([entry], state.commit)
    if isinstance(content, HubError):
        raise content
    try:
        return derived_files.read_leaderboard(content)[1]
    except ResultError:
        return None


# --------------------------------------------------------------------------------------------------------------------
# Carrying it out


def _create(repo: ResultsRepo, private: bool) -> None:
    repo.api.create_repo(repo.name, repo_type="dataset", private=private, exist_ok=True)


def _state(repo: ResultsRepo, *, missing_ok: bool) -> State:
    try:
        return repo.state()
    except client_errors() as error:
        if not is_missing(error):
            raise
        if missing_ok:
            return EMPTY
        raise HubError(
            f"{repo.name}: there is no such dataset repository, or the token cannot see it; make it with --create"
        ) from None


def _commit(repo: ResultsRepo, plan: PushPlan, *, pr: bool = False) -> str:
    from huggingface_hub import CommitOperationAdd

    info = repo.api.create_commit(
        repo.name,
        [CommitOperationAdd(path, content) for path, content in plan.files.items()],
        commit_message=plan.title(),
        repo_type="dataset",
        parent_commit=plan.commit or None,
        create_pr=pr,
    )
    return str(info.pr_url if pr else info.commit_url)


def _open_pull_request(repo: ResultsRepo, plan: PushPlan) -> str:
    """The address of the pull request with this plan: an open one, else a new one."""
    for each in repo.api.get_repo_discussions(repo.name, repo_type="dataset"):
        if each.is_pull_request and each.status in ("open", "draft") and each.title == plan.title():
            return str(each.url)
    return _commit(repo, plan, pr=True)


def _landed(repo: ResultsRepo, state: State) -> str:
    """The address of the commit that has all of it, after an answer was lost on its way here."""
    return f"{repo.api.endpoint}/datasets/{repo.name}/commit/{state.commit}"
