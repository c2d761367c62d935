"""Checkers: is a history of clients explained by the committed log?

The witness is what ZooKeeper gives: every reply bears a zxid.  So the committed txns are replayed through
the naive model once, in order, and every reply is compared where its zxid says it belongs: linear in the
length of the history.  The points are numbered as in ``docs/reliability.md``:

1. the log replays (``Model.apply`` is strict), digests included;
2. a write's reply is the model's; acknowledged writes are in the log once, unknown ones at most once, and
   the leader decided each as ``decide`` does;
3. a read's reply is the model's at the zxid of its reply;
4. a session's zxids never go down, also across servers, and its writes take effect in its order;
5. a write that was sent after another was acknowledged has a higher zxid; so has what a sync shows;
6. watch events: see ``watch_checker``;
7. a session's ephemerals go with it, and with nothing else (a part of 1 and 2).
"""

from collections.abc import Sequence
from typing import Any, Final

from zabra.client import calls
from zabra.config.ensemble import EnsembleConfig
from zabra.jute.primitives import JuteError, Reader
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import (
    ACL,
    CloseSessionTxn,
    DeleteTxn,
    ErrorTxn,
    GetDataRequest,
    Id,
    MultiTxn,
    Stat,
)
from zabra.proto.txn import TxnEntry
from zabra.server.session_claim import FIRST_BYTE
from zabra.sim.decide import Asker, decide, may
from zabra.sim.histories import ANSWERED, CONNECTED, DISCONNECTED, History, Invocation
from zabra.sim.model import LIMITS, QUOTA_ROOT, STATS, Event, Model, ModelError, Result
from zabra.sim.quota_checker import CREATES, QuotaChecker

WRITES: Final = frozenset(
    {
        codes.OP_CREATE,
        codes.OP_CREATE2,
        codes.OP_CREATE_CONTAINER,
        codes.OP_CREATE_TTL,
        codes.OP_DELETE,
        codes.OP_SET_DATA,
        codes.OP_SET_ACL,
        codes.OP_MULTI,
        codes.OP_CLOSE_SESSION,
        codes.OP_RECONFIG,
    }
)
# Answered from the connection's own state, or not from the tree at all.
_UNCHECKED_READS: Final = frozenset(
    {codes.OP_SYNC, codes.OP_ADD_WATCH, codes.OP_CHECK_WATCHES, codes.OP_REMOVE_WATCHES}
)


def is_quorum(view: EnsembleConfig, sids: Sequence[int]) -> bool:
    """Whether so many servers decide, naively: most voters, or most weight in most groups."""
    if not view.groups:
        voters = [sid for sid, server in view.servers.items() if not server.observer]
        return 2 * sum(sid in sids for sid in voters) > len(voters)
    deciding = 0
    counted = 0
    for group in view.groups.values():
        total = sum(view.weights.get(sid, 1) for sid in group)
        counted += total > 0
        deciding += 2 * sum(view.weights.get(sid, 1) for sid in group if sid in sids) > total
    return 2 * deciding > counted


class Violation:
    """Something that must not happen: which rule, and what is known about it."""

    __slots__ = ("rule", "text")

    def __init__(self, rule: str, text: str) -> None:
        self.rule = rule
        self.text = text

    def __repr__(self) -> str:
        return f"{self.rule}: {self.text}"


