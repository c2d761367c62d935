"""The host: cursors, failures, snapshots, retention; and who may run."""

import asyncio

import pytest
from tests.plugins.helpers import E1, MemoryLog, Noted, create

from zabra.metrics import GAUGE_SETS
from zabra.plugins.cursors import CursorStore
from zabra.plugins.feed import Feed
from zabra.plugins.host import PublisherHost
from zabra.plugins.publisher import WANTS_SNAPSHOT, TryLater
from zabra.plugins.registry import HostOptions, PublisherPlan
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.runtime.os_disk import OsDisk
from zabra.tree.datatree import DataTree

WITHIN_S = 20


class Server:
    """What the host wants to know of one."""

    def __init__(self, folder, publisher, **host_options):
        self.log = MemoryLog()
        self.tree = DataTree()
        self.feed = Feed(self.log.open, self.log.last, memory_txns=5)
        self.publisher = publisher
        self.is_voter = False
        self.looks = 0
        self.bytes_from = 0
        options = HostOptions(max_backoff_ms=1, **host_options)
        self.host = PublisherHost(
            [PublisherPlan("p", "noted", options, {"a": 1}, lambda: publisher)],
            self.feed,
            CursorStore(OsDisk(folder)),
            TreeSnapshots(self.feed, lambda: self.tree),
            7,
            lambda: int(self.tree.last_processed_zxid),
            self.votes,
            lambda zxid: self.bytes_from,
        )

    def votes(self):
        self.looks += 1
        return self.is_voter

    def commit(self, *zxids):
        entries = [create(zxid) for zxid in zxids]
        for entry in entries:
            self.tree.process_txn(entry.header, entry.record)
        self.log.entries += entries
        self.host.informed(entries)


async def until(condition):
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110  many things may make it true
            await asyncio.sleep(0.005)


def run(main):
    asyncio.run(main())


@pytest.mark.parametrize("own", [True, False])
def test_from_the_beginning_and_again_from_the_cursor(tmp_path, own):
    async def main():
        noted = Noted(0 if own else None)
        server = Server(tmp_path, noted)
        server.host.start()
        server.commit(*range(E1 + 1, E1 + 31))
        await until(lambda: len(noted.told) == 30)
        await server.host.stop()
        assert noted.zxids == list(range(E1 + 1, E1 + 31))
        assert (noted.opened, noted.closed) == (1, 1)
        assert (noted.context.name, noted.context.server_id, noted.context.options) == ("p", 7, {"a": 1})
        assert (tmp_path / "publishers" / "p.cursor").exists() == (not own)
        server.commit(E1 + 31)
        again = Server(tmp_path, noted)
        again.log.entries = server.log.entries
        again.tree = server.tree
        again.host.start()
        await until(lambda: len(noted.told) == 31)
        assert noted.zxids == list(range(E1 + 1, E1 + 32))
        await again.host.stop()

    run(main)


def test_a_target_that_is_away_for_long(tmp_path):
    async def main():
        noted = Noted()
        server = Server(tmp_path, noted)
        server.host.start()
        server.commit(E1 + 1)
        await until(lambda: noted.told)
        noted.fail = ConnectionError("target is away")
        server.commit(*range(E1 + 2, E1 + 102))
        await until(lambda: server.host.runs[0].failures > 3)
        assert server.feed.memory_txns <= 5
        status = server.host.statuses()[0]
        assert (status.cursor, status.last_error) == (E1 + 1, "ConnectionError: target is away")
        gauges = server.host.gauge_sets()
        assert gauges["publisher_cursor"] == {"p": E1 + 1}
        assert gauges["publisher_failures"] == {"p": status.failures}
        assert sorted(gauges) == sorted([row.name for row in GAUGE_SETS if row.name.startswith("publisher_")])
        noted.fail = None
        await until(lambda: len(noted.told) == 101)
        assert noted.zxids == list(range(E1 + 1, E1 + 102))
        assert noted.opened == noted.closed + 1
        await server.host.stop()

    run(main)


