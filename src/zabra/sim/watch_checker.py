"""Watches: every event that was due, once, in order, before any reply that shows what it tells; no other.

For each connection of a client the server's watches are tracked from the client's own requests.  A reply
with zxid z says: the server has applied everything up to z; so the events of all txns up to z that match
must have come before it, and in the order of the txns.  After a reconnect, setWatches must give exactly the
events for what was missed (persistent watches catch up nothing), and then the watches stand as of its zxid.

Watches of clients that cannot read what they watch are left out of the workloads: what a server does for
them is tested with the tree.  Source: upstream ``DataTree.setWatches``, ``WatchManager``; docs of watches.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from zabra.jute.primitives import Reader
from zabra.proto import codes
from zabra.proto.records import AddWatchRequest, GetDataRequest, RemoveWatchesRequest
from zabra.proto.txn import TxnEntry
from zabra.sim import histories
from zabra.sim.checkers import Judgement
from zabra.sim.histories import Entry, History, Invocation
from zabra.sim.model import TO_CHILD, TO_DATA, Event, Model

_CHILD_READS: Final = (codes.OP_GET_CHILDREN, codes.OP_GET_CHILDREN2)
_WATCHING_READS: Final = (
    codes.OP_EXISTS,
    codes.OP_GET_DATA,
    codes.OP_GET_CHILDREN,
    codes.OP_GET_CHILDREN2,
)
_CHILDREN_CHANGED: Final = codes.EVENT_NODE_CHILDREN_CHANGED


class Standing:
    """The watches of one connection at its server, or those a client believes in."""

    def __init__(self) -> None:
        self.data: dict[str, None] = {}
        self.exist: dict[str, None] = {}
        self.child: dict[str, None] = {}
        self.persistent: dict[str, None] = {}
        self.recursive: dict[str, None] = {}

    def is_empty(self) -> bool:
        """Whether nothing is watched."""
        return not (self.data or self.exist or self.child or self.persistent or self.recursive)

    def frames_for(self, event: Event) -> bool:
        """Whether a server sends a frame for ``event``; spends the one-shot watches that it fires."""
        path = event.path
        due = path in self.persistent
        fired = [self.data, self.exist] if event.to & TO_DATA else []
        if event.to & TO_CHILD:
            fired.append(self.child)
        for table in fired:
            if path in table:
                del table[path]
                due = True
        if not due and event.type != _CHILDREN_CHANGED and self.recursive:
            due = self._is_below_recursive(path)
        return due

    def _is_below_recursive(self, path: str) -> bool:
        while path not in self.recursive:
            if path == "/":
                return False
            path = path[: path.rfind("/")] or "/"
        return True

    def spend(self, event_type: int, path: str) -> None:
        """A client was told: its one-shot watches of that kind are gone."""
        if event_type != _CHILDREN_CHANGED:
            self.data.pop(path, None)
            self.exist.pop(path, None)
        if event_type in (_CHILDREN_CHANGED, codes.EVENT_NODE_DELETED):
            self.child.pop(path, None)

    def remove(self, watcher_type: int, path: str) -> None:
        """removeWatches has succeeded."""
        everything = watcher_type == codes.WATCHER_ANY
        if everything or watcher_type == codes.WATCHER_DATA:
            self.data.pop(path, None)
            self.exist.pop(path, None)
        if everything or watcher_type == codes.WATCHER_CHILDREN:
            self.child.pop(path, None)
        if everything or watcher_type == codes.WATCHER_PERSISTENT:
            self.persistent.pop(path, None)
        if everything or watcher_type == codes.WATCHER_PERSISTENT_RECURSIVE:
            self.recursive.pop(path, None)

    def copy(self) -> "Standing":
        """The same watches."""
        twin = Standing()
        for name in ("data", "exist", "child", "persistent", "recursive"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin


class _Received:
    """An event a client was sent."""

    __slots__ = ("path", "type", "zxid")

    def __init__(self, event_type: int, path: str, zxid: int) -> None:
        self.type = event_type
        self.path = path
        self.zxid = zxid

    def __repr__(self) -> str:
        return f"(type={self.type}, {self.path}, 0x{self.zxid:x})"


class _View:
    """One client: what its server watches for it, what it believes, what came and is not accounted for."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.server = Standing()
        self.believed = Standing()
        self.position = 0
        self.last_zxid = 0
        self.received: list[_Received] = []
        # The connection is new and its setWatches not answered yet.
        self.rewatching = False


