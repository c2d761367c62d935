"""Session ids and passwords: vectors read from Apache ZooKeeper 3.8."""

import pytest

from zabra.sessions.session_id import (
    CONTAINER_OWNER,
    first_session_id,
    next_session_id,
    session_password,
    signed64,
)


@pytest.mark.parametrize(
    ("session_id", "password"),
    [
        (0x0100000000000001, "054cc74a37327db215e702e20c73f005"),
        (1, "054cc74a37327db215e702e20c73f005"),
        (0x0200032D5C8D0000, "e9b437c4c28ea2396fe05115db917661"),
    ],
)
def test_passwords(session_id, password):
    assert session_password(session_id).hex() == password


def test_the_first_id_holds_server_and_time():
    assert first_session_id(1, 0x1A844F) == 0x0100001A844F0000
    assert first_session_id(0xFF, 0) == signed64(0xFF << 56)
    # 40 bits of the time: those above are lost, and none reaches the server's byte.
    assert first_session_id(2, (7 << 40) | 5) == (2 << 56) | (5 << 16)


def test_ids_count_up_and_leave_out_the_container_marker():
    assert next_session_id(5) == 6
    assert next_session_id(2**63 - 1) == CONTAINER_OWNER + 1
