"""Exchange two folders in one step of the file system, if it has one."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

AT_FDCWD = -100  # paths are relative to the working directory
RENAME_EXCHANGE = 2  # RENAME_SWAP on macOS


def exchange(new: Path, place: Path) -> None:
    """Put the folder `new` at `place`; a folder that was at `place` is at `new` afterwards.

    One atomic step on Linux and macOS. If the file system does not support it, two steps: between them there is no
    folder at `place`, and the old one is beside it. Raises OSError when neither works.
    """
    if not os.path.lexists(place):
        new.rename(place)
    elif not _exchange_at_once(new, place):
        aside = new.with_name(f"{new.name}-old")
        place.rename(aside)
        try:
            new.rename(place)
        except OSError:
            aside.rename(place)
            raise
        aside.rename(new)


def _exchange_at_once(left: Path, right: Path) -> bool:
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        return bool(library.renameat2(AT_FDCWD, os.fsencode(left), AT_FDCWD, os.fsencode(right), RENAME_EXCHANGE) == 0)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return bool(library.renamex_np(os.fsencode(left), os.fsencode(right), RENAME_EXCHANGE) == 0)
    return False
