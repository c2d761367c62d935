"""What ``shim/java``, first on PATH, does in place of Java: it starts Zabra for foreign test suites.

A call that names one of upstream's server classes becomes ``zabra server zoo.cfg --set name=value ...``,
each ``-Dname=value`` of the call as one setting.  Every other call (command lines, tools) goes to the real
Java. The server replaces this process, so the caller's process id and signals are the server's.

Settings, all from the environment:

ZABRA_SHIM_SERVER     command that starts Zabra; the path of zoo.cfg and the settings are appended
ZABRA_SHIM_JAVA       the real java
ZABRA_SHIM_CLASSPATH  class path given to the real java in place of the caller's
ZABRA_SHIM_JVM_FLAGS  flags for servers that run on the real java, such as "-Xmx256m"
ZABRA_SHIM_JAVA_IDS   server ids that run on the real java: "all", or a list such as "1,3"; default none
ZABRA_SHIM_LOGS       folder; each server's output goes to a file of its own there
ZABRA_SHIM_VIA        "follower" or "observer": a standalone server becomes such a member of an ensemble
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable

STANDALONE_CLASS = "org.apache.zookeeper.server.ZooKeeperServerMain"
SERVER_CLASSES = ("org.apache.zookeeper.server.quorum.QuorumPeerMain", STANDALONE_CLASS)
TAKES_ARGUMENT = ("-cp", "-classpath", "--class-path", "-p", "--module-path")
# Settings of the JVM and of upstream's logging, which mean nothing to another server.
JVM_ONLY = (
    "java.awt.",
    "java.io.",
    "java.net.",
    "file.encoding",
    "log4j.",
    "logback.",
    "user.",
    "sun.",
    "com.sun.",
    "zookeeper.log.",
    "zookeeper.root.logger",
)


def split(arguments: list[str]) -> tuple[dict[str, str], str | None, list[str]]:
    """(properties, main class, its arguments) of a java command line."""
    properties: dict[str, str] = {}
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word in TAKES_ARGUMENT:
            position += 2
            continue
        if not word.startswith("-"):
            return properties, word, arguments[position + 1 :]
        if word.startswith("-D"):
            name, _, value = word[2:].partition("=")
            properties[name] = value
        position += 1
    return properties, None, []


def server_id(config: str) -> str:
    """The id in dataDir/myid of a zoo.cfg; an empty string for a standalone server."""
    with open(config) as lines:
        for line in lines:
            name, _, value = line.partition("=")
            if name.strip() == "dataDir":
                path = os.path.join(value.strip(), "myid")
                if os.path.exists(path):
                    with open(path) as myid:
                        return myid.read().strip()
    return ""


def run_on_java(config: str) -> bool:
    """Whether the server with this configuration is to run on the real Java."""
    ids = os.environ.get("ZABRA_SHIM_JAVA_IDS", "")
    return ids == "all" or server_id(config) in [word for word in ids.split(",") if word]


def java_command(arguments: list[str], is_server: bool) -> list[str]:
    """The real java with our class path; the caller's own is dropped."""
    command = [os.environ.get("ZABRA_SHIM_JAVA", "/usr/bin/java")]
    if is_server:
        command += shlex.split(os.environ.get("ZABRA_SHIM_JVM_FLAGS", "-Xmx256m"))
    command += ["-cp", os.environ["ZABRA_SHIM_CLASSPATH"]]
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        if arguments[position] in TAKES_ARGUMENT:
            position += 2
            continue
        command.append(arguments[position])
        position += 1
    return command + arguments[position:]


def zabra_command(properties: dict[str, str], config: str) -> list[str]:
    """The command that starts Zabra with the same configuration."""
    command = shlex.split(os.environ["ZABRA_SHIM_SERVER"])
    command.append(config)
    for name, value in properties.items():
        if not name.startswith(JVM_ONLY):
            command += ["--set", f"{name}={value}"]
    return command


def java_member(arguments: list[str], config: str) -> list[str]:
    """The caller's own command line, for a member of an ensemble with this configuration."""
    _, main_class, _ = split(arguments)
    assert main_class is not None
    options = arguments[: arguments.index(main_class)]
    return java_command([*options, SERVER_CLASSES[0], config], True)


def member_config(main_class: str, config: str, command_of: Callable[[str], list[str]]) -> str:
    """The zoo.cfg to start with: the given one, or that of a member whose ensemble is started here.

    ``command_of`` gives the command that starts another member with its configuration.
    """
    role = os.environ.get("ZABRA_SHIM_VIA", "")
    if not role or main_class != STANDALONE_CLASS:
        return config
    # This file runs by its path, without packages.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import shim_ensemble

    own, others = shim_ensemble.lay_out(config, role)
    for path in others:
        shim_ensemble.launch(command_of(path))
    return own


def redirect(name: str) -> None:
    """Sends stdout and stderr to a file of this process when a folder for them is given."""
    folder = os.environ.get("ZABRA_SHIM_LOGS")
    if folder:
        os.makedirs(folder, exist_ok=True)
        target = os.open(
            os.path.join(folder, f"{os.getpid()}-{name}.log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND
        )
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)


def main() -> None:
    properties, main_class, rest = split(sys.argv[1:])
    if main_class not in SERVER_CLASSES:
        command = java_command(sys.argv[1:], False)
    else:
        if len(rest) != 1:
            sys.exit("this stand-in for java starts a server from the path of a zoo.cfg only")
        redirect(server_id(rest[0]) or "standalone")

        def command_of(config: str) -> list[str]:
            if not on_java:
                return zabra_command(properties, config)
            return java_member(sys.argv[1:], config)

        on_java = run_on_java(rest[0])
        config = member_config(main_class, rest[0], command_of)
        command = java_command(sys.argv[1:], True) if on_java and config == rest[0] else command_of(config)
    if main_class in SERVER_CLASSES:
        print("+", shlex.join(command), flush=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
