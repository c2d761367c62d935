"""What every built-in publisher does, against the real server of its kind."""

import asyncio
import signal

import pytest
from tests.plugins.helpers import E1
from tests.plugins.targets.harness import (
    Hosted,
    Script,
    deduplicated,
    until,
    without_refusals,
    zxid_of,
)
from tests.plugins.targets.target import Target

from zabra.plugins.jsontext import hex_of
from zabra.plugins.publisher import PublisherContext, Snap, SnapNode
from zabra.plugins.registry import plan_publisher

CONTEXT = PublisherContext("p", {}, 1)


def assert_holds(target: Target, place: str, wanted: list) -> None:
    """Exactly the log; where *exactly once* is not claimed, as whoever drops repeated txns has it."""
    rows = target.rows(place)
    if not target.exact:
        rows = deduplicated(rows)
    if not target.has_refusals:
        wanted = without_refusals(wanted)
    assert [row.get("zxid") for row in rows] == [row.get("zxid") for row in wanted]
    assert rows == wanted


def test_everything_arrives_as_it_was_committed(target, place, tmp_path):
    script = Script().everything()

    async def main():
        async with Hosted(tmp_path, target.options(place), script) as hosted:
            hosted.commit(script.log)
            await hosted.until_published()
        before = await asyncio.to_thread(target.rows, place)
        # Again from the cursor: nothing comes twice.
        async with Hosted(tmp_path, target.options(place), script) as hosted:
            hosted.commit(script.log)
            await hosted.until(lambda: hosted.host.runs[0].cursor >= zxid_of(before[-1]))
            hosted.commit(script.some(3))
            await hosted.until_published()

    asyncio.run(main())
    assert_holds(target, place, script.rows)


def test_a_snapshot_takes_the_place_of_what_was_there(target, place, tmp_path):
    script = Script().everything()

    async def main():
        async with Hosted(tmp_path, target.options(place), script) as hosted:
            hosted.commit(script.log[:5])
            await hosted.until_published()
        script.some(20)
        later = Hosted(tmp_path, target.options(place), script)
        later.log.entries = script.log[-3:]
        async with later:
            await later.until(lambda: later.host.runs[0].snapshot_count)
            later.commit(script.some(5))
            await later.until_published()

    asyncio.run(main())
    rows = target.rows(place)
    (end,) = [row for row in rows if "snapshotEnd" in row]
    at = script.rows[-6]
    assert end["snapshotEnd"] == at["zxid"]
    assert end["nodes"] >= 10
    wanted = script.rows[:5] + [row for row in script.rows if zxid_of(row) > zxid_of(at)]
    only_txns = [row for row in rows if "zxid" in row]
    assert only_txns == (wanted if target.has_refusals else without_refusals(wanted))
    assert rows.index({"snapshot": at["zxid"]}) < rows.index(end)


def test_a_target_that_is_down_at_first_misses_nothing(target, place, tmp_path):
    """Away when the publisher begins, then there.  (Kills while it publishes are in test_campaign.)"""
    script = Script()

    async def main():
        await asyncio.to_thread(target.kill)
        async with Hosted(tmp_path, target.options(place), script) as hosted:
            for _ in range(20):
                hosted.commit(script.some(25))
            await hosted.until(lambda: hosted.host.runs[0].failures >= 2)
            assert hosted.cursor <= 0
            await asyncio.to_thread(target.start)
            hosted.commit(script.some(100))
            await hosted.until_published()

    asyncio.run(main())
    assert_holds(target, place, script.rows)


def test_a_target_that_hangs_slows_nobody(target, place, tmp_path):
    """The server's side goes on at once, in bounded memory; the publisher follows when the target is back."""
    script = Script()

    async def main():
        async with Hosted(tmp_path, target.options(place), script) as hosted:
            hosted.commit(script.some(1))
            await hosted.until_published()
            target.signal(signal.SIGSTOP)
            try:
                for _ in range(40):
                    # Never waits: committing is a call that returns.
                    hosted.commit(script.some(25))
                    await asyncio.sleep(0)
                assert hosted.feed.memory_txns <= 50
            finally:
                target.signal(signal.SIGCONT)
            await hosted.until_published()

    asyncio.run(main())
    assert_holds(target, place, script.rows)