class Judgement:
    """What the checkers found, and what they looked at (a run that looked at nothing proves nothing)."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.counts: dict[str, int] = {}

    def count(self, what: str, by: int = 1) -> None:
        """So many more of ``what`` were checked."""
        self.counts[what] = self.counts.get(what, 0) + by

    def complain(self, rule: str, text: str) -> None:
        """Records a violation."""
        self.violations.append(Violation(rule, text))


def is_claim(entry: TxnEntry) -> bool:
    """Whether a server made the session to have session ids (``server.session_claim``)."""
    return entry.header.type == codes.OP_CREATE_SESSION and entry.header.client_id >> 56 >= FIRST_BYTE


class HistoryChecker:
    """Replays ``chain`` (every committed txn, in order) and compares ``history`` with it.

    ``chain_complete`` is False where the last txns may be missing (the log of a server that lags): then an
    acknowledged write beyond its end is no violation.
    """

    def __init__(
        self,
        chain: Sequence[TxnEntry],
        history: History,
        extended_types: bool = False,
        sync_is_linearizable: bool = False,
        chain_complete: bool = True,
        local_sessions: bool = False,
        quotas: bool = False,
    ) -> None:
        self.chain = chain
        self.history = history
        self.local_sessions = local_sessions
        self.quotas = quotas
        self.extended_types = extended_types
        self.sync_is_linearizable = sync_is_linearizable
        self.chain_complete = chain_complete
        self.judgement = Judgement()
        self.model = Model()
        # What each txn told those who watch, for the watch checker: zxid -> events.
        self.events: dict[int, list[Event]] = {}
        self._writes: dict[tuple[int, int], Invocation] = {}
        self._reads: list[Invocation] = []
        self._zxid_of: dict[int, int] = {}
        self._quotas: QuotaChecker | None = None
        self._moved: dict[int, int] = {}

    def check(self) -> Judgement:
        """Does all of it."""
        self._sort_out()
        if self.quotas:
            self._quotas = QuotaChecker(self.history.invocations)
        self._replay()
        self._check_acknowledged()
        self._check_sessions()
        self._check_real_time()
        return self.judgement

    def _sort_out(self) -> None:
        for one in self.history.invocations:
            if one.op in WRITES:
                self._writes[(one.session_id, one.xid)] = one
            elif one.answered:
                self._reads.append(one)
        self._reads.sort(key=_by_zxid)
        current: dict[int, int] = {}
        for entry in self.history.entries:
            if entry.kind == CONNECTED:
                current[entry.client] = entry.session_id
            elif entry.kind == DISCONNECTED and entry.client in current:
                session_id = current[entry.client]
                self._moved[session_id] = self._moved.get(session_id, 0) + 1

    # 1, 2, 3.

    def _replay(self) -> None:
        reads = self._reads
        next_read = 0
        quotas = self._quotas
        for entry in self.chain:
            zxid = entry.header.zxid
            while next_read < len(reads) and reads[next_read].zxid < zxid:
                self._check_read(reads[next_read])
                next_read += 1
            one = self._writes.get((entry.header.client_id, entry.header.cxid))
            if one is not None and entry.header.cxid != 0:
                self._check_decision(entry, one)
            elif entry.header.cxid != 0 and not is_claim(entry):
                self.judgement.complain("invented write", f"nobody asked for {entry!r}")
            else:
                self._check_internal(entry)
            try:
                result, events = self.model.apply(entry)
            except (ModelError, KeyError, JuteError) as error:
                self.judgement.complain("log replays", f"0x{zxid:x}: {error}")
                return
            self.judgement.count("txns")
            if quotas is not None:
                if one is not None and one.op in CREATES and result.err == codes.OK:
                    quota = self.model.quota_of(result.path)
                    if quota and not quotas.had_room(quota, one, zxid):
                        self.judgement.complain("quota", f"0x{zxid:x}: {one!r} and {quota} had no room")
                quotas.applied(self.model, zxid)
            if events:
                self.events[zxid] = events
            if one is not None and entry.header.cxid != 0:
                self._check_write_reply(one, entry, result)
        for one in reads[next_read:]:
            if self.chain_complete or one.zxid <= self.model.zxid:
                self._check_read(one)

    def _check_internal(self, entry: TxnEntry) -> None:
        """A txn that a server made on its own."""
        kind = entry.header.type
        if kind == codes.OP_DELETE_CONTAINER and isinstance(entry.record, DeleteTxn):
            node = self.model.nodes.get(entry.record.path)
            if node is None or node.owner == 0 or node.is_ephemeral():
                self.judgement.complain("containers", f"{entry.record.path} was not for the collector")
        elif kind == codes.OP_CLOSE_SESSION:
            self.judgement.count("sessions expired")
            closing = entry.header.client_id
            if closing not in self.model.sessions and not self.model.ephemerals_of(closing):
                self.judgement.complain("sessions", f"session 0x{closing:x} is expired once more")
        elif kind not in (codes.OP_CREATE_SESSION, codes.OP_ERROR, codes.OP_DELETE_CONTAINER):
            self.judgement.complain("invented write", f"nobody asked for {entry!r}")

    def _check_decision(self, entry: TxnEntry, one: Invocation) -> None:
        """The txn is what the request had to become."""
        zxid = entry.header.zxid
        if one.number in self._zxid_of:
            self.judgement.complain("once", f"{one!r} is at 0x{self._zxid_of[one.number]:x} and 0x{zxid:x}")
        self._zxid_of[one.number] = zxid
        if one.op == codes.OP_RECONFIG:
            return
        asker = Asker(one.session_id, one.ids, self.extended_types, self.local_sessions)
        due: object
        try:
            due = decide(self.model, one.op, Reader(one.body), asker)
        except KeeperError as error:
            due = ErrorTxn(error.code)
        got: object = entry.record
        if isinstance(got, CloseSessionTxn):
            got = CloseSessionTxn(sorted(got.paths2_delete))
        if got == due or self._was_moved(got, one):
            return
        if not self._is_quota_refusal(got, one, zxid) and not self._is_unknown_session(got, one):
            self.judgement.complain("decision", f"{one!r}: 0x{zxid:x} is {got!r}, due was {due!r}")

    def _is_unknown_session(self, got: object, one: Invocation) -> bool:
        """Where there are local sessions, the log does not tell which sessions live."""
        if not self.local_sessions or one.session_id in self.model.sessions:
            return False
        return codes.ERR_SESSION_EXPIRED in _errors(got)

    def _is_quota_refusal(self, got: object, one: Invocation, zxid: int) -> bool:
        """The leader goes by what is committed when it looks: between a quota's use and its limit is play."""
        if not self.quotas or codes.ERR_QUOTA_EXCEEDED not in _errors(got):
            return False
        if self._quotas is None or not self._quotas.was_full(one, zxid):
            return False
        self.judgement.count("quota refusals")
        return True

    def _was_moved(self, got: object, one: Invocation) -> bool:
        """A session that has tried to connect again may have left a request behind: SESSIONMOVED.

        The client then hears nothing: its old connection is closed.
        """
        if one.answered or self._moved.get(one.session_id, 0) < 1:
            return False
        if isinstance(got, MultiTxn):
            return any(part.type == codes.OP_ERROR for part in got.txns)
        return isinstance(got, ErrorTxn) and got.err == codes.ERR_SESSION_MOVED

    def _check_write_reply(self, one: Invocation, entry: TxnEntry, result: Result) -> None:
        if not one.answered:
            self.judgement.count("writes unknown")
            return
        self.judgement.count("writes")
        if one.zxid < entry.header.zxid:
            self.judgement.complain("reply zxid", f"{one!r} is below its txn 0x{entry.header.zxid:x}")
        err = codes.OK if one.op == codes.OP_MULTI else result.err
        if one.err != err:
            self.judgement.complain("write reply", f"{one!r}: err {one.err}, due {err}")
        elif err == codes.OK and one.op != codes.OP_RECONFIG:
            self._compare_write_body(one, result)

    def _compare_write_body(self, one: Invocation, result: Result) -> None:
        r = Reader(one.reply)
        got: Any = None
        due: Any = None
        if one.op == codes.OP_CREATE:
            got, due = r.read_ustring(), result.path
        elif one.op in (codes.OP_CREATE2, codes.OP_CREATE_CONTAINER, codes.OP_CREATE_TTL):
            got, due = calls.read_path_and_stat(r), (result.path, result.stat)
        elif one.op in (codes.OP_SET_DATA, codes.OP_SET_ACL):
            got, due = Stat.decode(r), result.stat
        elif one.op == codes.OP_MULTI:
            got = [(part.op, part.err, part.path, part.stat) for part in calls.read_parts(r)]
            due = [_part_reply(part) for part in result.parts]
        if got != due:
            self.judgement.complain("write reply", f"{one!r}: {got!r}, due {due!r}")
        elif r.remaining():
            self.judgement.complain("write reply", f"{one!r}: {r.remaining()} bytes too many")

    def _check_read(self, one: Invocation) -> None:
        if one.op in _UNCHECKED_READS:
            return
        self.judgement.count("reads")
        due: Any
        err = codes.OK
        try:
            due = read_of(self.model, one)
        except KeeperError as error:
            err = error.code
            due = None
        if one.err != err:
            self.judgement.complain("read reply", f"{one!r}: err {one.err}, due {err}")
        elif err == codes.OK and not (self.quotas and reads_idle_stats(self.model, one)):
            got = decode_read(one)
            if got != due:
                self.judgement.complain("read reply", f"{one!r}: {got!r}, due {due!r}")

    # 2: nothing acknowledged is missing.

    def _check_acknowledged(self) -> None:
        end = self.model.zxid
        for one in self.history.invocations:
            if one.op not in WRITES or not one.answered or one.number in self._zxid_of:
                continue
            if one.err == codes.ERR_MARSHALLING:
                continue
            if self.local_sessions and one.op == codes.OP_CLOSE_SESSION:
                continue
            if one.zxid > end and not self.chain_complete:
                continue
            self.judgement.complain("acknowledged", f"{one!r} is not in the log")

    # 4.

    def _check_sessions(self) -> None:
        seen: dict[int, Invocation] = {}
        for entry in self.history.entries:
            one = entry.invocation
            if entry.kind != ANSWERED or one is None or one.zxid <= 0:
                continue
            before = seen.get(one.session_id)
            if before is not None and one.zxid < before.zxid:
                self.judgement.complain("session order", f"{one!r} came after {before!r}")
            seen[one.session_id] = one
        last: dict[int, int] = {}
        for txn in self.chain:
            header = txn.header
            if header.cxid == 0 or not has_effect(txn) or is_claim(txn):
                continue
            if header.cxid <= last.get(header.client_id, 0):
                self.judgement.complain(
                    "session order", f"0x{header.client_id:x}: {header.cxid} after {last[header.client_id]}"
                )
            last[header.client_id] = header.cxid
        self.judgement.count("sessions", len(seen))

    # 5.

    def _check_real_time(self) -> None:
        marks: list[tuple[int, int, Invocation]] = []
        for one in self.history.invocations:
            zxid = self._zxid_of.get(one.number)
            if zxid is not None:
                marks.append((one.sent_us, 1, one))
                if one.answered:
                    marks.append((one.done_us, 0, one))
            elif one.op == codes.OP_SYNC and one.answered and self.sync_is_linearizable:
                marks.append((one.sent_us, 1, one))
        marks.sort(key=_by_time)
        highest = 0
        for _, is_start, one in marks:
            zxid = self._zxid_of.get(one.number, one.zxid)
            if is_start:
                if zxid <= highest and (one.op != codes.OP_SYNC or zxid < highest):
                    self.judgement.complain(
                        "real time", f"{one!r} at 0x{zxid:x} was sent after 0x{highest:x} was acknowledged"
                    )
            elif zxid > highest:
                highest = zxid
        self.judgement.count("real-time pairs", len(marks))


