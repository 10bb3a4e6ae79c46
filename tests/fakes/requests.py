"""Requests, models to be requested, and an evaluation that takes no time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from rb_core.evaluation_queue.request import EvaluationRequest, parse_evaluation_request
from rb_core.evaluation_queue.worker import Hold
from rb_core.hub.client import retrying
from rb_core.hub.repository import ResultsRepo

REQUESTS = "me/requests"
REQUESTS_KEY = f"datasets/{REQUESTS}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CARD = b"---\nlicense: apache-2.0\n---\n# A model\n"
WEIGHTS = save({"score.weight": np.zeros((1, 32), np.float32)})


def make_request(number: int = 0, **fields: object) -> EvaluationRequest:
    """A waiting request for a model of its own; the fields are set unchecked."""
    request = EvaluationRequest(
        model=f"org/model-{number}",
        revision=f"{number:040x}",
        benchmark="starter",
        options={},
        votes=("visitor",),
        requested=NOW.replace(minute=number % 60),
        changed=NOW,
    )
    return request.model_copy(update=fields)


def request_files(*requests: EvaluationRequest) -> dict[str, bytes]:
    return {request.path: request.to_json() for request in requests}


def requests_in(files: dict[str, bytes]) -> dict[str, EvaluationRequest]:
    """The requests among the files of a repository by id."""
    requests = [parse_evaluation_request(text, path) for path, text in files.items() if path.startswith("requests/")]
    return {request.id: request for request in requests}


def model_files(**config: object) -> dict[str, bytes]:
    """A model as it is published: a classifier of 32 weights with a card, or what the config says instead."""
    fields = {"architectures": ["LlamaForSequenceClassification"], "model_type": "llama", "num_labels": 1} | config
    return {"README.md": CARD, "config.json": json.dumps(fields).encode(), "model.safetensors": WEIGHTS}


@dataclass
class NoWork:
    """An evaluation whose result is a file in a folder that all workers share, and a commit with it.

    It fails if another worker has evaluated the request already.
    """

    results: ResultsRepo
    shared: Path
    worker: str

    def evaluate(self, request: EvaluationRequest, hold: Hold) -> None:
        file = self.shared / request.id
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            assert file.read_text() in ("", self.worker), "two workers have evaluated it"
        else:
            os.close(handle)
        file.write_text(self.worker)

    def publish(self, request: EvaluationRequest) -> str:
        from huggingface_hub import CommitOperationAdd

        path = f"{request.model}.txt"
        retrying(
            lambda: self.results.api.create_commit(
                self.results.name,
                [CommitOperationAdd(path, request.id.encode())],
                commit_message=path,
                repo_type="dataset",
            ),
            "publishing",
        )
        return path

    def forget(self, request: EvaluationRequest) -> None:
        """The file stays, so that a second evaluation is noticed."""
