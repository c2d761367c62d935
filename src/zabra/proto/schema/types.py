"""The words in which records are declared.

A field is ``int_``, ``long_``, ``boolean``, ``ustring`` (null reads as ""), ``buffer`` (bytes or None),
``vector(T)`` (null reads as empty), a declared record, or ``nullable(...)`` of a ustring or vector where
null must be told apart from empty.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Primitive:
    """A primitive jute type by its IDL name."""

    name: str


@dataclass(frozen=True)
class Vector:
    """A vector of ``element``: a primitive or a record class."""

    element: object


@dataclass(frozen=True)
class Nullable:
    """``inner`` with null kept apart from empty."""

    inner: object


int_ = Primitive("int")
long_ = Primitive("long")
boolean = Primitive("boolean")
ustring = Primitive("ustring")
buffer = Primitive("buffer")


def vector(element: object) -> Vector:
    """A vector of ``element``."""
    return Vector(element)


def nullable(inner: object) -> Nullable:
    """``inner``, null kept."""
    return Nullable(inner)


class Record:
    """Base of every declaration; ``java_names`` gives IDL names that are not plain camelCase."""

    java_names: dict[str, str] = {}
