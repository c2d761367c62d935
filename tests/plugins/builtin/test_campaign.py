"""A small kill campaign with all built-ins at once; large ones are run by hand (docs/publishers.md)."""

import asyncio
import random
import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from tests.interop.members import ROOT, ZABRA, make_member, monitor, zxid_of
from tests.interop.processes import free_ports
from tests.plugins.campaign.committed import Committed, as_txn, committed_log, entries_of, judge_rows
from tests.plugins.campaign.run import LEDGER, Campaign, table, txns_in, until_published
from tests.plugins.campaign.targets import ENSEMBLE_PORTS, DoorTarget, JsonlTarget, MirrorTarget, ServerTarget
from tests.plugins.campaign.writers import TOP, PipelinedWriter
from tests.plugins.helpers import E1, E2, create
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import Script, until

from zabra.client.aio import AsyncClient
from zabra.plugins.jsontext import hex_of
from zabra.runtime.os_disk import OsDisk
from zabra.storage.txnlog import FileTxnLog

START_S = 120


@pytest.fixture
def chosen(targets, place, tmp_path):
    """All that can be had here, and all of them in CI; they run."""
    found = {
        "door": DoorTarget(tmp_path / "door"),
        "jsonl": JsonlTarget(tmp_path),
        "zookeeper": MirrorTarget(tmp_path, apache=False),
    }
    found |= {
        name: ServerTarget(name, target, place, is_own=False) for name, target in kinds.get_all().items()
    }
    try:
        for target in found.values():
            target.start()
        yield found
    finally:
        for target in found.values():
            target.close()


@pytest.mark.slow
def test_whatever_is_killed_each_target_holds_what_was_committed(chosen, tmp_path):
    run = Campaign(tmp_path, chosen, writers=2, rate=300, every_s=0.5, seed=random.randrange(1 << 30))
    rows = run.run(2500)
    for row in rows:
        assert row["violations"] == 0, row["wrong"]
        assert row["txns"] >= 2500
        assert row["published"] > 1000
        # Nobody serves a file.
        killed = [
            count for kind, count in row["kills"].items() if (row["publisher"], kind) != ("jsonl", "target")
        ]
        assert min(killed) >= 1, row


@pytest.mark.slow
def test_a_server_on_its_own_that_is_killed(chosen, tmp_path):
    """Its log is its own: it publishes what it has committed, and what it logged before it was killed."""
    (port,) = free_ports(1, *ENSEMBLE_PORTS)
    cfg = {"clientPort": port, "tickTime": 500, "admin.enableServer": "false", "4lw.commands.whitelist": "*"}
    for target in chosen.values():
        cfg |= target.options()
    server = make_member(ZABRA, 0, cfg, tmp_path / "server")

    async def main():
        rng = random.Random(1)
        await asyncio.to_thread(server.start, START_S)
        async with AsyncClient(server.address, 20_000) as client:
            await client.create(TOP)
        # A snapshot is what they begin with; only what comes then is published.
        publishers = {name: target for name, target in chosen.items() if name != "door"}
        await until_published(server, publishers, zxid_of(server))
        await until(chosen["door"].has_begun)
        is_over = False
        writer = PipelinedWriter(server.address, rng, 0, lambda: False)
        writing = asyncio.create_task(writer.run(lambda: is_over))
        for _ in range(3):
            enough = writer.answered + rng.randrange(100, 1000)
            await until(lambda enough=enough: writer.answered >= enough)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start, START_S)
        enough = writer.answered + 500
        await until(lambda: writer.answered >= enough)
        is_over = True
        await writing
        # Sessions that were cut off end late, and that is a txn too.
        await until(lambda: monitor(server).get("global_sessions") == "0")
        await until_published(server, chosen, zxid_of(server))

    with server_that_ends(server):
        asyncio.run(main())
        log = Committed((raw for _, raw in entries_of(server.data_dir)), tmp_path / "log")
        alone = SimpleNamespace(members=[server], wait_leader=lambda: 0)
        # The mirror at last: whoever looks at the server for its judgement makes txns.
        for name in sorted(chosen, key="zookeeper".__eq__):
            figures = chosen[name].judge(log, alone)
            assert figures["violations"] == 0, (name, figures["wrong"])
            assert figures["published"] > 700, (name, figures)
            assert figures["snapshots"] == (name in ("door", "zookeeper")), (name, figures)


@contextmanager
def server_that_ends(server):
    try:
        yield
    finally:
        server.kill()


@pytest.fixture
def judged(tmp_path):
    script = Script().everything()
    log = Committed([entry.raw for entry in script.log], tmp_path)

    def judge(rows, exact=True, has_refusals=True):
        return judge_rows(rows(script.rows), log, exact, has_refusals)

    return judge


