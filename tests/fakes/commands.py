"""Run the command line in processes of its own, cheaply.

A process that starts Python imports pandas, pyarrow and scipy again, which takes longer than most commands. Here one
process imports them once and forks for each command. The hub's client is not imported before the fork, because it reads
its endpoint and token from the environment when it is imported.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.paths import ROOT

PROGRAM = "rb_core/__main__.py"  # what sys.argv[0] is under `python -m rb_core`


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path = ROOT, *, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `python -m rb_core ARGUMENTS` with exactly this environment, after the statements in `before`."""
    server = _fork_server()
    with tempfile.TemporaryDirectory() as folder:
        order = Order(list(arguments), dict(environment), str(cwd), folder, before)
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        out, err = (Path(folder, name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess([PROGRAM, *arguments], status, out, err)


class Order(NamedTuple):
    """A command to run; its output goes to the files `stdout` and `stderr` in the folder."""

    arguments: list[str]
    environment: dict[str, str]
    cwd: str
    folder: str
    before: str


@cache
def _fork_server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.commands"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.kill)
    return server


def serve() -> None:
    """Read orders from standard input, fork for each, and answer with its exit status."""
    import scipy.stats  # noqa: F401 - imported for the forks

    from rb_core.cli.main import make_app

    make_app()  # imports the modules of all commands for the forks
    assert "huggingface_hub" not in sys.modules
    for line in sys.stdin:
        order = Order(*json.loads(line))
        child = os.fork()
        if child == 0:
            _become(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: Order) -> NoReturn:
    """Run the command in this process, which ends with it."""
    status = 1
    try:
        sys.stdin.close()
        os.environ.clear()
        os.environ.update(order.environment)
        os.chdir(order.cwd)
        for name, number in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(Path(order.folder, name), os.O_CREAT | os.O_WRONLY), number)
        sys.argv = [PROGRAM, *order.arguments]
        exec(order.before, {})  # noqa: S102 - statements of a test
        from rb_core.cli import main
        from rb_core.cli.console import console

        console.width = int(order.environment.get("COLUMNS", "80"))
        main.main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - what Python would print for an unhandled error
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
