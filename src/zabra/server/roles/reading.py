"""Reading: no leader has been found for a while, and clients that allow it are served reads (read-only mode).

The election goes on beside it: this is what clients see of a server that is LOOKING.  New sessions are local
ones, since nobody could agree on others; a session of the quorum's is refused, so that its client goes on
looking for it elsewhere.  Source: upstream ``ReadOnlyZooKeeperServer``, ``ReadOnlyRequestProcessor``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.proto import codes
from zabra.proto.request import Request
from zabra.server.roles.looking import Looking
from zabra.server.roles.role import Role
from zabra.server.serving import Serving
from zabra.server.settings import Settings
from zabra.server.views import RoleView

# A server that is merely between two leaders should not show itself as cut off.
MIN_GRACE_MS: Final = 2000


def grace_ms(settings: Settings) -> int:
    """How long a server looks for a leader before it serves reads."""
    return max(MIN_GRACE_MS, settings.tick_ms)


class Reading(Role):
    """What clients see; ``looking`` is what the server does meanwhile."""

    def __init__(self, serving: Serving, looking: Looking) -> None:
        self.serving: Serving = serving
        self.looking: Looking = looking

    def name(self) -> str:
        return "read-only"

    def serves(self) -> bool:
        return True

    def is_read_only(self) -> bool:
        return True

    def describe(self, view: RoleView) -> None:
        self.looking.describe(view)

    def submit(self, request: Request) -> None:
        """Serving refuses writes itself: only the end of a session that is not local comes so far."""
        request.error = codes.ERR_NOT_READ_ONLY
        conn = self.serving.connections.get(request.conn_id)
        if conn is not None:
            self.serving.drain(conn)

    def revalidate(self, conn_id: i64, session_id: i64, timeout_ms: i64) -> None:
        # Neither local here nor the quorum's: nobody knows it.
        self.serving.revalidated(conn_id, session_id, False)
