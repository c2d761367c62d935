"""IP addresses as ZooKeeper writes them in ids and reads them in ACLs.

Source: upstream ``IPAuthenticationProvider`` and Java's ``InetAddress.getHostAddress``.
"""

from typing import Final

_V6_GROUPS: Final = 8
_V4_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"


def parse_number(text: str, limit: int) -> int:
    """A decimal number of ASCII digits from 0 to ``limit``; -1 for anything else."""
    if not text or len(text) > 9 or not text.isascii() or not text.isdigit():
        return -1
    value = int(text)
    return value if value <= limit else -1


def _parse_v4(text: str) -> bytes | None:
    parts = text.split(".")
    if len(parts) != 4:
        return None
    values = [parse_number(part, 255) for part in parts]
    return bytes(values) if min(values) >= 0 else None


def _parse_groups(text: str) -> bytes | None:
    """The bytes of colon-separated groups of up to four hex digits; no text, no bytes."""
    if not text:
        return b""
    out = b""
    for group in text.split(":"):
        if not group or len(group) > 4 or not group.isascii() or not group.isalnum():
            return None
        try:
            out += int(group, 16).to_bytes(2, "big")
        except ValueError:
            return None
    return out


def _parse_v6(text: str) -> bytes | None:
    halves = text.split("::")
    if len(halves) > 2:
        return None
    head = _parse_groups(halves[0])
    tail = _parse_groups(halves[1]) if len(halves) == 2 else b""
    if head is None or tail is None:
        return None
    missing = 2 * _V6_GROUPS - len(head) - len(tail)
    if len(halves) == 1:
        return head if missing == 0 else None
    # "::" stands for at least one group.
    return head + bytes(missing) + tail if missing >= 2 else None


def parse_address(text: str) -> bytes | None:
    """4 or 16 bytes, or None for what is no address."""
    if ":" in text:
        return _parse_v6(text)
    return _parse_v4(text)


def parse_network(text: str) -> tuple[bytes, int] | None:
    """Address and prefix length (bits) of "a.b.c.d", "a.b.c.d/bits" or the v6 forms; None for others."""
    address_text, slash, bits_text = text.partition("/")
    address = parse_address(address_text)
    if address is None:
        return None
    bits = 8 * len(address)
    if slash:
        bits = parse_number(bits_text, bits)
    return (address, bits) if bits >= 0 else None


def network_contains(network: bytes, bits: int, address: bytes) -> bool:
    """Whether the first ``bits`` bits agree; never for addresses of different families."""
    if len(network) != len(address):
        return False
    shift = 8 * len(network) - bits
    return int.from_bytes(network, "big") >> shift == int.from_bytes(address, "big") >> shift


def host_address(text: str) -> str:
    """A peer's address as Java prints it, and so as it stands in "ip" ids.

    IPv6 without "::" and leading zeros, IPv4 out of ``::ffff:a.b.c.d``; what is no address is left alone.
    """
    bare = text.partition("%")[0]
    if bare.lower().startswith("::ffff:") and "." in bare:
        return bare[7:]
    if ":" not in bare:
        return bare
    raw = _parse_v6(bare)
    if raw is None:
        return text
    if raw.startswith(_V4_MAPPED_PREFIX):
        return ".".join([str(value) for value in raw[12:]])
    return ":".join([f"{raw[i] << 8 | raw[i + 1]:x}" for i in range(0, 16, 2)])
