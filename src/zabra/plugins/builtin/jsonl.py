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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

from zabra.plugins.jsontext import dump, hex_of, node_object, txn_text
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

    def __init__(
        self, options: "JsonlPublisher.Options", open_lines: Callable[[str], "Lines"] | None = None
    ) -> None:
        self._options = options
        self._open_lines = open_lines or FileLines
        self._out: Lines | None = None

    async def open(self, context: PublisherContext) -> int | None:
        """The zxid of the last whole line; None for standard output."""
        if self._options.file == STANDARD_OUTPUT:
            self._out = StandardOutput()
            return None
        self._out, cursor = await asyncio.to_thread(self._open_file)
        return cursor

    def _open_file(self) -> tuple["Lines", int]:
        lines = self._open_lines(self._options.file)
        try:
            end, cursor = find_end(lines)
            lines.truncate(end)
            lines.sync()
        except BaseException:
            lines.close()
            raise
        return lines, cursor

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
        await asyncio.to_thread(self._write, [txn_text(txn) for txn in txns])
        return txns[-1].zxid

    def _write(self, lines: list[str]) -> None:
        out = self._out
        assert out is not None
        out.append("".join([line + "\n" for line in lines]).encode("utf-8"))
        if self._options.fsync:
            out.sync()

    async def close(self) -> None:
        """Closes the file."""
        out, self._out = self._out, None
        if out is not None:
            await asyncio.to_thread(out.close)


class Lines(Protocol):
    """Where lines go: a file."""

    name: str

    def size(self) -> int:
        """In bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Fewer bytes only at the end."""

    def append(self, data: bytes) -> None:
        """At the end."""

    def truncate(self, size: int) -> None:
        """Cuts."""

    def sync(self) -> None:
        """Returns when all of it, and its name, is on the disk."""

    def close(self) -> None:
        """Nothing more is read or written."""


class FileLines:
    """A file of the operating system, which is made if there is none."""

    def __init__(self, path: str) -> None:
        self.name = path
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._name_is_new = not os.path.exists(path)
        self._file: BinaryIO = open(path, "ab+")  # noqa: SIM115  closed by close()

    def size(self) -> int:
        """See ``Lines``."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        """See ``Lines``."""
        self._file.seek(offset)
        return self._file.read(size)

    def append(self, data: bytes) -> None:
        """See ``Lines``."""
        self._file.write(data)
        self._file.flush()

    def truncate(self, size: int) -> None:
        """See ``Lines``."""
        self._file.truncate(size)

    def sync(self) -> None:
        """See ``Lines``."""
        os.fsync(self._file.fileno())
        if self._name_is_new:
            _sync_folder(self.name)
            self._name_is_new = False

    def close(self) -> None:
        """See ``Lines``."""
        self._file.close()


class StandardOutput:
    """What is printed stays printed."""

    name = STANDARD_OUTPUT

    def size(self) -> int:
        """Nobody looks back."""
        return 0

    def read(self, offset: int, size: int) -> bytes:
        """Nobody looks back."""
        return b""

    def append(self, data: bytes) -> None:
        """At once: whoever reads a pipe wants it now."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def truncate(self, size: int) -> None:
        """It cannot be unsaid."""

    def sync(self) -> None:
        """There is no disk."""

    def close(self) -> None:
        """It is not ours."""


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def find_end(file: Lines) -> tuple[int, int]:
    """The offset behind the last txn or whole snapshot, and its zxid (0 in an empty file).

    Raises ValueError where the file is not one of ours.
    """
    size = file.size()
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


def _begins_like_ours(file: Lines) -> bool:
    """Whether the file may be the beginning of one that a crash has cut, or a power cut has left as zeros."""
    head = file.read(0, 12)
    return (
        head == bytes(len(head))
        or any(head.startswith(mark[: len(head)]) for mark in (b'{"zxid":"0x', b'{"snapshot":'))
        or not head
    )


def _line_start(file: Lines, offset: int) -> int:
    """The start of the line that ``offset`` is in."""
    while offset > 0:
        begin = max(0, offset - _BLOCK_BYTES)
        found = file.read(begin, offset - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        offset = begin
    return 0


def _lines(file: Lines, start: int, size: int) -> Iterator[bytes]:
    """The whole lines from ``start`` on, with their ends."""
    rest = b""
    while start < size:
        part = file.read(start, _BLOCK_BYTES)
        if not part:
            return
        start += len(part)
        *whole, rest = (rest + part).split(b"\n") if b"\n" in part else (rest + part,)
        for line in whole:
            yield line + b"\n"


def _scan(file: Lines, start: int, size: int) -> tuple[int, int]:
    """The end of what is whole and in order from ``start`` on, and its zxid; (start, 0) where nothing is."""
    offset = end = start
    zxid = 0
    for line in _lines(file, start, size):
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
