"""Which models the page scores with: the built-in one, the baselines, and those that the host allows."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from rb_core.errors import RewardBenchError, hub_errors
from rb_core.models import RECORDS

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

# Whether the hub has that model.
OnHub = Callable[[str], bool]


class Offer:
    """The names that visitors may choose, and where each of them is loaded from.

    What the host lists is offered at once. The defaults are looked for on the hub by a thread of its own, so that no
    visitor waits for a hub that is not there.
    """

    def __init__(self, listed: tuple[str, ...] | None, on_hub: OnHub, period: float = PERIOD) -> None:
        self._places = {name: name for name in ALWAYS}
        for entry in listed or ():
            self._places[_name(entry)] = entry
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

    An entry is a hub id or a folder. Raises RewardBenchError for one that is neither, and for two of one name.
    """
    text = os.environ.get("RB_LIVE_MODELS")
    listed = None if text is None else tuple(text.replace(",", " ").split())
    for entry in listed or ():
        folder = Path(entry).expanduser().is_dir()
        if entry not in ALWAYS and not folder and (entry.count("/") != 1 or entry.startswith((".", "/", "~"))):
            raise RewardBenchError(f"RB_LIVE_MODELS lists {entry!r}, which is neither a folder nor a hub id (ORG/NAME)")
    names = [_name(entry) for entry in dict.fromkeys(listed or ())]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RewardBenchError(f"RB_LIVE_MODELS lists two folders that visitors would read as {twice!r}; rename one")
    return Offer(listed, on_hub).start()


def on_hub(name: str) -> bool:
    """Whether the hub answers for that model."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=TIMEOUT)
    except hub_errors() as error:
        log.info("%s is not offered: the hub does not answer for it (%s)", name, type(error).__name__)
        return False
    return True
