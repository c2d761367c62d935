"""WatchManager: who watches what, and the events that a change fires.

A watcher is an opaque number (a client connection).  There are two tables, as upstream has two managers:
``data`` (getData, exists, and every mode of addWatch) and ``child`` (getChildren, and persistent watches
again).  One watcher may stand on a path in several modes at once; they come and go independently
(ZK-4466).  Fired events are collected in order and fetched with ``take_fired``; whether a watcher may see
one is decided by whoever delivers it.  Source: upstream ``WatchManager``, ``WatchStats``, ``DataTree``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL

# Modes in which a watcher stands on a path, as bits.
STANDARD: Final = 1
PERSISTENT: Final = 2
RECURSIVE: Final = 4
_ANY_MODE: Final = 7

# The zxid of an event that no txn caused (the catch-up of setWatches).
NO_ZXID: Final = -1


class FiredWatch:
    """An event for ``watchers``, each of whom needs READ in ``acl`` (empty: no check) to be told.

    ``acl`` is that of the node the event is about at the time of the change; a deleted node's is its last.
    """

    __slots__ = ("acl", "event_type", "path", "watchers", "zxid")

    def __init__(self, event_type: i64, path: str, zxid: i64, acl: list[ACL], watchers: list[int]) -> None:
        self.event_type: i64 = event_type
        self.path: str = path
        self.zxid: i64 = zxid
        self.acl: list[ACL] = acl
        self.watchers: list[int] = watchers

    def __repr__(self) -> str:
        return f"FiredWatch({self.event_type}, {self.path!r}, {self.zxid:#x}, {self.watchers!r})"


class WatchTable:
    """Modes by path and watcher, and the paths of each watcher."""

    __slots__ = ("_total", "modes", "paths", "recursive_count")

    def __init__(self) -> None:
        self.modes: dict[str, dict[int, int]] = {}
        self.paths: dict[int, dict[str, None]] = {}
        # Watchers-on-a-path, whatever their modes.
        self._total: i64 = 0
        # Watchers-on-a-path in mode RECURSIVE: at 0 nobody looks at parents.
        self.recursive_count: i64 = 0

    def add(self, path: str, watcher: int, mode: int) -> None:
        """Puts ``watcher`` on ``path`` also in ``mode``."""
        here = self.modes.get(path)
        if here is None:
            here = {}
            self.modes[path] = here
        before = here.get(watcher, 0)
        here[watcher] = before | mode
        if before == 0:
            self._total += 1
            theirs = self.paths.get(watcher)
            if theirs is None:
                self.paths[watcher] = {path: None}
            else:
                theirs[path] = None
        if mode == RECURSIVE and before & RECURSIVE == 0:
            self.recursive_count += 1

    def mode(self, path: str, watcher: int) -> int:
        """The modes of ``watcher`` on ``path``, 0 for none."""
        here = self.modes.get(path)
        return 0 if here is None else here.get(watcher, 0)

    def remove(self, path: str, watcher: int, mask: int) -> bool:
        """Takes away the modes in ``mask``; False if there was none of them."""
        before = self.mode(path, watcher)
        if before & mask == 0:
            return False
        self._set(path, watcher, before & ~mask)
        if before & mask & RECURSIVE:
            self.recursive_count -= 1
        return True

    def _set(self, path: str, watcher: int, mode: int) -> None:
        here = self.modes[path]
        if mode != 0:
            here[watcher] = mode
            return
        self._total -= 1
        del here[watcher]
        if not here:
            del self.modes[path]
        theirs = self.paths[watcher]
        del theirs[path]
        if not theirs:
            del self.paths[watcher]

    def remove_watcher(self, watcher: int) -> None:
        """Takes ``watcher`` off every path."""
        theirs = self.paths.pop(watcher, None)
        if theirs is None:
            return
        self._total -= len(theirs)
        for path in theirs:
            here = self.modes[path]
            if here.pop(watcher) & RECURSIVE:
                self.recursive_count -= 1
            if not here:
                del self.modes[path]

    def take(self, path: str) -> list[int]:
        """Who is told of a change at ``path``, in the order they came; one-shot modes are used up."""
        out: list[int] = []
        here = self.modes.get(path)
        if here is not None:
            out.extend(here)
            for watcher in out:
                mode = here[watcher]
                if mode & STANDARD:
                    self._set(path, watcher, mode & ~STANDARD)
        if self.recursive_count > 0:
            self._add_recursive(path, out)
        return out

    def _add_recursive(self, path: str, out: list[int]) -> None:
        seen = dict.fromkeys(out)
        while len(path) > 1:
            slash = path.rfind("/")
            path = path[:slash] if slash > 0 else "/"
            here = self.modes.get(path)
            if here is not None:
                for watcher, mode in here.items():
                    if mode & RECURSIVE and watcher not in seen:
                        seen[watcher] = None
                        out.append(watcher)

    def size(self) -> i64:
        """Watchers-on-a-path, whatever their modes."""
        return self._total


class WatchManager:
    """Both tables, and the events fired since the last ``take_fired``."""

    __slots__ = ("_fired", "child", "data")

    def __init__(self) -> None:
        self.data: WatchTable = WatchTable()
        self.child: WatchTable = WatchTable()
        self._fired: list[FiredWatch] = []

    def add_data(self, path: str, watcher: int) -> None:
        """A one-shot watch of getData or exists."""
        self.data.add(path, watcher, STANDARD)

    def add_child(self, path: str, watcher: int) -> None:
        """A one-shot watch of getChildren."""
        self.child.add(path, watcher, STANDARD)

    def add(self, path: str, watcher: int, mode: i64) -> None:
        """addWatch: ``mode`` is codes.ADD_WATCH_*; KeeperError(BADARGUMENTS) for another."""
        if mode == codes.ADD_WATCH_PERSISTENT:
            self.data.add(path, watcher, PERSISTENT)
            self.child.add(path, watcher, PERSISTENT)
        elif mode == codes.ADD_WATCH_PERSISTENT_RECURSIVE:
            self.data.add(path, watcher, RECURSIVE)
        else:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)

    def contains(self, path: str, watcher: int, watcher_type: i64) -> bool:
        """checkWatches: ``watcher_type`` is codes.WATCHER_*; KeeperError(BADARGUMENTS) for another."""
        if watcher_type == codes.WATCHER_CHILDREN:
            return self.child.mode(path, watcher) & STANDARD != 0
        if watcher_type == codes.WATCHER_DATA:
            return self.data.mode(path, watcher) & STANDARD != 0
        if watcher_type == codes.WATCHER_PERSISTENT:
            return self.data.mode(path, watcher) & PERSISTENT != 0
        if watcher_type == codes.WATCHER_PERSISTENT_RECURSIVE:
            return self.data.mode(path, watcher) & RECURSIVE != 0
        if watcher_type == codes.WATCHER_ANY:
            return (self.data.mode(path, watcher) | self.child.mode(path, watcher)) != 0
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)

    def remove(self, path: str, watcher: int, watcher_type: i64) -> bool:
        """removeWatches: False if there was nothing to remove; types as in ``contains``."""
        if watcher_type == codes.WATCHER_CHILDREN:
            return self.child.remove(path, watcher, STANDARD)
        if watcher_type == codes.WATCHER_DATA:
            return self.data.remove(path, watcher, STANDARD)
        if watcher_type == codes.WATCHER_PERSISTENT:
            return self._remove_both(path, watcher, PERSISTENT)
        if watcher_type == codes.WATCHER_PERSISTENT_RECURSIVE:
            return self.data.remove(path, watcher, RECURSIVE)
        if watcher_type == codes.WATCHER_ANY:
            return self._remove_both(path, watcher, _ANY_MODE)
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)

    def _remove_both(self, path: str, watcher: int, mask: int) -> bool:
        of_child = self.child.remove(path, watcher, mask)
        return self.data.remove(path, watcher, mask) or of_child

    def remove_watcher(self, watcher: int) -> None:
        """The connection is gone: all its watches go too."""
        self.data.remove_watcher(watcher)
        self.child.remove_watcher(watcher)

    def is_idle(self) -> bool:
        """True while nobody watches anything, so that a change need not even name its ACL."""
        return not self.data.modes and not self.child.modes

    def node_created(self, path: str, parent: str, zxid: i64, acl: list[ACL], parent_acl: list[ACL]) -> None:
        """``path`` was created under ``parent``."""
        self._fire(self.data.take(path), codes.EVENT_NODE_CREATED, path, zxid, acl)
        self._fire(self.child.take(parent), codes.EVENT_NODE_CHILDREN_CHANGED, parent, zxid, parent_acl)

    def node_deleted(self, path: str, parent: str, zxid: i64, acl: list[ACL], parent_acl: list[ACL]) -> None:
        """``path`` was deleted from ``parent``; a watcher of its data and children is told once."""
        told = self.data.take(path)
        self._fire(told, codes.EVENT_NODE_DELETED, path, zxid, acl)
        of_child = self.child.take(path)
        if told:
            of_child = [watcher for watcher in of_child if watcher not in told]
        self._fire(of_child, codes.EVENT_NODE_DELETED, path, zxid, acl)
        self._fire(self.child.take(parent), codes.EVENT_NODE_CHILDREN_CHANGED, parent, zxid, parent_acl)

    def node_data_changed(self, path: str, zxid: i64, acl: list[ACL]) -> None:
        """The data of ``path`` was set."""
        self._fire(self.data.take(path), codes.EVENT_NODE_DATA_CHANGED, path, zxid, acl)

    def catch_up(self, event_type: i64, path: str, watcher: int) -> None:
        """What a reconnecting client has missed at ``path``: no ACL check, no zxid, as upstream sends it."""
        self._fired.append(FiredWatch(event_type, path, NO_ZXID, [], [watcher]))

    def _fire(self, watchers: list[int], event_type: i64, path: str, zxid: i64, acl: list[ACL]) -> None:
        if watchers:
            self._fired.append(FiredWatch(event_type, path, zxid, acl, watchers))

    def has_fired(self) -> bool:
        """Whether ``take_fired`` has anything to give."""
        return len(self._fired) > 0

    def take_fired(self) -> list[FiredWatch]:
        """The events since the last call, in the order in which clients must see them."""
        fired = self._fired
        if fired:
            self._fired = []
        return fired

    def count(self) -> i64:
        """zk_watch_count: watchers on a path, in both tables."""
        return self.data.size() + self.child.size()

    def summary(self) -> tuple[int, int, int]:
        """wchs: connections, paths and watches of the data table (all that upstream reports)."""
        return len(self.data.paths), len(self.data.modes), self.data.size()

    def by_watcher(self) -> dict[int, list[str]]:
        """wchc: the paths of each watcher, data table."""
        return {watcher: list(theirs) for watcher, theirs in self.data.paths.items()}

    def by_path(self) -> dict[str, list[int]]:
        """wchp: the watchers of each path, data table."""
        return {path: list(here) for path, here in self.data.modes.items()}
