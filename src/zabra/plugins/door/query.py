"""What a request to ``/feed`` asks for, or exactly what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from zabra.plugins.filters import OPS
from zabra.proto.errors import KeeperError
from zabra.tree.paths import validate_path

SSE: Final = "sse"
NDJSON: Final = "ndjson"
POLL: Final = "poll"
WEBSOCKET: Final = "websocket"
FORMATS: Final = (SSE, NDJSON, POLL)

WAIT_S_MAX: Final = 300
LIMIT_MAX: Final = 1000
PARAMETERS_MAX: Final = 50
ZXID_MAX: Final = (1 << 63) - 1
_KNOWN: Final = ("path", "op", "since", "snapshot", "format", "wait", "limit")


class BadQuery(ValueError):
    """The text says what is wrong, for whoever asked."""


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """A request for changes at and below ``path`` that are one of ``ops`` (empty: any).

    ``since``: None for what comes next, 0 for the oldest there is.  ``snapshot``: begin with the subtree, or
    give it where history no longer reaches back.  ``wait_s``, ``limit`` are those of a poll.
    """

    path: str = "/"
    ops: tuple[str, ...] = ()
    since: int | None = None
    snapshot: bool = False
    format: str = SSE
    wait_s: float = 30.0
    limit: int = 500


def parse_zxid(text: str, name: str) -> int:
    """Hexadecimal after 0x, or decimal.  Raises BadQuery, which names the parameter."""
    plain = text[2:] if text[:2].lower() == "0x" else text
    base = 10 if plain is text else 16
    if plain.isascii() and plain.isalnum() and len(plain) <= 20:
        try:
            zxid = int(plain, base)
        except ValueError:
            zxid = -1
        if 0 <= zxid <= ZXID_MAX:
            return zxid
    raise BadQuery(f"{name}: {text[:40]!r} is not a zxid, such as 0x100000005")


def parse_query(text: str, accept: str, last_event_id: str, is_websocket: bool) -> FeedQuery:
    """From what stands behind the question mark and three headers.  Raises BadQuery."""
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=PARAMETERS_MAX,
        )
    except ValueError as error:
        raise BadQuery(f"the query cannot be read: {error}") from None
    given: dict[str, str] = {}
    ops: dict[str, None] = {}
    for name, value in pairs:
        if name not in _KNOWN:
            raise BadQuery(f"there is no parameter {name[:40]!r}; there are: {', '.join(_KNOWN)}")
        if name == "op":
            ops.update(dict.fromkeys(value.split(",")))
        elif name in given:
            raise BadQuery(f"{name} is given twice")
        else:
            given[name] = value
    since = given.get("since")
    query = FeedQuery(
        _path(given.get("path", "/")),
        _ops(ops),
        parse_zxid(last_event_id, "Last-Event-ID")
        if last_event_id
        else None
        if since is None
        else parse_zxid(since, "since"),
        _truth(given.get("snapshot", "false")),
        WEBSOCKET if is_websocket else _format(given.get("format"), accept),
        _number(given.get("wait", "30"), "wait", 0, WAIT_S_MAX),
        int(_number(given.get("limit", "500"), "limit", 1, LIMIT_MAX)),
    )
    if query.format == POLL and query.snapshot:
        raise BadQuery("a snapshot comes with a stream only, not with format=poll")
    return query


def _path(path: str) -> str:
    try:
        validate_path(path)
    except KeeperError:
        raise BadQuery(f"path: {path[:100]!r} is not a path, such as /config/app") from None
    return path


def _ops(ops: Sequence[str] | dict[str, None]) -> tuple[str, ...]:
    for op in ops:
        if op not in OPS:
            raise BadQuery(f"op: there is no {op[:40]!r}; there are: {', '.join(OPS)}")
    return tuple(sorted(ops))


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise BadQuery(f"snapshot: {text[:40]!r} is neither true nor false")
    return text == "true"


def _number(text: str, name: str, low: int, high: int) -> float:
    try:
        number = float(text) if len(text) <= 20 else -1.0
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise BadQuery(f"{name}: {text[:40]!r} is not a number from {low} to {high}")
    return number


def _format(given: str | None, accept: str) -> str:
    if given is not None:
        if given not in FORMATS:
            raise BadQuery(f"format: there is no {given[:40]!r}; there are: {', '.join(FORMATS)}")
        return given
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if "application/x-ndjson" in kinds and "text/event-stream" not in kinds:
        return NDJSON
    return SSE
