"""One tree of errors: what was found, what was expected, what to do.

Anything else that is raised is a bug in robomix, not a fault of the user's data, and stops the job at once.
"""

from collections.abc import Iterable


class RobomixError(Exception):
    """The root of everything that robomix raises on purpose; its text is meant to be read by a person."""


class ConfigError(RobomixError):
    """A recipe, an embodiment table or a command-line word that cannot be used as it is."""


class SourceError(RobomixError):
    """A source (a dataset as delivered) that cannot be read at all: absent, empty, of an unknown format."""


class SchemaError(RobomixError):
    """Data or a lake that does not have the shape it claims."""


class EpisodeError(RobomixError):
    """One episode that cannot be taken; it goes to quarantine and the others go on.

    `reason` is a short snake_case class such as "crc_mismatch" by which quarantine is grouped and retried.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["EpisodeError"], tuple[str, str], dict[str, object]]:
        """Let the error cross process borders with both its arguments and its notes."""
        return type(self), (self.reason, str(self)), self.__dict__


def problems(kind: type[RobomixError], title: str, lines: Iterable[str]) -> RobomixError | None:
    """One error that lists every problem on a line of its own, or None where there is none."""
    found = list(lines)
    if not found:
        return None
    return kind("\n".join([title, *(f"  - {line}" for line in found)]))
