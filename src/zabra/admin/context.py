"""AdminContext: what commands may use beside the picture of the server: configuration, version, switches."""

import os
from collections.abc import Callable, Mapping
from typing import Protocol

from zabra.admin.surroundings import folder_size
from zabra.admin.version import is_old_form, version_text
from zabra.config.load import DEFAULT_ORIGIN, describe
from zabra.config.server import ServerConfig
from zabra.metrics import Number
from zabra.server.status import ServerView

# The folder of snapshots or logs inside the one that is configured.
VERSION_FOLDER = "version-2"

# ZooTrace's default: client requests, server packets, sessions, warnings.
DEFAULT_TRACE_MASK = 0x132


class Observable(Protocol):
    """A server as its operators see it (``server.Server``)."""

    def status(self, parts: int = 0, limit: int = ...) -> ServerView:
        """A picture of it."""

    def reset_stats(self) -> None:
        """The ``srst`` command."""

    def reset_connection_stats(self) -> None:
        """The ``crst`` command."""

    def reset_observer_stats(self) -> None:
        """Forgets what was counted for observers."""

    def note_packets_sent(self, count: int) -> None:
        """Something was written to clients past the server."""


# Gauges of what runs beside the server (its publishers, say), by name and key.
MoreGauges = Callable[[], Mapping[str, Mapping[str, Number]]]


def no_more_gauges() -> Mapping[str, Mapping[str, Number]]:
    """Of a server with nothing beside it."""
    return {}


class AdminContext:
    """One per server; ``client_port`` and ``secure_client_port`` are -1 where there is no such door."""

    def __init__(
        self, config: ServerConfig, server: Observable, more_gauges: MoreGauges = no_more_gauges
    ) -> None:
        self.config = config
        self.server = server
        self.more_gauges = more_gauges
        self.version = version_text(config.version_text)
        # Answers as servers before 3.6 wrote them.
        self.old_form = is_old_form(self.version)
        self.client_port = -1 if config.client_port is None else config.client_port
        self.secure_client_port = -1 if config.secure_client_port is None else config.secure_client_port
        self.data_folder = os.path.abspath(os.path.join(config.data_dir, VERSION_FOLDER))
        log_dir = config.data_log_dir or config.data_dir
        self.log_folder = os.path.abspath(os.path.join(log_dir, VERSION_FOLDER))
        # Kept for the commands that read and set it; tracing here is by events (zabra.trace), not by mask.
        self.trace_mask = DEFAULT_TRACE_MASK

    def data_size(self) -> int:
        """Bytes in the folder of snapshots."""
        return folder_size(self.data_folder)

    def log_size(self) -> int:
        """Bytes in the folder of logs."""
        return folder_size(self.log_folder)

    def properties(self) -> list[tuple[str, str]]:
        """The settings that were given, by key, sorted; secrets are masked."""
        return sorted(
            [(key, value) for key, value, origin in describe(self.config) if origin != DEFAULT_ORIGIN]
        )
