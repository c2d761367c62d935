"""The four-letter words of one server, as the runtime asks for them."""

from zabra.admin.context import MoreGauges, no_more_gauges
from zabra.admin.four_letter import FourLetterWords
from zabra.config.server import ServerConfig
from zabra.runtime.node import WordAnswer
from zabra.server.server import Server


def words_of(config: ServerConfig, server: Server, more_gauges: MoreGauges = no_more_gauges) -> WordAnswer:
    """What answers a word: text for the client.  ``more_gauges``: of what runs beside the server."""
    return FourLetterWords(config, server, more_gauges=more_gauges).answer
