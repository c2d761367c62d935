"""Settings: what each source said about each key, where, and the errors and warnings gathered on the way."""

from zabra.config.options import FILLING, OPTIONS, Option
from zabra.config.server import ConfigProblem, ConfigWarning


class Given:
    """One key's setting; ``suffix`` is what follows a prefix (the N of ``server.N``)."""

    __slots__ = ("option", "suffix", "text", "where")

    def __init__(self, option: Option, suffix: str, text: str, where: str) -> None:
        self.option = option
        self.suffix = suffix
        self.text = text
        self.where = where

    @property
    def key(self) -> str:
        """The key in full."""
        return self.option.key + self.suffix


class Settings:
    """Settings by key, the newest for each; ``origins`` says for each field where its value came from."""

    def __init__(self) -> None:
        self.given: dict[str, Given] = {}
        self.errors: list[ConfigProblem] = []
        self.warnings: list[ConfigWarning] = []
        self.origins: dict[str, str] = {}
        self._malformed: dict[str, None] = {}

    def put(self, option: Option, suffix: str, text: str, where: str) -> None:
        """Takes the place of an earlier setting of the same key."""
        given = Given(option, suffix, text, where)
        self.given.pop(given.key, None)
        self.given[given.key] = given

    def error(self, where: str, key: str, message: str, nearest: str = "") -> None:
        """Something that keeps the server from starting."""
        self.errors.append(ConfigProblem(where, key, message, nearest))

    def warn(self, where: str, key: str, message: str, nearest: str = "") -> None:
        """Something to know."""
        self.warnings.append(ConfigWarning(where, key, message, nearest))

    def error_at(self, key: str, message: str, nearest: str = "") -> None:
        """An error where ``key`` was set."""
        self.error(self.where(key), key, message, nearest)

    def warn_at(self, key: str, message: str, nearest: str = "") -> None:
        """A warning where ``key`` was set."""
        self.warn(self.where(key), key, message, nearest)

    def is_set(self, key: str) -> bool:
        """Whether any source set it."""
        return key in self.given

    def where(self, key: str) -> str:
        """Where the key was set, or ``configuration`` where it was not."""
        given = self.given.get(key)
        return given.where if given is not None else "configuration"

    def family(self, prefix: str) -> list[Given]:
        """The settings of a prefix row, in the order they were given."""
        return [given for given in self.given.values() if given.option.key == prefix and given.suffix]

    def values(self) -> dict[str, object]:
        """The value of every field that one key fills; malformed ones are errors and keep their default."""
        values: dict[str, object] = {}
        for option in OPTIONS:
            if (
                option.status not in FILLING
                or option.prefix
                or option.field in values
                or option.field == "ensemble"
            ):
                continue
            values[option.field] = option.default_value()
            if option.key in self.given:
                self.assign(values, option)
        return values

    def assign(self, values: dict[str, object], option: Option) -> None:
        """Gives the option's field the value that its key was set to."""
        given = self.given[option.key]
        try:
            values[option.field] = option.kind.parse(given.text)
        except ValueError as error:
            self.error(given.where, option.key, str(error))
            self._malformed[option.key] = None
        else:
            self.origins[option.field] = given.where

    def malformed(self, *keys: str) -> bool:
        """Whether any of these keys has a value that could not be read, so that rules on it would mislead."""
        return any(key in self._malformed for key in keys)

    def derive(self, values: dict[str, object], field: str, value: object, source: str) -> None:
        """Gives a field a value that follows from others; ``source`` says from which."""
        values[field] = value
        self.origins[field] = source


def number(values: dict[str, object], field: str) -> int:
    """A value known to be a whole number."""
    value = values[field]
    assert isinstance(value, int), field
    return value


def text(values: dict[str, object], field: str) -> str:
    """A value known to be text, empty when it is not set."""
    value = values[field]
    assert value is None or isinstance(value, str), field
    return value or ""


def words(values: dict[str, object], field: str) -> tuple[str, ...]:
    """A value known to be a list of words."""
    value = values[field]
    assert isinstance(value, tuple), field
    return value
