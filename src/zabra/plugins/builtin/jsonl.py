"""``jsonl``: a line of JSON for each txn, appended to a file or printed on standard output.

In a file each txn is there exactly once: the last whole line is the cursor, and what a crash left half
written behind it is cut off before anything is appended.  Standard output keeps no cursor; the host does,
and after a crash lines may come twice.

A snapshot is one line ``{"snapshot": zxid, "path": …}``, a line ``{"node": …}`` for each node, and
``{"snapshotEnd": zxid, "nodes": n}``; it takes the place of everything above it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from zabra.plugins.jsontext import dump, hex_of, node_object, txn_object
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap

STANDARD_OUTPUT: Final = "-"
_BLOCK_BYTES: Final = 64 * 1024
# Lines of a snapshot that are written at once.
_SNAP_LINES: Final = 1000
# The end of the file that one write may have left in disorder, after a power cut.
_SUSPECT_BYTES: Final = 4 * 1024 * 1024


class JsonlPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """``file``: a path, or "-" for standard output.  ``fsync``: whether each batch waits for the disk."""

        file: str
        fsync: bool = True

        def __post_init__(self) -> None:
            if not self.file:
                raise ValueError("file is empty")

    def __init__(self, options: "JsonlPublisher.Options") -> None:
        self._options = options
        self._out: BinaryIO | None = None

    async def open(self, context: PublisherContext) -> int | None:
        """The zxid of the last whole line; None for standard output."""
        if self._options.file == STANDARD_OUTPUT:
            self._out = sys.stdout.buffer
            return None
        self._out, cursor = await asyncio.to_thread(self._open_file)
        return cursor

    def _open_file(self) -> tuple[BinaryIO, int]:
        path = self._options.file
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        is_new = not os.path.exists(path)
        file = open(path, "ab+")  # noqa: SIM115  closed by close()
        try:
            end, cursor = find_end(file)
            file.truncate(end)
            os.fsync(file.fileno())
            if is_new:
                _sync_folder(path)
        except BaseException:
            file.close()
            raise
        return file, cursor

    async def snap(self, snap: Snap) -> None:
        """The snapshot's lines; without the last one they are cut off at the next start."""
        count = 0
        lines = [dump({"snapshot": hex_of(snap.zxid)})]
        async for node in snap.nodes:
            lines.append(dump({"node": node_object(node)}))
            count += 1
            if len(lines) >= _SNAP_LINES:
                await asyncio.to_thread(self._write, lines)
                lines = []
        lines.append(dump({"snapshotEnd": hex_of(snap.zxid), "nodes": count}))
        await asyncio.to_thread(self._write, lines)

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """A line for each."""
        await asyncio.to_thread(self._write, [dump(txn_object(txn)) for txn in txns])
        return txns[-1].zxid

    def _write(self, lines: list[str]) -> None:
        out = self._out
        assert out is not None
        out.write("".join([line + "\n" for line in lines]).encode("utf-8"))
        out.flush()
        if self._options.fsync and self._options.file != STANDARD_OUTPUT:
            os.fsync(out.fileno())

    async def close(self) -> None:
        """Closes the file."""
        out, self._out = self._out, None
        if out is not None and self._options.file != STANDARD_OUTPUT:
            await asyncio.to_thread(out.close)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def find_end(file: BinaryIO) -> tuple[int, int]:
    """The offset behind the last txn or whole snapshot, and its zxid (0 in an empty file).

    Raises ValueError where the file is not one of ours.
    """
    size = file.seek(0, os.SEEK_END)
    start = _line_start(file, max(0, size - _SUSPECT_BYTES))
    while True:
        end, zxid = _scan(file, start, size)
        if zxid or start == 0:
            break
        # Nothing but an unfinished snapshot, or one long line.
        start = _line_start(file, max(0, start - _SUSPECT_BYTES))
    if zxid == 0 and size > 0 and not _begins_like_ours(file):
        raise ValueError(f"{file.name} has other things in it than lines of this publisher")
    return end, zxid


def _begins_like_ours(file: BinaryIO) -> bool:
    """Whether the file may be the beginning of one that a crash has cut."""
    file.seek(0)
    head = file.read(12)
    return any(head.startswith(mark[: len(head)]) for mark in (b'{"zxid":"0x', b'{"snapshot":')) or not head


def _line_start(file: BinaryIO, offset: int) -> int:
    """The start of the line that ``offset`` is in."""
    while offset > 0:
        begin = max(0, offset - _BLOCK_BYTES)
        file.seek(begin)
        found = file.read(offset - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        offset = begin
    return 0


def _scan(file: BinaryIO, start: int, size: int) -> tuple[int, int]:
    """The end of what is whole and in order from ``start`` on, and its zxid; (start, 0) where nothing is."""
    file.seek(start)
    offset = end = start
    zxid = 0
    while offset < size:
        line = file.readline()
        if not line.endswith(b"\n"):
            break
        row = _parse(line)
        if row is None:
            break
        offset += len(line)
        found = row.get("zxid") or row.get("snapshotEnd")
        if found is not None:
            zxid = int(found, 16)
            end = offset
    return end, zxid


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
