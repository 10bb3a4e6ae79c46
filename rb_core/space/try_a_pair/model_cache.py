"""A cache of loaded models with a memory limit: the least recently used model is removed first."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rb_core.errors import RewardBenchError, first_line, hub_errors
from rb_core.models.checkpoint import Checkpoint
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.base import Scorer
from rb_core.space.limits import GIB, InputError

log = logging.getLogger(__name__)

PROGRESS_PERIOD = 0.5  # seconds between two progress messages
RETRY_PERIOD = 60.0  # seconds before a model that failed to load is tried again


@dataclass(frozen=True)
class LoadedModel:
    """A model's scorer, with the size of its weights in bytes."""

    name: str
    spec: ModelSpec
    scorer: Scorer
    size: int


class ModelCache:
    """Keeps at most `max_bytes` of weights. A thread of its own loads one model at a time."""

    def __init__(
        self, max_bytes: int, resolve: Callable[[str], ModelSpec], load: Callable[[ModelSpec], Scorer]
    ) -> None:
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._load_scorer = load
        self._lock = threading.Lock()
        self._loaded: dict[str, LoadedModel] = {}  # least recently used first
        self._loading: dict[str, Future[LoadedModel]] = {}
        self._failures: dict[str, tuple[float, str]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load-model")

    @property
    def names(self) -> list[str]:
        """The loaded models, least recently used first."""
        with self._lock:
            return list(self._loaded)

    @property
    def size(self) -> int:
        """Bytes of all loaded weights."""
        with self._lock:
            return sum(model.size for model in self._loaded.values())

    def get(self, name: str) -> LoadedModel:
        """Return a model, and load it first if necessary. Raises InputError if it cannot be loaded; the log has why."""
        return self._request(name).result()

    def load(self, name: str) -> Iterator[str]:
        """Load a model if necessary, and yield progress messages. Raises InputError as `get` does."""
        future = self._request(name)
        begin = time.monotonic()
        while True:
            try:
                future.result(timeout=PROGRESS_PERIOD)
                return
            except FutureTimeoutError:
                if future.done():
                    raise
            yield f"Loading {name} ({time.monotonic() - begin:.0f} s). The model stays loaded for the next questions."

    def _request(self, name: str) -> Future[LoadedModel]:
        with self._lock:
            if name in self._loaded:
                self._loaded[name] = self._loaded.pop(name)
                future: Future[LoadedModel] = Future()
                future.set_result(self._loaded[name])
                return future
            failed_at, message = self._failures.get(name, (-RETRY_PERIOD, ""))
            if message and time.monotonic() - failed_at < RETRY_PERIOD:
                raise InputError(message)
            if name not in self._loading:
                self._loading[name] = self._thread.submit(self._load, name)
            return self._loading[name]

    def _load(self, name: str) -> LoadedModel:
        """Load a model and remember a failure. Runs in the loading thread."""
        try:
            return self._load_and_keep(name)
        except InputError as error:
            with self._lock:
                self._failures[name] = (time.monotonic(), str(error))
            raise
        finally:
            with self._lock:
                del self._loading[name]

    def _load_and_keep(self, name: str) -> LoadedModel:
        try:
            spec = self._resolve(name)
            self._make_room(name, expected_bytes(spec))
            scorer = self._load_scorer(spec)
        except InputError:
            raise
        except Exception as error:  # a library may raise anything for a broken checkpoint
            log.warning("%s cannot be loaded: %s", name, error, exc_info=not isinstance(error, RewardBenchError))
            raise InputError(f"{name} cannot be loaded on this machine. Choose another model.") from error
        model = LoadedModel(name, spec, scorer, weight_bytes(scorer))
        self._make_room(name, model.size)
        with self._lock:
            self._loaded[name] = model
        return model

    def _make_room(self, name: str, size: int) -> None:
        """Remove least recently used models until `size` bytes fit. Raises InputError if they never do."""
        if size > self._max_bytes:
            raise InputError(
                f"{name} needs {size / GIB:.1f} GiB of memory; the limit of this page is {self._max_bytes / GIB:.1f} "
                "GiB. Choose a smaller model."
            )
        removed = []
        with self._lock:
            while self._loaded and sum(model.size for model in self._loaded.values()) + size > self._max_bytes:
                removed.append(self._loaded.pop(next(iter(self._loaded))).name)
        for removed_name in removed:
            log.info("%s is removed to make room for %s", removed_name, name)
        if removed:
            gc.collect()


def weight_bytes(scorer: Any) -> int:
    """Return the bytes of a scorer's weights; 0 for baselines and for judges on a server."""
    models = scorer.models() if hasattr(scorer, "models") else []
    judge = getattr(getattr(scorer, "generator", None), "model", None)
    models = [*models, judge] if hasattr(judge, "parameters") else models  # of a served judge it is a name
    tensors = {id(t): t for model in models for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def expected_bytes(spec: ModelSpec) -> int:
    """Return the bytes of a model's weight files, 0 for baselines and judges on a server.

    Weights are loaded in the dtype in which they are stored. Raises RewardBenchError if the hub does not answer.
    """
    if spec.kind == "baseline" or spec.options.judge.served:
        return 0
    checkpoints = {c.location: c for c in (spec.checkpoint, spec.adapter, spec.reference) if c is not None}
    return sum(map(_file_bytes, checkpoints.values()))


def _file_bytes(checkpoint: Checkpoint) -> int:
    if checkpoint.hub_revision is None:
        return sum(file.stat().st_size for file in Path(checkpoint.location).glob("*.safetensors"))
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(checkpoint.location, revision=checkpoint.hub_revision, files_metadata=True)
    except hub_errors() as error:
        raise RewardBenchError(f"{checkpoint.location}: {first_line(error)}") from error
    weights = (file for file in info.siblings or () if file.rfilename.endswith(".safetensors"))
    return sum(file.size or 0 for file in weights if "/" not in file.rfilename)  # folders hold other versions of them
