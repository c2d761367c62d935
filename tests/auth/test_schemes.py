"""The built-in schemes: what proves an id, what an ACL may say, what matches."""

import pytest

from zabra.auth.provider import AuthenticationProvider
from zabra.auth.schemes import (
    DigestProvider,
    EnsembleProvider,
    IpProvider,
    SaslProvider,
    X509Provider,
    digest_algorithm,
    generate_digest,
    java_split,
)
from zabra.proto.records import Id

SUPER_TEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="


def test_generate_digest() -> None:
    assert generate_digest("super:test") == SUPER_TEST
    assert generate_digest("user") == "user:Et6pb+wgWTVmq3VpLJlJWWgzrck="
    # The whole text is hashed, whatever colons it has.
    assert generate_digest("a:b:c").startswith("a:")
    assert generate_digest("a:b:c") != generate_digest("a:b")


def test_other_algorithms() -> None:
    hashed = generate_digest("super:test", digest_algorithm("SHA-256"))
    assert hashed == "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig="
    assert len(hashed) == len("super:") + 44
    for name in ("SHA1", "sha-1", "MD5", "SHA-512/256", "SHA3-256"):
        assert digest_algorithm(name)
    with pytest.raises(ValueError, match="unknown digest algorithm 'ROT13'"):
        DigestProvider("ROT13")


def test_digest_authentication() -> None:
    plain = DigestProvider()
    assert plain.handle_authentication(b"super:test") == [Id("digest", SUPER_TEST)]
    known = DigestProvider("SHA1", SUPER_TEST)
    assert known.handle_authentication(b"super:test") == [Id("super", ""), Id("digest", SUPER_TEST)]
    assert known.handle_authentication(b"super:wrong") == [Id("digest", generate_digest("super:wrong"))]
    ids = plain.handle_authentication(b"\xff\xfe")
    assert ids is not None
    assert ids[0].scheme == "digest"


@pytest.mark.parametrize(
    ("id", "valid"),
    [("user:hash", True), ("user", False), ("user:", False), (":hash", True), ("a:b:c", False), ("", False)],
)
def test_digest_ids(id: str, valid: bool) -> None:
    assert DigestProvider().is_valid(id) is valid


def test_java_split() -> None:
    assert java_split("a:b::", ":") == ["a", "b"]
    assert java_split("", ":") == [""]
    assert java_split("::", ":") == [""]


@pytest.mark.parametrize(
    ("id", "expression", "matches"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "0.0.0.0/0", True),
        ("10.1.2.3", "::/0", False),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::/32", True),
        ("2001:db9:0:0:0:0:0:1", "2001:db8::/32", False),
        ("10.1.2.3", "10.1.2.3/33", False),
        ("", "10.1.2.3", False),
        ("10.1.2.3", "", False),
    ],
)
def test_ip(id: str, expression: str, matches: bool) -> None:
    assert IpProvider().matches(id, expression) is matches


def test_ip_authentication_adds_nothing() -> None:
    assert IpProvider().handle_authentication(b"1.2.3.4") == []


@pytest.mark.parametrize(
    ("subject", "valid"),
    [
        ("CN=host,OU=unit,O=org", True),
        ("cn=host, o = an organisation", True),
        ("CN=a+OU=b;O=c", True),
        (r"CN=a\,b,O=c", True),
        ('CN="a,b=c",O=d', True),
        ("CN=,O=x", True),
        ("1.2.3.4=x", True),
        ("OID.1.2.3=#04ff", True),
        ("", True),
        ("CN", False),
        ("foo=bar", False),
        ("CN=a,,O=b", False),
        ("CN=a,", False),
        ("CN=a<b", False),
        ('CN="open', False),
        ("host", False),
    ],
)
def test_x509_subjects(subject: str, valid: bool) -> None:
    assert X509Provider().is_valid(subject) is valid


def test_x509() -> None:
    provider = X509Provider("CN=boss")
    assert provider.ids_of_subject("CN=a") == [Id("x509", "CN=a")]
    assert provider.ids_of_subject("CN=boss") == [Id("super", "CN=boss"), Id("x509", "CN=boss")]
    assert provider.handle_authentication(b"CN=boss") is None
    assert provider.matches("CN=a", "CN=a")
    assert not provider.matches("CN=a", "CN=b")
    assert provider.matches("CN=boss", "CN=b")
    assert not X509Provider().matches("", "CN=b")


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("user", True),
        ("user/host", True),
        ("user@REALM", True),
        ("user/host@REALM", True),
        ("a@b@c", False),
        ("a/b/c@d", False),
    ],
)
def test_sasl_names(name: str, valid: bool) -> None:
    assert SaslProvider().is_valid(name) is valid


def test_sasl() -> None:
    provider = SaslProvider()
    assert provider.matches("bob", "bob")
    assert provider.matches("super", "bob")
    assert not provider.matches("eve", "bob")
    assert not provider.matches("eve", "x")
    assert SaslProvider("x").matches("eve", "x")
    assert not SaslProvider("x").matches("eve", "bob")
    assert provider.handle_authentication(b"bob") is None


@pytest.mark.parametrize(
    ("names", "auth", "ids"),
    [
        ("", b"any", []),
        ("one, two", b"one", []),
        ("one, two", b"two", []),
        ("one, two", b"", []),
        ("one, two", b"three", None),
    ],
)
def test_ensemble(names: str, auth: bytes, ids: list[Id] | None) -> None:
    assert EnsembleProvider(names).handle_authentication(auth) == ids


@pytest.mark.parametrize(
    ("provider", "scheme", "authenticated", "user"),
    [
        (IpProvider(), "ip", False, "u:p"),
        (DigestProvider(), "digest", True, "u"),
        (X509Provider(), "x509", True, "u:p"),
        (SaslProvider(), "sasl", True, "u:p"),
        (EnsembleProvider(), "ensemble", False, "u:p"),
    ],
)
def test_what_all_have(provider: AuthenticationProvider, scheme: str, authenticated: bool, user: str) -> None:
    assert provider.scheme() == scheme
    assert provider.is_authenticated() is authenticated
    assert provider.user_name("u:p") == user


def test_an_ensemble_is_no_identity() -> None:
    provider = EnsembleProvider("one")
    assert not provider.is_valid("one")
    assert not provider.matches("one", "one")
