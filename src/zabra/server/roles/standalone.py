"""Standalone: a server on its own, a quorum of one.  A txn is committed when the own log has it."""

from mypy_extensions import i64

from zabra.proto.request import Request
from zabra.server.roles.proposing import Proposing


class Standalone(Proposing):
    """Prepares, logs, commits."""

    def name(self) -> str:
        return "standalone"

    def checks_eagerly(self) -> bool:
        return False

    def start(self) -> None:
        """Begins to serve."""
        self.begin_sessions()

    def sync(self, request: Request) -> None:
        # Nothing is committed anywhere else, so there is nothing to catch up with.
        self.serving.synced(request)

    def log_synced(self, zxid: i64) -> None:
        pending = self.pending
        while not pending.is_empty() and pending.first().entry.header.zxid <= zxid:
            self.commit_next(pending.first().entry.header.zxid)

    def tick(self) -> None:
        self.tick_sessions()
