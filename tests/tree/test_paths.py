"""Paths: validity as upstream's PathUtils judges it, parents, names, sequence suffixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.proto.codes import ERR_BAD_ARGUMENTS
from zabra.proto.errors import KeeperError
from zabra.tree.paths import (
    base_name,
    join_path,
    parent_path,
    sequence_suffix,
    top_namespace,
    validate_path,
)

VALID = [
    "/",
    "/this is / a valid/path",
    "/name/with.period.",
    "/.../path",
    "/a..b/c",
    "/..a",
    "/test\u0020",
    "/test\ufeff",
    "/test\uffef",
    "/\u00a0",
    "/\u4e2d\u6587",
]
INVALID = [
    "",
    "not/valid",
    "/ends/with/slash/",
    "//",
    "/double//slash",
    "/single/./period",
    "/single/.",
    "/./a",
    "/double/../period",
    "/double/..",
    "/..",
    "/test\u0000",
    "/test\u0001",
    "/test\u001f",
    "/test\u007f",
    "/test\u009f",
    "/test\ud800",
    "/test\uf8ff",
    "/test\ufff0",
    "/test\uffff",
    "/test\U0001f600",
    "/new\nline",
]


@pytest.mark.parametrize("path", VALID)
def test_valid(path: str) -> None:
    validate_path(path)


@pytest.mark.parametrize("path", INVALID)
def test_invalid(path: str) -> None:
    with pytest.raises(KeeperError) as caught:
        validate_path(path)
    assert caught.value.code == ERR_BAD_ARGUMENTS


def test_a_sequential_path_may_end_in_a_slash() -> None:
    validate_path("/", sequential=True)
    validate_path("/a/", sequential=True)
    validate_path("/a", sequential=True)
    # With its suffix this is no longer a dot.
    validate_path("/a/.", sequential=True)
    for bad in ("", "a/", "/a//"):
        with pytest.raises(KeeperError):
            validate_path(bad, sequential=True)


def naive_is_valid(path: str) -> bool:
    """The rule, said the other way round: component by component, UTF-16 unit by unit."""
    if path == "/":
        return True
    if not path.startswith("/"):
        return False
    for name in path[1:].split("/"):
        if name in ("", ".", ".."):
            return False
        for char in name:
            code = ord(char)
            if code <= 0x1F or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xF8FF or code >= 0xFFF0:
                return False
    return True


@given(
    st.text(alphabet="/.ab\x00\x1f \x7f\x9f\xa0\ud7ff\ud800\uf8ff\uf900\uffef\ufff0\U00010000", max_size=8)
)
def test_validity_agrees_with_the_naive_rule(tail: str) -> None:
    path = "/" + tail
    try:
        validate_path(path)
        valid = True
    except KeeperError:
        valid = False
    assert valid == naive_is_valid(path)


@pytest.mark.parametrize(
    ("path", "parent", "name"),
    [("/a", "/", "a"), ("/a/b", "/a", "b"), ("/a/b/c", "/a/b", "c"), ("/", "/", "")],
)
def test_parent_and_name(path: str, parent: str, name: str) -> None:
    assert parent_path(path) == parent
    assert base_name(path) == name
    if name:
        assert join_path(parent, name) == path


@pytest.mark.parametrize(
    ("counter", "suffix"),
    [
        (0, "0000000000"),
        (7, "0000000007"),
        (2**31 - 1, "2147483647"),
        (-(2**31), "-2147483648"),
        (-1, "-000000001"),
    ],
)
def test_sequence_suffix_is_javas_format(counter: int, suffix: str) -> None:
    assert sequence_suffix(counter) == suffix


def test_top_namespace() -> None:
    assert top_namespace("/") == ""
    assert top_namespace("/a") == "a"
    assert top_namespace("/a/b/c") == "a"
