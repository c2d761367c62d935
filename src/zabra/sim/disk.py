"""SimDisk: the Disk door in memory, with a written fault model.

What a crash does (``crash``, ``after_crash``):

* Content written since the last ``sync`` of a file may be kept, lost, or torn: a write survives up to some
  512-byte boundary.  Several unsynced changes may survive in any combination.  With ``scatter`` the sectors
  of one write survive independently, as on a disk that reorders its cache.
* A name created, renamed or deleted since the last ``sync_folder`` of its folder may be as it was before,
  whatever ``sync`` of the file itself said.
* ``make_folder`` is durable at once (OsDisk fsyncs the parents).

What else can go wrong (``inject``): EIO on any call; ENOSPC; a write of which only the first half happens; an
fsync that fails, after which what it was to write is lost even if a later fsync succeeds; an fsync that
lies; a call that is slow.  At rest: ``flip`` a bit, ``overwrite`` a sector, ``lose_entry``, ``wipe``.

All choices come from the generator given to ``crash``.  After a crash every open file is dead.
"""

import errno
from collections.abc import Callable
from typing import Final, Protocol

SECTOR_BYTES: Final = 512

# Kinds of injected faults.
EIO: Final = "EIO"
ENOSPC: Final = "ENOSPC"
SHORT: Final = "short"
LIE: Final = "lie"
SLOW: Final = "slow"
FAULT_KINDS: Final = (EIO, ENOSPC, SHORT, LIE, SLOW)


class Draws(Protocol):
    """Where random choices come from."""

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound`` - 1."""


class _Content:
    """Bytes of a file; what lies between ``data`` and ``size`` is zeros."""

    __slots__ = ("data", "size")

    def __init__(self, data: bytes = b"", size: int = 0) -> None:
        self.data = bytearray(data)
        self.size = max(size, len(data))

    def copy(self) -> "_Content":
        return _Content(bytes(self.data), self.size)

    def read(self, offset: int, size: int) -> bytes:
        end = self.size if size < 0 else min(self.size, offset + size)
        if end <= offset:
            return b""
        part = bytes(self.data[offset:end])
        return part + bytes(end - offset - len(part))

    def write(self, offset: int, data: bytes) -> None:
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        self.size = max(self.size, offset + len(data))

    def resize(self, size: int) -> None:
        del self.data[size:]
        self.size = size


class _Inode:
    """A file: what processes see, and what is certain to survive a crash."""

    __slots__ = ("content", "durable", "modified_ms", "path")

    def __init__(self, path: str, content: _Content | None = None) -> None:
        self.path = path
        self.content = _Content() if content is None else content
        self.durable = self.content.copy()
        self.modified_ms = 0


class Change:
    """One change that a crash may undo.

    ``number`` orders all changes of a disk; ``kind`` is "write", "resize" or "names"; ``path`` is the file or
    folder concerned; ``data`` what was written.
    """

    __slots__ = ("data", "inode", "kind", "names", "number", "offset", "path", "size")

    def __init__(self, number: int, kind: str, path: str) -> None:
        self.number = number
        self.kind = kind
        self.path = path
        self.inode: _Inode | None = None
        self.offset = 0
        self.data = b""
        self.size = 0
        self.names: list[tuple[str, _Inode | None]] = []

    def __repr__(self) -> str:
        return f"Change({self.number}, {self.kind}, {self.path}, {self.offset}+{len(self.data)})"


# Which changes survive: byte ranges kept of each write, by the change's number; () for other kinds.
Kept = dict[int, list[tuple[int, int]]]


class Fault:
    """What is to go wrong at the next calls of ``operation`` on paths that contain ``path_part``."""

    __slots__ = ("kind", "operation", "path_part", "skip", "times")

    def __init__(self, operation: str, kind: str, path_part: str, skip: int, times: int) -> None:
        self.operation = operation
        self.kind = kind
        self.path_part = path_part
        self.skip = skip
        self.times = times


def folder_of(path: str) -> str:
    """The folder part of a name; "" for the root."""
    return path.rpartition("/")[0]


class SimDiskFile:
    """An open file of a SimDisk."""

    __slots__ = ("_disk", "_generation", "_inode", "_position")

    def __init__(self, disk: "SimDisk", inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._position = 0
        self._generation = disk.generation

    @property
    def path(self) -> str:
        """The file's name now; a rename changes it."""
        return self._inode.path

    def _check(self) -> None:
        if self._generation != self._disk.generation:
            raise OSError(errno.EBADF, "the machine crashed since this file was opened", self.path)

    def write(self, data: bytes) -> None:
        """Appends at the position."""
        self._check()
        kind = self._disk.enter("write", self.path)
        if kind == SHORT:
            data = data[: len(data) // 2]
        if data:
            self._disk.check_room(self._inode.content.size, self._position + len(data), self.path)
            self._inode.content.write(self._position, data)
            change = self._disk.note("write", self.path)
            change.inode = self._inode
            change.offset = self._position
            change.data = bytes(data)
            self._position += len(data)
            self._inode.modified_ms = self._disk.now_ms
        if kind == SHORT:
            raise OSError(errno.ENOSPC, "injected: short write", self.path)
        self._disk.leave("write", self.path)

    def sync(self) -> None:
        """Makes the content durable, unless told to fail or to lie."""
        self._check()
        disk = self._disk
        try:
            kind = disk.enter("sync", self.path)
        except OSError:
            # What was to be written is marked clean all the same, and lost: a retry would "succeed".
            disk.settle(self._inode, durable=False)
            raise
        if kind != LIE:
            disk.settle(self._inode, durable=True)
        disk.leave("sync", self.path)

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int) -> None:
        """Moves the position."""
        self._position = offset

    def preallocate(self, size: int) -> None:
        """Extends with zeros."""
        self._check()
        self._disk.enter("preallocate", self.path)
        if size > self._inode.content.size:
            self._resize(size)
        self._disk.leave("preallocate", self.path)

    def truncate(self, size: int) -> None:
        """Cuts."""
        self._check()
        self._disk.enter("truncate", self.path)
        self._resize(size)
        self._disk.leave("truncate", self.path)

    def _resize(self, size: int) -> None:
        self._disk.check_room(self._inode.content.size, size, self.path)
        self._inode.content.resize(size)
        change = self._disk.note("resize", self.path)
        change.inode = self._inode
        change.size = size
        self._inode.modified_ms = self._disk.now_ms

    def close(self) -> None:
        """Nothing to do: closing makes nothing durable."""


