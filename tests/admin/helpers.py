"""Pictures of servers in every role, made by hand, and what Apache ZooKeeper 3.9 said in their place."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.admin.driver import Drive

from zabra.admin.context import Observable
from zabra.admin.four_letter import FourLetterWords
from zabra.config.ensemble import EnsembleConfig
from zabra.config.load import default_config
from zabra.config.server import ServerConfig
from zabra.proto import codes
from zabra.server.status import ENTRIES_MAX, ServerView
from zabra.server.views import ExpiryBucket, LeaderView, LearnerView, RoleView, quorum_view
from zabra.zab import phases

DATA = Path(__file__).parent.parent / "data"
RECORDED: dict[str, dict[str, Any]] = json.loads((DATA / "words_3.9.4.json").read_text())
ADMIN_SHAPES: dict[str, dict[str, Any]] = json.loads((DATA / "admin_shapes_3.9.5.json").read_text())

MEMBERS = (
    "server.1=127.0.0.1:13111:13112:participant\n"
    "server.2=127.0.0.1:13121:13122:participant\n"
    "server.3=127.0.0.1:13131:13132:participant\n"
    "server.4=127.0.0.1:13141:13142:observer\n"
    "version=0"
)
SIDS = {"leader": 3, "follower": 2, "observer": 4}
STATES = {"leader": phases.LEADING, "follower": phases.FOLLOWING, "observer": phases.OBSERVING}


def config_with(data_dir: str = "/srv/zookeeper/data", **changes: Any) -> ServerConfig:
    """A configuration of one server; everything is whitelisted."""
    config = default_config(data_dir)
    changes = {"four_letter_words": ("*",), "client_port": 13100, **changes}
    return dataclasses.replace(config, **changes)


class InRole:
    """A driven standalone server that says it has another role."""

    def __init__(self, drive: Drive, role: str) -> None:
        self.drive = drive
        self.role = role
        self.serves = True
        self.local_sessions = False
        self.observer_resets = 0

    def status(self, parts: int = 0, limit: int = ENTRIES_MAX) -> ServerView:
        server = self.drive.server
        view = RoleView(self.role, self.serves, parts)
        if self.role in STATES:
            view.quorum = quorum_view(
                EnsembleConfig.parse(MEMBERS), STATES[self.role], phases.BROADCAST, phases.SYNC_NONE
            )
            view.quorum.led_by(3)
        if self.local_sessions:
            view.local_buckets = [ExpiryBucket(server.now_ms + 10_000, [])]
        if self.role in ("leader", "standalone"):
            server.role.describe(view)
        if self.role == "leader":
            view.leader = LeaderView()
            view.leader.learners = 3
            view.leader.synced_followers = 2
            for size in (60, 48, 91):
                view.leader.proposal_sizes.note(size)
            view.synced_observers = 1
            view.observers = [LearnerView(4, "127.0.0.1:47048", server.wall_ms)]
        if self.role == "observer":
            view.observer_master_id = 3
        picture = ServerView(server, server.serving, server.snapshotter, view, limit)
        picture.server_id = SIDS.get(self.role, 0)
        return picture

    def reset_stats(self) -> None:
        self.drive.server.reset_stats()

    def reset_connection_stats(self) -> None:
        self.drive.server.reset_connection_stats()

    def reset_observer_stats(self) -> None:
        self.observer_resets += 1

    def note_packets_sent(self, count: int) -> None:
        self.drive.server.note_packets_sent(count)


def recorded_run() -> Drive:
    """What was done to Apache before its words were recorded: two clients, ephemerals, watches."""
    drive = Drive()
    first = drive.connect(port=41450)
    drive.create(first, "/app", b"x", xid=1)
    drive.create(first, "/app/e", flags=codes.MODE_EPHEMERAL, xid=2)
    drive.create(first, "/app/f", flags=codes.MODE_EPHEMERAL, xid=3)
    drive.read(first, codes.OP_GET_DATA, "/app", watch=True, xid=4)
    drive.read(first, codes.OP_GET_CHILDREN, "/app", watch=True, xid=5)
    assert drive.read(first, codes.OP_EXISTS, "/nope", watch=True, xid=6)[0] == codes.ERR_NO_NODE
    second = drive.connect(port=41462)
    drive.read(second, codes.OP_GET_DATA, "/app", watch=True, xid=1)
    assert drive.read(second, codes.OP_GET_DATA, "/zz", xid=2)[0] == codes.ERR_NO_NODE
    return drive


class Clock:
    """Time in ms that stands still unless told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def words_for(server: Observable, **changes: Any) -> FourLetterWords:
    return FourLetterWords(config_with(**changes), server, Clock())


_MASKS = [
    (r"(?m)^(Zookeeper version: |zookeeper\.version=|zk_version\t).*$", r"\1V"),
    (r"/127\.0\.0\.1:\d+\[", "H:P["),
    (r"ip: /127\.0\.0\.1:\d+", "ip: /H:P"),
    (r"0x[0-9a-f]{13,16}", "0xS"),
    (r"(expire at) \w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}", r"\1 DATE"),
    (r"Latency min/avg/max: \d+/\d+\.\d+/\d+", "Latency L"),
    (r"(est|lresp|llat|minlat|avglat|maxlat)=\d+", r"\1=N"),
    (r"(dataDirSize=|dataLogSize=|datadir_size: |logdir_size: )\d+", r"\1N"),
    (r"(Received|Sent): \d+", r"\1: N"),
]


def masked(text: str) -> str:
    """A text without what differs between two runs of the same thing."""
    for pattern, replacement in _MASKS:
        text = re.sub(pattern, replacement, text)
    return text


def in_any_order(text: str) -> str:
    """A text with its entries sorted: connections, sessions, paths, which upstream keeps in hash tables.

    An entry is a line that begins with what it is about, and those under it that begin with a tab; only
    neighbours are sorted, every other line stays where it is.
    """
    blocks: list[list[str]] = []
    for line in text.split("\n"):
        if line.startswith("\t") and blocks:
            blocks[-1].append(line)
        else:
            blocks.append([line])
    out: list[str] = []
    for _, group in groupby(enumerate(blocks), key=_kind_of):
        neighbours = ["\n".join([block[0], *sorted(block[1:])]) for _, block in group]
        out += sorted(neighbours)
    return "\n".join(out)


def _kind_of(numbered: tuple[int, list[str]]) -> str:
    number, block = numbered
    for start in (" /", " H:P", "0x", "/"):
        if block[0].startswith(start):
            return start
    return str(number)
