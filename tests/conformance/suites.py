"""The foreign suites: how each is installed and run, and what it says about every test.

A suite's ``run`` gives (status, detail) by test name; status is passed, failed or skipped.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.conformance import tools, transcripts
from tests.conformance.differences import LEFT_OUT
from tests.conformance.tools import Unavailable
from tests.interop import apache

from zabra.admin.version import UPSTREAM_VERSION

KAZOO = "2.11.0"
AIOZK = "0.32.0"
ZK_SHELL = "1.3.4"
NODE_CLIENT = "1.1.3"
KAZOO_PORTS = 22200

Results = dict[str, tuple[str, str]]


@dataclass
class Job:
    """One run of a suite: against whom, with how many servers, how much, and where to keep files."""

    suite: Suite
    target: str
    cluster: int
    quick: bool = False
    mixed: str = ""
    via: str = ""
    record: bool = False
    install: bool = False
    folder: Path = Path()

    @property
    def where(self) -> str:
        """The servers, as part of the name under which results are kept: 3, 3-apache-1, 5-via-observer."""
        mixed = f"-apache-{self.mixed}" if self.mixed else ""
        return f"{self.cluster}{mixed}{f'-via-{self.via}' if self.via else ''}"


class Suite(Protocol):
    """A foreign suite."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def clusters(self) -> tuple[int, ...]:
        """Numbers of servers it can run with."""

    @property
    def about(self) -> str:
        """What it is, in a line."""

    @property
    def goes_via(self) -> bool:
        """Whether its clients can be given some of the members only."""

    @property
    def is_mixed(self) -> bool:
        """Whether it is worth while in ensembles that mix both kinds of servers."""

    def versions(self) -> str:
        """What exactly is run."""

    def run(self, job: Job) -> Results:
        """Runs it."""


def left_out(suite: str, job: Job) -> tuple[str, ...]:
    """Parts of the suite that this target is not asked for."""
    return LEFT_OUT.get(suite, ()) if job.target == "zabra" else ()


def records(job: Job) -> bool:
    """Whether a scripted session's output is written down: it is one for all cluster sizes."""
    return job.record and job.cluster == 1


def junit(path: Path) -> Results:
    """Results in pytest's JUnit file."""
    out: Results = {}
    if not path.exists():
        return {"suite": ("failed", "wrote no results")}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '').removeprefix('kazoo.tests.')}::{case.get('name')}"
        status, detail = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                status, detail = "failed", (child.get("message") or "")[:300]
            elif child.tag == "skipped":
                status, detail = "skipped", (child.get("message") or "")[:120]
        out[name] = (status, detail)
    return out


def spoken(output: str, crashed: str) -> Results:
    """Results of a probe that prints ``ok NAME`` and ``FAILED NAME: why``."""
    out: Results = {}
    for line in output.splitlines():
        if line.startswith("ok "):
            out[line[3:]] = ("passed", "")
        elif line.startswith("FAILED "):
            name, _, why = line[7:].partition(": ")
            out[name] = ("failed", why[:300])
    return out or {"suite": ("failed", crashed[-300:])}