class SimDisk:
    """A folder tree in memory.

    ``now_ms`` is the wall clock of ``modified_ms``; the driver sets it.  ``capacity_bytes`` bounds the
    sum of file sizes (0: no bound).  ``delay_ms`` adds up the time that slow calls took; the driver takes and
    resets it.  ``before`` and ``after`` are called around every operation with its name and path: ``before``
    may raise OSError.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.capacity_bytes = 0
        self.delay_ms = 0
        self.slow_ms = 10_000
        self.generation = 0
        self.before: Callable[[str, str], None] | None = None
        self.after: Callable[[str, str], None] | None = None
        self.counts: dict[str, int] = {}
        self._files: dict[str, _Inode] = {}
        self._durable_files: dict[str, _Inode] = {}
        self._folders: dict[str, None] = {"": None}
        self._changes: list[Change] = []
        self._next_number = 0
        self._faults: list[Fault] = []

    # Faults.

    def inject(
        self, operation: str, kind: str, path_part: str = "", *, skip: int = 0, times: int = 1
    ) -> None:
        """Makes the next calls of ``operation`` go wrong, after ``skip`` calls that do not."""
        if kind not in FAULT_KINDS:
            raise ValueError(f"unknown kind of fault {kind}")
        self._faults.append(Fault(operation, kind, path_part, skip, times))

    def clear_faults(self) -> None:
        """Nothing more goes wrong than what already has."""
        self._faults = []
        self.delay_ms = 0

    def enter(self, operation: str, path: str) -> str:
        """Begins an operation: raises the OSError due, or returns the kind of a milder fault."""
        self.counts[operation] = self.counts.get(operation, 0) + 1
        if self.before is not None:
            self.before(operation, path)
        for fault in self._faults:
            if fault.operation != operation or fault.path_part not in path:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            return self._go_wrong(fault.kind, operation, path)
        return ""

    def _go_wrong(self, kind: str, operation: str, path: str) -> str:
        if kind == EIO:
            raise OSError(errno.EIO, f"injected: {operation} fails", path)
        if kind == ENOSPC or (kind == SHORT and operation != "write"):
            raise OSError(errno.ENOSPC, f"injected: {operation} finds no room", path)
        if kind == SLOW:
            self.delay_ms += self.slow_ms
            return ""
        return kind

    def leave(self, operation: str, path: str) -> None:
        """Ends an operation."""
        if self.after is not None:
            self.after(operation, path)

    def check_room(self, old_size: int, new_size: int, path: str) -> None:
        """Raises ENOSPC if a file may not grow that far."""
        if self.capacity_bytes and new_size > old_size:
            used = sum(inode.content.size for inode in self._files.values())
            if used + new_size - old_size > self.capacity_bytes:
                raise OSError(errno.ENOSPC, "no space left on the simulated disk", path)

    def flip(self, path: str, offset: int, mask: int = 0xFF) -> None:
        """Bit rot: one byte of a file, wherever it is stored."""
        byte = self._files[path].content.read(offset, 1)[0] ^ mask
        self.overwrite(path, offset, bytes((byte,)))

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Puts other bytes in place (a zeroed, stale or misdirected sector); the size does not change."""
        inode = self._files[path]
        for content in (inode.content, inode.durable):
            part = data[: max(0, content.size - offset)]
            if part:
                content.write(offset, part)

    def lose_entry(self, path: str) -> None:
        """A name disappears from its folder."""
        self._files.pop(path, None)
        self._durable_files.pop(path, None)

    def wipe(self) -> None:
        """The whole disk is lost and replaced by an empty one."""
        self.generation += 1
        self._files = {}
        self._durable_files = {}
        self._folders = {"": None}
        self._changes = []

    # Crashes.

    def note(self, kind: str, path: str) -> Change:
        """Records a change that is not durable yet."""
        change = Change(self._next_number, kind, path)
        self._next_number += 1
        self._changes.append(change)
        return change

    def settle(self, inode: _Inode, durable: bool) -> None:
        """Ends the uncertainty about a file's content: it is durable, or it never will be."""
        if durable:
            for change in self._changes:
                if change.inode is inode:
                    _apply(change, inode.durable, [(0, len(change.data))])
        self._changes = [change for change in self._changes if change.inode is not inode]

    def changes(self) -> list[Change]:
        """What a crash now could undo, oldest first."""
        return list(self._changes)

    def after_crash(self, kept: Kept) -> "SimDisk":
        """What the machine finds after a crash in which exactly ``kept`` survived; this disk is unchanged."""
        out = SimDisk()
        out._folders = dict(self._folders)
        names = dict(self._durable_files)
        contents: dict[_Inode, _Content] = {}
        for change in self._changes:
            if change.number not in kept:
                continue
            if change.kind == "names":
                for path, inode in change.names:
                    if inode is None:
                        names.pop(path, None)
                    else:
                        names[path] = inode
            elif change.inode is not None:
                content = contents.get(change.inode) or change.inode.durable.copy()
                contents[change.inode] = content
                _apply(change, content, kept[change.number])
        copies: dict[_Inode, _Inode] = {}
        for path, inode in names.items():
            copy = copies.get(inode)
            if copy is None:
                copy = _Inode(path, contents.get(inode) or inode.durable.copy())
                copy.modified_ms = inode.modified_ms
                copies[inode] = copy
            out._files[path] = copy
        out._durable_files = dict(out._files)
        return out

    def crash(self, draws: Draws, scatter: bool = False) -> Kept:
        """The machine loses power: picks what survives, and becomes that; returns the choice."""
        kept = choose_kept(self._changes, draws, scatter)
        found = self.after_crash(kept)
        self.generation += 1
        self._files = found._files
        self._durable_files = found._durable_files
        self._changes = []
        self._faults = []
        return kept

    def durable(self, name: str) -> bytes:
        """What of a file is certain to be found after a crash; nothing where its name is not."""
        inode = self._durable_files.get(name)
        return b"" if inode is None else inode.durable.read(0, -1)

    # The Disk door.

    def list(self, folder: str) -> "list[str]":
        """Names in ``folder``, sorted."""
        self.enter("list", folder)
        prefix = f"{folder}/" if folder else ""
        names = {path[len(prefix) :]: None for path in self._files if path.startswith(prefix)}
        names.update({path[len(prefix) :]: None for path in self._folders if path.startswith(prefix)})
        return sorted(name for name in names if name and "/" not in name)

    def exists(self, name: str) -> bool:
        """Whether the file or folder exists."""
        return name in self._files or name in self._folders

    def _find(self, name: str) -> _Inode:
        inode = self._files.get(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return inode

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._find(name).content.size

    def modified_ms(self, name: str) -> int:
        """When the file was last changed."""
        return self._find(name).modified_ms

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        """``size`` bytes from ``offset``."""
        self.enter("read", name)
        return self._find(name).content.read(offset, size)

    def create(self, name: str) -> SimDiskFile:
        """Creates a file, or empties the one there is."""
        self.enter("create", name)
        folder = folder_of(name)
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
        old = self._files.get(name)
        if old is not None:
            file = SimDiskFile(self, old)
            old.content.resize(0)
            change = self.note("resize", name)
            change.inode = old
        else:
            inode = _Inode(name)
            inode.modified_ms = self.now_ms
            self._files[name] = inode
            self.note("names", folder).names = [(name, inode)]
            file = SimDiskFile(self, inode)
        self.leave("create", name)
        return file

    def open(self, name: str) -> SimDiskFile:
        """Opens an existing file."""
        self.enter("open", name)
        return SimDiskFile(self, self._find(name))

    def rename(self, old: str, new: str) -> None:
        """Replaces ``new`` by ``old``."""
        self.enter("rename", old)
        inode = self._find(old)
        del self._files[old]
        self._files[new] = inode
        inode.path = new
        self.note("names", folder_of(new)).names = [(old, None), (new, inode)]
        self.leave("rename", new)

    def delete(self, name: str) -> None:
        """Removes a file."""
        self.enter("delete", name)
        self._find(name)
        del self._files[name]
        self.note("names", folder_of(name)).names = [(name, None)]
        self.leave("delete", name)

    def make_folder(self, name: str) -> None:
        """Creates a folder and its parents."""
        self.enter("make_folder", name)
        while name:
            self._folders[name] = None
            name = folder_of(name)
        self.leave("make_folder", name)

    def sync_folder(self, name: str) -> None:
        """Makes the names in a folder durable."""
        kind = self.enter("sync_folder", name)
        if kind != LIE:
            for change in self._changes:
                if change.kind == "names" and change.path == name:
                    for path, inode in change.names:
                        if inode is None:
                            self._durable_files.pop(path, None)
                        else:
                            self._durable_files[path] = inode
            self._changes = [c for c in self._changes if c.kind != "names" or c.path != name]
        self.leave("sync_folder", name)


def _apply(change: Change, content: _Content, ranges: list[tuple[int, int]]) -> None:
    """Does to ``content`` what survived of a change."""
    if change.kind == "resize":
        content.resize(change.size)
    for start, end in ranges:
        if change.kind == "write" and end > start:
            content.write(change.offset + start, change.data[start:end])


def sector_cuts(change: Change) -> list[int]:
    """How many bytes of a write survive when it is torn at each of its sector boundaries."""
    first = SECTOR_BYTES - change.offset % SECTOR_BYTES
    return list(range(first, len(change.data), SECTOR_BYTES))


def choose_kept(changes: list[Change], draws: Draws, scatter: bool = False) -> Kept:
    """Draws what survives: nothing, everything, a prefix with the next write torn, or any combination."""
    mode = draws.below(4)
    if mode == 0:
        return {}
    if mode == 1:
        return {change.number: [(0, len(change.data))] for change in changes}
    kept: Kept = {}
    prefix = draws.below(len(changes) + 1)
    for i, change in enumerate(changes):
        whole = i < prefix if mode == 2 else draws.below(2) == 0
        if whole:
            kept[change.number] = [(0, len(change.data))]
        elif change.kind == "write" and (mode == 3 or i == prefix):
            ranges = _torn(change, draws, scatter)
            if ranges:
                kept[change.number] = ranges
    return kept


def _torn(change: Change, draws: Draws, scatter: bool) -> list[tuple[int, int]]:
    cuts = [0, *sector_cuts(change)]
    if not scatter:
        end = cuts[draws.below(len(cuts))]
        return [(0, end)] if end else []
    ends = [*cuts[1:], len(change.data)]
    return [(start, end) for start, end in zip(cuts, ends, strict=True) if draws.below(2)]
