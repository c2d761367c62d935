"""Reading the suites' outputs, and comparing recorded results."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance import differences, report, run, suites, transcripts


def test_cppunit_lines() -> None:
    output = (
        "Running \n"
        "Suite::testOne : elapsed 5 : OK\n"
        "Suite::testTwo ZooKeeper server started : elapsed 7 : OK\n"
        "Suite::testThree : assertion : elapsed 9\n"
        "Suite::testFourLog Message Received: [x]\n"
        " : elapsed 1007 : OK\n"
        "Suite::testFiveterminate called\n"
    )
    tests = [f"Suite::test{name}" for name in ("One", "Two", "Three", "Four", "Five", "FiveMore", "Six")]
    assert {name: status for name, (status, _) in suites.parse_cppunit(output, tests).items()} == {
        "Suite::testOne": "passed",
        "Suite::testTwo": "passed",
        "Suite::testThree": "failed",
        "Suite::testFour": "passed",
        "Suite::testFive": "failed",
    }


def test_spoken_results() -> None:
    assert suites.spoken("noise\nok a/b\nFAILED c d: why: not\n", "") == {
        "a/b": ("passed", ""),
        "c d": ("failed", "why: not"),
    }
    assert suites.spoken("crash", "it died") == {"suite": ("failed", "it died")}


def test_junit(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="kazoo.tests.test_x.T" name="a"/>'
        '<testcase classname="m" name="b"><failure message="no"/></testcase>'
        '<testcase classname="m" name="c"><error message="worse"/></testcase>'
        '<testcase classname="m" name="d"><skipped message="later"/></testcase></testsuite></testsuites>'
    )
    assert suites.junit(path) == {
        "test_x.T::a": ("passed", ""),
        "m::b": ("failed", "no"),
        "m::c": ("failed", "worse"),
        "m::d": ("skipped", "later"),
    }
    assert suites.junit(tmp_path / "missing.xml")["suite"][0] == "failed"


def test_what_needs_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "REASONS", (("s/3::known*", "because"),))
    apache = {"same": "passed", "known 1": "passed", "new": "passed", "flaky": "failed", "left out": "passed"}
    zabra = {"same": "passed", "known 1": "failed", "new": "skipped", "flaky": "passed", "extra": "passed"}
    assert report.compare("s", "3", apache, zabra) == {
        "left out": ("passed on Apache, not run on Zabra", ""),
        "extra": ("not there on Apache, passed on Zabra", ""),
        "known 1": ("passed on Apache, failed on Zabra", "because"),
        "new": ("passed on Apache, skipped on Zabra", ""),
    }
    assert report.compare("s", "1", apache, zabra)["known 1"][1] == ""
    assert "left out" not in report.compare("s", "3", apache, zabra, whole=False)


def test_where_a_suite_ran_and_what_it_is_compared_with() -> None:
    recorded = {"s/1": {"passed": ["one"]}, "s/3": {"passed": ["three"]}, "t/1": {"passed": []}}
    assert report.baseline(recorded, "s/3-apache-1,2") == {"passed": ["three"]}
    assert report.baseline(recorded, "s/5-via-observer") == {"passed": ["three"]}
    assert report.baseline(recorded, "t/5-via-follower") == {"passed": []}
    assert report.baseline(recorded, "s/5") == {"passed": ["three"]}
    assert report.baseline(recorded, "s/7") is None
    recorded["s/5-via-observer"] = {"passed": ["observer"]}
    assert report.baseline(recorded, "s/5-via-observer") == {"passed": ["observer"]}
    assert report.where_in_words("3-apache-1,2") == "3; 1 and 2 are Apache's"
    assert report.where_in_words("5-apache-4") == "5; 4 is Apache's"
    assert report.where_in_words("5-via-observer") == "5, through the observers"
    assert report.where_in_words("3") == "3"
    job = suites.Job(suites.Kazoo(), "zabra", 5, mixed="1,4")
    assert job.where == "5-apache-1,4"


def test_everything_is_planned_unless_something_is_asked_for() -> None:
    options = run.parser().parse_args([])
    keys = [f"{job.suite.name}/{job.where}" for job in run.plan(options)]
    assert len(keys) == len(set(keys))
    wanted = {"kazoo/3", "kazoo/5", "kazoo/3-apache-1", "aiozk/5-via-observer", "c-client/5-via-follower"}
    assert wanted <= set(keys)
    options = run.parser().parse_args(["--suite", "kazoo", "--cluster", "3", "--mixed", "1,3"])
    assert [job.where for job in run.plan(options)] == ["3-apache-1,3"]
    options = run.parser().parse_args(["--suite", "aiozk", "--via", "observer"])
    assert [job.where for job in run.plan(options)] == ["5-via-observer"]
    options = run.parser().parse_args(["--record", "--suite", "aiozk"])
    assert [(job.target, job.where) for job in run.plan(options)] == [
        ("apache", where) for where in ("1", "3", "5")
    ]


def test_transcripts_keep_what_matters() -> None:
    output = (
        "cZxid = 0x1f\n\nctime = Sun Nov 22 14:50:08 UTC 2026  \nname-0000000003 1795359032065\nczxid=14\n"
    )
    assert transcripts.clean(output) == ["cZxid = 0x#", "ctime = #date", "name-0000000003 #", "czxid=#"]


@pytest.mark.parametrize("name", ["zkcli", "cli_mt", "zk_shell"])
def test_every_session_has_expected_output(name: str) -> None:
    session = transcripts.load(name)
    assert len(session) >= 15
    assert sum(1 for _, output in session if output) > len(session) // 2


def test_judging_a_session() -> None:
    session = transcripts.load("zk_shell")
    outputs = [list(output) for _, output in session]
    assert {status for status, _ in transcripts.judge("zk_shell", outputs, False).values()} == {"passed"}
    outputs[0] = ["something else"]
    told = transcripts.judge("zk_shell", outputs, False)
    assert told[f"01 {session[0][0]}"] == ("failed", "something else")
    assert transcripts.judge("zk_shell", outputs[1:], False)["session"][0] == "failed"