class Kazoo:
    """kazoo's own tests, unmodified; they start, stop and restart the servers."""

    name = "kazoo"
    goes_via = False
    is_mixed = True
    clusters = (1, 3, 5)
    about = "kazoo's own tests, unmodified, from its wheel; `5` is three voters and two observers"

    def versions(self) -> str:
        """Package versions."""
        return f"kazoo {KAZOO}, pure-sasl"

    def run(self, job: Job) -> Results:
        """Runs pytest on kazoo.tests; what failed is run once more: it may be a matter of pace."""
        python = tools.venv("kazoo", [f"kazoo[test]=={KAZOO}", "pyOpenSSL<25", "pytest-timeout", "pure-sasl"])
        env = tools.shim_environment(job.target, job.folder / "logs", job.mixed)
        env |= {
            "CI": "true",
            "ZOOKEEPER_VERSION": self._version(job),
            "ZOOKEEPER_CLASSPATH": "unused",
            "ZOOKEEPER_PORT_OFFSET": str(KAZOO_PORTS),
            "ZOOKEEPER_CLUSTER_SIZE": str(job.cluster),
        }
        if job.cluster == 5:
            env["ZOOKEEPER_OBSERVER_START_ID"] = "4"
        words = ["(client or counter or watchers or lock)"] if job.quick else []
        words += [f"not {part}" for part in left_out(self.name, job)]
        only = ["-k", " and ".join(words)] if words else []
        out: Results = {}
        for turn, again in (("first", []), ("second", ["--last-failed", "--last-failed-no-failures=none"])):
            report = job.folder / f"{turn}.xml"
            command = [str(python), "-m", "pytest", "-q", "--timeout=180", "--tb=short", *again]
            command += ["-o", f"cache_dir={job.folder / 'cache'}", f"--junitxml={report}", *only]
            done = tools.run([*command, "--pyargs", "kazoo.tests"], timeout_s=3000, env=env, cwd=job.folder)
            (job.folder / f"{turn}.txt").write_text(done.stdout)
            out |= junit(report) if report.exists() or turn == "first" else {}
        return out

    def _version(self, job: Job) -> str:
        """What the servers have to call themselves, or a test of kazoo's complains."""
        return apache.release("3.9") if job.target == "apache" else UPSTREAM_VERSION


class Aiozk:
    """aiozk's tests."""

    name = "aiozk"
    goes_via = True
    is_mixed = False
    clusters = (1, 3, 5)
    about = "aiozk's tests, from its source distribution"

    def versions(self) -> str:
        """Package versions."""
        return f"aiozk {AIOZK}"

    def run(self, job: Job) -> Results:
        """Runs pytest on aiozk/test."""
        packages = [f"aiozk=={AIOZK}", "pytest", "pytest-cov", "pytest-asyncio<1", "pytest-timeout"]
        python = tools.venv("aiozk", packages)
        source = tools.sdist("aiozk", AIOZK)
        report = job.folder / "junit.xml"
        with tools.servers(job.target, job.cluster, job.folder, job.mixed) as running:
            host, port = tools.port_of(tools.connect_string(running, job.via))
            env = {"PATH": "/usr/bin:/bin", "ZK_HOST": host, "ZK_PORT": str(port)}
            command = [
                str(python),
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-q",
                "--timeout=120",
                "--no-cov",
            ]
            done = tools.run(
                [*command, f"--junitxml={report}", "aiozk/test"], timeout_s=900, env=env, cwd=source
            )
        (job.folder / "output.txt").write_text(done.stdout)
        return junit(report)


C_SUITES = (
    "Zookeeper_simpleSystem", "Zookeeper_watchers", "Zookeeper_multi", "Zookeeper_readOnly",
    "Zookeeper_SASLAuth", "Zookeeper_clientretry", "TestReconfigServer",
)  # fmt: skip


