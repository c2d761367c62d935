"""The door's process: how many subscribers the system allows, and that it ends with its server."""

import resource
import socket
import subprocess
import sys

from zabra.plugins.door.process import SPARE_FDS, raise_limit


def test_the_limit_of_descriptors_is_raised():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        assert raise_limit(10) == 10
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        if hard != resource.RLIM_INFINITY:
            assert raise_limit(hard) == hard - SPARE_FDS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_ends_when_the_link_does():
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    fds = (theirs.fileno(), listener.fileno())
    process = subprocess.Popen(
        [sys.executable, "-m", "zabra.plugins.door.process", *map(str, fds)], pass_fds=fds
    )
    theirs.close()
    ours.close()
    assert process.wait(30) == 0
    listener.close()
