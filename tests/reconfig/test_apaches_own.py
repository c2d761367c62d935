"""Apache's own tests of reconfiguration, as they are in its tests jar, on our servers (docs/adr/0084)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.interop import apache
from tests.interop.members import zabra_command, zabra_environment

pytestmark = [pytest.mark.java, pytest.mark.campaign]

HERE = Path(__file__).resolve().parent
JUNIT = "1.6.2"
PACKAGE = "org.apache.zookeeper.test"

# Left out: what asks JMX beans, which only a JVM has, and what moves the port at which the stand-in asks.
TESTS = [
    "ReconfigExceptionTest",
    "ReconfigMisconfigTest",
    "ReconfigTest#testRemoveAddOne",
    "ReconfigTest#testRoleChange",
    "ReconfigTest#testQuorumSystemChange",
]

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>zabra.interop</groupId><artifactId>apache-tests</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId>
      <version>{version}</version><classifier>tests</classifier>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.junit.platform</groupId><artifactId>junit-platform-console-standalone</artifactId>
      <version>{junit}</version></dependency>
  </dependencies>
</project>
"""


def jars() -> str:
    """Class path of Apache's tests and what runs them.  Raises ApacheUnavailable."""
    version = apache.release("3.9")
    folder = apache.apache_cache() / f"{version}-tests"
    if not (folder / "complete").exists():
        if not apache.have_maven():
            raise apache.ApacheUnavailable("mvn is not on PATH and Apache's tests are not in the cache")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(_POM.format(version=version, junit=JUNIT))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise apache.ApacheUnavailable(f"mvn failed: {(done.stdout + done.stderr)[:500]}")
        (folder / "complete").touch()
    return os.pathsep.join([apache.classpath("3.9"), str(folder / "lib" / "*")])


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Class path with the stand-in in front."""
    apache.require_java("3.9")
    if shutil.which("javac") is None:
        pytest.skip("javac is not on PATH")
    try:
        path = jars()
    except apache.ApacheUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("classes")
    source = HERE / "java" / "org" / "apache" / "zookeeper" / "test" / "QuorumUtil.java"
    subprocess.run(["javac", "-nowarn", "-d", str(folder), "-cp", path, str(source)], check=True)
    return os.pathsep.join([str(folder), path])


@pytest.mark.parametrize("test", TESTS)
def test_apaches(classes: str, tmp_path: Path, test: str) -> None:
    selector = ["-m", f"{PACKAGE}.{test}"] if "#" in test else ["-c", f"{PACKAGE}.{test}"]
    command = [
        "java", "-Xmx256m", f"-Dzabra.command={' '.join(zabra_command())}", f"-Dzabra.folder={tmp_path}",
        "-cp", classes, "org.junit.platform.console.ConsoleLauncher", "--disable-banner", *selector,
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=zabra_environment(), check=False
    )
    ran = re.search(r"\[\s*(\d+) tests successful", done.stdout)
    assert done.returncode == 0, done.stdout[-4000:]
    assert ran is not None
    assert int(ran.group(1)) > 0, done.stdout[-2000:]
