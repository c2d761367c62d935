"""Views on disk: the dynamic configuration files that a member writes as its ensemble changes.

``zoo.cfg.dynamic.<version>`` holds the active view, ``zoo.cfg.dynamic.next`` one that was proposed and is not
active yet, and ``zoo.cfg`` points to the former.  Files are written on the log's queue, so what is logged or
acked after a view was seen finds the view on disk.  Source: upstream ``QuorumPeer.setQuorumVerifier``,
``setLastSeenQuorumVerifier``, ``QuorumPeerConfig.writeDynamicConfig``, ``editStaticConfig``; docs/adr/0080.
"""

from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig, EnsembleError, parse_properties
from zabra.proto.records import SetDataTxn
from zabra.proto.txn import decode_txn
from zabra.server.host import Host
from zabra.server.ready import DISK_DELETE_FILE, DISK_EDIT_CONFIG, DISK_SAVE_FILE
from zabra.tree.datatree import CONFIG_NODE, DataTree

DYNAMIC_FILE_KEY: Final = "dynamicConfigFile"


def dynamic_file_name(config_file: str, version: i64) -> str:
    """The name of the dynamic file of a version, beside the static file ``config_file``."""
    return f"{config_file}.dynamic.{version:x}"


def next_file_name(config_file: str) -> str:
    """The name of the file for a view that is not active yet."""
    return f"{config_file}.dynamic.next"


def backup_file_name(config_file: str) -> str:
    """The name of the copy of the static file as a person wrote it."""
    return f"{config_file}.bak"


def belongs_to_dynamic_file(key: str, erase_client_port: bool) -> bool:
    """Whether a key leaves the static file when a dynamic one takes its place."""
    if key.startswith(("server.", "group", "weight", DYNAMIC_FILE_KEY, "peerType")):
        return True
    return erase_client_port and key.startswith("clientPort")


def edit_static_config(text: str, dynamic_path: str, erase_client_port: bool) -> str:
    """The static file's text, pointing to ``dynamic_path``.

    Upstream rewrites the file without its comments and in any order; here whatever stays is as it was.
    """
    kept: list[str] = []
    logical: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        logical.append(line)
        is_comment = len(logical) == 1 and line.lstrip(" \t\f")[:1] in ("#", "!")
        if not is_comment and (len(line) - len(line.rstrip("\\"))) % 2 == 1:
            # The next line goes on with this one.
            continue
        pairs = parse_properties(logical[0])
        if not pairs or not belongs_to_dynamic_file(pairs[0][0].strip(), erase_client_port):
            kept += logical
        logical = []
    kept += logical
    while kept and not kept[-1]:
        kept.pop()
    escaped = dynamic_path.replace("\\", "/")
    return "\n".join([*kept, f"{DYNAMIC_FILE_KEY}={escaped}", ""])


def config_of_txn(raw: bytes) -> EnsembleConfig:
    """The view that a reconfig txn brings.  Raises EnsembleError."""
    record = decode_txn(raw).record
    if not isinstance(record, SetDataTxn):
        raise EnsembleError("a reconfig txn that does not set the data of the config node")
    return EnsembleConfig.parse((record.data or b"").decode("utf-8", "replace"))


def config_of_tree(tree: DataTree) -> EnsembleConfig | None:
    """The view in the config node; None where there is none, or a super user has written over it."""
    node = tree.find(CONFIG_NODE)
    if node is None or not node.data or node.version != -1:
        return None
    try:
        config = EnsembleConfig.parse(node.data.decode("utf-8", "replace"))
    except EnsembleError:
        return None
    # What reconfigurations and servers write there bears the version as its zxid.
    return config if config.version == node.mzxid else None


class ConfigFiles:
    """Where one member keeps its views; without a static file (embedded, simulated) nowhere."""

    __slots__ = ("host",)

    def __init__(self, host: Host) -> None:
        self.host: Host = host

    def save_active(self, config: EnsembleConfig, erase_client_port: bool) -> None:
        """Writes the view's dynamic file and has the static file point to it."""
        settings = self.host.settings
        if not settings.config_file:
            return
        name = dynamic_file_name(settings.config_file, config.version)
        self._save(name, config.file_text(False))
        command = self.host.disk_command(DISK_EDIT_CONFIG)
        command.name = settings.config_file
        folder = settings.config_folder
        command.data = (f"{folder}/{name}" if folder else name).encode("utf-8")
        command.flag = erase_client_port
        self.host.submit_disk(command, None)

    def save_next(self, config: EnsembleConfig) -> None:
        """Writes a view that is not active yet."""
        settings = self.host.settings
        if settings.config_file:
            self._save(next_file_name(settings.config_file), config.file_text(True))

    def forget_next(self) -> None:
        """What was to come has come."""
        settings = self.host.settings
        if settings.config_file:
            self.host.flush_appends()
            command = self.host.disk_command(DISK_DELETE_FILE)
            command.name = next_file_name(settings.config_file)
            self.host.submit_disk(command, None)

    def _save(self, name: str, text: str) -> None:
        self.host.flush_appends()
        command = self.host.disk_command(DISK_SAVE_FILE)
        command.name = name
        command.data = text.encode("utf-8")
        self.host.submit_disk(command, None)
