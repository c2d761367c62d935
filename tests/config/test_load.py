"""From text to ServerConfig: sources, provenance, unknown keys, all errors at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.config.load import (
    ArgumentsError,
    ConfigErrors,
    arguments_as_text,
    default_config,
    describe,
    load_config,
    nearest_name,
    parse_config,
)
from zabra.config.options import OPTIONS
from zabra.config.server import ConfigProblem

Files = dict[str, str]


def reader(files: Files):  # type: ignore[no-untyped-def]
    return files.get


def errors_of(text: str, *overrides: str, strict: bool = False) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse_config(text, overrides, strict=strict)
    return [str(problem) for problem in caught.value.problems]


def warnings_of(text: str, *overrides: str) -> list[str]:
    _, warnings = parse_config(text, overrides)
    return [str(warning) for warning in warnings]


def test_defaults_are_apaches() -> None:
    config, warnings = parse_config("dataDir=/d")
    assert warnings == []
    assert (config.tick_time_ms, config.min_session_timeout_ms, config.max_session_timeout_ms) == (
        3000,
        6000,
        60000,
    )
    assert (config.data_dir, config.data_log_dir) == ("/d", "/d")
    assert (config.max_client_connections_per_ip, config.max_connections) == (60, 0)
    assert (config.snapshot_count, config.commit_log_count, config.snapshot_size_factor) == (
        100000,
        500,
        0.33,
    )
    assert (config.jute_max_buffer, config.jute_extra_size) == (1048575, 1048575)
    assert (config.four_letter_words, config.client_port, config.ensemble) == (("srvr",), None, None)
    assert config.client_tls.client_auth == "need"
    assert config.client_tls.client_hostname_verification is False
    assert config.quorum_tls.client_hostname_verification is True


def test_sources_override_each_other_and_are_named() -> None:
    config, _ = parse_config(
        "dataDir=/d\nsnapCount=10\nzookeeper.maxCnxns=5\nclientPort=1\n",
        ["-Dzookeeper.snapCount=40"],
        environment=["-Dzookeeper.snapCount=30", "clientPort=2"],
        name="my.cfg",
    )
    assert (config.snapshot_count, config.max_connections, config.client_port) == (40, 5, 2)
    assert config.origins["snapshot_count"] == "command line"
    assert config.origins["max_connections"] == "my.cfg:3"
    assert config.origins["client_port"] == "environment"
    assert config.origins["min_session_timeout_ms"] == "2 ticks"
    assert "tick_time_ms" not in config.origins


def test_all_errors_are_listed_with_place_key_and_nearest_name() -> None:
    text = "\n".join(
        ["tickTme=1", "tickTime=abc", "clientPort=70000", "dataDir=/d", "server.1=x", "admin.enableServer=si"]
    )
    assert errors_of(text, "-Dzookeeper.snapCount=many", "-D", strict=True) == [
        "command line: '-D' is not -Dname=value",
        "command line: snapCount: 'many' is not a whole number",
        "zoo.cfg:1: tickTme: unknown key (did you mean tickTime?)",
        "zoo.cfg:2: tickTime: 'abc' is not a whole number",
        "zoo.cfg:3: clientPort: 70000 is not between 0 and 65535",
        "zoo.cfg:5: server.1: 'x' is not host:port:port or host:port:port:type",
        "zoo.cfg:6: admin.enableServer: 'si' is neither true nor false",
    ]


def test_unknown_keys_are_warnings_unless_strict() -> None:
    text = "dataDir=/d\nsnapcount=5\nfoo=1\n"
    assert warnings_of(text) == [
        "zoo.cfg:2: snapcount: unknown key, ignored (did you mean snapCount?)",
        "zoo.cfg:3: foo: unknown key, ignored",
    ]
    assert errors_of(text, strict=True) == [
        "zoo.cfg:2: snapcount: unknown key (did you mean snapCount?)",
        "zoo.cfg:3: foo: unknown key",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("tickTme", "tickTime"),
        ("ticktime", "tickTime"),
        ("zookeeper.snapcount", "zookeeper.snapCount"),
        ("4lw.command.whitelist", "4lw.commands.whitelist"),
        ("sever.1", "server."),
        ("autopurge.purgeIntervall", "autopurge.purgeInterval"),
        ("qqqqqq", ""),
        ("", ""),
    ],
)
def test_nearest_name(name: str, nearest: str) -> None:
    assert nearest_name(name) == nearest


def test_of_doubles_the_last_counts() -> None:
    config, warnings = parse_config("dataDir=/d\nclientPort=1\nclientPort=2\n")
    assert config.client_port == 2
    assert [str(warning) for warning in warnings] == [
        "zoo.cfg:3: clientPort: also given in line 2, which does not count"
    ]


def test_malformed_lines_and_missing_keys() -> None:
    assert errors_of("dataDir=/d\n=5\na=\\u12\n") == [
        "zoo.cfg:2: a value without a key",
        "zoo.cfg:3: \\u12 is not \\u and four hexadecimal digits",
    ]


def test_ignored_keys_say_why_unless_they_change_nothing() -> None:
    assert warnings_of("dataDir=/d\nnio.numWorkerThreads=4\nmaxResponseCacheSize=400\n") == [
        "zoo.cfg:2: nio.numWorkerThreads: ignored: there are no worker threads to size: "
        "one loop executes everything in order"
    ]
    assert errors_of("dataDir=/d\nnio.numWorkerThreads=many\n") == [
        "zoo.cfg:2: nio.numWorkerThreads: 'many' is not a whole number"
    ]


def test_refused_keys_are_errors_unless_they_change_nothing() -> None:
    assert errors_of("dataDir=/d\nssl.ocsp=true\nssl.quorum.ocsp=false\n") == [
        "zoo.cfg:2: ssl.ocsp: not supported: Python's TLS has no OCSP; going on without would accept "
        "revoked certificates"
    ]


def test_what_upstream_reads_as_a_property_only_counts_here_with_a_warning() -> None:
    config, warnings = parse_config("dataDir=/d\njute.maxbuffer=0x400000\n")
    assert (config.jute_max_buffer, config.jute_extra_size) == (4194304, 4194304)
    assert [str(warning) for warning in warnings] == [
        "zoo.cfg:2: jute.maxbuffer: upstream reads this as -Djute.maxbuffer only; it counts here"
    ]
    assert warnings_of("dataDir=/d", "-Djute.maxbuffer=5") == []


def test_load_reads_the_file_it_is_given() -> None:
    config, _ = load_config("/etc/zoo.cfg", read=reader({"/etc/zoo.cfg": "dataDir=/d\nclientPort=5\n"}))
    assert (config.client_port, config.config_path) == (5, "/etc/zoo.cfg")
    assert config.config_text == "dataDir=/d\nclientPort=5\n"
    assert config.origins["client_port"] == "/etc/zoo.cfg:2"


def test_load_without_a_file() -> None:
    def denied(path: str) -> str | None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(ConfigErrors, match=r"^/etc/zoo.cfg: does not exist$"):
        load_config("/etc/zoo.cfg", read=reader({}))
    with pytest.raises(ConfigErrors, match=r"/etc/zoo\.cfg: cannot be read: .*Permission denied"):
        load_config("/etc/zoo.cfg", read=denied)


def test_default_config_takes_fields() -> None:
    config = default_config("/x", client_port=7, digest_enabled=False)
    assert (config.data_dir, config.client_port, config.digest_enabled) == ("/x", 7, False)
    assert config.origins["client_port"] == "set by the program"
    with pytest.raises(TypeError):
        default_config("/x", no_such_field=1)


def test_config_is_frozen() -> None:
    config = default_config()
    with pytest.raises(AttributeError):
        config.client_port = 5  # type: ignore[misc]


def test_arguments_instead_of_a_file() -> None:
    config, _ = parse_config(arguments_as_text(["2181", "/d", "500", "7"]))
    assert (config.client_port, config.data_dir, config.tick_time_ms) == (2181, "/d", 500)
    assert config.max_client_connections_per_ip == 7
    assert arguments_as_text(["2181", "/d"]) == "clientPort=2181\ndataDir=/d\n"
    for wrong in ([], ["1"], ["1", "2", "3", "4", "5"]):
        with pytest.raises(ArgumentsError, match="or clientPort dataDir"):
            arguments_as_text(wrong)


def test_describe_shows_every_option_and_masks_secrets() -> None:
    config, _ = parse_config(
        "dataDir=/d\nclientPort=2181\nssl.keyStore.password=geheim\nauthProvider.1=sasl\n"
        "publisher.log.class=jsonl\npublisher.log.path=/x\nforceSync=no\nautopurge.purgeInterval=90m\n"
    )
    rows = {key: (value, origin) for key, value, origin in describe(config)}
    assert rows["clientPort"] == ("2181", "zoo.cfg:2")
    assert rows["ssl.keyStore.password"] == ("********", "zoo.cfg:3")
    assert rows["ssl.trustStore.password"] == ("", "default")
    assert rows["authProvider.1"] == ("sasl", "zoo.cfg:4")
    assert rows["publisher.log.path"] == ("/x", "zoo.cfg:6")
    assert rows["forceSync"] == ("no", "zoo.cfg:7")
    assert rows["autopurge.purgeInterval"] == ("90m", "zoo.cfg:8")
    assert rows["secureClientPort"] == ("", "default")
    assert "geheim" not in repr(config)


def test_what_describe_shows_reads_back_the_same() -> None:
    config, _ = parse_config(
        "dataDir=/d\nclientPort=2181\nsnapCount=77\nforceSync=no\n4lw.commands.whitelist=ruok\n"
    )
    again, warnings = parse_config("\n".join(f"{key}={value}" for key, value, _ in describe(config) if value))
    assert [row[:2] for row in describe(again)] == [row[:2] for row in describe(config)]
    known = ("upstream reads this as", "admin.enableServer: ignored")
    assert all(any(words in str(warning) for words in known) for warning in warnings)


KEYS = st.sampled_from([option.key + ("1" if option.prefix else "") for option in OPTIONS])
VALUES = st.one_of(
    st.sampled_from(
        ["true", "false", "yes", "no", "0", "1", "-1", "65535", "a:1:2", "a:1:2:observer;3", "1:2"]
    ),
    st.text(st.characters(codec="ascii", exclude_characters="\n\r\\\0")),
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8), st.booleans())
def test_any_settings_give_a_config_or_errors_with_places(pairs: list[tuple[str, str]], strict: bool) -> None:
    text = "dataDir=/d\n" + "\n".join(f"{key}={value}" for key, value in pairs)
    problems: tuple[ConfigProblem, ...] = ()
    try:
        config, warnings = parse_config(text, strict=strict)
    except ConfigErrors as error:
        problems = error.problems
    else:
        assert config.min_session_timeout_ms <= config.max_session_timeout_ms
        assert all(warning.where and warning.message for warning in warnings)
    assert all(problem.where and problem.message for problem in problems)
