"""The only readers of the machine's clocks."""

import time


def monotonic_ms() -> int:
    """Milliseconds that never go back and do not follow the wall clock's jumps."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Milliseconds since the epoch, as operators see them; goes into txn headers."""
    return time.time_ns() // 1_000_000
