"""``zabra config``: what a zoo.cfg says, where each value comes from, and what is wrong with it.

Also the doors that every command uses to configuration: ``read_file`` and ``flags_of_environment``.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from zabra.config.load import DEFAULT_ORIGIN, describe, load_config
from zabra.config.server import ConfigErrors, ConfigWarning, ServerConfig

EXIT_OK: Final = 0
# Upstream's ExitCode.INVALID_INVOCATION, which its server returns for a configuration it cannot use.
EXIT_BAD_INVOCATION: Final = 2

# Options for every server started here, as upstream's SERVER_JVMFLAGS: "-Dzookeeper.snapCount=5 -D...".
FLAGS_VARIABLE: Final = "ZABRA_FLAGS"


def read_file(path: str) -> str | None:
    """The text of a file, None where there is none.  May raise OSError.

    UTF-8, or, where it is not that, Latin-1 as Java reads properties.
    """
    try:
        raw = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def flags_of_environment(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The overrides in ``ZABRA_FLAGS``, split as a shell does.  Raises ValueError for an open quote."""
    return shlex.split(environment.get(FLAGS_VARIABLE, ""))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which configuration is meant."""
    parser.add_argument("config", metavar="ZOO_CFG", help="the file")
    parser.add_argument(
        "-D",
        "--set",
        dest="set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set one option (a key of the file, or a zookeeper.* system property); wins over the file",
    )
    parser.add_argument("--strict", action="store_true", help="unknown keys are errors")


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra config show`` and ``zabra config check``."""
    parser = subparsers.add_parser(
        "config", help="show or check a zoo.cfg", description="Shows or checks a configuration."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show",
        help="print every value and where it comes from",
        description="Prints values as zoo.cfg lines.",
    )
    add_arguments(show)
    show.add_argument("--all", action="store_true", help="defaults too")
    show.set_defaults(run=run_show)
    check = actions.add_parser(
        "check",
        help="print what is wrong or doubtful",
        description="Prints every error and warning.  The exit code is 0 when a server would start, else 2.",
    )
    add_arguments(check)
    check.set_defaults(run=run_check)


def load(arguments: argparse.Namespace) -> tuple[ServerConfig, list[ConfigWarning]]:
    """The configuration that the arguments and the environment give.  Raises ConfigErrors, ValueError."""
    return load_config(
        arguments.config,
        arguments.set,
        read=read_file,
        strict=arguments.strict,
        environment=flags_of_environment(),
    )


def print_problems(errors: ConfigErrors) -> None:
    """Everything wrong, and what is doubtful beside it: one of these may be the reason."""
    for warning in errors.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for problem in errors.problems:
        print(f"error: {problem}", file=sys.stderr)


def _load_or_explain(arguments: argparse.Namespace) -> ServerConfig | None:
    """The configuration, its warnings printed; None when its errors were printed."""
    try:
        config, warnings = load(arguments)
    except ConfigErrors as errors:
        print_problems(errors)
        return None
    except ValueError as error:
        print(f"error: environment: {FLAGS_VARIABLE}: {error}", file=sys.stderr)
        return None
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return config


def lines_of(config: ServerConfig, *, everything: bool) -> list[str]:
    """Lines ``key=value  # origin``, the origins in one column as far as that looks good."""
    rows: Sequence[tuple[str, str, str]] = [
        row for row in describe(config) if everything or row[2] != DEFAULT_ORIGIN
    ]
    width = min(max((len(f"{key}={value}") for key, value, _ in rows), default=0), 48)
    return [f"{f'{key}={value}':<{width}}  # {origin}" for key, value, origin in rows]


def run_show(arguments: argparse.Namespace) -> int:
    """Prints the values; the exit code is 2 when there are errors instead."""
    config = _load_or_explain(arguments)
    if config is None:
        return EXIT_BAD_INVOCATION
    print("\n".join(lines_of(config, everything=arguments.all)))
    return EXIT_OK


def run_check(arguments: argparse.Namespace) -> int:
    """Prints what is wrong; says so when nothing is."""
    config = _load_or_explain(arguments)
    if config is None:
        return EXIT_BAD_INVOCATION
    role = f"server {config.server_id} of an ensemble" if config.is_distributed() else "a standalone server"
    print(f"{arguments.config}: good for {role}")
    return EXIT_OK
