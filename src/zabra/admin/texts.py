"""How upstream writes things in its answers: addresses, session ids, dates, numbers of Java."""

import time
from ipaddress import AddressValueError, IPv6Address

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONG_MASK = 0xFFFF_FFFF_FFFF_FFFF


def hex_long(value: int) -> str:
    """A signed 64-bit number as ``Long.toHexString`` writes it, without 0x."""
    return format(value & _LONG_MASK, "x")


def socket_address(host: str, port: int) -> str:
    """``/127.0.0.1:2181``, or ``/[0:0:0:0:0:0:0:1]:2181``: an InetSocketAddress without a name."""
    return f"/{host_address(host)}:{port}"


def host_address(host: str) -> str:
    """An address as ``InetAddress.getHostAddress`` writes it; IPv6 in brackets and with all its groups."""
    if ":" not in host:
        return host
    address, _, scope = host.partition("%")
    try:
        number = int(IPv6Address(address))
    except AddressValueError:
        return host
    groups = [format(number >> shift & 0xFFFF, "x") for shift in range(112, -1, -16)]
    return f"[{':'.join(groups)}{'%' + scope if scope else ''}]"


def java_date(wall_ms: int) -> str:
    """``Sun Nov 22 14:36:45 UTC 2026``: a point in time as ``Date.toString`` writes it, in local time."""
    local = time.localtime(wall_ms / 1000)
    day, month = _DAYS[local.tm_wday], _MONTHS[local.tm_mon - 1]
    clock = f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
    return f"{day} {month} {local.tm_mday:02} {clock} {local.tm_zone} {local.tm_year}"


def iso_date(wall_ms: int) -> str:
    """``2026-11-22T14:36:45.123+00:00``: a date in the admin server's JSON."""
    utc = time.gmtime(wall_ms // 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", utc) + f".{wall_ms % 1000:03}+00:00"