class CClient:
    """The CppUnit suites of Apache's C client that talk to servers."""

    name = "c-client"
    goes_via = True
    is_mixed = False
    clusters = (1,)
    about = "CppUnit suites of Apache's C client; they start standalone servers and ensembles themselves"

    def versions(self) -> str:
        """Version of the source package."""
        folder = next(iter(sorted((tools.cache() / "c-client").glob("*.dsc"))), None)
        return f"Debian source package {folder.stem}" if folder else "Debian source package zookeeper"

    def run(self, job: Job) -> Results:
        """Builds once, then runs suite by suite; a test that failed is run once more by itself."""
        home = self._build(job.install)
        env = tools.shim_environment(job.target, job.folder / "logs", job.mixed)
        env |= {"CLASSPATH": "x", "ZKROOT": str(home.parents[1]), "ZABRA_SHIM_VIA": job.via}
        out: Results = {}
        log = []
        wanted = [name for name in C_SUITES if name not in left_out(self.name, job)]
        for name, tests in cppunit_tests(home, wanted[1:3] if job.quick else wanted).items():
            done = tools.run(["./zktest-mt", name], timeout_s=600, env=env, cwd=home)
            log.append(done.stdout)
            found = parse_cppunit(done.stdout, tests)
            out |= found
            # What failed, and what was not reached because the program had ended, gets one more run alone.
            for test in [test for test in tests if found.get(test, ("", ""))[0] != "passed"]:
                again = tools.run(["./zktest-mt", test], timeout_s=300, env=env, cwd=home)
                log.append(again.stdout)
                out |= {test: ("failed", again.stdout[-200:])} | parse_cppunit(again.stdout, [test])
        tools.run(["./tests/zkServer.sh", "stop"], timeout_s=30, env=env, cwd=home)
        (job.folder / "output.txt").write_text("\n".join(log))
        return out

    def _build(self, install: bool) -> Path:
        base = tools.cache() / "c-client"
        found = sorted(base.glob("zookeeper-*/zookeeper-client/zookeeper-client-c/zktest-mt"))
        if found:
            return found[0].parent
        tools.apt(
            {
                "/usr/include/cppunit/Test.h": "libcppunit-dev",
                "/usr/bin/libtoolize": "libtool",
                "/usr/bin/autoreconf": "autoconf",
                "/usr/bin/automake": "automake",
                "/usr/include/sasl/sasl.h": "libsasl2-dev",
                "/usr/include/openssl/ssl.h": "libssl-dev",
                "/usr/bin/dpkg-source": "dpkg-dev",
                "/usr/bin/g++": "g++",
                "/usr/bin/make": "make",
            },
            install,
        )
        home = self._source(base)
        jute = home.parents[1] / "zookeeper-jute/src/main/resources/zookeeper.jute"
        generated = home / "generated"
        generated.mkdir(exist_ok=True)
        compiler = "org.apache.jute.compiler.generated.Rcc"
        tools.must(apache.java_command("3.9", compiler, "-l", "c", str(jute)), cwd=generated)
        tools.must(["autoreconf", "-if"], cwd=home)
        tools.must(["./configure"], cwd=home)
        cxx = "-O0 -g -w -std=gnu++11 -D_GNU_SOURCE -fpermissive -include unistd.h -include time.h"
        tools.must(
            ["make", "-j2", "zktest-mt", f"CXXFLAGS={cxx}", "CFLAGS=-O0 -g -w '-DFIPS_mode()=0'"], cwd=home
        )
        return home

    def _source(self, base: Path) -> Path:
        """Fetches the source package with source lists of its own, made from the machine's binary ones."""
        lists = base / "apt"
        (lists / "state" / "partial").mkdir(parents=True, exist_ok=True)
        for given in Path("/etc/apt/sources.list.d").glob("*.sources"):
            text = re.sub(r"^Types: deb$", "Types: deb-src", given.read_text(), flags=re.MULTILINE)
            (lists / given.name).write_text(text)
        given = Path("/etc/apt/sources.list")
        if given.exists():
            (lists / "main.list").write_text(
                re.sub(r"^deb ", "deb-src ", given.read_text(), flags=re.MULTILINE)
            )
        options = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={lists}"]
        options += ["-o", f"Dir::State::lists={lists / 'state'}", "-o", "APT::Sandbox::User=root"]
        tools.must(["apt-get", "-qq", *options, "update"], cwd=base)
        tools.must(["apt-get", "-qq", *options, "source", "zookeeper"], cwd=base)
        found = sorted(base.glob("zookeeper-*/zookeeper-client/zookeeper-client-c"))
        if not found:
            raise Unavailable("the source package zookeeper has no C client")
        return found[0]


