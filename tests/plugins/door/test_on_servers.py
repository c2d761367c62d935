"""Doors of real servers under writers, and of an observer of Apache's.  (Kills are in test_campaign.)"""

import asyncio
import random
import urllib.request
from contextlib import suppress

import pytest
from tests.interop import apache
from tests.interop.members import APACHE_39, ZABRA, Mixed
from tests.interop.processes import free_ports, poll
from tests.interop.session import Session
from tests.plugins.door.doors import (
    OPTIONS,
    SUPER,
    WITHIN_S,
    read_rows,
    served,
    until,
)
from tests.plugins.test_on_servers import logged

from zabra.cli.feed_url import FeedUrl
from zabra.client import calls
from zabra.plugins.jsontext import txn_of
from zabra.plugins.publisher import SnapNode
from zabra.plugins.tree_snapshots import apply_txn
from zabra.proto.errors import KeeperError


def tree_of(rows):
    """What one has who was given a snapshot and then txns."""
    nodes = {}
    for row in rows:
        if "node" in row:
            node = row["node"]
            nodes[node["path"]] = SnapNode(
                node["path"], node["data"].encode(), node["version"], (), 0, int(node["czxid"], 16), 0
            )
        elif "zxid" in row:
            apply_txn(nodes, txn_of(row), "/t")
    return {path: (node.data, node.version) for path, node in nodes.items()}


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_snapshot_then_stream_is_the_tree_at_every_sampled_zxid(seed):
    """Several begin at any moment while others write; each ends with the tree that the server has."""

    async def main():
        rng = random.Random(seed)
        async with served() as (ensemble, client, http, url):
            await client.create("/t")
            tree = ensemble.members[1].running.server.tree
            samples = {}
            done = asyncio.Event()

            async def write(number):
                own = random.Random(seed * 100 + number)
                async with ensemble.client() as writer:
                    for step in range(150):
                        path = f"/t/{own.randint(0, 15)}"
                        # (The node may be there already, or not.)
                        with suppress(KeeperError):
                            if own.random() < 0.3:
                                await writer.create(path, b"%d" % step)
                            elif own.random() < 0.5:
                                await writer.delete(path)
                            else:
                                await writer.set_data(path, b"%d.%d" % (number, step))

            def sample():
                # (Between turns: all of one zxid.)
                samples[int(tree.last_processed_zxid)] = {
                    path: (node.data, int(node.version))
                    for path, node in tree.nodes.items()
                    if path == "/t" or path.startswith("/t/")
                }
                if not done.is_set():
                    asyncio.get_running_loop().call_later(0.005, sample)

            async def subscribe(behind):
                await until(lambda: int(tree.last_processed_zxid) > behind)
                return await read_rows(http, url, is_at_end, params={"path": "/t", "snapshot": "true"})

            last = []

            def is_at_end(row):
                return bool(last) and int(row.get("zxid") or row.get("bookmark") or "0", 16) >= last[0]

            sample()
            subscribing = [asyncio.create_task(subscribe(rng.randint(0, 200))) for _ in range(6)]
            await asyncio.gather(*[write(number) for number in range(3)])
            last.append((await client.set_data("/t", b"end")).mzxid)
            done.set()
            sample()
            checked = 0
            for rows in await asyncio.gather(*subscribing):
                begun = next(int(row["snapshotEnd"], 16) for row in rows if "snapshotEnd" in row)
                for zxid, wanted in samples.items():
                    if zxid >= begun:
                        upto = [row for row in rows if int(row.get("zxid", "0x0"), 16) <= zxid]
                        assert tree_of(upto) == wanted, (begun, zxid)
                        checked += 1
            assert checked > 20

    asyncio.run(main())


@pytest.mark.java
@pytest.mark.campaign
def test_the_door_of_an_observer_of_apaches(tmp_path):
    """Their leader, our observer and the door's process are killed; the stream is what their log says."""
    apache.require_java()
    ports = free_ports(17, 14900, 15200)
    ensemble = Mixed([APACHE_39] * 3 + [ZABRA], tmp_path, observers=1, ports=ports[:16])
    observer = ensemble.members[4]
    door = f"http://127.0.0.1:{ports[16]}"
    observer.cfg |= OPTIONS | {"feed.port": ports[16]}
    with ensemble:
        poll("the door is ready", WITHIN_S, lambda: is_ready(door) or None)
        rows = []
        since = None
        last = 0
        for part in range(4):
            session = Session().connect_when_possible(ensemble.members[ensemble.wait_leader()].address)
            path = f"/door-{part}"
            made = session.do(calls.create2(path, b"\x00\xff"))[1].czxid
            since = made - 1 if since is None else since
            for number in range(60):
                if (part, number) == (1, 30):
                    observer.kill()
                    observer.launch()
                last = session.do(calls.set_data(path, b"%d" % number)).mzxid
            session.end()
            poll("the door is ready", WITHIN_S, lambda: is_ready(door) or None)
            since = read_up_to(door, since, last, rows)
            if part == 2:
                leader = ensemble.members[ensemble.wait_leader()]
                leader.kill()
                leader.launch()
                leader.wait_serving()
        first = int(rows[0]["zxid"], 16)
        wanted = logged(ensemble.members[ensemble.wait_leader()])
        wanted = [row for row in wanted if first <= int(row["zxid"], 16) <= last]
    assert [row for row in rows if int(row["zxid"], 16) <= last] == wanted
    assert len(wanted) >= 240


def is_ready(door):
    try:
        with urllib.request.urlopen(door + "/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def read_up_to(door, since, last, rows):
    """What follows ``since``, up to ``last``; goes on over a server that starts."""
    feed = FeedUrl(door, "/", [], since, auth=SUPER)
    for row, _ in feed.rows(True):
        if "zxid" in row:
            rows.append(row)
        if feed.since >= last:
            break
    return feed.since
