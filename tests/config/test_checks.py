"""Rules between keys, and values that follow from others."""

import pytest

from zabra.config.checks import FOUR_LETTER_WORDS
from zabra.config.load import ConfigErrors, load_config
from zabra.config.server import ServerConfig

FILES = {"/secret": "geheim\n", "/d/myid": "1"}


def load(*lines: str) -> tuple[ServerConfig, list[str]]:
    files = FILES | {"zoo.cfg": "\n".join(("dataDir=/d", *lines))}
    config, warnings = load_config("zoo.cfg", read=files.get)
    return config, [str(warning) for warning in warnings]


def errors_of(*lines: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(*lines)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["dataDir="], "zoo.cfg:2: dataDir: is not set: snapshots and myid need a folder"),
        (["clientPortAddress=a"], "zoo.cfg:2: clientPortAddress: is set, but clientPort is not"),
        (["secureClientPortAddress=a"],
        "zoo.cfg:2: secureClientPortAddress: is set, but secureClientPort is not"),
        (["tickTime=0"], "zoo.cfg:2: tickTime: 0 is not between 1 and 2147483647"),
        (
            ["minSessionTimeout=60001"],
            "zoo.cfg:2: minSessionTimeout: is 60001 ms, more than maxSessionTimeout with 60000 ms",
        ),
        (
            ["maxSessionTimeout=5999"],
            "configuration: minSessionTimeout: is 6000 ms, more than maxSessionTimeout with 5999 ms",
        ),
        (["minSessionTimeout=-2"], "zoo.cfg:2: minSessionTimeout: -2 is neither a time nor -1"),
        (
            ["fastleader.maxNotificationInterval=100"],
            "configuration: fastleader.minNotificationInterval: is more than "
            "fastleader.maxNotificationInterval",
        ),
        (
            ["quorum.auth.serverRequireSasl=true"],
            "zoo.cfg:2: quorum.auth.serverRequireSasl: is true, but quorum.auth.enableSasl is false",
        ),
        (
            ["quorum.auth.learnerRequireSasl=true"],
            "zoo.cfg:2: quorum.auth.learnerRequireSasl: is true, but quorum.auth.enableSasl is false",
        ),
        (
            ["quorum.auth.enableSasl=true", "quorum.auth.serverRequireSasl=true"],
            "zoo.cfg:3: quorum.auth.serverRequireSasl: is true, but quorum.auth.learnerRequireSasl is false: "
            "this server could not join",
        ),
        (
            ["authProvider.1=com.example.Own"],
            "zoo.cfg:2: authProvider.1: 'com.example.Own' is a Java class, which cannot be loaded: "
            "name an installed Python provider",
        ),
        (
            ["authProvider.1=org.apache.zookeeper.server.auth.SASLAuthProvider"],
            "zoo.cfg:2: authProvider.1: 'org.apache.zookeeper.server.auth.SASLAuthProvider' is a Java class, "
            "which cannot be loaded: name an installed Python provider "
            "(did you mean org.apache.zookeeper.server.auth.SASLAuthenticationProvider?)",
        ),
        (
            ["enforce.auth.enabled=true"],
            "zoo.cfg:2: enforce.auth.enabled: is true, but enforce.auth.schemes names no scheme",
        ),
        (
            ["enforce.auth.enabled=true", "enforce.auth.schemes=digest,sasl"],
            "zoo.cfg:3: enforce.auth.schemes: there is no authentication scheme 'sasl' "
            "(did you mean authProvider.sasl=sasl?)",
        ),
        (
            ["enforce.auth.enabled=true", "enforce.auth.schemes=digest",
            "DigestAuthenticationProvider.enabled=false"],
            "zoo.cfg:3: enforce.auth.schemes: there is no authentication scheme 'digest' "
            "(did you mean authProvider.digest=digest?)",
        ),
        (
            ["sessionRequireClientSASLAuth=true"],
            "zoo.cfg:2: sessionRequireClientSASLAuth: there is no authentication scheme 'sasl' "
            "(did you mean authProvider.sasl=sasl?)",
        ),
        (["sessionRequireClientSASLAuth=1"],
        "zoo.cfg:2: sessionRequireClientSASLAuth: '1' is neither true nor false"),
        (["secureClientPort=2281"], "zoo.cfg:2: secureClientPort: needs ssl.keyStore.location"),
        (["client.portUnification=true"], "zoo.cfg:2: client.portUnification: needs ssl.keyStore.location"),
        (["sslQuorum=true"], "zoo.cfg:2: sslQuorum: needs ssl.quorum.keyStore.location"),
        (
            ["secureClientPort=1", "ssl.keyStore.location=/k.pem", "ssl.authProvider=own"],
            "zoo.cfg:4: ssl.authProvider: 'own' is no authProvider (did you mean authProvider.own?)",
        ),
        (["ssl.keyStore.passwordPath=/none"], "zoo.cfg:2: ssl.keyStore.passwordPath: /none does not exist"),
        (["publisher.log=x"], "zoo.cfg:2: publisher.log: is not publisher.<name>.<key>"),
        (
            ["publisher.log.path=x"],
            "configuration: publisher.log.class: is not set: it names the publisher to run",
        ),
        (["electionAlg=1"],
        "zoo.cfg:2: electionAlg: '1' is not one of '3': the other algorithms are gone upstream too"),
        (["metricsProvider.httpsPort=7001"],
        "zoo.cfg:2: metricsProvider.httpsPort: not supported: metrics are"),
        (["observer.syncEnabled=x"], "zoo.cfg:2: observer.syncEnabled: 'x' is neither true nor false"),
    ],
)  # fmt: skip
def test_errors(lines: list[str], error: str) -> None:
    found = [text for text in errors_of(*lines) if "not built yet" not in text]
    assert len(found) == 1
    assert found[0].startswith(error)


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        (["dataLogDir=log"], "zoo.cfg:2: dataLogDir: log is relative to wherever the server is started"),
        (["autopurge.snapRetainCount=1"], "zoo.cfg:2: autopurge.snapRetainCount: 1 is too small, 3 counts"),
        (["commitLogCount=10"], "zoo.cfg:2: commitLogCount: 10 is too small, 500 counts"),
        (["snapCount=1"], "zoo.cfg:2: snapCount: 1 is too small, 2 counts"),
        (["snapshotSizeFactor=1.5"], "zoo.cfg:2: snapshotSizeFactor: 1.5 is more than 1, 0.33 counts"),
        (
            ["4lw.commands.whitelist=ruko"],
            "zoo.cfg:2: 4lw.commands.whitelist: 'ruko' is not a four-letter word (did you mean ruok?)",
        ),
        (
            ["secureClientPort=1", "ssl.keyStore.location=/k.pem"],
            "zoo.cfg:2: secureClientPort: without ssl.trustStore.location no client's certificate is trusted",
        ),
    ],
)
def test_warnings(lines: list[str], warning: str) -> None:
    warnings = [text for text in load(*lines)[1] if "not built yet" not in text]
    assert len(warnings) == 1
    assert warnings[0].startswith(warning)


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ([], "data_log_dir", "/d"),
        (["dataLogDir=/l"], "data_log_dir", "/l"),
        (["tickTime=100"], "min_session_timeout_ms", 200),
        (["tickTime=100"], "max_session_timeout_ms", 2000),
        (["initLimit=7"], "connect_to_learner_master_limit_ticks", 7),
        (["initLimit=7", "connectToLearnerMasterLimit=9"], "connect_to_learner_master_limit_ticks", 9),
        (["tickTime=100", "syncLimit=4"], "quorum_connection_timeout_ms", 400),
        (["quorumCnxnTimeoutMs=5"], "quorum_connection_timeout_ms", 5),
        (["autopurge.snapRetainCount=1"], "autopurge_snap_retain_count", 3),
        (["commitLogCount=1"], "commit_log_count", 500),
        (["snapCount=0"], "snapshot_count", 2),
        (["snapshotSizeFactor=-1"], "snapshot_size_factor", -1.0),
        (["snapshotSizeFactor=2"], "snapshot_size_factor", 0.33),
        (["flushDelay=30"], "max_write_queue_poll_time_ms", 10),
        (["flushDelay=30", "maxWriteQueuePollTime=4"], "max_write_queue_poll_time_ms", 4),
        (["syncEnabled=true", "observer.syncEnabled=false"], "sync_enabled", False),
        (["observer.syncEnabled=true", "syncEnabled=false"], "sync_enabled", True),
        (["4lw.commands.whitelist=mntr, ruok"], "four_letter_words", ("mntr", "ruok", "srvr")),
        (["4lw.commands.whitelist=mntr, *"], "four_letter_words", ("*",)),
        (["4lw.commands.whitelist="], "four_letter_words", ("srvr",)),
        (["readonlymode.enabled=true"], "four_letter_words", ("srvr", "isro")),
        (
            ["authProvider.b=sasl",
            "authProvider.a=org.apache.zookeeper.server.auth.X509AuthenticationProvider"],
            "auth_providers",
            (("a", "x509"), ("b", "sasl")),
        ),
        (["secureClientPort=1", "ssl.keyStore.location=/k"], "auth_providers", (("x509", "x509"),)),
        (
            ["secureClientPort=1", "ssl.keyStore.location=/k", "authProvider.1=own", "ssl.authProvider=own"],
            "auth_providers",
            (("1", "own"),),
        ),
        (["authProvider.1=sasl", "sessionRequireClientSASLAuth=true"], "enforce_auth_schemes", ("sasl",)),
        (["authProvider.1=sasl", "sessionRequireClientSASLAuth=true"], "enforce_auth_enabled", True),
        (["sessionRequireClientSASLAuth=false"], "enforce_auth_enabled", False),
        (["enforce.auth.enabled=true", "enforce.auth.schemes=ip"], "enforce_auth_schemes", ("ip",)),
        (["superUser=a,b", "superUser.1=c", "superUser.2=a"], "super_users", ("a", "b", "c")),
        (
            ["publisher.x.class=jsonl", "publisher.x.path=/p", "publisher.y.class=kafka"],
            "publishers",
            {"x": {"class": "jsonl", "path": "/p"}, "y": {"class": "kafka"}},
        ),
        (["metricsProvider.className=org.apache.zookeeper.metrics.impl.NullMetricsProvider"],
        "metrics_provider", "null"),
    ],
)  # fmt: skip
def test_values(lines: list[str], field: str, value: object) -> None:
    config, _ = load(*lines)
    assert getattr(config, field) == value