def cppunit_tests(home: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Full names of the tests of these suites, from the sources."""
    out: dict[str, list[str]] = {name: [] for name in names}
    for source in sorted((home / "tests").glob("*.cc")):
        text = source.read_text(errors="replace")
        suite = re.search(r"^\s*CPPUNIT_TEST_SUITE\((\w+)\);", text, re.MULTILINE)
        if suite and suite.group(1) in out:
            tests = re.findall(r"^\s*CPPUNIT_TEST\((\w+)\);", text, re.MULTILINE)
            out[suite.group(1)] = [f"{suite.group(1)}::{test}" for test in tests]
    return out


def parse_cppunit(output: str, tests: Sequence[str]) -> Results:
    """Results in the listener's lines, ``Suite::test ... : OK`` or ``assertion``; logs may interrupt them."""
    out: Results = {}
    current = ""
    by_length = sorted(tests, key=len, reverse=True)
    for line in output.splitlines():
        started = next((test for test in by_length if line.startswith(test)), "")
        if started:
            current = started
            out[current] = ("failed", "")
        ended = re.search(r": (assertion|error|elapsed \d+ : OK)", line)
        if current and ended:
            out[current] = ("passed" if ended.group(1).endswith("OK") else "failed", "")
            current = ""
    return out


class JavaClient:
    """Our program that calls every method of Apache's Java client."""

    name = "java-client"
    goes_via = True
    is_mixed = False
    clusters = (1, 3, 5)
    about = "every method of Apache's Java client, by `tests/conformance/java/ApiProbe.java`"

    def versions(self) -> str:
        """Version of the client."""
        return f"zookeeper.jar {apache.release('3.9')}"

    def run(self, job: Job) -> Results:
        """Compiles and runs the program."""
        jars = apache.classpath("3.9")
        compiler = [
            tools.java_tool("javac"),
            "-encoding",
            "UTF-8",
            "-cp",
            jars,
            "-d",
            str(job.folder / "classes"),
        ]
        tools.must([*compiler, str(tools.HERE / "java" / "ApiProbe.java")])
        with tools.servers(job.target, job.cluster, job.folder, job.mixed) as running:
            command = [tools.java_tool("java"), "-Xmx256m", "-Dfile.encoding=UTF-8", "-cp"]
            command += [
                f"{job.folder / 'classes'}:{jars}",
                "ApiProbe",
                tools.connect_string(running, job.via),
            ]
            done = tools.run(command, timeout_s=600)
        (job.folder / "output.txt").write_text(done.stdout)
        return spoken(done.stdout, done.stdout)


class Node:
    """Our script over node-zookeeper-client."""

    name = "node-zookeeper-client"
    goes_via = True
    is_mixed = False
    clusters = (1, 3, 5)
    about = "the pure JavaScript client, by `tests/conformance/node/probe.js`"

    def versions(self) -> str:
        """Version of the package."""
        return f"node-zookeeper-client {NODE_CLIENT}"

    def run(self, job: Job) -> Results:
        """Installs the package once and runs the script."""
        folder = tools.cache() / "node"
        modules = folder / "node_modules"
        node = tools.java_tool("node")
        if not (modules / "node-zookeeper-client").exists():
            folder.mkdir(exist_ok=True)
            (folder / "package.json").write_text('{"name": "conformance", "private": true}\n')
            command = [tools.java_tool("npm"), "install", "--silent", f"node-zookeeper-client@{NODE_CLIENT}"]
            tools.must(command, cwd=folder)
        with tools.servers(job.target, job.cluster, job.folder, job.mixed) as running:
            probe = str(tools.HERE / "node" / "probe.js")
            done = tools.run(
                [node, probe, tools.connect_string(running, job.via), str(modules)], timeout_s=300
            )
        (job.folder / "output.txt").write_text(done.stdout)
        return spoken(done.stdout, done.stdout)


PROMPT = re.compile(r"\[zk: \S+\(\w+\) \d+\] ")
WATCH = re.compile(r"\n?WATCHER::\n\nWatchedEvent (.*)\n?")
JLINE = re.compile(r"^.*(org\.jline|Unable to create a system terminal).*\n?", re.MULTILINE)


class ZkCli:
    """Apache's zkCli with a scripted session."""

    name = "zkCli"
    goes_via = True
    is_mixed = False
    clusters = (1, 3)
    about = "Apache's `zkCli`, a scripted session; every command's output compared"

    def versions(self) -> str:
        """Version of the client."""
        return f"zookeeper.jar {apache.release('3.9')}"

    def run(self, job: Job) -> Results:
        """Feeds the session through standard input."""
        commands = [command for command, _ in transcripts.load("zkcli")]
        with tools.servers(job.target, job.cluster, job.folder, job.mixed) as running:
            command = apache.zkcli_command("3.9", tools.connect_string(running, job.via))
            done = tools.run(command, timeout_s=180, stdin="\n".join([*commands, "quit"]) + "\n")
        (job.folder / "output.txt").write_text(done.stdout)
        text = JLINE.sub("", done.stdout)
        events = sorted(WATCH.findall(text))
        parts = PROMPT.split(WATCH.sub("", text))[1:]
        outputs = [transcripts.clean(part) for part in parts[: len(commands)]]
        # The order of lines counts nowhere, and whoami prints a hash set.
        results = transcripts.judge("zkcli", outputs, records(job), any_order=True)
        results["watch events"] = self._events(events, job)
        return results

    def _events(self, events: list[str], job: Job) -> tuple[str, str]:
        """The events come at no fixed place of the output, so they are compared as a whole."""
        got = transcripts.clean("\n".join(events))
        path = transcripts.SESSIONS / "zkcli-events.txt"
        if records(job):
            path.write_text("\n".join(got) + "\n")
        same = got == path.read_text().splitlines()
        return ("passed", "") if same else ("failed", " | ".join(got)[:300])


class CliMt:
    """The C client's command line."""

    name = "cli_mt"
    goes_via = True
    is_mixed = False
    clusters = (1,)
    about = "the C client's command line, a scripted session; every command's output compared"
    program = "/usr/lib/zookeeper/bin/cli_mt"

    def versions(self) -> str:
        """Version of the Debian package."""
        return f"Debian zookeeper-bin {tools.debian_version('zookeeper-bin')}"

    def run(self, job: Job) -> Results:
        """One process per command."""
        tools.apt({self.program: "zookeeper-bin"}, job.install)
        outputs = []
        with tools.servers(job.target, job.cluster, job.folder, job.mixed) as running:
            for command, _ in transcripts.load("cli_mt"):
                text = self._one(tools.connect_string(running, job.via), command)
                outputs.append(transcripts.clean(text))
        return transcripts.judge("cli_mt", outputs, records(job), any_order=True)

    def _one(self, servers: str, command: str) -> str:
        done = tools.run([self.program, servers, f"cmd:{command}"], timeout_s=30)
        lines = [
            line
            for line in done.stdout.splitlines()
            if not re.match(r"^\d{4}-\d\d-\d\d .*ZOO_|^Watcher|^time = ", line)
        ]
        return "\n".join(lines)


class ZkShell:
    """zk-shell with a scripted session."""

    name = "zk-shell"
    goes_via = True
    is_mixed = False
    clusters = (1, 3)
    about = "the zk-shell command line, a scripted session; every command's output compared"

    def versions(self) -> str:
        """Package version."""
        return f"zk-shell {ZK_SHELL}"

    def run(self, job: Job) -> Results:
        """Feeds the session through standard input, with a word of ours after each command."""
        python = tools.venv("zkshell", [f"zk-shell=={ZK_SHELL}", "setuptools"])
        commands = [command for command, _ in transcripts.load("zk_shell")]
        stdin = "".join(f"{command}\nzabramark\n" for command in commands)
        with tools.servers(job.target, job.cluster, job.folder, job.mixed) as running:
            command = [
                str(python.parent / "zk-shell"),
                tools.connect_string(running, job.via),
                "--run-from-stdin",
            ]
            done = tools.run(command, timeout_s=120, stdin=stdin)
        (job.folder / "output.txt").write_text(done.stdout)
        parts = done.stdout.split("Unknown command: zabramark\n")
        outputs = [transcripts.clean(part) for part in parts[: len(commands)]]
        return transcripts.judge("zk_shell", outputs, records(job), any_order=True)


SUITES: Sequence[Suite] = (
    Kazoo(), Aiozk(), CClient(), JavaClient(), ZkCli(), CliMt(), Node(), ZkShell(),
)  # fmt: skip
