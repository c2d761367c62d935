"""Watches: every mode, several at once, order of events; a table kept the plain way as the model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL
from zabra.tree.watches import WatchManager

ZXID = 0x100000007
NO_ACL: list[ACL] = []
PERSISTENT = codes.ADD_WATCH_PERSISTENT
RECURSIVE = codes.ADD_WATCH_PERSISTENT_RECURSIVE
TYPES = (
    codes.WATCHER_CHILDREN,
    codes.WATCHER_DATA,
    codes.WATCHER_ANY,
    codes.WATCHER_PERSISTENT,
    codes.WATCHER_PERSISTENT_RECURSIVE,
)


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def created(manager: WatchManager, path: str) -> None:
    manager.node_created(path, parent_of(path), ZXID, NO_ACL, NO_ACL)


def deleted(manager: WatchManager, path: str) -> None:
    manager.node_deleted(path, parent_of(path), ZXID, NO_ACL, NO_ACL)


def changed(manager: WatchManager, path: str) -> None:
    manager.node_data_changed(path, ZXID, NO_ACL)


def fired(manager: WatchManager) -> list[tuple[int, str, list[int]]]:
    return [(f.event_type, f.path, f.watchers) for f in manager.take_fired()]


def test_nobody_watches() -> None:
    manager = WatchManager()
    assert manager.is_idle()
    created(manager, "/a")
    assert not manager.has_fired()
    assert manager.take_fired() == []


def test_standard_watches_fire_once() -> None:
    manager = WatchManager()
    manager.add_data("/a", 1)
    manager.add_child("/", 2)
    assert not manager.is_idle()
    created(manager, "/a")
    assert manager.has_fired()
    assert fired(manager) == [
        (codes.EVENT_NODE_CREATED, "/a", [1]),
        (codes.EVENT_NODE_CHILDREN_CHANGED, "/", [2]),
    ]
    created(manager, "/a")
    assert fired(manager) == []
    assert manager.is_idle()
    assert manager.count() == 0


def test_a_child_watch_sees_neither_creation_nor_data() -> None:
    manager = WatchManager()
    manager.add_child("/a", 1)
    created(manager, "/a")
    changed(manager, "/a")
    assert fired(manager) == []
    assert manager.contains("/a", 1, codes.WATCHER_CHILDREN)


def test_a_deletion_is_told_once_to_each() -> None:
    manager = WatchManager()
    for watcher in (1, 2):
        manager.add_data("/a", watcher)
    for watcher in (2, 3):
        manager.add_child("/a", watcher)
    manager.add_child("/", 2)
    deleted(manager, "/a")
    assert fired(manager) == [
        (codes.EVENT_NODE_DELETED, "/a", [1, 2]),
        (codes.EVENT_NODE_DELETED, "/a", [3]),
        (codes.EVENT_NODE_CHILDREN_CHANGED, "/", [2]),
    ]
    # The child watch that was not told is used up all the same.
    assert manager.is_idle()


def test_persistent_watches_stay_and_see_all_four_kinds() -> None:
    manager = WatchManager()
    manager.add("/a", 1, PERSISTENT)
    assert manager.count() == 2
    for _ in range(2):
        created(manager, "/a")
        changed(manager, "/a")
        created(manager, "/a/b")
        deleted(manager, "/a")
        assert fired(manager) == [
            (codes.EVENT_NODE_CREATED, "/a", [1]),
            (codes.EVENT_NODE_DATA_CHANGED, "/a", [1]),
            (codes.EVENT_NODE_CHILDREN_CHANGED, "/a", [1]),
            (codes.EVENT_NODE_DELETED, "/a", [1]),
        ]


def test_recursive_watches_see_the_subtree_and_no_child_events() -> None:
    manager = WatchManager()
    manager.add("/a", 1, RECURSIVE)
    manager.add("/", 2, RECURSIVE)
    created(manager, "/a")
    created(manager, "/a/b/c")
    changed(manager, "/ab")
    deleted(manager, "/a/b/c")
    assert fired(manager) == [
        (codes.EVENT_NODE_CREATED, "/a", [1, 2]),
        (codes.EVENT_NODE_CREATED, "/a/b/c", [1, 2]),
        (codes.EVENT_NODE_DATA_CHANGED, "/ab", [2]),
        (codes.EVENT_NODE_DELETED, "/a/b/c", [1, 2]),
    ]


def test_nobody_is_told_twice_of_one_change() -> None:
    manager = WatchManager()
    manager.add_data("/a/b", 1)
    manager.add("/a/b", 1, PERSISTENT)
    manager.add("/a/b", 1, RECURSIVE)
    manager.add("/a", 1, RECURSIVE)
    manager.add("/", 1, RECURSIVE)
    changed(manager, "/a/b")
    assert fired(manager) == [(codes.EVENT_NODE_DATA_CHANGED, "/a/b", [1])]


def test_modes_on_one_path_are_independent() -> None:
    """ZK-4466: using up or removing one mode leaves the others."""
    manager = WatchManager()
    manager.add_data("/a", 1)
    manager.add("/a", 1, PERSISTENT)
    manager.add("/a", 1, RECURSIVE)
    changed(manager, "/a")
    assert [manager.contains("/a", 1, kind) for kind in TYPES] == [False, False, True, True, True]
    manager.add_data("/a", 1)
    assert manager.remove("/a", 1, codes.WATCHER_PERSISTENT)
    assert [manager.contains("/a", 1, kind) for kind in TYPES] == [False, True, True, False, True]
    assert manager.remove("/a", 1, codes.WATCHER_PERSISTENT_RECURSIVE)
    assert manager.data.recursive_count == 0
    assert manager.remove("/a", 1, codes.WATCHER_DATA)
    assert manager.is_idle()
    for kind in TYPES:
        assert not manager.remove("/a", 1, kind)


def test_remove_any_takes_all_of_the_callers_only() -> None:
    manager = WatchManager()
    for watcher in (1, 2):
        manager.add_child("/a", watcher)
        manager.add("/a", watcher, PERSISTENT)
        manager.add("/a", watcher, RECURSIVE)
    assert manager.remove("/a", 1, codes.WATCHER_ANY)
    assert not manager.contains("/a", 1, codes.WATCHER_ANY)
    assert manager.contains("/a", 2, codes.WATCHER_PERSISTENT_RECURSIVE)
    assert manager.contains("/a", 2, codes.WATCHER_CHILDREN)
    assert not manager.remove("/a", 3, codes.WATCHER_ANY)


@pytest.mark.parametrize("kind", [0, 6, -1])
def test_unknown_kinds(kind: int) -> None:
    manager = WatchManager()
    for call in (manager.contains, manager.remove):
        with pytest.raises(KeeperError) as caught:
            call("/a", 1, kind)
        assert caught.value.code == codes.ERR_BAD_ARGUMENTS
    with pytest.raises(KeeperError):
        manager.add("/a", 1, 2)


def test_reports_are_of_the_data_table() -> None:
    manager = WatchManager()
    manager.add_data("/a", 1)
    manager.add("/a", 2, PERSISTENT)
    manager.add_data("/b", 1)
    manager.add_child("/c", 3)
    assert manager.summary() == (2, 2, 3)
    assert manager.by_watcher() == {1: ["/a", "/b"], 2: ["/a"]}
    assert manager.by_path() == {"/a": [1, 2], "/b": [1]}
    assert manager.count() == 5


class PlainTable:
    """All watches as one list of (kind, path, watcher), searched from end to end."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int]] = []

    def add(self, kind: str, path: str, watcher: int) -> None:
        if (kind, path, watcher) not in self.rows:
            self.rows.append((kind, path, watcher))

    def has(self, kinds: list[str], path: str, watcher: int) -> bool:
        return any((kind, path, watcher) in self.rows for kind in kinds)

    def drop(self, kinds: list[str], path: str, watcher: int) -> bool:
        before = len(self.rows)
        self.rows = [row for row in self.rows if not (row[0] in kinds and row[1:] == (path, watcher))]
        return len(self.rows) < before

    def told(self, table: str, path: str) -> set[int]:
        """Who is told through ``table`` ("data" or "child") of a change at ``path``; uses up one-shots."""
        out = set()
        for kind, where, watcher in self.rows:
            below = path == where or path.startswith("/" if where == "/" else where + "/")
            if (kind in (table, "persistent") and path == where) or (
                kind == "recursive" and table == "data" and below
            ):
                out.add(watcher)
        self.rows = [row for row in self.rows if not (row[0] == table and row[1] == path)]
        return out


