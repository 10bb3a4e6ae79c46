"""Ways to evaluate a request: on this machine, and on Hugging Face Jobs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rb_core.doctor import examine
from rb_core.errors import ModelError
from rb_core.evaluation import hf_jobs
from rb_core.evaluation.evaluate import evaluate
from rb_core.evaluation_queue.checks import RequestLimits, RequestRefused, check_hub_model, evaluated, result_address
from rb_core.evaluation_queue.request import EvaluationRequest
from rb_core.evaluation_queue.worker import Hold, UnfitModelError
from rb_core.hub.push import push
from rb_core.hub.repository import ResultsRepo
from rb_core.models.options import command_line_options


@dataclass
class LocalEvaluation:
    """Check again, run the doctor and evaluate on this machine, in a folder per request below `work`."""

    results: ResultsRepo
    work: Path
    limits: RequestLimits

    def evaluate(self, request: EvaluationRequest, hold: Hold) -> None:
        root = self._root(request)
        if any(root.glob("results/**/*.json")) or self._is_published(request):
            return  # a kill came between the evaluation and the state
        check_hub_model(request.model, request.model_options(), self.limits)
        report = examine(request.model, request.model_options())
        if report.failed:
            raise UnfitModelError(report)
        evaluate(request.model, request.benchmark, options=request.model_options(), out=root, progress=True)

    def publish(self, request: EvaluationRequest) -> str:
        root = self._root(request)
        if any(root.glob("results/**/*.json")):
            plan = push(self.results.name, root, repo=self.results).plan
            if plan.kept:
                raise ModelError(f"the board keeps its own result, since this one is {next(iter(plan.kept.values()))}")
        return result_address(request, self.results)

    def forget(self, request: EvaluationRequest) -> None:
        shutil.rmtree(self._root(request), ignore_errors=True)

    def _root(self, request: EvaluationRequest) -> Path:
        return self.work / request.id

    def _is_published(self, request: EvaluationRequest) -> bool:
        """Return True for the result of an earlier attempt. Raises RequestRefused for one that was there before."""
        if evaluated(request, self.results) is None:
            return False
        if request.attempt == 1:
            raise RequestRefused(f"{request.model} was evaluated at this commit already")
        return True


@dataclass
class JobEvaluation(LocalEvaluation):
    """Check again, and run the doctor and the evaluation in a job, which pushes the result. A request has one job."""

    flavor: str = ""
    timeout: str = hf_jobs.DEFAULT_TIMEOUT
    package: str | None = None
    period: float = 60.0  # seconds between looks at the job
    sleep: Callable[[float], None] = time.sleep

    def evaluate(self, request: EvaluationRequest, hold: Hold) -> None:
        if self._is_published(request):
            return
        job = self._job(request)
        if job is None:
            check_hub_model(request.model, request.model_options(), self.limits)
            job = hf_jobs.submit_job(self._planned(request), self.results.api)
        hold.renew(job.url)
        while not job.ended and not hold.lost.is_set():
            self.sleep(self.period)
            job = self._job(request) or job
        if not hold.lost.is_set() and evaluated(request, self.results) is None:
            raise ModelError(
                f"the job ended as {job.status} without a result; its log has the doctor's report: {job.url}"
            )

    def _planned(self, request: EvaluationRequest) -> hf_jobs.Job:
        options = request.model_options()
        return hf_jobs.plan_job(
            request.model,
            request.benchmark,
            self.flavor,
            repo=self.results.name,
            options=command_line_options(options),
            timeout=self.timeout,
            package=self.package,
            request=request.id,
            doctor=command_line_options(replace(options, threshold=None)),  # of which doctor has no use
        )

    def _job(self, request: EvaluationRequest) -> hf_jobs.JobStatus | None:
        """Return the newest job of a request, which a kill may have left without a note of it."""
        jobs = hf_jobs.list_jobs(ended=True, api=self.results.api)
        return next((job for job in jobs if job.request == request.id), None)
