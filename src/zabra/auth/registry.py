"""Providers: the authentication schemes of one server, and the ACL rules built on them.

Source: upstream ``ProviderRegistry``, ``ZooKeeperServer.checkACL``, ``PrepRequestProcessor.fixupACL``.
"""

from typing import cast

from zabra.auth.provider import AuthenticationProvider, PathAuthenticationProvider
from zabra.auth.schemes import SUPER, DigestProvider, IpProvider
from zabra.proto.codes import ERR_INVALID_ACL
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, ClientInfo, Id


def is_world_anyone(id: Id) -> bool:
    """Whether everybody is meant."""
    return id.id == "anyone" and id.scheme == "world"


class Providers:
    """Providers by scheme; a later one takes the place of an earlier one of its scheme.

    ``skip_acl`` is ``zookeeper.skipACL``: every check succeeds.
    """

    __slots__ = ("_at_paths", "_by_scheme", "skip_acl")

    def __init__(self, providers: list[AuthenticationProvider], skip_acl: bool = False) -> None:
        self._by_scheme: dict[str, AuthenticationProvider] = {}
        self.skip_acl: bool = skip_acl
        # Those of them that want to know the path.
        self._at_paths: dict[str, PathAuthenticationProvider] = {}
        for provider in providers:
            scheme = provider.scheme()
            self._by_scheme[scheme] = provider
            self._at_paths.pop(scheme, None)
            if hasattr(provider, "matches_at"):
                self._at_paths[scheme] = cast(PathAuthenticationProvider, provider)

    def get(self, scheme: str) -> AuthenticationProvider | None:
        """The provider of a scheme."""
        return self._by_scheme.get(scheme)

    def schemes(self) -> list[str]:
        """The schemes, in the order they were added."""
        return list(self._by_scheme)

    def authenticate(self, scheme: str, auth: bytes) -> list[Id] | None:
        """The ids that an auth packet adds to its connection; None: refuse and close."""
        provider = self._by_scheme.get(scheme)
        return None if provider is None else provider.handle_authentication(auth)

    def check_acl(self, acl: list[ACL], perm: int, ids: list[Id], path: str) -> bool:
        """Whether a connection with ``ids`` may do any of ``perm`` (codes.PERM_*) under ``acl`` at ``path``.

        An empty list allows everything, and so it does to the super user.
        """
        if not acl or self.skip_acl:
            return True
        for entry in acl:
            if entry.perms & perm and is_world_anyone(entry.id):
                return True
        for id in ids:
            if id.scheme == SUPER:
                return True
        allowed = False
        for entry in acl:
            if entry.perms & perm and self._matches(entry.id, perm, ids, path):
                allowed = True
                break
        return allowed

    def _matches(self, acl_id: Id, perm: int, ids: list[Id], path: str) -> bool:
        at_paths = self._at_paths.get(acl_id.scheme)
        if at_paths is not None:
            for id in ids:
                if id.scheme == acl_id.scheme and at_paths.matches_at(id.id, acl_id.id, path, perm):
                    return True
            return False
        provider = self._by_scheme.get(acl_id.scheme)
        if provider is None:
            return False
        found = False
        for id in ids:
            if id.scheme == acl_id.scheme and provider.matches(id.id, acl_id.id):
                found = True
                break
        return found

    def fixup_acl(self, acl: list[ACL], ids: list[Id]) -> list[ACL]:
        """The ACL that a node gets when a connection with ``ids`` asks for ``acl``.

        Doubles are dropped and ``auth`` becomes the requester's own ids.  Raises KeeperError(INVALIDACL) for
        an empty list, an unknown scheme, an id its provider rejects, and ``auth`` of somebody who has none.
        """
        if not acl:
            raise KeeperError(ERR_INVALID_ACL)
        if len(acl) == 1 and is_world_anyone(acl[0].id):
            return acl
        out: list[ACL] = []
        for i in range(len(acl)):
            entry = acl[i]
            if entry in acl[:i]:
                continue
            if is_world_anyone(entry.id):
                out.append(entry)
            elif entry.id.scheme == "auth":
                self._expand_auth(entry, ids, out)
            else:
                provider = self._by_scheme.get(entry.id.scheme)
                if provider is None or not provider.is_valid(entry.id.id):
                    raise KeeperError(ERR_INVALID_ACL)
                out.append(entry)
        return out

    def _expand_auth(self, entry: ACL, ids: list[Id], out: list[ACL]) -> None:
        before = len(out)
        for id in ids:
            provider = self._by_scheme.get(id.scheme)
            if provider is not None and provider.is_authenticated():
                out.append(ACL(entry.perms, id))
        if len(out) == before:
            raise KeeperError(ERR_INVALID_ACL)

    def user_name(self, id: Id) -> str:
        """The user behind an id; empty for a scheme without provider (``super``)."""
        provider = self._by_scheme.get(id.scheme)
        return "" if provider is None else provider.user_name(id.id)

    def client_infos(self, ids: list[Id]) -> list[ClientInfo]:
        """The answer to whoAmI."""
        return [ClientInfo(id.scheme, self.user_name(id)) for id in ids]

    def users(self, ids: list[Id]) -> str:
        """The users behind a connection, joined by commas, for audit; empty if there are none."""
        names = [self.user_name(id) for id in ids]
        return ",".join([name for name in names if name.strip()])


def default_providers(
    digest_algorithm: str = "SHA1", super_digest: str = "", digest_enabled: bool = True
) -> list[AuthenticationProvider]:
    """What a server has without further configuration: ip, and digest unless it is disabled."""
    providers: list[AuthenticationProvider] = [IpProvider()]
    if digest_enabled:
        providers.append(DigestProvider(digest_algorithm, super_digest))
    return providers


def mask_digest_ids(acl: list[ACL]) -> list[ACL]:
    """The ACL as getACL shows it without ADMIN: ``user:x`` instead of the hash."""
    out: list[ACL] = []
    for entry in acl:
        id = entry.id
        if id.scheme == "digest" and ":" in id.id:
            out.append(ACL(entry.perms, Id("digest", id.id.partition(":")[0] + ":x")))
        else:
            out.append(entry)
    return out
