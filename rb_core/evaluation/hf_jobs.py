"""Evaluate a model on Hugging Face Jobs and push the result from there.

A job is a container with a command. The command installs this package at this checkout's commit, runs `evaluate` and,
if a repository is named, `sync push`. `run_job` is used instead of `run_uv_job`, because there are several steps, the
package brings its own environment, and nothing has to be uploaded. The user's token is sent as a secret, which the
service keeps out of command, environment and log.
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

from rb_core.benchmarks.card import FILE_SUFFIXES, Card, read_card
from rb_core.benchmarks.custom import check_card_id
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import HubError
from rb_core.evaluation.provenance import git
from rb_core.hub.client import client_errors, explain, status_of
from rb_core.models.options import JudgeOptions, flag, option_specs
from rb_core.models.registry import RECORDS
from rb_core.results.schema import Segment

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Has git and compilers, and the same Python as the planning process. torch from the package index brings its own CUDA.
DEFAULT_IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}"
# The service's default is half an hour, after which everything would be lost.
DEFAULT_TIMEOUT = "6h"
SECRET = "HF_TOKEN"  # noqa: S105 - the name of the secret, not the secret
APP = "rewardbench"
ENDED = frozenset({"COMPLETED", "CANCELED", "ERROR", "DELETED"})
# Labels can hold letters, digits, - and _ only; the exact names go into the environment.
MODEL_VARIABLE, BENCHMARK_VARIABLE = "RB_MODEL", "RB_BENCHMARK"
MAX_LABEL = 100
CARD_FILE = "benchmark.yaml"

# With these options one process does all the work: one model over all GPUs, or a judge.
_ONE_PROCESS = frozenset({"--device-map", "generative", *map(flag, option_specs(JudgeOptions))})

_NEEDED_PARAMETERS: Mapping[str, frozenset[str]] = {
    "run_job": frozenset({"image", "command", "env", "secrets", "flavor", "timeout", "labels", "namespace"}),
    "list_jobs": frozenset({"labels", "namespace"}),
}

_ADVICE: Mapping[int | None, str] = {
    401: "log in with a valid token (hf auth login, or HF_TOKEN)",
    402: "jobs cost money: the account needs credits",
    403: "the token needs the right to run jobs in this namespace, and the account a plan with jobs",
    404: "there is no such namespace, or the token cannot see it",
}


@dataclass(frozen=True)
class Job:
    """A planned job, as `plan_job` returns it.

    package: pip's requirement for this package; repo: the dataset repository that the result is pushed to, or None;
    options: further options of `evaluate`; timeout: seconds, or a number with s, m, h or d; namespace: the user or
    organisation that pays, None for the token's own; card: text of the benchmark's card, "" for a registered one;
    request: id of the request that the job answers; doctor: options of `doctor`, which has to pass before the
    evaluation, None without it.
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
    card: str = ""
    request: str = ""
    doctor: tuple[str, ...] | None = None

    @property
    def command(self) -> list[str]:
        """Return the command of the container: steps in one shell; the first failing step ends it."""
        program = ["python", "-m", "rb_core"]
        gpus = gpus_of(self.flavor)
        if gpus > 1 and not any(
            option.removeprefix("--kind=").partition("=")[0] in _ONE_PROCESS for option in self.options
        ):
            program = ["accelerate", "launch", "--num_processes", str(gpus), "-m", "rb_core"]
        benchmark = CARD_FILE if self.card else self.benchmark
        arguments = ["--model", self.model, "--benchmark", benchmark, "--out", "mine"]
        steps = [
            'cd "$(mktemp -d)"',
            shlex.join(["python", "-m", "pip", "install", "--quiet", self.package]),
            *([f"printf %s {shlex.quote(self.card)} > {CARD_FILE}"] if self.card else []),
        ]
        if self.doctor is not None:
            steps.append(shlex.join(["python", "-m", "rb_core", "doctor", "--model", self.model, *self.doctor]))
        steps.append(shlex.join([*program, "evaluate", *arguments, *self.options]))
        if self.repo is None:
            steps.append("find mine/results -name '*.json' -exec cat {} +")
        else:
            steps.append(shlex.join(["python", "-m", "rb_core", "sync", "push", "--repo", self.repo, "--root", "mine"]))
        return ["bash", "-c", " && ".join(steps)]

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of the container. Anyone who may see the job can read it."""
        return {"PYTHONUNBUFFERED": "1", MODEL_VARIABLE: self.model, BENCHMARK_VARIABLE: self.benchmark}

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels by which the service finds the job."""
        model, benchmark = _label(self.model), _label(self.benchmark)
        labels = {"app": APP, "model": model, "benchmark": benchmark, "name": _label(f"rb-{benchmark}-{model}")}
        return labels | ({"request": self.request} if self.request else {})

    def describe(self) -> str:
        """Return the job as text: exactly what would run, and the names of the secrets."""
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
    """A job as the service lists it. created: UTC, ISO 8601; request: id of a request; unknown fields are empty."""

    id: str
    status: str
    model: str
    benchmark: str
    flavor: str
    created: str
    url: str
    request: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


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
    request: str = "",
    doctor: Sequence[str] | None = None,
) -> Job:
    """Plan a job and check everything that can be checked without asking the service. Sends nothing.

    package: pip's requirement for this package; by default this checkout's commit, from its remote. Raises HubError for
    a model or benchmark that exists on this machine only, and for a malformed value.
    """
    check_job_model(model)
    card = _job_card(benchmark)
    if card is None and benchmark not in BENCHMARKS:
        raise HubError(
            f"--benchmark {benchmark}: a job cannot read files of this machine; choose {', '.join(BENCHMARKS)}, or "
            "give a card that names data on the hub"
        )
    if repo is not None and not re.fullmatch(f"{Segment}/{Segment}", repo):
        raise HubError(f"--repo {repo!r}: expected ORG/NAME")
    if namespace is not None and not re.fullmatch(Segment, namespace):
        raise HubError(f"--namespace {namespace!r}: expected the name of a user or an organisation")
    if not re.fullmatch(r"[1-9]\d*|(?!0+(\.0*)?[smhd])\d+(\.\d+)?[smhd]", timeout):
        raise HubError(f"--timeout {timeout!r}: expected seconds, or a number with s, m, h or d, such as 90m")
    if not image or image.startswith("-") or image.split() != [image]:
        raise HubError(f"--image {image!r}: expected the name of a container image, such as {DEFAULT_IMAGE}")
    package = default_package() if package is None else _checked_package(package)
    name = benchmark if card is None else card.id or Path(benchmark).stem
    text = "" if card is None else card.to_yaml()
    checks = None if doctor is None else tuple(doctor)
    return Job(model, name, flavor, package, repo, tuple(options), timeout, namespace, image, text, request, checks)


