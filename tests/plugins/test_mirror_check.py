"""Differences are found, located, and forgiven where they go away; counters are raised."""

import asyncio
import random

import pytest
from tests.plugins.memory_zookeeper import MemorySession, MemoryZooKeeper

from zabra.client import calls
from zabra.plugins.mirror_check import Side, compare, counters_behind, raise_counter
from zabra.plugins.mirror_plan import Choices
from zabra.proto.records import ACL, Id

MINE = [ACL(31, Id("digest", "a:b"))]


def sides(**choices):
    one, other = MemoryZooKeeper(), MemoryZooKeeper()
    how = Choices("/x", "/y", **choices)
    return one, other, Side(MemorySession(one), "/x", how, True), Side(MemorySession(other), "/y", how, False)


def fill(zookeeper, top, seed=1, count=80):
    rng = random.Random(seed)
    paths = [top]
    zookeeper.carry_out(calls.create(top, b""))
    for number in range(count):
        path = f"{rng.choice(paths)}/{number}"
        zookeeper.carry_out(calls.create(path, rng.randbytes(3)))
        paths.append(path)
    return paths


async def no_pause(seconds):
    pass


def found(*two, settle_s=0.0, pause=no_pause):
    return asyncio.run(compare(*two, settle_s, pause))


def test_the_same():
    one, other, *two = sides()
    fill(one, "/x")
    fill(other, "/y")
    one.carry_out(calls.create("/x/ephemeral", b"", flags=1))
    compared = found(*two)
    assert compared.differences == []
    assert compared.source.hash == compared.target.hash != ""
    assert list(compared.source.ephemerals.values()) == [0x100]
    assert found(*two[::-1]).differences == []


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_difference_is_located(seed):
    one, other, *two = sides()
    paths = fill(one, "/x", seed)
    fill(other, "/y", seed)
    leaf = next(path for path in reversed(paths) if not one.tree.children(path))
    deep = max(paths, key=lambda path: path.count("/"))
    there = "/y" + leaf[2:]
    other.carry_out(calls.delete(there))
    assert [(d.path, d.what) for d in found(*two).differences] == [(leaf[2:], "only at the source")]
    other.carry_out(calls.create(there, one.data(leaf)))
    assert found(*two).differences == []
    other.carry_out(calls.create("/y/more", b""))
    other.carry_out(calls.create("/y/more/and", b""))
    other.carry_out(calls.set_data("/y" + deep[2:], None))
    one.carry_out(calls.set_acl(paths[1], MINE))
    assert {(d.path, d.what, d.nodes) for d in found(*two).differences} == {
        ("/more", "only at the target", 2),
        (deep[2:], "data differs", 1),
        (paths[1][2:], "ACL differs", 1),
    }


def test_nothing_there():
    one, _, *two = sides()
    assert found(*two).differences == []
    one.carry_out(calls.create("/x", b""))
    assert [(d.path, d.what) for d in found(*two).differences] == [("/", "only at the source")]


def test_acls_need_not_matter():
    one, other, *two = sides(acls="open")
    one.carry_out(calls.create("/x", b"", MINE))
    other.carry_out(calls.create("/y", b""))
    assert found(*two).differences == []


def test_a_mirror_a_little_behind_is_no_difference():
    one, other, *two = sides()
    for zookeeper, path in ((one, "/x"), (other, "/y"), (one, "/x/a")):
        zookeeper.carry_out(calls.create(path, b""))
    waited = []

    async def catches_up(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            other.carry_out(calls.create("/y/a", b""))

    assert found(*two, settle_s=5, pause=catches_up).differences == []
    assert len(waited) == 3


def test_counters():
    one, other, source, target = sides()
    one.carry_out(calls.create("/x", b""))
    other.carry_out(calls.create("/y", b""))
    for _ in range(7):
        one.carry_out(calls.delete(one.carry_out(calls.create("/x/s-", b"", flags=2))))
    (behind,) = counters_behind(found(source, target))
    assert (behind.path, behind.source, behind.target) == ("/", 7, 0)
    asyncio.run(raise_counter(target, behind))
    assert counters_behind(found(source, target)) == []
    assert other.carry_out(calls.create("/y/s-", b"", flags=2)) == one.carry_out(
        calls.create("/x/s-", b"", flags=2)
    ).replace("/x", "/y")