def test_two_publishers_to_one_target(target, place, tmp_path):
    """Two observers with the same publisher: where *exactly once* is claimed it holds for both together."""
    script = Script()

    async def main():
        first = Hosted(tmp_path / "1", target.options(place), script)
        second = Hosted(tmp_path / "2", target.options(place), script)
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        async with first, second:
            for _ in range(10):
                entries = script.some(20)
                first.commit(entries)
                second.commit(entries)
                reached = entries[5].header.zxid
                await until(lambda: max(first.cursor, second.cursor) >= reached)  # noqa: B023  ends before
            await first.until_published()
            await second.until_published()

    asyncio.run(main())
    assert_holds(target, place, script.rows)


def test_a_publisher_that_is_given_up_in_the_middle(target, place):
    """Cancelled while it publishes: the next one finds a whole prefix, and nothing comes after that."""
    script = Script()
    script.some(600)
    txns = script.txns
    plan = plan_publisher("p", target.options(place))

    async def main():
        at = 0
        for turn in range(6):
            publisher = plan.make()
            async with asyncio.timeout(30):
                cursor = await publisher.open(CONTEXT)
            at = at if cursor is None else cursor
            following = [txn for txn in txns if txn.zxid > at]
            publishing = asyncio.ensure_future(publisher.inform(following[:100]))
            if turn < 5:
                await asyncio.wait([publishing], timeout=0.001 * 3**turn)
                publishing.cancel()
                await asyncio.wait([publishing])
                if not publishing.cancelled() and publishing.exception() is None:
                    at = publishing.result()
                await publisher.close()
        at = await publishing
        while at < txns[-1].zxid:
            at = await publisher.inform([txn for txn in txns if txn.zxid > at][:100])
        await publisher.close()

    asyncio.run(main())
    assert_holds(target, place, script.rows)


def test_snapshots_that_were_cut_off_are_void(target, place):
    """A snapshot that fails in the middle, then txns as if it had never begun, then a whole one."""
    script = Script()
    script.some(3)
    plan = plan_publisher("p", target.options(place))
    zxid = E1 + 50

    async def nodes(count, fails):
        for number in range(count):
            yield SnapNode(f"/s{number:05}", b"\xff", 0, (), 0, zxid, zxid)
        if fails:
            raise ConnectionError("the snapshot's source is gone")

    async def main():
        publisher = plan.make()
        await publisher.open(CONTEXT)
        await publisher.inform(script.txns[:2])
        with pytest.raises(ConnectionError, match="source"):
            await publisher.snap(Snap(zxid, nodes(700, True)))
        await publisher.close()
        publisher = plan.make()
        cursor = await publisher.open(CONTEXT)
        assert cursor in (None, E1 + 2)
        await publisher.inform(script.txns[2:])
        await publisher.close()
        publisher = plan.make()
        await publisher.open(CONTEXT)
        await publisher.snap(Snap(zxid, nodes(700, False)))
        await publisher.snap(Snap(zxid, nodes(0, False)))
        await publisher.close()
        publisher = plan.make()
        assert await publisher.open(CONTEXT) in (None, zxid)
        await publisher.close()

    asyncio.run(main())
    rows = target.rows(place)
    assert [row for row in rows if "zxid" in row] == [
        row for row in script.rows if row["changes"] or target.has_refusals
    ]
    ends = [row for row in rows if "snapshotEnd" in row]
    assert ends == [{"snapshotEnd": hex_of(zxid), "nodes": 700}, {"snapshotEnd": hex_of(zxid), "nodes": 0}]
