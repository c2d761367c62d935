"""Errors about files say which file, which byte, and what."""

import pytest

from zabra.storage.errors import (
    FormatError,
    LogGapError,
    RottenLogError,
    SnapshotError,
    StorageError,
)


@pytest.mark.parametrize("kind", [FormatError, RottenLogError, SnapshotError])
def test_place_and_reason(kind: type[FormatError]) -> None:
    error = kind("version-2/log.5", 77, "the checksum of a txn does not match")
    assert str(error) == "version-2/log.5, byte 77: the checksum of a txn does not match"
    assert (error.name, error.offset, error.reason) == ("version-2/log.5", 77, error.reason)
    assert isinstance(error, StorageError)


def test_gaps_are_told_in_hex() -> None:
    error = LogGapError(0x100000005, 0x100000009, "version-2/log.5, byte 16")
    assert str(error) == "version-2/log.5, byte 16: txns between 0x100000005 and 0x100000009 are missing"
    assert (error.before, error.after) == (0x100000005, 0x100000009)
