"""How many files and connections this process may have open.

Shells and service managers often allow 1024, and more to who asks, as Java's virtual machine always does.
A server without a descriptor left cannot begin its next log file, which ends it; so clients do not get the
last ones.
"""

import resource
from typing import Final

# What a server keeps for itself: files, other servers, words.
SPARE: Final = 128
UNLIMITED: Final = -1


def raise_limit() -> int:
    """As many as may be had; UNLIMITED where that is any number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return UNLIMITED if hard == resource.RLIM_INFINITY else hard


def clients_allowed(limit: int, wanted: int) -> int:
    """How many clients may be connected (0: any number) where ``wanted`` are configured (0: any number)."""
    if limit == UNLIMITED:
        return wanted
    most = max(1, limit - min(SPARE, limit // 2))
    return most if wanted == 0 else min(wanted, most)
