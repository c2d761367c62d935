"""The view a request makes, and why it is refused."""

from __future__ import annotations

import pytest

from zabra.config.ensemble import EnsembleConfig
from zabra.processors.membership import changed_view, check_voters, full_view
from zabra.proto import codes
from zabra.proto.errors import KeeperError

THREE = EnsembleConfig.parse(
    "server.1=a:1:2:participant;0.0.0.0:3\n"
    "server.2=b:1:2:participant;0.0.0.0:3\n"
    "server.3=c:1:2:observer;0.0.0.0:3\n"
    "version=100000000"
)


def code_of(joining: str | None, leaving: str | None, base: EnsembleConfig = THREE) -> int:
    """The refusal of an incremental request."""
    with pytest.raises(KeeperError) as refused:
        changed_view(base, joining, leaving)
    return refused.value.code


def test_an_incremental_request_takes_out_and_puts_in() -> None:
    view = changed_view(THREE, " server.4=d:1:2:observer;3 , server.3=c:1:2;3", "1, ,9")
    assert view.voters() == [2, 3]
    assert view.observers() == [4]
    assert view.servers[4].client == ("0.0.0.0", 3)
    # What was there is as it was.
    assert THREE.voters() == [1, 2]


@pytest.mark.parametrize(
    ("joining", "leaving", "code"),
    [
        ("server.4", None, codes.ERR_BAD_ARGUMENTS),
        ("server.4=d:1:2;3=4", None, codes.ERR_BAD_ARGUMENTS),
        ("server.4=d:1:2", None, codes.ERR_BAD_ARGUMENTS),
        ("server.4=d:1;3", None, codes.ERR_BAD_ARGUMENTS),
        ("server.four=d:1:2;3", None, codes.ERR_MARSHALLING),
        (None, "four", codes.ERR_MARSHALLING),
        (None, "99999999999999999999", codes.ERR_MARSHALLING),
        # The quorum address of server 1.
        ("server.4=d:5:6;a:1", None, codes.ERR_BAD_ARGUMENTS),
    ],
)
def test_refusals(joining: str | None, leaving: str | None, code: int) -> None:
    assert code_of(joining, leaving) == code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
def test_loopback_and_wildcards_are_no_duplicates(host: str) -> None:
    place = f"[{host}]" if ":" in host else host
    base = EnsembleConfig.parse(f"server.1={place}:1:2:participant;3")
    assert changed_view(base, f"server.2={place}:1:2;3", None).voters() == [1, 2]


def test_groups_cannot_be_changed_piece_by_piece() -> None:
    grouped = EnsembleConfig.parse("server.1=a:1:2;3\nserver.2=b:1:2;3\ngroup.1=1:2")
    assert code_of(None, "1", grouped) == codes.ERR_BAD_ARGUMENTS


def test_a_full_request_lists_all_by_commas_or_lines() -> None:
    lines = ["server.1=a:1:2;3", "server.2=b:1:2:observer;3", "server.5=e:1:2;3"]
    for separator in ",\n":
        view = full_view(separator.join(lines), True)
        assert view.voters() == [1, 5]
        assert view.observers() == [2]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("server.1=a:1:2;3,nonsense=1", codes.ERR_BAD_ARGUMENTS),
        ("server.1=a", codes.ERR_BAD_ARGUMENTS),
        ("server.1=a:1:2:observer;3", codes.ERR_MARSHALLING),
    ],
)
def test_full_requests_that_are_refused(text: str, code: int) -> None:
    with pytest.raises(KeeperError) as refused:
        full_view(text, True)
    assert refused.value.code == code


def test_how_many_must_vote() -> None:
    one = EnsembleConfig.parse("server.1=a:1:2;3")
    check_voters(one, False)
    with pytest.raises(KeeperError):
        check_voters(one, True)
    with pytest.raises(KeeperError):
        check_voters(EnsembleConfig({}), False)
