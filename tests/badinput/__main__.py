"""Bad inputs and crowds against a client port: ``python -m tests.badinput --help``.

Without ``--server`` it starts Zabra (or, with ``--apache``, Apache ZooKeeper).  ``--record`` plays the
cases on Apache and writes what it answers to expected.json; where Zabra answers otherwise on purpose stands
in deviations.py.  The last line of output is the report; the exit code is 1 when a case or a crowd failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.badinput import crowds
from tests.badinput.cases import table
from tests.badinput.deviations import DEVIATIONS
from tests.badinput.observe import Address, healthy, observe, prepare, resume_cases
from tests.differential.servers import CONFIG, PROPERTIES, NamedServer, apache_server, zabra_server
from tests.interop import apache
from tests.interop.processes import free_ports

EXPECTED = Path(__file__).with_name("expected.json")
SESSIONLESS_MS = 3000
"""nio.sessionlessCnxnTimeout for the servers started here."""
# No TTL nodes: a server would have to be asked when it removes them.
BAD_INPUT_CONFIG = {**CONFIG, "4lw.commands.whitelist": "ruok,isro,srvr,stmk"}
BAD_INPUT_PROPERTIES = {**PROPERTIES, "zookeeper.nio.sessionlessCnxnTimeout": str(SESSIONLESS_MS)}

Outcomes = dict[str, list[str]]


def play_cases(address: Address, on_apache: bool, only: str | None = None) -> Outcomes:
    """What happens in every case, by name; every case is followed by a look at a healthy client."""
    prepare(address)
    out: Outcomes = {}
    for case in table():
        if (only is None or only in case.name) and not (on_apache and case.fatal_to_apache):
            out[case.name] = observe(address, case)
            if not healthy(address):
                out[case.name].append("then no healthy client is served")
    if only is None:
        out.update(resume_cases(address))
    return out


def compare(outcomes: Outcomes, expected: Outcomes, on_apache: bool) -> tuple[list[str], int]:
    """(differences in words, deviations met)."""
    told = []
    deviations = 0
    for name, outcome in outcomes.items():
        wanted = expected.get(name)
        if not on_apache and name in DEVIATIONS:
            wanted = DEVIATIONS[name][0]
            deviations += 1
        if outcome != wanted:
            told.append(f"{name}\n  expected {wanted}\n  happened {outcome}")
    return told, deviations


def server_under_test(on_apache: bool, folder: Path) -> NamedServer:
    """The server under test, not started."""
    port = free_ports(1, 12900, 13000)[0]
    make = apache_server if on_apache else zabra_server
    return make(folder, port, BAD_INPUT_PROPERTIES, BAD_INPUT_CONFIG)


def run(address: Address, pid: int | None, options: argparse.Namespace) -> int:
    """Plays what the options ask for; the exit code."""
    started = time.monotonic()
    on_apache = options.apache or options.record
    outcomes = play_cases(address, on_apache, options.case)
    if options.record:
        text = {"apache": apache.release("3.9"), "cases": outcomes}
        EXPECTED.write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")
    recorded = json.loads(EXPECTED.read_text())
    told, deviations = compare(outcomes, recorded["cases"], on_apache)
    for difference in told:
        print(difference)
    words = []
    stood = True
    if options.case is None and not options.no_crowds:
        for name, crowd in crowds.crowds(options.quick, options.half_open_wait).items():
            word, ok = crowds.play(name, crowd, address, pid)
            words.append(word)
            stood = stood and ok
    print(
        f"R12 bad-inputs cases={len(outcomes)} as-apache-{recorded['apache']}="
        f"{len(outcomes) - deviations - len(told)} deviations={deviations} failed={len(told)} "
        f"{' '.join(words)} seconds={time.monotonic() - started:.0f}"
    )
    return 0 if stood and not told else 1


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", metavar="HOST:PORT", help="a server that runs already")
    parser.add_argument("--pid", type=int, help="its process id, to see how it grows")
    parser.add_argument("--apache", action="store_true", help="the server is Apache ZooKeeper")
    parser.add_argument("--record", action="store_true", help="write what Apache answers to expected.json")
    parser.add_argument("--case", help="only cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="small crowds")
    parser.add_argument("--no-crowds", action="store_true")
    parser.add_argument("--half-open-wait", type=float, default=20.0, metavar="S")
    options = parser.parse_args()
    if options.server:
        host, _, port = options.server.rpartition(":")
        return run((host, int(port)), options.pid, options)
    with tempfile.TemporaryDirectory(prefix="badinput-") as folder:
        server = server_under_test(options.apache or options.record, Path(folder))
        with server:
            return run(server.pair, server.pid, options)


if __name__ == "__main__":
    sys.exit(main())
