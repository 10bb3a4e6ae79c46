"""Which models the page scores with: the built-in one, the baselines, and those that the host allows."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rb_core.errors import RewardBenchError, hub_errors
from rb_core.models.options import MODES, Mode
from rb_core.models.registry import RECORDS
from rb_core.scorers.judge.http_session import Endpoint

log = logging.getLogger(__name__)


ALWAYS = (
    "builtin/tiny-rm",
    "baseline/longest",
    "baseline/shortest",
    "baseline/prompt-overlap",
    "baseline/random",
    "baseline/constant",
)


# Small and strong: what two cores can score, offered once the hub has answered for it.
DEFAULTS = (
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B",
    "Skywork/Skywork-Reward-V2-Llama-3.2-1B",
    "Skywork/Skywork-Reward-V2-Qwen3-1.7B",
)


PERIOD = 600.0  # seconds between two looks at a hub that did not answer


TIMEOUT = 10.0  # seconds for one answer


MOST_OF_A_NAME = 120  # characters


class ListedJudge(NamedTuple):
    """A generative judge that the host allows. name: as visitors read it; place: a server's name for it, or where it is
    loaded from; base_url: of an OpenAI-compatible server, None for a judge that is generated in this process."""

    name: str
    place: str
    base_url: str | None = None
    mode: Mode = "pairwise"


# Whether the hub has that model.
OnHub = Callable[[str], bool]


class Offer:
    """The names that visitors may choose, and where each of them is loaded from.

    What the host lists is offered at once. The defaults are looked for on the hub by a thread of its own, so that no
    visitor waits for a hub that is not there.
    """

    def __init__(
        self,
        listed: tuple[str, ...] | None,
        on_hub: OnHub,
        period: float = PERIOD,
        judges: tuple[ListedJudge, ...] = (),
    ) -> None:
        self._places = {name: name for name in ALWAYS}
        for entry in listed or ():
            self._places[_name(entry)] = entry
        self.judges = {judge.name: judge for judge in judges}
        self._places |= {judge.name: judge.place for judge in judges}
        self._sought = () if listed is not None else DEFAULTS
        self._on_hub = on_hub
        self._period = period
        self._ended = threading.Event()

    @property
    def names(self) -> tuple[str, ...]:
        """What is offered now."""
        return tuple(self._places)

    def place(self, name: str) -> str:
        """What `models.resolve` is to be asked for. Raises KeyError for what is not offered."""
        return self._places[name]

    def start(self) -> Offer:
        """Begin to look for the defaults; the thread ends with the process, or when all are found."""
        if self._sought:
            threading.Thread(target=self._seek, name="look-for-models", daemon=True).start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _seek(self) -> None:
        missing = list(self._sought)
        while missing and not self._ended.is_set():
            # Of a hub that is not there one question is enough.
            first, *others = missing
            if self._on_hub(first):
                found = [first, *(name for name in others if self._on_hub(name))]
                self._places = self._places | {name: name for name in found}
                missing = [name for name in missing if name not in found]
            if missing:
                self._ended.wait(self._period)


def _name(entry: str) -> str:
    """The name that a visitor reads: of a folder only its last part."""
    if entry in RECORDS or not Path(entry).expanduser().is_dir():
        return entry
    return "local/" + Path(entry).expanduser().resolve().name


def offer_from_environment() -> Offer:
    """The models that RB_LIVE_MODELS lists, apart by commas or spaces, beside the built-in ones; not set: the defaults.

    An entry is a hub id or a folder. Raises RewardBenchError for one that is neither, and for two of one name. Beside
    them are the judges of RB_LIVE_JUDGES.
    """
    text = os.environ.get("RB_LIVE_MODELS")
    listed = None if text is None else tuple(text.replace(",", " ").split())
    for entry in listed or ():
        if entry not in ALWAYS and not _can_be_loaded(entry):
            raise RewardBenchError(f"RB_LIVE_MODELS lists {entry!r}, which is neither a folder nor a hub id (ORG/NAME)")
    names = [_name(entry) for entry in dict.fromkeys(listed or ())]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RewardBenchError(f"RB_LIVE_MODELS lists two folders that visitors would read as {twice!r}; rename one")
    judges = judges_from_environment()
    if twice := next((judge.name for judge in judges if judge.name in (*ALWAYS, *DEFAULTS, *names)), None):
        raise RewardBenchError(f"RB_LIVE_JUDGES lists {twice!r}, which is offered as a reward model")
    return Offer(listed, on_hub, judges=judges).start()


def judges_from_environment() -> tuple[ListedJudge, ...]:
    """The judges that RB_LIVE_JUDGES lists, apart by commas or spaces, asked in the mode RB_LIVE_JUDGE_MODE.

    An entry is NAME@BASE_URL, or a hub id or folder to be loaded here. Raises RewardBenchError for anything else, for
    two of one name, and for a mode that is none.
    """
    mode = os.environ.get("RB_LIVE_JUDGE_MODE") or "pairwise"
    if mode not in MODES:
        raise RewardBenchError(f"RB_LIVE_JUDGE_MODE is {mode!r}; choose one of {', '.join(MODES)}")
    entries = os.environ.get("RB_LIVE_JUDGES", "").replace(",", " ").split()
    found = tuple(_judge(entry, mode) for entry in dict.fromkeys(entries))
    names = [judge.name for judge in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RewardBenchError(f"RB_LIVE_JUDGES lists two judges that visitors would read as {twice!r}; rename one")
    return found


def _judge(entry: str, mode: Mode) -> ListedJudge:
    name, served, rest = entry.partition("@http")
    if not name.isprintable() or not 0 < len(name) <= MOST_OF_A_NAME:
        raise RewardBenchError("RB_LIVE_JUDGES lists an entry without a name; say NAME@BASE_URL, or a folder or hub id")
    if served:
        try:
            Endpoint.of_server(f"http{rest}")
        except RewardBenchError as error:
            raise RewardBenchError(f"RB_LIVE_JUDGES, {name}: {error}") from error
        return ListedJudge(name, name, f"http{rest}", mode)
    if not _can_be_loaded(entry):
        raise RewardBenchError(f"RB_LIVE_JUDGES lists {name!r}, which is neither NAME@BASE_URL, a folder nor a hub id")
    return ListedJudge(_name(entry), entry, None, mode)


def _can_be_loaded(entry: str) -> bool:
    """Whether it is a folder, or may be a hub id."""
    return Path(entry).expanduser().is_dir() or (entry.count("/") == 1 and not entry.startswith((".", "/", "~")))


def on_hub(name: str) -> bool:
    """Whether the hub answers for that model."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=TIMEOUT)
    except hub_errors() as error:
        log.info("%s is not offered: the hub does not answer for it (%s)", name, type(error).__name__)
        return False
    return True
