"""Membership: what preparing a reconfiguration needs to know of the ensemble, and the view that it makes.

Source: upstream ``PrepRequestProcessor`` (op 16), ``QuorumPeerConfig.parseDynamicConfig``,
``QuorumServer.checkAddressDuplicate``.
"""

from mypy_extensions import i64, trait

from zabra.config.ensemble import EnsembleConfig, EnsembleError, QuorumServer
from zabra.proto import codes
from zabra.proto.errors import KeeperError

WILDCARDS = ("", "0.0.0.0", "::", "0:0:0:0:0:0:0:0", "localhost", "::1", "0:0:0:0:0:0:0:1")


@trait
class Membership:
    """The leader, as the op table sees it; a standalone server has none."""

    def active_config(self) -> EnsembleConfig:
        """The view that is in force."""
        raise AssertionError("not reached")

    def last_seen_config(self) -> EnsembleConfig:
        """The view that was proposed last; the active one unless a reconfiguration is under way."""
        raise AssertionError("not reached")

    def is_quorum_synced(self, config: EnsembleConfig) -> bool:
        """Whether a quorum of ``config`` is connected and synchronised as followers."""
        raise AssertionError("not reached")

    def allows_standalone(self) -> bool:
        """``standaloneEnabled``: a view of one voter is then for a server on its own, not for an ensemble."""
        raise AssertionError("not reached")


def full_view(text: str, allows_standalone: bool) -> EnsembleConfig:
    """The view that ``text`` lists in full, by lines or commas.  Raises KeeperError."""
    try:
        config = EnsembleConfig.parse(text.replace(",", "\n"))
    except EnsembleError:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS) from None
    if config.problem(allows_standalone):
        # An IllegalArgumentException upstream, which a client sees as MARSHALLINGERROR.
        raise KeeperError(codes.ERR_MARSHALLING)
    return config


def changed_view(last_seen: EnsembleConfig, joining: str | None, leaving: str | None) -> EnsembleConfig:
    """``last_seen`` without ``leaving`` and with the lines of ``joining``.  Raises KeeperError."""
    if last_seen.groups:
        # Nobody could say to which group a joiner belongs.
        raise KeeperError(codes.ERR_BAD_ARGUMENTS)
    servers = dict(last_seen.servers)
    for part in parts_of(leaving, ","):
        servers.pop(sid_of(part), None)
    for part in parts_of(joining, ","):
        sides = parts_of(part, "=")
        if len(sides) != 2:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS)
        sid = sid_of(sides[0].rpartition(".")[2])
        try:
            joiner = QuorumServer.parse(sid, sides[1])
        except EnsembleError:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS) from None
        if joiner.client is None:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS)
        for other in servers.values():
            if other.sid != sid and share_an_address(joiner, other):
                raise KeeperError(codes.ERR_BAD_ARGUMENTS)
        servers.pop(sid, None)
        servers[sid] = joiner
    return EnsembleConfig(servers)


def parts_of(text: str | None, separator: str) -> list[str]:
    """What stands between separators, without blanks; empty parts do not count."""
    if text is None:
        return []
    return [part.strip() for part in text.split(separator) if part.strip()]


def sid_of(text: str) -> int:
    """A sid.  Raises MARSHALLINGERROR, which is what a NumberFormatException becomes upstream."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or not -(1 << 63) <= int(text) < 1 << 63:
        raise KeeperError(codes.ERR_MARSHALLING)
    return int(text)


def share_an_address(one: QuorumServer, other: QuorumServer) -> bool:
    """Whether two members would listen at the same place; wildcards and loopback are nobody's."""
    taken = addresses_of(other)
    for address in addresses_of(one):
        host = address[0].lower()
        if host not in WILDCARDS and not host.startswith("127.") and address in taken:
            return True
    return False


def addresses_of(server: QuorumServer) -> list[tuple[str, int]]:
    """Everywhere it listens."""
    found = server.quorum_addresses() + server.election_addresses()
    if server.client is not None:
        found.append(server.client)
    return found


def check_voters(config: EnsembleConfig, allows_standalone: bool) -> None:
    """Raises BADARGUMENTS where too few servers would vote."""
    least: i64 = 2 if allows_standalone else 1
    if len(config.voters()) < least:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS)
