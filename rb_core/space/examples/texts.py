"""The texts of a benchmark's items: from the package, from a folder of the host, or from the hub, in the background.

A visitor waits for none of this: until the texts are there, the page shows ids and outcomes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError, RewardBenchError
from rb_core.space.examples.items import text_length

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "RB_TEXTS"
MAX_CHARACTERS = 64_000_000  # of one benchmark's texts
MAX_BENCHMARKS = 4  # whose texts are kept
RETRY_AFTER = 600.0  # seconds
AWAY = (
    "The texts are on the hub, which does not answer now. Item ids and outcomes are shown; the page asks again in some "
    "minutes."
)
NOWHERE = "The texts of this benchmark are not part of this page. Item ids and outcomes are shown."
TOO_LARGE = "The texts of this benchmark are too large for this page. Item ids and outcomes are shown."


class Texts:
    """The examples of a benchmark by id, at a commit of their dataset; None for those of a file."""

    def __init__(self, examples: Mapping[str, Example], revision: str | None = None) -> None:
        self.examples = examples
        self.revision = revision

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Return the number of characters of each item."""
        return {item: text_length(example) for item, example in self.examples.items()}


class TextState(NamedTuple):
    """The texts of a benchmark as far as they are known. message: why there are none, empty while they are read."""

    state: Literal["ready", "loading", "away"]
    texts: Texts
    message: str = ""


NO_TEXTS = Texts({})
LoadTexts = Callable[[str], Texts]


class MissingTextsError(RewardBenchError):
    """Texts that this page cannot have; the message is for visitors."""


class TextCache:
    """Reads the texts of benchmarks in threads and keeps the last ones. What failed is tried again after a while."""

    def __init__(self, load: LoadTexts) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Thread] = {}
        self._states: OrderedDict[str, tuple[TextState, float]] = OrderedDict()

    def get(self, benchmark: str, wait: float = 0.0) -> TextState:
        """Return the texts, or start to read them and return after `wait` seconds at the latest."""
        with self._lock:
            if (known := self._known(benchmark)) is not None:
                return known
            if benchmark not in self._reading:
                thread = threading.Thread(target=self._read, args=(benchmark,), name="read-texts", daemon=True)
                self._reading[benchmark] = thread
                thread.start()
            thread = self._reading[benchmark]
        thread.join(wait)
        with self._lock:
            return self._known(benchmark) or TextState("loading", NO_TEXTS)

    def _known(self, benchmark: str) -> TextState | None:
        state, read_at = self._states.get(benchmark, (None, 0.0))
        if state is None or (state.state == "away" and time.monotonic() - read_at > RETRY_AFTER):
            return None
        self._states.move_to_end(benchmark)
        return state

    def _read(self, benchmark: str) -> None:
        try:
            state = TextState("ready", self._load(benchmark))
        except MissingTextsError as error:
            state = TextState("away", NO_TEXTS, str(error))
        except RewardBenchError as error:
            log.warning("texts of %s: %s", benchmark, error)
            state = TextState("away", NO_TEXTS, AWAY)
        except Exception:
            # Whatever goes wrong in the thread, visitors must not wait for it for ever.
            log.exception("texts of %s", benchmark)
            state = TextState("away", NO_TEXTS, AWAY)
        with self._lock:
            self._states[benchmark] = state, time.monotonic()
            del self._reading[benchmark]
            while len(self._states) > MAX_BENCHMARKS:
                self._states.popitem(last=False)


def load_texts(benchmark: str) -> Texts:
    """Return the texts of a benchmark: from the host's folder, the package or the hub, at the record's revision.

    Raises MissingTextsError for a benchmark whose texts are nowhere, or are too large, and DataError as
    `load_benchmark`.
    """
    data = _host_file(benchmark)
    if benchmark not in BENCHMARKS and data is None:
        raise MissingTextsError(NOWHERE)
    loaded = load_benchmark(benchmark, data=data) if benchmark in BENCHMARKS else load_benchmark(str(data))
    texts = Texts({example.id: example for example in loaded.examples}, loaded.revision)
    if sum(texts.lengths.values()) > MAX_CHARACTERS:
        raise MissingTextsError(TOO_LARGE)
    return texts


def _host_file(benchmark: str) -> Path | None:
    """Return the file of a benchmark's texts in the folder that the host names, None without one.

    Raises DataError for a folder that does not exist.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise DataError(f"{FOLDER_VARIABLE} is {folder!r}, which is no folder")
    return next(iter(sorted(Path(folder).glob(f"{benchmark}.*"))), None)
