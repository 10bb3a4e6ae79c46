"""A run on rented hardware: Hugging Face Jobs evaluate a model there and push the result from there.

A job is a container with a command. The command installs this package at the commit that stands here, runs `evaluate`
and, where a repository is named, `sync push`. The plain `run_job` is used and not `run_uv_job`: there are several steps
to run, the package brings its own environment, and nothing has to be uploaded for it. The user's token goes along as a
secret, which the service keeps apart from command, environment and log.
"""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import HubError
from rb_core.evaluation.provenance import git
from rb_core.hub.client import client_errors, explained, status_of
from rb_core.models.registry import RECORDS
from rb_core.results.schema import Segment

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# With git and compilers, and the Python that the run was planned with. torch from the package index has its own CUDA.
DEFAULT_IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}"


# The service's own default is half an hour, after which everything would be lost.
DEFAULT_TIMEOUT = "6h"


SECRET = "HF_TOKEN"  # noqa: S105 - the name of the secret, not the secret


APP = "rewardbench"


ENDED = frozenset({"COMPLETED", "CANCELED", "ERROR", "DELETED"})


# Labels can hold letters, digits, - and _ only; the exact names go into the environment.
MODEL_VARIABLE, BENCHMARK_VARIABLE = "RB_MODEL", "RB_BENCHMARK"


MAX_LABEL = 100


# Options that say that one process does it all, whatever the number of GPUs: one model over all of them, or a judge.
_ONE_PROCESS = frozenset({"--device-map", "generative", "--mode", "--template", "--base-url", "--provider", "--judges"})


_NEEDED: Mapping[str, frozenset[str]] = {
    "run_job": frozenset({"image", "command", "env", "secrets", "flavor", "timeout", "labels", "namespace"}),
    "list_jobs": frozenset({"labels", "namespace"}),
}


_ADVICE: Mapping[int | None, str] = {
    401: "log in with a token that is valid (hf auth login, or HF_TOKEN)",
    402: "jobs are paid for: the account needs credits",
    403: "the token needs the right to run jobs in this namespace, and the account a plan with jobs",
    404: "there is no such namespace, or the token cannot see it",
}


@dataclass(frozen=True)
class Job:
    """What is to be run, where and for how long. `plan_job` makes one.

    package: what pip installs; repo: the dataset repository that the result is pushed to, None for nowhere; options:
    further options of `evaluate`; timeout: seconds, or a number with s, m, h or d; namespace: the user or organisation
    who pays, None for the token's own.
    """

    model: str
    benchmark: str
    flavor: str
    package: str
    repo: str | None = None
    options: tuple[str, ...] = ()
    timeout: str = DEFAULT_TIMEOUT
    namespace: str | None = None
    image: str = DEFAULT_IMAGE

    @property
    def command(self) -> list[str]:
        """The command of the container, step by step in one shell; the first step that fails ends it."""
        program = ["python", "-m", "rb_core"]
        gpus = gpus_of(self.flavor)
        if gpus > 1 and not any(
            option.removeprefix("--kind=").partition("=")[0] in _ONE_PROCESS for option in self.options
        ):
            program = ["accelerate", "launch", "--num_processes", str(gpus), "-m", "rb_core"]
        where = ["--model", self.model, "--benchmark", self.benchmark, "--out", "mine"]
        steps = [
            'cd "$(mktemp -d)"',
            shlex.join(["python", "-m", "pip", "install", "--quiet", self.package]),
            shlex.join([*program, "evaluate", *where, *self.options]),
        ]
        if self.repo is None:
            steps.append("find mine/results -name '*.json' -exec cat {} +")
        else:
            steps.append(shlex.join(["python", "-m", "rb_core", "sync", "push", "--repo", self.repo, "--root", "mine"]))
        return ["bash", "-c", " && ".join(steps)]

    @property
    def env(self) -> dict[str, str]:
        """The environment of the container, which anyone who may see the job can read."""
        return {"PYTHONUNBUFFERED": "1", MODEL_VARIABLE: self.model, BENCHMARK_VARIABLE: self.benchmark}

    @property
    def labels(self) -> dict[str, str]:
        """What the service can find the job by."""
        model, benchmark = _label(self.model), _label(self.benchmark)
        return {"app": APP, "model": model, "benchmark": benchmark, "name": _label(f"rb-{benchmark}-{model}")}

    def describe(self) -> str:
        """What would run, exactly, and the names of the secrets."""
        lines = {
            "image": self.image,
            "flavor": self.flavor,
            "timeout": self.timeout,
            "namespace": self.namespace or "(that of your token)",
            "command": shlex.join(self.command),
            "environment": " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env.items()),
            "secrets": SECRET,
            "labels": " ".join(f"{name}={value}" for name, value in self.labels.items()),
        }
        return "\n".join(f"{name + ':':<13}{value}" for name, value in lines.items())


