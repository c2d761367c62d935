"""AuthenticationProvider: what the server asks of one authentication scheme.

Providers are looked up by scheme in ``registry.Providers``; plugins add their own.  Source: upstream
``AuthenticationProvider``, ``ServerAuthenticationProvider``.
"""

from typing import Protocol

from zabra.proto.records import Id


class AuthenticationProvider(Protocol):
    """One scheme.  Implementations keep no state of connections and do no I/O."""

    def scheme(self) -> str:
        """The name under which ids and ACLs refer to it."""

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        """The ids that the credentials of an auth packet prove (there may be none), or None: refused."""

    def matches(self, id: str, acl_id: str) -> bool:
        """Whether a connection with ``id`` is meant by the ACL expression ``acl_id``."""

    def is_authenticated(self) -> bool:
        """Whether an id of this scheme proves an identity, so that the ``auth`` scheme may expand to it."""

    def is_valid(self, id: str) -> bool:
        """Whether ``id`` may stand in an ACL."""

    def user_name(self, id: str) -> str:
        """The name of the user, without secrets, for whoAmI and audit."""


class PathAuthenticationProvider(AuthenticationProvider, Protocol):
    """A scheme whose answer depends on what is asked for, not only on who asks."""

    def matches_at(self, id: str, acl_id: str, path: str, perm: int) -> bool:
        """As ``matches``, which is not asked then: for any bit of ``perm`` (codes.PERM_*), at ``path``."""
