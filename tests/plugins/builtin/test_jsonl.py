"""jsonl: whatever a crash leaves behind, each txn is in the file once."""

import asyncio
import json
import os

import pytest
from tests.plugins.helpers import E1, create

from zabra.plugins.builtin.jsonl import FileLines, JsonlPublisher, find_end
from zabra.plugins.changes import committed_txn
from zabra.plugins.publisher import PublisherContext, Snap, SnapNode

CONTEXT = PublisherContext("p", {}, 1)


def publish(path, *batches, snap=None):
    """Opens, publishes what the cursor lets through; returns the cursor it was opened with."""

    async def main():
        publisher = JsonlPublisher(JsonlPublisher.Options(str(path)))
        cursor = await publisher.open(CONTEXT)
        if snap is not None:
            await publisher.snap(snap)
        for batch in batches:
            txns = [committed_txn(create(zxid)) for zxid in batch if zxid > cursor]
            if txns:
                assert await publisher.inform(txns) == txns[-1].zxid
        await publisher.close()
        return cursor

    return asyncio.run(main())


def snapshot(zxid, count):
    async def nodes():
        for number in range(count):
            yield SnapNode(f"/s{number:05}", b"\xff", 0, (), 0, zxid, zxid)

    return Snap(zxid, nodes())


def zxids(path):
    return [int(row["zxid"], 16) for row in map(json.loads, path.read_text().splitlines()) if "zxid" in row]


@pytest.fixture
def _hurried(monkeypatch):
    """Hundreds of starts need no disk that obeys."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.usefixtures("_hurried")
def test_cut_anywhere(tmp_path):
    whole = tmp_path / "whole"
    batches = [[E1 + 1, E1 + 2], [E1 + 3]]
    assert publish(whole, *batches) == 0
    data = whole.read_bytes()
    torn = tmp_path / "torn"
    for cut in range(len(data)):
        for tail in (b"", b"\0" * 9):
            torn.write_bytes(data[:cut] + tail * (cut > 12))
            lines = FileLines(str(torn))
            assert find_end(lines)[0] == data[:cut].rfind(b"\n") + 1, cut
            lines.close()
            if cut % 37 == 0:
                publish(torn, *batches)
                assert torn.read_bytes() == data, cut


@pytest.mark.usefixtures("_hurried")
def test_an_unfinished_snapshot_goes(tmp_path):
    whole = tmp_path / "whole"
    publish(whole, [E1 + 1])
    before = whole.read_bytes()
    publish(whole, snap=snapshot(E1 + 9, 1200))
    data = whole.read_bytes()
    torn = tmp_path / "torn"
    for cut in [*range(len(before), len(before) + 300), *range(len(data) - 100, len(data))]:
        torn.write_bytes(data[:cut])
        assert publish(torn) == E1 + 1
        assert torn.read_bytes() == before
    assert publish(whole, [E1 + 10]) == E1 + 9
    assert zxids(whole) == [E1 + 1, E1 + 10]


def test_a_power_cut_may_leave_zeros(tmp_path):
    """The file has grown, the first of its sectors was never written."""
    path = tmp_path / "torn"
    path.write_bytes(bytes(512) + b'x"}\n')
    assert publish(path, [E1 + 1]) == 0
    assert zxids(path) == [E1 + 1]


def test_a_file_that_is_somebody_elses_is_left_alone(tmp_path):
    path = tmp_path / "notes"
    for text in (b"Dear diary,\n", b'{"zxid"', b"{}\n" * 10):
        path.write_bytes(text)
        if text == b'{"zxid"':
            assert publish(path) == 0
            continue
        with pytest.raises(ValueError, match="has other things in it"):
            publish(path)
        assert path.read_bytes() == text


def test_standard_output_has_no_cursor(capsysbinary):
    async def main():
        publisher = JsonlPublisher(JsonlPublisher.Options("-"))
        assert await publisher.open(CONTEXT) is None
        await publisher.inform([committed_txn(create(E1 + 1, "/a", b"\xff"))])
        await publisher.close()

    asyncio.run(main())
    row = json.loads(capsysbinary.readouterr().out)
    assert row["changes"][0]["data64"] == "/w=="
    assert row["zxid"] == "0x100000001"