def test_a_snapshot_where_history_ends(tmp_path):
    async def main():
        noted = Noted()
        server = Server(tmp_path, noted)
        server.commit(*range(E1 + 1, E1 + 51))
        del server.log.entries[:20]
        server.host.start()
        await until(lambda: noted.snaps)
        zxid, nodes = noted.snaps[0]
        assert zxid == E1 + 50
        assert {path for path in nodes if path.startswith("/n")} == {f"/n{E1 + n:x}" for n in range(1, 51)}
        server.commit(E1 + 51)
        await until(lambda: noted.told)
        assert noted.zxids == [E1 + 51]
        await server.host.stop()

    run(main)


def test_a_target_that_cannot_tell_any_more_goes_on_where_it_was(tmp_path):
    """Its retention has emptied it: the host has a note, which follows the target's cursor back too."""

    async def main():
        noted = Noted()
        server = Server(tmp_path, noted)

        async def turn(cursor, told):
            noted.cursor = cursor
            server.host.start()
            await until(lambda: len(noted.told) == told)
            await server.host.stop()

        server.commit(E1 + 1, E1 + 2)
        await turn(0, 2)
        server.commit(E1 + 3)
        await turn(None, 3)
        assert noted.zxids == [E1 + 1, E1 + 2, E1 + 3]
        # Made anew: what was noted before says nothing any more.
        await turn(E1 + 1, 5)
        assert noted.zxids[3:] == [E1 + 2, E1 + 3]
        noted.fail = ConnectionError("away")
        noted.cursor = E1 + 1
        server.host.start()
        await until(lambda: server.host.runs[0].last_error == "ConnectionError: away")
        await server.host.stop()
        noted.fail = None
        await turn(None, 7)
        assert noted.zxids[5:] == [E1 + 2, E1 + 3]

    run(main)


def test_a_publisher_says_how_long_to_wait(tmp_path):
    async def main():
        noted = Noted()
        noted.fail = TryLater("busy until tomorrow", 86400)
        server = Server(tmp_path, noted)
        server.host.start()
        server.commit(E1 + 1)
        await until(lambda: server.host.runs[0].state == "waiting")
        assert server.host.runs[0]._pause_s() == 86400
        assert server.host.statuses()[0].last_error == "TryLater: busy until tomorrow"
        await server.host.stop()
        noted.fail = ConnectionError("away")
        server.host.start()
        await until(lambda: server.host.runs[0].last_error == "ConnectionError: away")
        assert server.host.runs[0]._pause_s() < 1
        await server.host.stop()

    run(main)


def test_a_path(tmp_path):
    async def main():
        noted = Noted(None)
        server = Server(tmp_path, noted, path=f"/n{E1 + 3:x}")
        server.host.start()
        server.commit(*range(E1 + 1, E1 + 7))
        await until(lambda: server.host.runs[0].cursor == E1 + 6)
        assert noted.zxids == [E1 + 3]
        await server.host.stop()
        assert (tmp_path / "publishers" / "p.cursor").read_text() == f"0x{E1 + 6:x}\n"

    run(main)


def test_only_some_ops(tmp_path):
    async def main():
        noted = Noted()
        server = Server(tmp_path, noted, ops="delete, setData")
        server.host.start()
        server.commit(E1 + 1)
        await until(lambda: server.host.runs[0].cursor == E1 + 1)
        assert not noted.told
        await server.host.stop()

    run(main)


@pytest.mark.parametrize("same_path", [True, False])
def test_a_quiet_path_does_not_go_back_to_its_last_change(tmp_path, same_path):
    """The target's cursor is the last change of the path; the log has long gone on without it."""

    async def main():
        noted = Noted()
        path = f"/n{E1 + 2:x}"
        server = Server(tmp_path, noted, path=path)
        server.host.start()
        server.commit(*range(E1 + 1, E1 + 31))
        await until(lambda: server.host.runs[0].cursor == E1 + 30)
        await server.host.stop()
        assert noted.cursor == E1 + 2
        again = Server(tmp_path, noted, path=path if same_path else f"/n{E1 + 32:x}")
        assert again.host.keep_zxid() == E1 + 30
        again.log.entries = server.log.entries[25:]
        again.tree = server.tree
        again.host.start()
        again.commit(E1 + 31, E1 + 32)
        await until(lambda: again.host.runs[0].cursor == E1 + 32)
        # Of another path nothing is known: what the log has no more comes as a snapshot.
        assert len(noted.snaps) == (0 if same_path else 1)
        await again.host.stop()

    run(main)


