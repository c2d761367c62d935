"""Standalone: a server on its own, a quorum of one.  A txn is committed when the own log has it."""

from collections import deque

from mypy_extensions import i64

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


def rules_of(settings: Settings) -> Rules:
    """The settings that operations look at."""
    return Rules(
        settings.digest_enabled,
        settings.enforce_quota,
        settings.extended_types_enabled,
        settings.close_session_txn_enabled,
        settings.reconfig_enabled,
    )


class Proposal:
    """A txn on its way to being committed; ``request`` is the local one it came from, if any."""

    __slots__ = ("entry", "request")

    def __init__(self, entry: TxnEntry, request: Request) -> None:
        self.entry: TxnEntry = entry
        self.request: Request = request


class Standalone(Role):
    """Prepares, logs, commits."""

    def __init__(self, host: Host) -> None:
        self.host: Host = host
        # Set right after construction: serving needs a role first, and a role needs serving.
        self.serving: Serving | None = None
        self.sessions: SessionTracker = SessionTracker(host.settings.tick_ms, host.now_ms)
        self.prep: Prep = Prep(
            host.tree,
            self.sessions,
            host.providers,
            rules_of(host.settings),
            OPS,
            host.last_logged_zxid,
        )
        self.proposals: deque[Proposal] = deque()
        self.collector: ContainerCollector = ContainerCollector(host)

    def start(self, serving: Serving) -> None:
        """Begins to serve: every session of the tree gets its full timeout again."""
        self.serving = serving
        tree = self.host.tree
        for session_id, timeout_ms in tree.sessions.items():
            self.sessions.add(session_id, timeout_ms, self.host.now_ms)
        for session_id in tree.dead_sessions():
            self.close_session(session_id)

    def name(self) -> str:
        return "standalone"

    def serves(self) -> bool:
        return True

    def describe(self, view: RoleView) -> None:
        view.tracks_sessions = True
        if view.parts & PART_SESSIONS:
            view.session_buckets = copy_buckets(self.sessions.expiry_buckets())

    def submit(self, request: Request) -> None:
        row = OPS.get(request.op)
        if row is not None and row.kind == KIND_SYNC:
            row.validate(request.body)
            serving = self.serving
            assert serving is not None
            # Nothing is committed anywhere else, so there is nothing to catch up with.
            serving.synced(request)
            return
        self.propose(request)

    def propose(self, request: Request) -> None:
        """Makes the txn and hands it to the log."""
        host = self.host
        self.prep.monotonic_ms = host.now_ms
        entry = self.prep.prepare(request, host.wall_ms)
        self.proposals.append(Proposal(entry, request))
        host.append(entry)

    def log_synced(self, zxid: i64) -> None:
        serving = self.serving
        assert serving is not None
        proposals = self.proposals
        while proposals and proposals[0].entry.header.zxid <= zxid:
            proposal = proposals.popleft()
            entry = proposal.entry
            serving.commit(entry, proposal.request if proposal.request.conn_id != 0 else None)
            if entry.header.type == codes.OP_CLOSE_SESSION:
                self.sessions.remove(entry.header.client_id)
            self.prep.applied(entry.header.zxid)

    def tick(self) -> None:
        host = self.host
        for session_id in self.sessions.expired(host.now_ms):
            host.metrics.stale_sessions_expired.add(1)
            host.info(f"expiring session 0x{session_id & 0xFFFFFFFFFFFFFFFF:x}")
            self.close_session(session_id)
        host.wake_by(self.sessions.next_expiry_ms())
        for path in self.collector.due():
            body = path.encode("utf-8")
            self.propose(
                Request(
                    0,
                    0,
                    codes.OP_DELETE_CONTAINER,
                    len(body).to_bytes(4, "big") + body,
                    [],
                    OWNER_NONE,
                    0,
                    host.now_ms,
                )
            )

    def close_session(self, session_id: i64) -> None:
        """Ends a session that did not end itself."""
        self.propose(
            Request(session_id, 0, codes.OP_CLOSE_SESSION, b"", [], OWNER_NONE, 0, self.host.now_ms)
        )

    def touch(self, session_id: i64, timeout_ms: i64) -> bool:
        return self.sessions.touch(session_id, timeout_ms, self.host.now_ms)

    def revalidate(self, conn_id: i64, session_id: i64, timeout_ms: i64) -> None:
        serving = self.serving
        assert serving is not None
        valid = self.sessions.touch(session_id, timeout_ms, self.host.now_ms)
        if valid:
            try:
                self.sessions.set_owner(session_id, OWNER_LOCAL)
            except KeeperError:
                valid = False
        serving.revalidated(conn_id, session_id, valid)
