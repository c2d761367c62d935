"""Free ports, below the range from which the kernel gives ports to outgoing connections."""

import random
import socket
import threading
from typing import Final

FIRST: Final = 10_500
END: Final = 31_500
HOST: Final = "127.0.0.1"

_lock = threading.Lock()
_taken: set[int] = set()


def take_ports(count: int) -> list[int]:
    """``count`` ports that nobody listens on and nobody in this process was given.  Raises OSError."""
    found: list[int] = []
    with _lock:
        start = random.randrange(FIRST, END)
        for offset in range(END - FIRST):
            port = FIRST + (start - FIRST + offset) % (END - FIRST)
            if port not in _taken and _is_free(port):
                found.append(port)
                if len(found) == count:
                    _taken.update(found)
                    return found
    raise OSError(f"no {count} free ports between {FIRST} and {END}")


def give_back(ports: list[int]) -> None:
    """Others may have them."""
    with _lock:
        _taken.difference_update(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server binds: connections of a former one that linger do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
