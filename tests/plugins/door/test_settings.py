"""What the door is told arrives as it was."""

import pytest

from zabra.config.load import parse_config
from zabra.config.options import OPTIONS
from zabra.plugins.attach import open_door
from zabra.plugins.door.link import Deframer, encode
from zabra.plugins.door.settings import NO_STATUS, DoorSettings, Status


def test_over_the_link_and_back():
    settings = DoorSettings("/data", "/log", True, 7, allow_origins=("https://a",), super_digest="super:x")
    ((_, there),) = Deframer().feed(encode(("hello", settings.message())))
    assert DoorSettings(*there) == settings
    ((_, there),) = Deframer().feed(encode(("status", NO_STATUS.message())))
    assert Status(*there) == NO_STATUS


# A line that differs from the default, and where its value ends up.
LINES = [
    ("feed.onVoters=true", "on_voters", True),
    ("feed.maxSubscribers=11", "max_subscribers", 11),
    ("feed.bufferBytes=12", "buffer_bytes", 12),
    ("feed.slowReaderMs=13", "slow_reader_ms", 13),
    ("feed.heartbeatMs=14", "heartbeat_ms", 14),
    ("feed.maxFilterBytes=15", "max_filter_bytes", 15),
    ("feed.maxHeaderBytes=16", "max_header_bytes", 16),
    ("feed.maxSnapshotNodes=17", "max_snapshot_nodes", 17),
    ("feed.allowOrigins=https://a,https://b", "allow_origins", ["https://a", "https://b"]),
]


@pytest.fixture
def opened(request):
    lines = ("dataDir=/d", "clientPort=2181", "feed.port=0", "feed.address=127.0.0.1", request.param)
    config, _ = parse_config("\n".join(lines), read={}.get)
    door = open_door(config)
    yield door
    door.close()


@pytest.mark.parametrize(
    ("opened", "place", "value"), LINES, ids=[row[0] for row in LINES], indirect=["opened"]
)
def test_every_option_gets_to_the_door(opened, place, value):
    found = getattr(opened.settings, place)
    assert (list(found) if isinstance(value, list) else found) == value
    assert opened.socket.getsockname()[0] == "127.0.0.1"


def test_no_option_is_left_out():
    there = {option.key for option in OPTIONS if option.key.startswith("feed.")}
    assert there == {line.partition("=")[0] for line, _, _ in LINES} | {"feed.port", "feed.address"}
