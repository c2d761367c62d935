"""Bugs put back: a function of the shipped code runs with one piece of its text exchanged.

``planted(Plant(...))`` swaps the function's code for as long as the block lasts, so whoever imported the
function has the bug too.  The text to be exchanged must be there exactly once: a plant that no longer fits
the source fails, instead of testing nothing.  Only interpreted modules can be changed so.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType


class Plant:
    """``where``: module:function or module:Class.function; ``old`` becomes ``new`` in its text."""

    def __init__(self, where: str, old: str, new: str) -> None:
        self.where = where
        self.old = old
        self.new = new


def function_at(where: str) -> FunctionType:
    """The function of a plant."""
    module_name, _, path = where.partition(":")
    found: object = importlib.import_module(module_name)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    assert isinstance(found, FunctionType), f"{where} is no function"
    return found


def code_with(function: FunctionType, plants: list[Plant]) -> CodeType:
    """Its code with the bugs in it."""
    text = inspect.getsource(function)
    for plant in plants:
        assert text.count(plant.old) == 1, f"{plant.where} has {text.count(plant.old)} times: {plant.old}"
        text = text.replace(plant.old, plant.new)
    if text.startswith(" "):
        # As part of a class it may say super().
        text = "class Outer:\n" + text
    future = function.__code__.co_flags & 0x1000000
    return _find(compile(text, f"<{plants[0].where}>", "exec", future, dont_inherit=True), function.__name__)


def _find(code: CodeType, name: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_name == name:
                return constant
            with contextlib.suppress(LookupError):
                return _find(constant, name)
    raise LookupError(name)


@contextlib.contextmanager
def planted(*plants: Plant) -> Iterator[None]:
    """The bugs are there inside the block."""
    by_place: dict[str, list[Plant]] = {}
    for plant in plants:
        by_place.setdefault(plant.where, []).append(plant)
    before: list[tuple[FunctionType, CodeType]] = []
    try:
        for where, several in by_place.items():
            function = function_at(where)
            code = code_with(function, several)
            before.append((function, function.__code__))
            function.__code__ = code
        yield
    finally:
        for function, code in before:
            function.__code__ = code
