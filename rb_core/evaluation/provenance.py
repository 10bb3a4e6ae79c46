"""Record where a result came from: data, versions, commit, command line, device, memory."""

from __future__ import annotations

import platform
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rb_core.benchmarks.data_report import cannot_be_won
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import as_text
from rb_core.results.schema import BenchmarkRef, Run
from rb_core.version import __version__

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "huggingface_hub", "accelerate", "numpy", "pandas")


def run_record(
    started: str, seconds: float, seed: int, batch_tokens: int | None, device: str, memory: Sequence[int]
) -> Run:
    """Return the record of a run. memory: peak bytes of each process."""
    commit, dirty = git_state()
    return Run(
        command=command_line(),
        started=started,
        duration=round(seconds, 3),
        seed=seed,
        batch_tokens=batch_tokens,
        device=device.partition(":")[0],
        device_name=device_name(device),
        peak_memory=max(memory),
        processes=len(memory),
        git_commit=commit,
        git_dirty=dirty,
        versions=versions(),
    )


def benchmark_ref(benchmark: Benchmark) -> BenchmarkRef:
    """Return the result's reference to the examples of a benchmark."""
    return BenchmarkRef(
        id=benchmark.spec.id,
        title=benchmark.spec.title,
        source=benchmark.source,
        revision=benchmark.revision,
        sha256=benchmark.sha256,
        limit=benchmark.limit,
        card=benchmark.card,
        unwinnable=sum(bool(cannot_be_won(example)) for example in benchmark.examples) or None,
        subsets={s.name: benchmark.sizes[s.name] for s in benchmark.spec.subsets if s.name in benchmark.sizes},
    )


def versions() -> dict[str, str]:
    """Return the versions of the interpreter, of this package and of the packages that it scores with."""
    installed = {"python": platform.python_version(), "rb_core": __version__}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command in a folder; None if it fails or git is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that this package runs from, and if it has changes; else (None, None)."""
    folder = Path(__file__).resolve().parents[1]
    # Installed into an environment inside another checkout, the package has no commit of its own.
    if git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    status = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return git(folder, "rev-parse", "HEAD"), None if status is None else bool(status)


def command_line() -> str:
    """Return the command of this process so that it can be typed again, without the possibly secret parts of
    addresses: user and password before the host, and the query."""
    name = Path(sys.argv[0]).name
    program = "python -m rb_core" if name == "__main__.py" else name
    public = (
        re.sub(r"(https?://)(?:[^/@,]*@)?([^,?#]*)[^,]*", r"\1\2", as_text(argument)) for argument in sys.argv[1:]
    )
    return " ".join([program, *map(shlex.quote, public)])


def device_name(device: str) -> str:
    """Return the name of the GPU model, or of the processor architecture."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return platform.machine()


def peak_memory(device: str = "cpu") -> int:
    """Return the peak memory of this process in bytes: allocated on the GPU, or else resident on the machine."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
