"""Names of log and snapshot files: a prefix, a dot and a zxid in hex.  Anything else is not ours to touch.

Stricter than upstream (``persistence.Util``), which takes ``log.5.bak`` for a log: a stray copy of a file
must never be replayed.
"""

from typing import Final

LOG_PREFIX: Final = "log."
SNAPSHOT_PREFIX: Final = "snapshot."
# Names of files being made.  They must not begin with a prefix above: Apache ZooKeeper would read them.
NEW_LOG: Final = "new.log"
NEW_SNAPSHOT_PREFIX: Final = "new.snapshot."
# While the snapshot of the zxid behind it replaces all else that there is, see ``FileTxnSnapLog``.
ADOPTING_PREFIX: Final = "adopting.snapshot."
VERSION_FOLDER: Final = "version-2"
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_MAX_ZXID: Final = 0x7FFFFFFFFFFFFFFF


def parse_zxid(text: str) -> int:
    """The zxid of a name's last part; -1 when it is not one."""
    if not text or len(text) > 16 or not _HEX.issuperset(text):
        return -1
    value = int(text, 16)
    return value if value <= _MAX_ZXID else -1


def log_zxid(name: str) -> int:
    """The first zxid a log file may hold, from its name; -1 when it is no log file."""
    return parse_zxid(name[len(LOG_PREFIX) :]) if name.startswith(LOG_PREFIX) else -1


def log_name(zxid: int) -> str:
    """The name of the log file whose first txn is ``zxid``."""
    return f"{LOG_PREFIX}{zxid:x}"


def split_snapshot_name(name: str) -> tuple[int, str]:
    """(zxid, compression) of a snapshot file name; zxid -1 when it is none.

    Compression is "" for none, "gz" or "snappy".
    """
    if not name.startswith(SNAPSHOT_PREFIX):
        return -1, ""
    zxid_text, dot, compression = name[len(SNAPSHOT_PREFIX) :].partition(".")
    if dot and compression not in ("gz", "snappy"):
        return -1, ""
    return parse_zxid(zxid_text), compression


def snapshot_name(zxid: int, compression: str = "") -> str:
    """The name of the snapshot taken at ``zxid``."""
    return f"{SNAPSHOT_PREFIX}{zxid:x}" + (f".{compression}" if compression else "")


def join(folder: str, name: str) -> str:
    """A name inside a folder; the folder may be the root ("")."""
    return f"{folder}/{name}" if folder else name
