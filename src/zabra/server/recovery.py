"""Recovery: from the files of a data folder to a tree, a last zxid and the epochs.

Newest whole snapshot, then every txn behind it.  ``Recovery`` works in slices, so that a driver can report
progress and stay responsive; ``recover`` runs it to its end.  Source: upstream ``FileTxnSnapLog.restore``,
``QuorumPeer.loadDataBase``, ``ZKDatabase``.  Stricter than upstream (docs/adr/0022):

* a gap between snapshot and log, or inside the log, is refused, not skipped;
* when the newest snapshot is damaged and an older one serves, the log must reach at least as far as the name
  of the damaged one says the history went;
* a folder with damaged snapshots and no log is refused, not taken for an empty one;
* a fuzzy snapshot that holds more than the log gives back is passed over for an older one.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import JuteError
from zabra.proto.txn import DIGEST_VERSION, TxnEntry, decode_txn
from zabra.storage.disk import Disk
from zabra.storage.epochs import Epochs
from zabra.storage.errors import (
    DataFolderError,
    EpochError,
    NoSnapshotError,
    RottenLogError,
    SnapshotError,
    StorageError,
)
from zabra.storage.log_reader import LogReader
from zabra.storage.names import VERSION_FOLDER, log_zxid, split_snapshot_name
from zabra.storage.snapshots import FileSnap, SnapshotFile, SnapshotReader
from zabra.storage.txnlog import DEFAULT_PREALLOCATE_BYTES, FileTxnLog
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.acl_trail import AclTrail
from zabra.tree.datatree import DataTree
from zabra.tree.ephemerals import EphemeralTypes
from zabra.tree.snapshot_walk import TreeLoader, serialize_tree

INITIALIZE_FILE: Final = "initialize"
# An empty folder that may be one that lost its data: such a server must not vote.
UNKNOWN_ZXID: Final = -1

_CHOOSE: Final = 0
_LOAD: Final = 1
_REPLAY: Final = 2
_DONE: Final = 3


class RecoveryOptions:
    """What configuration says about recovery; defaults are upstream's.

    digest_enabled: keep and compare tree digests.
    trust_empty_snapshot: replay logs although there is no snapshot (``snapshot.trust.empty``).
    autocreate_db: an empty folder is a new database (``db.autocreate``).
    trust_gaps: replay over missing txns; only to save what is left of a damaged folder.
    refuse_wrong_digest: refuse a folder whose replay gives other digests than the log says.  Upstream goes on
    and counts.  For a member of an ensemble, which can get its data from the others.
    recent_limit: how many of the last txns to keep for ``Recovered.recent`` (``commitLogCount``).
    keep_acl_trail: the tree notes the ACLs that it had.
    """

    def __init__(self) -> None:
        self.types: EphemeralTypes | None = None
        self.digest_enabled: bool = True
        self.trust_empty_snapshot: bool = False
        self.autocreate_db: bool = True
        self.trust_gaps: bool = False
        self.refuse_wrong_digest: bool = False
        self.recent_limit: int = 500
        self.keep_acl_trail: bool = False


class Recovered:
    """What a server starts from.

    last_zxid: of the history; -1 if the folder is empty and may not be trusted to be new.
    accepted_epoch, current_epoch: -1 unless ``recover_epochs`` was asked for them.
    recent: the last replayed txns, in order, for the committed log.
    snapshot_path, snapshot_zxid: what it was loaded from; "" and -1 if there was none.
    damaged: (path, reason) of each snapshot passed over.
    fuzzy_zxid: above ``last_zxid`` if the snapshot holds parts of txns up to that one which the log does not
    give back, and no older snapshot would do: the tree is exact only once the leader has sent them.
    """

    def __init__(self, tree: DataTree) -> None:
        self.tree: DataTree = tree
        self.last_zxid: i64 = UNKNOWN_ZXID
        self.accepted_epoch: i64 = -1
        self.current_epoch: i64 = -1
        self.recent: list[TxnEntry] = []
        self.snapshot_path: str = ""
        self.snapshot_zxid: i64 = -1
        self.damaged: list[tuple[str, str]] = []
        self.txns_replayed: i64 = 0
        self.duplicates: i64 = 0
        self.fuzzy_zxid: i64 = 0


def open_store(
    disk_data: Disk,
    disk_log: Disk,
    *,
    autocreate_folders: bool = True,
    preallocate_bytes: int = DEFAULT_PREALLOCATE_BYTES,
    log_size_limit_bytes: int = 0,
    force_sync: bool = True,
    compression_method: str = "",
    with_digest: bool = True,
    with_last_zxid: bool = True,
) -> FileTxnSnapLog:
    """Log and snapshots of a server, after checking their folders (``version-2`` in each disk).

    Give the same Disk twice when dataLogDir is dataDir.  Raises DataFolderError when a folder is missing and
    ``datadir.autocreate`` is off, or when logs and snapshots stand in each other's folder (ZOOKEEPER-2967).
    """
    for disk in (disk_log, disk_data):
        if not disk.exists(VERSION_FOLDER):
            if not autocreate_folders:
                raise DataFolderError(
                    f"missing folder {VERSION_FOLDER}, and datadir.autocreate is false: create it yourself"
                )
            disk.make_folder(VERSION_FOLDER)
    if disk_data is not disk_log:
        for name in disk_log.list(VERSION_FOLDER):
            if split_snapshot_name(name)[0] >= 0:
                raise DataFolderError(f"log folder has snapshot {name}: are dataDir and dataLogDir right?")
        for name in disk_data.list(VERSION_FOLDER):
            if log_zxid(name) >= 0:
                raise DataFolderError(f"snapshot folder has log {name}: are dataDir and dataLogDir right?")
    log = FileTxnLog(
        disk_log,
        VERSION_FOLDER,
        preallocate_bytes=preallocate_bytes,
        size_limit_bytes=log_size_limit_bytes,
        force_sync=force_sync,
    )
    snaps = FileSnap(
        disk_data,
        VERSION_FOLDER,
        compression_method=compression_method,
        with_digest=with_digest,
        with_last_zxid=with_last_zxid,
    )
    return FileTxnSnapLog(log, snaps)


class Recovery:
    """Recovers in slices: call ``step`` until it returns False, then take ``result``.

    ``disk_log`` holds the ``initialize`` file, in its root.  ``nodes_loaded``, ``bytes_loaded`` of
    ``bytes_total`` and ``txns_replayed`` tell how far it is.
    """

    def __init__(self, store: FileTxnSnapLog, disk_log: Disk, options: RecoveryOptions) -> None:
        self._store = store
        self._disk_log: Disk = disk_log
        self._options: RecoveryOptions = options
        self._phase: int = _CHOOSE
        self._candidates: list[SnapshotFile] = []
        self._next_candidate: int = 0
        self._opened: bool = False
        self._file: SnapshotFile | None = None
        self._reader: SnapshotReader | None = None
        self._loader: TreeLoader = TreeLoader()
        self._log_reader: LogReader | None = None
        # Up to which zxid the body of the snapshot being used may reach.
        self._reach: i64 = 0
        # The snapshot's digest is not the tree's.  Upstream writes such ones when a txn is being applied
        # while the snapshot ends; the digest of the next txn in the log then tells whether all is well.
        self._differs: bool = False
        # The newest snapshot that was whole, but reaches beyond the log: the last resort.
        self._last_resort: SnapshotFile | None = None
        self._damaged: list[tuple[str, str]] = []
        # The highest zxid that a snapshot passed over says the history reached.
        self._damaged_zxid: i64 = -1
        # One of them was not that of an empty database.
        self._had_history: bool = False
        self._recent: list[TxnEntry] = []
        self.result: Recovered | None = None
        self.nodes_loaded: i64 = 0
        self.bytes_loaded: i64 = 0
        self.bytes_total: i64 = 0
        self.txns_replayed: i64 = 0

    def step(self) -> bool:
        """Does the next slice, of a MiB or so; False when it has finished.  Raises StorageError, OSError."""
        if self._phase == _CHOOSE:
            self._choose()
        elif self._phase == _LOAD:
            self._load_slice()
        elif self._phase == _REPLAY:
            self._replay_slice()
        return self._phase != _DONE

    def progress(self) -> str:
        """One line for people."""
        if self._phase == _LOAD and self._file is not None:
            mib = 1024 * 1024
            return (
                f"loading {self._file.name}: {self.nodes_loaded} nodes, "
                f"{self.bytes_loaded // mib} of {self.bytes_total // mib} MiB"
            )
        if self._phase == _REPLAY:
            return f"replayed {self.txns_replayed} txns"
        return "done" if self._phase == _DONE else "looking for a snapshot"

    # Choosing and loading a snapshot.

    def _choose(self) -> None:
        if not self._opened:
            self._opened = True
            self._store.settle_names()
            self._store.snaps.remove_unfinished()
            self._store.finish_adopting()
            self._store.log.open()
            self._find_candidates()
        if self._next_candidate < len(self._candidates):
            self._start_loading(self._candidates[self._next_candidate])
            self._next_candidate += 1
        elif self._last_resort is not None:
            self._start_loading(self._last_resort)
        else:
            self._start_without_snapshot()

    def _find_candidates(self) -> None:
        self._candidates = self._store.snaps.candidates()
        names = [file.name for file in self._candidates]
        for file in self._store.snaps.files():
            if file.name not in names:
                self._note_damaged(file, "cut short")

    def _note_damaged(self, file: SnapshotFile, reason: str) -> None:
        self._damaged.append((file.path, reason))
        if file.zxid > 0:
            self._had_history = True
        # A new leader's first snapshot bears the bare epoch: no txn has that zxid.
        if file.zxid & 0xFFFFFFFF != 0 and file.zxid > self._damaged_zxid:
            self._damaged_zxid = file.zxid

    def _start_loading(self, file: SnapshotFile) -> None:
        self._file = file
        self._reader = self._store.snaps.reader(file)
        self._loader = TreeLoader(self._options.types, self._options.digest_enabled)
        self.nodes_loaded = 0
        self.bytes_loaded = 0
        self.bytes_total = file.size
        self._phase = _LOAD

    def _load_slice(self) -> None:
        reader = self._reader
        file = self._file
        assert reader is not None
        assert file is not None
        loader = self._loader
        try:
            piece = reader.more()
            loader.feed(piece)
            reader.used(len(piece) - len(loader.leftover), loader.done)
            self.nodes_loaded = len(loader.tree.nodes)
            self.bytes_loaded = reader.bytes_read
            if not loader.done:
                return
            reader.finish()
        except SnapshotError as error:
            self._give_up(file, str(error))
            return
        except JuteError as error:
            self._give_up(file, f"{file.path}: {error}")
            return
        self._loaded(file, reader)

    def _give_up(self, file: SnapshotFile, reason: str) -> None:
        self._note_damaged(file, reason)
        self._phase = _CHOOSE

    def _loaded(self, file: SnapshotFile, reader: SnapshotReader) -> None:
        tree = self._loader.tree
        tree.last_processed_zxid = file.zxid
        self._reach = max(file.zxid, reader.last_zxid)
        self._differs = False
        digest = reader.digest
        if digest is not None and digest.version == DIGEST_VERSION:
            self._reach = max(self._reach, digest.zxid)
            if digest.zxid == file.zxid and file.zxid > 0:
                self._differs = tree.digest_enabled and tree.digest != digest.digest
            else:
                tree.expect_snapshot_digest(digest.zxid, digest.digest, file.zxid)
        self._start_replay(tree, file)

    # No snapshot.

    def _start_without_snapshot(self) -> None:
        options = self._options
        log = self._store.log
        if log.last_zxid >= 0:
            if not options.trust_empty_snapshot:
                raise NoSnapshotError(
                    "there are txn logs, but no snapshot that could be loaded" + self._damage_text()
                )
            self._start_replay(DataTree(options.types, options.digest_enabled), None)
            return
        if self._had_history:
            raise NoSnapshotError("no snapshot could be loaded" + self._damage_text())
        tree = DataTree(options.types, options.digest_enabled)
        self._keep_acl_trail(tree)
        if options.autocreate_db or self._disk_log.exists(INITIALIZE_FILE):
            self._store.snaps.save(0, [serialize_tree(tree)], 0, 0)
            self._finish(tree, None, 0)
        else:
            tree.last_processed_zxid = UNKNOWN_ZXID
            self._finish(tree, None, UNKNOWN_ZXID)

    def _damage_text(self) -> str:
        if not self._damaged:
            return ""
        return ": " + "; ".join([f"{path} ({reason})" for path, reason in self._damaged[:3]])

    # Replay.

    def _keep_acl_trail(self, tree: DataTree) -> None:
        if self._options.keep_acl_trail:
            tree.acl_trail = AclTrail(tree.last_processed_zxid)

    def _start_replay(self, tree: DataTree, file: SnapshotFile | None) -> None:
        self._keep_acl_trail(tree)
        self._file = file
        self._loader.tree = tree
        self._recent = []
        self.txns_replayed = 0
        start = 1 if file is None else file.zxid + 1
        self._log_reader = self._store.log.reader(start, trust_gaps=self._options.trust_gaps)
        self._phase = _REPLAY

    def _replay_slice(self) -> None:
        reader = self._log_reader
        assert reader is not None
        tree = self._loader.tree
        recent = self._recent
        try:
            entries = reader.next_slice()
        except StorageError:
            if self._last_resort is None:
                raise
            self._use_last_resort()
            return
        for entry in entries:
            try:
                txn = decode_txn(entry.raw)
                tree.process_txn(txn.header, txn.record)
            except JuteError as error:
                raise RottenLogError(reader.path, entry.offset, f"unreadable txn: {error}") from error
            tree.compare_digest(txn.digest)
            recent.append(txn)
            self.txns_replayed += 1
        if len(recent) > self._options.recent_limit:
            del recent[: len(recent) - self._options.recent_limit]
        if reader.done:
            self._replayed(reader, tree)

    def _use_last_resort(self) -> None:
        """An older snapshot was only tried because a newer one may be inexact, and it will not do."""
        self._next_candidate = len(self._candidates)
        self._phase = _CHOOSE

    def _replayed(self, reader: LogReader, tree: DataTree) -> None:
        self._store.log.mend_ends(reader.bad_ends)
        file = self._file
        last: i64 = tree.last_processed_zxid
        newer = self._last_resort
        if newer is not None and file is not newer and last < newer.zxid:
            self._use_last_resort()
            return
        if last < self._damaged_zxid and not self._options.trust_gaps:
            raise NoSnapshotError(
                f"the log ends at 0x{last:x}, but a snapshot was taken at 0x{self._damaged_zxid:x}"
                + self._damage_text()
            )
        if tree.digest_mismatches > 0 and self._options.refuse_wrong_digest:
            # A log file that is missing between two epochs shows only here.
            raise NoSnapshotError(
                f"replaying the log gives another tree than its {tree.digest_mismatches} digests say: "
                "a log file is missing, or the snapshot is wrong.  With an empty folder this server gets its "
                "data from the others; digest.enabled=false starts it as it is" + self._damage_text()
            )
        if file is not None and self._reach > last and file is not self._last_resort:
            if self._last_resort is None:
                self._last_resort = file
            self._damaged.append((file.path, f"reaches to 0x{self._reach:x}, beyond the log"))
            self._phase = _CHOOSE
            return
        self._finish(tree, file, last)

    def _finish(self, tree: DataTree, file: SnapshotFile | None, last_zxid: i64) -> None:
        if self._differs and self.txns_replayed == 0:
            tree.digest_mismatches += 1
        if self._disk_log.exists(INITIALIZE_FILE):
            self._disk_log.delete(INITIALIZE_FILE)
            self._disk_log.sync_folder("")
        out = Recovered(tree)
        out.last_zxid = last_zxid
        out.recent = self._recent
        out.damaged = self._damaged
        out.txns_replayed = self.txns_replayed
        if file is not None:
            out.snapshot_path = file.path
            out.snapshot_zxid = file.zxid
            if self._reach > last_zxid:
                out.fuzzy_zxid = self._reach
        if self._log_reader is not None:
            out.duplicates = self._log_reader.duplicates
        if last_zxid > self._store.log.last_zxid:
            self._store.log.continue_from(last_zxid)
        self.result = out
        self._phase = _DONE


def recover(store: FileTxnSnapLog, disk_log: Disk, options: RecoveryOptions | None = None) -> Recovered:
    """Runs a whole Recovery."""
    recovery = Recovery(store, disk_log, RecoveryOptions() if options is None else options)
    while recovery.step():
        pass
    result = recovery.result
    assert result is not None
    return result


def recover_epochs(epochs: Epochs, recovered: Recovered) -> None:
    """Reads the epoch files into ``recovered``, making them where they do not exist (an older data folder).

    Raises EpochError where they contradict the data: an epoch is never lowered to make things fit.
    """
    of_data: i64 = max(0, recovered.last_zxid >> 32)
    current = epochs.read_current()
    if current is None:
        current = of_data
        epochs.save_current(current)
    accepted = epochs.read_accepted()
    if accepted is None:
        accepted = of_data
        epochs.save_accepted(accepted)
    if of_data > current:
        # A crash behind the txns of a sync and before its epoch, or between writing currentEpoch.tmp and
        # renaming it.  The log is a prefix of what the leader of that epoch had, so it may say so; upstream
        # refuses to start where there is no currentEpoch.tmp.
        if of_data > accepted:
            raise EpochError(
                f"the last zxid is 0x{recovered.last_zxid:x}, but no epoch after {accepted} was accepted"
            )
        rescue = epochs.read_rescue()
        current = of_data if rescue is None else min(max(of_data, rescue), accepted)
        epochs.save_current(current)
    if accepted < current:
        raise EpochError(f"acceptedEpoch {accepted} is less than currentEpoch {current}")
    recovered.accepted_epoch = accepted
    recovered.current_epoch = current


