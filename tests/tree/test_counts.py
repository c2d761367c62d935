"""Counts that are kept, not walked, agree with a walk whatever is done."""

from hypothesis import given
from hypothesis import strategies as st

from zabra.tree.ephemerals import CONTAINER_OWNER, Ephemerals, EphemeralTypes
from zabra.tree.watches import PERSISTENT, RECURSIVE, STANDARD, WatchTable

PATHS = st.sampled_from(["/", "/a", "/a/b", "/c"])
WATCHERS = st.integers(1, 3)
MODES = st.sampled_from([STANDARD, PERSISTENT, RECURSIVE])
WATCH_STEPS = st.one_of(
    st.tuples(st.just("add"), PATHS, WATCHERS, MODES),
    st.tuples(st.just("remove"), PATHS, WATCHERS, st.integers(1, 7)),
    st.tuples(st.just("take"), PATHS, WATCHERS, MODES),
    st.tuples(st.just("gone"), PATHS, WATCHERS, MODES),
)


@given(st.lists(WATCH_STEPS, max_size=30))
def test_watches(steps: list[tuple[str, str, int, int]]) -> None:
    table = WatchTable()
    for step, path, watcher, mode in steps:
        if step == "add":
            table.add(path, watcher, mode)
        elif step == "remove":
            table.remove(path, watcher, mode)
        elif step == "take":
            table.take(path)
        else:
            table.remove_watcher(watcher)
        assert table.size() == sum(len(paths) for paths in table.paths.values())
        assert table.size() == sum(len(here) for here in table.modes.values())


OWNERS = st.sampled_from([0x1000, 0x2000, CONTAINER_OWNER])
EPHEMERAL_STEPS = st.tuples(st.sampled_from(["add", "remove", "take", "clear"]), PATHS, OWNERS)


@given(st.lists(EPHEMERAL_STEPS, max_size=30))
def test_ephemerals(steps: list[tuple[str, str, int]]) -> None:
    ephemerals = Ephemerals(EphemeralTypes())
    for step, path, owner in steps:
        if step == "add":
            ephemerals.add(path, owner)
        elif step == "remove":
            ephemerals.remove(path, owner)
        elif step == "take":
            ephemerals.take(owner)
        else:
            ephemerals.clear()
        assert ephemerals.count() == sum(len(paths) for paths in ephemerals.by_session.values())