@dataclass(frozen=True)
class JobStatus:
    """A job as the service lists it. created: UTC, ISO 8601; what is not known is empty."""

    id: str
    status: str
    model: str
    benchmark: str
    flavor: str
    created: str
    url: str

    @property
    def ended(self) -> bool:
        return self.status in ENDED


# Planning, which sends nothing


def plan_job(
    model: str,
    benchmark: str,
    flavor: str,
    *,
    repo: str | None = None,
    options: Sequence[str] = (),
    timeout: str = DEFAULT_TIMEOUT,
    namespace: str | None = None,
    package: str | None = None,
    image: str = DEFAULT_IMAGE,
) -> Job:
    """What is going to run, checked as far as it can be without asking the service.

    package: what pip installs; by default this checkout's commit, from its remote. Raises HubError for what a job
    cannot have (a model or a benchmark on this machine), and for anything malformed.
    """
    check_job_model(model)
    if benchmark not in BENCHMARKS:
        raise HubError(f"--benchmark {benchmark}: a job has no files of this machine; choose {', '.join(BENCHMARKS)}")
    if repo is not None and not re.fullmatch(f"{Segment}/{Segment}", repo):
        raise HubError(f"--repo {repo!r}: expected ORG/NAME")
    if namespace is not None and not re.fullmatch(Segment, namespace):
        raise HubError(f"--namespace {namespace!r}: expected the name of a user or an organisation")
    if not re.fullmatch(r"[1-9]\d*|(?!0+(\.0*)?[smhd])\d+(\.\d+)?[smhd]", timeout):
        raise HubError(f"--timeout {timeout!r}: expected seconds, or a number with s, m, h or d, such as 90m")
    if not image or image.startswith("-") or image.split() != [image]:
        raise HubError(f"--image {image!r}: expected the name of a container image, such as {DEFAULT_IMAGE}")
    package = default_package() if package is None else _checked_package(package)
    return Job(model, benchmark, flavor, package, repo, tuple(options), timeout, namespace, image)


def check_job_model(model: str) -> None:
    """Raises HubError for a model that a job cannot load."""
    if model in RECORDS:
        return
    if Path(model).exists() or not re.fullmatch(f"{Segment}/{Segment}", model):
        raise HubError(f"model {model}: a job has no files of this machine; give a model on the hub, ORG/NAME")


def gpus_of(flavor: str) -> int:
    """How many accelerators a flavor has, by its name: l4x4 has four."""
    match = re.search(r"[a-z0-9]x(\d+)$", flavor)
    return int(match[1]) if match else 1


