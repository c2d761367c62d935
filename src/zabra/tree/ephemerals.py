"""What ``ephemeralOwner`` says, and who owns which ephemeral nodes.

The word is 0 for a persistent node, a session id for an ephemeral one, and otherwise an encoding of a
container or a TTL.  Source: upstream ``EphemeralType``, ``EphemeralTypeEmulate353``, ``DataTree.ephemerals``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.proto.codes import (
    ERR_BAD_ARGUMENTS,
    MODE_PERSISTENT_SEQUENTIAL_WITH_TTL,
    MODE_PERSISTENT_WITH_TTL,
)
from zabra.proto.errors import KeeperError

# Kinds of owner words.
VOID: Final = 0
NORMAL: Final = 1
CONTAINER: Final = 2
TTL: Final = 3

CONTAINER_OWNER: Final = -0x8000000000000000
# A TTL owner is 0xff, sixteen reserved bits (zero for TTL), and the TTL in milliseconds.
_EXTENDED_TOP: Final = -0x0100000000000000
_RESERVED_BITS: Final = 0x00FFFF0000000000
TTL_MAX_MS: Final = 0xFFFFFFFFFF
# Session ids begin with the server's id, and 0xff begins a TTL.
MAX_EXTENDED_SERVER_ID: Final = 0xFE
_TTL_353_MAX_MS: Final = 0x0FFFFFFFFFFFFFFF
_LONG_BITS: Final = 0x7FFFFFFFFFFFFFFF


def is_ttl_mode(mode: i64) -> bool:
    """Whether create mode ``mode`` takes a TTL."""
    return mode >= MODE_PERSISTENT_WITH_TTL and mode <= MODE_PERSISTENT_SEQUENTIAL_WITH_TTL


def ttl_owner(ttl_ms: i64) -> i64:
    """The owner word of a TTL node.  Raises KeeperError(BADARGUMENTS) outside 1..TTL_MAX_MS."""
    if ttl_ms <= 0 or ttl_ms > TTL_MAX_MS:
        raise KeeperError(ERR_BAD_ARGUMENTS)
    return _EXTENDED_TOP | ttl_ms


def validate_ttl(mode: i64, ttl_ms: i64) -> None:
    """Raises KeeperError(BADARGUMENTS): a TTL mode without a valid TTL, or another mode with one."""
    if is_ttl_mode(mode):
        ttl_owner(ttl_ms)
    elif ttl_ms >= 0:
        raise KeeperError(ERR_BAD_ARGUMENTS)


def is_extended_ttl(owner: i64) -> bool:
    """Whether the word has the layout of a TTL.

    Upstream throws on other reserved bits under 0xff, and the server cannot load its own data; such a word
    can only be a session of a server with id 255, so it is read as one.
    """
    return (owner & _EXTENDED_TOP) == _EXTENDED_TOP and (owner & _RESERVED_BITS) == 0


def is_plain_ephemeral(owner: i64) -> bool:
    """Whether the word names a session, as far as the word alone tells (see ``EphemeralTypes``)."""
    return owner != 0 and owner != CONTAINER_OWNER and not is_extended_ttl(owner)


class EphemeralTypes:
    """How owner words are read on this server.

    ``extended`` is ``zookeeper.extendedTypesEnabled``: without it a TTL word is an ordinary session id.
    ``emulate353`` is ``zookeeper.emulate353TTLNodes``: any negative word but the container's is a TTL in the
    layout of 3.5.3.
    """

    __slots__ = ("emulate353", "extended")

    def __init__(self, extended: bool = False, emulate353: bool = False) -> None:
        self.extended: bool = extended
        self.emulate353: bool = emulate353

    def kind(self, owner: i64) -> i64:
        """VOID, NORMAL, CONTAINER or TTL."""
        if owner == 0:
            return VOID
        if owner == CONTAINER_OWNER:
            return CONTAINER
        if owner < 0 and self.extended and (self.emulate353 or is_extended_ttl(owner)):
            return TTL
        return NORMAL

    def session_owner(self, owner: i64) -> i64:
        """What clients see: the session, or 0 for containers and TTL nodes."""
        return owner if owner != 0 and self.kind(owner) == NORMAL else 0

    def ttl_ms(self, owner: i64) -> i64:
        """The TTL of an owner word of kind TTL."""
        if is_extended_ttl(owner):
            return owner & TTL_MAX_MS
        return owner & _LONG_BITS & _TTL_353_MAX_MS


class Ephemerals:
    """Paths by owner: the ephemerals of each session, the containers, the TTL nodes; in order of creation."""

    __slots__ = ("_total", "by_session", "containers", "ttls", "types")

    def __init__(self, types: EphemeralTypes) -> None:
        self.types: EphemeralTypes = types
        # Paths in ``by_session``.
        self._total: i64 = 0
        self.by_session: dict[int, dict[str, None]] = {}
        self.containers: dict[str, None] = {}
        self.ttls: dict[str, None] = {}

    def add(self, path: str, owner: i64) -> None:
        """Notes a node whose owner word is not 0."""
        kind = self.types.kind(owner)
        if kind == NORMAL:
            paths = self.by_session.get(owner)
            if paths is None:
                self.by_session[owner] = {path: None}
                self._total += 1
            elif path not in paths:
                paths[path] = None
                self._total += 1
        elif kind == CONTAINER:
            self.containers[path] = None
        elif kind == TTL:
            self.ttls[path] = None

    def remove(self, path: str, owner: i64) -> None:
        """Forgets a node whose owner word is not 0."""
        kind = self.types.kind(owner)
        if kind == NORMAL:
            paths = self.by_session.get(owner)
            if paths is not None and path in paths:
                del paths[path]
                self._total -= 1
                if not paths:
                    del self.by_session[owner]
        elif kind == CONTAINER:
            self.containers.pop(path, None)
        elif kind == TTL:
            self.ttls.pop(path, None)

    def take(self, session_id: i64) -> list[str]:
        """The paths of a session, which is forgotten."""
        paths = list(self.by_session.pop(session_id, {}))
        self._total -= len(paths)
        return paths

    def paths_of(self, session_id: i64) -> list[str]:
        """The paths of a session."""
        return list(self.by_session.get(session_id, {}))

    def count(self) -> i64:
        """How many ordinary ephemeral nodes there are."""
        return self._total

    def clear(self) -> None:
        """Forgets everything."""
        self._total = 0
        self.by_session.clear()
        self.containers.clear()
        self.ttls.clear()
