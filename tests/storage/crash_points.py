"""Crash points: runs workloads on a SimDisk and looks at every state that a power cut could leave behind.

After each operation that changes the disk, ``Enumerator`` builds the states of the disk after a crash right
there, recovers each of them as a server's start would, and compares with what was promised by then.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from tests.storage.folders import FOLDER, Applied, log_txns, new_store, options, simple_txn

import zabra
from zabra.server.recovery import Recovered, recover, recover_epochs
from zabra.sim.disk import Change, Kept, SimDisk, sector_cuts
from zabra.storage.epochs import Epochs
from zabra.storage.errors import StorageError
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.datatree import DataTree

MAX_SUBSET = 8
SOURCE = Path(zabra.__file__).parent
# Operations that change a disk, and what the Disk and its files are called where they are asked for.
CHANGES = (
    *("create", "write", "sync", "preallocate", "truncate", "rename", "delete"),
    *("make_folder", "sync_folder"),
)
OWNERS = ("disk", "_disk", "_disk_log", "file", "_file", "handle")
Fingerprint = tuple[object, ...]


def fingerprint(tree: DataTree) -> Fingerprint:
    """What two trees must share to be called the same."""
    acls = tuple((path, repr(tree.acl_of(node))) for path, node in sorted(tree.nodes.items()))
    return (tree.digest, acls, tuple(sorted(tree.sessions.items())), tuple(sorted(tree.ephemerals.ttls)))


class History:
    """A sequence of txns: the tree at each of its zxids, and each txn's place."""

    def __init__(self, applied: Applied, base_zxid: int = 0) -> None:
        tree = Applied().tree
        self.at: dict[int, Fingerprint] = {base_zxid: fingerprint(tree)}
        for entry in applied.entries:
            tree.process_txn(entry.header, entry.record)
            self.at[entry.header.zxid] = fingerprint(tree)


class Allowed:
    """One outcome that recovery may have: a history, ended anywhere from ``low`` to ``high``."""

    def __init__(self, history: History, low: int, high: int) -> None:
        self.history = history
        self.low = low
        self.high = high

    def permits(self, zxid: int, tree: DataTree) -> bool:
        if not self.low <= zxid <= self.high:
            return False
        expected = self.history.at.get(zxid)
        return expected is not None and expected == fingerprint(tree)


class Promises:
    """What a server has promised so far; the workload keeps it up to date."""

    def __init__(self) -> None:
        self.outcomes: list[Allowed] = []
        self.accepted: tuple[int, ...] = (0,)
        self.current: tuple[int, ...] = (0,)
        self.config: tuple[bytes, ...] = ()

    def history(self, history: History, low: int, high: int) -> None:
        """Only this may be found."""
        self.outcomes = [Allowed(history, low, high)]

    def either(self, history: History, low: int, high: int) -> None:
        """This may be found as well."""
        self.outcomes.append(Allowed(history, low, high))


