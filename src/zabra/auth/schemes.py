"""The built-in authentication schemes: ip, digest, x509, sasl (its ACL side) and ensemble.

``world``, ``auth`` and ``super`` have no provider, as upstream: the registry knows them itself.  Source:
upstream ``server.auth.*AuthenticationProvider``.
"""

import hashlib
import re
from base64 import b64encode
from hmac import compare_digest
from typing import Final

from zabra.auth.addresses import network_contains, parse_address, parse_network
from zabra.proto.records import Id

SUPER: Final = "super"

# hashlib's names of Java's MessageDigest algorithms.
_DIGEST_NAMES: Final = {
    "MD5": "md5",
    "SHA": "sha1",
    "SHA1": "sha1",
    "SHA-1": "sha1",
    "SHA-224": "sha224",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA-512/224": "sha512_224",
    "SHA-512/256": "sha512_256",
    "SHA3-224": "sha3_224",
    "SHA3-256": "sha3_256",
    "SHA3-384": "sha3_384",
    "SHA3-512": "sha3_512",
}

# A distinguished name: attribute=value pairs, joined by "," ";" or "+"; values quoted, hex or escaped.
_DN_KEYWORDS: Final = (
    "C|CN|DC|DNQ|DNQUALIFIER|EMAIL|EMAILADDRESS|GENERATION|GIVENNAME|INITIALS|IP|L|O|OU|S|SERIALNUMBER|ST"
    "|STREET|SURNAME|T|UID"
)
_DN_PAIR: Final = (
    rf"\s*(?:(?:OID\.)?\d+(?:\.\d+)+|{_DN_KEYWORDS})\s*="
    r'\s*(?:"(?:[^"\\]|\\.)*"|\#(?:[0-9A-F]{2})+|(?:[^,;+"\\<>\#]|\\.)(?:[^,;+"\\<>]|\\.)*|)\s*'
)
_DN: Final = re.compile(rf"{_DN_PAIR}(?:[,;+]{_DN_PAIR})*\Z", re.IGNORECASE | re.DOTALL)

# A Kerberos name: primary[/instance]@REALM.
_KERBEROS_NAME: Final = re.compile(r"[^/@]*(?:/[^/@]*)?@[^/@]*\Z")


def java_split(text: str, separator: str) -> list[str]:
    """Splits as Java's String.split does: empty strings at the end are dropped."""
    parts = text.split(separator)
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts


def digest_algorithm(java_name: str) -> str:
    """hashlib's name for a MessageDigest algorithm.  Raises ValueError for one we do not have."""
    name = _DIGEST_NAMES.get(java_name.upper())
    if name is None or name not in hashlib.algorithms_available:
        raise ValueError(f"unknown digest algorithm {java_name!r}; known are {', '.join(_DIGEST_NAMES)}")
    return name


def generate_digest(id_password: str, algorithm: str = "sha1") -> str:
    """``user:base64(hash("user:password"))``; ``algorithm`` is hashlib's name."""
    user = id_password.partition(":")[0]
    hashed = hashlib.new(algorithm, id_password.encode("utf-8", "replace")).digest()
    return f"{user}:{b64encode(hashed).decode('ascii')}"


class IpProvider:
    """ip: the address a connection comes from; ACLs may name networks ("10.0.0.0/8")."""

    __slots__ = ()

    def scheme(self) -> str:
        return "ip"

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        """Nothing to add: every connection has its ip id from the start."""
        return []

    def matches(self, id: str, acl_id: str) -> bool:
        network = parse_network(acl_id)
        address = parse_address(id)
        return (
            network is not None and address is not None and network_contains(network[0], network[1], address)
        )

    def is_authenticated(self) -> bool:
        return False

    def is_valid(self, id: str) -> bool:
        return parse_network(id) is not None

    def user_name(self, id: str) -> str:
        return id


class DigestProvider:
    """digest: user and password; the one whose id is ``super_digest`` is also the super user.

    ``algorithm`` is a MessageDigest name (digestAlg); ValueError for an unknown one.
    """

    __slots__ = ("_algorithm", "_super_digest")

    def __init__(self, algorithm: str = "SHA1", super_digest: str = "") -> None:
        self._algorithm: str = digest_algorithm(algorithm)
        self._super_digest: str = super_digest

    def scheme(self) -> str:
        return "digest"

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        digest = generate_digest(auth.decode("utf-8", "replace"), self._algorithm)
        ids = [Id("digest", digest)]
        known = self._super_digest
        if known and compare_digest(digest.encode("utf-8", "replace"), known.encode("utf-8", "replace")):
            ids.insert(0, Id(SUPER, ""))
        return ids

    def matches(self, id: str, acl_id: str) -> bool:
        return id == acl_id

    def is_authenticated(self) -> bool:
        return True

    def is_valid(self, id: str) -> bool:
        return len(java_split(id, ":")) == 2

    def user_name(self, id: str) -> str:
        return id.partition(":")[0]


class X509Provider:
    """x509: the subject of a client's certificate, which TLS has verified; ``super_user`` is one of them."""

    __slots__ = ("_super_user",)

    def __init__(self, super_user: str = "") -> None:
        self._super_user: str = super_user

    def scheme(self) -> str:
        return "x509"

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        """Refused: certificates are shown to TLS, not in auth packets."""
        return None

    def ids_of_subject(self, subject: str) -> list[Id]:
        """The ids of a connection whose verified certificate has ``subject`` (RFC 2253)."""
        ids = [Id("x509", subject)]
        if self._super_user and subject == self._super_user:
            ids.insert(0, Id(SUPER, subject))
        return ids

    def matches(self, id: str, acl_id: str) -> bool:
        return id == acl_id or (self._super_user != "" and id == self._super_user)

    def is_authenticated(self) -> bool:
        return True

    def is_valid(self, id: str) -> bool:
        return not id.strip() or _DN.match(id) is not None

    def user_name(self, id: str) -> str:
        return id


class SaslProvider:
    """sasl: the authorization id of a completed exchange; ``let_any_user_do_x`` is letAnySaslUserDoX."""

    __slots__ = ("_any_user",)

    def __init__(self, let_any_user_do_x: str = "") -> None:
        self._any_user: str = let_any_user_do_x

    def scheme(self) -> str:
        return "sasl"

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        """Refused: SASL has requests of its own."""
        return None

    def matches(self, id: str, acl_id: str) -> bool:
        return id in (SUPER, acl_id) or (self._any_user != "" and acl_id == self._any_user)

    def is_authenticated(self) -> bool:
        return True

    def is_valid(self, id: str) -> bool:
        return "@" not in id or _KERBEROS_NAME.match(id) is not None

    def user_name(self, id: str) -> str:
        return id


class EnsembleProvider:
    """ensemble: no identity; a client says which ensemble it means, and a wrong one is refused.

    ``names`` is comma-separated (ensembleAuthName); empty accepts every name.
    """

    __slots__ = ("_names",)

    def __init__(self, names: str = "") -> None:
        self._names: list[str] = [name.strip() for name in names.split(",")] if names else []

    def scheme(self) -> str:
        return "ensemble"

    def handle_authentication(self, auth: bytes) -> list[Id] | None:
        if not auth or not self._names or auth.decode("utf-8", "replace") in self._names:
            return []
        return None

    def matches(self, id: str, acl_id: str) -> bool:
        return False

    def is_authenticated(self) -> bool:
        return False

    def is_valid(self, id: str) -> bool:
        return False

    def user_name(self, id: str) -> str:
        return id
