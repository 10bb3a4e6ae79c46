"""Workers in processes of their own, each started again with the same name when it is killed.

`main`, with the arguments URL TOKEN FOLDER COUNT, ends when every worker has found no request that is free and none
that runs. A worker writes its process id to FOLDER/pid-NAME. The process itself does nothing but fork and wait.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path

from huggingface_hub import HfApi

from rb_core import retries
from rb_core.errors import HubError
from rb_core.evaluation_queue.repository import RequestsRepo
from rb_core.evaluation_queue.worker import Worker
from rb_core.hub.repository import ResultsRepo
from tests.fakes.requests import REQUESTS, NoWork
from tests.fakes.result_sets import REPO


def work(url: str, token: str, folder: Path, name: str) -> None:
    """Carry out requests until none is left."""
    api = HfApi(endpoint=url, token=token)
    repo = RequestsRepo(REQUESTS, api)
    evaluation = NoWork(ResultsRepo(REPO, api), folder / "shared", name)
    worker = Worker(repo, name, evaluation, timedelta(hours=20), attempts=10_000, pause=0.01)
    left = True
    while left:
        try:
            settled = worker.run_one()
            left = settled is not None or any(each.state == "running" for each in repo.queue().requests.values())
        except HubError:  # as the command does, it tries again
            time.sleep(0.01)


def start(url: str, token: str, folder: Path, name: str) -> int:
    """Fork a worker, and return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        (folder / f"pid-{name}").write_text(str(os.getpid()))
        work(url, token, folder, name)
        status = 0
    except BaseException:  # noqa: BLE001 - what Python would print for an unhandled error
        traceback.print_exc()
    os._exit(status)


def main() -> None:
    url, token, folder, count = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    retries.FIRST_WAIT = 0.01
    (folder / "shared").mkdir()
    workers = {start(url, token, folder, f"worker-{i}"): f"worker-{i}" for i in range(count)}
    failed = 0
    while workers:
        ended, status = os.wait()
        name = workers.pop(ended)
        if os.WIFSIGNALED(status):
            workers[start(url, token, folder, name)] = name
        failed += os.waitstatus_to_exitcode(status) > 0
    sys.exit(failed)
