"""The payload inside the commit message (INFORM), or proposals sent to observers as well: what each costs.

The two options of the thread in which observers were proposed.  ``python -m bench.inform`` runs ensembles of
three voters in the simulator, writes, and counts every message and byte between servers, as they are on the
wire (without TCP's own headers).  Observers get INFORM; for the other option there are servers without a
vote that follow, which is that very protocol: PROPOSAL to each of them, its ACK, COMMIT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.server.clusters import Ensemble

from zabra.client import calls
from zabra.config.ensemble import EnsembleConfig
from zabra.proto import codes
from zabra.proto.packets import PacketBuffer
from zabra.server.settings import Settings
from zabra.sim.cluster import QUORUM_PORT, Shape, server_line

VOTERS = [1, 2, 3]
INFORM = "INFORM"
PROPOSALS = "proposals"
COUNTED = {codes.PACKET_PROPOSAL, codes.PACKET_ACK, codes.PACKET_COMMIT, codes.PACKET_INFORM}


class Meter:
    """Counts what belongs to writes, by direction: (messages, bytes)."""

    def __init__(self, leader: int, others: list[int]) -> None:
        self.leader = leader
        self.others = others
        self.buffers: dict[int, PacketBuffer] = {}
        self.sent = [0, 0]
        self.received = [0, 0]
        # The same at one of those without a vote.
        self.at_one_received = [0, 0]
        self.at_one_sent = [0, 0]

    def heard(self, serial: int, source: int, target: int, port: int, data: bytes) -> None:
        """``Network.tap``."""
        if port != QUORUM_PORT:
            return
        buffer = self.buffers.setdefault(serial, PacketBuffer())
        buffer.feed(data)
        before = int(buffer.buffered())
        while (packet := buffer.next()) is not None:
            size = before - int(buffer.buffered())
            before = int(buffer.buffered())
            if packet.type not in COUNTED:
                continue
            if source == self.leader:
                add(self.sent, size)
                if target in self.others:
                    add(self.at_one_received, size)
            elif target == self.leader:
                add(self.received, size)
                if source in self.others:
                    add(self.at_one_sent, size)


def add(counts: list[int], size: int) -> None:
    """One message more."""
    counts[0] += 1
    counts[1] += size


def run(option: str, count: int, payload: int, writes: int) -> dict[str, object]:
    """One ensemble: messages and bytes per write."""
    others = list(range(4, 4 + count))
    settings = Settings()
    settings.tick_ms = 2000
    is_inform = option == INFORM
    shape = Shape(VOTERS, others if is_inform else [], spares=[] if is_inform else others)
    ensemble = Ensemble(shape, settings=settings).start()
    for sid in others if not is_inform else []:
        # It knows of itself; the voters do not.
        servers = {one: server_line(one, False) for one in [*VOTERS, sid]}
        ensemble.cluster.machines[sid].plan.ensemble = EnsembleConfig(servers)
        ensemble.start_one(sid)
    client = ensemble.client(ensemble.leader())
    ensemble.ask(client, calls.create("/a", b""))
    ensemble.cluster.run_ms(100)
    meter = Meter(ensemble.leader(), others)
    ensemble.cluster.network.tap = meter.heard
    for _ in range(writes):
        ensemble.ask(client, calls.set_data("/a", b"x" * payload))
    ensemble.cluster.run_ms(100)
    each = max(1, count) * writes
    return {
        "option": option,
        "count": count,
        "payload": payload,
        "leader_sends_messages": meter.sent[0] / writes,
        "leader_sends_bytes": meter.sent[1] / writes,
        "leader_gets_messages": meter.received[0] / writes,
        "leader_gets_bytes": meter.received[1] / writes,
        "one_gets_messages": meter.at_one_received[0] / each,
        "one_gets_bytes": meter.at_one_received[1] / each,
        "one_sends_messages": meter.at_one_sent[0] / each,
        "one_sends_bytes": meter.at_one_sent[1] / each,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", default="1,8,32")
    parser.add_argument("--payloads", default="0,100,1000,10000")
    parser.add_argument("--writes", type=int, default=20)
    parser.add_argument("--json", type=Path, help="append a line per row to this file")
    options = parser.parse_args()
    print("| payload | observers | option | leader sends, messages | bytes | leader gets, messages | bytes "
          "| each observer gets, messages | bytes | sends, messages | bytes |")
    print("| --: | --: | --- " + "| --: " * 8 + "|")
    for payload in [int(one) for one in options.payloads.split(",")]:
        for count in [int(one) for one in options.counts.split(",")]:
            for option in (INFORM, PROPOSALS):
                row = run(option, count, payload, options.writes)
                numbers = [f"{value:.0f}" for value in list(row.values())[3:]]
                print(f"| {payload} | {count} | {option} | " + " | ".join(numbers) + " |", flush=True)
                if options.json:
                    with options.json.open("a") as out:
                        out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
