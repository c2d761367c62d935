"""Rules that concern more than one key, and values that follow from others.

Each rule is a function of the settings and the values; ``RULES`` is their order.  Source: upstream
``QuorumPeerConfig.parseProperties``, ``AuthenticationHelper``, ``ProviderRegistry``, ``FourLetterCommands``,
``ZKDatabase``, ``ZooKeeperServer``.
"""

from collections.abc import Callable
from difflib import get_close_matches

from zabra.config.members import Members, ReadFile
from zabra.config.options import BY_NAME, NO_SASL_YET, NO_TLS_YET, NO_X509_YET
from zabra.config.settings import Settings, number, text, words

MIN_SNAP_RETAIN_COUNT = 3
MIN_COMMIT_LOG_COUNT = 500
MIN_SNAPSHOT_COUNT = 2
DEFAULT_SNAPSHOT_SIZE_FACTOR = 0.33

FOUR_LETTER_WORDS = (
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro",
    "mntr", "ruok", "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
)  # fmt: skip

_PROVIDER_PACKAGE = "org.apache.zookeeper.server.auth."
BUILT_IN_PROVIDERS = {
    f"{_PROVIDER_PACKAGE}DigestAuthenticationProvider": "digest",
    f"{_PROVIDER_PACKAGE}EnsembleAuthenticationProvider": "ensemble",
    f"{_PROVIDER_PACKAGE}IPAuthenticationProvider": "ip",
    f"{_PROVIDER_PACKAGE}SASLAuthenticationProvider": "sasl",
    f"{_PROVIDER_PACKAGE}X509AuthenticationProvider": "x509",
}

# Schemes whose ids nobody can prove yet, and why.
UNPROVEN = {"sasl": NO_SASL_YET, "x509": NO_X509_YET}

Values = dict[str, object]
Rule = Callable[[Settings, Values, Members], None]


def check_settings(settings: Settings, values: Values, members: Members, read: ReadFile) -> None:
    """Applies every rule; what is wrong goes to ``settings``, what follows goes to ``values``."""
    for rule in RULES:
        rule(settings, values, members)
    for part, prefix in (("client_tls", "ssl"), ("quorum_tls", "ssl.quorum")):
        for store in ("keyStore", "trustStore"):
            _read_password(settings, values, f"{part}.{_snake(store)}_password", f"{prefix}.{store}", read)


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _read_password(settings: Settings, values: Values, field: str, store: str, read: ReadFile) -> None:
    """A password file wins over a password; its last newline does not belong to it."""
    key = f"{store}.passwordPath"
    if not settings.is_set(key):
        return
    path = settings.given[key].text
    try:
        content = read(path)
    except OSError as error:
        settings.error_at(key, f"{path} cannot be read: {error}")
        return
    if content is None:
        settings.error_at(key, f"{path} does not exist")
    else:
        settings.derive(values, field, content.removesuffix("\n").removesuffix("\r"), path)


def _data_folders(settings: Settings, values: Values, members: Members) -> None:
    if not text(values, "data_dir"):
        settings.error_at("dataDir", "is not set: snapshots and myid need a folder")
        return
    if not text(values, "data_log_dir"):
        settings.derive(values, "data_log_dir", text(values, "data_dir"), "dataDir")
    for key, field in (("dataDir", "data_dir"), ("dataLogDir", "data_log_dir")):
        path = text(values, field)
        if settings.is_set(key) and not path.startswith(("/", "./", "../", "\\")) and path[1:2] != ":":
            settings.warn_at(
                key, f"{path} is relative to wherever the server is started (./ says so on purpose)"
            )


def _client_ports(settings: Settings, values: Values, members: Members) -> None:
    for field, key in (("client_port", "clientPort"), ("secure_client_port", "secureClientPort")):
        if values[field] is None and text(values, f"{field}_address"):
            settings.error_at(f"{key}Address", f"is set, but {key} is not")


def _session_timeouts(settings: Settings, values: Values, members: Members) -> None:
    tick = number(values, "tick_time_ms")
    for field, ticks in (("min_session_timeout_ms", 2), ("max_session_timeout_ms", 20)):
        if number(values, field) == -1:
            settings.derive(values, field, ticks * tick, f"{ticks} ticks")
    for field, key in (
        ("min_session_timeout_ms", "minSessionTimeout"),
        ("max_session_timeout_ms", "maxSessionTimeout"),
    ):
        if number(values, field) < 0:
            settings.error_at(key, f"{values[field]} is neither a time nor -1")
    low, high = number(values, "min_session_timeout_ms"), number(values, "max_session_timeout_ms")
    if low > high and not settings.malformed("tickTime", "minSessionTimeout", "maxSessionTimeout"):
        settings.error_at("minSessionTimeout", f"is {low} ms, more than maxSessionTimeout with {high} ms")


