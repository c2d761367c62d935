"""The text of a configuration file, as Java's ``Properties.load`` reads it, with line numbers kept.

Comments start with ``#`` or ``!``; a line that ends in an odd number of backslashes goes on in the
next; the key ends at the first ``=``, ``:`` or blank that has no backslash before it; ``\\t``, ``\\n``,
``\\r``, ``\\f`` and ``\\uXXXX`` are escapes, and a backslash before anything else stands for that.
"""

BLANKS = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class PropertiesError(ValueError):
    """The text is not in the format; ``line`` says where (from 1)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Entry:
    """One key and its value; ``line`` to ``last_line`` (from 1) are where they stand."""

    __slots__ = ("key", "last_line", "line", "value")

    def __init__(self, key: str, value: str, line: int, last_line: int) -> None:
        self.key = key
        self.value = value
        self.line = line
        self.last_line = last_line

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.key, self.value, self.line, self.last_line) == (
            other.key, other.value, other.line, other.last_line,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.key, self.value, self.line))

    def __repr__(self) -> str:
        return f"Entry({self.key!r}, {self.value!r}, {self.line}, {self.last_line})"


def split_lines(text: str) -> list[str]:
    """Lines as Java ends them: at ``\\n``, ``\\r`` and ``\\r\\n`` only."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _ends_in_continuation(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _logical_lines(text: str) -> list[tuple[str, int, int]]:
    """Lines without comments and blank ones, continuations joined: (text, first line, last line)."""
    out: list[tuple[str, int, int]] = []
    lines = split_lines(text)
    index = 0
    while index < len(lines):
        first = index
        line = lines[index].lstrip(BLANKS)
        index += 1
        if not line or line[0] in "#!":
            continue
        joined = ""
        while _ends_in_continuation(line) and (joined or len(line) > 1):
            joined += line[:-1]
            line = lines[index].lstrip(BLANKS) if index < len(lines) else ""
            index += 1
        # A lone backslash joins nothing: the line behind it begins anew.
        if joined or line != "\\":
            out.append((joined + line, first + 1, min(index, len(lines))))
    return out


def _split_entry(line: str, number: int) -> tuple[str, str]:
    end = 0
    while end < len(line) and line[end] not in "=:" + BLANKS:
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(BLANKS)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(BLANKS)
    return unescape(line[:end], number), unescape(rest, number)


def unescape(text: str, line: int) -> str:
    """``text`` without its escapes.  Raises PropertiesError for a ``\\u`` without four hexadecimal digits."""
    if "\\" not in text:
        return text
    out: list[str] = []
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char != "\\":
            out.append(char)
            continue
        char = text[index : index + 1]
        index += 1
        if char == "u":
            digits = text[index : index + 4]
            if len(digits) < 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise PropertiesError(line, f"\\u{digits} is not \\u and four hexadecimal digits")
            out.append(chr(int(digits, 16)))
            index += 4
        else:
            out.append(_ESCAPES.get(char, char))
    return "".join(out)


def parse(text: str) -> list[Entry]:
    """The entries, in order, doubles included.  Raises PropertiesError."""
    return [Entry(*_split_entry(line, first), first, last) for line, first, last in _logical_lines(text)]


def parse_all(text: str) -> tuple[list[Entry], list[PropertiesError]]:
    """As ``parse``, but goes on behind a malformed entry and returns what was wrong."""
    entries: list[Entry] = []
    errors: list[PropertiesError] = []
    for line, first, last in _logical_lines(text):
        try:
            entries.append(Entry(*_split_entry(line, first), first, last))
        except PropertiesError as error:
            errors.append(error)
    return entries, errors


def parse_override(text: str) -> tuple[str, str]:
    """Name and value of ``-Dname=value``; the ``-D`` may be missing.  Raises ValueError where the name is."""
    name, _, value = text.removeprefix("-D").partition("=")
    name = name.strip()
    if not name:
        raise ValueError(f"{text!r} is not -Dname=value")
    return name, value.strip()


def escape(text: str) -> str:
    """A value that reads back as ``text``."""
    out: list[str] = []
    for index, char in enumerate(text):
        if char in "\t\n\r\f":
            out.append("\\" + {"\t": "t", "\n": "n", "\r": "r", "\f": "f"}[char])
        elif char == "\\" or (char == " " and index == 0):
            out.append("\\" + char)
        else:
            out.append(char)
    return "".join(out)


def point_to_dynamic_file(
    text: str, dynamic_file: str, *, erase_client_port: bool = False, erase_secure_client_port: bool = False
) -> str:
    """The static file after a reconfiguration: without members, ``dynamicConfigFile`` points to them.

    ``erase_client_port`` drops the client port as well, because the member list has it now.  Other lines,
    comments included, stay as they are (upstream loses comments and order).  Source: upstream
    ``QuorumPeerConfig.editStaticConfig``.
    """
    dropped = ["server.", "group", "weight", "dynamicConfigFile", "peerType"]
    if erase_client_port:
        dropped += ["clientPort", "clientPortAddress"]
    if erase_secure_client_port:
        dropped += ["secureClientPort", "secureClientPortAddress"]
    # As upstream: by beginnings, so that clientPort takes clientPortAddress along; but not the backlog.
    kept_keys = ("clientPortListenBacklog",)
    lines = split_lines(text)
    remove: dict[int, None] = {}
    for entry in parse(text):
        key = entry.key.strip().removeprefix("zookeeper.")
        if key not in kept_keys and key.startswith(tuple(dropped)):
            remove.update(dict.fromkeys(range(entry.line, entry.last_line + 1)))
    kept = [line for number, line in enumerate(lines, 1) if number not in remove]
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join([*kept, f"dynamicConfigFile={escape(dynamic_file)}", ""])
