"""The link's messages, in whatever pieces they arrive."""

from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.plugins.door.link import Deframer, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MESSAGES = st.lists(st.lists(VALUES, min_size=1, max_size=3).map(tuple), max_size=5)


@settings(max_examples=40)
@given(MESSAGES, st.integers(1, 50))
def test_they_come_out_as_they_went_in(messages, step):
    data = b"".join([encode(message) for message in messages])
    deframer = Deframer()
    found = []
    for start in range(0, len(data), step):
        found += deframer.feed(data[start : start + step])
    assert found == messages
    assert deframer.feed(b"") == []
