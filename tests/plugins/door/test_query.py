"""Queries: what may be asked, and what is said of the rest."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.plugins.door.query import (
    NDJSON,
    POLL,
    SSE,
    WEBSOCKET,
    BadQuery,
    FeedQuery,
    parse_query,
    parse_zxid,
)


def test_defaults():
    assert parse_query("", "*/*", "", False) == FeedQuery("/", (), None, False, SSE, 30.0, 500)


def test_everything():
    text = "path=%2Fa%20b&op=delete&op=create,setData&since=0x10&format=poll&wait=2.5&limit=7"
    wanted = FeedQuery("/a b", ("create", "delete", "setData"), 16, False, POLL, 2.5, 7)
    assert parse_query(text, "", "", False) == wanted
    assert parse_query("snapshot=true&since=17", "", "", False) == FeedQuery(since=17, snapshot=True)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/event-stream", SSE),
        ("application/x-ndjson", NDJSON),
        ("application/json;q=0.9, application/x-ndjson;q=0.8", NDJSON),
        ("text/event-stream, application/x-ndjson", SSE),
        ("", SSE),
    ],
)
def test_the_format_that_is_accepted(accept, wanted):
    assert parse_query("", accept, "", False).format == wanted
    assert parse_query("format=ndjson", accept, "", False).format == NDJSON
    assert parse_query("format=ndjson", accept, "", True).format == WEBSOCKET


def test_the_last_event_wins_over_since():
    assert parse_query("since=5", "", "0x7", False).since == 7
    with pytest.raises(BadQuery, match="Last-Event-ID"):
        parse_query("since=5", "", "seven", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path=a", "path"),
        ("path=/a/", "path"),
        ("path=/a//b", "path"),
        ("path=/a/../b", "path"),
        ("path=", "path"),
        ("path", "cannot be read"),
        ("path=%ff", "cannot be read"),
        ("op=", "op"),
        ("op=move", "op"),
        ("since=", "since"),
        ("since=1e3", "since"),
        ("since=0x", "since"),
        ("since=9223372036854775808", "since"),
        ("since=１", "since"),
        ("since=1&since=1", "twice"),
        ("snapshot=yes", "snapshot"),
        ("format=csv", "format"),
        ("wait=301", "wait"),
        ("wait=nan", "wait"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("colour=red", "colour"),
        ("snapshot=true&format=poll", "poll"),
        ("&".join(["op=create"] * 51), "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(text, says):
    with pytest.raises(BadQuery, match=says):
        parse_query(text, "", "", False)


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20), st.booleans())
def test_anything_else_is_refused_in_words(text, accept, event, is_websocket):
    # Nothing but BadQuery is raised.
    with contextlib.suppress(BadQuery):
        assert parse_query(text, accept, event, is_websocket).path.startswith("/")


@given(st.integers(0, (1 << 63) - 1))
def test_zxids(zxid):
    assert parse_zxid(str(zxid), "since") == zxid
    assert parse_zxid(hex(zxid), "since") == zxid
