"""From the text of ``zoo.cfg`` and overrides to a ``ServerConfig``, or to a list of everything wrong.

Later wins: defaults, the file, the environment, the command line.  No file is opened here: whoever
calls passes a function that reads one.  Rules are upstream's (``QuorumPeerConfig``, ``ServerConfig``,
``AuthenticationHelper``, ``ProviderRegistry``), and so are the cases that only earn a warning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches

from zabra.config.checks import check_settings
from zabra.config.ensemble import EnsembleConfig
from zabra.config.members import ReadFile, read_members
from zabra.config.options import (
    BY_NAME,
    FILLING,
    HONOURED,
    IGNORED,
    OPTIONS,
    PREFIXES,
    REFUSED,
    WAITING,
    WITHHELD,
    Option,
    find,
)
from zabra.config.properties import parse_all, parse_override
from zabra.config.server import ConfigErrors, ConfigProblem, ConfigWarning, ServerConfig, TlsConfig
from zabra.config.settings import Settings

DEFAULT_ORIGIN = "default"


def no_files(path: str) -> str | None:
    """A reader for configurations that refer to no other file."""
    return None


def load_config(
    path: str,
    overrides: Sequence[str] = (),
    *,
    read: ReadFile,
    strict: bool = False,
    environment: Sequence[str] = (),
) -> tuple[ServerConfig, list[ConfigWarning]]:
    """The configuration in the file ``path``, changed by ``overrides`` (``-Dname=value``, the last wins).

    ``environment`` are overrides that lose against ``overrides``.  With ``strict``, unknown keys are errors.
    Raises ConfigErrors, which lists everything that is wrong.
    """
    try:
        text = read(path)
    except OSError as error:
        raise ConfigErrors([ConfigProblem(path, "", f"cannot be read: {error}")]) from error
    if text is None:
        raise ConfigErrors([ConfigProblem(path, "", "does not exist")])
    return parse_config(text, overrides, name=path, read=read, strict=strict, environment=environment)


def parse_config(
    text: str,
    overrides: Sequence[str] = (),
    *,
    name: str = "zoo.cfg",
    read: ReadFile = no_files,
    strict: bool = False,
    environment: Sequence[str] = (),
) -> tuple[ServerConfig, list[ConfigWarning]]:
    """As ``load_config``, for a text at hand; ``name`` is what messages call it."""
    loader = _Loader(name, read, strict)
    loader.take_file(text)
    loader.take_overrides(environment, "environment")
    loader.take_overrides(overrides, "command line")
    config = loader.finish(text)
    return config, loader.settings.warnings


def default_config(data_dir: str = "data", **changes: object) -> ServerConfig:
    """A standalone server's configuration with nothing set but ``changes``, by field."""
    config, _ = parse_config(f"dataDir={data_dir}")
    origins = dict(config.origins) | dict.fromkeys(changes, "set by the program")
    changed: ServerConfig = replace(config, origins=origins, **changes)  # type: ignore[arg-type]
    return changed


class ArgumentsError(Exception):
    """What stands in place of a zoo.cfg is none of upstream's forms."""


def arguments_as_text(arguments: Sequence[str]) -> str:
    """``zoo.cfg`` text for upstream's other way to start: clientPort dataDir [tickTime] [maxClientCnxns].

    Raises ArgumentsError for another number of arguments.
    """
    if not 2 <= len(arguments) <= 4:
        raise ArgumentsError("expected zoo.cfg, or clientPort dataDir [tickTime] [maxClientCnxns]")
    keys = ("clientPort", "dataDir", "tickTime", "maxClientCnxns")
    return "".join(f"{key}={value}\n" for key, value in zip(keys, arguments, strict=False))


def nearest_name(name: str) -> str:
    """The option whose name looks most like ``name``, empty where none does."""
    names = {known.lower(): known for known in BY_NAME}
    for option in PREFIXES:
        names[option.key.lower()] = option.key
    wanted = name.lower()
    close = get_close_matches(wanted, list(names), n=1, cutoff=0.75)
    if not close and "." in wanted:
        close = get_close_matches(wanted.partition(".")[0] + ".", list(names), n=1, cutoff=0.75)
    return names[close[0]] if close else ""


