"""Proposing: what a server does that gives writes their order, alone (Standalone) or for others (Leading).

Sessions expire here and nowhere else, containers are collected here, and every request becomes a txn here.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.fifo import Fifo
from zabra.jute.primitives import Writer, hex64
from zabra.processors.context import Rules
from zabra.processors.operation import KIND_SYNC
from zabra.processors.ops import OPS
from zabra.processors.prep import Prep
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.request import OWNER_LOCAL, OWNER_NONE, Request
from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.roles.containers import ContainerCollector
from zabra.server.roles.role import Role
from zabra.server.serving import Serving
from zabra.server.settings import Settings
from zabra.server.views import PART_SESSIONS, RoleView, copy_buckets
from zabra.sessions.tracker import SessionTracker

# A server with sessions has a turn at least once a tick; after this many without one it has slept.
SLEEP_TICKS: Final = 2
# The same quota is complained of so often.
QUOTA_TOLD_EVERY_MS: Final = 10_000


def rules_of(settings: Settings) -> Rules:
    """The settings that operations look at."""
    return Rules(
        settings.digest_enabled,
        settings.enforce_quota,
        settings.extended_types_enabled,
        settings.close_session_txn_enabled,
        settings.reconfig_enabled,
        settings.local_sessions_enabled,
        settings.server_id,
    )


@mypyc_attr(acyclic=True)
class PendingWrite:
    """A txn on its way to being committed, and the request it came from."""

    __slots__ = ("entry", "request")

    def __init__(self, entry: TxnEntry, request: Request) -> None:
        self.entry: TxnEntry = entry
        self.request: Request = request


class Proposing(Role):
    """Prepares; subclasses say how a txn is proposed and when it is committed."""

    def __init__(self, host: Host, serving: Serving) -> None:
        self.host: Host = host
        self.serving: Serving = serving
        # When sessions were last looked at.
        self.awake_ms: i64 = host.now_ms
        self.sessions: SessionTracker = SessionTracker(
            host.settings.tick_ms, host.now_ms, host.settings.sync_limit_ticks
        )
        self.prep: Prep = self.new_prep(host.tree.last_processed_zxid)
        # Proposed and not committed, in order.
        self.pending: Fifo[PendingWrite] = Fifo()
        self.collector: ContainerCollector = ContainerCollector(host)
        # From when on each quota may be complained of again.
        self.quota_told_ms: dict[str, int] = {}

    def new_prep(self, last_zxid: i64) -> Prep:
        """Prep that counts on from ``last_zxid``."""
        host = self.host
        return Prep(
            host.tree, self.sessions, host.providers, rules_of(host.settings), OPS, last_zxid, host.metrics
        )

    def begin_sessions(self) -> None:
        """Every session of the tree gets its full timeout again; those that left only ephemerals end."""
        self.awake_ms = self.host.now_ms
        tree = self.host.tree
        for session_id, timeout_ms in tree.sessions.items():
            self.sessions.add(session_id, timeout_ms, self.host.now_ms)
        for session_id in tree.dead_sessions():
            self.close_session(session_id)

    def describe(self, view: RoleView) -> None:
        view.tracks_sessions = True
        if view.parts & PART_SESSIONS:
            view.session_buckets = copy_buckets(self.sessions.expiry_buckets())

    def serves(self) -> bool:
        return True

    def tree_is_committed(self) -> bool:
        return True

    def unfinished(self) -> list[TxnEntry]:
        return [write.entry for write in self.pending.items()]

    def submit(self, request: Request) -> None:
        row = OPS.get(request.op)
        if row is not None and row.kind == KIND_SYNC:
            row.validate(request.body)
            self.sync(request)
        else:
            self.propose(request)

    def sync(self, request: Request) -> None:
        """A local client's sync."""
        raise AssertionError("not reached")

    def propose(self, request: Request) -> None:
        """Makes the txn and sends it on its way."""
        host = self.host
        self.prep.monotonic_ms = host.now_ms
        entry = self.prep.prepare(request, host.wall_ms)
        if host.tree.quota.exceeded is not None:
            self.tell_quota()
        self.pending.append(PendingWrite(entry, request))
        self.send_proposal(entry)
        host.append(entry)

    def tell_quota(self) -> None:
        """A write has met a quota: soft ones are there for the operator to hear of; not of every write."""
        host = self.host
        exceeded = host.tree.quota.take_exceeded()
        if exceeded is not None and host.now_ms >= self.quota_told_ms.get(exceeded.quota_path, 0):
            self.quota_told_ms[exceeded.quota_path] = host.now_ms + QUOTA_TOLD_EVERY_MS
            host.warn(repr(exceeded))

    def send_proposal(self, entry: TxnEntry) -> None:
        """Tells those who have to log it."""

    def commit_next(self, zxid: i64) -> None:
        """The oldest pending txn, which must be ``zxid``, is committed."""
        write = self.pending.take()
        header = write.entry.header
        assert header.zxid == zxid, f"commit of 0x{zxid:x}, but 0x{header.zxid:x} is next"
        self.serving.commit(write.entry, write.request if write.request.conn_id != 0 else None)
        if header.type == codes.OP_CLOSE_SESSION:
            host = self.host
            if host.settings.local_sessions_enabled:
                self.sessions.end(header.client_id, host.now_ms)
            else:
                self.sessions.remove(header.client_id)
        self.prep.applied(zxid)

    def tick_sessions(self) -> None:
        """Ends the sessions whose time is up, and collects what nobody needs any more."""
        host = self.host
        self.forgive_own_sleep()
        for session_id in self.sessions.expired(host.now_ms):
            host.metrics.stale_sessions_expired.add(1)
            host.info(f"expiring session {hex64(session_id)}")
            self.close_session(session_id)
        host.wake_by(self.sessions.next_expiry_ms())
        for path in self.collector.due():
            body = Writer()
            body.write_ustring(path)
            request = Request(
                0, 0, codes.OP_DELETE_CONTAINER, body.getvalue(), [], OWNER_NONE, 0, host.now_ms
            )
            self.propose(request)

    def forgive_own_sleep(self) -> None:
        """Time in which this server did not run (stopped, suspended, starved) is nobody's silence.

        Clients were heard elsewhere, or their words wait in this server's sockets.  Upstream expires them.
        """
        host = self.host
        slept_ms = host.now_ms - self.awake_ms
        self.awake_ms = host.now_ms
        if slept_ms > SLEEP_TICKS * host.settings.tick_ms:
            host.warn(f"this server has not run for {slept_ms} ms: sessions get as much more time")
            self.sessions.extend(slept_ms)

    def close_session(self, session_id: i64) -> None:
        """Ends a session that did not end itself."""
        self.propose(
            Request(session_id, 0, codes.OP_CLOSE_SESSION, b"", [], OWNER_NONE, 0, self.host.now_ms)
        )

    def touch(self, session_id: i64, timeout_ms: i64) -> bool:
        return self.sessions.touch(session_id, timeout_ms, self.host.now_ms)

    def revalidate(self, conn_id: i64, session_id: i64, timeout_ms: i64) -> None:
        valid = self.take_over(session_id, timeout_ms, OWNER_LOCAL)
        self.serving.revalidated(conn_id, session_id, valid)

    def take_over(self, session_id: i64, timeout_ms: i64, owner: i64) -> bool:
        """The session speaks through ``owner`` from now on; False if it is dead."""
        if not self.sessions.touch(session_id, timeout_ms, self.host.now_ms):
            return False
        try:
            self.sessions.set_owner(session_id, owner)
        except KeeperError:
            return False
        return True