KINDS_OF = {
    codes.WATCHER_CHILDREN: ["child"],
    codes.WATCHER_DATA: ["data"],
    codes.WATCHER_ANY: ["child", "data", "persistent", "recursive"],
    codes.WATCHER_PERSISTENT: ["persistent"],
    codes.WATCHER_PERSISTENT_RECURSIVE: ["recursive"],
}
PLACES = ["/", "/a", "/a/b", "/a/b/c", "/ab"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 8), st.sampled_from(PLACES), st.integers(1, 3), st.sampled_from(sorted(KINDS_OF))
        ),
        max_size=50,
    )
)
@settings(max_examples=300)
def test_agrees_with_the_plain_table(steps: list[tuple[int, str, int, int]]) -> None:
    manager = WatchManager()
    plain = PlainTable()
    for step, path, watcher, kind in steps:
        expected: list[tuple[int, str, set[int]]] = []
        if step == 0:
            manager.add_data(path, watcher)
            plain.add("data", path, watcher)
        elif step == 1:
            manager.add_child(path, watcher)
            plain.add("child", path, watcher)
        elif step == 2:
            manager.add(path, watcher, PERSISTENT)
            plain.add("persistent", path, watcher)
        elif step == 3:
            manager.add(path, watcher, RECURSIVE)
            plain.add("recursive", path, watcher)
        elif step == 4:
            assert manager.remove(path, watcher, kind) == plain.drop(KINDS_OF[kind], path, watcher)
        elif step == 5:
            manager.remove_watcher(watcher)
            plain.rows = [row for row in plain.rows if row[2] != watcher]
        elif step == 6:
            changed(manager, path)
            expected = [(codes.EVENT_NODE_DATA_CHANGED, path, plain.told("data", path))]
        elif path != "/":
            parent = parent_of(path)
            event = codes.EVENT_NODE_CREATED if step == 7 else codes.EVENT_NODE_DELETED
            data = plain.told("data", path)
            expected = [(event, path, data)]
            if step == 8:
                expected.append((event, path, plain.told("child", path) - data))
            expected.append((codes.EVENT_NODE_CHILDREN_CHANGED, parent, plain.told("child", parent)))
            (created if step == 7 else deleted)(manager, path)
        for place in PLACES:
            for who in (1, 2, 3):
                for kinds, names in KINDS_OF.items():
                    assert manager.contains(place, who, kinds) == plain.has(names, place, who)
        got = fired(manager)
        assert [(event, where, set(who)) for event, where, who in got] == [e for e in expected if e[2]]
        assert all(len(who) == len(set(who)) for _, _, who in got)
    recursive = len([row for row in plain.rows if row[0] == "recursive"])
    assert manager.data.recursive_count == recursive
    assert manager.is_idle() == (not plain.rows)
