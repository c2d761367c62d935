"""Looking: no leader is known.  First what the last role left behind is settled, then an election runs.

Settling: what was logged and not committed belongs to this server's history (it may have been committed
by others), so the tree must have it before the server votes (ZOOKEEPER-2845).  It is applied when it is
durable; where the tree is not what the disk holds, it is loaded anew instead.
"""

from mypy_extensions import i64

from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.masters import NOBODY
from zabra.server.peer import Peer
from zabra.server.roles.role import Role
from zabra.server.views import RoleView, quorum_view
from zabra.zab.phases import ELECTION, LOOKING, SYNC_NONE


class Looking(Role):
    """One spell without a leader; ``looking`` once the election runs."""

    def __init__(
        self, host: Host, peer: Peer, unfinished: list[TxnEntry], must_reload: bool, delay_ms: i64
    ) -> None:
        self.host: Host = host
        self.peer: Peer = peer
        self.unfinished_txns: list[TxnEntry] = unfinished
        self.must_reload: bool = must_reload
        self.began_ms: i64 = host.now_ms
        self.not_before_ms: i64 = host.now_ms + delay_ms
        self.looking: bool = False
        self.reload_asked: bool = False

    def name(self) -> str:
        return "looking"

    def describe(self, view: RoleView) -> None:
        view.quorum = quorum_view(self.peer.config, LOOKING, ELECTION, SYNC_NONE)

    def tick(self) -> None:
        self.advance()

    def advance(self) -> None:
        """Settles, waits, looks: whatever is next and possible now."""
        host = self.host
        if self.looking:
            if self.peer.heard_config is not None and self.peer.adopt_heard_config():
                self.begin()
            return
        if not host.disk_is_idle():
            return
        if self.must_reload:
            # A snapshot that is being given up would lose its file to the reload.
            if not self.reload_asked and host.disk_is_at_rest():
                self.reload_asked = True
                host.ask_reload()
            return
        if host.now_ms < self.not_before_ms:
            host.wake_by(self.not_before_ms)
            return
        self.count_in()
        self.looking = True
        self.begin()

    def begin(self) -> None:
        """Finds the leader: it is known, or a master knows it, or it must be elected."""
        host = self.host
        peer = self.peer
        last_zxid = host.tree.last_processed_zxid
        leader = peer.take_next_leader()
        if leader != NOBODY:
            peer.follow(leader, last_zxid)
        elif host.settings.is_observer and peer.masters.has_any():
            peer.observe(last_zxid)
        else:
            peer.look(last_zxid)

    def count_in(self) -> None:
        """Applies what was logged and not committed: it is part of this server's history."""
        host = self.host
        for entry in self.unfinished_txns:
            if entry.header.zxid > host.tree.last_processed_zxid:
                host.tree.process_txn(entry.header, entry.record)
                host.committed_log.add(entry)
        host.tree.watches.take_fired()
        self.unfinished_txns = []

    def reloaded(self) -> None:
        """The tree was loaded from disk, and with it everything logged."""
        self.must_reload = False
        self.unfinished_txns = []
        self.advance()
