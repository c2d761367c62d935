"""Role: the part of a server that knows how a write comes to be committed."""

from mypy_extensions import i64

from zabra.proto.request import Request
from zabra.proto.txn import TxnEntry
from zabra.server.views import RoleView


def shares_of(voters: int) -> int:
    """Upstream's rule for leaders and followers: what one of them alone may let in would swamp the leader."""
    return voters - 1 if voters > 2 else 1


class Role:
    """What ``Serving`` and ``Server`` ask of the state they are in.  Every method runs inside a turn."""

    def name(self) -> str:
        """The word for ``srvr`` and ``mntr``: standalone, leader, follower, observer, read-only, looking."""
        return "none"

    def serves(self) -> bool:
        """Whether clients are served now."""
        return False

    def is_read_only(self) -> bool:
        """Whether clients are served without a quorum: reads only."""
        return False

    def checks_eagerly(self) -> bool:
        """Whether a write may be refused before it is on its way (``enableEagerACLCheck``)."""
        return True

    def shares_of_limit(self) -> int:
        """Among how many servers the limit of unanswered requests is shared (``globalOutstandingLimit``)."""
        return 1

    def describe(self, view: RoleView) -> None:
        """Tells what an operator may see of this role; see ``views`` for what there is to fill in."""

    def reset_stats(self) -> None:
        """Forgets what this role counted (``srst``)."""

    def reset_observer_stats(self) -> None:
        """Forgets what was counted for the observers that follow this server."""

    def tree_is_committed(self) -> bool:
        """Whether everything the tree holds is committed, so that a snapshot of it may be taken (ZK-1549)."""
        return False

    def unfinished(self) -> list[TxnEntry]:
        """Logged here and not known to be committed, in order: a server that looks again counts it in."""
        return []

    def submit(self, request: Request) -> None:
        """Takes a write, sync or session request of a local client, already queued at its connection.

        Raises JuteError for a malformed body when nothing has been done with it.
        """
        raise AssertionError("not reached")

    def log_synced(self, zxid: i64) -> None:
        """The own log is durable up to ``zxid``."""

    def tick(self) -> None:
        """Time has passed; runs at the start of every turn."""

    def end_turn(self) -> None:
        """All input of the turn has been taken; what is sent once per turn goes out here."""

    def touch(self, session_id: i64, timeout_ms: i64) -> bool:
        """A client of ``session_id`` was heard; False where the session is known to be gone."""
        return True

    def revalidate(self, conn_id: i64, session_id: i64, timeout_ms: i64) -> None:
        """Asks whether a session lives; answered by ``Serving.revalidated``, perhaps in a later turn."""
        raise AssertionError("not reached")
