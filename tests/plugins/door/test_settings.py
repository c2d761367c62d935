"""What the door is told arrives as it was."""

from zabra.plugins.door.link import Deframer, encode
from zabra.plugins.door.settings import NO_STATUS, DoorSettings, Status


def test_over_the_link_and_back():
    settings = DoorSettings("/data", "/log", True, 7, allow_origins=("https://a",), super_digest="super:x")
    ((_, there),) = Deframer().feed(encode(("hello", settings.message())))
    assert DoorSettings(*there) == settings
    ((_, there),) = Deframer().feed(encode(("status", NO_STATUS.message())))
    assert Status(*there) == NO_STATUS
