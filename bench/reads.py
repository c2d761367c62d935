"""Read throughput with more and more observers, every server having a small share of one core.

``python -m bench.reads`` (as root: cgroups) starts three voters and observers that join, gives each server
``--percent`` of a core, and reads from all of them with as many clients each, as fast as is answered.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.observers import CFG
from bench.shares import Share
from tests.interop.members import ZABRA, Mixed, make_member
from tests.interop.processes import ConfigValue, ServerProcess


def reads_per_s(servers: list[ServerProcess], seconds: int) -> float:
    """Reads of one node of 100 bytes per second, over all of them."""
    addresses = ",".join(one.address for one in servers)
    command = [sys.executable, "-m", "zabra", "bench", "--connect", addresses, "--op", "get", "--json"]
    command += ["--connections", str(2 * len(servers)), "--warmup", "1", "--duration", str(seconds)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(result["ops_per_s"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", default="0,1,2,4,8")
    parser.add_argument("--percent", type=int, default=8, help="of a core for each server")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path, help="append a line per row to this file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="zabra-reads-"))
    ensemble = Mixed([ZABRA] * 3, folder, cfg=CFG, ports=range(14640, 14652))
    servers = list(ensemble.members.values())
    shares: list[Share] = []
    try:
        ensemble.start()
        ensemble.wait_leader()
        for number, server in enumerate(servers):
            shares.append(Share(f"voter-{number}", options.percent))
            shares[-1].add(server.pid)
        print("| observers | reads/s, all servers |\n| --: | --: |")
        for count in [int(one) for one in options.counts.split(",")]:
            for number in range(len(servers) - 3, count):
                cfg: dict[str, ConfigValue] = {
                    **CFG, "clientPort": 14660 + number, "zabra.join": ensemble.connect_string,
                    "admin.enableServer": "false", "4lw.commands.whitelist": "*",
                }  # fmt: skip
                server = make_member(ZABRA, 0, cfg, folder / f"observer-{number}")
                servers.append(server)
                server.start(60)
                shares.append(Share(f"observer-{number}", options.percent))
                shares[-1].add(server.pid)
            row = {"observers": count, "reads_per_s": reads_per_s(servers, options.seconds)}
            print(f"| {count} | {row['reads_per_s']:.0f} |", flush=True)
            if options.json:
                with options.json.open("a") as out:
                    out.write(json.dumps({**row, "percent": options.percent}) + "\n")
    finally:
        for server in servers:
            server.kill()
        for share in shares:
            share.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
