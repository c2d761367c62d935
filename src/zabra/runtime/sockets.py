"""What the operating system is told about each connection: nothing waits for more bytes, silence is probed.

Source: upstream ``NIOServerCnxn`` and ``QuorumCnxManager`` (keep-alive), ``Leader`` and ``Learner`` (delay).
"""

import socket

from zabra.server.ready import PORT_CLIENT, PORT_OBSERVER_MASTER, PORT_QUORUM


class SocketOptions:
    """The choices of one server."""

    def __init__(self) -> None:
        # TCP keep-alive on connections of clients, and on those between servers.
        self.client_keep_alive = False
        self.peer_keep_alive = False
        # Whether small packets go out at once, on connections of learners here, and on the one to our leader.
        self.leader_nodelay = True
        self.follower_nodelay = True

    def apply(self, sock: socket.socket, port: int, dialled: bool) -> None:
        """Sets up one connection that came in through, or was dialled for, ``port``."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(self._nodelay(port, dialled)))
        keep_alive = self.client_keep_alive if port == PORT_CLIENT else self.peer_keep_alive
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(keep_alive))

    def _nodelay(self, port: int, dialled: bool) -> bool:
        if port not in (PORT_QUORUM, PORT_OBSERVER_MASTER):
            return True
        return self.follower_nodelay if dialled else self.leader_nodelay
