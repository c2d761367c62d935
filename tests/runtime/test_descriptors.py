"""Descriptors: raised as far as they may be, and some kept from clients."""

import resource

import pytest

from zabra.runtime.descriptors import UNLIMITED, clients_allowed, raise_limit


def test_the_limit_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        assert raise_limit() == (UNLIMITED if hard == resource.RLIM_INFINITY else hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "wanted", "allowed"),
    [
        (UNLIMITED, 0, 0),
        (UNLIMITED, 7, 7),
        (20_000, 0, 19_872),
        (20_000, 500, 500),
        (1024, 2000, 896),
        (64, 0, 32),
        (1, 0, 1),
    ],
)
def test_clients_do_not_get_the_last(limit: int, wanted: int, allowed: int) -> None:
    assert clients_allowed(limit, wanted) == allowed
