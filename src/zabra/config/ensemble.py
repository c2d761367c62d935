"""EnsembleConfig: who is in the ensemble.  Data of the protocol, not an option of one server.

The same text travels in notifications, in NEWLEADER, in reconfig txns and in ``/zookeeper/config``, and
stands in dynamic configuration files.  ``parse`` and ``format`` are inverse, and ``format`` gives the bytes
upstream gives.  Source: upstream ``QuorumPeerConfig``, ``QuorumPeer.QuorumServer``, ``QuorumMaj.toString``
and ``QuorumHierarchical.toString``.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address

LONG_MAX = 0x7FFFFFFFFFFFFFFF


class EnsembleError(ValueError):
    """The text is not a configuration of an ensemble."""


def _parse_number(text: str, what: str, low: int, high: int) -> int:
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdigit()) or not low <= int(text) <= high:
        raise EnsembleError(f"{what}: {text!r} is not a number from {low} to {high}")
    return int(text)


def _parse_sid(text: str, what: str) -> int:
    return _parse_number(text, what, -LONG_MAX - 1, LONG_MAX)


def split_host(text: str) -> tuple[str, list[str]]:
    """The host and what follows it between colons; an IPv6 host stands in brackets."""
    if not text.startswith("["):
        parts = text.split(":")
        return parts[0], parts[1:]
    end = text.find("]")
    if end < 0:
        raise EnsembleError(f"{text!r} starts with '[' but has no matching ']'")
    rest = text[end + 1 :]
    if rest == ":":
        raise EnsembleError(f"{text!r} doesn't have a port after colon")
    if rest and not rest.startswith(":"):
        raise EnsembleError(f"{text!r} has no colon after ']'")
    return text[1:end], rest[1:].split(":") if rest else []


def _host_string(host: str) -> str:
    """As Java prints a literal it has resolved: IPv6 in eight groups without leading zeros."""
    if ":" not in host:
        return host
    try:
        groups = IPv6Address(host.partition("%")[0]).exploded.split(":")
    except ValueError:
        return host
    return ":".join([f"{int(group, 16):x}" for group in groups])


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class QuorumServer:
    """One ``server.N`` line.

    ``addresses`` are (host, quorum port, election port), more than one with multiAddress.enabled.
    ``client`` is (host, port) or None; with ``client_from_static`` it came from a static clientPort and is
    not part of the text.  ``secure`` is the secure client address of the three-part form.
    """

    __slots__ = ("addresses", "client", "client_from_static", "observer", "secure", "sid")

    def __init__(
        self,
        sid: int,
        addresses: list[tuple[str, int, int]],
        observer: bool = False,
        client: tuple[str, int] | None = None,
        secure: tuple[str, int] | None = None,
        client_from_static: bool = False,
    ) -> None:
        self.sid = sid
        self.addresses = addresses
        self.observer = observer
        self.client = client
        self.secure = secure
        self.client_from_static = client_from_static

    @staticmethod
    def parse(sid: int, text: str) -> "QuorumServer":
        """``host:quorumPort:electionPort[:type][|...][;[host:]clientPort[;[host:]securePort]]``."""
        parts = text.strip().split(";")
        if len(parts) > 3:
            raise EnsembleError(f"server.{sid}: {text!r} has more than two client addresses")
        addresses: list[tuple[str, int, int]] = []
        roles: list[bool] = []
        for one in parts[0].split("|"):
            host, ports = split_host(one.strip())
            if not host or not 2 <= len(ports) <= 3:
                raise EnsembleError(f"server.{sid}: {one!r} is not host:port:port or host:port:port:type")
            quorum_port = _parse_number(ports[0], f"quorum port of server.{sid}", 0, 65535)
            election_port = _parse_number(ports[1], f"election port of server.{sid}", 0, 65535)
            if quorum_port == election_port:
                raise EnsembleError(f"server.{sid}: quorum and election port must be different")
            addresses.append((host, quorum_port, election_port))
            if len(ports) == 3:
                roles.append(_parse_role(sid, ports[2]))
        if len(set(roles)) > 1:
            raise EnsembleError(f"server.{sid}: multiple addresses must have the same role")
        client = _parse_client(sid, parts[1]) if len(parts) > 1 and parts[1] else None
        secure = _parse_client(sid, parts[2]) if len(parts) > 2 and parts[2] else None
        return QuorumServer(sid, addresses, roles[0] if roles else False, client, secure)

    def format(self) -> str:
        """The text behind ``server.N=``."""
        hosts = sorted([(_host_string(host), quorum, election) for host, quorum, election in self.addresses])
        text = "|".join([f"{_in_brackets(host)}:{quorum}:{election}" for host, quorum, election in hosts])
        text += ":observer" if self.observer else ":participant"
        client = None if self.client_from_static else self.client
        if client is not None:
            text += f";{_in_brackets(_host_string(client[0]))}:{client[1]}"
        if self.secure is not None:
            text += ";" if client is not None else ";;"
            text += f"{_in_brackets(_host_string(self.secure[0]))}:{self.secure[1]}"
        return text

    def quorum_addresses(self) -> list[tuple[str, int]]:
        """Where it listens for learners while it leads."""
        return [(host, quorum) for host, quorum, _ in self.addresses]

    def election_addresses(self) -> list[tuple[str, int]]:
        """Where it listens for notifications."""
        return [(host, election) for host, _, election in self.addresses]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, QuorumServer)
            and self.sid == other.sid
            and self.observer == other.observer
            and sorted(self.addresses) == sorted(other.addresses)
            and self.client == other.client
        )

    def __hash__(self) -> int:
        return hash(self.sid)

    def __repr__(self) -> str:
        return f"server.{self.sid}={self.format()}"


def _parse_role(sid: int, text: str) -> bool:
    role = text.strip().lower()
    if role not in ("participant", "observer"):
        raise EnsembleError(f"server.{sid}: unrecognised peertype: {text!r}")
    return role == "observer"


def _parse_client(sid: int, text: str) -> tuple[str, int]:
    host, ports = split_host(text.strip())
    if not ports:
        return "0.0.0.0", _parse_number(host, f"client port of server.{sid}", 0, 65535)
    if len(ports) > 1:
        raise EnsembleError(f"server.{sid}: {text!r} is not a client address")
    return host, _parse_number(ports[0], f"client port of server.{sid}", 0, 65535)


def hash_map_order(keys: Iterable[int]) -> list[int]:
    """``keys`` in the order a Java HashMap<Long, ...> of this size walks them: upstream prints members so.

    Ascending for small ids; keys that share a bucket are put in ascending order.
    """
    ordered = sorted(keys)
    capacity = 16
    while len(ordered) * 4 > capacity * 3:
        capacity *= 2
    buckets: dict[int, list[int]] = {}
    for key in ordered:
        bits = key & 0xFFFFFFFFFFFFFFFF
        code = (bits ^ (bits >> 32)) & 0xFFFFFFFF
        buckets.setdefault((code ^ (code >> 16)) & (capacity - 1), []).append(key)
    return [key for index in sorted(buckets) for key in buckets[index]]


def parse_properties(text: str) -> list[tuple[str, str]]:
    """Lines of ``key=value`` as java.util.Properties reads them, without continuation lines.

    The separator is the first ``=``, ``:`` or blank; ``#`` and ``!`` start comments; ``\\x`` is ``x``.
    """
    pairs: list[tuple[str, str]] = []
    for raw in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        line = raw.lstrip(" \t\f")
        if not line or line[0] in "#!":
            continue
        end = 0
        while end < len(line) and line[end] not in "=: \t\f":
            end += 2 if line[end] == "\\" else 1
        key, rest = line[:end], line[end:].lstrip(" \t\f")
        if rest[:1] in ("=", ":"):
            rest = rest[1:].lstrip(" \t\f")
        pairs.append((_unescape(key), _unescape(rest)))
    return pairs


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    index = 0
    while index < len(text):
        if text[index] == "\\":
            index += 1
        out.append(text[index : index + 1])
        index += 1
    return "".join(out)


class EnsembleConfig:
    """The members, the groups and weights of a hierarchical quorum, and the version (a zxid)."""

    __slots__ = ("groups", "servers", "version", "weights")

    def __init__(
        self,
        servers: dict[int, QuorumServer],
        version: int = 0,
        groups: dict[int, list[int]] | None = None,
        weights: dict[int, int] | None = None,
    ) -> None:
        self.servers = servers
        self.version = version
        self.groups: dict[int, list[int]] = {} if groups is None else groups
        self.weights: dict[int, int] = {} if weights is None else weights

    @staticmethod
    def parse(text: str) -> "EnsembleConfig":
        """Reads the text of ``format``, or of a dynamic configuration file.  Raises EnsembleError."""
        return EnsembleConfig.from_properties(parse_properties(text))

    @staticmethod
    def from_properties(pairs: list[tuple[str, str]]) -> "EnsembleConfig":
        """From ``server.N``, ``group.N``, ``weight.N`` and ``version``; any other key is an error."""
        config = EnsembleConfig({})
        hierarchical = False
        for key, value in pairs:
            name, dot, number = key.strip().partition(".")
            if name == "version" and not dot:
                config.version = _parse_version(value.strip())
            elif name == "server" and dot:
                sid = _parse_sid(number, key)
                if sid in config.servers:
                    raise EnsembleError(f"server.{sid} is given twice")
                config.servers[sid] = QuorumServer.parse(sid, value)
            elif name == "group" and dot:
                hierarchical = True
                members = [_parse_sid(part.strip(), key) for part in value.split(":")]
                config.groups[_parse_sid(number, key)] = members
            elif name == "weight" and dot:
                hierarchical = True
                config.weights[_parse_sid(number, key)] = _parse_number(value.strip(), key, 0, LONG_MAX)
            else:
                raise EnsembleError(f"unrecognised parameter: {key}")
        if hierarchical:
            config._complete_groups()
        return config

    def _complete_groups(self) -> None:
        """Every participant is in exactly one group; its weight is 1 unless given."""
        grouped: dict[int, int] = {}
        for gid, members in self.groups.items():
            for sid in members:
                if sid in grouped:
                    raise EnsembleError(f"server {sid} is in multiple groups")
                grouped[sid] = gid
        for sid in self.voters():
            if sid not in grouped:
                raise EnsembleError(f"server {sid} is not in a group")
            self.weights.setdefault(sid, 1)
        for sid in grouped:
            if sid not in self.weights:
                raise EnsembleError(f"server {sid} is in group {grouped[sid]} and has no weight")

    def format(self) -> str:
        """The text upstream gives: members in its map's order, then groups, weights and the version."""
        lines = [f"server.{sid}={self.servers[sid].format()}" for sid in hash_map_order(self.servers)]
        if self.groups:
            of_server = {sid: gid for gid, members in self.groups.items() for sid in members}
            texts: dict[int, list[str]] = {}
            for sid in hash_map_order(of_server):
                texts.setdefault(of_server[sid], []).append(str(sid))
            lines += [f"group.{gid}=" + ":".join(texts[gid]) for gid in hash_map_order(texts)]
            lines += [f"weight.{sid}={self.weights[sid]}" for sid in hash_map_order(self.weights)]
        lines.append(f"version={self.version & 0xFFFFFFFFFFFFFFFF:x}")
        return "\n".join(lines)

    def file_text(self, with_version: bool) -> str:
        """The text of a dynamic configuration file: lines sorted, no newline at the end."""
        lines = self.format().split("\n")
        return "\n".join(sorted([line for line in lines if with_version or not line.startswith("version=")]))

    def voters(self) -> list[int]:
        """Sids of the participants, ascending."""
        return sorted([sid for sid, server in self.servers.items() if not server.observer])

    def observers(self) -> list[int]:
        """Sids of the observers, ascending."""
        return sorted([sid for sid, server in self.servers.items() if server.observer])

    def with_version(self, version: int) -> "EnsembleConfig":
        """The same members under another version."""
        return EnsembleConfig(dict(self.servers), version, dict(self.groups), dict(self.weights))

    def same_as(self, other: "EnsembleConfig") -> bool:
        """Upstream's equality: one version, or the same members, groups and weights."""
        if self.version == other.version:
            return True
        return self.servers == other.servers and self.groups == other.groups and self.weights == other.weights

    def problem(self, standalone_enabled: bool = True) -> str:
        """Why this cannot be run, or the empty string (upstream ``parseDynamicConfig``)."""
        voters = len(self.voters())
        observers = len(self.observers())
        if voters == 0:
            if not standalone_enabled:
                return "standaloneEnabled = false then number of participants should be >0"
            return "observers w/o participants is an invalid configuration" if observers else ""
        if voters == 1 and standalone_enabled and observers:
            return "observers w/o quorum is an invalid configuration"
        return ""

    def __repr__(self) -> str:
        return f"EnsembleConfig({self.format()!r})"


def _parse_version(text: str) -> int:
    try:
        version = int(text, 16)
    except ValueError:
        raise EnsembleError(f"version: {text!r} is not hexadecimal") from None
    if not 0 <= version <= LONG_MAX:
        raise EnsembleError(f"version: {text!r} is out of range")
    return version
