"""File names: what is a log, what is a snapshot, what is neither."""

import pytest

from zabra.storage.names import join, log_name, log_zxid, snapshot_name, split_snapshot_name


@pytest.mark.parametrize("zxid", [0, 1, 0x100000001, 0x7FFFFFFFFFFFFFFF])
def test_names_and_back(zxid: int) -> None:
    assert log_zxid(log_name(zxid)) == zxid
    for compression in ("", "gz", "snappy"):
        assert split_snapshot_name(snapshot_name(zxid, compression)) == (zxid, compression)


def test_names_are_upstreams() -> None:
    assert log_name(0x10000002A) == "log.10000002a"
    assert snapshot_name(0x10000002A, "gz") == "snapshot.10000002a.gz"
    assert log_zxid("log.10000002A") == 0x10000002A, "Java reads capitals too"


@pytest.mark.parametrize(
    "ending", ["", "x", "-1", "+1", " 1", "1 ", "0x1", "1_0", "1.bak", "1.tmp", "8000000000000000", "1" * 17]
)
def test_anything_else_is_left_alone(ending: str) -> None:
    assert log_zxid(f"log.{ending}") == -1
    assert split_snapshot_name(f"snapshot.{ending}")[0] == -1
    assert log_zxid(f"LOG.{ending}") == -1


def test_join() -> None:
    assert (join("", "a"), join("v", "a")) == ("a", "v/a")
