"""Observers in another data centre: three voters here, one observer behind a line of 80 ms, by netem.

``python -m bench.wan`` (as root on Linux; needs ``ip`` and ``tc``) makes two network namespaces joined by a
pair of veth devices that delay what they send by 40 ms each, starts the voters in one and an observer that
joins in the other, and measures from beside the observer: reads, writes, and how it catches up after a cut
(bytes from the counters of the device).  Where the kernel has no netem, see ``delay_line``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.delay_line import FAR, HERE, Line
from tests.interop.members import ZABRA, Mixed, make_member, monitor, syncs, zxid_of
from tests.interop.processes import ConfigValue, ServerProcess, poll

CFG: dict[str, ConfigValue] = {
    "tickTime": 1000, "initLimit": 10, "syncLimit": 5, "snapCount": 1000000, "admin.enableServer": "false",
    "4lw.commands.whitelist": "*",
}  # fmt: skip


def words_through(line: Line, name: str, member: ServerProcess) -> None:
    """Has ``member`` be asked from within its namespace."""
    program = (
        "import socket,sys\n"
        "s=socket.create_connection((sys.argv[1],int(sys.argv[2])),2)\n"
        "s.sendall(sys.argv[3].encode())\n"
        "while d:=s.recv(65536): sys.stdout.write(d.decode())\n"
    )

    def ask(word: str, timeout_s: float = 5.0) -> str | None:
        command = [*line.prefix(name), sys.executable, "-c", program, member.host]
        command += [str(member.client_port), word]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.stdout if done.returncode == 0 else None

    member.four_letter = ask  # type: ignore[method-assign]  # for this member only


def load(line: Line, name: str, address: str, op: str, seconds: int, *more: str) -> dict[str, float]:
    """The load generator in a namespace: latencies in us, and operations per second."""
    command = [*line.prefix(name), sys.executable, "-m", "zabra", "bench", "--connect", address, "--op", op]
    command += ["--json", "--warmup", "1", "--duration", str(seconds), *more]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {**result["latency_us"], "per_s": result["ops_per_s"]}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Everything."""
    line = Line(options.rtt // 2)
    out: dict[str, object] = {"rtt_ms": options.rtt, "delayed_by": line.how}
    members: list[ServerProcess] = []
    try:
        ports = range(14600, 14612)
        prefixes = {sid: line.prefix(line.here) for sid in (1, 2, 3)}
        voters = Mixed([ZABRA] * 3, folder, cfg=CFG, ports=ports, hosts=[HERE] * 3, prefixes=prefixes)
        for member in voters.members.values():
            words_through(line, line.here, member)
            members.append(member)
            member.launch()
        for member in voters.members.values():
            member.wait_serving(60)
        leader = voters.members[voters.wait_leader()]
        cfg: dict[str, ConfigValue] = {**CFG, "clientPort": 14620, "zabra.join": voters.connect_string}
        observer = make_member(ZABRA, 0, cfg, folder / "observer", prefix=line.prefix(line.far), host=FAR)
        words_through(line, line.far, observer)
        members.append(observer)
        observer.launch()
        observer.wait_serving(60)
        one = ("--connections", "1")
        out["read_at_observer"] = load(line, line.far, observer.address, "get", options.seconds, *one)
        out["read_at_leader_from_there"] = load(line, line.far, leader.address, "get", options.seconds, *one)
        out["write_at_observer"] = load(line, line.far, observer.address, "set", options.seconds, *one)
        out["write_at_leader"] = load(line, line.here, leader.address, "set", options.seconds, *one)
        out["lag_ms"] = int(monitor(observer)["lag_ms"])
        out["catch_up"] = [catch_up(options, line, leader, observer, count) for count in options.missed]
    finally:
        for member in members:
            member.kill()
        line.close()
    return out


def catch_up(
    options: argparse.Namespace, line: Line, leader: ServerProcess, observer: ServerProcess, missed: int
) -> dict[str, object]:
    """The line is cut until the observer has noticed; ``missed`` writes go on; then it is mended."""
    before = syncs(observer)
    had = zxid_of(observer) or 0
    line.set_up(False)
    poll("it serves nobody", 60, lambda: True if observer.mode() is None else None)
    more = ("--count", str(missed), "--size", str(options.size), "--warmup", "0")
    load(line, line.here, leader.address, "set", 1, *more)
    target = zxid_of(leader) or 0
    received, began = line.received(), time.monotonic()
    line.set_up(True)
    poll("it has everything", 120, lambda: True if (zxid_of(observer) or 0) >= target else None)
    took = time.monotonic() - began
    after = syncs(observer)
    return {
        "missed": target - had,
        "ms": round(took * 1000),
        "bytes": line.received() - received,
        "by": [kind for kind in after if after[kind] > before[kind]],
    }


def numbers(text: str) -> list[int]:
    """A list on the command line."""
    return [int(one) for one in text.split(",")]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rtt", type=int, default=80, help="round trip in ms")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--size", type=int, default=100, help="bytes per write")
    parser.add_argument("--missed", type=numbers, default=[200, 2000], help="writes during each cut")
    parser.add_argument("--json", type=Path, help="append the result to this file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="zabra-wan-"))
    try:
        out = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(out, indent=1))
    if options.json:
        with options.json.open("a") as file:
            file.write(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