def test_passwords_come_from_files_first() -> None:
    config, _ = load(
        "ssl.keyStore.password=x", "ssl.keyStore.passwordPath=/secret", "ssl.quorum.trustStore.password=y"
    )
    assert config.client_tls.key_store_password == "geheim"
    assert config.quorum_tls.trust_store_password == "y"
    assert config.origins["client_tls.key_store_password"] == "/secret"


def test_password_files_that_cannot_be_read() -> None:
    def read(path: str) -> str | None:
        if path == "zoo.cfg":
            return "dataDir=/d\nssl.keyStore.passwordPath=/secret\n"
        if path == "/secret":
            raise PermissionError(13, "Permission denied")
        return None

    with pytest.raises(
        ConfigErrors, match=r"ssl\.keyStore\.passwordPath: /secret cannot be read: .*Permission"
    ):
        load_config("zoo.cfg", read=read)


def test_a_malformed_tick_is_not_blamed_on_the_timeouts() -> None:
    assert errors_of("tickTime=x", "minSessionTimeout=100000", "maxSessionTimeout=1") == [
        "zoo.cfg:2: tickTime: 'x' is not a whole number"
    ]


def test_the_words_are_those_of_upstream() -> None:
    assert len(FOUR_LETTER_WORDS) == 18
    assert all(len(word) == 4 for word in FOUR_LETTER_WORDS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["sslQuorum=true", "ssl.quorum.keyStore.location=/k"],
            "zoo.cfg:2: sslQuorum: not supported: not built",
        ),
        (["quorum.auth.enableSasl=true"], "zoo.cfg:2: quorum.auth.enableSasl: not supported: not built yet"),
        (["audit.enable=true"], "zoo.cfg:2: audit.enable: not supported: not built yet"),
    ],
)
def test_what_is_not_built_yet_is_an_error_where_going_on_would_mislead(
    lines: list[str], message: str
) -> None:
    assert any(text.startswith(message) for text in errors_of(*lines))


