"""Where Zabra answers a bad input otherwise than Apache ZooKeeper, on purpose, and why.

docs/divergence.md tells the same to users; a test checks that each entry differs from what was recorded.
"""

from __future__ import annotations

from typing import Final

_REFUSED: Final = ["reply xid=1 err=-6", "closed"]
_INTERNAL: Final = "an operation between servers; from a client it is refused as an unknown one"
_NULL: Final = "null is read as empty, wherever a string, a buffer or a list stands"
_NOTHING_BEHIND: Final = "nothing follows a reply header that carries an error"


def _null(err: int) -> tuple[list[str], str]:
    return [f"reply xid=1 err={err}", "usable"], _NULL


DEVIATIONS: Final[dict[str, tuple[list[str], str]]] = {
    "request: createSession": (_REFUSED, _INTERNAL),
    "request: createSession without a body": (_REFUSED, _INTERNAL),
    "request: deleteContainer of a missing node": (_REFUSED, _INTERNAL),
    "request: deleteContainer without a body": (_REFUSED, _INTERNAL),
    "request: createTTL with flags 0, ttl -1": (
        ["reply xid=1 err=-8", "usable"],
        "Apache 3.9 logs it, ends while applying it, and ends again at every start; refused as bad arguments",
    ),
    "request: create of a null path, number 0": _null(-8),
    "request: create_ttl of a null path, number 1": _null(-8),
    "request: delete of a null path, number 2": _null(-8),
    "request: create: null path and null ACL": _null(-8),
    "request: create with ACL ((31, 'world', None),)": _null(-114),
    "request: multi of a null path, number 17": (["reply xid=1 err=0 body=22", "usable"], _NULL),
    "request: setWatches: null lists": (["reply xid=-8 err=0", "usable"], _NULL),
    "request: setWatches2: null lists": (["reply xid=-8 err=0", "usable"], _NULL),
    "request: auth digest, null": (["reply xid=-4 err=0", "usable"], _NULL),
    "request: create: -2 ACLs": (
        ["reply xid=1 err=-5", "usable"],
        "a negative count other than null is malformed; upstream reads on as if it were null",
    ),
    "request: multiRead: only writes": (["reply xid=1 err=-5", "usable"], _NOTHING_BEHIND),
    "request: multi_read of a null path, number 18": (["reply xid=1 err=-5", "usable"], _NOTHING_BEHIND),
}