def _time_limits(settings: Settings, values: Values, members: Members) -> None:
    if members.ensemble is not None:
        for field, key in (("init_limit_ticks", "initLimit"), ("sync_limit_ticks", "syncLimit")):
            if number(values, field) == 0:
                settings.error_at(key, "is not set: an ensemble needs it")
    if number(values, "connect_to_learner_master_limit_ticks") == 0:
        ticks = number(values, "init_limit_ticks")
        settings.derive(values, "connect_to_learner_master_limit_ticks", ticks, "initLimit")
    if number(values, "quorum_connection_timeout_ms") < 0:
        timeout = number(values, "sync_limit_ticks") * number(values, "tick_time_ms")
        settings.derive(values, "quorum_connection_timeout_ms", timeout, "syncLimit")
    if number(values, "min_notification_interval_ms") > number(values, "max_notification_interval_ms"):
        settings.error_at(
            "fastleader.minNotificationInterval", "is more than fastleader.maxNotificationInterval"
        )


def _sync_enabled(settings: Settings, values: Values, members: Members) -> None:
    if settings.is_set("observer.syncEnabled"):
        settings.assign(values, BY_NAME["observer.syncEnabled"])


def _lower_bounds(settings: Settings, values: Values, members: Members) -> None:
    """Values that upstream raises rather than refuses."""
    for key, field, least in (
        ("autopurge.snapRetainCount", "autopurge_snap_retain_count", MIN_SNAP_RETAIN_COUNT),
        ("commitLogCount", "commit_log_count", MIN_COMMIT_LOG_COUNT),
        ("snapCount", "snapshot_count", MIN_SNAPSHOT_COUNT),
    ):
        if number(values, field) < least:
            settings.warn_at(key, f"{values[field]} is too small, {least} counts")
            values[field] = least
    factor = values["snapshot_size_factor"]
    assert isinstance(factor, float)
    if factor > 1:
        settings.warn_at(
            "snapshotSizeFactor", f"{factor:g} is more than 1, {DEFAULT_SNAPSHOT_SIZE_FACTOR} counts"
        )
        values["snapshot_size_factor"] = DEFAULT_SNAPSHOT_SIZE_FACTOR


def _derived_limits(settings: Settings, values: Values, members: Members) -> None:
    if number(values, "jute_extra_size") < 0:
        settings.derive(values, "jute_extra_size", number(values, "jute_max_buffer"), "jute.maxbuffer")
    if number(values, "max_write_queue_poll_time_ms") < 0:
        poll = number(values, "flush_delay_ms") // 3
        settings.derive(values, "max_write_queue_poll_time_ms", poll, "a third of flushDelay")


def _four_letter_words(settings: Settings, values: Values, members: Members) -> None:
    key = "4lw.commands.whitelist"
    given = words(values, "four_letter_words")
    for word in given:
        if word != "*" and word not in FOUR_LETTER_WORDS:
            nearest = get_close_matches(word, FOUR_LETTER_WORDS, n=1)
            settings.warn_at(key, f"{word!r} is not a four-letter word", nearest[0] if nearest else "")
    if "*" in given:
        values["four_letter_words"] = ("*",)
        return
    # zkServer.sh asks srvr for the status, so upstream always answers it.
    enabled = dict.fromkeys((*given, "srvr"))
    if values["read_only_mode_enabled"]:
        enabled["isro"] = None
    values["four_letter_words"] = tuple(enabled)


def _quorum_sasl(settings: Settings, values: Values, members: Members) -> None:
    enabled = values["quorum_auth_enable_sasl"]
    learner, server = values["quorum_auth_learner_require_sasl"], values["quorum_auth_server_require_sasl"]
    if server and not enabled:
        settings.error_at("quorum.auth.serverRequireSasl", "is true, but quorum.auth.enableSasl is false")
    if learner and not enabled:
        settings.error_at("quorum.auth.learnerRequireSasl", "is true, but quorum.auth.enableSasl is false")
    if server and enabled and not learner:
        settings.error_at(
            "quorum.auth.serverRequireSasl",
            "is true, but quorum.auth.learnerRequireSasl is false: this server could not join",
        )


