"""The door's end of the link, alone: what it keeps of what it is told.  (Both ends: test_server_end.)"""

from tests.plugins.helpers import create

from zabra.plugins.door import far_server
from zabra.plugins.door.far_server import FarServer
from zabra.plugins.door.link import encode
from zabra.plugins.door.rights import UNKNOWN
from zabra.plugins.door.settings import DoorSettings, Status
from zabra.plugins.feed import Feed

MINE = ((31, "digest", "me:x"),)


def test_acls_are_forgotten_with_the_txns_that_leave_memory(monkeypatch):
    monkeypatch.setattr(far_server, "_PRUNE_EVERY", 50)
    feed = Feed(None, lambda: 0, memory_txns=20)
    far = FarServer(lambda settings: feed, lambda: None)
    far.data_received(encode(("hello", DoorSettings("", "", False, 1).message())))
    for zxid in range(1, 201):
        before = [{}, {"/a": MINE}, UNKNOWN][zxid % 3]
        far.data_received(encode(("txns", [(create(zxid).raw, before)])))
    assert feed.committed == 200
    assert len(far._restricted) <= 50
    assert far._restricted[199] == {"/a": MINE}
    assert far._restricted[200] is UNKNOWN


def test_status_moves_what_is_committed():
    feed = Feed(None, lambda: 0)
    far = FarServer(lambda settings: feed, lambda: None)
    far.data_received(encode(("hello", DoorSettings("", "", False, 1).message())))
    status = Status("observer", True, False, 77, 77, 77, 5, -1, 0, 0)
    far.data_received(encode(("status", status.message())))
    assert feed.committed == 77
    assert far.floor() == 5
    # An answer that nobody waits for any more.
    far.data_received(encode(("answer", 99, [])))