def _job_card(benchmark: str) -> Card | None:
    """Return the card that a job takes along, None for another benchmark. Raises for one with data of this machine."""
    path = Path(benchmark)
    if path.suffix not in FILE_SUFFIXES:
        return None
    card = read_card(path)
    if not card.hub:
        raise HubError(f"--benchmark {benchmark}: hub: is missing; a job cannot read data of this machine")
    check_card_id(card, path.name)
    return card


def check_job_model(model: str) -> None:
    """Raise HubError for a model that a job cannot load."""
    if model in RECORDS:
        return
    if Path(model).exists() or not re.fullmatch(f"{Segment}/{Segment}", model):
        raise HubError(f"model {model}: a job cannot read files of this machine; give a model on the hub, ORG/NAME")


def gpus_of(flavor: str) -> int:
    """Return the number of accelerators of a flavor, read from its name: l4x4 has four."""
    match = re.search(r"[a-z0-9]x(\d+)$", flavor)
    return int(match[1]) if match else 1


def default_package(folder: Path | None = None) -> str:
    """Return pip's requirement for this checkout: its remote at its commit.

    Raises HubError without a git checkout, without a remote that a job can read, and with changes that are not pushed.
    """
    folder = folder or Path(__file__).resolve().parents[1]
    otherwise = "; or give pip's requirement for this package with --package"
    if git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        raise HubError(f"this package does not run from a git checkout that a job could install{otherwise}")
    remotes = (git(folder, "remote") or "").split()
    if not remotes:
        raise HubError(f"this checkout has no remote from which a job could install it{otherwise}")
    remote = "origin" if "origin" in remotes else remotes[0]
    url = _public_url(git(folder, "remote", "get-url", remote) or "")
    if url is None:
        raise HubError(f"a job cannot reach this checkout's remote {remote}{otherwise}")
    if git(folder, "status", "--porcelain", "--untracked-files=no", "--", "."):
        raise HubError(f"this checkout has changes that are not committed: commit and push them{otherwise}")
    commit = git(folder, "rev-parse", "HEAD")
    if not git(folder, "branch", "--remotes", "--contains", "HEAD"):
        raise HubError(f"commit {commit} is not on {remote}: push it{otherwise}")
    return f"git+{url}@{commit}"


def _public_url(remote: str) -> str | None:
    """Return a remote as https without user and password; None for one that only this machine can read."""
    if match := re.fullmatch(r"(?:ssh://)?(?:[^@/]+@)([\w.-]+)(?::\d+)?[:/](.+)", remote):
        return f"https://{match[1]}/{match[2].lstrip('/')}"
    parts = urlsplit(remote)
    if parts.scheme != "https" or not parts.hostname:
        return None
    port = f":{parts.port}" if parts.port else ""
    return f"https://{parts.hostname}{port}{parts.path}"


def _checked_package(package: str) -> str:
    if not package.strip() or package.startswith("-") or "\n" in package:
        raise HubError("--package: expected a pip requirement, such as git+https://HOST/ORG/NAME@COMMIT")
    if re.search(r"https?://[^/\s]*@", package):
        raise HubError("--package: its address has a user or a password, which everyone who sees the job could read")
    if Path(package).exists():
        raise HubError(f"--package {package}: a job cannot read files of this machine")
    return package


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)[:MAX_LABEL]