def test_a_snapshot_for_whoever_wants_one(tmp_path):
    async def main():
        noted = Noted(WANTS_SNAPSHOT)
        server = Server(tmp_path, noted)
        server.commit(E1 + 1, E1 + 2)
        server.host.start()
        await until(lambda: noted.snaps)
        server.commit(E1 + 3)
        await until(lambda: noted.told)
        assert (noted.snaps[0][0], noted.zxids) == (E1 + 2, [E1 + 3])
        await server.host.stop()

    run(main)


def test_a_client_that_cancels_itself_has_failed(tmp_path):
    async def main():
        noted = Noted()
        noted.fail = asyncio.CancelledError()
        server = Server(tmp_path, noted)
        server.host.start()
        server.commit(E1 + 1)
        await until(lambda: server.host.runs[0].failures > 1)
        noted.fail = None
        await until(lambda: noted.told)
        await server.host.stop()

    run(main)


def test_a_publisher_that_lies_is_not_believed(tmp_path):
    class Liar(Noted):
        async def inform(self, txns):
            return txns[-1].zxid + 1

    async def main():
        server = Server(tmp_path, Liar())
        server.host.start()
        server.commit(E1 + 1)
        await until(lambda: server.host.runs[0].failures)
        assert "was told nothing after" in server.host.statuses()[0].last_error
        assert server.host.runs[0].cursor == 0
        await server.host.stop()

    run(main)


def test_voters_refuse_until_told_otherwise(tmp_path, caplog):
    async def main():
        refused, allowed = Noted(), Noted()
        server = Server(tmp_path, refused)
        server.is_voter = True
        other = Server(tmp_path, allowed, on_voters=True)
        other.is_voter = True
        for one in (server, other):
            one.host.start()
            one.commit(E1 + 1)
        await until(lambda: allowed.told)
        assert not refused.opened
        assert "publisher.p.onVoters=true" in caplog.text
        server.is_voter = False
        await until(lambda: refused.told)
        server.is_voter = True
        await until(lambda: refused.closed)
        await server.host.stop()
        await other.host.stop()

    run(main)


def test_who_votes_for_a_moment_has_no_two_publishers(tmp_path):
    """What the first has under way ends before the second one begins."""

    async def main():
        going_on = asyncio.Event()
        let_go = asyncio.Event()
        open_now = 0

        class Slow(Noted):
            async def open(self, context):
                nonlocal open_now
                open_now += 1
                assert open_now == 1
                return await super().open(context)

            async def inform(self, txns):
                going_on.set()
                await let_go.wait()
                return await super().inform(txns)

            async def close(self):
                nonlocal open_now
                open_now -= 1

        noted = Slow()
        server = Server(tmp_path, noted)
        server.host.start()
        server.commit(E1 + 1)
        await going_on.wait()
        server.is_voter = True
        await until(lambda: not server.host._tasks)
        server.is_voter = False
        looks = server.looks
        await until(lambda: server.looks > looks + 1)
        assert noted.opened == 1
        let_go.set()
        await until(lambda: noted.opened == 2)
        await server.host.stop()
        assert noted.zxids == [E1 + 1]

    run(main)


def test_the_log_is_kept_for_the_slowest_up_to_a_limit(tmp_path):
    async def main():
        noted = Noted()
        server = Server(tmp_path, noted, retain_bytes=1000)
        assert server.host.keep_zxid() == -1
        server.host.start()
        server.commit(E1 + 1)
        await until(lambda: noted.told)
        server.bytes_from = 1000
        assert server.host.keep_zxid() == E1 + 1
        server.bytes_from = 1001
        assert server.host.keep_zxid() == -1
        await server.host.stop()
        # At the next start its target is away: what it needs is known all the same.
        noted.cursor = None
        again = Server(tmp_path, noted)
        assert again.host.keep_zxid() == E1 + 1

    run(main)


def test_a_cursor_that_is_none_is_said(tmp_path):
    async def main():
        (tmp_path / "publishers").mkdir()
        (tmp_path / "publishers" / "p.cursor").write_text("tomorrow\n")
        server = Server(tmp_path, Noted(None))
        server.host.start()
        await until(lambda: server.host.runs[0].failures)
        assert "'tomorrow' is no zxid" in server.host.statuses()[0].last_error
        await server.host.stop()

    run(main)
