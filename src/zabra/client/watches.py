"""WatchTable: the watches a session believes in: events find their watchers, reconnects repeat them.

A watcher is a handle (an int above 0) that means something to the caller only.  Source: upstream
``ZKWatchManager``.
"""

from typing import Final

from zabra.client.calls import WATCH_CHILD, WATCH_DATA, WATCH_EXIST, WATCH_PERSISTENT, WATCH_RECURSIVE
from zabra.proto import codes

_KINDS: Final = (WATCH_DATA, WATCH_EXIST, WATCH_CHILD, WATCH_PERSISTENT, WATCH_RECURSIVE)

# WatcherType of removeWatches -> the tables it empties.
_TABLES_OF_TYPE: Final[dict[int, tuple[int, ...]]] = {
    codes.WATCHER_CHILDREN: (WATCH_CHILD,),
    codes.WATCHER_DATA: (WATCH_DATA, WATCH_EXIST),
    codes.WATCHER_ANY: _KINDS,
    codes.WATCHER_PERSISTENT: (WATCH_PERSISTENT,),
    codes.WATCHER_PERSISTENT_RECURSIVE: (WATCH_RECURSIVE,),
}

# Event type -> the one-shot tables that it fires (and empties).
_FIRED_BY: Final[dict[int, tuple[int, ...]]] = {
    codes.EVENT_NODE_CREATED: (WATCH_DATA, WATCH_EXIST),
    codes.EVENT_NODE_DATA_CHANGED: (WATCH_DATA, WATCH_EXIST),
    codes.EVENT_NODE_CHILDREN_CHANGED: (WATCH_CHILD,),
    codes.EVENT_NODE_DELETED: (WATCH_DATA, WATCH_EXIST, WATCH_CHILD),
}


class WatchTable:
    """Paths and handles per kind of watch."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[int, dict[str, dict[int, None]]] = {kind: {} for kind in _KINDS}

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())

    def add(self, kind: int, path: str, watcher: int) -> None:
        """Registers ``watcher``."""
        self._tables[kind].setdefault(path, {})[watcher] = None

    def has(self, kind: int, path: str) -> bool:
        """Whether anybody watches ``path`` in this way."""
        return path in self._tables[kind]

    def paths(self, kind: int) -> list[str]:
        """Watched paths, in the order of registration."""
        return list(self._tables[kind])

    def remove(self, watcher_type: int, path: str) -> list[int]:
        """Forgets the watches that removeWatches took away; returns their handles."""
        out: dict[int, None] = {}
        for kind in _TABLES_OF_TYPE.get(watcher_type, ()):
            out.update(self._tables[kind].pop(path, {}))
        return list(out)

    def fire(self, event_type: int, path: str) -> list[int]:
        """The watchers an event is for, each once; one-shot watches are spent."""
        out: dict[int, None] = {}
        for kind in _FIRED_BY.get(event_type, ()):
            out.update(self._tables[kind].pop(path, {}))
        out.update(self._tables[WATCH_PERSISTENT].get(path, {}))
        if event_type != codes.EVENT_NODE_CHILDREN_CHANGED and self._tables[WATCH_RECURSIVE]:
            self._add_recursive(path, out)
        return list(out)

    def _add_recursive(self, path: str, out: dict[int, None]) -> None:
        table = self._tables[WATCH_RECURSIVE]
        while True:
            out.update(table.get(path, {}))
            if path == "/":
                return
            path = path[: path.rfind("/")] or "/"
