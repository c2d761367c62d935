"""Paths of znodes: what is a valid one, its parent, its name, and the suffix of sequential nodes.

Source: upstream ``PathUtils.validatePath`` and ``PrepRequestProcessor.validatePathForCreate``.
"""

import re
from typing import Final

from mypy_extensions import i64

from zabra.proto.codes import ERR_BAD_ARGUMENTS
from zabra.proto.errors import KeeperError

ROOT: Final = "/"

# One or more components, none of them "." or "..".  Upstream tests UTF-16 units, so every character beyond
# the BMP (two surrogates there) is refused along with the surrogates themselves.
_VALID_PATH: Final = re.compile(
    r"(?:/(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]+)+\Z"
)


def validate_path(path: str, sequential: bool = False) -> None:
    """Raises KeeperError(BADARGUMENTS) unless ``path`` may name a znode.

    The path of a sequential create may end in "/": it is judged as it will be with its suffix.
    """
    if path == ROOT and not sequential:
        return
    if not sequential and is_plain(path):
        return
    if _VALID_PATH.match(path + "1" if sequential else path) is None:
        raise KeeperError(ERR_BAD_ARGUMENTS, path)


def is_plain(path: str) -> bool:
    """Whether ``path`` is of the kind that most are, and valid: a few scans of a string beat a regex."""
    return (
        path.startswith(ROOT)
        and path.isascii()
        and path.isprintable()
        and not path.endswith(ROOT)
        and "//" not in path
        and "/." not in path
    )


def parent_path(path: str) -> str:
    """The path above: "/" for "/a" and for "/" itself."""
    slash = path.rfind("/")
    return path[:slash] if slash > 0 else ROOT


def base_name(path: str) -> str:
    """What follows the last "/"."""
    return path[path.rfind("/") + 1 :]


def join_path(parent: str, name: str) -> str:
    """The path of child ``name`` of ``parent``."""
    return ROOT + name if parent == ROOT else parent + "/" + name


def sequence_suffix(counter: i64) -> str:
    """Ten digits, sign included, of the parent's persisted cversion (a signed 32-bit number)."""
    return f"{counter:010d}"


def top_namespace(path: str) -> str:
    """The first component, by which per-namespace metrics are kept; empty for "/"."""
    end = path.find("/", 1)
    return path[1:] if end < 0 else path[1:end]
