"""The election port's bytes: the dialer's initial message, and Notifications in their three formats.

Nothing here raises on what a peer sent: bad bytes come back as ``Refused`` with a reason to log, because on
this port a malformed message costs at most its connection, never the election (upstream ZOOKEEPER-3769,
2186, 4787).  Source: upstream ``QuorumCnxManager.InitialMessage`` and ``FastLeaderElection``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import JuteError, Reader, Writer

# First long of the initial message.  Anything from 0 up is the ancient form: the sid itself.
INITIAL_V1: Final[int] = -65536
INITIAL_V2: Final[int] = -65535

# Bytes of the address list in an initial message.
INITIAL_ADDRESS_BYTES_MAX: Final = 2048

# The sid of an observer without one; the acceptor gives it -1, -2 and so on.
ANONYMOUS_OBSERVER: Final[int] = 0x7FFFFFFFFFFFFFFF

# Bytes of one framed notification.
NOTIFICATION_BYTES_MAX: Final = 524288

# Notification.version: 1 has no config behind it, 2 has.
NOTIFICATION_VERSION: Final = 2

# Lengths of the two older formats: without peerEpoch and version; and one that predates versions,
# although it is as long as version 1.
LENGTH_WITHOUT_PEER_EPOCH: Final = 28
LENGTH_WITHOUT_VERSION: Final = 40

WILDCARD_HOSTS: Final = ("0.0.0.0", "::", "0:0:0:0:0:0:0:0", "")


class Refused:
    """What a peer sent is not what the protocol allows; ``reason`` is for the log."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason: str = reason

    def __repr__(self) -> str:
        return f"Refused({self.reason!r})"


class InitialMessage:
    """Who dialled: ``sid``, its election addresses (wildcards left out), and how many bytes said so."""

    __slots__ = ("addresses", "sid", "size", "version")

    def __init__(self, version: i64, sid: i64, addresses: list[tuple[str, int]], size: i64) -> None:
        self.version: i64 = version
        self.sid: i64 = sid
        self.addresses: list[tuple[str, int]] = addresses
        self.size: i64 = size

    def __repr__(self) -> str:
        return f"InitialMessage(version={self.version}, sid={self.sid}, addresses={self.addresses!r})"


def format_address(host: str, port: int) -> str:
    """``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str) -> tuple[str, int] | Refused:
    """The opposite of ``format_address``."""
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return Refused(f"badly formed address: {text!r}")
    if not separator:
        return Refused(f"badly formed address: {text!r}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        return Refused(f"bad port number: {port!r}")
    return host, int(port)


def encode_initial_message(sid: i64, addresses: list[tuple[str, int]], multi_address: bool) -> bytes:
    """What a dialer sends first: with ``multi_address`` all its election addresses, else the first."""
    shown = addresses if multi_address else addresses[:1]
    text = "|".join([format_address(host, port) for host, port in shown])
    raw = text.encode("utf-8")
    w = Writer()
    w.write_long(INITIAL_V2 if multi_address else INITIAL_V1)
    w.write_long(sid)
    w.write_int(len(raw))
    w.write_raw(raw)
    return w.getvalue()


def decode_initial_message(buf: bytes) -> InitialMessage | Refused | None:
    """The initial message at the head of ``buf``; None until it is whole."""
    r = Reader(buf)
    if r.remaining() < 8:
        return None
    version = r.read_long()
    if version >= 0:
        return InitialMessage(version, version, [], 8)
    if version != INITIAL_V1 and version != INITIAL_V2:
        return Refused(f"unrecognized protocol version {version}")
    if r.remaining() < 12:
        return None
    sid = r.read_long()
    size = r.read_int()
    if size <= 0 or size > INITIAL_ADDRESS_BYTES_MAX:
        return Refused(f"unreasonable buffer length: {size}")
    if r.remaining() < size:
        return None
    start = r.pos
    text = buf[start : start + size].decode("utf-8", "replace")
    addresses: list[tuple[str, int]] = []
    for part in text.split("|"):
        address = parse_address(part)
        if isinstance(address, Refused):
            return address
        if address[0] not in WILDCARD_HOSTS:
            addresses.append(address)
    return InitialMessage(version, sid, addresses, start + size)


class Notification:
    """One vote on its way: ``state`` is the sender's ServerState number.

    ``config`` is the text of the sender's current configuration, None where the format has none.
    ``leader`` is the proposed leader, ``zxid`` and ``peer_epoch`` its last zxid and currentEpoch,
    ``election_epoch`` the sender's round.
    """

    __slots__ = ("config", "election_epoch", "leader", "peer_epoch", "state", "version", "zxid")

    def __init__(
        self,
        state: i64,
        leader: i64,
        zxid: i64,
        election_epoch: i64,
        peer_epoch: i64,
        version: i64,
        config: bytes | None,
    ) -> None:
        self.state: i64 = state
        self.leader: i64 = leader
        self.zxid: i64 = zxid
        self.election_epoch: i64 = election_epoch
        self.peer_epoch: i64 = peer_epoch
        self.version: i64 = version
        self.config: bytes | None = config

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Notification)
            and self.state == other.state
            and self.leader == other.leader
            and self.zxid == other.zxid
            and self.election_epoch == other.election_epoch
            and self.peer_epoch == other.peer_epoch
            and self.version == other.version
            and self.config == other.config
        )

    def __hash__(self) -> int:
        return hash((self.state, self.leader, self.zxid, self.election_epoch, self.peer_epoch))

    def __repr__(self) -> str:
        return (
            f"Notification(state={self.state}, leader={self.leader}, zxid={self.zxid:#x}, "
            f"round={self.election_epoch}, peer_epoch={self.peer_epoch}, v={self.version})"
        )


def encode_notification(n: Notification) -> bytes:
    """The message, without its frame; version 2 always carries a config, older ones never."""
    w = Writer()
    w.write_int(n.state)
    w.write_long(n.leader)
    w.write_long(n.zxid)
    w.write_long(n.election_epoch)
    w.write_long(n.peer_epoch)
    w.write_int(n.version)
    if n.version > 1:
        config = n.config
        w.write_buffer(b"" if config is None else config)
    return w.getvalue()


def frame_notification(message: bytes) -> bytes:
    """The message behind its int length, as it stands on the wire."""
    w = Writer()
    w.write_buffer(message)
    return w.getvalue()


def decode_notification(message: bytes) -> Notification | Refused:
    """One message, in any of the formats."""
    size: i64 = len(message)
    if size < LENGTH_WITHOUT_PEER_EPOCH:
        return Refused(f"short notification: {size} bytes")
    try:
        return _decode_notification(message, size)
    except JuteError as error:
        return Refused(f"malformed notification of {size} bytes: {error}")


def _decode_notification(message: bytes, size: i64) -> Notification | Refused:
    r = Reader(message)
    state = r.read_int()
    leader = r.read_long()
    zxid = r.read_long()
    election_epoch = r.read_long()
    version: i64 = 0
    config: bytes | None = None
    if size == LENGTH_WITHOUT_PEER_EPOCH:
        peer_epoch: i64 = zxid >> 32
    else:
        peer_epoch = r.read_long()
        if size != LENGTH_WITHOUT_VERSION:
            version = r.read_int()
    if version > 1:
        length = r.read_int()
        if length < 0 or length > r.remaining():
            return Refused(f"invalid config length {length} in a notification of {size} bytes")
        config = message[r.pos : r.pos + length]
    if state < 0 or state > 3:
        return Refused(f"unknown server state {state}")
    return Notification(state, leader, zxid, election_epoch, peer_epoch, version, config)
