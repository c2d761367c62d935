"""Two network namespaces, and a line between them on which everything takes a while.

The delay is the kernel's netem on a pair of veth devices where the kernel has it; else both ends are TUN
devices, and a thread of this process passes each IP packet on when its time has come.  Needs root on Linux.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import shlex
import struct
import subprocess
import threading
import time
from collections import deque

HERE, FAR = "10.77.0.1", "10.77.0.2"
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000


def sh(command: str) -> str:
    """Runs a command."""
    return subprocess.run(shlex.split(command), check=True, capture_output=True, text=True).stdout


class Line:
    """``here`` and ``far`` are names of namespaces; ``how`` says what delays."""

    def __init__(self, one_way_ms: int) -> None:
        number = os.getpid()
        self.here, self.far = f"zh{number}", f"zf{number}"
        self.near_end, self.far_end = f"vh{number}", f"vf{number}"
        self.how = "netem"
        self._pump: Pump | None = None
        for name in (self.here, self.far):
            sh(f"ip netns add {name}")
            sh(f"ip -n {name} link set lo up")
        try:
            self._with_netem(one_way_ms)
        except subprocess.CalledProcessError:
            subprocess.run(["ip", "-n", self.here, "link", "del", self.near_end], check=False)
            self.how = "TUN devices and a thread (this kernel has no netem)"
            self._pump = Pump([(self.here, self.near_end), (self.far, self.far_end)], one_way_ms / 1000)
            self._addresses()
            self._pump.start()

    def _with_netem(self, one_way_ms: int) -> None:
        sh(f"ip -n {self.here} link add {self.near_end} type veth peer name {self.far_end} netns {self.far}")
        for name, device in ((self.here, self.near_end), (self.far, self.far_end)):
            sh(f"tc -n {name} qdisc add dev {device} root netem delay {one_way_ms}ms limit 100000")
        self._addresses()

    def _addresses(self) -> None:
        for name, device, address in (
            (self.here, self.near_end, HERE),
            (self.far, self.far_end, FAR),
        ):
            sh(f"ip -n {name} addr add {address}/24 dev {device}")
            sh(f"ip -n {name} link set {device} up")

    def prefix(self, name: str) -> list[str]:
        """What a command is run behind to be there."""
        return ["ip", "netns", "exec", name]

    def set_up(self, up: bool) -> None:
        """Cuts or mends the line."""
        sh(f"ip -n {self.far} link set {self.far_end} {'up' if up else 'down'}")

    def received(self) -> int:
        """Bytes that came over the line to the far end."""
        facts = json.loads(sh(f"ip -n {self.far} -s -j link show dev {self.far_end}"))
        return int(facts[0]["stats64"]["rx"]["bytes"])

    def close(self) -> None:
        """Removes everything."""
        if self._pump is not None:
            self._pump.stop()
        for name in (self.here, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False)


class Pump(threading.Thread):
    """Passes packets from one TUN device to the other, late."""

    def __init__(self, ends: list[tuple[str, str]], delay_s: float) -> None:
        super().__init__(name="delay line", daemon=True)
        self._delay_s = delay_s
        self._files = [open_tun(name, device) for name, device in ends]
        self._late: deque[tuple[float, int, bytes]] = deque()
        self._wake, self._waker = os.pipe()

    def run(self) -> None:
        """The thread."""
        selector = selectors.DefaultSelector()
        for file in [*self._files, self._wake]:
            selector.register(file, selectors.EVENT_READ)
        late = self._late
        while True:
            timeout = max(0.0, late[0][0] - time.monotonic()) if late else None
            for key, _ in selector.select(timeout):
                file = key.fd
                if file == self._wake:
                    return
                other = self._files[1 - self._files.index(file)]
                late.append((time.monotonic() + self._delay_s, other, os.read(file, 65536)))
            while late and late[0][0] <= time.monotonic():
                _, file, packet = late.popleft()
                try:
                    os.write(file, packet)
                except OSError:
                    # The line is cut: what was on its way is lost.
                    late.clear()

    def stop(self) -> None:
        """Ends the thread and the devices."""
        os.write(self._waker, b"x")
        self.join(5)
        for file in [*self._files, self._wake, self._waker]:
            os.close(file)


def open_tun(namespace: str, device: str) -> int:
    """A TUN device in a namespace, as a file that packets are read from and written to."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter(libc, other)
        file = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    finally:
        enter(libc, own)
        os.close(own)
        os.close(other)
    return file


def enter(libc: ctypes.CDLL, namespace: int) -> None:
    """Moves this thread to another network namespace."""
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
