"""Which format a location is of, and which robot its logs are of."""

from collections import Counter
from pathlib import PurePosixPath
from typing import cast

from ingest.formats import aloha, bridge_raw, droid_raw, lerobot, mcap, rlds, robomimic, rosbag, zarr_replay
from ingest.location import Location
from ingest.oxe.table import oxe_embodiment
from ingest.record import Discovery, Format
from schema.embodiment import Embodiment, builtin_embodiments, load_embodiment
from schema.errors import ConfigError, SourceError

FORMATS: tuple[Format, ...] = tuple(
    cast(Format, module)
    for module in (rlds, lerobot, aloha, droid_raw, bridge_raw, robomimic, zarr_replay, mcap, rosbag)
)
"""Every format, in the order in which a location is tried."""


def format_named(name: str) -> Format:
    """The format of that name; ConfigError lists the choices."""
    for item in FORMATS:
        if name == item.NAME:
            return item
    raise ConfigError(f"unknown format {name!r}: choose one of {_choices()}")


def detect(location: Location, format_name: str | None) -> tuple[Format, Discovery]:
    """The format and what it discovers; only the named one is tried where there is a name.

    SourceError where no format knows the location.
    """
    for item in FORMATS if format_name is None else (format_named(format_name),):
        discovery = item.discover(location)
        if discovery is not None:
            return item, discovery
    kinds = Counter(PurePosixPath(file).suffix or "no extension" for file in location.files)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    tried = (
        f"none of the formats {_choices()}; use --format to name one" if format_name is None else f"not {format_name!r}"
    )
    raise SourceError(
        f"found {len(location.files)} files ({told}), {tried}, or point at another folder: {location.uri}"
    )


def _choices() -> str:
    return ", ".join(item.NAME for item in FORMATS)


def find_embodiment(discovery: Discovery, wanted: str | None) -> Embodiment:
    """The embodiment by the user's name or path for it, else by what the log calls its robot or itself.

    ConfigError where none or several fit, or where the table does not bind the format.
    """
    if wanted is not None:
        embodiment = load_embodiment(wanted)
        if discovery.format not in embodiment.sources:
            bound = ", ".join(sorted(embodiment.sources)) or "no format"
            raise ConfigError(
                f"embodiment {embodiment.name!r} binds {bound}, the source is {discovery.format}: "
                f"add a [sources.{discovery.format}] table (`--dry-run` prints a draft of one)"
            )
        return embodiment
    if discovery.format == rlds.NAME and (named := oxe_embodiment(discovery.name)) is not None:
        return named
    known = builtin_embodiments()
    fitting: list[Embodiment] = []
    for name in (discovery.robot, discovery.name):  # what the robot is called says more than a folder's name
        fitting = [table for table in known.values() if name and name.casefold() in _matches(table, discovery.format)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            break
    called = f"the log calls its robot {discovery.robot!r}" if discovery.robot else "the log does not name its robot"
    found = f"several embodiments ({', '.join(item.name for item in fitting)})" if fitting else "no embodiment"
    raise ConfigError(
        f"{called} and its dataset {discovery.name!r}, which fits {found}: choose one with --embodiment, of "
        f"{', '.join(known)}, or run with --dry-run for a draft of a new table and give its path to --embodiment"
    )


def _matches(table: Embodiment, format_name: str) -> set[str]:
    binding = table.sources.get(format_name)
    return {name.casefold() for name in binding.match} if binding else set()
