"""KeeperError: an operation's refusal, as the error code that travels to the client.

Source: upstream ``KeeperException``.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from zabra.proto import codes

ERROR_NAMES: Final[dict[int, str]] = {
    value: name.removeprefix("ERR_").replace("_", "")
    for name, value in vars(codes).items()
    if name.startswith("ERR_")
}


@mypyc_attr(allow_interpreted_subclasses=True)
class KeeperError(Exception):
    """An operation is refused with ``code``, one of ``codes.ERR_*``."""

    def __init__(self, code: int, path: str = "") -> None:
        super().__init__(code, path)
        self.code = code
        self.path = path

    def __str__(self) -> str:
        name = ERROR_NAMES.get(self.code, str(self.code))
        return f"{name} for {self.path}" if self.path else name
