"""Free ports, below the range from which the kernel gives ports to outgoing connections.

A port that was given is claimed by a lock on a file of its number: tests that run in several processes
(pytest-xdist) do not get each other's, also while nobody listens on them yet or any more.  A process that
ends lets go of its claims, however it ends.
"""

import fcntl
import os
import random
import socket
import tempfile
import threading
from pathlib import Path
from typing import Final

FIRST: Final = 10_500
END: Final = 31_500
HOST: Final = "127.0.0.1"

_lock = threading.Lock()
_claims: dict[int, int] = {}
"""Descriptors of locked files, by port."""


def take_ports(count: int) -> list[int]:
    """``count`` ports that nobody listens on and no process that asked here was given.  Raises OSError."""
    found: list[int] = []
    with _lock:
        start = random.randrange(FIRST, END)
        for offset in range(END - FIRST):
            port = FIRST + (start - FIRST + offset) % (END - FIRST)
            if port not in _claims and is_free(port) and _claim(port):
                found.append(port)
                if len(found) == count:
                    return found
        _give_back(found)
    raise OSError(f"no {count} free ports between {FIRST} and {END}")


def give_back(ports: list[int]) -> None:
    """Others may have them."""
    with _lock:
        _give_back(ports)


def claim(port: int) -> bool:
    """Whether no other process was given the port; this one keeps it, until it ends or gives it back."""
    with _lock:
        return port in _claims or _claim(port)


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        # As a server binds: connections of a former one that linger do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"zabra-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _claims[port] = handle
    return True


def _give_back(ports: list[int]) -> None:
    for port in ports:
        handle = _claims.pop(port, None)
        if handle is not None:
            os.close(handle)
