"""DataTree: every txn against the naive tree; results, multi, sessions, config node, digests."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tree.naive import (
    OPEN,
    PATHS,
    READ,
    Entry,
    Leader,
    describe,
    describe_naive,
    encoded,
    new_tree,
)

from zabra.jute.primitives import JuteError, Writer
from zabra.proto import codes
from zabra.proto.records import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Txn,
    TxnDigest,
    TxnHeader,
)
from zabra.proto.txn import DIGEST_VERSION, TxnRecord
from zabra.tree.datatree import (
    DIGEST_LOG_INTERVAL,
    DIGEST_LOG_LIMIT,
    DataTree,
    TxnResult,
    is_special_path,
    signed32,
)
from zabra.tree.digest import FRESH_TREE_DIGEST

DRAWS = st.lists(
    st.tuples(
        st.integers(0, Leader.KINDS - 1),
        st.integers(0, len(PATHS) - 1),
        st.integers(0, 59),
        st.integers(0, 3),
    ),
    max_size=60,
)
EPOCH = 1 << 32


def apply(tree: DataTree, counter: int, kind: int, record: TxnRecord, session_id: int = 9) -> TxnResult:
    header = TxnHeader(session_id, counter, EPOCH + counter, 1000 + counter, kind)
    return tree.process_txn(header, record)


def create(tree: DataTree, counter: int, path: str, data: bytes | None = b"", **more: int) -> TxnResult:
    record = CreateTxn(path, data, OPEN, bool(more.get("session_id")), more.get("cversion", -1))
    return apply(tree, counter, codes.OP_CREATE, record, more.get("session_id", 9))


def test_fresh_tree() -> None:
    tree = DataTree()
    assert tree.digest == FRESH_TREE_DIGEST
    assert tree.node_count() == 5
    assert tree.approximate_data_size == 44
    assert tree.children("/") == ["zookeeper"]
    assert sorted(tree.children("/zookeeper")) == ["config", "quota"]
    config = tree.find("/zookeeper/config")
    assert config is not None
    assert tree.acl_of(config) == READ
    assert config.aversion == -1
    for path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
        assert is_special_path(path)
    assert not is_special_path("/a")


def test_a_tree_without_digests() -> None:
    tree = DataTree(digest_enabled=False)
    create(tree, 1, "/a", b"x")
    assert tree.digest == 0
    assert tree.last_digest_zxid == 0
    assert tree.compare_digest(TxnDigest(DIGEST_VERSION, 7))


def test_the_digest_of_a_created_node() -> None:
    """The value that Apache ZooKeeper wrote into its log."""
    tree = DataTree()
    tree.process_txn(
        TxnHeader(9, 0, 0x100000001, 0x1A2021CAEE1, codes.OP_CREATE_SESSION), CreateSessionTxn(9)
    )
    record = CreateTxn("/t", b"hello", OPEN, False, 1)
    tree.process_txn(TxnHeader(9, 1, 0x100000002, 0x1A2021CAEF0, codes.OP_CREATE), record)
    assert tree.digest == 0x15616B053


@given(DRAWS)
def test_agrees_with_the_naive_tree(draws: list[tuple[int, int, int, int]]) -> None:
    leader = Leader()
    tree = new_tree()
    for draw in draws:
        entry = leader.propose(*draw)
        if entry is not None:
            tree.process_txn(*entry)
            assert tree.digest == leader.tree.digest()
    assert describe(tree) == describe_naive(leader.tree, leader.zxid if leader.zxid > EPOCH else 0)
    for path in leader.tree.nodes:
        node = tree.find(path)
        assert node is not None
        assert node.to_stat() == leader.tree.stat(path)
        below = [p for p in leader.tree.nodes if p.startswith("/" if path == "/" else path + "/")]
        assert tree.count_descendants(path) == len(below) - (path == "/")


@given(DRAWS, st.integers(0, 60))
@settings(max_examples=60)
def test_replaying_any_tail_changes_nothing(draws: list[tuple[int, int, int, int]], cut: int) -> None:
    """Txns from any point on, applied a second time to the same tree, lead to the same tree."""
    leader = Leader()
    entries = [entry for draw in draws if (entry := leader.propose(*draw)) is not None]
    tree = new_tree()
    for entry in entries:
        tree.process_txn(*entry)
    expected = describe(tree)
    for entry in entries[cut:]:
        tree.process_txn(*entry)
    assert describe(tree) == expected


def test_results_of_single_txns() -> None:
    tree = new_tree()
    made = create(tree, 1, "/a", b"abc")
    assert (made.err, made.path, made.type, made.session_id, made.cxid, made.zxid) == (
        codes.OK,
        "/a",
        codes.OP_CREATE,
        9,
        1,
        EPOCH + 1,
    )
    changed = apply(tree, 2, codes.OP_SET_DATA, SetDataTxn("/a", b"hello", 1))
    assert changed.stat is not None
    assert (changed.stat.version, changed.stat.mzxid, changed.stat.data_length) == (1, EPOCH + 2, 5)
    w = Writer()
    changed.encode_stat(w)
    assert w.getvalue() == encoded(changed.stat)  # type: ignore[arg-type]
    acl = apply(tree, 3, codes.OP_SET_ACL, SetACLTxn("/a", READ, 1))
    assert acl.stat is not None
    assert (acl.stat.aversion, acl.stat.mzxid) == (1, EPOCH + 2)
    container = apply(tree, 4, codes.OP_CREATE_CONTAINER, CreateContainerTxn("/c", b"", OPEN, 3))
    ttl = apply(tree, 5, codes.OP_CREATE_TTL, CreateTTLTxn("/t", b"", OPEN, 4, 100))
    for result, path in ((container, "/c"), (ttl, "/t")):
        assert result.path == path
        assert result.stat is not None
        assert result.stat.ephemeral_owner == 0
    gone = apply(tree, 6, codes.OP_DELETE, DeleteTxn("/a"))
    assert (gone.err, gone.path, gone.stat) == (codes.OK, "/a", None)
    error = apply(tree, 7, codes.OP_ERROR, ErrorTxn(codes.ERR_NO_AUTH))
    assert (error.err, error.type) == (codes.ERR_NO_AUTH, codes.OP_ERROR)
    assert tree.last_processed_zxid == EPOCH + 7


@pytest.mark.parametrize(
    ("kind", "record", "err"),
    [
        (codes.OP_CREATE, CreateTxn("/no/a", b"", OPEN, False, 1), codes.ERR_NO_NODE),
        (codes.OP_DELETE, DeleteTxn("/no"), codes.ERR_NO_NODE),
        (codes.OP_DELETE, DeleteTxn("/no/a"), codes.ERR_NO_NODE),
        (codes.OP_SET_DATA, SetDataTxn("/no", b"", 1), codes.ERR_NO_NODE),
        (codes.OP_SET_ACL, SetACLTxn("/no", OPEN, 1), codes.ERR_NO_NODE),
        (codes.OP_CREATE, CreateTxn("/zookeeper", b"", OPEN, False, 1), codes.ERR_NODE_EXISTS),
    ],
)
def test_what_only_replay_meets(kind: int, record: TxnRecord, err: int) -> None:
    assert apply(new_tree(), 1, kind, record).err == err


def test_deleting_what_is_gone_still_moves_the_parent() -> None:
    tree = new_tree()
    create(tree, 1, "/a")
    apply(tree, 5, codes.OP_DELETE, DeleteTxn("/a/gone"))
    node = tree.find("/a")
    assert node is not None
    assert node.pzxid == EPOCH + 5
    apply(tree, 3, codes.OP_DELETE, DeleteTxn("/a/gone"))
    assert node.pzxid == EPOCH + 5
    assert tree.last_processed_zxid == EPOCH + 5


def test_the_parents_counter_never_goes_back() -> None:
    tree = new_tree()
    create(tree, 1, "/a")
    create(tree, 2, "/a/x", cversion=7)
    create(tree, 3, "/a/y", cversion=5)
    node = tree.find("/a")
    assert node is not None
    assert (node.cversion, node.pzxid) == (7, EPOCH + 2)
    # Logs of old servers carry no counter; then the parent counts by itself.
    create(tree, 4, "/a/z", cversion=-1)
    assert (node.cversion, node.pzxid) == (8, EPOCH + 4)


@pytest.mark.parametrize(
    ("value", "wrapped"), [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (-(2**31) - 1, 2**31 - 1)]
)
def test_versions_are_java_ints(value: int, wrapped: int) -> None:
    assert signed32(value) == wrapped
    tree = new_tree()
    create(tree, 1, "/a")
    apply(tree, 2, codes.OP_SET_DATA, SetDataTxn("/a", b"", value))
    node = tree.find("/a")
    assert node is not None
    assert node.version == wrapped


def multi(*parts: tuple[int, TxnRecord]) -> MultiTxn:
    return MultiTxn([Txn(kind, encoded(record)) for kind, record in parts])


def test_parts_of_a_multi_have_their_own_stats() -> None:
    tree = new_tree()
    result = apply(
        tree,
        1,
        codes.OP_MULTI,
        multi(
            (codes.OP_CREATE, CreateTxn("/a", b"", OPEN, False, 1)),
            (codes.OP_SET_DATA, SetDataTxn("/a", b"x", 1)),
            (codes.OP_CHECK, CheckVersionTxn("/a", 2)),
            (codes.OP_SET_DATA, SetDataTxn("/a", b"xyz", 2)),
            (codes.OP_CREATE2, CreateTxn("/a/b", b"", OPEN, False, 1)),
            (codes.OP_DELETE, DeleteTxn("/a/b")),
        ),
    )
    assert result.err == codes.OK
    assert result.results is not None
    assert [part.path for part in result.results] == ["/a", "/a", "/a", "/a", "/a/b", "/a/b"]
    stats = [part.stat for part in result.results]
    lengths = [None if stat is None else (stat.version, stat.data_length) for stat in stats]
    assert lengths == [(0, 0), (1, 1), None, (2, 3), (0, 0), None]
    w = Writer()
    result.results[1].encode_stat(w)
    assert w.getvalue() == encoded(stats[1])  # type: ignore[arg-type]


def test_a_failed_multi_applies_nothing() -> None:
    tree = new_tree()
    before = describe(tree)
    result = apply(
        tree,
        1,
        codes.OP_MULTI,
        multi(
            (codes.OP_CREATE, CreateTxn("/a", b"", OPEN, False, 1)),
            (codes.OP_ERROR, ErrorTxn(codes.ERR_BAD_VERSION)),
            (codes.OP_ERROR, ErrorTxn(codes.ERR_RUNTIME_INCONSISTENCY)),
            (codes.OP_CREATE, CreateTxn("/b", b"", OPEN, False, 1)),
        ),
    )
    assert result.err == codes.ERR_BAD_VERSION
    assert result.type == codes.OP_MULTI
    assert result.results is not None
    assert [(part.type, part.err) for part in result.results] == [
        (codes.OP_ERROR, codes.OK),
        (codes.OP_ERROR, codes.ERR_BAD_VERSION),
        (codes.OP_ERROR, codes.ERR_RUNTIME_INCONSISTENCY),
        (codes.OP_ERROR, codes.ERR_RUNTIME_INCONSISTENCY),
    ]
    assert describe(tree) == before | {"zxid": EPOCH + 1}


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        (codes.OP_MULTI, None),
        (codes.OP_CREATE, None),
        (codes.OP_DELETE, None),
        (99, None),
        (codes.OP_CREATE_TTL, CreateTTLTxn("/t", b"", OPEN, 1, 0)),
        (codes.OP_MULTI, multi((codes.OP_CREATE, CreateTxn("/a", b"", OPEN, False, 1)), (7, ErrorTxn(1)))),
        (codes.OP_MULTI, MultiTxn([Txn(1, encoded(CreateTxn("/a", b"", OPEN, False, 1))), Txn(5, b"\0")])),
        (codes.OP_MULTI, MultiTxn([Txn(2, None)])),
    ],
)
def test_txns_that_are_none_apply_nothing(kind: int, record: TxnRecord) -> None:
    tree = new_tree()
    before = describe(tree)
    with pytest.raises(JuteError):
        apply(tree, 1, kind, record)
    assert describe(tree) == before


def test_the_zxid_moves_after_the_whole_multi_only_forward() -> None:
    tree = new_tree()
    create(tree, 7, "/a")
    create(tree, 3, "/b")
    assert tree.last_processed_zxid == EPOCH + 7


def with_session() -> DataTree:
    tree = new_tree()
    apply(tree, 1, codes.OP_CREATE_SESSION, CreateSessionTxn(4000), 5)
    create(tree, 2, "/e1", session_id=5)
    create(tree, 3, "/e2", session_id=5)
    create(tree, 4, "/other", session_id=6)
    return tree


def test_close_session_with_its_list() -> None:
    tree = with_session()
    assert tree.sessions == {5: 4000}
    assert tree.ephemerals_of(5, "/") == ["/e1", "/e2"]
    # The list may lag behind (a replayed tail) or name what is gone: the session ends without nodes anyway.
    apply(tree, 5, codes.OP_CLOSE_SESSION, CloseSessionTxn(["/e1", "/gone"]), 5)
    assert tree.sessions == {}
    assert tree.children("/") == ["zookeeper", "other"]
    root = tree.find("/")
    assert root is not None
    assert (root.pzxid, root.cversion) == (EPOCH + 5, 3)


def test_close_session_without_a_list() -> None:
    tree = with_session()
    apply(tree, 5, codes.OP_CLOSE_SESSION, None, 5)
    assert tree.children("/") == ["zookeeper", "other"]
    assert tree.ephemerals_of(5, "") == []


def test_dead_sessions() -> None:
    tree = with_session()
    assert tree.dead_sessions() == [6]
    tree.kill_session(6, tree.last_processed_zxid)
    assert tree.dead_sessions() == []
    assert tree.find("/other") is None
    assert tree.last_processed_zxid == EPOCH + 4


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("", ["/e1", "/e2"]), ("/", ["/e1", "/e2"]), ("/e", ["/e1", "/e2"]), ("/e2", ["/e2"])],
)
def test_ephemerals_by_prefix(prefix: str, found: list[str]) -> None:
    assert with_session().ephemerals_of(5, prefix) == found


def test_config_node() -> None:
    tree = new_tree()
    before = tree.digest
    tree.set_config_node("server.1=h:1:2:participant\nversion=100000003", 0x100000003, 777)
    node = tree.find("/zookeeper/config")
    assert node is not None
    assert node.data == b"server.1=h:1:2:participant\nversion=100000003"
    assert (node.version, node.mzxid, node.mtime, node.ctime) == (-1, 0x100000003, 777, 0)
    assert tree.digest == before
    assert tree.last_processed_zxid == 0
    # A tree from before 3.5 has none.
    del tree.nodes["/zookeeper/config"]
    parent = tree.find("/zookeeper")
    assert parent is not None
    parent.child_paths = {"/zookeeper/quota": None}
    tree.set_config_node("x", 1, 2)
    assert tree.children("/zookeeper") == ["quota", "config"]


def test_reconfig_sets_the_config_node() -> None:
    tree = new_tree()
    result = apply(tree, 1, codes.OP_RECONFIG, SetDataTxn("/zookeeper/config", b"new", -1))
    assert result.stat is not None
    assert result.stat.version == -1


def test_reads_of_what_is_not_there() -> None:
    tree = new_tree()
    assert tree.find("/no") is None
    assert tree.find("") is None
    assert tree.children("/no") == []
    assert tree.count_descendants("/no") == 0


def test_digest_of_a_txn() -> None:
    tree = new_tree()
    create(tree, 1, "/a")
    assert tree.compare_digest(TxnDigest(DIGEST_VERSION, tree.digest))
    assert tree.compare_digest(None)
    assert tree.compare_digest(TxnDigest(DIGEST_VERSION + 1, 5))
    assert tree.digest_mismatches == 0
    assert not tree.compare_digest(TxnDigest(DIGEST_VERSION, 5))
    assert tree.digest_mismatches == 1
    assert (tree.last_digest_zxid, tree.last_digest) == (EPOCH + 1, tree.digest)


@pytest.mark.parametrize(
    ("digest_zxid", "wrong", "mismatches"),
    [(EPOCH + 2, False, 0), (EPOCH + 2, True, 1), (EPOCH + 9, True, 0), (0, True, 0), (EPOCH - 5, True, 0)],
)
def test_digest_of_a_snapshot(digest_zxid: int, wrong: bool, mismatches: int) -> None:
    """Compared when replay reaches its zxid; until then the digests of txns are not."""
    reference = new_tree()
    create(reference, 1, "/a")
    create(reference, 2, "/b")
    tree = new_tree()
    tree.expect_snapshot_digest(digest_zxid, reference.digest + wrong, EPOCH)
    expects = digest_zxid > EPOCH
    create(tree, 1, "/a")
    assert tree.compare_digest(TxnDigest(DIGEST_VERSION, 5)) is expects
    tree.digest_mismatches = 0
    create(tree, 2, "/b")
    assert tree.digest_mismatches == mismatches
    create(tree, 10, "/c")
    assert not tree.compare_digest(TxnDigest(DIGEST_VERSION, 5))


def test_digest_log_is_bounded() -> None:
    tree = new_tree()
    for i in range(DIGEST_LOG_LIMIT + 2):
        header = TxnHeader(9, 0, EPOCH + i * DIGEST_LOG_INTERVAL, 0, codes.OP_ERROR)
        tree.process_txn(header, ErrorTxn(-1))
        other = TxnHeader(9, 0, EPOCH + i * DIGEST_LOG_INTERVAL + 1, 0, codes.OP_ERROR)
        tree.process_txn(other, ErrorTxn(-1))
    assert len(tree.digest_log) == DIGEST_LOG_LIMIT
    assert tree.digest_log[0][0] == EPOCH + 2 * DIGEST_LOG_INTERVAL


def events(tree: DataTree) -> list[tuple[int, str, int, list[int]]]:
    return [(f.event_type, f.path, f.zxid, f.watchers) for f in tree.watches.take_fired()]


def test_watches_of_every_change() -> None:
    tree = new_tree()
    watches = tree.watches
    for watcher, path in ((1, "/a"), (2, "/a"), (3, "/")):
        watches.add(path, watcher, codes.ADD_WATCH_PERSISTENT)
    watches.add("/", 4, codes.ADD_WATCH_PERSISTENT_RECURSIVE)
    create(tree, 1, "/a")
    assert events(tree) == [
        (codes.EVENT_NODE_CREATED, "/a", EPOCH + 1, [1, 2, 4]),
        (codes.EVENT_NODE_CHILDREN_CHANGED, "/", EPOCH + 1, [3]),
    ]
    apply(tree, 2, codes.OP_SET_DATA, SetDataTxn("/a", b"", 1))
    assert events(tree) == [(codes.EVENT_NODE_DATA_CHANGED, "/a", EPOCH + 2, [1, 2, 4])]
    apply(tree, 3, codes.OP_SET_ACL, SetACLTxn("/a", READ, 1))
    assert events(tree) == []
    apply(tree, 4, codes.OP_DELETE, DeleteTxn("/a"))
    fired = watches.take_fired()
    assert [(f.event_type, f.path, f.watchers) for f in fired] == [
        (codes.EVENT_NODE_DELETED, "/a", [1, 2, 4]),
        (codes.EVENT_NODE_CHILDREN_CHANGED, "/", [3]),
    ]
    # Who may see it is decided by the deleted node's own ACL, and its parent's.
    assert [f.acl for f in fired] == [READ, OPEN]


def test_set_watches_catches_up() -> None:
    tree = new_tree()
    create(tree, 1, "/old")
    create(tree, 5, "/new")
    create(tree, 6, "/new/child")
    lists = (["/old", "/new", "/no"], ["/old", "/no"], ["/old", "/new", "/no"], ["/p"], ["/r"])
    tree.set_watches(EPOCH + 3, *lists, 7)
    fired = tree.watches.take_fired()
    assert [(f.event_type, f.path) for f in fired] == [
        (codes.EVENT_NODE_DATA_CHANGED, "/new"),
        (codes.EVENT_NODE_DELETED, "/no"),
        (codes.EVENT_NODE_CREATED, "/old"),
        (codes.EVENT_NODE_CHILDREN_CHANGED, "/new"),
        (codes.EVENT_NODE_DELETED, "/no"),
    ]
    assert all((f.zxid, f.acl, f.watchers) == (-1, [], [7]) for f in fired)
    for path, kind, found in (
        ("/old", codes.WATCHER_DATA, True),
        ("/old", codes.WATCHER_CHILDREN, True),
        ("/new", codes.WATCHER_ANY, False),
        ("/no", codes.WATCHER_DATA, True),
        ("/no", codes.WATCHER_CHILDREN, False),
        ("/p", codes.WATCHER_PERSISTENT, True),
        ("/r", codes.WATCHER_PERSISTENT_RECURSIVE, True),
    ):
        assert tree.watches.contains(path, 7, kind) is found


def test_entries_are_valid() -> None:
    """The maker of txns is itself under test: nothing it proposes fails on a tree that is not fuzzy."""
    leader = Leader()
    tree = new_tree()
    made: list[Entry] = []
    numbers = random.Random(1)
    for _ in range(600):
        entry = leader.propose(*[numbers.randrange(size) for size in (Leader.KINDS, len(PATHS), 60, 4)])
        if entry is not None:
            made.append(entry)
            result = tree.process_txn(*entry)
            if isinstance(entry[1], ErrorTxn) or result.results is not None:
                continue
            assert result.err == codes.OK
    assert {entry[0].type for entry in made} >= {-11, -10, -1, 1, 2, 5, 7, 14, 15, 19, 20, 21}


def test_the_empty_path_is_the_root_to_whoever_reads() -> None:
    tree = DataTree()
    apply(tree, 1, codes.OP_CREATE, CreateTxn("/a", b"", OPEN, False, 1))
    assert tree.find_for_read("") is tree.find("/")
    assert tree.find("") is None
    assert tree.find_for_read("/none") is None
    assert tree.children("") == tree.children("/")
    # Upstream counts what begins with "/", and so the root's other name.
    assert tree.count_descendants("") == tree.count_descendants("/") + 1
    # The root was not deleted, nor was it created; a child of it was, at zxid 1.
    tree.set_watches(0, [""], [], [], [], [], 7)
    assert tree.watches.take_fired() == []
    tree.set_watches(0, [], [""], [""], [], [], 7)
    fired = [(event.path, event.event_type) for event in tree.watches.take_fired()]
    assert fired == [("", codes.EVENT_NODE_CREATED), ("", codes.EVENT_NODE_CHILDREN_CHANGED)]
