"""Settings: the newest counts, and every value knows where it came from."""

from zabra.config.options import BY_NAME, find
from zabra.config.settings import Settings


def put(settings: Settings, name: str, text: str, where: str) -> None:
    found = find(name)
    assert found is not None
    settings.put(found[0], found[1], text, where)


def test_the_newest_setting_of_a_key_counts_under_any_of_its_names() -> None:
    settings = Settings()
    put(settings, "snapCount", "5", "file:1")
    put(settings, "zookeeper.snapCount", "6", "file:2")
    assert settings.values()["snapshot_count"] == 6
    assert settings.origins == {"snapshot_count": "file:2"}
    assert settings.where("snapCount") == "file:2"
    assert settings.where("tickTime") == "configuration"


def test_families_keep_the_order_of_their_newest_settings() -> None:
    settings = Settings()
    for name, text in (("superUser.1", "a"), ("superUser.2", "b"), ("superUser.1", "c")):
        put(settings, name, text, "x")
    assert [(given.key, given.text) for given in settings.family("superUser.")] == [
        ("superUser.2", "b"),
        ("superUser.1", "c"),
    ]


def test_malformed_values_keep_the_default_and_are_known_as_such() -> None:
    settings = Settings()
    put(settings, "tickTime", "x", "file:1")
    assert settings.values()["tick_time_ms"] == 3000
    assert [str(error) for error in settings.errors] == ["file:1: tickTime: 'x' is not a whole number"]
    assert settings.malformed("clientPort", "tickTime")
    assert not settings.malformed("clientPort")
    assert BY_NAME["tickTime"].default_value() == 3000
