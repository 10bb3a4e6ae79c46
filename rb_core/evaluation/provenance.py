"""Record where a result came from: versions, commit, command line, memory."""

from __future__ import annotations

import platform
import re
import resource
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rb_core import __version__

# Provenance

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "huggingface_hub", "accelerate", "numpy", "pandas")


def versions() -> dict[str, str]:
    """Versions of the interpreter, this package and those it scores with."""
    found = {"python": platform.python_version(), "rb_core": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an optional package that is not there has no version
    return found


def git(folder: Path, *arguments: str) -> str | None:
    """What git says in that folder; None where it fails, or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_state() -> tuple[str | None, bool | None]:
    """The commit of the checkout this package runs from, and whether it has changes; (None, None) outside of one."""
    here = Path(__file__).resolve().parent
    # Installed into an environment that lies inside some other checkout, the package has no commit of its own.
    if git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    status = git(here, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return git(here, "rev-parse", "HEAD"), None if status is None else bool(status)


def command_line() -> str:
    """The command that was run, as it can be typed again; of addresses without what may be secret: a user and password
    in front of the host, and what follows a question mark."""
    name = Path(sys.argv[0]).name
    program = "python -m rb_core" if name == "__main__.py" else name
    public = (re.sub(r"(https?://)(?:[^/@,]*@)?([^,?#]*)[^,]*", r"\1\2", argument) for argument in sys.argv[1:])
    return " ".join([program, *map(shlex.quote, public)])


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
