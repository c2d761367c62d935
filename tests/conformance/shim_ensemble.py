"""An ensemble where a foreign suite asks for a standalone server: its clients reach one member of it.

The member on the suite's client port is a follower or an observer; the other voters are processes of their
own, which the kernel ends when that member ends, however it is ended.  A standalone server whose data folder
is empty begins with empty folders everywhere.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess

FIRST_PORT = 22890
"""Quorum and election ports, two for each member, beside those that the C suites use themselves."""
PR_SET_PDEATHSIG = 1
# What belongs to one server alone.
OWN_KEYS = ("clientport", "secureclientport", "datadir", "ssl.", "server.", "servercnxnfactory")


def voters(role: str) -> tuple[int, list[int]]:
    """(id of the suite's member, ids of the others): the voter with the largest id leads a fresh ensemble."""
    return (1, [2, 3]) if role == "follower" else (4, [3])


def read(config: str) -> dict[str, str]:
    """A zoo.cfg's keys and values."""
    found = {}
    with open(config) as lines:
        for line in lines:
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                found[name.strip()] = value.strip()
    return found


def write(folder: str, name: str, sid: int, settings: dict[str, str], data: str) -> str:
    """A member's zoo.cfg and myid; the path of the former."""
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "myid"), "w") as file:
        file.write(f"{sid}\n")
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.writelines(f"{key}={value}\n" for key, value in settings.items())
    return path


def lay_out(config: str, role: str) -> tuple[str, list[str]]:
    """Writes the configurations; (that of the suite's member, those of the others)."""
    given = read(config)
    own, others = voters(role)
    data = given["dataDir"]
    home = f"{data}-others"
    if not os.path.exists(os.path.join(data, "version-2")):
        shutil.rmtree(home, ignore_errors=True)
    lines = {}
    for sid in sorted([own, *others]):
        kind = "observer" if role == "observer" and sid == own else "participant"
        port = FIRST_PORT + 2 * sid
        lines[f"server.{sid}"] = f"127.0.0.1:{port}:{port + 1}:{kind}"
    lines["standaloneEnabled"] = "false"
    whole = {**given, **lines}
    if role == "observer":
        whole["peerType"] = "observer"
    shared = {key: value for key, value in given.items() if not key.lower().startswith(OWN_KEYS)}
    paths = []
    for sid in others:
        folder = os.path.join(home, str(sid))
        settings = {**shared, **lines, "dataDir": folder, "admin.enableServer": "false"}
        paths.append(write(folder, "zoo.cfg", sid, settings, folder))
    return write(os.path.dirname(config), "zoo-member.cfg", own, whole, data), paths


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def launch(command: list[str]) -> None:
    """Starts one of the others: it lives as long as this process, whatever that becomes."""
    subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)
