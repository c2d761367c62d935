"""The version that ``srvr``, ``stat``, ``mntr`` and ``envi`` tell, in the form that clients parse.

Clients read the text after ``Zookeeper version: `` to decide what a server can do, so it names the line of
Apache ZooKeeper whose behaviour we have; ours follows in the place of upstream's revision.  A setting
(``zabra.versionText``) replaces it for clients that insist on another: see docs/adr/0060.
"""

import re
from typing import Final

from zabra import __version__

# The release whose behaviour this server has.
UPSTREAM_VERSION: Final = "3.9.4"
# There is no build to date; a fixed one keeps answers alike on all members.
BUILT_ON: Final = "2026-01-01 00:00 UTC"
# Before 3.6 the date was written like this, and some Go clients still parse nothing else.
OLD_BUILT_ON: Final = "01/01/2026 00:00 GMT"

_NUMBERS: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def version_text(setting: str) -> str:
    """What stands after ``Zookeeper version: `` for a value of ``zabra.versionText``.

    Empty: our own.  A version alone ("3.8.0", "3.5.6") gets a revision and a date in the form of its time.
    A whole text ("3.5.6-abc, built on 10/08/2019 20:18 GMT") is taken as it is.
    """
    if not setting:
        return f"{UPSTREAM_VERSION}-zabra.{__version__}, built on {BUILT_ON}"
    if ", built on " in setting:
        return setting
    built = OLD_BUILT_ON if is_old_form(setting) else BUILT_ON
    revision = "" if "-" in setting else f"-zabra.{__version__}"
    return f"{setting}{revision}, built on {built}"


def is_old_form(text: str) -> bool:
    """Whether the text names a version before 3.6, whose ``srvr`` gave the average latency as an integer."""
    found = _NUMBERS.match(text)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2] or 0)
    return (major, minor) < (3, 6)
