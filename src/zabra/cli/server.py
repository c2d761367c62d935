"""``zabra server``: runs one server in the foreground, on a zoo.cfg or the embedded default."""

import argparse
import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from zabra.cli.config import FLAGS_VARIABLE, flags_of_environment, print_problems, read_file
from zabra.cli.plan import plan_of
from zabra.cli.words import words_of
from zabra.config.load import ArgumentsError, arguments_as_text, load_config, parse_config
from zabra.config.server import ConfigErrors, ServerConfig
from zabra.plugins.attach import AttachedPublishers, open_door
from zabra.plugins.registry import PublisherError
from zabra.runtime import descriptors, loop
from zabra.runtime.assembly import Plan, RunningServer, start
from zabra.runtime.joining import JoinError, join
from zabra.storage.errors import DataFolderError, StorageError

log = logging.getLogger("zabra")

# Upstream's ExitCode.
EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_BAD_INVOCATION: Final = 2
EXIT_DATA_DIR: Final = 3
EXIT_TXNLOG: Final = 10

# A thread that has just ended an fsync wants the interpreter at once, not after the default 5 ms.
SWITCH_INTERVAL_S: Final = 0.001

EMBEDDED_DEFAULT: Final = """\
tickTime=2000
dataDir=zabra-data
clientPort=2181
clientPortAddress=127.0.0.1
4lw.commands.whitelist=*
"""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra server``."""
    parser = subparsers.add_parser(
        "server",
        help="run a server in the foreground",
        description="Runs one ZooKeeper server.  Without a file: a standalone server on 127.0.0.1:2181 "
        "with its data in ./zabra-data.",
    )
    parser.add_argument(
        "config",
        nargs="*",
        help="a zoo.cfg, as Apache ZooKeeper's; or, as upstream takes them: clientPort dataDir [tickTime] "
        "[maxClientCnxns]",
    )
    parser.add_argument(
        "-D",
        "--set",
        dest="set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one option (a zoo.cfg key, or a zookeeper.* system property); wins over the file",
    )
    parser.add_argument("--strict", action="store_true", help="unknown keys are errors")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.set_defaults(run=run)


def configure(arguments: argparse.Namespace) -> ServerConfig:
    """The configuration that was asked for; prints warnings.  Raises ConfigErrors."""
    given = arguments.config
    if len(given) == 1:
        config, warnings = load_config(
            given[0],
            arguments.set,
            read=read_file,
            strict=arguments.strict,
            environment=flags_of_environment(),
        )
    else:
        config, warnings = parse_config(
            arguments_as_text(given) if given else EMBEDDED_DEFAULT,
            arguments.set,
            name="command line" if given else "embedded default",
            read=read_file,
            strict=arguments.strict,
            environment=flags_of_environment(),
        )
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return config


def run(arguments: argparse.Namespace) -> int:
    """Runs until told to stop; the exit code is upstream's."""
    logging.basicConfig(
        level=arguments.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(message)s",
    )
    try:
        config = configure(arguments)
    except ConfigErrors as errors:
        print_problems(errors)
        return EXIT_BAD_INVOCATION
    except ArgumentsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INVOCATION
    except ValueError as error:
        print(f"error: environment: {FLAGS_VARIABLE}: {error}", file=sys.stderr)
        return EXIT_BAD_INVOCATION
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return loop.run(serve(config, say))


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, flush=True)


async def serve(config: ServerConfig, tell: Callable[[str], None]) -> int:
    """One server from start to stop."""
    started = time.monotonic()
    try:
        plan = plan_of(config)
        limit_clients(plan)
        publishers = AttachedPublishers(config.publishers, open_door(config))
        if config.join:
            await join(plan, config.join, tell)
        # Everything that recovery makes stays: nothing in it is for the collector to look at, now or later.
        gc.disable()
        running = await start(
            plan, lambda server: words_of(config, server, publishers.gauge_sets), tell, publishers.informed
        )
        gc.freeze()
        gc.enable()
        publishers.start(plan, running)
    except PublisherError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INVOCATION
    except ConfigErrors as errors:
        print_problems(errors)
        return EXIT_BAD_INVOCATION
    except DataFolderError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DATA_DIR
    except JoinError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNEXPECTED
    except StorageError as error:
        print(f"error: cannot recover the data in {config.data_dir}: {error}", file=sys.stderr)
        return EXIT_TXNLOG
    except OSError as error:
        print(f"error: cannot start: {error}", file=sys.stderr)
        return EXIT_UNEXPECTED
    tell(serving_line(config, running, time.monotonic() - started))
    if publishers.feed_port:
        tell(f"feed on http://{config.feed_address}:{publishers.feed_port}/feed")
    stop_on_signals(running)
    code = await running.node.stopped
    await publishers.stop()
    await running.stop()
    return code


# With fewer descriptors than this somebody should know.
FEW_DESCRIPTORS: Final = 4096


def limit_clients(plan: Plan) -> None:
    """Clients get as many descriptors as there are, but not those that the server's own files need."""
    limit = descriptors.raise_limit()
    allowed = descriptors.clients_allowed(limit, plan.settings.max_connections)
    if allowed != plan.settings.max_connections and limit < FEW_DESCRIPTORS:
        log.warning("%d descriptors may be open (ulimit -n): %d clients at most", limit, allowed)
    plan.settings.max_connections = allowed


def serving_line(config: ServerConfig, running: RunningServer, seconds: float) -> str:
    """What a person wants to know when the server is up."""
    server = running.server
    host = config.client_port_address or "0.0.0.0"
    ports = ", ".join(f"{host}:{port}" for port in running.client_ports)
    return (
        f"serving on {ports}  data {config.data_dir}  zxid 0x{server.tree.last_processed_zxid:x}  "
        f"{server.tree.node_count()} nodes  ({seconds:.2f} s)"
    )


def stop_on_signals(running: RunningServer) -> None:
    """SIGTERM and Ctrl-C stop the server cleanly."""
    event_loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        event_loop.add_signal_handler(number, running.node.fail, EXIT_OK)