def _auth_providers(settings: Settings, values: Values, members: Members) -> None:
    providers: dict[str, str] = {}
    for given in settings.family("authProvider."):
        name = BUILT_IN_PROVIDERS.get(given.text, given.text)
        if "." in name or not name:
            nearest = get_close_matches(name, list(BUILT_IN_PROVIDERS), n=1)
            message = f"{name!r} is a Java class, which cannot be loaded: name an installed Python provider"
            settings.error(given.where, given.key, message, nearest[0] if nearest else "")
        else:
            providers[given.suffix] = name
            settings.origins["auth_providers"] = given.where
            if name in UNPROVEN:
                settings.warn(given.where, given.key, f"{UNPROVEN[name]}; access lists may name its ids")
    if values["secure_client_port"] is not None or values["client_port_unification"]:
        scheme = text(values, "ssl_auth_provider")
        if scheme not in providers.values() and scheme not in providers:
            if scheme != "x509":
                settings.error_at(
                    "ssl.authProvider", f"{scheme!r} is no authProvider", "authProvider." + scheme
                )
            providers["x509"] = "x509"
    if settings.is_set("ensembleAuthName") and "ensemble" not in providers.values():
        settings.warn_at("ensembleAuthName", "counts for nothing without an authProvider=ensemble")
    values["auth_providers"] = tuple((suffix, providers[suffix]) for suffix in sorted(providers))


def _enforced_schemes(settings: Settings, values: Values, members: Members) -> None:
    key = "sessionRequireClientSASLAuth"
    if settings.is_set(key):
        option = BY_NAME[key]
        try:
            required = option.kind.parse(settings.given[key].text)
        except ValueError as error:
            settings.error_at(key, str(error))
            return
        if required:
            # The older key decides alone: upstream does not look at enforce.auth then.
            settings.derive(values, "enforce_auth_enabled", True, settings.where(key))
            settings.derive(values, "enforce_auth_schemes", ("sasl",), settings.where(key))
    if not values["enforce_auth_enabled"]:
        return
    schemes = words(values, "enforce_auth_schemes")
    if not schemes:
        settings.error_at("enforce.auth.enabled", "is true, but enforce.auth.schemes names no scheme")
    known = ["ip", *(["digest"] if values["digest_auth_enabled"] else [])]
    providers = values["auth_providers"]
    assert isinstance(providers, tuple)
    known += [name for pair in providers for name in pair]
    for scheme in schemes:
        if scheme not in known:
            nearest = f"authProvider.{scheme}={scheme}" if scheme in BUILT_IN_PROVIDERS.values() else ""
            place = (
                key
                if settings.origins.get("enforce_auth_schemes") == settings.where(key)
                else "enforce.auth.schemes"
            )
            settings.error_at(place, f"there is no authentication scheme {scheme!r}", nearest)


def _super_users(settings: Settings, values: Values, members: Members) -> None:
    users = dict.fromkeys(words(values, "super_users"))
    for given in settings.family("superUser."):
        users[given.text] = None
        settings.origins["super_users"] = given.where
    values["super_users"] = tuple(users)


def _tls(settings: Settings, values: Values, members: Members) -> None:
    needed = []
    if values["secure_client_port"] is not None:
        needed.append(("client_tls", "ssl", "secureClientPort"))
    if values["client_port_unification"]:
        needed.append(("client_tls", "ssl", "client.portUnification"))
    if values["ssl_quorum"]:
        needed.append(("quorum_tls", "ssl.quorum", "sslQuorum"))
    for part, prefix, because in needed:
        if not text(values, f"{part}.key_store_location"):
            settings.error_at(because, f"needs {prefix}.keyStore.location")
        if not text(values, f"{part}.trust_store_location") and values[f"{part}.client_auth"] != "none":
            settings.warn_at(
                because, f"without {prefix}.trustStore.location no client's certificate is trusted"
            )
    if values["secure_client_port"] is not None and not settings.is_set("secureClientPort"):
        settings.warn_at("secureClientPort", f"given in the member list, ignored: {NO_TLS_YET}")
    if values["ssl_quorum"] and values["quorum_auth_enable_sasl"]:
        settings.warn_at("sslQuorum", "is used together with quorum.auth.enableSasl: each alone would do")


def _publishers(settings: Settings, values: Values, members: Members) -> None:
    publishers: dict[str, dict[str, str]] = {}
    for given in settings.family("publisher."):
        name, dot, key = given.suffix.partition(".")
        if not (name and dot and key):
            settings.error(given.where, given.key, "is not publisher.<name>.<key>")
            continue
        publishers.setdefault(name, {})[key] = given.text
        settings.origins["publishers"] = given.where
    for name, options in publishers.items():
        if not options.get("class"):
            settings.error(
                "configuration", f"publisher.{name}.class", "is not set: it names the publisher to run"
            )
    values["publishers"] = publishers


RULES: tuple[Rule, ...] = (
    _data_folders,
    _client_ports,
    _session_timeouts,
    _time_limits,
    _sync_enabled,
    _lower_bounds,
    _derived_limits,
    _four_letter_words,
    _quorum_sasl,
    _auth_providers,
    _enforced_schemes,
    _super_users,
    _tls,
    _publishers,
)
