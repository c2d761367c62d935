"""The same clients do the same on Apache ZooKeeper and on ours: words and counters must say the same."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError
from tests.admin.helpers import in_any_order, masked
from tests.interop import apache
from tests.interop.clients import Clients, client_at
from tests.interop.processes import ConfigValue, ServerProcess, free_ports, poll

pytestmark = pytest.mark.java

# Metrics that depend on what clients did and on nothing else.
SAME = [
    "znode_count", "ephemerals_count", "watch_count", "approximate_data_size", "global_sessions",
    "local_sessions", "num_alive_connections", "outstanding_requests", "packets_received", "packets_sent",
    "server_state", "last_client_response_size", "max_client_response_size", "min_client_response_size",
    "bytes_received_count", "response_bytes", "watch_bytes",
    "connection_request_count", "connection_rejected", "connection_revalidate_count",
    "cnt_connection_token_deficit", "sessionless_connections_expired", "stale_sessions_expired",
    "stale_replies", "cnt_readlatency", "cnt_updatelatency", "cnt_propagation_latency",
    "cnt_sync_processor_queue_and_flush_time_ms", "outstanding_changes_queued", "outstanding_changes_removed",
    "digest_mismatches_count", "unrecoverable_error_count",
    *[f"{part}_node_{kind}_watch_count" for kind in ("created", "deleted", "changed", "children")
      for part in ("cnt", "sum", "min", "max")],
    *[f"{part}_app_{kind}_per_namespace" for kind in ("read", "write")
      for part in ("cnt", "sum", "min", "max", "avg")],
]  # fmt: skip


def configuration(client: int, admin: int) -> dict[str, ConfigValue]:
    return {
        "clientPort": client,
        "admin.serverPort": admin,
        "tickTime": 2000,
        "4lw.commands.whitelist": "*",
    }


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Apache's and ours, serving, with nothing counted yet."""
    apache.require_java()
    ports = free_ports(4)
    ours = [sys.executable, "-m", "zabra", "server", "{config}"]
    both = [
        apache.ApacheServer("3.9", configuration(*ports[:2]), tmp_path / "apache"),
        ServerProcess(ours, configuration(*ports[2:]), tmp_path / "ours", name="zabra"),
    ]
    try:
        for server in both:
            server.launch()
        for server in both:
            server.wait_serving()
            assert server.four_letter("srst") == "Server stats reset.\n"
        yield both
    finally:
        for server in both:
            server.stop()


def ignore(event: object) -> None:
    """A watcher that does not care."""


def work(address: str, clients: Clients) -> None:
    """What clients do; one of them stays."""
    first = clients(address)
    first.create("/app", b"x" * 10)
    first.create("/app/e", b"", ephemeral=True)
    first.create("/app/f", b"hello", sequence=True)
    first.get("/app", watch=ignore)
    first.get_children("/app", watch=ignore)
    assert first.exists("/nope", watch=ignore) is None
    first.get_children("/app")
    first.get_children("/app", include_data=True)
    first.exists("/app")
    first.get_acls("/app")
    with client_at(address) as second:
        others_work(second)
    first.get("/app/e", watch=ignore)


def others_work(second: KazooClient) -> None:
    """What the second client does."""
    second.get("/app", watch=ignore)
    second.set("/app", b"longer value")
    second.create("/nope", b"")
    second.delete("/nope")
    second.create("/app/g")
    transaction = second.transaction()
    transaction.create("/app/t1", b"12")
    transaction.set_data("/app/t1", b"123")
    transaction.delete("/app/g")
    transaction.commit()
    with pytest.raises(NoNodeError):
        second.get("/zz")
    with pytest.raises(NodeExistsError):
        second.create("/app")
    second.sync("/app")


def one_client_left(server: ServerProcess) -> bool | None:
    """Whether the server has noticed that the second client is gone."""
    text = server.four_letter("stat") or ""
    return True if text.count("\n /") == 2 else None


def told(server: ServerProcess, word: str) -> str:
    """An answer without what differs between two servers, and between two moments."""
    text = masked(server.four_letter(word) or "").replace(str(server.data_dir), "DATA")
    text = text.replace(str(server.client_port), "PORT")
    # Whom a tick takes apart, and buckets that upstream leaves behind empty, are a matter of milliseconds.
    text = re.sub(r"(?m)^\d+ expire at DATE:\n", "", text)
    return in_any_order(re.sub(r"Sets \(\d+\)", "Sets (N)", text))


def test_words_and_metrics_agree(servers: list[ServerProcess]) -> None:
    with Clients() as clients:
        for server in servers:
            work(server.address, clients)
        monitored = []
        for server in servers:
            poll("one client is left", 5, lambda server=server: one_client_left(server))  # type: ignore[misc]
        for server in servers:
            text = server.four_letter("mntr")
            assert text is not None
            monitored.append(dict(line.split("\t") for line in text.strip().split("\n")))
        theirs, ours = monitored
        assert {name: ours[f"zk_{name}"] for name in SAME} == {name: theirs[f"zk_{name}"] for name in SAME}
        assert sorted(set(theirs) - set(ours)) == []
        words = [
            "ruok",
            "isro",
            "srvr",
            "stat",
            "conf",
            "cons",
            "dump",
            "wchs",
            "wchc",
            "wchp",
            "dirs",
            "hash",
        ]
        words += ["gtmk", "crst", "cons", "srst", "srvr"]
        for word in words:
            theirs_text, ours_text = (told(server, word) for server in servers)
            assert ours_text == theirs_text, word