class _Loader:
    """Gathers settings, then judges them."""

    def __init__(self, name: str, read: ReadFile, strict: bool) -> None:
        self.name = name
        self.read = read
        self.strict = strict
        self.settings = Settings()

    def take_file(self, text: str) -> None:
        """All entries of the file; of doubles the last counts, as in Java."""
        entries, errors = parse_all(text)
        for error in errors:
            self.settings.error(f"{self.name}:{error.line}", "", str(error))
        lines: dict[str, int] = {}
        for entry in entries:
            key = entry.key.strip()
            where = f"{self.name}:{entry.line}"
            if key in lines:
                self.settings.warn(where, key, f"also given in line {lines[key]}, which does not count")
            lines[key] = entry.line
            self._take(key, entry.value.strip(), where, from_file=True)

    def take_overrides(self, overrides: Iterable[str], source: str) -> None:
        """Settings of the form ``-Dname=value``."""
        for override in overrides:
            try:
                name, value = parse_override(override)
            except ValueError as error:
                self.settings.error(source, "", str(error))
                continue
            self._take(name, value, source, from_file=False)

    def _take(self, name: str, value: str, where: str, *, from_file: bool) -> None:
        found = find(name)
        if found is None:
            self._unknown(name, where)
            return
        option, suffix = found
        if option.property_only and from_file:
            self.settings.warn(
                where, name, f"upstream reads this as -D{option.properties[0]} only; it counts here"
            )
        if self._accepted(option, name, value, where):
            self.settings.put(option, suffix, value, where)

    def _unknown(self, name: str, where: str) -> None:
        if not name:
            self.settings.error(where, "", "a value without a key")
        elif self.strict:
            self.settings.error(where, name, "unknown key", nearest_name(name))
        else:
            self.settings.warn(where, name, "unknown key, ignored", nearest_name(name))

    def _accepted(self, option: Option, name: str, value: str, where: str) -> bool:
        """Whether the setting counts; says why where it does not."""
        if option.status == HONOURED:
            return True
        counts = option.status in FILLING
        try:
            parsed = option.kind.parse(value)
        except ValueError as error:
            if not counts:
                self.settings.error(where, name, str(error))
            return counts
        if not option.is_harmless(parsed):
            if option.status in (IGNORED, WAITING):
                self.settings.warn(where, name, f"ignored: {option.reason}")
            elif option.status in (REFUSED, WITHHELD):
                self.settings.error(where, name, f"not supported: {option.reason}")
        return counts

    def finish(self, text: str) -> ServerConfig:
        """The object.  Raises ConfigErrors."""
        values = self.settings.values()
        members = read_members(self.settings, values, self.name, self.read)
        check_settings(self.settings, values, members, self.read)
        if self.settings.errors:
            raise ConfigErrors(sorted(self.settings.errors, key=_place), self.settings.warnings)
        values.update(
            ensemble=members.ensemble,
            next_ensemble=members.next_ensemble,
            server_id=members.server_id,
            config_path=self.name,
            config_text=text,
        )
        return _build(values, self.settings.origins)


def _place(problem: ConfigProblem) -> tuple[str, int]:
    """For sorting: files together, lines in order."""
    name, _, line = problem.where.rpartition(":")
    return (name, int(line)) if name and line.isdigit() else (problem.where, 0)


def _build(values: dict[str, object], origins: Mapping[str, str]) -> ServerConfig:
    """Puts the parts together: ``client_tls.protocol`` becomes a field of a part."""
    for part in ("client_tls", "quorum_tls"):
        names = [field.name for field in fields(TlsConfig)]
        values[part] = TlsConfig(**{name: values[f"{part}.{name}"] for name in names})  # type: ignore[arg-type]
    wanted = {field.name for field in fields(ServerConfig)}
    chosen = {name: value for name, value in values.items() if name in wanted}
    return ServerConfig(**chosen, origins=dict(origins))  # type: ignore[arg-type]


def describe(config: ServerConfig) -> list[tuple[str, str, str]]:
    """(key, value, where it came from) of every honoured option, in the table's order; secrets are masked."""
    rows: list[tuple[str, str, str]] = []
    done: dict[str, None] = {}
    for option in OPTIONS:
        if option.status not in FILLING or option.field in done:
            continue
        done[option.field] = None
        if option.field == "ensemble":
            rows += _describe_members(config.ensemble, config.origins.get("ensemble", DEFAULT_ORIGIN))
        elif option.field == "publishers":
            rows += [
                (f"publisher.{name}.{key}", value, config.origins.get("publishers", DEFAULT_ORIGIN))
                for name, options in config.publishers.items()
                for key, value in options.items()
            ]
        elif option.field == "auth_providers":
            origin = config.origins.get("auth_providers", DEFAULT_ORIGIN)
            rows += [(f"authProvider.{suffix}", value, origin) for suffix, value in config.auth_providers]
        else:
            rows.append(
                (option.key, shown_value(option, config), config.origins.get(option.field, DEFAULT_ORIGIN))
            )
    return rows


def _describe_members(ensemble: EnsembleConfig | None, origin: str) -> list[tuple[str, str, str]]:
    if ensemble is None:
        return []
    lines = [line.partition("=") for line in ensemble.format().split("\n")]
    return [(key, value, origin) for key, _, value in lines]


def shown_value(option: Option, config: ServerConfig) -> str:
    """The value of an option in a configuration, as text; empty when it is not set."""
    value: object = config
    for name in option.field.split("."):
        value = getattr(value, name)
    if value is None:
        return ""
    if option.secret:
        return "********" if value else ""
    return option.kind.format(value)


__all__ = [
    "ArgumentsError",
    "ConfigErrors",
    "ConfigProblem",
    "ConfigWarning",
    "ReadFile",
    "arguments_as_text",
    "default_config",
    "describe",
    "load_config",
    "nearest_name",
    "no_files",
    "parse_config",
    "shown_value",
]
