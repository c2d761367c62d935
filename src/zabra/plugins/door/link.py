"""The link between a server and the process of its door: messages over a socket, both ways.

A message is a tuple of plain values.  It is written with ``marshal``, which is as fast as the link has to be
and safe here: both ends are the same interpreter, and nobody else can write to a socket pair.
"""

import marshal
import struct
from typing import Any, Final

_HEAD: Final = struct.Struct("!I")
MESSAGE_BYTES_MAX: Final = (1 << 32) - 1

# Server to door.
HELLO: Final = "hello"  # settings
TXNS: Final = "txns"  # [(raw, Before or UNKNOWN)]
STATUS: Final = "status"  # Status as a tuple
ANSWER: Final = "answer"  # number of the question, what it asked for
# Door to server.
ASK_ACLS: Final = "acls"  # number, [(zxid, [path])]: answered by [Before or UNKNOWN], floor
ASK_SNAP: Final = "snap"  # number, path: answered by (zxid, is_last, [node]) or by an error as text

Message = tuple[Any, ...]


def encode(message: Message) -> bytes:
    """With its length before it."""
    body = marshal.dumps(message)
    return _HEAD.pack(len(body)) + body


class Deframer:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now."""
        buffer = self._buffer
        buffer += data
        found: list[Message] = []
        pos = 0
        while len(buffer) - pos >= _HEAD.size:
            (size,) = _HEAD.unpack_from(buffer, pos)
            end = pos + _HEAD.size + size
            if end > len(buffer):
                break
            with memoryview(buffer) as view:
                found.append(marshal.loads(view[pos + _HEAD.size : end]))
            pos = end
        del buffer[:pos]
        return found
