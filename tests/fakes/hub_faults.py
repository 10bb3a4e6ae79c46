"""Faults that the local hub can be told to have: which request they meet, and what happens to it."""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from dataclasses import dataclass
from threading import Lock

STATUSES = {"401": 401, "403": 403, "409": 409, "412": 412, "429": 429, "500": 500, "502": 502, "503": 503, "504": 504}


BROKEN = ("cut-up", "cut-down", "wrong-hash", "stall", "lost-answer")


@dataclass(frozen=True)
class Fault:
    """One kind of trouble for the requests that fit.

    kind: a status such as "503"; "cut-up" (half of the request's body is read, then the connection goes);
    "cut-down" (all headers and half of the answer's body, then the connection goes); "wrong-hash" (content of the right
    length that does not have its hash: a download's bytes, the ETag of a HEAD or a redirect, or what is stored of an
    LFS upload; other requests are not changed);
    "stall" (nothing for `seconds`, then the usual answer, unless the client has gone); "lost-answer" (the request is
    carried out, and the connection goes before its answer).
    at: the how many-th fitting request from now is the first to meet it; the next one when not given.
    match: a regular expression searched in "METHOD path", where the path is as sent and has no query.
    times: how many fitting requests in a row meet it.
    seconds: how long to stall, or what Retry-After says with a 429 or 503.
    reset: whether a connection goes with a reset, or is closed in order (clients see different errors).
    """

    kind: str
    at: int | None = None
    match: str = ""
    times: int = 1
    seconds: float = 0
    reset: bool = True

    def __post_init__(self) -> None:
        if self.kind not in STATUSES and self.kind not in BROKEN:
            raise ValueError(f"no such fault: {self.kind}")

    @property
    def status(self) -> int | None:
        """The status to answer, for the kinds that are one."""
        return STATUSES.get(self.kind)


class Faults:
    """The faults still to come. Each counts the requests that fit it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        """Plan a fault."""
        with self.lock:
            self.waiting.append((fault, [0]))

    def clear(self) -> None:
        """Forget those that have not happened."""
        with self.lock:
            self.waiting.clear()

    def take(self, line: str) -> Fault | None:
        """The fault that this request meets; the one planned first when several do."""
        with self.lock:
            met: Fault | None = None
            for fault, seen in self.waiting:
                if re.search(fault.match, line) and not (met and fault.at is None):  # the next one is then a later one
                    seen[0] += 1
                    if met is None and seen[0] >= (fault.at or 1):
                        met = fault
            self.waiting = [(f, seen) for f, seen in self.waiting if seen[0] < (f.at or 1) + f.times - 1]
            return met


def break_connection(connection: socket.socket, reset: bool) -> None:
    """End a connection; with `reset` the client's system is told that it is gone, not that it has ended."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        connection.shutdown(socket.SHUT_RDWR)


def wait_while_connected(connection: socket.socket, seconds: float) -> bool:
    """Wait, and say whether the client is still there."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        readable, _, _ = select.select([connection], [], [], min(left, 0.05))
        if readable:
            try:
                if not connection.recv(1, socket.MSG_PEEK):
                    return False
            except OSError:
                return False
            time.sleep(0.05)
    return True


def damaged(content: bytes) -> bytes:
    """Other content of the same length."""
    return content[:-1] + bytes([content[-1] ^ 1]) if content else content


def damaged_etag(etag: str) -> str:
    """Another hash of the same length."""
    return etag.translate(str.maketrans("0123456789abcdef", "fedcba9876543210"))
