"""``zabra server`` for campaigns: SIGUSR1 ends its publishers, wherever they are; they begin anew."""

import asyncio
import signal
import sys

from zabra.cli import main, server
from zabra.plugins.attach import AttachedPublishers


class Attached(AttachedPublishers):
    """Hears the signal."""

    def start(self, plan, running):
        super().start(plan, running)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._end_all)

    def _end_all(self):
        host = self.host
        if host is not None:
            for run in host.runs:
                # The host starts it again when it next looks.
                host._allow(run, False)


if __name__ == "__main__":
    # So that a signal that comes before it is heard does no harm.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    server.AttachedPublishers = Attached
    sys.exit(main.main(["server", *sys.argv[1:]]))
