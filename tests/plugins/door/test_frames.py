"""Frames: the same event for each format, and texts that are made once."""

import json

import pytest
from tests.plugins.helpers import create
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from zabra.plugins.changes import committed_txn
from zabra.plugins.door import frames
from zabra.plugins.door.settings import NO_STATUS
from zabra.plugins.jsontext import txn_object


def test_sse():
    assert frames.frame("sse", frames.TXN, b"{}", 18) == b"id: 0x12\ndata: {}\n\n"
    assert frames.frame("sse", frames.NODE, b"{}", None) == b"event: node\ndata: {}\n\n"


def test_ndjson_and_poll():
    assert frames.frame("ndjson", frames.TXN, b"{}", 18) == b"{}\n"
    assert frames.frame("poll", frames.TXN, b"{}", 18) == b"{}"
    assert frames.chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 70000])
def test_websocket_frames_are_what_others_read(size):
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.frame("websocket", frames.TXN, b"x" * size, 1))
    texts = [event.data for event in client.events() if isinstance(event, TextMessage)]
    assert "".join(texts) == "x" * size


def test_texts_are_made_once_and_forgotten():
    txns = [committed_txn(create(zxid, data=b"d" * 100)) for zxid in range(1, 50)]
    texts = frames.TxnTexts(limit=5000)
    first = texts.text(txns[0], txns[0].changes)
    assert texts.text(txns[0], txns[0].changes) is first
    assert json.loads(first) == txn_object(txns[0])
    for txn in txns:
        texts.text(txn, txn.changes)
    assert texts.text(txns[0], txns[0].changes) is not first


def test_less_of_a_txn_is_another_text():
    txn = committed_txn(create(1))
    texts = frames.TxnTexts()
    whole = json.loads(texts.text(txn, txn.changes))
    none = json.loads(texts.text(txn, ()))
    assert none == {**whole, "changes": []}


def test_what_is_not_known_is_null():
    row = json.loads(frames.bookmark_text(16, NO_STATUS))
    assert row == {"bookmark": "0x10", "lagTxns": None, "lagMs": None}
    assert json.loads(frames.behind_text(-1, NO_STATUS))["behind"] == "0x0"
    assert frames.compacted_object(1, 5)["oldest"] == "0x5"