def check_flavor(flavor: str, api: HfApi | None = None) -> None:
    """Raise HubError for unknown hardware, by the service's list, or by the client's own list without an api."""
    names = _flavors_of_client() if api is None or not hasattr(api, "list_jobs_hardware") else _flavors(api)
    if flavor not in names:
        raise HubError(f"unknown flavor {flavor!r}: choose one of {', '.join(names)}")


def submit_job(job: Job, api: HfApi | None = None) -> JobStatus:
    """Start a job. The token is sent as a secret and nowhere else.

    Raises HubError, in one line and without the token, when the client is too old, there is no token, the flavor is
    unknown, the repository does not exist, or the service refuses.
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
        unsure = "" if status is not None and status < 500 else "; it may have been started all the same: see rb jobs"
        raise HubError(f"the job was not accepted: {explain(error, _ADVICE, token)}{unsure}") from None


def list_jobs(namespace: str | None = None, *, ended: bool = False, api: HfApi | None = None) -> list[JobStatus]:
    """Return the jobs of this package in a namespace (by default the token's own), newest first.

    ended: include jobs that have ended. Raises HubError as `submit_job`.
    """
    api = api or _api()
    _check_client(api)
    token = _token(api)
    # By itself the client would ask its default endpoint with its default token.
    namespace = namespace or _own_namespace(api, token)
    with _asking("the jobs cannot be listed", token):
        jobs = [_status(job) for job in api.list_jobs(labels={"app": APP}, namespace=namespace, token=token)]
    return sorted((job for job in jobs if ended or not job.ended), key=lambda job: job.created, reverse=True)


def jobs_table(jobs: Iterable[JobStatus]) -> str:
    """Return jobs as aligned text, one line per job below a header."""
    names = ("id", "status", "model", "benchmark", "flavor", "created", "url")
    rows = [names, *(tuple(getattr(job, name) or "-" for name in names) for job in jobs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors of the client when the service refuses or its answer has an unexpected form."""
    return (*client_errors(), AttributeError, KeyError, TypeError)


@contextmanager
def _asking(what: str, token: str) -> Iterator[None]:
    """Turn the client's errors into a HubError of one line without the token."""
    try:
        yield
    except _errors() as error:
        raise HubError(f"{what}: {explain(error, _ADVICE, token)}") from None


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(library_name="rb_core")


def _check_client(api: HfApi) -> None:
    """Raise HubError for a client that cannot run labelled jobs."""
    for method, needed in _NEEDED_PARAMETERS.items():
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
    """Return the token that the client sends; "" for none."""
    from huggingface_hub import get_token

    return api.token if isinstance(api.token, str) else "" if api.token is False else get_token() or ""


def _own_namespace(api: HfApi, token: str) -> str:
    with _asking("the hub does not say whose token this is", token):
        return str(api.whoami(token=token)["name"])


def _check_repo(repo: str, api: HfApi, token: str) -> None:
    """Raise HubError for a missing repository: the push would fail after everything was paid for."""
    with _asking(f"dataset repository {repo} cannot be looked up", token):
        exists = api.repo_exists(repo, repo_type="dataset", token=token)
    if not exists:
        raise HubError(f"--repo {repo}: there is no such dataset repository, or the token cannot see it; make it first")


def _flavors(api: HfApi) -> list[str]:
    with _asking("the service does not list its hardware", _token_in_use(api)):
        return [hardware.name for hardware in api.list_jobs_hardware()]


def _flavors_of_client() -> list[str]:
    """Return the flavors that the client knows; older versions have one list for jobs and Spaces."""
    import huggingface_hub

    names = getattr(huggingface_hub, "JobHardware", None) or huggingface_hub.SpaceHardware
    return [str(name.value) for name in names]


def _status(job: object) -> JobStatus:
    environment: Mapping[str, object] = getattr(job, "environment", None) or {}
    labels: Mapping[str, str] = getattr(job, "labels", None) or {}
    created = getattr(job, "created_at", None)
    stage = job.status.stage  # type: ignore[attr-defined]
    flavor = getattr(job, "flavor", None) or ""
    return JobStatus(
        id=_plain(job.id),  # type: ignore[attr-defined]
        status=_plain(getattr(stage, "value", stage)),
        model=_plain(environment.get(MODEL_VARIABLE) or labels.get("model", "")),
        benchmark=_plain(environment.get(BENCHMARK_VARIABLE) or labels.get("benchmark", "")),
        flavor=_plain(getattr(flavor, "value", flavor)),
        created=created.isoformat(timespec="seconds") if created else "",
        url=_plain(job.url),  # type: ignore[attr-defined]
        request=_plain(labels.get("request", "")),
    )


def _plain(value: object) -> str:
    """Return text for a terminal: one line, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(value))
