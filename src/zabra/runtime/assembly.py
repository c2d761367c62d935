"""Puts one server together: folders, recovery, the Server, its Node and its doors.

Used by the command line and by whoever embeds a server in a process of their own.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable

from zabra.auth.registry import Providers, default_providers
from zabra.config.ensemble import EnsembleConfig
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.runtime.clock import monotonic_ms, wall_ms
from zabra.runtime.kernel_sync import open_kernel_sync
from zabra.runtime.node import Informed, Node, WordAnswer
from zabra.runtime.oracle import OracleWatch
from zabra.runtime.os_disk import OsDisk
from zabra.runtime.purge import AutoPurge, GuardedStore
from zabra.runtime.sockets import SocketOptions
from zabra.server.disk_worker import DiskWorker
from zabra.server.ready import PORT_CLIENT
from zabra.server.reconfig import backup_file_name
from zabra.server.recovery import Recovered, Recovery, RecoveryOptions, open_store, recover_epochs
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.storage.epochs import Epochs, write_atomically
from zabra.storage.errors import DataFolderError, StorageError
from zabra.storage.names import VERSION_FOLDER
from zabra.storage.txnlog import DEFAULT_PREALLOCATE_BYTES
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.ephemerals import EphemeralTypes

log = logging.getLogger("zabra")

# How often a long recovery says how far it is.
PROGRESS_EVERY_MS = 2000

Progress = Callable[[str], None]


class Plan:
    """All that a server is made of.  Paths are folders; addresses are (host, port), port 0: any free one."""

    def __init__(self, settings: Settings, data_dir: str) -> None:
        self.settings = settings
        self.data_dir = data_dir
        self.data_log_dir = data_dir
        # The members; None for a server on its own.
        self.ensemble: EnsembleConfig | None = None
        # A view that was proposed and, for all this server knew, not committed.
        self.next_ensemble: EnsembleConfig | None = None
        # Whether the members come from a dynamic file; the static file is put aside if not.
        self.has_dynamic_file = False
        # The static configuration file, beside which views are kept; empty: nowhere.
        self.config_path = ""
        self.client_addresses: list[tuple[str, int]] = []
        self.listen_backlog = 1024
        self.preallocate_bytes = DEFAULT_PREALLOCATE_BYTES
        self.log_size_limit_bytes = 0
        self.force_sync = True
        self.compression_method = ""
        self.autocreate_folders = True
        self.last_zxid_in_snapshots = True
        self.trust_empty_snapshot = False
        self.autocreate_db = True
        self.emulate_353_ttl = False
        self.providers = Providers(default_providers())
        self.sockets = SocketOptions()
        self.election_bind_attempts = 3
        # File that decides for one of two voters; empty: none.
        self.oracle_path = ""
        # Old snapshots and logs are removed so often, keeping so many snapshots; 0: never.
        self.purge_interval_ms = 0
        self.purge_retain_count = 3
        # Whoever embeds a server may put something of their own between it and the world.
        self.make_disk: Callable[[str], OsDisk] = OsDisk
        self.make_node: Callable[..., Node] = Node


class RunningServer:
    """A server that serves: its ``node``, ``server`` and the client ports it got."""

    def __init__(
        self,
        node: Node,
        store: FileTxnSnapLog,
        client_ports: list[int],
        purge: AutoPurge,
        oracle: OracleWatch,
    ) -> None:
        self.node = node
        self.oracle = oracle
        self.purge = purge
        self.server: Server = node.server
        self.store = store
        self.client_ports = client_ports

    async def stop(self) -> None:
        """Stops cleanly: everything taken in is on disk afterwards."""
        await self.oracle.stop()
        await self.purge.stop()
        await self.node.stop()
        self.store.log.close()

    async def kill(self) -> None:
        """Ends as a process that is killed."""
        await self.oracle.stop()
        await self.purge.stop()
        await self.node.kill()
        self.store.log.close()


def open_disks(plan: Plan) -> tuple[OsDisk, OsDisk]:
    """The doors to dataDir and dataLogDir: one and the same where they are one folder.

    Raises DataFolderError.
    """
    for folder in (plan.data_dir, plan.data_log_dir):
        if not plan.autocreate_folders and not os.path.isdir(folder):
            raise DataFolderError(f"{folder} is no folder, and datadir.autocreate is false: make it yourself")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise DataFolderError(f"{folder} cannot be made: {error}") from error
    data = plan.make_disk(plan.data_dir)
    if os.path.realpath(plan.data_dir) == os.path.realpath(plan.data_log_dir):
        return data, data
    return data, plan.make_disk(plan.data_log_dir)


def open_plan_store(plan: Plan, data: OsDisk, logs: OsDisk) -> FileTxnSnapLog:
    """Log and snapshots of the plan's folders.  Raises DataFolderError."""
    try:
        store = open_store(
            data,
            logs,
            autocreate_folders=plan.autocreate_folders,
            preallocate_bytes=plan.preallocate_bytes,
            log_size_limit_bytes=plan.log_size_limit_bytes,
            force_sync=plan.force_sync,
            compression_method=plan.compression_method,
            with_digest=plan.settings.digest_enabled,
            with_last_zxid=plan.last_zxid_in_snapshots,
        )
    except OSError as error:
        raise DataFolderError(f"{plan.data_dir} or {plan.data_log_dir} cannot be used: {error}") from error
    return GuardedStore(store)


