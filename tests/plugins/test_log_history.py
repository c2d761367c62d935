"""A place in a log that goes on being written: nothing twice, nothing left out, nothing guessed."""

import random

import pytest
from tests.plugins.helpers import E1, E2, FOLDER, create

from zabra.plugins.feed import Compacted
from zabra.plugins.log_history import LogHistory
from zabra.proto.txn import decode_txn

ALL = 1 << 62


def write(log, *zxids):
    for zxid in zxids:
        log.append(zxid, create(zxid).raw)
    log.sync()


def read(history, upto=ALL, max_bytes=1 << 30):
    return [decode_txn(raw).header.zxid for raw in history.read(upto, max_bytes)]


def test_goes_on_where_it_stopped(disk, log):
    history = LogHistory(disk, disk, E1)
    assert read(history) == []
    assert history.oldest() == 0
    write(log, E1 + 1, E1 + 2)
    assert read(history, E1 + 1) == [E1 + 1]
    assert read(history) == [E1 + 2]
    assert read(history) == []
    write(log, E1 + 3)
    log.roll()
    write(log, E2 + 1)
    assert read(history, max_bytes=1) == [E1 + 3]
    assert read(history) == [E2 + 1]
    assert history.oldest() == E1 + 1


def test_written_between_the_last_look_and_the_roll(disk, log):
    history = LogHistory(disk, disk, E1)
    write(log, E1 + 1)
    assert read(history) == [E1 + 1]
    write(log, E1 + 2)
    log.roll()
    write(log, E1 + 3)
    assert read(history) == [E1 + 2, E1 + 3]


def test_what_cannot_be_proved_is_compacted(disk, log, tmp_path):
    log.continue_from(E1 + 9)
    write(log, E1 + 10, E2 + 1)
    assert read(LogHistory(disk, disk, E1 + 9)) == [E1 + 10, E2 + 1]
    assert read(LogHistory(disk, disk, E1 + 10)) == [E2 + 1]
    for since in (0, E1 + 8):
        with pytest.raises(Compacted) as caught:
            read(LogHistory(disk, disk, since))
        assert caught.value.oldest == E1 + 10
    # E1 + 9 was read here, but whether 0x200000001 comes next cannot be told without E1 + 10.
    log.clear()
    log.continue_from(E1 + 10)
    write(log, E2 + 1)
    with pytest.raises(Compacted):
        read(LogHistory(disk, disk, E1 + 10))
    (tmp_path / FOLDER / f"snapshot.{E1 + 10:x}").write_bytes(b"x")
    assert read(LogHistory(disk, disk, E1 + 10)) == [E2 + 1]


def test_purged_and_replaced_meanwhile(disk, log):
    write(log, *range(E1 + 1, E1 + 6))
    history = LogHistory(disk, disk, E1)
    assert read(history, E1 + 2) == [E1 + 1, E1 + 2]
    log.clear()
    log.continue_from(E1 + 20)
    write(log, E1 + 21)
    history = LogHistory(disk, disk, E1 + 2)
    with pytest.raises(Compacted):
        read(history)
    late = LogHistory(disk, disk, E1 + 20)
    assert read(late) == [E1 + 21]
    log.clear()
    log.continue_from(E1 + 30)
    write(log, E1 + 31)
    with pytest.raises(Compacted):
        read(late)


@pytest.mark.parametrize("rolled", [False, True])
def test_what_was_never_committed_and_is_cut_off_is_not_told(disk, log, rolled):
    """It was there when the log was read, as what another leader has not."""
    history = LogHistory(disk, disk, E1)
    write(log, E1 + 1, E1 + 2, E1 + 3)
    if rolled:
        log.roll()
    write(log, E1 + 4, E1 + 5)
    assert read(history, E1 + 3, 1) == [E1 + 1]
    assert read(history, E1 + 3) == [E1 + 2, E1 + 3]
    assert read(history, E1 + 3) == []
    log.truncate(E1 + 3)
    write(log, E2 + 1, E2 + 2)
    assert read(history, E2 + 1) == [E2 + 1]
    assert read(history) == [E2 + 2]


@pytest.mark.parametrize("seed", range(10))
def test_any_interleaving(disk, log, seed):
    rng = random.Random(seed)
    history = LogHistory(disk, disk, E1)
    zxid, written, got, committed = E1 + 1, [E1 + 1], [], 1
    write(log, zxid)
    for _ in range(120):
        what = rng.random()
        if what < 0.5:
            batch = []
            for _ in range(rng.randrange(1, 6)):
                zxid = ((zxid >> 32) + 1 << 32) + 1 if rng.random() < 0.05 else zxid + 1
                batch.append(zxid)
            write(log, *batch)
            written += batch
        elif what < 0.6:
            log.roll()
        elif what < 0.65 and committed < len(written):
            # Another leader, who knows what is committed.
            log.truncate(written[committed - 1])
            del written[committed:]
            zxid = (zxid >> 32) + 1 << 32
        else:
            committed = rng.randrange(max(1, committed), len(written) + 1)
            got += read(history, written[rng.randrange(committed)], rng.choice([1, 200, 10000]))
            assert got == written[: len(got)]
    while len(got) < len(written):
        got += read(history)
    assert got == written