class _Check:
    """A question about the model at one zxid, asked while the log is replayed."""

    __slots__ = ("believed", "client", "got", "relative", "zxid")

    def __init__(
        self, client: int, zxid: int, relative: int, believed: Standing, got: list[_Received]
    ) -> None:
        self.client = client
        self.zxid = zxid
        self.relative = relative
        self.believed = believed
        self.got = got


class WatchChecker:
    """``events`` are those of ``HistoryChecker``."""

    def __init__(self, events: dict[int, list[Event]], history: History, judgement: Judgement) -> None:
        self.events = events
        self.history = history
        self.judgement = judgement
        self._zxids = sorted(events)
        # What reconnects brought, to be compared with the model at their zxid.
        self.catch_ups: list[_Check] = []

    def check(self, chain: Sequence[TxnEntry]) -> None:
        """Goes through every client's entries, then replays ``chain`` for what reconnects brought."""
        views: dict[int, _View] = {}
        for entry in self.history.entries:
            view = views.get(entry.client)
            if view is None:
                view = views[entry.client] = _View(entry.client)
            self._entry(view, entry)
        self._check_catch_ups(chain)

    def _check_catch_ups(self, chain: Sequence[TxnEntry]) -> None:
        checks = sorted(self.catch_ups, key=_by_zxid)
        model = Model()
        place = 0
        for check in checks:
            while place < len(chain) and chain[place].header.zxid <= check.zxid:
                model.apply(chain[place])
                place += 1
            self.check_catch_up(check, model)

    def _entry(self, view: _View, entry: Entry) -> None:
        kind = entry.kind
        if kind == histories.EVENT:
            view.received.append(_Received(entry.event_type, entry.path, entry.zxid))
        elif kind == histories.ANSWERED:
            assert entry.invocation is not None
            self._answered(view, entry.invocation)
        elif kind == histories.REWATCHED:
            self._rewatched(view, entry.zxid)
        elif kind == histories.DISCONNECTED:
            self._disconnected(view)
        elif kind == histories.CONNECTED:
            view.rewatching = not view.believed.is_empty()
        elif kind in (histories.EXPIRED, histories.CLOSED):
            self._disconnected(view)
            view.believed = Standing()
            # The next session may begin at a server that is behind.
            view.last_zxid = view.position = 0

    def _answered(self, view: _View, one: Invocation) -> None:
        zxid = one.zxid
        if not one.answered or zxid < 0:
            return
        if not view.rewatching:
            self._account(view, zxid)
        view.last_zxid = max(view.last_zxid, zxid)
        self._register(view, one)

    def _account(self, view: _View, zxid: int) -> None:
        """Everything due up to ``zxid`` must have come."""
        due = self._due(view, zxid)
        got = view.received
        view.received = []
        for one in got:
            view.believed.spend(one.type, one.path)
        if [(one.type, one.path, one.zxid) for one in got] != due:
            self.judgement.complain("watches", f"client {view.client} up to 0x{zxid:x}: got {got}, due {due}")
        self.judgement.count("watch events", len(due))
        view.position = max(view.position, zxid)

    def _due(self, view: _View, zxid: int) -> list[tuple[int, str, int]]:
        due: list[tuple[int, str, int]] = []
        standing = view.server
        if standing.is_empty():
            return due
        for at in self._between(view.position, zxid):
            for event in self.events[at]:
                if standing.frames_for(event):
                    due.append((event.type, event.path, at))
        return due

    def _between(self, after: int, until: int) -> list[int]:
        """zxids with events in (after, until]."""
        low = bisect_right(self._zxids, after)
        high = bisect_right(self._zxids, until)
        return self._zxids[low:high]

    def _register(self, view: _View, one: Invocation) -> None:
        """A reply that says a watch stands, or that it stands no longer."""
        op = one.op
        ok = one.err == codes.OK
        if op == codes.OP_ADD_WATCH and ok:
            asked = AddWatchRequest.decode(Reader(one.body))
            for standing in (view.server, view.believed):
                if asked.mode == codes.ADD_WATCH_PERSISTENT:
                    standing.persistent[asked.path] = None
                else:
                    standing.recursive[asked.path] = None
        elif op == codes.OP_REMOVE_WATCHES and ok:
            removed = RemoveWatchesRequest.decode(Reader(one.body))
            view.server.remove(removed.type, removed.path)
            view.believed.remove(removed.type, removed.path)
        elif op in _WATCHING_READS:
            read = GetDataRequest.decode(Reader(one.body))
            if read.watch and (ok or (op == codes.OP_EXISTS and one.err == codes.ERR_NO_NODE)):
                for standing in (view.server, view.believed):
                    if op in _CHILD_READS:
                        standing.child[read.path] = None
                    elif ok:
                        standing.data[read.path] = None
                    else:
                        standing.exist[read.path] = None

    def _disconnected(self, view: _View) -> None:
        """What came after the last reply must be the beginning of what was due."""
        if view.received and not view.rewatching:
            due = self._due(view, view.received[-1].zxid)
            got = [(one.type, one.path, one.zxid) for one in view.received]
            if got != due[: len(got)]:
                self.judgement.complain(
                    "watches", f"client {view.client}: got {view.received} before the loss, due {due}"
                )
        for one in view.received:
            view.believed.spend(one.type, one.path)
        view.received = []
        view.server = Standing()
        view.rewatching = False

    def _rewatched(self, view: _View, zxid: int) -> None:
        """The watches stand again as of ``zxid``; what came before this is what was missed."""
        caught_up = view.received
        view.received = []
        view.rewatching = False
        believed = view.believed
        self.catch_ups.append(_Check(view.client, zxid, view.last_zxid, believed.copy(), caught_up))
        for one in caught_up:
            believed.spend(one.type, one.path)
        view.server = believed.copy()
        view.position = zxid
        view.last_zxid = max(view.last_zxid, zxid)

    # Catch-up, compared while the log is replayed once more.

    def check_catch_up(self, check: _Check, model: Model) -> None:
        """Compares what a reconnect brought with the model at its zxid."""
        due: list[tuple[int, str]] = []
        for path in check.believed.data:
            node = model.nodes.get(path)
            if node is None:
                due.append((codes.EVENT_NODE_DELETED, path))
            elif node.mzxid > check.relative:
                due.append((codes.EVENT_NODE_DATA_CHANGED, path))
        due += [(codes.EVENT_NODE_CREATED, path) for path in check.believed.exist if path in model.nodes]
        for path in check.believed.child:
            node = model.nodes.get(path)
            if node is None:
                due.append((codes.EVENT_NODE_DELETED, path))
            elif node.pzxid > check.relative:
                due.append((_CHILDREN_CHANGED, path))
        got = [(one.type, one.path) for one in check.got]
        if got != due:
            self.judgement.complain(
                "watches",
                f"client {check.client} reconnected at 0x{check.zxid:x} from 0x{check.relative:x}: "
                f"got {got}, due {due}",
            )
        self.judgement.count("watches set again")
        self.judgement.count("watch events caught up", len(due))


def _by_zxid(check: _Check) -> int:
    return check.zxid
