"""Kinds of values that an option may have: how text becomes a value, and a value text again.

``parse`` raises ValueError with a sentence that says what was expected; it never guesses.
"""

from collections.abc import Mapping
from typing import Protocol

INT_MAX = 0x7FFFFFFF
LONG_MAX = 0x7FFFFFFFFFFFFFFF

_HOUR_MS = 3_600_000
_SUFFIXES_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": _HOUR_MS, "d": 24 * _HOUR_MS}


class Kind(Protocol):
    """One kind of value.  ``name`` is what the documentation calls it."""

    @property
    def name(self) -> str:
        """For the documentation: ``integer``, ``true or false``, ..."""

    def parse(self, text: str) -> object:
        """The value that ``text`` (already without blanks around it) stands for.  Raises ValueError."""

    def format(self, value: object) -> str:
        """Text that ``parse`` turns into ``value``."""


class Integer:
    """A whole number between bounds; decimal, or hexadecimal after ``0x``."""

    def __init__(self, low: int = -INT_MAX - 1, high: int = INT_MAX) -> None:
        assert low <= high
        self.low = low
        self.high = high

    @property
    def name(self) -> str:
        """With the bounds that say something."""
        if self.low > -INT_MAX - 1 and self.high < INT_MAX:
            return f"integer from {self.low} to {self.high}"
        return f"integer, at least {self.low}" if self.low > -INT_MAX - 1 else "integer"

    def parse(self, text: str) -> int:
        """Raises ValueError for anything else, out of bounds, or with a leading zero (octal to Java)."""
        value = _whole_number(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{text} is not between {self.low} and {self.high}")
        return value

    def format(self, value: object) -> str:
        """Decimal."""
        return str(value)


def _whole_number(text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits[:2].lower() == "0x" and digits.isascii():
        try:
            return int(text, 16)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    if len(digits) > 1 and digits[0] == "0":
        raise ValueError(f"{text!r} starts with 0, which Java reads as octal in places: write it without")
    return int(text)


class Decimal:
    """A number with a point."""

    name = "number"

    def __init__(self, high: float = float("inf")) -> None:
        self.high = high

    def parse(self, text: str) -> float:
        """Raises ValueError for anything but a finite number up to the bound."""
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{text!r} is not a finite number")
        if value > self.high:
            raise ValueError(f"{text} is more than {self.high:g}")
        return value

    def format(self, value: object) -> str:
        """Shortest form that reads back equal."""
        return repr(value)


class Boolean:
    """``true`` or ``false``; ``yes`` and ``no`` too where upstream wants those."""

    def __init__(self, *, yes_no: bool = False) -> None:
        self.yes_no = yes_no

    @property
    def name(self) -> str:
        """The words to write."""
        return "yes or no" if self.yes_no else "true or false"

    def parse(self, text: str) -> bool:
        """Any case.  Raises ValueError for other words, which upstream often takes for false."""
        word = text.lower()
        if word == "true" or (self.yes_no and word == "yes"):
            return True
        if word == "false" or (self.yes_no and word == "no"):
            return False
        raise ValueError(f"{text!r} is neither {self.name.replace(' or ', ' nor ')}")

    def format(self, value: object) -> str:
        """The word."""
        if self.yes_no:
            return "yes" if value else "no"
        return "true" if value else "false"


class Text:
    """Any text; what it may be is checked where it is used."""

    def __init__(self, name: str = "text") -> None:
        self.name = name

    def parse(self, text: str) -> str:
        """The text itself."""
        return text

    def format(self, value: object) -> str:
        """The text itself."""
        return str(value)


class Words:
    """A comma-separated list of words."""

    name = "list"

    def parse(self, text: str) -> tuple[str, ...]:
        """Blanks around words and empty words are dropped, doubles too."""
        words = [word.strip() for word in text.split(",")]
        return tuple(dict.fromkeys([word for word in words if word]))

    def format(self, value: object) -> str:
        """Joined by commas."""
        assert isinstance(value, tuple)
        return ",".join(value)


class Addresses:
    """A comma-separated list of ``host:port``; the value is a (host, port) for each; IPv6 in brackets."""

    name = "list of host:port"

    def parse(self, text: str) -> tuple[tuple[str, int], ...]:
        """Doubles are dropped.  Raises ValueError for what is no address."""
        words = [word.strip() for word in text.split(",")]
        return tuple(dict.fromkeys([_address(word) for word in words if word]))

    def format(self, value: object) -> str:
        """Joined by commas."""
        assert isinstance(value, tuple)
        return ",".join([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in value])


def _address(word: str) -> tuple[str, int]:
    host, colon, port = word.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{word!r}: an IPv6 address stands in brackets")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) <= 65535:
        raise ValueError(f"{word!r} is not host:port")
    return host, int(port)


class Choice:
    """One of some words; each may stand for another (a Java class name for our own word)."""

    def __init__(self, words: Mapping[str, str], *, any_case: bool = True, otherwise: str = "") -> None:
        self.words = dict(words)
        self.any_case = any_case
        self.otherwise = otherwise

    @property
    def name(self) -> str:
        """The values, without their aliases."""
        return "one of " + ", ".join(
            f"`{word}`" if word else "nothing" for word in dict.fromkeys(self.words.values())
        )

    def parse(self, text: str) -> str:
        """The value.  Raises ValueError with the choices, or with the sentence ``otherwise``."""
        for word, value in self.words.items():
            for accepted in (word, value):
                if accepted == text or (self.any_case and accepted.lower() == text.lower()):
                    return value
        choices = ", ".join(repr(word) for word in dict.fromkeys(self.words.values()))
        raise ValueError(
            f"{text!r} is not one of {choices}" + (f": {self.otherwise}" if self.otherwise else "")
        )

    def format(self, value: object) -> str:
        """The value."""
        return str(value)


class Hours:
    """A time in hours, or with a unit behind it (ms, s, m, h, d); the value is in ms."""

    name = "hours, or a number with ms, s, m, h or d behind it"

    def parse(self, text: str) -> int:
        """Raises ValueError where there is no number or an unknown unit."""
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        unit = text[len(digits) :].lower()
        number = _whole_number(digits)
        if not unit:
            return number * _HOUR_MS
        if unit not in _SUFFIXES_MS:
            raise ValueError(f"{text!r}: {unit!r} is not one of ms, s, m, h, d")
        return number * _SUFFIXES_MS[unit]

    def format(self, value: object) -> str:
        """The largest unit that divides it."""
        assert isinstance(value, int)
        if value == 0:
            return "0"
        for unit in ("d", "h", "m", "s"):
            if value % _SUFFIXES_MS[unit] == 0:
                return f"{value // _SUFFIXES_MS[unit]}{unit}"
        return f"{value}ms"
