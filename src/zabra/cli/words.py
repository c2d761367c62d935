"""The four-letter words of one server, as the runtime asks for them."""

from zabra.config.server import ServerConfig
from zabra.runtime.node import WordAnswer
from zabra.server.server import Server


def words_of(config: ServerConfig, server: Server) -> WordAnswer:
    """What answers a word: text for the client."""

    def answer(word: str, rest: bytes) -> bytes:
        if word == "ruok":
            return b"imok"
        return (
            f"Zookeeper version: 3.9.4, built on 2026-01-01\nMode: {server.role.name()}\n"
            f"Node count: {server.tree.node_count()}\n"
        ).encode()

    return answer