def _errors(record: object) -> list[int]:
    """The errors in a txn."""
    if isinstance(record, ErrorTxn):
        return [record.err]
    if isinstance(record, MultiTxn):
        return [
            ErrorTxn.decode(Reader(part.data or b"")).err
            for part in record.txns
            if part.type == codes.OP_ERROR
        ]
    return []


def _by_zxid(one: Invocation) -> tuple[int, int]:
    return one.zxid, one.number


def _by_time(mark: tuple[int, int, Invocation]) -> tuple[int, int, int]:
    # What starts at the very moment at which another ends is concurrent with it.
    return mark[0], -mark[1], mark[2].number


def has_effect(txn: TxnEntry) -> bool:
    """Whether a txn is anything but a refusal."""
    record = txn.record
    if isinstance(record, MultiTxn):
        return not any(part.type == codes.OP_ERROR for part in record.txns)
    return not isinstance(record, ErrorTxn)


def _part_reply(part: Result) -> tuple[int, int, str, Stat | None]:
    """A part of a multi as its reply shows it."""
    kind = part.type
    if kind == codes.OP_ERROR:
        return kind, part.err, "", None
    if kind in (codes.OP_CREATE_CONTAINER, codes.OP_CREATE_TTL):
        kind = codes.OP_CREATE2
    if kind == codes.OP_CREATE:
        return kind, 0, part.path, None
    if kind == codes.OP_CREATE2:
        return kind, 0, part.path, part.stat
    return kind, 0, "", part.stat if kind == codes.OP_SET_DATA else None


