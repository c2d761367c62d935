"""What a publisher is: the stream an observer hears (INFORM), as an API.

A publisher is a learner.  It first hears where it left off continued (or, when history no longer reaches
back that far, a snapshot), then every committed txn, in zxid order, without gaps, at least once.  The zxid
is the idempotency key.  It can never slow the server: the host keeps a bounded queue for each and falls
back to reading the log.  Source: ZOOKEEPER-368; upstream ``Observer``'s class comment.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from zabra.proto.records import ACL

WANTS_SNAPSHOT: Final = -1
"""From ``Publisher.open``: the target holds nothing that could be built upon."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one node, or of a session.

    ``op`` is create, delete, setData, setACL, createSession, closeSession or reconfig.  ``index`` is the
    position inside its txn (a multi, or a closeSession with ephemerals, has several), counted as the client
    that sent a multi counts its parts: one that only checked a version leaves a number out.  ``version`` is
    the data version after a setData (0 after a create) or the ACL version after a setACL, else -1.
    ``owner`` is the ephemeralOwner of a created node as stored (0: persistent), or the session that ended or
    began.  ``acl`` is None where it did not change.  ``unlisted``: of a closeSession whose txn does not say
    which ephemerals went with it: every node that it owned.
    """

    index: int
    op: str
    path: str
    data: bytes | None = None
    version: int = -1
    acl: tuple[ACL, ...] | None = None
    owner: int = 0
    unlisted: bool = False


@dataclass(frozen=True, slots=True)
class CommittedTxn:
    """One committed txn: all of ``changes`` or none happened.  A refused request has no changes.

    ``time_ms`` is the leader's wall clock; ``op`` the txn's own (multi where it was one); ``raw`` the bytes
    that were logged.
    """

    zxid: int
    time_ms: int
    session_id: int
    cxid: int
    op: str
    changes: tuple[Change, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class SnapNode:
    """One node of a snapshot."""

    path: str
    data: bytes | None
    version: int
    acl: tuple[ACL, ...]
    owner: int
    czxid: int
    mzxid: int


@dataclass(frozen=True, slots=True)
class Snap:
    """The tree (or subtree) as it was right after the txn ``zxid``; ``nodes`` come parents first."""

    zxid: int
    nodes: AsyncIterator[SnapNode]


def nothing_reached() -> int:
    """Nobody has told it."""
    return -1


@dataclass(frozen=True, slots=True)
class PublisherContext:
    """What a publisher is told when it is opened: its configured name, its options, its server's id.

    Only what is at and below ``path`` will be told.  ``snapshot`` takes one of that, for a publisher that
    looks after itself whether its target is right; ``reached`` is the zxid up to which it was given all that
    is wanted and has said that it is durable, -1 for none.
    """

    name: str
    options: Mapping[str, Any]
    server_id: int
    path: str = "/"
    snapshot: Callable[[], Awaitable[Snap]] | None = None
    reached: Callable[[], int] = nothing_reached


class TryLater(Exception):
    """Raised by a publisher that knows how long to wait: the host begins anew after ``after_s`` at least."""

    def __init__(self, text: str, after_s: float) -> None:
        super().__init__(text)
        self.after_s = after_s


class Publisher(Protocol):
    """A plug-in of the entry point group ``zabra.publishers``."""

    async def open(self, context: PublisherContext) -> int | None:
        """Gets ready; returns the last zxid it made durable itself.

        0: nothing yet, so that it wants history from its beginning.  WANTS_SNAPSHOT: nothing that could be
        built upon, so that it wants a snapshot whatever history there is.  None: it keeps no cursor of its
        own, or cannot tell any more (the target was emptied by its retention), and the host's is used: from
        the beginning when there is none.
        """

    async def snap(self, snap: Snap) -> None:
        """Takes the place of everything published before: history no longer reaches back to the cursor."""

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """Publishes, in order; returns the last zxid that is durable at the target now.

        Raises whatever is wrong with the target: the host tries again, from the cursor, later.  It must end:
        a client that may wait for ever needs a timeout.
        """

    async def close(self) -> None:
        """The host is stopping, or will open it anew."""


@runtime_checkable
class HasFigures(Protocol):
    """A publisher that has numbers of its own for operators."""

    def figures(self) -> Mapping[str, int]:
        """By the gauge's name (``zabra.metrics.GAUGE_SETS``)."""
