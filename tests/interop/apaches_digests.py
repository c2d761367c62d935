"""Digest mismatches that Apache ZooKeeper makes alone: between an Apache leader and its Apache learner.

Apache's leader sends its tree while txns change it, and then the txns again that the tree may hold in part;
its learner compares digests already while it replays those (upstream ``Learner.syncWithLeader``,
``DataTree.processTxn``).  What a learner says of its digests between such a SNAP and NEWLEADER proves nothing
about Zabra.  A SNAP of Zabra's is the tree at the zxid that it names, and is excused of nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.interop.processes import ServerProcess

_CONNECTED = re.compile(r"Successfully connected to leader, using address: \S*:(\d+)")
_SNAP = re.compile(r"Getting a snapshot from leader")
_NEWLEADER = re.compile(r"Learner received NEWLEADER")
_MISMATCH = re.compile(r"Digests are not matching|First digest mismatch on txn")


def quorum_port(member: ServerProcess, sid: int) -> str:
    """The quorum port of the member ``sid`` by this member's configuration."""
    return str(member.cfg[f"server.{sid}"]).split(":")[1]


def lines_with_mismatch(log: Iterable[str], apache_ports: set[str]) -> tuple[int, int]:
    """(lines that tell of a mismatch in an Apache leader's SNAP, such lines anywhere else)."""
    excused = others = 0
    leader, snap = "", False
    for line in log:
        connected = _CONNECTED.search(line)
        if connected:
            leader, snap = connected.group(1), False
        elif _SNAP.search(line):
            snap = leader in apache_ports
        elif _NEWLEADER.search(line):
            snap = False
        elif _MISMATCH.search(line):
            excused, others = (excused + 1, others) if snap else (excused, others + 1)
    return excused, others


def is_apaches_own(member: ServerProcess, apache_sids: Iterable[int]) -> bool:
    """Whether all that this Apache server says of mismatches is about SNAPs of Apache leaders."""
    ports = {quorum_port(member, sid) for sid in apache_sids}
    with member.log_path.open(errors="replace") as log:
        excused, others = lines_with_mismatch(log, ports)
    return excused > 0 and others == 0