def default_package(folder: Path | None = None) -> str:
    """What pip installs to have this checkout's package: its remote, at its commit.

    Raises HubError where that cannot be: no checkout, no remote that a job can read, changes that are not pushed.
    """
    folder = folder or Path(__file__).resolve().parent
    otherwise = "; say with --package what pip is to install"
    if git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        raise HubError(f"this package runs from no git checkout that a job could install{otherwise}")
    remotes = (git(folder, "remote") or "").split()
    if not remotes:
        raise HubError(f"this checkout has no remote that a job could install it from{otherwise}")
    remote = "origin" if "origin" in remotes else remotes[0]
    url = _public_url(git(folder, "remote", "get-url", remote) or "")
    if url is None:
        raise HubError(f"this checkout's remote {remote} is not one that a job can reach{otherwise}")
    if git(folder, "status", "--porcelain", "--untracked-files=no", "--", "."):
        raise HubError(f"this checkout has changes that a job would not have: commit and push them{otherwise}")
    commit = git(folder, "rev-parse", "HEAD")
    if not git(folder, "branch", "--remotes", "--contains", "HEAD"):
        raise HubError(f"commit {commit} is not on {remote}, where a job would look for it: push it{otherwise}")
    return f"git+{url}@{commit}"


def _public_url(remote: str) -> str | None:
    """A remote as https without user or password; None for one that only this machine can read."""
    if match := re.fullmatch(r"(?:ssh://)?(?:[^@/]+@)([\w.-]+)(?::\d+)?[:/](.+)", remote):
        return f"https://{match[1]}/{match[2].lstrip('/')}"
    parts = urlsplit(remote)
    if parts.scheme != "https" or not parts.hostname:
        return None
    port = f":{parts.port}" if parts.port else ""
    return f"https://{parts.hostname}{port}{parts.path}"


def _checked_package(package: str) -> str:
    if not package.strip() or package.startswith("-") or "\n" in package:
        raise HubError("--package: expected what pip is to install, such as git+https://HOST/ORG/NAME@COMMIT")
    if re.search(r"https?://[^/\s]*@", package):
        raise HubError("--package: has a user or a password in its address, which everyone who sees the job could read")
    if Path(package).exists():
        raise HubError(f"--package {package}: a job has no files of this machine")
    return package


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)[:MAX_LABEL]


# The service


def check_flavor(flavor: str, api: HfApi | None = None) -> None:
    """Raises HubError for hardware that is not to be had: by the service's list, or the client's own without an api."""
    names = _flavors_of_client() if api is None or not hasattr(api, "list_jobs_hardware") else _flavors(api)
    if flavor not in names:
        raise HubError(f"unknown flavor {flavor!r}: choose one of {', '.join(names)}")


def submit_job(job: Job, api: HfApi | None = None) -> JobStatus:
    """Start a job. The token goes along as a secret and nowhere else.

    Raises HubError, in one line and without the token, when the client is too old, there is no token, the flavor is
    unknown, the repository is not there, or the service refuses.
    """
    api = api or _api()
    _check_client(api)
    token = _token(api)
    check_flavor(job.flavor, api)
    if job.repo is not None:
        _check_repo(job.repo, api, token)
    namespace = job.namespace or _own_namespace(api, token)
    try:
        started = api.run_job(
            image=job.image,
            command=job.command,
            env=job.env,
            secrets={SECRET: token},
            flavor=job.flavor,
            timeout=job.timeout,
            labels=job.labels,
            namespace=namespace,
            token=token,
        )
        return _status(started)
    except _errors() as error:
        status = status_of(error)
        unsure = "" if status is not None and status < 500 else "; whether it was started is not known: see rb jobs"
        raise HubError(f"the job was not accepted: {explained(error, _ADVICE, token)}{unsure}") from None


def list_jobs(namespace: str | None = None, *, ended: bool = False, api: HfApi | None = None) -> list[JobStatus]:
    """The jobs of this package in a namespace (the token's own by default), newest first; with `ended` also past ones.

    Raises HubError as `submit_job`.
    """
    api = api or _api()
    _check_client(api)
    token = _token(api)
    # The client would look the namespace up with its defaults instead of this api's endpoint and token.
    namespace = namespace or _own_namespace(api, token)
    with _asking("the jobs cannot be listed", token):
        found = [_status(job) for job in api.list_jobs(labels={"app": APP}, namespace=namespace, token=token)]
    return sorted((job for job in found if ended or not job.ended), key=lambda job: job.created, reverse=True)


