"""Pull requests on models' repositories: what one would change, and opening it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rb_core.errors import ResultError, first_line
from rb_core.export.hub_formats import Exported, entry_paths, hub_files, model_index
from rb_core.export.model_cards import CARD, edited_card
from rb_core.export.selection import check_exportable
from rb_core.hub.client import asking

PULL_REQUEST = "Add evaluation results on preference benchmarks"
_ADVICE: Mapping[int | None, str] = {
    # What arrived is found again, so that trying again opens no second pull request.
    None: "check the connection and try again",
    401: "the hub does not know the token; `hf auth login` with one that may open pull requests there",
    403: "the token may not do this; `hf auth login` with one that may open pull requests there",
}


@dataclass(frozen=True)
class PullRequestPlan:
    """A pull request: its files by path that are not on main as they should be, against main at a commit.

    standing: the address of an open pull request that has exactly these files.
    """

    repo: str
    base: str
    files: Mapping[str, bytes]
    standing: str | None = None


def target_repository(exported: Exported, repo: str | None) -> str:
    """The model repository that results are pushed to.

    Raises ResultError for results of a local folder, and where the weights came from another repository than the name
    says and none was chosen: what is said on a model's page has to be about that model.
    """
    for result in exported.results:
        model = result.model
        if result.run is not None and model.source is None:
            raise ResultError(
                f"{exported.model} on {result.benchmark.id} was loaded from a local folder or function, which is not "
                "pushed; score the model from the hub first"
            )
        if result.run is not None and repo is None and model.source != exported.model:
            raise ResultError(f"the weights scored as {exported.model} are {model.source}: say --repo {model.source}")
    return check_exportable(repo or exported.model)


def plan_pull_request(exported: Exported, repo: str) -> PullRequestPlan:
    """What a pull request would change in a model repository. Reads from the hub, changes nothing there.

    Raises HubError, in one line, for what the hub refuses or does not answer.
    """
    with asking(repo, _ADVICE):
        base, current = _contents(repo, "main", [CARD, *entry_paths(exported)])
    wanted = hub_files(exported, current)
    if CARD in current:
        wanted[CARD] = _edited_card_bytes(current[CARD], exported)
    files = {path: content for path, content in wanted.items() if current.get(path) != content}
    standing = None
    if files:
        with asking(repo, _ADVICE):
            standing = _standing(repo, files)
    return PullRequestPlan(repo, base, files, standing)


def _edited_card_bytes(content: bytes, exported: Exported) -> bytes:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ResultError(f"{CARD} of {exported.model} is not UTF-8: {first_line(error)}") from error
    return edited_card(text, model_index(exported)).encode("utf-8")


def _contents(repo: str, revision: str, paths: Iterable[str]) -> tuple[str, dict[str, bytes]]:
    """The commit of a revision, and the files there by path, of those asked for."""
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi().model_info(repo, revision=revision)
    there = {sibling.rfilename for sibling in info.siblings or []}
    commit = str(info.sha)
    return commit, {
        path: Path(hf_hub_download(repo, path, revision=commit)).read_bytes() for path in paths if path in there
    }


def _standing(repo: str, files: Mapping[str, bytes]) -> str | None:
    """The address of an open pull request with these files, so that asking twice opens one."""
    from huggingface_hub import HfApi

    for discussion in HfApi().get_repo_discussions(repo, discussion_type="pull_request", discussion_status="open"):
        if discussion.title == PULL_REQUEST and discussion.git_reference:
            _, there = _contents(repo, discussion.git_reference, files)
            if there == files:
                return str(discussion.url)
    return None


def open_pull_request(plan: PullRequestPlan) -> str:
    """Open the pull request; returns its address. Raises HubError, in one line, when the hub refuses."""
    from huggingface_hub import CommitOperationAdd, HfApi

    names = ", ".join(PurePosixPath(path).stem for path in plan.files if path != CARD)
    with asking(plan.repo, _ADVICE):
        done = HfApi().create_commit(
            plan.repo,
            [CommitOperationAdd(path, content) for path, content in sorted(plan.files.items())],
            commit_message=PULL_REQUEST,
            commit_description=f"Results as published or scored with rb_core, in percent: {names or 'the card only'}.",
            create_pr=True,
            parent_commit=plan.base,
        )
    return str(done.pr_url)
