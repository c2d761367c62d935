"""Which publishers there are, and their options.

A publisher is named by the entry point group ``zabra.publishers``; the entry point is a class with a
dataclass ``Options`` and ``__init__(self, options: Options)``.  ``publisher.<name>.class`` chooses it,
``publisher.<name>.<key>`` are its options (``maxBytes`` for the field ``max_bytes``) and the host's own
(``HostOptions``).
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeVar, get_type_hints

from zabra.plugins.filters import Filter
from zabra.plugins.publisher import Publisher

GROUP: Final = "zabra.publishers"
# Known without the package's metadata too, as in a checkout that is not installed.
BUILT_IN: Final = {
    "jsonl": "zabra.plugins.builtin.jsonl:JsonlPublisher",
    "webhook": "zabra.plugins.builtin.webhook:WebhookPublisher",
    "kafka": "zabra.plugins.builtin.kafka:KafkaPublisher",
    "nats": "zabra.plugins.builtin.nats:NatsPublisher",
    "redis": "zabra.plugins.builtin.redis:RedisPublisher",
    "postgres": "zabra.plugins.builtin.postgres:PostgresPublisher",
    "zookeeper": "zabra.plugins.builtin.zookeeper:ZooKeeperPublisher",
}
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


class PublisherError(Exception):
    """A publisher cannot be had as configured; ``key`` is the option, the text says what is wrong with it."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key


@dataclasses.dataclass(frozen=True, slots=True)
class HostOptions:
    """What the host itself wants to know of each publisher.

    Attributes:
        on_voters: runs it on a voter of an ensemble too, not only on observers and servers on their own.
        path: only changes at and below this path are published.
        ops: only these, separated by commas; empty: all.
        batch_txns, batch_bytes: how much one ``inform`` gets, about.
        max_backoff_ms: the longest pause between two attempts.
        retain_bytes: how much log may be kept for it beyond what the server needs.
    """

    on_voters: bool = False
    path: str = "/"
    ops: str = ""
    batch_txns: int = 500
    batch_bytes: int = 1024 * 1024
    max_backoff_ms: int = 30_000
    retain_bytes: int = 1024 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class PublisherPlan:
    """One publisher that is to run: ``make`` gives a new one for each attempt."""

    name: str
    kind: str
    host: HostOptions
    options: Mapping[str, Any]
    make: Callable[[], Publisher]


def available() -> dict[str, EntryPoint]:
    """Publishers by the name for ``publisher.<name>.class``; an installed one wins over a built-in one."""
    found = {name: EntryPoint(name, place, GROUP) for name, place in sorted(BUILT_IN.items())}
    for entry in entry_points(group=GROUP):
        found[entry.name] = entry
    return found


def plan_publishers(configured: Mapping[str, Mapping[str, str]]) -> list[PublisherPlan]:
    """What the configuration asks for.  Raises PublisherError, which names the key."""
    return [plan_publisher(name, given) for name, given in configured.items()]


def plan_publisher(name: str, given: Mapping[str, str]) -> PublisherPlan:
    """One publisher from its options as text.  Raises PublisherError."""
    where = f"publisher.{name}"
    if not _NAME.match(name):
        raise PublisherError(where, "a name has letters, digits, '-' and '_' only, at most 64")
    kind = given.get("class", "")
    if not kind:
        raise PublisherError(f"{where}.class", "is not set: it names the publisher to run")
    known = available()
    if kind not in known:
        names = ", ".join(known)
        raise PublisherError(f"{where}.class", f"there is no publisher {kind!r}; there are: {names}")
    factory, options_type = _load(f"{where}.class", known[kind])
    texts = {key: text for key, text in given.items() if key != "class"}
    host_keys = option_keys(HostOptions)
    own_keys = option_keys(options_type)
    for key in texts:
        if key not in own_keys and key not in host_keys:
            names = ", ".join(sorted({*own_keys, *host_keys}))
            raise PublisherError(f"{where}.{key}", f"{kind!r} has no such option; there are: {names}")
    own = make_options(options_type, {k: v for k, v in texts.items() if k in own_keys}, where)
    host = make_options(HostOptions, {k: v for k, v in texts.items() if k not in own_keys}, where)
    _check_host_options(host, where)
    return PublisherPlan(
        name,
        kind,
        host,
        {field.name: getattr(own, field.name) for field in dataclasses.fields(own)},
        lambda: factory(own),
    )


def _load(key: str, entry: EntryPoint) -> tuple[Callable[[Any], Publisher], type[Any]]:
    try:
        factory = entry.load()
    except ModuleNotFoundError as error:
        text = f"{entry.name!r} cannot be loaded: {error}"
        if BUILT_IN.get(entry.name) == entry.value:
            text += f"; its library comes with: pip install 'zabra[{entry.name}]'"
        raise PublisherError(key, text) from error
    except ImportError as error:
        raise PublisherError(key, f"{entry.name!r} cannot be loaded: {error}") from error
    except AttributeError as error:
        raise PublisherError(key, f"{entry.value!r} does not exist: {error}") from error
    options_type = getattr(factory, "Options", None)
    if not (isinstance(options_type, type) and dataclasses.is_dataclass(options_type)):
        raise PublisherError(key, f"{entry.value!r} declares no dataclass Options")
    return factory, options_type


def _check_host_options(host: HostOptions, where: str) -> None:
    for key, value in (
        ("batchTxns", host.batch_txns),
        ("batchBytes", host.batch_bytes),
        ("maxBackoffMs", host.max_backoff_ms),
    ):
        if value < 1:
            raise PublisherError(f"{where}.{key}", f"is {value}, must be at least 1")
    for key, path, ops in (("path", host.path, ""), ("ops", "/", host.ops)):
        try:
            filter_of(path, ops)
        except ValueError as error:
            raise PublisherError(f"{where}.{key}", str(error)) from None


def filter_of(path: str, ops: str) -> Filter:
    """What of the feed a publisher wants.  Raises ValueError."""
    return Filter(path, [op.strip() for op in ops.split(",") if op.strip()])


def camel(name: str) -> str:
    """``max_bytes`` as ``maxBytes``."""
    head, *rest = name.split("_")
    return head + "".join([part.capitalize() for part in rest])


def option_keys(options_type: type) -> dict[str, str]:
    """Field by key."""
    return {camel(field.name): field.name for field in dataclasses.fields(options_type)}


def make_options(options_type: type[T], texts: Mapping[str, str], where: str) -> T:
    """The options from text.  Raises PublisherError for a value that is bad or missing.

    ``Options`` may refuse others by a ValueError from ``__post_init__``.
    """
    keys = option_keys(options_type)
    types = get_type_hints(options_type)
    values: dict[str, Any] = {}
    for key, text in texts.items():
        field = keys[key]
        try:
            values[field] = _value(types[field], text)
        except ValueError as error:
            raise PublisherError(f"{where}.{key}", str(error)) from None
    for row in dataclasses.fields(options_type):  # type: ignore[arg-type]  # checked by whoever loads it
        has_default = not (row.default is dataclasses.MISSING and row.default_factory is dataclasses.MISSING)
        if not has_default and row.name not in values:
            raise PublisherError(f"{where}.{camel(row.name)}", "is not set")
    try:
        return options_type(**values)
    except ValueError as error:
        raise PublisherError(where, str(error)) from None


def _value(kind: object, text: str) -> object:
    text = text.strip()
    if kind is bool:
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise ValueError(f"{text!r} is neither true nor false")
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
    return text
