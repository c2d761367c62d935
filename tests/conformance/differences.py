"""Why a foreign test ends on Zabra otherwise than on Apache ZooKeeper: patterns of test names, and reasons.

A difference that no pattern explains makes the runner fail.  Patterns are shell patterns on
``suite/cluster::test``; the first that matches counts.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

REASONS: Final[tuple[tuple[str, str], ...]] = ()


def reason(suite: str, cluster: int, test: str) -> str | None:
    """Why this test may end differently, or None."""
    name = f"{suite}/{cluster}::{test}"
    for pattern, why in REASONS:
        if fnmatchcase(name, pattern):
            return why
    return None
