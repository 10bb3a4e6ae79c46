"""Check a request from the model's metadata, without its weights, and file it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import HubError, RewardBenchError
from rb_core.evaluation_queue.repository import Queue, RequestsRepo
from rb_core.evaluation_queue.request import EvaluationRequest, new_request, request_options, utc_now
from rb_core.hub.client import is_missing, positive_integer, retrying
from rb_core.hub.repository import ResultsRepo
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.options import CONVERSATION_KINDS, ModelOptions
from rb_core.models.registry import RECORDS
from rb_core.models.resolve import GATED_ARCHITECTURE, TWO_LAYER_PROCESS, ModelSpec, resolve
from rb_core.results.schema import Result, Segment, parse_result

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

OWN_ARCHITECTURES = frozenset({GATED_ARCHITECTURE, TWO_LAYER_PROCESS})
# Completions of a whole run, to estimate what it costs.
COMPLETIONS: Mapping[str, int] = {
    "rewardbench": 5970, "rewardbench-2": 8600, "rm-bench": 7962, "judgebench": 700, "processbench": 3400,
    "starter": 945,
}  # fmt: skip
TOKENS = 500  # of a completion with its prompt
SPEED = 150e12  # operations of a GPU in a second


class RequestRefused(RewardBenchError):  # noqa: N818 - an answer, not a failure
    """A request that is not evaluated; the message says why."""


@dataclass(frozen=True)
class RequestLimits:
    """The host's limits: requests of a user in a day, requests that may wait, billions of parameters, and the
    organisations whose models may be requested (empty: all)."""

    per_day: int = 5
    waiting: int = 500
    billions: int = 20
    orgs: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls) -> RequestLimits:
        """Read RB_REQUEST_PER_DAY, RB_REQUEST_WAITING, RB_REQUEST_BILLIONS and RB_REQUEST_ORGS.

        Raises RewardBenchError for a number that is not positive and whole.
        """
        names = ("per_day", "waiting", "billions")
        texts = {name: os.environ.get(f"RB_REQUEST_{name.upper()}") for name in names}
        numbers = {n: positive_integer(f"RB_REQUEST_{n.upper()}", text) for n, text in texts.items() if text}
        orgs = re.split(r"[,\s]+", os.environ.get("RB_REQUEST_ORGS", "").strip())
        return cls(**numbers, orgs=frozenset(filter(None, orgs)))

    def check_queue(self, queue: Queue, user: str) -> None:
        """Raise RequestRefused if the user or the queue has reached a limit."""
        since = utc_now() - timedelta(days=1)
        today = sum(each.votes[0] == user and each.requested > since for each in queue.requests.values())
        if today >= self.per_day:
            raise RequestRefused(f"{user} has made {today} requests in 24 hours; the limit is {self.per_day}")
        if (waiting := len(queue.waiting())) >= self.waiting:
            raise RequestRefused(f"{waiting} requests wait already; the limit is {self.waiting}: try again later")


def check_request(
    model: str, benchmark: str, options: ModelOptions, user: str, results: ResultsRepo, limits: RequestLimits
) -> EvaluationRequest:
    """Return the request for a model that passes every check, at the commit that its revision names now.

    Raises RequestRefused or another RewardBenchError with the reason, HubError when the hub does not answer.
    """
    request_options(options)
    if benchmark not in BENCHMARKS:
        raise RequestRefused(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
    spec, parameters = check_hub_model(model, options, limits)
    revision = (spec.adapter or spec.checkpoint).revision or ""
    copies = 1 + (spec.reference is not None)
    hours = 2.0 * parameters * copies * COMPLETIONS[benchmark] * TOKENS / SPEED / 3600
    request = new_request(model, revision, benchmark, options, user, parameters=parameters, gpu_hours=round(hours, 4))
    if existing := evaluated(request, results):
        address = result_address(request, results)
        raise RequestRefused(f"{model} was evaluated at this commit on {existing.benchmark.title} already: {address}")
    return request


def check_hub_model(model: str, options: ModelOptions, limits: RequestLimits) -> tuple[ModelSpec, int]:
    """Return a model on the hub with its settings, and its number of parameters. Raises as `check_request`."""
    if not re.fullmatch(f"{Segment}/{Segment}", model) or Path(model).exists():
        raise RequestRefused(f"{model!r}: expected a model on the hub, ORG/NAME")
    org = model.partition("/")[0]
    record = RECORDS.get(model)
    if record is not None and (record.folder or record.kind == "baseline"):
        raise RequestRefused(f"{model} comes with this package; a request is for a model on the hub")
    if limits.orgs and org not in limits.orgs:
        raise RequestRefused(f"this board takes requests for models of {', '.join(sorted(limits.orgs))}, not of {org}")
    info = _model_info(model, options.revision)
    if not getattr(info.card_data, "license", None):
        raise RequestRefused(f"{model} declares no licence: add `license:` to the front matter of its model card")
    spec = resolve(model, replace(options, revision=info.sha))
    if spec.kind not in CONVERSATION_KINDS:
        raise RequestRefused(f"{model} is of the kind {spec.kind}: requests are for {', '.join(CONVERSATION_KINDS)}")
    _check_architecture(spec)
    places = {(c.location, c.revision): c for c in (spec.checkpoint, spec.adapter, spec.reference) if c is not None}
    parameters = sum(_parameters(checkpoint) for checkpoint in places.values())
    if parameters > limits.billions * 1e9:
        raise RequestRefused(f"{model} has {parameters / 1e9:.1f} billion parameters; the limit is {limits.billions}")
    return spec, parameters


def add_request(repo: RequestsRepo, request: EvaluationRequest, limits: RequestLimits) -> EvaluationRequest:
    """Commit a request, or the user's vote where the same one waits; return it as it is there.

    Raises TransitionError, with its answer, if it was requested before and no longer waits, RequestRefused at a limit
    of the user or the queue, HubError.
    """

    def add(queue: Queue) -> EvaluationRequest:
        there = queue.find(request)
        if there is not None:
            return there.voted(request.votes[0])
        limits.check_queue(queue, request.votes[0])
        return request

    return repo.update(add) or request


def evaluated(request: EvaluationRequest, results: ResultsRepo) -> Result | None:
    """Return the run of this model at this commit in the results repository, None if it has none."""
    path = f"results/{request.benchmark}/{request.model}.json"

    def fetch() -> bytes | None:
        commit, _ = results.head()
        there = results.api.get_paths_info(results.name, [path], revision=commit, repo_type="dataset")
        return results.fetch(results.entry(path, commit), commit) if there else None

    content = retrying(fetch, f"reading {results.name}")
    try:
        result = parse_result(content, path) if content else None
    except RewardBenchError:  # of another version, or damaged: a push would say so
        return None
    ran = result is not None and result.status == "run" and request.revision in (
        result.model.revision, result.model.adapter_revision,
    )  # fmt: skip
    return result if ran else None


def result_address(request: EvaluationRequest, results: ResultsRepo) -> str:
    """Return the address of the request's result on the hub."""
    path = f"results/{request.benchmark}/{request.model}.json"
    return f"{results.api.endpoint}/datasets/{results.name}/blob/main/{path}"


