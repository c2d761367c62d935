"""Messages: parts make the whole again, and the last message says where a target is."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plugins.targets.harness import Script
from tests.plugins.targets.nats import rows_of_messages

from zabra.plugins.builtin.messages import cursor_of, messages_of, snapshot_messages
from zabra.plugins.publisher import Snap, SnapNode

SCRIPT = Script().everything()
SHORT = [txn for txn in SCRIPT.txns if len(txn.raw) < 5000]


def all_messages(limit):
    """A few txns, a snapshot, and the rest."""

    async def nodes():
        for path in ("/a", "/b"):
            yield SnapNode(path, b"\xff" * 99, 0, (), 0, 1, 1)

    async def snapshot():
        return [message async for message in snapshot_messages(Snap(SHORT[5].zxid, nodes()), since, limit)]

    since = 0
    found = []
    for number, txn in enumerate(SHORT):
        found += messages_of(txn, since, limit)
        since = txn.zxid
        if number == 4:
            found += asyncio.run(snapshot())
            since = SHORT[5].zxid
    return found


@settings(max_examples=10)
@given(st.integers(50, 3000))
def test_parts_make_the_whole(limit):
    messages = all_messages(limit)
    assert all(len(message.body) <= limit for message in messages)
    rows = list(rows_of_messages([(message.headers(), message.body) for message in messages]))
    txns = [row for row in rows if "zxid" in row]
    assert [row["zxid"] for row in txns] == [f"0x{txn.zxid:x}" for txn in SHORT]
    assert [next(iter(row)) for row in rows if "zxid" not in row] == [
        "snapshot",
        "node",
        "node",
        "snapshotEnd",
    ]


@settings(max_examples=20)
@given(st.integers(50, 400), st.data())
def test_wherever_it_is_cut_the_last_message_says_where_the_target_is(limit, data):
    messages = all_messages(limit)
    cut = data.draw(st.integers(1, len(messages)))
    kept = [(message.headers(), message.body) for message in messages[:cut]]
    rows = list(rows_of_messages(kept))
    last = rows[-1] if rows else {"zxid": "0x0"}
    zxid = int(last.get("zxid") or last["snapshotEnd"], 16)
    assert cursor_of(kept[-1][0], "here") == zxid
    # Whoever goes on from there completes it.
    again = kept + [
        (message.headers(), message.body)
        for txn in SHORT
        if txn.zxid > zxid
        for message in messages_of(txn, zxid, 100)
    ]
    assert [row["zxid"] for row in rows_of_messages(again) if "zxid" in row][-1] == f"0x{SHORT[-1].zxid:x}"


def test_a_txn_of_one_message_is_its_json():
    (message,) = messages_of(SHORT[0], 7, 10_000)
    assert json.loads(message.body)["zxid"] == f"0x{SHORT[0].zxid:x}"
    assert message.headers() == {
        "Zabra-Kind": "txn",
        "Zabra-Zxid": f"0x{SHORT[0].zxid:x}",
        "Zabra-Cursor": f"0x{SHORT[0].zxid:x}",
    }


@pytest.mark.parametrize("headers", [None, {}, {"Zabra-Cursor": "soon"}])
def test_messages_of_others(headers):
    with pytest.raises(ValueError, match="the topic x has other messages in it"):
        cursor_of(headers, "the topic x")
