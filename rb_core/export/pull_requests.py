"""Plan a pull request on a model's repository and open it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rb_core.errors import ResultError, first_line
from rb_core.export.hub_formats import Exported, entry_paths, hub_files, model_index
from rb_core.export.model_cards import CARD, edited_card
from rb_core.export.selection import check_exportable
from rb_core.hub.client import explaining_errors

PULL_REQUEST = "Add evaluation results on preference benchmarks"
_ADVICE: Mapping[int | None, str] = {
    # Trying again is safe: an open pull request with the same files is found.
    None: "check the connection and try again",
    401: "the hub does not know the token; `hf auth login` with one that may open pull requests there",
    403: "the token may not do this; `hf auth login` with one that may open pull requests there",
}


@dataclass(frozen=True)
class PullRequestPlan:
    """A pull request against main at commit `base`: the files by path that main lacks or has with other content.

    existing: the address of an open pull request with exactly these files.
    """

    repo: str
    base: str
    files: Mapping[str, bytes]
    existing: str | None = None


def target_repository(exported: Exported, repo: str | None) -> str:
    """Return the model repository that results are pushed to.

    Raises ResultError for results of a local folder, and for weights from another repository than the model's name,
    unless `repo` names one: evaluations on a model's page have to be about that model.
    """
    for result in exported.results:
        model = result.model
        if result.run is not None and model.source is None:
            raise ResultError(
                f"{exported.model} on {result.benchmark.id} was loaded from a local folder or function, which is not "
                "pushed; evaluate the model from the hub first"
            )
        if result.run is not None and repo is None and model.source != exported.model:
            raise ResultError(
                f"the weights evaluated as {exported.model} are {model.source}: pass --repo {model.source}"
            )
    return check_exportable(repo or exported.model)


def plan_pull_request(exported: Exported, repo: str) -> PullRequestPlan:
    """Plan a pull request on a model repository. Reads from the hub and changes nothing there.

    Raises HubError, in one line, when the hub refuses or does not answer.
    """
    with explaining_errors(repo, _ADVICE):
        base, current = _contents(repo, "main", [CARD, *entry_paths(exported)])
    wanted = hub_files(exported, current)
    if CARD in current:
        wanted[CARD] = _edited_card_bytes(current[CARD], exported)
    files = {path: content for path, content in wanted.items() if current.get(path) != content}
    existing = None
    if files:
        with explaining_errors(repo, _ADVICE):
            existing = _existing_pull_request(repo, files)
    return PullRequestPlan(repo, base, files, existing)


def _edited_card_bytes(content: bytes, exported: Exported) -> bytes:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ResultError(f"{CARD} of {exported.model} is not UTF-8: {first_line(error)}") from error
    return edited_card(text, model_index(exported)).encode("utf-8")


def _contents(repo: str, revision: str, paths: Iterable[str]) -> tuple[str, dict[str, bytes]]:
    """Return the commit of a revision, and the content of those of the given paths that exist there."""
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi().model_info(repo, revision=revision)
    names = {sibling.rfilename for sibling in info.siblings or []}
    commit = str(info.sha)
    return commit, {
        path: Path(hf_hub_download(repo, path, revision=commit)).read_bytes() for path in paths if path in names
    }


def _existing_pull_request(repo: str, files: Mapping[str, bytes]) -> str | None:
    """Return the address of an open pull request with exactly these files, so that a second call opens none."""
    from huggingface_hub import HfApi

    for discussion in HfApi().get_repo_discussions(repo, discussion_type="pull_request", discussion_status="open"):
        if discussion.title == PULL_REQUEST and discussion.git_reference:
            _, contents = _contents(repo, discussion.git_reference, files)
            if contents == files:
                return str(discussion.url)
    return None


def open_pull_request(plan: PullRequestPlan) -> str:
    """Open the pull request and return its address. Raises HubError, in one line, when the hub refuses."""
    from huggingface_hub import CommitOperationAdd, HfApi

    names = ", ".join(PurePosixPath(path).stem for path in plan.files if path != CARD)
    with explaining_errors(plan.repo, _ADVICE):
        done = HfApi().create_commit(
            plan.repo,
            [CommitOperationAdd(path, content) for path, content in sorted(plan.files.items())],
            commit_message=PULL_REQUEST,
            commit_description=f"Results as published or scored with rb_core, in percent: {names or 'the card only'}.",
            create_pr=True,
            parent_commit=plan.base,
        )
    return str(done.pr_url)
