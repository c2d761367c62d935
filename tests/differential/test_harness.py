"""The harness itself, on two Apache servers: it finds nothing where nothing is, and finds what is planted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.engine import FrameFilter, Harness
from tests.differential.servers import NamedServer, start_pair
from tests.differential.wire import HEADER
from tests.interop.apache import require_java

pytestmark = [pytest.mark.java, pytest.mark.slow]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NamedServer]]:
    require_java()
    folder: Path = tmp_path_factory.mktemp("pair")
    servers = start_pair("apache-apache", folder)
    yield servers
    for server in servers:
        server.stop()


def harness(pair: list[NamedServer], tamper: FrameFilter | None = None) -> Harness:
    return Harness(pair[0].pair, pair[1].pair, tamper=tamper)


def test_two_apache_servers_do_not_differ(pair: list[NamedServer]) -> None:
    compared = harness(pair)
    for seed in range(6):
        _, difference = compared.one(seed, 800)
        assert difference is None, str(difference)
    assert compared.counts.ops.total() > 2000
    assert compared.counts.events.total() > 500


def once(change: FrameFilter, wanted: int) -> FrameFilter:
    """Changes the frame with this number among those that ``change`` alters."""
    seen = 0

    def tamper(payload: bytes) -> bytes:
        nonlocal seen
        changed = change(payload)
        if changed != payload:
            seen += 1
            if seen == wanted:
                return changed
        return payload

    return tamper


def other_error(payload: bytes) -> bytes:
    xid, zxid, err = HEADER.unpack_from(payload)
    return HEADER.pack(xid, zxid, -102) if err == -101 else payload


def later_zxid(payload: bytes) -> bytes:
    xid, zxid, err = HEADER.unpack_from(payload)
    return HEADER.pack(xid, zxid + 1, err) + payload[HEADER.size :] if zxid > 0 and err != -5 else payload


def other_version(payload: bytes) -> bytes:
    """The version in a reply that is a lone Stat."""
    if len(payload) != HEADER.size + 68 or HEADER.unpack_from(payload)[2] != 0:
        return payload
    place = HEADER.size + 32
    version = struct.unpack_from(">i", payload, place)[0]
    return payload[:place] + struct.pack(">i", version + 1) + payload[place + 4 :]


def other_event(payload: bytes) -> bytes:
    if HEADER.unpack_from(payload)[0] != -1:
        return payload
    kind = struct.unpack_from(">i", payload, HEADER.size)[0]
    return payload[: HEADER.size] + struct.pack(">i", kind % 4 + 1) + payload[HEADER.size + 4 :]


@pytest.mark.parametrize("change", [other_error, later_zxid, other_version, other_event])
def test_a_planted_difference_is_found(pair: list[NamedServer], change: FrameFilter) -> None:
    _, difference = harness(pair, once(change, 5)).one(11, 600)
    assert difference is not None


def test_a_difference_is_cut_down(pair: list[NamedServer]) -> None:
    """A server that lies about the version of nodes of ten bytes is shown with a handful of operations."""

    def lying(payload: bytes) -> bytes:
        changed = other_version(payload)
        return changed if payload[HEADER.size + 52 : HEADER.size + 56] == struct.pack(">i", 10) else payload

    compared = harness(pair, lying)
    for seed in range(12, 22):
        steps, difference = compared.one(seed, 800)
        if difference is not None:
            break
    assert difference is not None
    steps, difference = compared.shrink(steps, difference)
    ops = sum(len(step[2]) for step in steps if step[0] == "batch")
    assert ops <= 5, steps
