"""The log's queue: appends by way of the kernel, everything else by the thread, one order for both."""

import asyncio
import errno

import pytest

from zabra.proto.records import SetDataTxn, TxnHeader
from zabra.proto.txn import encode_txn
from zabra.runtime import log_writer
from zabra.runtime.kernel_sync import open_kernel_sync
from zabra.runtime.log_writer import LogWriter
from zabra.runtime.os_disk import OsDisk
from zabra.server.disk_worker import DiskWorker
from zabra.server.ready import DISK_APPEND, DISK_ROLL, DiskCommand
from zabra.server.settings import Settings
from zabra.storage.epochs import Epochs
from zabra.storage.errors import LogBrokenError
from zabra.storage.names import VERSION_FOLDER
from zabra.storage.snapshots import FileSnap
from zabra.storage.txnlog import FileTxnLog
from zabra.storage.txnsnaplog import FileTxnSnapLog


class Recorder:
    """Hears what the writer reports."""

    def __init__(self):
        self.reports: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.times = []

    def done(self, token):
        self.reports.put_nowait(("done", token))

    def failed(self, token, message):
        self.reports.put_nowait((message, token))

    async def next(self):
        return await asyncio.wait_for(self.reports.get(), 60)


def entry(zxid):
    return encode_txn(TxnHeader(1, 1, zxid, 0, 5), SetDataTxn("/a", b"x" * 40, 1), None)


def append(token, *zxids):
    command = DiskCommand(DISK_APPEND, token)
    command.entries = [entry(zxid) for zxid in zxids]
    return command


class Log:
    """A writer on a folder, with the kernel's syncs or without any."""

    def __init__(self, folder, force_sync=True, file_bytes=1 << 20):
        disk = OsDisk(folder)
        disk.make_folder(VERSION_FOLDER)
        log = FileTxnLog(disk, VERSION_FOLDER, preallocate_bytes=file_bytes, force_sync=force_sync)
        log.open()
        self.store = FileTxnSnapLog(log, FileSnap(disk, VERSION_FOLDER))
        self.worker = DiskWorker(self.store, True, Epochs(disk, VERSION_FOLDER), disk, "")
        self.heard = Recorder()
        self.kernel = open_kernel_sync() if force_sync else None
        self.writer = LogWriter(
            self.worker,
            asyncio.get_running_loop(),
            self.heard.done,
            self.heard.failed,
            Settings(),
            self.kernel,
            self.heard.times.append,
        )

    async def stop(self):
        self.writer.detach()
        await asyncio.to_thread(self.writer.stop)
        self.store.log.close()

    def zxids(self):
        return [zxid for zxid, _ in self.store.log.read_from(0)]


@pytest.mark.parametrize("force_sync", [True, False])
def test_one_order_whoever_does_it(tmp_path, force_sync):
    """A new file and a roll are the thread's, what stands between them need not be."""

    async def main():
        log = Log(tmp_path, force_sync)
        for token, commands in enumerate(
            ([append(0, 1)], [append(1, 2, 3)], [DiskCommand(DISK_ROLL, 2)], [append(3, 4)], [append(4, 5)])
        ):
            log.writer.submit(commands)
            assert await log.heard.next() == ("done", token)
        await log.stop()
        assert log.zxids() == [1, 2, 3, 4, 5]
        assert log.worker.appended == 5

    asyncio.run(main())


def test_what_comes_during_a_sync_goes_with_the_next(tmp_path):
    async def main():
        log = Log(tmp_path)
        log.writer.submit([append(0, 1)])
        assert await log.heard.next() == ("done", 0)
        for token in range(1, 7):
            log.writer.submit([append(token, token + 1)])
        last = -1
        while last != 6:
            last = (await log.heard.next())[1]
        if log.kernel is not None:
            assert log.worker.fsyncs == 3, "the file, the first, and the five that gathered behind it"
        await log.stop()

    asyncio.run(main())


def test_a_full_file_grows(tmp_path):
    async def main():
        log = Log(tmp_path, file_bytes=8192)
        for token in range(300):
            log.writer.submit([append(token, token + 1)])
            assert await log.heard.next() == ("done", token)
        await log.stop()
        assert log.zxids() == list(range(1, 301))

    asyncio.run(main())


def test_a_stop_carries_out_what_waits_and_an_end_does_not(tmp_path):
    async def main(folder, stop):
        log = Log(folder)
        log.writer.submit([append(0, 1)])
        assert await log.heard.next() == ("done", 0)
        log.writer.submit([append(1, 2)])
        log.writer.submit([append(2, 3)])
        log.writer.detach()
        await asyncio.to_thread(log.writer.stop if stop else log.writer.abandon)
        log.store.log.close()
        return log.zxids()

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert asyncio.run(main(tmp_path / "a", True)) == [1, 2, 3]
    kept = asyncio.run(main(tmp_path / "b", False))
    assert kept in ([1], [1, 2])


def test_a_failed_sync_is_final(tmp_path):
    async def main():
        log = Log(tmp_path)
        if log.kernel is None:
            pytest.skip("this kernel or sandbox has no io_submit")
        log.writer.submit([append(0, 1)])
        assert await log.heard.next() == ("done", 0)
        log.kernel._result = lambda: errno.EIO
        log.writer.submit([append(1, 2)])
        message, token = await log.heard.next()
        assert token == 1
        assert "fdatasync of the txn log failed: Input/output error" in message
        log.writer.submit([append(2, 3)])
        with pytest.raises(LogBrokenError, match="fsync of"):
            log.store.log.append_all([entry(3).raw])
        await log.stop()
        assert log.heard.reports.empty()

    asyncio.run(main())


def test_a_kernel_that_refuses_is_replaced_by_the_thread(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "no")

    async def main():
        log = Log(tmp_path)
        if log.kernel is None:
            pytest.skip("this kernel or sandbox has no io_submit")
        log.writer.submit([append(0, 1)])
        assert await log.heard.next() == ("done", 0)
        monkeypatch.setattr(log.kernel, "sync", refuse)
        for token in (1, 2):
            log.writer.submit([append(token, token + 1)])
            assert await log.heard.next() == ("done", token)
        assert (log.worker.fsyncs, log.worker.appended) == (3, 3)
        await log.stop()
        assert log.zxids() == [1, 2, 3]

    asyncio.run(main())


def test_a_gap_is_refused_before_anything_is_written(tmp_path):
    async def main():
        log = Log(tmp_path)
        log.writer.submit([append(0, 1)])
        assert await log.heard.next() == ("done", 0)
        log.writer.submit([append(1, 2, 4)])
        message, token = await log.heard.next()
        assert (token, "LogGapError" in message) == (1, True)
        await log.stop()
        assert log.zxids() == [1]

    asyncio.run(main())


def test_after_a_slow_sync_the_thread_takes_over(tmp_path, monkeypatch):
    async def main():
        log = Log(tmp_path)
        if log.kernel is None:
            pytest.skip("this kernel or sandbox has no io_submit")
        log.writer.submit([append(0, 1)])
        assert await log.heard.next() == ("done", 0)
        monkeypatch.setattr(log_writer, "_SLOW_SYNC_S", -1.0)
        log.writer.submit([append(1, 2)])
        assert await log.heard.next() == ("done", 1)
        asked = []
        monkeypatch.setattr(log.kernel, "sync", lambda *arguments: asked.append(arguments))
        log.writer.submit([append(2, 3)])
        assert await log.heard.next() == ("done", 2)
        assert not asked
        await log.stop()
        assert log.zxids() == [1, 2, 3]

    asyncio.run(main())
