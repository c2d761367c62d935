"""Who is in the ensemble, and who of them this server is: ``server.N`` lines, the dynamic file, ``myid``.

Source: upstream ``QuorumPeerConfig.setupQuorumPeerConfig`` and what it calls.
"""

from collections.abc import Callable

from zabra.config.ensemble import EnsembleConfig, EnsembleError, QuorumServer
from zabra.config.properties import parse_all
from zabra.config.settings import Settings, number, text

# The text of a file, or None where there is none.  May raise OSError.
ReadFile = Callable[[str], str | None]

# The highest byte of a session id is its server's id; TTL nodes keep 255 for themselves.
MAX_SERVER_ID = 255
MAX_EXTENDED_SERVER_ID = 254
# initLimit and syncLimit of a server that joins and is told neither: upstream's sample configuration.
JOIN_INIT_TICKS = 10
JOIN_SYNC_TICKS = 5
ANY_HOSTS = ("", "0.0.0.0", "::", "0:0:0:0:0:0:0:0")

Pairs = list[tuple[str, str, str]]  # (key, value, where)


class Members:
    """What ``read_members`` found.  ``server_id`` is 0 where there is no ``myid`` and none is needed."""

    __slots__ = ("ensemble", "next_ensemble", "server_id")

    def __init__(self) -> None:
        self.ensemble: EnsembleConfig | None = None
        self.next_ensemble: EnsembleConfig | None = None
        self.server_id: int = 0


def read_members(settings: Settings, values: dict[str, object], path: str, read: ReadFile) -> Members:
    """The member list and this server's place in it; what is wrong goes to ``settings``."""
    members = Members()
    dynamic_file = text(values, "dynamic_config_file")
    pairs = _static_pairs(settings)
    if dynamic_file:
        for key, _, where in pairs:
            settings.error(where, key, "belongs into the dynamic configuration file, since there is one")
        pairs = _dynamic_pairs(settings, dynamic_file, read)
        members.next_ensemble = _read_next(path + ".dynamic.next", read, settings)
    if values["join"]:
        _join(settings, values, members, pairs, read)
        return members
    ensemble = _parse(settings, pairs, multi_address=bool(values["multi_address_enabled"]))
    if ensemble is None:
        return members
    if not _may_run(settings, ensemble, bool(values["standalone_enabled"])):
        return members
    found = _read_server_id(settings, values, read)
    if len(ensemble.voters()) <= 1 and values["standalone_enabled"]:
        if ensemble.servers:
            settings.warn(
                "configuration", "server.", "only one server: it runs standalone (standaloneEnabled)"
            )
        members.server_id = found or 0
        return members
    members.ensemble = ensemble
    settings.origins["ensemble"] = pairs[0][2] if pairs else "configuration"
    _take_place(settings, values, members, found)
    return members


def _join(
    settings: Settings, values: dict[str, object], members: Members, pairs: Pairs, read: ReadFile
) -> None:
    """An observer that learns from others who they are: the list is empty until it has asked."""
    if pairs:
        settings.error_at("zabra.join", "is set, and so is a list of servers: one of them has to go")
        return
    members.ensemble = EnsembleConfig({})
    members.server_id = _read_server_id(settings, values, read) or 0
    if settings.is_set("peerType") and values["peer_type"] != "observer":
        settings.error_at("peerType", "is participant, but zabra.join makes an observer")
    settings.derive(values, "peer_type", "observer", "zabra.join")
    for field, ticks in (("init_limit_ticks", JOIN_INIT_TICKS), ("sync_limit_ticks", JOIN_SYNC_TICKS)):
        if number(values, field) == 0:
            settings.derive(values, field, ticks, "zabra.join")


def _static_pairs(settings: Settings) -> Pairs:
    return [(g.key, g.text, g.where) for g in settings.given.values() if g.option.field == "ensemble"]


def _read(settings: Settings, path: str, read: ReadFile, what: str) -> str | None:
    """The file's text; None, and an error, where it cannot be read or is not there."""
    try:
        content = read(path)
    except OSError as error:
        settings.error(path, "", f"{what} cannot be read: {error}")
        return None
    if content is None:
        settings.error(path, "", f"{what} does not exist")
    return content


def version_of_file_name(path: str) -> int:
    """The version that a dynamic file's name ends in (hexadecimal, behind the last dot), 0 without one."""
    _, dot, suffix = path.rpartition(".")
    if not dot or not suffix or any(digit not in "0123456789abcdefABCDEF" for digit in suffix):
        return 0
    version = int(suffix, 16)
    return version if version <= 0x7FFFFFFFFFFFFFFF else 0


def _dynamic_pairs(settings: Settings, path: str, read: ReadFile) -> Pairs:
    content = _read(settings, path, read, "the dynamic configuration file")
    if content is None:
        return []
    entries, errors = parse_all(content)
    for error in errors:
        settings.error(f"{path}:{error.line}", "", str(error))
    pairs: Pairs = []
    for entry in entries:
        key, where = entry.key.strip(), f"{path}:{entry.line}"
        if key == "version":
            settings.error(where, key, "must not be inside a dynamic file: it stands in the file's name")
        elif key.startswith(("server.", "group.", "weight.")):
            pairs.append((key, entry.value.strip(), where))
        else:
            settings.error(
                where, key, "does not belong into a dynamic file (only server, group and weight do)"
            )
    version = version_of_file_name(path)
    if version:
        pairs.append(("version", f"{version:x}", path))
    return pairs