# What a read must say.


def read_of(model: Model, one: Invocation) -> Any:
    """The value of a read in the model's state.  Raises KeeperError."""
    op = one.op
    r = Reader(one.body)
    if op == codes.OP_WHO_AM_I:
        return sorted((each.scheme, each.id.partition(":")[0]) for each in one.ids)
    if op == codes.OP_MULTI_READ:
        return _multi_read(model, r, one.ids)
    path = r.read_ustring()
    if op == codes.OP_GET_EPHEMERALS:
        return [each for each in model.ephemerals_of(one.session_id) if each.startswith(path)]
    node = model.nodes.get(path)
    if node is None:
        raise KeeperError(codes.ERR_NO_NODE, path)
    perms = codes.PERM_READ | codes.PERM_ADMIN if op == codes.OP_GET_ACL else codes.PERM_READ
    if not may(node.acl, perms, one.ids):
        raise KeeperError(codes.ERR_NO_AUTH, path)
    if op == codes.OP_EXISTS:
        return node.stat()
    if op == codes.OP_GET_DATA:
        return (node.data, node.stat())
    if op == codes.OP_GET_CHILDREN:
        return sorted(node.children)
    if op == codes.OP_GET_CHILDREN2:
        return (sorted(node.children), node.stat())
    if op == codes.OP_GET_ACL:
        return (_shown_acl(node.acl, one.ids), node.stat())
    if op == codes.OP_GET_ALL_CHILDREN_NUMBER:
        below = "/" if path == "/" else path + "/"
        return sum(1 for each in model.nodes if each.startswith(below) and each != "/")
    raise AssertionError(f"op {op} is no read")