def jobs_table(jobs: Iterable[JobStatus]) -> str:
    """Jobs as aligned text, one line each below a header."""
    names = ("id", "status", "model", "benchmark", "flavor", "created", "url")
    rows = [names, *(tuple(getattr(job, name) or "-" for name in names) for job in jobs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _errors() -> tuple[type[Exception], ...]:
    """What the client raises when the service refuses, or answers what the client does not expect."""
    return (*client_errors(), AttributeError, KeyError, TypeError)


@contextmanager
def _asking(what: str, token: str) -> Iterator[None]:
    """What the client raises inside becomes a HubError of one line, without the token, whoever wrote it there."""
    try:
        yield
    except _errors() as error:
        raise HubError(f"{what}: {explained(error, _ADVICE, token)}") from None


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(library_name="rb_core")


def _check_client(api: HfApi) -> None:
    """Raises HubError for a client that cannot run labelled jobs."""
    for method, needed in _NEEDED.items():
        function = getattr(api, method, None)
        lacking = sorted(needed - inspect.signature(function).parameters.keys()) if function else []
        if function is None or lacking:
            from huggingface_hub import __version__

            what = f"{method}({', '.join(lacking)})"
            raise HubError(f"huggingface_hub {__version__} is too old for jobs: it has no {what}; update it with pip")


def _token(api: HfApi) -> str:
    if not (token := _token_in_use(api)):
        raise HubError("jobs need a token: log in with hf auth login, or set HF_TOKEN")
    return token


def _token_in_use(api: HfApi) -> str:
    """The token that the client sends; "" for none."""
    from huggingface_hub import get_token

    return api.token if isinstance(api.token, str) else "" if api.token is False else get_token() or ""


def _own_namespace(api: HfApi, token: str) -> str:
    with _asking("the hub does not say whose token this is", token):
        return str(api.whoami(token=token)["name"])


def _check_repo(repo: str, api: HfApi, token: str) -> None:
    """Raises HubError for a repository that is not there: the push would fail after everything was paid for."""
    with _asking(f"dataset repository {repo} cannot be looked up", token):
        there = api.repo_exists(repo, repo_type="dataset", token=token)
    if not there:
        raise HubError(f"--repo {repo}: there is no such dataset repository, or the token cannot see it; make it first")


def _flavors(api: HfApi) -> list[str]:
    with _asking("the service does not list its hardware", _token_in_use(api)):
        return [hardware.name for hardware in api.list_jobs_hardware()]


def _flavors_of_client() -> list[str]:
    """The flavors that this version of the client knows; older ones have one list for jobs and Spaces."""
    import huggingface_hub

    names = getattr(huggingface_hub, "JobHardware", None) or huggingface_hub.SpaceHardware
    return [str(each.value) for each in names]


def _status(job: object) -> JobStatus:
    """A job as the client has it, in plain values."""
    known: Mapping[str, object] = getattr(job, "environment", None) or {}
    labels: Mapping[str, str] = getattr(job, "labels", None) or {}
    created = getattr(job, "created_at", None)
    stage = job.status.stage  # type: ignore[attr-defined]
    flavor = getattr(job, "flavor", None) or ""
    return JobStatus(
        id=_plain(job.id),  # type: ignore[attr-defined]
        status=_plain(getattr(stage, "value", stage)),
        model=_plain(known.get(MODEL_VARIABLE) or labels.get("model", "")),
        benchmark=_plain(known.get(BENCHMARK_VARIABLE) or labels.get("benchmark", "")),
        flavor=_plain(getattr(flavor, "value", flavor)),
        created=created.isoformat(timespec="seconds") if created else "",
        url=_plain(job.url),  # type: ignore[attr-defined]
    )


def _plain(value: object) -> str:
    """Text for a terminal: one line, nothing that it would obey."""
    return "".join(c if c.isprintable() else "?" for c in str(value))