def _read_next(path: str, read: ReadFile, settings: Settings) -> EnsembleConfig | None:
    """The last seen configuration; one that cannot be used only earns a warning, as upstream."""
    try:
        content = read(path)
        return EnsembleConfig.parse(content) if content is not None else None
    except (OSError, EnsembleError) as error:
        settings.warn(path, "", f"the last seen configuration is ignored: {error}")
        return None


def _parse(settings: Settings, pairs: Pairs, *, multi_address: bool) -> EnsembleConfig | None:
    """The list as an object; None, and errors, where lines are malformed."""
    sound = True
    for key, value, where in pairs:
        if not key.startswith("server."):
            continue
        number_text = key.removeprefix("server.")
        if not (number_text.isascii() and number_text.isdigit()):
            settings.error(where, key, f"{number_text!r} is not the number of a server")
            sound = False
            continue
        try:
            server = QuorumServer.parse(int(number_text), value)
        except EnsembleError as error:
            settings.error(where, key, str(error).removeprefix(f"{key}: "))
            sound = False
            continue
        if len(server.addresses) > 1 and not multi_address:
            settings.error(where, key, "has several addresses, but multiAddress.enabled is false")
            sound = False
    if not sound:
        return None
    try:
        return EnsembleConfig.from_properties([(key, value) for key, value, _ in pairs])
    except EnsembleError as error:
        settings.error(_where(pairs, str(error)), "", str(error))
        return None


def _where(pairs: Pairs, message: str) -> str:
    """Where the key stands that a message mentions, or where the list begins."""
    for key, _, where in pairs:
        if key in message:
            return where
    return pairs[0][2] if pairs else "configuration"


def _may_run(settings: Settings, ensemble: EnsembleConfig, standalone_enabled: bool) -> bool:
    problem = ensemble.problem(standalone_enabled)
    if problem:
        settings.error("configuration", "server.", problem)
        return False
    voters = len(ensemble.voters())
    if voters == 2 or (voters == 1 and not standalone_enabled):
        settings.warn("configuration", "server.", "no failure is tolerated: that takes three voters at least")
    elif voters and voters % 2 == 0:
        settings.warn(
            "configuration", "server.", f"{voters} voters tolerate no more failures than {voters - 1}"
        )
    return True


def _read_server_id(settings: Settings, values: dict[str, object], read: ReadFile) -> int | None:
    """The number in ``myid``; None where there is no such file (or nothing to call an id in it)."""
    folder = text(values, "data_dir")
    if not folder:
        return None
    path = f"{folder.rstrip('/')}/myid"
    try:
        content = read(path)
    except OSError as error:
        settings.error(path, "", f"cannot be read: {error}")
        return None
    if content is None:
        return None
    line = content.split("\n", 1)[0].strip()
    if not (line.isascii() and line.isdigit()):
        settings.error(path, "", f"{line!r} is not the number of a server")
        return None
    sid = int(line)
    limit = MAX_EXTENDED_SERVER_ID if values["extended_types_enabled"] else MAX_SERVER_ID
    if sid > limit:
        because = " while extendedTypesEnabled is true" if limit == MAX_EXTENDED_SERVER_ID else ""
        settings.error(path, "", f"{sid} is too large for a server's id: {limit} is the largest{because}")
        return None
    settings.origins["server_id"] = path
    return sid


def _take_place(settings: Settings, values: dict[str, object], members: Members, sid: int | None) -> None:
    """What the list says of this server wins over what its own keys say."""
    assert members.ensemble is not None
    if sid is None:
        path = f"{text(values, 'data_dir').rstrip('/')}/myid"
        if not any(problem.where == path for problem in settings.errors):
            settings.error(path, "", "is missing: it holds this server's number in the list of servers")
        return
    members.server_id = sid
    server = members.ensemble.servers.get(sid)
    if server is None:
        known = ", ".join(map(str, sorted(members.ensemble.servers)))
        settings.error(
            "configuration", "server.", f"this server is {sid} (myid), and the list has only {known}"
        )
        return
    role = "observer" if server.observer else "participant"
    if values["peer_type"] != role:
        settings.warn_at(
            "peerType", f"is {values['peer_type']}, but the list of servers says {role}, which counts"
        )
        settings.derive(values, "peer_type", role, f"server.{sid}")
    _merge_client_port(settings, values, server)
    if server.secure is not None:
        _merge_address(settings, values, server.secure, "secure_client_port", "secureClientPort", sid)


def _merge_client_port(settings: Settings, values: dict[str, object], server: QuorumServer) -> None:
    if server.client is not None:
        _merge_address(settings, values, server.client, "client_port", "clientPort", server.sid)
    elif values["client_port"] is not None:
        server.client = (text(values, "client_port_address") or "0.0.0.0", number(values, "client_port"))
        server.client_from_static = True


def _merge_address(
    settings: Settings, values: dict[str, object], listed: tuple[str, int], field: str, key: str, sid: int
) -> None:
    """The list's client address takes the place of the static one, which must not contradict it."""
    host, port = listed
    if values[field] is not None:
        own_host = text(values, f"{field}_address")
        same_host = own_host in ANY_HOSTS or own_host == host
        if not same_host or number(values, field) != port:
            own = f"{own_host or '0.0.0.0'}:{values[field]}"
            settings.error_at(key, f"is {own} here, but {host}:{port} in server.{sid}")
    settings.derive(values, field, port, f"server.{sid}")
    settings.derive(values, f"{field}_address", host, f"server.{sid}")
