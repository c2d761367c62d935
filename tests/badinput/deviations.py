"""Where Zabra answers a bad input otherwise than Apache ZooKeeper, on purpose, and why."""

from __future__ import annotations

from typing import Final

DEVIATIONS: Final[dict[str, tuple[list[str], str]]] = {
    "request: createTTL with flags 0, ttl -1": (
        ["reply xid=1 err=-8", "usable"],
        "Apache 3.9 logs it, ends while applying it, and ends again at every start; refused as bad arguments",
    ),
}
