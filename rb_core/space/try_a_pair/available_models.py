"""The models the page scores with: the built-in one, the baselines, and those that the host lists."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from rb_core.errors import RewardBenchError, hub_errors
from rb_core.models.options import MODES, Mode
from rb_core.models.registry import RECORDS
from rb_core.scorers.http.session import Endpoint
from rb_core.scorers.judge.api_backend import KEY_VARIABLE, completions_path

log = logging.getLogger(__name__)

ALWAYS_AVAILABLE = (
    "builtin/tiny-rm",
    "baseline/longest",
    "baseline/shortest",
    "baseline/prompt-overlap",
    "baseline/random",
    "baseline/constant",
)
# Strong models that two processor cores can run; they are added once the hub has them.
DEFAULT_MODELS = (
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B",
    "Skywork/Skywork-Reward-V2-Llama-3.2-1B",
    "Skywork/Skywork-Reward-V2-Qwen3-1.7B",
)
HUB_RETRY_PERIOD = 600.0  # seconds
HUB_TIMEOUT = 10.0  # seconds
MAX_NAME_LENGTH = 120  # characters


class ListedJudge(NamedTuple):
    """A generative judge that the host lists."""

    name: str  # shown to visitors
    location: str  # hub id or folder; of a served judge the name that its server uses
    base_url: str | None = None  # of an OpenAI-compatible server; None for a judge that runs in this process
    mode: Mode = "pairwise"


class AvailableModels:
    """The names that visitors may choose, and the location each model is loaded from.

    What the host lists is available at once. Without a list, a thread asks the hub for the default models, so that no
    visitor waits for a hub that does not answer.
    """

    def __init__(
        self,
        listed: tuple[str, ...] | None,
        is_on_hub: Callable[[str], bool],
        period: float = HUB_RETRY_PERIOD,
        judges: tuple[ListedJudge, ...] = (),
    ) -> None:
        self.judges = {judge.name: judge for judge in judges}
        self._locations = {name: name for name in ALWAYS_AVAILABLE}
        self._locations |= {_visible_name(entry): entry for entry in listed or ()}
        self._locations |= {judge.name: judge.location for judge in judges}
        self._wanted = () if listed is not None else DEFAULT_MODELS
        self._is_on_hub = is_on_hub
        self._period = period
        self._stopped = threading.Event()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._locations)

    def location(self, name: str) -> str:
        """Return the hub id or folder of a model. Raises KeyError if it is not available."""
        return self._locations[name]

    def start(self) -> AvailableModels:
        """Start the thread that asks the hub for the default models; it ends when the hub has all of them."""
        if self._wanted:
            threading.Thread(target=self._ask_hub, name="find-default-models", daemon=True).start()
        return self

    def stop(self) -> None:
        self._stopped.set()

    def _ask_hub(self) -> None:
        missing = list(self._wanted)
        while missing and not self._stopped.is_set():
            # One request is enough to see that the hub does not answer.
            if self._is_on_hub(missing[0]):
                available = [missing[0], *filter(self._is_on_hub, missing[1:])]
                self._locations = self._locations | {name: name for name in available}
                missing = [name for name in missing if name not in available]
            if missing:
                self._stopped.wait(self._period)


ONLY_BUILT_IN_MODELS = AvailableModels((), lambda name: False)


def _visible_name(entry: str) -> str:
    """Return the name that visitors see: of a folder only its last part."""
    if entry in RECORDS or not Path(entry).expanduser().is_dir():
        return entry
    return "local/" + Path(entry).expanduser().resolve().name


def models_from_environment() -> AvailableModels:
    """Return the models in RB_LIVE_MODELS (default models if unset) and the judges in RB_LIVE_JUDGES.

    RB_LIVE_MODELS holds hub ids and folders, separated by commas or spaces. Raises RewardBenchError for an entry that
    is neither, and for two entries of one name.
    """
    text = os.environ.get("RB_LIVE_MODELS")
    listed = None if text is None else _entries(text)
    for entry in listed or ():
        if entry not in ALWAYS_AVAILABLE and not _may_be_loaded(entry):
            raise RewardBenchError(f"RB_LIVE_MODELS lists {entry!r}, which is neither a folder nor a hub id (ORG/NAME)")
    names = [_visible_name(entry) for entry in listed or ()]
    if name := _first_duplicate(names):
        raise RewardBenchError(f"RB_LIVE_MODELS lists two folders with the visible name {name!r}; rename one")
    judges = judges_from_environment()
    if name := next(
        (judge.name for judge in judges if judge.name in (*ALWAYS_AVAILABLE, *DEFAULT_MODELS, *names)), None
    ):
        raise RewardBenchError(f"RB_LIVE_JUDGES lists {name!r}, which is the name of a reward model")
    return AvailableModels(listed, is_on_hub, judges=judges).start()


def judges_from_environment() -> tuple[ListedJudge, ...]:
    """Return the judges in RB_LIVE_JUDGES, asked in the mode RB_LIVE_JUDGE_MODE.

    An entry is NAME@BASE_URL for a served judge, or a hub id or folder to load; commas or spaces separate entries.
    Raises RewardBenchError for any other entry, two entries of one name, or an unknown mode.
    """
    mode = os.environ.get("RB_LIVE_JUDGE_MODE") or "pairwise"
    if mode not in MODES:
        raise RewardBenchError(f"RB_LIVE_JUDGE_MODE is {mode!r}; choose one of {', '.join(MODES)}")
    judges = tuple(_listed_judge(entry, mode) for entry in _entries(os.environ.get("RB_LIVE_JUDGES", "")))
    if name := _first_duplicate(judge.name for judge in judges):
        raise RewardBenchError(f"RB_LIVE_JUDGES lists two judges with the visible name {name!r}; rename one")
    return judges


def _listed_judge(entry: str, mode: Mode) -> ListedJudge:
    name, is_served, rest = entry.partition("@http")
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise RewardBenchError(
            "RB_LIVE_JUDGES has an entry without a valid name; write NAME@BASE_URL, a folder or a hub id"
        )
    if is_served:
        try:
            Endpoint.of_server(f"http{rest}", completions_path, KEY_VARIABLE)
        except RewardBenchError as error:
            raise RewardBenchError(f"RB_LIVE_JUDGES, {name}: {error}") from error
        return ListedJudge(name, name, f"http{rest}", mode)
    if not _may_be_loaded(entry):
        raise RewardBenchError(f"RB_LIVE_JUDGES lists {name!r}, which is neither NAME@BASE_URL, a folder nor a hub id")
    return ListedJudge(_visible_name(entry), entry, None, mode)


def _entries(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _first_duplicate(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _may_be_loaded(entry: str) -> bool:
    """Return True for a folder, and for text with the form of a hub id."""
    return Path(entry).expanduser().is_dir() or (entry.count("/") == 1 and not entry.startswith((".", "/", "~")))


def is_on_hub(name: str) -> bool:
    """Return True if the hub has the model, False also if the hub does not answer."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
    except hub_errors() as error:
        log.info("%s is not available: the hub does not answer for it (%s)", name, type(error).__name__)
        return False
    return True
