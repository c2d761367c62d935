"""Failover: the leader is killed, again and again; how long until a survivor acknowledges a write.

    python -m bench.failover --kills 20
    python -m bench.failover --systems apache --kills 5

The clock starts right before SIGKILL.  Writers are connected to the survivors before the kill and send their
first write only after the leader's process is gone, so no acknowledgement can stem from the old leader.  One
more session, connected to the leader that dies, moves to a survivor and must still be known there.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.compare import add_system_options, store
from bench.systems import Options, System, banner, describe_machine, machine, work_folder
from bench.wire import NODE_EXISTS, Session
from tests.interop.processes import Ensemble, ServerError, ServerProcess, poll

NODE = "/failover"
RETRY_S = 0.002
GIVE_UP_S = 120.0


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench.failover", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    add = parser.add_argument
    add("--systems", default="zabra,apache")
    add("--participants", type=int, default=3)
    add("--observers", type=int, default=0)
    add("--kills", type=int, default=20, help="per system")
    add("--batch", type=int, default=5, help="kills of one system before the other's turn")
    add("--tick-time", type=int, default=2000, help="ms; initLimit is 10 and syncLimit 5 ticks")
    add_system_options(parser)
    return parser.parse_args(words)


class Writer(threading.Thread):
    """Writes through ``addresses`` in turn until one write is acknowledged, from when ``go`` is set."""

    def __init__(self, session: Session, addresses: Sequence[str], go: threading.Event) -> None:
        super().__init__(daemon=True)
        self.session = session
        self._addresses = addresses
        self._go = go
        self.acknowledged: float | None = None
        """time.monotonic() of the first acknowledgement."""
        self.attempts = 0

    def run(self) -> None:
        """Tries until acknowledged or GIVE_UP_S have passed."""
        self._go.wait()
        deadline = time.monotonic() + GIVE_UP_S
        connected = True
        while time.monotonic() < deadline:
            try:
                if not connected:
                    self.session.connect(self._addresses[self.attempts % len(self._addresses)])
                    connected = True
                self.attempts += 1
                if self.session.set(NODE, b"again") == 0:
                    self.acknowledged = time.monotonic()
                    return
            except OSError:
                connected = False
                self.attempts += 1
                time.sleep(RETRY_S)


def kill_leader(group: Ensemble) -> dict[str, Any]:
    """One kill: milliseconds until acknowledged writes; afterwards the victim is back and a quorum safe."""
    leader = group.wait_leader()
    victim = group.members[leader]
    survivors = [member.address for member in group.members.values() if member is not victim]
    go = threading.Event()
    writers = [Writer(_connected(address), [address], go) for address in survivors]
    moved_session = _connected(victim.address)
    moved_id = moved_session.session_id
    writers.append(Writer(moved_session, survivors, go))
    for writer in writers:
        writer.start()
    began = time.monotonic()
    victim.kill()
    go.set()
    for writer in writers:
        writer.join()
        writer.session.close()
    row = _outcome(writers, began)
    row["session_kept"] = moved_session.session_id == moved_id and moved_session.expired == 0
    row["killed"], row["next_leader"] = leader, group.wait_leader()
    began = time.monotonic()
    victim.start()
    row["rejoined_ms"] = round((time.monotonic() - began) * 1e3, 1)
    _wait_followers(group)
    return row


def _connected(address: str) -> Session:
    session = Session()

    def attempt() -> Session | None:
        try:
            session.connect(address)
        except OSError:
            return None
        return session

    return poll(f"a session at {address}", GIVE_UP_S, attempt)


def _outcome(writers: Sequence[Writer], began: float) -> dict[str, Any]:
    times = [writer.acknowledged for writer in writers]
    if any(at is None for at in times):
        raise ServerError(f"no acknowledged write within {GIVE_UP_S:g} s of the kill")
    elapsed = [round((at - began) * 1e3, 1) for at in times if at is not None]
    return {
        "first_ack_ms": min(elapsed),
        "all_survivors_ms": max(elapsed[:-1]),
        "moved_session_ms": elapsed[-1],
    }


def _wait_followers(group: Ensemble) -> None:
    """Waits until every member serves in some role, so that the next kill leaves a quorum."""

    def all_serve() -> bool | None:
        return True if all(_mode(member) is not None for member in group.members.values()) else None

    poll("all members serve", GIVE_UP_S, all_serve)


def _mode(member: ServerProcess) -> str | None:
    return member.mode() if member.running else None


def prepare(group: Ensemble) -> None:
    """Makes the node that is written."""
    session = _connected(next(iter(group.members.values())).address)
    err = session.create(NODE, b"first")
    session.close()
    if err not in (0, NODE_EXISTS):
        raise ServerError(f"cannot create {NODE}: {err}")


def markdown(rows: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> str:
    """Percentiles per system."""
    lines = ["| system | kills | first ack p50 ms | p90 ms | p99 ms | max ms | moved session p50 ms | kept |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in systems:
        own = [row for row in rows if row["system"] == name]
        first = sorted(row["first_ack_ms"] for row in own)
        moved = statistics.median(row["moved_session_ms"] for row in own)
        p90 = first[-(-9 * len(first) // 10) - 1]
        p99 = first[-(-99 * len(first) // 100) - 1]
        kept = sum(row["session_kept"] for row in own)
        lines.append(
            f"| {name} | {len(own)} | {statistics.median(first):.0f} | {p90:.0f} | {p99:.0f} "
            f"| {first[-1]:.0f} | {moved:.0f} | {kept} of {len(own)} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Kills leaders of each system in turn and prints the table; 1 when a session was lost."""
    args = parse_arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = Options(
        server_command=args.server_command,
        jvm_flags=args.jvm_flags,
        base_port=args.base_port,
        compiled=args.compiled,
        cfg={"tickTime": args.tick_time},
    )
    systems = [System(name, options) for name in args.systems.split(",")]
    rows: list[dict[str, Any]] = []
    with work_folder(args.work, args.keep_work) as folder:
        header: dict[str, Any] = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "machine": machine(folder),
            "cfg": options.cfg,
        }
        for start in range(0, args.kills, args.batch):
            for system in systems:
                home = folder / f"{system.name}-{start}"
                with system.ensemble(args.participants, args.observers, home) as group:
                    version = banner(next(iter(group.members.values())))
                    prepare(group)
                    for number in range(start + 1, min(start + args.batch, args.kills) + 1):
                        rows.append(
                            {"system": system.name, "version": version, "kill": number, **kill_leader(group)}
                        )
                        print(rows[-1], flush=True)
    shape = f"{args.participants} participants, {args.observers} observers"
    print(f"\n{shape}; {describe_machine(header['machine'])}\n")
    print(markdown(rows, [system.name for system in systems]))
    print(f"\nwritten to {store(header, rows, Path(args.results), 'failover')}")
    return 0 if all(row["session_kept"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
