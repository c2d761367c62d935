"""The four-letter words of one server, as the runtime asks for them."""

from zabra.admin.four_letter import FourLetterWords
from zabra.config.server import ServerConfig
from zabra.runtime.node import WordAnswer
from zabra.server.server import Server


def words_of(config: ServerConfig, server: Server) -> WordAnswer:
    """What answers a word: text for the client."""
    return FourLetterWords(config, server).answer