def _shown_acl(acl: list[ACL], ids: list[Id]) -> list[ACL]:
    """Without ADMIN the hash of a digest id is hidden."""
    if may(acl, codes.PERM_ADMIN, ids):
        return acl
    return [
        ACL(entry.perms, Id("digest", entry.id.id.partition(":")[0] + ":x"))
        if entry.id.scheme == "digest"
        else entry
        for entry in acl
    ]


def _parts_read(r: Reader) -> list[tuple[int, str]]:
    """What a multiRead asks for: op and path of each part."""
    out: list[tuple[int, str]] = []
    while True:
        op = r.read_int()
        done = r.read_bool()
        r.read_int()
        if done:
            return out
        out.append((op, GetDataRequest.decode(r).path))


def _multi_read(model: Model, r: Reader, ids: list[Id]) -> list[Any]:
    out: list[Any] = []
    for op, path in _parts_read(r):
        node = model.nodes.get(path)
        if node is None:
            out.append((codes.OP_ERROR, codes.ERR_NO_NODE))
        elif not may(node.acl, codes.PERM_READ, ids):
            out.append((codes.OP_ERROR, codes.ERR_NO_AUTH))
        elif op == codes.OP_GET_DATA:
            out.append((op, node.data, node.stat()))
        else:
            out.append((op, sorted(node.children)))
    return out


def reads_idle_stats(model: Model, one: Invocation) -> bool:
    """Whether a read shows the stats of a quota that has been lifted.

    They stand as the server counted last, and no txn says what that was.  Behind a snapshot from which the
    limits are gone already, a server does not count what came before they went; nor does upstream.
    """
    return any(are_idle_stats(model, path) for path in _paths_read(one))


def are_idle_stats(model: Model, path: str) -> bool:
    """Whether ``path`` is that of such stats."""
    if not path.startswith(QUOTA_ROOT + "/") or not path.endswith(STATS):
        return False
    return path.removesuffix(STATS) + LIMITS not in model.nodes


def _paths_read(one: Invocation) -> list[str]:
    r = Reader(one.body)
    if one.op == codes.OP_WHO_AM_I:
        return []
    if one.op != codes.OP_MULTI_READ:
        return [r.read_ustring()]
    return [path for _, path in _parts_read(r)]


def decode_read(one: Invocation) -> Any:
    """What the reply of a read says, in the form of ``read_of``."""
    op = one.op
    r = Reader(one.reply)
    if op == codes.OP_EXISTS:
        return Stat.decode(r)
    if op == codes.OP_GET_DATA:
        return calls.read_data_and_stat(r)
    if op == codes.OP_GET_CHILDREN or op == codes.OP_GET_EPHEMERALS:
        return sorted(r.read_ustrings())
    if op == codes.OP_GET_CHILDREN2:
        names, stat = calls.read_children_and_stat(r)
        return (sorted(names), stat)
    if op == codes.OP_GET_ACL:
        return calls.read_acl_and_stat(r)
    if op == codes.OP_GET_ALL_CHILDREN_NUMBER:
        return r.read_int()
    if op == codes.OP_WHO_AM_I:
        return sorted((each.auth_scheme, each.user) for each in calls.read_infos(r))
    out: list[Any] = []
    for part in calls.read_parts(r):
        if part.op == codes.OP_ERROR:
            out.append((part.op, part.err))
        elif part.op == codes.OP_GET_DATA:
            out.append((part.op, part.data, part.stat))
        else:
            out.append((part.op, sorted(part.children)))
    return out
