"""Mirrors between real ensembles, with crashes on both sides; and what ``zabra mirror`` says of them."""

import argparse
import asyncio
import json
import random

from zabra.cli import mirror
from zabra.cli.main import build_parser
from zabra.client import calls
from zabra.client.aio import AsyncClient
from zabra.plugins.mirror_check import Side, compare
from zabra.plugins.mirror_plan import Choices
from zabra.plugins.mirror_session import connect
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, Id
from zabra.testing.ensemble import AsyncEnsemble

WITHIN_S = 60
READ = [ACL(codes.PERM_ALL & ~codes.PERM_WRITE, Id("world", "anyone"))]


def mirror_options(target, **more):
    options = {"class": "zookeeper", "connect": target, "path": "/x", "target": "/y", "maxBackoffMs": "200"}
    return {f"publisher.m.{key}": value for key, value in {**options, **more}.items()}


async def some(client, rng, there, count):
    """Random operations below /x; whatever a crash makes of one of them is as good."""
    for _ in range(count):
        path = rng.choice(there)
        what = rng.random()
        try:
            if what < 0.4:
                made = f"{path}/{rng.randrange(10**6)}"
                await client.create(made, rng.randbytes(9))
                there.append(made)
            elif what < 0.5 and path != "/x":
                await client.delete(path)
                there.remove(path)
            elif what < 0.6:
                await client.set_acl(path, rng.choice([READ, calls.OPEN_ACL]))
            elif what < 0.7:
                pair = [calls.set_data("/x", b"m"), calls.set_data(path, rng.randbytes(5))]
                await client.multi([calls.part_of(one) for one in pair])
            elif what < 0.75:
                await client.create(f"{path}/e-", b"", flags=codes.MODE_EPHEMERAL_SEQUENTIAL)
            else:
                await client.set_data(path, rng.randbytes(20))
        except KeeperError:
            # Of a node that is not there any more, or lost in a crash: both sides have the same of it.
            continue


async def differing(source, target, settle_s, choices=None):
    choices = choices or Choices("/x", "/y")
    one, other = await connect(source, "", 20_000), await connect(target, "", 20_000)
    try:
        return await compare(
            Side(one, choices.source, choices, True), Side(other, choices.target, choices, False), settle_s
        )
    finally:
        await one.close()
        await other.close()


def told(capsys, *words):
    """Exit code and report of ``zabra mirror …``, run beside the ensembles' loop."""
    arguments: argparse.Namespace = build_parser().parse_args(["mirror", *words, "--format", "json"])
    code = arguments.run(arguments)
    return code, json.loads(capsys.readouterr().out)


def test_random_operations_and_crashes_on_both_sides(tmp_path, capsys):
    async def main():
        rng = random.Random(8)
        async with AsyncEnsemble(1, folder=tmp_path / "target") as target:
            options = mirror_options(target.connect_string, checkEveryMs="1000")
            async with AsyncEnsemble(1, options=options, folder=tmp_path / "source") as source:
                there = ["/x"]
                async with AsyncClient(source.connect_string) as client:
                    await client.create("/x", b"top", calls.OPEN_ACL)
                    for victim in ("target", "source", "publisher"):
                        writing = asyncio.ensure_future(some(client, rng, there, 60))
                        await asyncio.sleep(0)
                        if victim == "publisher":
                            host = source.members[1].publishers.host
                            await host.stop()
                            host.start()
                        else:
                            ensemble = {"target": target, "source": source}[victim]
                            await ensemble.kill(1)
                            await ensemble.start(1)
                            await ensemble.wait_ready()
                        await writing
                compared = await differing(source.connect_string, target.connect_string, WITHIN_S)
                assert compared.differences == []
                assert compared.source.hash == compared.target.hash
                assert len(compared.source.nodes) > 20
                await diverge_and_look(source, target, capsys)

    asyncio.run(main())


async def diverge_and_look(source, target, capsys):
    """A divergence is found where it is; counters and sessions are in the way of a move."""
    two = f"{source.connect_string}/x", f"{target.connect_string}/y"
    async with AsyncClient(target.connect_string) as client:
        await client.create("/y/stranger")
        code, out = await asyncio.to_thread(told, capsys, "check", *two, "--settle", "0")
        assert code == mirror.EXIT_DIFFERENT
        assert out["differences"] == [{"path": "/stranger", "what": "only at the target", "nodes": 1}]
        # The mirror finds it too, by itself.
        gauges = source.members[1].publishers.gauge_sets
        await source.wait("it is found", lambda: gauges()["mirror_differences"] == {"m": 1}, WITHIN_S)
        await client.delete("/y/stranger")
    code, out = await asyncio.to_thread(told, capsys, "check", *two)
    assert (code, out["differences"], out["source"]["hash"]) == (0, [], out["target"]["hash"])
    async with AsyncClient(source.connect_string) as client:
        await client.create("/x/held", flags=codes.MODE_EPHEMERAL)
        code, out = await asyncio.to_thread(told, capsys, "cutover", *two)
        assert (code, list(out["sessions"].values())) == (mirror.EXIT_DIFFERENT, [1])
    code, out = await asyncio.to_thread(told, capsys, "cutover", *two, "--raise-sequences")
    assert (code, out["ready"], out["counters"]) == (0, True, [])
    assert out["raised"]
    code, (row,) = await asyncio.to_thread(told, capsys, "status", target.connect_string)
    assert (code, row["name"], row["state"], row["choices"]) == (0, "m", "mirroring", "/x /y skip copy")


def test_a_dry_run_changes_nothing(tmp_path):
    async def main():
        async with AsyncEnsemble(1, folder=tmp_path / "target") as target:
            async with AsyncClient(target.connect_string) as client:
                await client.create("/y", b"as it was")
            before = target.members[1].running.server.tree.last_processed_zxid
            options = mirror_options(target.connect_string, dryRun="true")
            async with AsyncEnsemble(1, options=options, folder=tmp_path / "source") as source:
                async with AsyncClient(source.connect_string) as client:
                    await client.create("/x", b"")
                    last = (await client.set_data("/x", b"1")).mzxid
                host = source.members[1].publishers.host
                await source.wait("it was read", lambda: host.runs[0].cursor >= last, WITHIN_S)
                await source.stop(1)
            tree = target.members[1].running.server.tree
            assert tree.find("/y").data == b"as it was"
            assert [path for path in tree.nodes if not path.startswith("/zookeeper")] == ["/", "/y"]
            # Sessions only: two, and their ends.
            assert tree.last_processed_zxid - before <= 4

    asyncio.run(main())