def open_config_files(plan: Plan, data: OsDisk) -> OsDisk:
    """The door to the folder of the static configuration file; tells the server where its views are kept.

    Before they are kept there for the first time, the file as a person wrote it is put aside.
    """
    settings = plan.settings
    if not plan.config_path or plan.ensemble is None or not settings.reconfig_enabled:
        return data
    folder, settings.config_file = os.path.split(os.path.realpath(plan.config_path))
    settings.config_folder = folder
    files = plan.make_disk(folder)
    if not plan.has_dynamic_file:
        write_atomically(files, "", backup_file_name(settings.config_file), files.read(settings.config_file))
    return files


def recover_store(plan: Plan, store: FileTxnSnapLog, logs: OsDisk, progress: Progress | None) -> Recovered:
    """Loads what the folders hold; ``progress`` hears from long ones.  Raises StorageError or OSError."""
    options = RecoveryOptions()
    options.types = EphemeralTypes(plan.settings.extended_types_enabled, plan.emulate_353_ttl)
    options.digest_enabled = plan.settings.digest_enabled
    options.trust_empty_snapshot = plan.trust_empty_snapshot
    options.autocreate_db = plan.autocreate_db
    # A member can have its data from the others, so it never votes with a tree that its own log calls wrong.
    options.refuse_wrong_digest = plan.ensemble is not None
    options.recent_limit = plan.settings.commit_log_count
    options.keep_acl_trail = plan.settings.keep_acl_trail
    recovery = Recovery(store, logs, options)
    said = monotonic_ms()
    while recovery.step():
        if progress is not None and monotonic_ms() - said >= PROGRESS_EVERY_MS:
            said = monotonic_ms()
            progress(recovery.progress())
    assert recovery.result is not None
    tell_damage(recovery.result)
    return recovery.result


def tell_damage(recovered: Recovered) -> None:
    """What was not as it should be, and was got over."""
    for path, reason in recovered.damaged:
        log.warning("passed over %s: %s", path, reason)
    mismatches = recovered.tree.digest_mismatches
    if mismatches > 0:
        log.warning("replaying the log gives another tree than %d digests in it say", mismatches)


def read_log(
    store: FileTxnSnapLog, from_zxid: int, to_zxid: int, max_bytes: int
) -> tuple[list[TxnEntry], bool]:
    """Txns of the log on disk from ``from_zxid`` to ``to_zxid``; False if ``max_bytes`` did not suffice."""
    found: list[TxnEntry] = []
    size = 0
    try:
        for _, raw in store.log.read_from(from_zxid, to_zxid):
            size += len(raw)
            if size > max_bytes:
                return found, False
            found.append(decode_txn(raw))
    except StorageError as error:
        # The log does not reach back so far (a SNAP has replaced it): the learner needs one too.
        log.info("the log cannot serve a learner from 0x%x: %s", from_zxid, error)
        return [], False
    except FileNotFoundError as error:
        log.info("the log cannot serve a learner from 0x%x: purged meanwhile: %s", from_zxid, error)
        return [], False
    except OSError as error:
        # The learner gets a SNAP, which needs no disk; what is written meanwhile will meet the same disk.
        log.warning("the log cannot be read from 0x%x: %s", from_zxid, error)
        return [], False
    return found, True


async def start(
    plan: Plan,
    make_words: Callable[[Server], WordAnswer],
    progress: Progress | None = None,
    informed: Informed | None = None,
) -> RunningServer:
    """Recovers, opens the doors and serves.  Raises StorageError (data) or OSError (folders, ports)."""
    data, logs = open_disks(plan)
    store = open_plan_store(plan, data, logs)
    recovery_began = monotonic_ms()
    recovered = await asyncio.to_thread(recover_store, plan, store, logs, progress)
    recovery_ms = monotonic_ms() - recovery_began
    epochs = Epochs(data, VERSION_FOLDER)
    recover_epochs(epochs, recovered)
    files = open_config_files(plan, data)
    server = Server(
        plan.settings,
        plan.providers,
        recovered,
        secrets.randbits(64),
        monotonic_ms(),
        wall_ms(),
        plan.ensemble,
        plan.next_ensemble,
    )
    node = plan.make_node(
        server,
        DiskWorker(store, True, epochs, files, ""),
        DiskWorker(store, False, epochs, files, ""),
        make_words(server),
        lambda first, last, size: read_log(store, first, last, size),
        lambda: recover_store(plan, store, logs, None),
        informed,
        open_kernel_sync() if plan.force_sync else None,
    )
    node.log_sync_times = logs.log_sync_times
    node.sockets = plan.sockets
    node.election_bind_attempts = plan.election_bind_attempts
    server.recovery_took(recovery_ms, recovered.txns_replayed)
    ports = []
    try:
        for host, port in plan.client_addresses:
            ports.append(await node.listen(PORT_CLIENT, host, port, plan.listen_backlog))
    except OSError:
        await node.stop()
        raise
    node.turn()
    purge = AutoPurge(store, plan.purge_retain_count, plan.purge_interval_ms)
    purge.start()
    oracle = OracleWatch(node, plan.oracle_path)
    oracle.start()
    return RunningServer(node, store, ports, purge, oracle)
