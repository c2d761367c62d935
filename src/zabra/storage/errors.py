"""What can be wrong with files: every error names the file, and where it can, the byte.

An OSError from the Disk is not wrapped: it says itself what the operating system refused.
"""


class StorageError(ValueError):
    """Something about the files makes it unsafe to go on."""


class FormatError(StorageError):
    """The bytes of a file are not in the format that its name promises.

    Args:
        name: the file, as the Disk names it ("" where a pure format module does not know).
        offset: byte offset of what is wrong.
        reason: what is wrong, in a few words.
    """

    def __init__(self, name: str, offset: int, reason: str) -> None:
        super().__init__(f"{name or 'file'}, byte {offset}: {reason}")
        self.name = name
        self.offset = offset
        self.reason = reason


class RottenLogError(FormatError):
    """A txn log is damaged in a way that no crash explains: going on could lose acknowledged txns."""


class LogGapError(StorageError):
    """Txns are missing between two zxids, so nothing after the first may be used."""

    def __init__(self, before: int, after: int, where: str) -> None:
        super().__init__(f"{where}: txns between 0x{before:x} and 0x{after:x} are missing")
        self.before = before
        self.after = after


class LogBrokenError(StorageError):
    """An earlier write or fsync failed: nothing may be appended until the server has restarted."""


class SnapshotError(FormatError):
    """A snapshot is not whole."""


class NoSnapshotError(StorageError):
    """There are txns but no snapshot that they could start from."""


class TruncateError(StorageError):
    """The history cannot be cut at the zxid asked for."""


class EpochError(StorageError):
    """The epoch files are unreadable or contradict the data."""


class DataFolderError(StorageError):
    """A data folder is missing, or holds files that belong to the other one."""