def site_of_caller() -> str:
    """Which function of ours asked for the operation: module.function; "workload" if none did."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(("zabra.storage.", "zabra.server.")):
            return f"{name.removeprefix('zabra.')}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "workload"


def kept_choices(changes: list[Change]) -> Iterator[Kept]:
    """All that may survive of unsynced changes, each choice once; see ``_choices``."""
    seen: dict[str, None] = {}
    for kept in _choices(changes):
        key = repr(sorted(kept.items()))
        if key not in seen:
            seen[key] = None
            yield kept


def _choices(changes: list[Change]) -> Iterator[Kept]:
    """All, none, the last write torn at each sector, each combination of up to 8, one kind of change lost."""

    def whole(change: Change) -> list[tuple[int, int]]:
        return [(0, len(change.data))]

    everything = {change.number: whole(change) for change in changes}
    yield dict(everything)
    if not changes:
        return
    yield {}
    writes = [change for change in changes if change.kind == "write"]
    if writes:
        last = writes[-1]
        for cut in sector_cuts(last):
            yield everything | {last.number: [(0, cut)]}
            yield {last.number: [(0, cut)]}
    some = changes[-MAX_SUBSET:]
    for mask in range(1, (1 << len(some)) - 1):
        base = {c.number: whole(c) for c in changes[: -len(some)]}
        yield base | {c.number: whole(c) for i, c in enumerate(some) if mask >> i & 1}
    for kind in ("names", "write", "resize"):
        yield {c.number: whole(c) for c in changes if c.kind != kind}


class ViolationFound(Exception):
    """A state that breaks a promise, for those who only ask whether there is one."""


class Enumerator:
    """Counts states, operations and violations over all workloads."""

    def __init__(self, stop_at_first: bool = False) -> None:
        self.stop_at_first = stop_at_first
        self.states = 0
        self.recoveries = 0
        self.nested = 0
        self.sites: dict[str, int] = {}
        self.violations: list[str] = []
        self._seen: dict[tuple[object, ...], None] = {}

    def run(self, name: str, workload: Callable[[SimDisk, Promises], None]) -> None:
        """Runs one workload with a crash after every operation."""
        disk = SimDisk()
        self.watch(name, disk, workload)

    def watch(self, name: str, disk: SimDisk, workload: Callable[[SimDisk, Promises], None]) -> None:
        """The same on a disk that the caller has prepared."""
        promises = Promises()

        def after(operation: str, path: str) -> None:
            site = self._count_site(operation)
            if promises.outcomes:
                self.look(disk, promises, f"{name} after {site} {path}", deep=True)

        disk.after = after
        workload(disk, promises)
        disk.after = None

    def _count_site(self, operation: str) -> str:
        site = f"{site_of_caller()} {operation}"
        self.sites[site] = self.sites.get(site, 0) + 1
        return site

    def look(self, disk: SimDisk, promises: Promises, where: str, deep: bool) -> None:
        """Recovers every state that a crash now could leave."""
        for kept in kept_choices(disk.changes()):
            self.states += 1
            found = disk.after_crash(kept)
            key = (_content(found), tuple((o.history, o.low, o.high) for o in promises.outcomes))
            key += (promises.accepted, promises.current, promises.config)
            if key in self._seen:
                continue
            self._seen[key] = None
            self.recoveries += 1
            if deep and self.recoveries % 7 == 0:
                self._crash_while_recovering(found.after_crash({}), promises, where)
            problem = check(found, promises)
            if problem:
                self._violated(f"{where}, kept {kept}: {problem}")

    def _violated(self, what: str) -> None:
        self.violations.append(what)
        if self.stop_at_first:
            raise ViolationFound(what)

    def _crash_while_recovering(self, disk: SimDisk, promises: Promises, where: str) -> None:
        """Recovery changes the disk too; a second crash must not make matters worse."""

        def after(operation: str, path: str) -> None:
            self.nested += 1
            self._count_site(operation)
            self.look(disk, promises, f"{where}, then recovering after {operation} {path}", deep=False)

        disk.after = after
        try:
            recover(new_store(disk), disk, options())
        except StorageError as error:
            self._violated(f"{where}: {error}")


# Only reached once something has gone wrong already.
AFTER_A_FAULT = ("storage.txnlog._cut_back truncate",)


def sites_in_source() -> dict[str, None]:
    """Every place in storage and recovery that asks a Disk for a change: "module.function operation".

    Less those in ``AFTER_A_FAULT``.
    """
    out: dict[str, None] = {}
    for module in sorted((*SOURCE.glob("storage/*.py"), SOURCE / "server/recovery.py")):
        if module.name == "disk.py":
            continue
        name = ".".join(module.relative_to(SOURCE).with_suffix("").parts)
        for function in ast.walk(ast.parse(module.read_text())):
            if isinstance(function, ast.FunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                        owner = ast.unparse(call.func.value).rpartition(".")[2]
                        if call.func.attr in CHANGES and owner in OWNERS:
                            out[f"{name}.{function.name} {call.func.attr}"] = None
    return {site: None for site in out if site not in AFTER_A_FAULT}


def _content(disk: SimDisk) -> tuple[object, ...]:
    return tuple((name, disk.read(f"{FOLDER}/{name}")) for name in disk.list(FOLDER))


def check(disk: SimDisk, promises: Promises) -> str:
    """What is wrong with the state of a disk after a crash; "" if a server may start from it."""
    store = new_store(disk)
    try:
        found = recover(store, disk, options())
        if not any(allowed.permits(found.last_zxid, found.tree) for allowed in promises.outcomes):
            wanted = [f"0x{a.low:x}..0x{a.high:x}" for a in promises.outcomes]
            return f"found 0x{found.last_zxid:x}, or another tree at it; promised {wanted}"
        left = _of_another_history(store, found, promises)
        if left:
            return f"found 0x{found.last_zxid:x}, and the log has {left} of another history"
        recover_epochs(Epochs(disk, FOLDER), found)
    except StorageError as error:
        return f"refused: {error}"
    if found.accepted_epoch not in promises.accepted or found.current_epoch not in promises.current:
        return f"epochs {found.accepted_epoch}, {found.current_epoch}"
    if promises.config:
        config = disk.read(f"{FOLDER}/zoo.cfg.dynamic") if disk.exists(f"{FOLDER}/zoo.cfg.dynamic") else b""
        if config not in promises.config:
            return f"config file holds {config!r}"
    return _goes_on(store, found.last_zxid, disk)


def _of_another_history(store: FileTxnSnapLog, found: Recovered, promises: Promises) -> list[str]:
    """What publishers and learners would be given of the log and must not be."""
    zxids = [zxid for zxid, _ in store.log.read_from(0)]
    left: list[str] = []
    for allowed in promises.outcomes:
        if allowed.permits(found.last_zxid, found.tree):
            left = [hex(zxid) for zxid in zxids if zxid not in allowed.history.at]
            if not left:
                return []
    return left


def _goes_on(store: FileTxnSnapLog, last_zxid: int, disk: SimDisk) -> str:
    """A recovered server must be able to log, and to come back from that."""
    zxid = ((last_zxid >> 32) + 1 << 32) + 1
    store.append(zxid, simple_txn(zxid))
    store.sync()
    try:
        again = recover(new_store(disk.after_crash({})), disk, options())
    except StorageError as error:
        return f"refused after going on: {error}"
    return "" if again.last_zxid == zxid else f"after going on: found 0x{again.last_zxid:x}"


class Peer:
    """A server as a workload plays it: its store, its tree, and what it has promised."""

    def __init__(self, disk: SimDisk, promises: Promises) -> None:
        self.disk = disk
        self.promises = promises
        self.applied = Applied()
        self.low = 0
        # The zxids of txns to come must be known to the histories before they are written.
        self.history = History(self.applied)
        promises.history(self.history, 0, 0)
        self.epochs = Epochs(disk, FOLDER)
        self.store = new_store(disk)
        recover_epochs(self.epochs, recover(self.store, disk, options()))
        self.enter_epoch(1)

    def log(self, count: int) -> None:
        """Logs and syncs ``count`` more txns."""
        entries = self.applied.some(count)
        self.history = History(self.applied)
        self.promises.history(self.history, self.low, entries[-1].header.zxid)
        log_txns(self.store, entries)
        self.low = entries[-1].header.zxid
        self.promises.history(self.history, self.low, self.low)

    def enter_epoch(self, epoch: int) -> None:
        """Accepts an epoch, then makes it current; the next txn is its first."""
        epochs = self.epochs
        before = self.promises.accepted[-1], self.promises.current[-1]
        self.promises.accepted = (before[0], epoch)
        epochs.save_accepted(epoch)
        self.promises.accepted = (epoch,)
        self.promises.current = (before[1], epoch)
        epochs.save_current(epoch)
        self.promises.current = (epoch,)
        self.applied.leader.zxid = epoch << 32
