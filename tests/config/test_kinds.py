"""Kinds of option values: what they accept, and what they say otherwise."""

import pytest

from zabra.config.kinds import Boolean, Choice, Decimal, Hours, Integer, Kind, Text, Words

GZ = Choice({"": "", "gz": "gz", "org.example.Gz": "gz"}, otherwise="no Java here")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Integer(), "0", 0),
        (Integer(), "-1", -1),
        (Integer(), "+7", 7),
        (Integer(), "0x400000", 4194304),
        (Integer(), "-0X10", -16),
        (Integer(), "2147483647", 2147483647),
        (Decimal(), "0.33", 0.33),
        (Decimal(), "-1", -1.0),
        (Boolean(), "true", True),
        (Boolean(), "FALSE", False),
        (Boolean(yes_no=True), "Yes", True),
        (Boolean(yes_no=True), "no", False),
        (Boolean(yes_no=True), "true", True),
        (Text(), "", ""),
        (Words(), "a, b,,a ,c", ("a", "b", "c")),
        (Words(), "", ()),
        (GZ, "GZ", "gz"),
        (GZ, "org.example.Gz", "gz"),
        (GZ, "", ""),
        (Hours(), "0", 0),
        (Hours(), "24", 86_400_000),
        (Hours(), "1500ms", 1500),
        (Hours(), "2M", 120_000),
        (Hours(), "1d", 86_400_000),
    ],
)
def test_accepted(kind: Kind, text: str, value: object) -> None:
    parsed = kind.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert kind.parse(kind.format(parsed)) == parsed


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Integer(), "", "'' is not a whole number"),
        (Integer(), "1.5", "'1.5' is not a whole number"),
        (Integer(), "1_000", "'1_000' is not a whole number"),
        (Integer(), "٣", "is not a whole number"),
        (Integer(), "0x", "'0x' is not a whole number"),
        (Integer(), "0xg", "'0xg' is not a whole number"),
        (Integer(), "010", "octal"),
        (Integer(), "2147483648", "is not between -2147483648 and 2147483647"),
        (Integer(0, 65535), "65536", "65536 is not between 0 and 65535"),
        (Integer(1), "0", "0 is not between 1"),
        (Decimal(), "x", "'x' is not a number"),
        (Decimal(), "nan", "not a finite number"),
        (Decimal(), "inf", "not a finite number"),
        (Decimal(1.0), "1.5", "more than 1"),
        (Boolean(), "yes", "'yes' is neither true nor false"),
        (Boolean(), "", "'' is neither true nor false"),
        (Boolean(yes_no=True), "1", "'1' is neither yes nor no"),
        (GZ, "zip", "'zip' is not one of '', 'gz': no Java here"),
        (Hours(), "5w", "'w' is not one of ms, s, m, h, d"),
        (Hours(), "h", "is not a whole number"),
        (Hours(), "", "is not a whole number"),
    ],
)
def test_refused(kind: Kind, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind.parse(text)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Integer(), "integer"),
        (Integer(0), "integer, at least 0"),
        (Integer(0, 65535), "integer from 0 to 65535"),
        (Boolean(), "true or false"),
        (Boolean(yes_no=True), "yes or no"),
        (GZ, "one of nothing, `gz`"),
    ],
)
def test_names_for_the_manual(kind: Kind, name: str) -> None:
    assert kind.name == name
