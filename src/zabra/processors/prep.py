"""Prep: gives each write its place in the order and its effect, as a txn.

Requests are prepared strictly one after another against "the tree plus everything outstanding".  A refused
request becomes an error txn and takes a zxid like any other: that is how the refusal travels back to the
learner whose client waits for it.  Source: upstream ``PrepRequestProcessor``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.auth.registry import Providers
from zabra.jute.primitives import JuteError
from zabra.metrics import Metrics
from zabra.processors.context import Rules
from zabra.processors.membership import Membership
from zabra.processors.outstanding import ChangeRecord, OutstandingChanges, find_record
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, ErrorTxn, Id, TxnDigest, TxnHeader
from zabra.proto.request import OWNER_LOCAL, Request
from zabra.proto.txn import DIGEST_VERSION, NO_DIGEST, TxnEntry, TxnRecord, encode_txn
from zabra.sessions.tracker import SessionTracker
from zabra.tree.datatree import DataTree
from zabra.tree.paths import top_namespace

COUNTER_MASK: Final = 0xFFFFFFFF


class PrepareRecord:
    """Makes the txn record of one request: the op table does (a door, so that prep needs no row)."""

    def record_for(self, prep: "Prep", request: Request) -> TxnRecord:
        """See ``Operation.prep``."""
        raise AssertionError("not reached")


class Prep:
    """The state that preparing needs: ``last_zxid`` is the last one given out."""

    __slots__ = (
        "digest",
        "first_put",
        "last_put",
        "last_zxid",
        "membership",
        "metrics",
        "monotonic_ms",
        "now_ms",
        "ops",
        "outstanding",
        "providers",
        "rules",
        "sessions",
        "tree",
        "zxid",
    )

    def __init__(
        self,
        tree: DataTree,
        sessions: SessionTracker,
        providers: Providers,
        rules: Rules,
        ops: PrepareRecord,
        last_zxid: i64,
        metrics: Metrics | None = None,
    ) -> None:
        self.tree: DataTree = tree
        self.sessions: SessionTracker = sessions
        self.providers: Providers = providers
        self.rules: Rules = rules
        self.ops: PrepareRecord = ops
        self.metrics: Metrics | None = metrics
        # Set by a leader; a server on its own has no membership to change.
        self.membership: Membership | None = None
        self.outstanding: OutstandingChanges = OutstandingChanges()
        self.last_zxid: i64 = last_zxid
        # Of the request being prepared: its zxid and its time (wall clock, ms).
        self.zxid: i64 = 0
        self.now_ms: i64 = 0
        # Monotonic ms of the turn, from which a new session's life counts.
        self.monotonic_ms: i64 = 0
        # Digest of the tree once everything outstanding is applied (signed 64).
        self.digest: i64 = tree.digest
        # Digests of the nodes that the request being prepared has changed, the first and the last of them;
        # -1: there was none.
        self.first_put: i64 = NO_DIGEST
        self.last_put: i64 = NO_DIGEST

    def next_zxid(self) -> i64:
        """The zxid of the next txn.

        A leader steps down before its counter is used up (ZK-1277); a server on its own just begins the next
        epoch, with counter 1, since no txn may have counter 0.
        """
        following = self.last_zxid + 1
        return following + 1 if (following & COUNTER_MASK) == 0 else following

    def prepare(self, request: Request, now_ms: i64) -> TxnEntry:
        """The txn for ``request`` at wall-clock ``now_ms``.

        Raises JuteError for a malformed body of a local client's request: nothing has happened then, and
        no zxid is used, so the caller may answer MARSHALLINGERROR at once.
        """
        self.zxid = self.next_zxid()
        self.now_ms = now_ms
        self.first_put = NO_DIGEST
        self.last_put = NO_DIGEST
        if self.metrics is not None:
            self.metrics.prep_processor_request_queued.value += 1
        kind = request.op
        record: TxnRecord
        try:
            record = self.ops.record_for(self, request)
        except KeeperError as error:
            kind = codes.OP_ERROR
            record = ErrorTxn(error.code)
        except JuteError:
            if request.owner == OWNER_LOCAL:
                raise
            kind = codes.OP_ERROR
            record = ErrorTxn(codes.ERR_MARSHALLING)
        self.last_zxid = self.zxid
        header = TxnHeader(request.session_id, request.cxid, self.zxid, now_ms, kind)
        digest: TxnDigest | None = None
        if self.rules.digest_enabled and kind != codes.OP_ERROR:
            digest = TxnDigest(DIGEST_VERSION, self.digest)
        entry = encode_txn(header, record, digest)
        entry.parent_digest = self.first_put
        entry.node_digest = self.last_put
        return entry

    def check_session(self, request: Request) -> None:
        """Raises SESSIONEXPIRED or SESSIONMOVED; local sessions, of this server or another, pass.

        A global one that has ended is nobody's local session: what was on its way in its name comes too late.
        """
        session_id = request.session_id
        rules = self.rules
        sessions = self.sessions
        if rules.local_sessions_enabled and session_id not in sessions and not sessions.has_ended(session_id):
            if request.is_local or (session_id >> 56) & 0xFF != rules.server_id & 0xFF:
                return
        self.sessions.check(session_id, request.owner)

    def check_global_session(self, request: Request) -> None:
        """As ``check_session``, for what only a global session may do."""
        self.sessions.check(request.session_id, request.owner)

    def find(self, path: str) -> ChangeRecord | None:
        """A fresh record of the node as it will be, or None."""
        return find_record(self.outstanding, self.tree, path, self.zxid)

    def require(self, path: str) -> ChangeRecord:
        """As ``find``; raises NONODE."""
        record = self.find(path)
        if record is None:
            raise KeeperError(codes.ERR_NO_NODE, path)
        return record

    def require_acl(self, acl: list[ACL], perm: int, ids: list[Id], path: str) -> None:
        """Raises NOAUTH unless one of ``ids`` may do ``perm``."""
        if not self.providers.check_acl(acl, perm, ids, path):
            raise KeeperError(codes.ERR_NO_AUTH, path)

    def put(self, record: ChangeRecord, is_new: bool) -> None:
        """Makes ``record`` what later requests see, and moves the digest along."""
        if self.rules.digest_enabled:
            before: i64 = 0 if is_new else record.digest
            after: i64 = record.compute_digest() if record.exists else 0
            record.digest = after
            if self.first_put == NO_DIGEST:
                self.first_put = after
            self.last_put = after
            # Never beyond a signed word: see ``tree.digest``.
            self.digest += after - before
        self.outstanding.put(record)
        if self.metrics is not None:
            self.metrics.outstanding_changes_queued.value += 1

    def applied(self, zxid: i64) -> None:
        """The tree has everything up to ``zxid``: forget those changes."""
        count = self.outstanding.forget(zxid)
        if self.metrics is not None:
            self.metrics.outstanding_changes_removed.value += count

    def refuse_for_quota(self, path: str) -> None:
        """Raises QUOTAEXCEEDED, unless hard quotas are only watched (enforceQuota)."""
        if not self.rules.enforce_quota:
            return
        namespace = top_namespace(path)
        if namespace and self.metrics is not None:
            self.metrics.quota_exceeded_error_per_namespace.add(namespace, 1)
        raise KeeperError(codes.ERR_QUOTA_EXCEEDED, path)
