"""The generated records: current, round trips, and the same as the classes of Apache's jute jar."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.interop import apache

import jutegen
from zabra.jute.primitives import Reader, Writer
from zabra.proto import records
from zabra.proto.schema.types import Nullable, Primitive, Vector

ROOT = Path(__file__).resolve().parent.parent.parent
DECLARED = jutegen.records()

SIMPLE = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "ustring": st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)), max_size=8),
    "buffer": st.none() | st.binary(max_size=8),
}


def values(kind):
    if isinstance(kind, Primitive):
        return SIMPLE[kind.name]
    if isinstance(kind, Vector):
        return st.lists(values(kind.element), max_size=3)
    if isinstance(kind, Nullable):
        return st.none() | values(kind.inner)
    return st.builds(
        getattr(records, kind.__name__), *[values(inner) for inner in kind.__annotations__.values()]
    )


def test_the_checked_in_code_is_what_the_declarations_make():
    assert jutegen.TARGET.read_text() == jutegen.render()


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.__name__)
def test_round_trip(declared):
    @given(values(declared))
    def check(record):
        w = Writer()
        record.encode(w)
        r = Reader(w.getvalue())
        again = getattr(records, declared.__name__).decode(r)
        assert again == record
        assert hash(again) == hash(record)
        assert r.remaining() == 0
        assert repr(again).startswith(declared.__name__)

    check()


def java_type(kind):
    if isinstance(kind, Nullable):
        kind = kind.inner
    if isinstance(kind, Vector):
        inner = kind.element
        name = "java.lang.String" if isinstance(inner, Primitive) else inner.__name__
        return f"List<{name}>"
    if isinstance(kind, Primitive):
        return {"ustring": "String", "buffer": "byte[]"}.get(kind.name, kind.name)
    return kind.__name__


def camel(declared, name):
    if name in declared.java_names:
        return declared.java_names[name]
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@pytest.mark.java
def test_every_record_has_the_fields_of_its_java_class():
    apache.require_java()
    packages = {
        "data": "data", "messages": "proto", "quorum": "server.quorum",
        "persistence": "server.persistence", "txn": "txn",
    }
    names = [
        f"org.apache.zookeeper.{packages[declared.__module__.rpartition('.')[2]]}.{declared.__name__}"
        for declared in DECLARED
    ]
    listing = subprocess.run(
        ["javap", "-p", "-cp", apache.classpath("3.9"), *names], capture_output=True, text=True, check=True
    ).stdout
    classes = listing.split("Compiled from")[1:]
    assert len(classes) == len(DECLARED)
    for declared, text in zip(DECLARED, classes, strict=True):
        fields = [
            line.strip().removeprefix("private ").rstrip(";")
            for line in text.splitlines()
            if line.strip().startswith("private ") and "(" not in line
        ]
        found = [(kind.rpartition(".")[2] if "<" not in kind else kind, name) for kind, _, name in (
            field.rpartition(" ") for field in fields
        )]
        wanted = [(java_type(kind), camel(declared, name)) for name, kind in declared.__annotations__.items()]
        plain = [
            (f"List<{kind.split('<')[1].rstrip('>').rpartition('.')[2]}>" if "<" in kind else kind, name)
            for kind, name in found
        ]
        expected = [
            (f"List<{kind.split('<')[1].rstrip('>').rpartition('.')[2]}>" if "<" in kind else kind, name)
            for kind, name in wanted
        ]
        assert plain == expected, declared.__name__


def test_the_generator_says_when_the_file_is_stale():
    script = inspect.getsourcefile(jutegen)
    assert script is not None
    ran = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