def test_what_is_right_is_right(judged):
    figures = judged(lambda rows: rows)
    assert "wrong" not in figures
    assert (figures["violations"], figures["duplicates"]) == (0, 0)
    assert figures["published"] == len(Script().everything().log)
    again = judged(lambda rows: [*rows[:5], *rows[3:]], exact=False)
    assert (again["violations"], again["duplicates"], again["changes"]) == (0, 2, figures["changes"])


@pytest.mark.parametrize(
    ("wrong", "kinds"),
    [
        (lambda rows: rows[1:], ["gap: 0x10000000.* behind the beginning: 1 txns"]),
        (lambda rows: [*rows[:5], *rows[7:]], ["gap: .* 2 txns, from 0x"]),
        (lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]], ["gap: ", "out of order: "]),
        (lambda rows: rows[:-2], ["gap: ends with .* 2 txns before"]),
        (lambda rows: [rows[0] | {"cxid": 99}, *rows[1:]], ["altered: .*99.* is in the log as"]),
        (lambda rows: [*rows[:5], *rows[3:]], ["double: ", "double: "]),
        (lambda rows: [*rows, rows[0] | {"zxid": "0x77"}], ["unknown: "]),
        (lambda rows: [*rows, {"snapshotEnd": hex_of(1 << 32)}], ["out of order: a snapshot"]),
    ],
)
def test_what_is_wrong_is_told(judged, wrong, kinds):
    figures = judged(wrong)
    assert figures["violations"] == len(kinds)
    for text, kind in zip(figures["wrong"], kinds, strict=False):
        assert re.match(kind, text), text


def test_a_snapshot_stands_for_what_is_before_it(judged):
    def from_a_snapshot(rows):
        return [{"snapshot": rows[5]["zxid"]}, {"snapshotEnd": rows[5]["zxid"], "nodes": 9}, *rows[6:]]

    figures = judged(from_a_snapshot)
    assert (figures["violations"], figures["snapshots"]) == (0, 1)
    assert figures["published"] == len(Script().everything().log) - 6


@pytest.fixture
def voters(tmp_path):
    """Three logs on disk, as the voters of an ensemble have them."""

    def write(*logs):
        folders = []
        for number, zxids in enumerate(logs):
            folder = tmp_path / f"voter-{number}"
            (folder / "version-2").mkdir(parents=True)
            log = FileTxnLog(OsDisk(folder), "version-2", preallocate_bytes=65536)
            log.open()
            for zxid in zxids:
                log.continue_from(zxid - 1)
                log.append(zxid, create(zxid).raw)
                log.sync()
            log.close()
            folders.append(SimpleNamespace(data_dir=folder))
        return SimpleNamespace(voters=lambda: range(3), members=folders)

    return write


def logged(ensemble):
    return [as_txn(raw).zxid for raw in committed_log(ensemble)]


def test_the_log_is_what_the_voters_have_together(voters):
    first, second = range(E1 + 1, E1 + 6), range(E2 + 1, E2 + 4)
    # One has had a snapshot in the middle, and one has what was lost with the leader of its epoch.
    there = [[*first, *second], [E1 + 1, E1 + 5, *second], [*first, E1 + 6, E1 + 7, *second]]
    assert logged(voters(*there)) == [*first, *second]


def test_a_log_with_a_hole_is_told(voters):
    holes = [[E1 + 1, E1 + 3], [E1 + 1, E1 + 3], [E1 + 1]]
    with pytest.raises(AssertionError, match="0x100000003 follows 0x100000001"):
        logged(voters(*holes))


def test_an_end_that_one_voter_has_is_told(voters):
    with pytest.raises(AssertionError, match="from 0x100000002 on, is at one voter only"):
        logged(voters([E1 + 1], [E1 + 1, E1 + 2], [E1 + 1]))


def test_the_ledger_is_a_table():
    kills = '{"observer": 2, "publisher": 3, "target": 4, "leader": 5}'
    line = '{"publisher": "nats", "voters": "Zabra", "txns": 1000000, "published": 7, "duplicates": 0,'
    line += f' "snapshots": 0, "minutes": 1.5, "kills": {kills}}}'
    last = table([line, line]).splitlines()[-1]
    assert last == "| `nats` | Zabra | 2 | 2,000,000 | 4 | 6 | 8 | 10 | 0 | 0 | 3 |"
    assert txns_in([line, line], "Zabra", ["nats"]) == 2_000_000
    assert (
        txns_in([line, line.replace('"minutes"', '"violations": 1, "minutes"')], "Zabra", ["nats"])
        == 1_000_000
    )
    assert txns_in([line], "Zabra", ["nats", "kafka"]) == 0


def test_the_documentation_has_the_ledger():
    assert table(LEDGER.read_text().splitlines()) in (ROOT / "docs" / "publishers.md").read_text()
