"""Apache ZooKeeper to test against: its jars by Maven coordinates, standalone servers and ensembles.

Jars are copied once into a cache folder (``apache_cache``) by the ``mvn`` on PATH, as it is set up.
Where Java or Maven is missing, ``require_java`` skips the test that asked; with CI=true in the
environment it fails it instead, so that a build server cannot lose these tests unseen.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.interop.processes import ConfigValue, Ensemble, ServerProcess

RELEASES = {"3.9": ("3.9.5", "3.9.4"), "3.8": ("3.8.6", "3.8.5", "3.8.4")}
"""Patch releases by line, newest first: the first one Maven can get is taken."""

MAVEN_TIMEOUT_S = 600
DEFAULT_JVM_FLAGS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For tests: small JVMs that must start fast.  Benchmarks give their own flags."""

_LOGBACK = """<configuration>
  <statusListener class="ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} [%thread] %-5level %logger{36}: %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>zabra.interop</groupId><artifactId>apache-zookeeper</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencyManagement><dependencies><dependency>
    <groupId>org.apache.zookeeper</groupId><artifactId>parent</artifactId><version>{version}</version>
    <type>pom</type><scope>import</scope>
  </dependency></dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId>
      <version>{version}</version></dependency>
{provided}  </dependencies>
</project>
"""

_PROVIDED = (
    "ch.qos.logback:logback-classic",
    "io.dropwizard.metrics:metrics-core",
    "org.xerial.snappy:snappy-java",
    "commons-cli:commons-cli",
    "org.eclipse.jetty:jetty-server",
    "org.eclipse.jetty:jetty-servlet",
    "com.fasterxml.jackson.core:jackson-databind",
)
"""What upstream's jar needs at run time but declares as provided; versions come from its parent pom."""


class ApacheUnavailable(Exception):
    """Apache ZooKeeper cannot be run here; the text says what is missing."""


def apache_cache() -> Path:
    """Folder for jars: XDG_CACHE_HOME or ~/.cache, then zabra/apache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "zabra" / "apache"


def have_java() -> bool:
    """Whether ``java`` is on PATH."""
    return shutil.which("java") is not None


def have_maven() -> bool:
    """Whether ``mvn`` is on PATH."""
    return shutil.which("mvn") is not None


def require_java(line: str = "3.9") -> None:
    """Skips the calling test where Apache cannot run, naming the reason; with CI=true it fails instead."""
    import pytest

    try:
        classpath(line)
    except ApacheUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def pom(version: str) -> str:
    """The generated pom.xml that names one release with all it needs to run, zkCli included."""
    numbers = tuple(int(part) for part in version.split("."))
    # Upstream moved to the org.jline group within both patch lines.
    modern = numbers >= (3, 9, 5) or (3, 8, 6) <= numbers < (3, 9)
    coordinates = [*_PROVIDED, "org.jline:jline" if modern else "jline:jline"]
    entries = ""
    for coordinate in coordinates:
        group, artifact = coordinate.split(":")
        entries += f"    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        entries += "<scope>compile</scope></dependency>\n"
    return _POM.format(version=version, provided=entries)


@cache
def release(version: str) -> str:
    """The full version that ``version`` (3.9, 3.8 or a full one) stands for; puts its jars into the cache."""
    if not have_java():
        raise ApacheUnavailable("java is not on PATH")
    candidates = RELEASES.get(version, (version,))
    failures = []
    for candidate in candidates:
        failure = _fetch(candidate)
        if failure is None:
            return candidate
        failures.append(f"{candidate}: {failure}")
    raise ApacheUnavailable(f"no Apache ZooKeeper {version}: " + "; ".join(failures))


def _fetch(version: str) -> str | None:
    """Copies the jars of one release into the cache; None when they are there, else why not."""
    folder = apache_cache() / version
    if _complete(version, folder):
        return None
    if not have_maven():
        return "mvn is not on PATH and the jars are not in the cache"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _complete(version, folder):
            return None
        return _copy_dependencies(version, folder)


def _complete(version: str, folder: Path) -> bool:
    """Whether the cache holds what today's pom asks for: a changed pom fetches again."""
    mark = folder / "complete"
    return mark.exists() and mark.read_text() == pom(version)


def _copy_dependencies(version: str, folder: Path) -> str | None:
    (folder / "pom.xml").write_text(pom(version))
    (folder / "logback.xml").write_text(_LOGBACK)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    command.append(f"-DoutputDirectory={folder / 'lib'}")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"mvn did not end within {MAVEN_TIMEOUT_S} s"
    if done.returncode != 0:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        lines = [line for line in said.splitlines() if line.startswith("[ERROR]")]
        return "mvn failed: " + " ".join(lines[:2])[:600]
    (folder / "complete").write_text(pom(version))
    return None


def classpath(version: str = "3.9") -> str:
    """Class path of a release (3.9, 3.8 or a full version): its jars, and logback at WARN in front."""
    folder = apache_cache() / release(version)
    return os.pathsep.join([str(folder), str(folder / "lib" / "*")])


def java_command(version: str, main: str, *arguments: str, flags: Sequence[str] = ()) -> list[str]:
    """Command line of a class of upstream's, for instance its TxnLogToolkit, with all its dependencies."""
    return ["java", *flags, "-cp", classpath(version), main, *arguments]


def zkcli_command(version: str, address: str, *command: str) -> list[str]:
    """Command line that runs one zkCli command against ``address`` (host:port) and ends."""
    main = "org.apache.zookeeper.ZooKeeperMain"
    return java_command(version, main, "-server", address, *command, flags=("-Xmx128m",))


class ApacheServer(ServerProcess):
    """One Apache ZooKeeper server: standalone, or a member when ``cfg`` has server lines and ``myid``."""

    def __init__(
        self,
        version: str,
        cfg: Mapping[str, ConfigValue],
        folder: Path,
        *,
        jvm_flags: Sequence[str] = DEFAULT_JVM_FLAGS,
        name: str | None = None,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.version = release(version)
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        argv = [*prefix, *java_command(version, main, "{config}", flags=jvm_flags)]
        super().__init__(
            argv, cfg, folder, name=name or f"Apache ZooKeeper {self.version}", env=env, host=host
        )


class ApacheEnsemble(Ensemble):
    """An ensemble of Apache servers only."""

    def __init__(
        self,
        participants: int,
        observers: int,
        folder: Path,
        *,
        version: str = "3.9",
        cfg: Mapping[str, ConfigValue] | None = None,
        ports: Sequence[int] | None = None,
        jvm_flags: Sequence[str] = DEFAULT_JVM_FLAGS,
    ) -> None:
        def make(sid: int, own: dict[str, ConfigValue], home: Path) -> ServerProcess:
            return ApacheServer(version, own, home, jvm_flags=jvm_flags, name=f"Apache member {sid}")

        super().__init__(make, participants, observers, folder, cfg=cfg, ports=ports)
