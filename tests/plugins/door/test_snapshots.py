"""Snapshots: one for all that want the same at the same time, and who may read which node of it."""

import asyncio
import json

from tests.plugins.helpers import OPEN

from zabra.plugins.door.rights import plain
from zabra.plugins.door.snapshots import Snapshot, Snapshots

MINE = ((31, "digest", "me:x"),)


def test_nodes_and_their_acls():
    nodes = [("/a", b"x", 3, 0, 0, 5, 7), ("/a/b", None, 0, 1, 9, 6, 6)]
    snapshot = Snapshot(8, nodes, [None, MINE], [plain(OPEN), MINE])
    assert [snapshot.acl(place) for place in (0, 1)] == [None, MINE]
    assert snapshot.text(0) is snapshot.text(0)
    first, second = [json.loads(snapshot.text(place))["node"] for place in (0, 1)]
    assert first == {
        "path": "/a", "data": "x", "version": 3, "czxid": "0x5", "mzxid": "0x7",
        "acl": [{"scheme": "world", "id": "anyone", "perms": "rwcda"}],
    }  # fmt: skip
    assert second["owner"] == "0x9"
    assert second["acl"][0]["id"] == "me:x"


def test_they_are_shared_while_they_are_fresh():
    async def main():
        taken = []

        async def take(path):
            taken.append(path)
            await asyncio.sleep(0)
            return Snapshot(len(taken), [], [], [])

        snapshots = Snapshots(take)
        both = await asyncio.gather(snapshots.get("/a"), snapshots.get("/a"), snapshots.get("/b"))
        assert taken == ["/a", "/b"]
        assert both[0] is both[1]
        # (As its timer would.)
        snapshots._forget("/a", both[0])
        assert (await snapshots.get("/a")).zxid == 3
        snapshots._forget("/a", both[0])
        assert (await snapshots.get("/a")).zxid == 3

    asyncio.run(main())
