"""Loaded models, within a budget of memory: loaded when first asked for, and the longest unused goes first."""

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


BEAT = 0.5  # seconds between two words on how the loading goes


RETRY = 60.0  # seconds for which a model that could not be loaded is not tried again


@dataclass(frozen=True)
class Loaded:
    """A model's scorer. size: bytes of its weights."""

    name: str
    spec: ModelSpec
    scorer: Scorer
    size: int


class LoadedModels:
    """At most `budget` bytes of weights. One model is loaded at a time, in a thread of its own."""

    def __init__(self, budget: int, resolve: Callable[[str], ModelSpec], load: Callable[[ModelSpec], Scorer]) -> None:
        self._budget = budget
        self._resolve = resolve
        self._load = load
        self._lock = threading.Lock()
        self._loaded: dict[str, Loaded] = {}  # the longest unused first
        self._loading: dict[str, Future[Loaded]] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load-model")

    @property
    def names(self) -> list[str]:
        """What is loaded, the longest unused first."""
        with self._lock:
            return list(self._loaded)

    @property
    def size(self) -> int:
        """Bytes of all that is loaded."""
        with self._lock:
            return sum(each.size for each in self._loaded.values())

    def get(self, name: str) -> Loaded:
        """The model, loaded if it is not. Raises InputError, for the visitor, when it cannot be; the log says why."""
        return self._begin(name).result()

    def bring(self, name: str) -> Iterator[str]:
        """As `get`, with a word on how it goes every half second until the model is there."""
        loading = self._begin(name)
        begin = time.monotonic()
        while True:
            try:
                loading.result(timeout=BEAT)
                return
            except FutureTimeoutError:
                if loading.done():
                    raise
            yield f"Loading {name}: {time.monotonic() - begin:.0f} s so far. Only the first time takes this long."

    def _begin(self, name: str) -> Future[Loaded]:
        """The model, or its loading that is under way or begins now."""
        with self._lock:
            if name in self._loaded:
                self._loaded[name] = self._loaded.pop(name)
                done: Future[Loaded] = Future()
                done.set_result(self._loaded[name])
                return done
            since, message = self._failed.get(name, (0.0, ""))
            if message and time.monotonic() - since < RETRY:
                raise InputError(message)
            if name not in self._loading:
                self._loading[name] = self._thread.submit(self._bring, name)
            return self._loading[name]

    def _bring(self, name: str) -> Loaded:
        """Make room and load, in the thread that loads."""
        try:
            made = self._made(name)
        except InputError as error:
            with self._lock:
                self._failed[name] = (time.monotonic(), str(error))
            raise
        finally:
            with self._lock:
                del self._loading[name]
        return made

    def _made(self, name: str) -> Loaded:
        try:
            spec = self._resolve(name)
            self._make_room(name, expected_bytes(spec))
            scorer = self._load(spec)
        except InputError:
            raise
        except Exception as error:  # whatever a library makes of a checkpoint: nobody tries in vain again at once
            log.warning("%s cannot be loaded: %s", name, error, exc_info=not isinstance(error, RewardBenchError))
            raise InputError(f"{name} cannot be loaded on this machine. Choose another model.") from error
        made = Loaded(name, spec, scorer, weight_bytes(scorer))
        self._make_room(name, made.size)
        with self._lock:
            self._loaded[name] = made
        return made

    def _make_room(self, name: str, size: int) -> None:
        """Let go of the longest unused until so many bytes fit. Raises InputError where they never do."""
        if size > self._budget:
            raise InputError(
                f"{name} takes {size / GIB:.1f} GiB, and this page keeps to {self._budget / GIB:.1f} GiB. "
                "Choose a smaller model."
            )
        gone = []
        with self._lock:
            while self._loaded and sum(each.size for each in self._loaded.values()) + size > self._budget:
                gone.append(self._loaded.pop(next(iter(self._loaded))).name)
        for each in gone:
            log.info("%s makes room for %s", each, name)
        if gone:
            gc.collect()


def weight_bytes(scorer: Any) -> int:
    """Bytes of a loaded scorer's weights; 0 for a baseline, and for a judge that a server answers for."""
    models = scorer.models() if hasattr(scorer, "models") else []
    judge = getattr(getattr(scorer, "generator", None), "model", None)
    models = [*models, judge] if hasattr(judge, "parameters") else models  # of a served judge it is a name
    tensors = {id(t): t for model in models for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def expected_bytes(spec: ModelSpec) -> int:
    """Bytes of the weight files that will be loaded, which are kept in the dtype they are stored in. Raises
    RewardBenchError when the hub does not say."""
    parts = {each.location: each for each in (spec.checkpoint, spec.adapter, spec.reference) if each is not None}
    nothing = spec.kind == "baseline" or spec.options.judge.served
    return 0 if nothing else sum(map(_file_bytes, parts.values()))


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
