"""A time limit for foreign programs that a checkpoint brings along: chat templates, patterns of tokenizers, configs."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from rb_core.errors import ModelError

SECONDS = 8.0

Value = TypeVar("Value")


def within_time_limit(compute: Callable[[], Value], what: str, seconds: float = SECONDS) -> Value:
    """Return `compute()`, computed in another thread.

    what: the subject of the message. Raises ModelError when it takes longer, and RuntimeError for errors
    of Rust code, which have no class that could be caught.
    """
    values: list[Value] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(compute())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)  # what never ends does not keep the process from ending
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        # stops Python code, such as a template; a regular expression goes on
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        raise ModelError(f"{what} takes longer than {seconds:.0f} s and was given up: it may never end")
    if not errors:
        return values[0]
    if isinstance(errors[0], Exception) and type(errors[0]) is not Exception:
        raise errors[0]
    raise RuntimeError(str(errors[0])) from errors[0]  # Rust code raises Exception itself, and panics as BaseException
