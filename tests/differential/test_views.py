"""The comparison of two servers' frames: what has to be equal, what only has to correspond."""

from __future__ import annotations

import struct
import time

import pytest
from tests.differential.views import Clock, Correspondence, View, view

from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.records import ReplyHeader, Stat, WatcherEvent

NOW_MS = int(time.time() * 1000)


def stat(zxid: int, *, version: int = 0, owner: int = 0, ctime: int = NOW_MS, mtime: int = NOW_MS) -> Stat:
    return Stat(zxid, zxid, ctime, mtime, version, 0, 0, owner, 3, 0, zxid)


def reply(zxid: int, body: Stat | None = None, *, xid: int = 1, err: int = 0, tail: bytes = b"") -> bytes:
    writer = Writer()
    ReplyHeader(xid, zxid, err).encode(writer)
    if body is not None:
        body.encode(writer)
    return writer.getvalue() + tail


def exists(payload: bytes) -> View:
    return view(codes.OP_EXISTS, payload, Clock(NOW_MS))


def paired(delta: int = 0) -> Correspondence:
    same = Correspondence()
    same.calibrate(100 + delta, 100)
    return same


def test_equal_replies_correspond() -> None:
    assert paired().difference(exists(reply(120, stat(110))), exists(reply(120, stat(110)))) is None


def test_zxids_may_differ_by_one_constant() -> None:
    same = paired(7)
    assert same.difference(exists(reply(127, stat(117))), exists(reply(120, stat(110)))) is None


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (reply(120, stat(110)), reply(121, stat(110)), "reply zxid"),
        (reply(120, stat(110)), reply(120, stat(111)), "zxid in stat"),
        (reply(120, stat(110)), reply(120, stat(110, version=1)), "content"),
        (reply(120, stat(110)), reply(120, stat(110), xid=2), "content"),
        (reply(120, stat(110)), reply(120, err=codes.ERR_NO_NODE), "content"),
        (reply(120, stat(110)), reply(120, stat(110), tail=b"x"), "content"),
        (reply(120, stat(110)), reply(120, stat(110, ctime=5, mtime=5)), "content"),
        (reply(120, stat(110)), reply(120, stat(110, mtime=NOW_MS + 1)), "content"),
        (reply(120, stat(110)), reply(120, tail=b"\0" * 10), "content"),
        (reply(120, stat(110, owner=5)), reply(120, stat(110, owner=6)), "ephemeralOwner"),
        (reply(120, stat(110, owner=0)), reply(120, stat(110, owner=8)), "ephemeralOwner"),
        (reply(-1), reply(120), "reply zxid"),
    ],
    # The bytes hold the time of day, and every process that runs tests has to name them alike.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_difference_is_found(left: bytes, right: bytes, told: str) -> None:
    same = paired()
    same.session(5, 50)
    if told == "reply zxid" and len(left) == 16:
        views = view(None, left, Clock(NOW_MS)), view(None, right, Clock(NOW_MS))
    else:
        views = exists(left), exists(right)
    assert same.difference(*views) == told


def test_session_ids_correspond_once_told() -> None:
    same = paired()
    same.session(5, 50)
    left, right = exists(reply(120, stat(110, owner=5))), exists(reply(120, stat(110, owner=50)))
    assert same.difference(left, right) is None


def test_the_zxids_may_drift_where_a_body_could_not_be_read() -> None:
    same = paired()
    refused = codes.ERR_MARSHALLING
    left, right = (
        view(1, reply(121, err=refused), Clock(NOW_MS)),
        view(1, reply(120, err=refused), Clock(NOW_MS)),
    )
    assert same.difference(left, right) is None
    assert same.drifts == 1
    assert same.difference(exists(reply(122, stat(110))), exists(reply(121, stat(110)))) is None
    assert same.difference(exists(reply(123, stat(110))), exists(reply(121, stat(110)))) == "reply zxid"


def test_a_failed_write_may_not_drift() -> None:
    left = view(1, reply(121, err=codes.ERR_NO_NODE), Clock(NOW_MS))
    right = view(1, reply(120, err=codes.ERR_NO_NODE), Clock(NOW_MS))
    assert paired().difference(left, right) == "reply zxid"


def test_events_carry_path_and_zxid() -> None:
    def event(path: str, zxid: int) -> View:
        writer = Writer()
        ReplyHeader(codes.XID_NOTIFICATION, zxid, 0).encode(writer)
        WatcherEvent(codes.EVENT_NODE_DELETED, codes.STATE_SYNC_CONNECTED, path).encode(writer)
        return view(None, writer.getvalue(), Clock(NOW_MS))

    assert event("/a", 120).is_event
    assert paired().difference(event("/a", 120), event("/a", 120)) is None
    assert paired().difference(event("/a", 120), event("/b", 120)) == "content"
    assert paired().difference(event("/a", 120), event("/a", -1)) == "reply zxid"


def test_children_have_no_order() -> None:
    def children(*names: bytes) -> View:
        body = struct.pack(">i", len(names)) + b"".join(struct.pack(">i", len(n)) + n for n in names)
        return view(codes.OP_GET_CHILDREN, reply(120, tail=body), Clock(NOW_MS))

    assert paired().difference(children(b"a", b"b"), children(b"b", b"a")) is None
    assert paired().difference(children(b"a", b"b"), children(b"a", b"c")) == "content"
