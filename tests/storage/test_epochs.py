"""acceptedEpoch and currentEpoch."""

import pytest

from zabra.server.recovery import Recovered, recover_epochs
from zabra.sim.disk import EIO, SimDisk
from zabra.storage.epochs import Epochs
from zabra.storage.errors import EpochError
from zabra.tree.datatree import DataTree


def new_epochs(disk: SimDisk) -> Epochs:
    disk.make_folder("v")
    return Epochs(disk, "v")


def with_last_zxid(zxid: int) -> Recovered:
    out = Recovered(DataTree())
    out.last_zxid = zxid
    return out


def put(disk: SimDisk, name: str, content: bytes) -> None:
    disk.create(f"v/{name}").write(content)


def test_saved_as_decimal_without_newline() -> None:
    disk = SimDisk()
    epochs = new_epochs(disk)
    assert epochs.read_accepted() is None
    epochs.save_accepted(12)
    epochs.save_current(11)
    assert disk.list("v") == ["acceptedEpoch", "currentEpoch"]
    assert disk.read("v/acceptedEpoch") == b"12"
    assert (epochs.read_accepted(), epochs.read_current()) == (12, 11)


def test_upstreams_trailing_newline_is_accepted() -> None:
    disk = SimDisk()
    epochs = new_epochs(disk)
    put(disk, "currentEpoch", b"5\n")
    assert epochs.read_current() == 5


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"99999999999", b"1 2", b"\x00\x00"])
def test_anything_else_is_refused(content: bytes) -> None:
    disk = SimDisk()
    epochs = new_epochs(disk)
    put(disk, "acceptedEpoch", content)
    with pytest.raises(EpochError, match="v/acceptedEpoch"):
        epochs.read_accepted()


@pytest.mark.parametrize("epoch", [-1, 1 << 31])
def test_only_epochs_are_saved(epoch: int) -> None:
    with pytest.raises(EpochError):
        new_epochs(SimDisk()).save_current(epoch)


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_failure_leaves_the_old_epoch(operation: str) -> None:
    disk = SimDisk()
    epochs = new_epochs(disk)
    epochs.save_current(4)
    disk.inject(operation, EIO)
    with pytest.raises(OSError, match="injected"):
        epochs.save_current(5)
    assert Epochs(disk.after_crash({}), "v").read_current() == 4


def test_missing_files_are_made_from_the_data() -> None:
    epochs = new_epochs(SimDisk())
    found = with_last_zxid(0x300000007)
    recover_epochs(epochs, found)
    assert (found.accepted_epoch, found.current_epoch) == (3, 3)
    assert (epochs.read_accepted(), epochs.read_current()) == (3, 3)


def test_an_unknown_database_has_epoch_zero() -> None:
    found = with_last_zxid(-1)
    recover_epochs(new_epochs(SimDisk()), found)
    assert (found.accepted_epoch, found.current_epoch) == (0, 0)


def test_zk_4269_a_leftover_of_accepted_epoch_is_ignored() -> None:
    disk = SimDisk()
    epochs = new_epochs(disk)
    epochs.save_accepted(3)
    epochs.save_current(3)
    put(disk, "acceptedEpoch.tmp", b"4")
    found = with_last_zxid(0x300000001)
    recover_epochs(epochs, found)
    assert (found.accepted_epoch, found.current_epoch) == (3, 3)


def test_current_epoch_is_rescued_from_its_leftover() -> None:
    """ZOOKEEPER-1653: data of epoch 4 was saved, the rename of currentEpoch.tmp was lost."""
    disk = SimDisk()
    epochs = new_epochs(disk)
    epochs.save_accepted(4)
    epochs.save_current(3)
    put(disk, "currentEpoch.tmp", b"4")
    found = with_last_zxid(0x400000001)
    recover_epochs(epochs, found)
    assert (found.current_epoch, epochs.read_current()) == (4, 4)


def test_a_leftover_below_the_data_does_not_count() -> None:
    disk = SimDisk()
    epochs = new_epochs(disk)
    epochs.save_accepted(4)
    epochs.save_current(2)
    put(disk, "currentEpoch.tmp", b"3")
    found = with_last_zxid(0x400000001)
    recover_epochs(epochs, found)
    assert (found.current_epoch, epochs.read_current()) == (4, 4)


def test_a_crash_behind_the_txns_of_a_sync_and_before_its_epoch_is_survived() -> None:
    epochs = new_epochs(SimDisk())
    epochs.save_accepted(5)
    epochs.save_current(3)
    found = with_last_zxid(0x400000001)
    recover_epochs(epochs, found)
    assert (found.accepted_epoch, found.current_epoch, epochs.read_current()) == (5, 4, 4)


def test_data_of_an_epoch_that_was_never_accepted_is_refused() -> None:
    epochs = new_epochs(SimDisk())
    epochs.save_accepted(3)
    epochs.save_current(3)
    with pytest.raises(EpochError, match="no epoch after 3 was accepted"):
        recover_epochs(epochs, with_last_zxid(0x400000001))


def test_accepted_below_current_is_refused() -> None:
    epochs = new_epochs(SimDisk())
    epochs.save_accepted(2)
    epochs.save_current(3)
    with pytest.raises(EpochError, match="acceptedEpoch 2 is less than currentEpoch 3"):
        recover_epochs(epochs, with_last_zxid(0x200000001))


def test_a_lost_accepted_epoch_is_not_invented_below_the_current_one() -> None:
    epochs = new_epochs(SimDisk())
    epochs.save_current(3)
    with pytest.raises(EpochError, match="less than currentEpoch"):
        recover_epochs(epochs, with_last_zxid(0x200000001))


