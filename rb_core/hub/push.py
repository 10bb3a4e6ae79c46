"""Push results to a dataset repository in one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rb_core.errors import HubError, ResultError, ScoreTableError
from rb_core.hub.client import TRIES, can_retry, client_errors, explain, is_missing, retrying, status_of, wait
from rb_core.hub.companions import DIFFERS, companion_limit, read_companions, valid_companions
from rb_core.hub.repository import RepositoryState, ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.leaderboard.model_registry import REGISTRY_FILE
from rb_core.results.schema import Result, parse_result
from rb_core.results.storage import keep_together, read_results, reason_not_to_replace


@dataclass(frozen=True)
class LocalResult:
    """A result to push, with the content of its file and the path of its score file (None for published results)."""

    result: Result
    content: bytes
    scores: Path | None


@dataclass(frozen=True)
class PushPlan:
    """The changes that a push makes to a repository at `commit`. All keys are paths in the repository.

    kept: results in the repository that stay, with the reason; unchanged: number of results that are there already;
    files: everything that the commit adds, derived files included; a `Path` is read when the file is sent.
    """

    commit: str
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    kept: Mapping[str, str]
    unchanged: int
    files: Mapping[str, bytes | Path]

    def lines(self) -> list[str]:
        """Return the plan as text: replaced and kept results by name, added ones as counts by benchmark."""
        counts: dict[str, int] = {}
        for path in self.added:
            benchmark = path.split("/")[1]
            counts[benchmark] = counts.get(benchmark, 0) + 1
        lines = [f"add {counted(count, 'result')} of {benchmark}" for benchmark, count in counts.items()]
        lines += [f"replace {path}" for path in self.replaced]
        lines += [f"keep {path}: {reason}; replace it with --overwrite" for path, reason in self.kept.items()]
        num_scores = sum(path.startswith("scores/") for path in self.files)
        derived = sorted(path for path in self.files if derived_files.is_derived(path))
        lines += [f"upload {counted(num_scores, 'score file')}"] if num_scores else []
        companions = sorted(path for path in self.files if companion_limit(path) is not None)
        lines += [f"upload {', '.join(companions)}"] if companions else []
        lines += [f"generate {', '.join(derived)}"] if derived else []
        return [*lines, f"{counted(self.unchanged, 'result')} already there"]

    def title(self) -> str:
        """Return the commit's title. It ends with a digest of the content, by which a pull request is recognised."""
        digest = hashlib.sha256()
        for path in sorted(path for path in self.files if not derived_files.is_derived(path)):
            content = self.files[path]
            digest.update(path.encode() + hashlib.sha256(content if isinstance(content, bytes) else b"").digest())
        number = len(self.added) + len(self.replaced)
        subject = counted(number, "result") if number else "Derived files"
        return f"{subject} ({digest.hexdigest()[:8]})"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Pushed:
    """A finished push: its plan, and the address of the commit or pull request (None when nothing was sent)."""

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
    """Push the results below `root`, their scores and the files derived from them to a dataset repository.

    Makes one commit on top of the one it read. If somebody else pushes in between, everything is read and derived
    again. Nothing is deleted, and no result is replaced by an older or lesser one unless `overwrite` is set. `show` is
    called with each plan before it is carried out.

    Raises ResultError or ScoreTableError for an invalid local file, HubError when the hub refuses or does not answer.
    """
    repo = repo or ResultsRepo(name)
    local, companions = read_local(root), read_companions(root)
    if not local and not companions:
        raise ResultError(f"{root}: no results found below this folder")
    if create and not dry_run:
        retrying(lambda: _create(repo, private), f"creating {name}")
    shown: PushPlan | None = None
    for attempt in range(1, TRIES + 1):
        state = retrying(lambda: _read_state(repo, missing_ok=create and dry_run), f"reading {name}")
        plan = plan_push(repo, state, local, companions, overwrite=overwrite)
        if plan != shown:
            show(plan)
            shown = plan
        if not plan.files or dry_run:
            # An earlier attempt arrived although its answer was lost.
            arrived = attempt > 1 and not plan.files
            return Pushed(plan, repo.commit_url(state.commit) if arrived else None)
        try:
            return Pushed(plan, _open_pull_request(repo, plan) if pr else _commit(repo, plan))
        except client_errors() as error:
            if attempt == TRIES or not can_retry(error):
                outcome = "nothing was changed there" if status_of(error) else "push again to see whether it arrived"
                raise HubError(f"pushing to {name}: {explain(error)}; {outcome}") from None
            wait(attempt, error)
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_local(root: Path) -> dict[str, LocalResult]:
    """Read the results below a root by path, with their score files. Raises for the first invalid file."""
    results, refused = read_results(root)
    if refused:
        raise ResultError(f"{len(refused)} of the files to push are not valid results; the first: {refused[0]}")
    local: dict[str, LocalResult] = {}
    for result in results:
        path = result.path().as_posix()
        content = (root / path).read_bytes()
        local[path] = LocalResult(parse_result(content, path), content, _checked_score_file(root, result))
    return local


def _checked_score_file(root: Path, result: Result) -> Path | None:
    if result.scores is None:
        return None
    path = root / result.scores_path()
    if not path.is_file():
        raise ScoreTableError(f"{path}: missing; {result.path()} was derived from it")
    if hashlib.sha256(path.read_bytes()).hexdigest() != result.scores.sha256:
        raise ScoreTableError(f"{path}: is not the file that {result.path()} was derived from; run aggregate again")
    return path


