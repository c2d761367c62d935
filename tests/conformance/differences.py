"""Why a foreign test ends on Zabra otherwise than on Apache ZooKeeper: patterns of test names, and reasons.

A difference that no pattern explains makes the runner fail.  Patterns are shell patterns on
``suite/cluster::test``; the first that matches counts.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

_TLS: Final = "later issue: TLS"
_SASL: Final = "later issue: SASL"

REASONS: Final[tuple[tuple[str, str], ...]] = (
    ("kazoo/*::test_client.TestSSLClient::*", _TLS),
    ("kazoo/*::test_sasl.*", _SASL),
    (
        "kazoo/*-apache-*::test_build.TestBuildEnvironment::test_zookeeper_version",
        "the test knows one version, and Apache's members and Zabra's call themselves by different ones",
    ),
    ("c-client/*::Zookeeper_SASLAuth::*", _SASL),
    ("c-client/*::*SSL*", _TLS),
)

# Tests that fail on a single Apache server because they need more servers than there are.
_ENSEMBLE: Final = "ensemble: needs three servers"

FAILS_ON_APACHE: Final[tuple[tuple[str, str], ...]] = (
    ("kazoo/1::*::test_update_host_list", _ENSEMBLE),
    ("kazoo/1::test_client.TestReconfig::*", _ENSEMBLE),
    ("kazoo/1::test_connection.TestReadOnlyMode::*", _ENSEMBLE),
)

# Parts of suites that are not run against Zabra: they wait for minutes for what is not there yet.
LEFT_OUT: Final[dict[str, tuple[str, ...]]] = {
    "kazoo": ("test_sasl",),
    "c-client": ("Zookeeper_SASLAuth",),
}


def reason(suite: str, where: str, test: str) -> str | None:
    """Why this test may end differently, or None."""
    return _first(REASONS, f"{suite}/{where}::{test}")


def why_apache_fails(key: str, test: str) -> str | None:
    """Why this test fails on Apache itself, or None; ``key`` is suite/cluster."""
    return _first(FAILS_ON_APACHE, f"{key}::{test}")


def _first(table: tuple[tuple[str, str], ...], name: str) -> str | None:
    return next((why for pattern, why in table if fnmatchcase(name, pattern)), None)