def _model_info(model: str, revision: str | None) -> ModelInfo:
    """Return the hub's description of an open model. Raises RequestRefused for any other."""
    from huggingface_hub import HfApi

    where = f"{model} at {revision}" if revision else model
    try:
        info = retrying(lambda: HfApi().model_info(model, revision=revision, files_metadata=True), f"reading {where}")
    except HubError as error:
        if any(is_missing(cause) for cause in (error, error.__context__) if cause is not None):
            raise RequestRefused(f"there is no model {where} on the hub, or it is private") from None
        raise
    if info.private or info.gated or info.disabled:
        state = "private" if info.private else "gated" if info.gated else "disabled"
        raise RequestRefused(f"{model} is {state}: requests are for models that everybody can download")
    files = [each.rfilename for each in info.siblings or ()]
    if not any(file.endswith(".safetensors") for file in files):
        pickles = [file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
        has = f"it has {pickles[0]}, and pickle files are not read" if pickles else "it has no weights"
        raise RequestRefused(f"{where} has no file in the safetensors format ({has}): save it with safetensors")
    return info


def _check_architecture(spec: ModelSpec) -> None:
    """Raise RequestRefused for an architecture that is in neither transformers nor this package."""
    import transformers

    known = OWN_ARCHITECTURES | set(dir(transformers))
    for checkpoint in (spec.checkpoint, spec.reference):
        names = checkpoint.architectures if checkpoint is not None else ()
        if checkpoint is not None and not known.intersection(names):
            code = "; the code in its repository is not run" if checkpoint.config.get("auto_map") else ""
            named = ", ".join(names) or "none"
            raise RequestRefused(f"{checkpoint.name}: unknown architecture ({named}){code}")


def _parameters(checkpoint: Checkpoint) -> int:
    """Return the number of parameters of a checkpoint on the hub, by its weights' headers, else by their size."""
    from huggingface_hub import HfApi

    if checkpoint.hub_revision is None:
        raise RequestRefused(f"{checkpoint.location} is a folder: base and reference have to be on the hub as well")
    info: Any = retrying(
        lambda: HfApi().model_info(checkpoint.location, revision=checkpoint.revision, files_metadata=True),
        f"reading {checkpoint.location}",
    )
    if info.safetensors is not None:
        return int(info.safetensors.total)
    return sum(file.size or 0 for file in info.siblings or () if file.rfilename.endswith(".safetensors")) // 2
