"""The properties format, against what java.util.Properties made of the same texts."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.config.properties import (
    Entry,
    PropertiesError,
    escape,
    parse,
    parse_all,
    parse_override,
    point_to_dynamic_file,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        ("a = b ", {"a": "b "}),
        ("a:b", {"a": "b"}),
        ("a b", {"a": "b"}),
        ("a  =  b=c", {"a": "b=c"}),
        ("a\t:=b", {"a": "=b"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("# a=b\n! c=d\n \t# e=f\ng=h", {"g": "h"}),
        ("a=b#c", {"a": "b#c"}),
        ("a=b\\\n   c\nd=e", {"a": "bc", "d": "e"}),
        ("a=b\\\r\n\tc", {"a": "bc"}),
        ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        ("a=b\\\n# c", {"a": "b# c"}),  # inside a continuation # is no comment
        ("a=b\\\n\nc=d", {"a": "b", "c": "d"}),
        ("\\\n#a=b\nc=d", {"c": "d"}),  # behind a lone backslash a line begins anew
        ("a=b\\", {"a": "b"}),
        ("a\\=b=c", {"a=b": "c"}),
        ("a\\ b c", {"a b": "c"}),
        ("a=\\t\\n\\r\\f\\x", {"a": "\t\n\r\fx"}),
        ("a=\\u0041\\u00e9", {"a": "Aé"}),
        ("a=b\rc=d", {"a": "b", "c": "d"}),
        ("a=1\na=2", {"a": "2"}),
        ("=b", {"": "b"}),
        ("a=b\u2028c", {"a": "b\u2028c"}),  # Java ends lines at CR and LF only
    ],
)
def test_as_java_reads_it(text: str, expected: dict[str, str]) -> None:
    assert {entry.key: entry.value for entry in parse(text)} == expected


def test_line_numbers() -> None:
    assert parse("# one\na=b\\\n  c\n\nd=e\n") == [Entry("a", "bc", 2, 3), Entry("d", "e", 5, 5)]


@pytest.mark.parametrize("text", ["a=\\u12", "a=\\u12g4", "\\u=b", "a=\\u 123", "a=\\u+123"])
def test_malformed_escape(text: str) -> None:
    with pytest.raises(PropertiesError, match=r"\\u"):
        parse(text)


def test_parse_all_goes_on_behind_an_error() -> None:
    entries, errors = parse_all("a=1\nb=\\u1\nc=3")
    assert [entry.key for entry in entries] == ["a", "c"]
    assert [error.line for error in errors] == [2]


@given(st.text(string.printable + "é\u2028"))
def test_any_text_parses_or_is_refused(text: str) -> None:
    entries, errors = parse_all(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert all(1 <= entry.line <= entry.last_line <= lines for entry in entries)
    assert all(1 <= error.line <= lines for error in errors)


@given(st.lists(st.tuples(st.text(string.ascii_letters + ".", min_size=1), st.text())))
def test_escape_is_undone_by_parse(pairs: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{key}={escape(value)}" for key, value in pairs)
    assert [(entry.key, entry.value) for entry in parse(text)] == pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-Dzookeeper.snapCount=5", ("zookeeper.snapCount", "5")),
        ("snapCount=5", ("snapCount", "5")),
        ("-Da=b=c", ("a", "b=c")),
        ("-Dflag", ("flag", "")),
        (" a = b ", ("a", "b")),
    ],
)
def test_overrides(text: str, expected: tuple[str, str]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["", "-D", "=x", "-D=x"])
def test_overrides_without_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not -Dname=value"):
        parse_override(text)


STATIC = """\
# our ensemble
tickTime=2000
clientPort=2181
clientPortAddress=10.0.0.1
secureClientPort=2281
clientPortListenBacklog=10
peerType=participant
server.1=a:1:\\
  2
group.1=1
weight.1=1

dynamicConfigFile=old
"""


def test_static_file_loses_its_members_and_keeps_the_rest() -> None:
    assert point_to_dynamic_file(STATIC, "/conf/zoo.cfg.dynamic.100000005") == (
        "# our ensemble\ntickTime=2000\nclientPort=2181\nclientPortAddress=10.0.0.1\nsecureClientPort=2281\n"
        "clientPortListenBacklog=10\ndynamicConfigFile=/conf/zoo.cfg.dynamic.100000005\n"
    )


def test_static_file_loses_client_ports_that_moved() -> None:
    text = point_to_dynamic_file(STATIC, "d\\x", erase_client_port=True, erase_secure_client_port=True)
    assert text == "# our ensemble\ntickTime=2000\nclientPortListenBacklog=10\ndynamicConfigFile=d\\\\x\n"
    assert point_to_dynamic_file(text, "d\\x") == text