def plan_push(
    repo: ResultsRepo,
    state: RepositoryState,
    local: Mapping[str, LocalResult],
    companions: Mapping[str, bytes],
    *,
    overwrite: bool,
) -> PushPlan:
    """Compare results by content, decide for each whether to send it, and derive the files that follow from all."""
    remote = read_remote(repo, state, local)
    added, replaced, unchanged = [], [], 0
    kept = {} if overwrite else _kept(state, remote, local)
    files: dict[str, bytes | Path] = {}
    for path, mine in local.items():
        if path in kept:
            continue
        if path not in state.files:
            added.append(path)
        elif remote.get(path) == mine.content:
            unchanged += 1
        else:
            replaced.append(path)
        if remote.get(path) != mine.content:
            files[path] = mine.content
        if mine.scores is not None and not _has_scores(state, mine.result):
            files[mine.result.scores_path().as_posix()] = mine.scores
    merged = {**remote, **{path: content for path, content in files.items() if isinstance(content, bytes)}}
    for path, content in companions.items():
        if path not in state.files or (overwrite and not state.files[path].holds(content)):
            files[path] = content
        elif not state.files[path].holds(content):
            kept[path] = DIFFERS
    merged |= _registry(repo, state, files)
    files |= _outdated_derived_files(repo, state, merged)
    return PushPlan(state.commit, tuple(added), tuple(replaced), kept, unchanged, files)


def _registry(repo: ResultsRepo, state: RepositoryState, sent: Mapping[str, bytes | Path]) -> dict[str, bytes]:
    """Return the registry of models that the repository will have, by its path; empty if none that can be read."""
    content = sent.get(REGISTRY_FILE)
    if content is None and REGISTRY_FILE in state.files:
        content = repo.fetch(state.files[REGISTRY_FILE], state.commit)
    valid, _ = valid_companions({REGISTRY_FILE: content} if isinstance(content, bytes) else {})
    return valid


def read_remote(repo: ResultsRepo, state: RepositoryState, local: Mapping[str, LocalResult]) -> dict[str, bytes]:
    """Return the valid result files of a repository by path. Raises HubError when one cannot be fetched."""
    contents, refused = repo.read(state, state.results(), lambda path: local[path].content if path in local else None)
    if refused:
        raise HubError(f"{repo.name}: {len(refused)} of its results cannot be read; the first: {refused[0]}")
    return {path: content for path, content in contents.items() if _is_result(content, path)}


def _is_result(content: bytes, path: str) -> bool:
    try:
        return parse_result(content, path).path().as_posix() == path
    except ResultError:
        return False


def _kept(state: RepositoryState, remote: Mapping[str, bytes], local: Mapping[str, LocalResult]) -> dict[str, str]:
    """Return the results in the repository that local ones do not replace, with the reason."""
    kept: dict[str, str] = {}
    for path, mine in local.items():
        if path in state.files and remote.get(path) != mine.content:
            reason = _reason_to_keep(mine.result, remote.get(path), path)
            kept |= {path: reason} if reason else {}
    return keep_together(kept, {path: mine.result for path, mine in local.items()})


def _reason_to_keep(mine: Result, remote: bytes | None, path: str) -> str | None:
    if remote is None:
        return "the file there is not a result that this version can read"
    return reason_not_to_replace(mine, parse_result(remote, path))


def _has_scores(state: RepositoryState, result: Result) -> bool:
    entry = state.files.get(result.scores_path().as_posix())
    return entry is not None and result.scores is not None and entry.sha256 == result.scores.sha256


def _outdated_derived_files(
    repo: ResultsRepo, state: RepositoryState, results: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return the derived files to send; none if those in the repository were derived from exactly these results."""
    if _derived_from(repo, state) == derived_files.results_digest(results):
        return {}
    return {
        path: content
        for path, content in derived_files.derive(results, repo.name).items()
        if path not in state.files or not state.files[path].holds(content)
    }


def _derived_from(repo: ResultsRepo, state: RepositoryState) -> str | None:
    """Return the digest of the results that the repository's derived files come from; None if it cannot be read."""
    entry = state.files.get(derived_files.LEADERBOARD)
    if entry is None:
        return None
    ((_, content),) = repo.fetch_all([entry], state.commit)
    if isinstance(content, HubError):
        raise content
    try:
        return derived_files.read_leaderboard(content)[1]
    except ResultError:  # made by another version of this package
        return None


def _create(repo: ResultsRepo, private: bool) -> None:
    repo.api.create_repo(repo.name, repo_type="dataset", private=private, exist_ok=True)


def _read_state(repo: ResultsRepo, *, missing_ok: bool) -> RepositoryState:
    try:
        return repo.state()
    except client_errors() as error:
        if not is_missing(error):
            raise
        if missing_ok:
            return RepositoryState("", None, {})
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
    """Return the address of the pull request with this plan: an open one, else a new one."""
    for discussion in repo.api.get_repo_discussions(repo.name, repo_type="dataset"):
        is_open = discussion.is_pull_request and discussion.status in ("open", "draft")
        if is_open and discussion.title == plan.title():
            return str(discussion.url)
    return _commit(repo, plan, pr=True)