# What kazoo's tests write for every server they start: it must start.
KAZOO_LINES = (
    "secureClientPort=2281",
    "admin.serverPort=8081",
    "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
    "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
    "ssl.keyStore.location=/k.jks",
    "ssl.keyStore.password=apassword",
    "ssl.trustStore.location=/t.jks",
)


def test_what_is_not_built_yet_is_a_warning_where_the_server_can_do_without() -> None:
    config, warnings = load(*KAZOO_LINES, "java.security.auth.login.config=/jaas.conf")
    assert config.auth_providers == (("1", "sasl"), ("x509", "x509"))
    for key in (
        "secureClientPort",
        "admin.serverPort",
        "serverCnxnFactory",
        "authProvider.1",
        "ssl.keyStore.location",
        "ssl.keyStore.password",
        "ssl.trustStore.location",
        "java.security.auth.login.config",
    ):
        assert any(
            f": {key}: " in text and ("ignored" in text or "not built yet" in text) for text in warnings
        ), key


@pytest.mark.parametrize("value", ["admin.enableServer=false", "sslQuorum=false", "admin.serverPort=8080"])
def test_no_warning_for_what_asks_for_nothing(value: str) -> None:
    assert load(value)[1] == []


def test_an_admin_server_asked_for_is_a_warning() -> None:
    assert (
        "admin.enableServer: ignored: the admin server is not built yet"
        in load("admin.enableServer=true")[1][0]
    )


def test_ensemble_names_count_only_with_their_provider() -> None:
    assert "counts for nothing without" in load("ensembleAuthName=a")[1][0]
    config, warnings = load("ensembleAuthName=a,b", "authProvider.1=ensemble")
    assert warnings == []
    assert config.ensemble_auth_names == ("a", "b")
