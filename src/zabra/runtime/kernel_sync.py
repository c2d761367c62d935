"""KernelSync: asks the kernel for an fdatasync and hears of its end through the event loop.

A thread that waits for fsyncs has to take the interpreter's lock twice for each of them, and a loop that is
busy gives it up late: with fifty clients writing, that cost ten times what the disk took (docs/adr/0110).
The kernel's own asynchronous I/O (``io_submit`` with ``IOCB_CMD_FDSYNC``, Linux 4.18) needs no thread: it
queues the fsync and counts up an eventfd when it is done.  libc has no wrapper, hence ctypes.

Where the kernel, the architecture or a sandbox does not have it, ``open_kernel_sync`` returns None, and syncs
are left to a thread.  Source: Linux io_submit(2), include/uapi/linux/aio_abi.h.
"""

import asyncio
import ctypes
import errno
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Final

# io_setup, io_destroy, io_getevents, io_submit.
_SYSCALLS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
_CMD_FDSYNC: Final = 3
_FLAG_RESFD: Final = 1
# aio_data, aio_key, aio_rw_flags, lio_opcode, reqprio, fildes, buf, nbytes, offset, reserved, flags, resfd.
_IOCB: Final = struct.Struct("<QIIHhIQQqQII")
# data, obj, res, res2.
_EVENT: Final = struct.Struct("<QQqq")

# Called with 0, or with the errno of the fsync that failed.
Synced = Callable[[int], None]


class KernelSync:
    """One fdatasync at a time.  Raises OSError where the kernel refuses to have it at all."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._call = libc.syscall
        self._call.restype = ctypes.c_long
        self._setup, self._destroy, self._getevents, self._submit = _SYSCALLS[platform.machine()]
        self._context = ctypes.c_ulong(0)
        self._checked(self._setup, 1, ctypes.byref(self._context))
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._iocb = ctypes.create_string_buffer(_IOCB.size)
        self._iocbs = (ctypes.c_void_p * 1)(ctypes.addressof(self._iocb))
        self._event = ctypes.create_string_buffer(_EVENT.size)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._synced: Synced | None = None

    def _checked(self, number: int, *arguments: object) -> int:
        result: int = self._call(ctypes.c_long(number), *arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Completions are reported on ``loop`` from now on."""
        self._loop = loop
        loop.add_reader(self._eventfd, self._completed)

    def detach(self) -> None:
        """No more reports; ``wait`` still tells."""
        if self._loop is not None:
            self._loop.remove_reader(self._eventfd)
            self._loop = None

    def busy(self) -> bool:
        """Whether an fdatasync is under way."""
        return self._synced is not None

    def sync(self, fd: int, synced: Synced) -> None:
        """Begins an fdatasync; ``synced`` is called when it has ended.  Raises OSError if it cannot begin."""
        assert self._synced is None, "one sync at a time"
        _IOCB.pack_into(self._iocb, 0, 1, 0, 0, _CMD_FDSYNC, 0, fd, 0, 0, 0, 0, _FLAG_RESFD, self._eventfd)
        self._checked(self._submit, self._context, ctypes.c_long(1), self._iocbs)
        self._synced = synced

    def _completed(self) -> None:
        try:
            os.eventfd_read(self._eventfd)
        except BlockingIOError:
            # ``wait`` has taken it.
            return
        synced = self._synced
        if synced is not None:
            self._synced = None
            synced(self._result())

    def _result(self) -> int:
        """Takes one completion, waiting for it: 0, or an errno."""
        one = ctypes.c_long(1)
        while self._call(ctypes.c_long(self._getevents), self._context, one, one, self._event, None) != 1:
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))
        _, _, result, _ = _EVENT.unpack(self._event.raw)
        return -result if result < 0 else 0

    def wait(self) -> int:
        """Waits for the sync under way, if any, instead of reporting it: 0, or an errno."""
        if self._synced is None:
            return 0
        self._synced = None
        return self._result()

    def close(self) -> None:
        """Gives everything back; no sync may be under way."""
        self.detach()
        if self._eventfd >= 0:
            self._call(ctypes.c_long(self._destroy), self._context)
            os.close(self._eventfd)
            self._eventfd = -1


def open_kernel_sync() -> KernelSync | None:
    """A KernelSync, or None where there is none to be had."""
    if not _is_supported():
        return None
    try:
        return KernelSync()
    except OSError:
        # All that the system allows are taken (fs.aio-max-nr).
        return None


@cache
def _is_supported() -> bool:
    """Whether this machine lets this process do it, found out by doing it once."""
    if sys.platform != "linux" or platform.machine() not in _SYSCALLS:
        return False
    try:
        sync = KernelSync()
    except (OSError, AttributeError):
        return False
    try:
        with tempfile.TemporaryFile() as file:
            sync.sync(file.fileno(), lambda _: None)
            return sync.wait() == 0
    except OSError:
        return False
    finally:
        sync.close()
