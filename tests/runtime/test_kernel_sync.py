"""The kernel's own fdatasync: completions on the loop, waiting for them without it, failures."""

import asyncio
import errno
import os
import sys

import pytest

from zabra.runtime.kernel_sync import open_kernel_sync

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's asynchronous I/O")


@pytest.fixture
def kernel():
    sync = open_kernel_sync()
    if sync is None:
        pytest.skip("this kernel or sandbox has no io_submit")
    yield sync
    sync.close()


def test_a_sync_is_reported_on_the_loop(kernel, tmp_path):
    async def main(file):
        done: asyncio.Queue[int] = asyncio.Queue()
        kernel.attach(asyncio.get_running_loop())
        for _ in range(3):
            file.write(b"x" * 5000)
            kernel.sync(file.fileno(), done.put_nowait)
            assert kernel.busy()
            assert await asyncio.wait_for(done.get(), 60) == 0
            assert not kernel.busy()
        kernel.detach()

    with open(tmp_path / "log", "wb", buffering=0) as file:
        asyncio.run(main(file))


def test_a_sync_can_be_waited_for_and_is_then_not_reported(kernel, tmp_path):
    async def main(file):
        reports = []
        kernel.attach(asyncio.get_running_loop())
        file.write(b"x")
        kernel.sync(file.fileno(), reports.append)
        assert kernel.wait() == 0
        assert kernel.wait() == 0, "nothing is under way"
        # A loop that turns finds the eventfd counted up, and nothing behind it.
        for _ in range(3):
            await asyncio.sleep(0)
        assert reports == []
        kernel.detach()

    with open(tmp_path / "log", "wb", buffering=0) as file:
        asyncio.run(main(file))


def test_what_cannot_be_synced_is_an_error(kernel):
    reader, writer = os.pipe()
    try:
        code = 0
        try:
            kernel.sync(writer, lambda _: None)
            code = kernel.wait()
        except OSError as error:
            code = error.errno
        assert code == errno.EINVAL
    finally:
        os.close(reader)
        os.close(writer)
