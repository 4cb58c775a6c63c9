"""Which format a location is of, and which robot its logs are of.

A user's own format is a module with the same two functions, in any installed package that names it as an entry point
of the group `robomix.formats` (docs/formats.md); it is tried after robomix's own.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePosixPath
from typing import cast

from ingest.location import Location
from ingest.oxe.table import oxe_embodiment
from ingest.record import Discovery, Format
from schema.embodiment import Embodiment, builtin_embodiments, load_embodiment
from schema.errors import ConfigError, SourceError

FORMATS = ("rlds", "lerobot", "aloha", "droid_raw", "bridge_raw", "robomimic", "zarr_replay", "mcap", "rosbag")
"""Robomix's own, in the order in which a location is tried: modules of `ingest.formats`, each imported when it is asked
for, since their libraries take as long to import as all else of a worker."""
ENTRY_POINTS = "robomix.formats"
_LOG = re.compile(r"\.(tfrecord|hdf5|h5|mcap|bag|db3|zarr\.zip)(?=-\d+-of-\d+$|$)")
"""Endings of files that are logs of one format or another."""


def format_named(name: str) -> Format:
    """The format of that name; ConfigError lists the choices."""
    if name in FORMATS:
        return cast(Format, import_module(f"ingest.formats.{name}"))
    if name in (found := _entry_points()):
        return _loaded(found[name])
    raise ConfigError(f"unknown format {name!r}: choose one of {_choices()}")


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """The installed packages' formats by name; ConfigError where two claim one name."""
    taken = dict.fromkeys(FORMATS, "robomix")
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        if point.name in taken and taken[point.name] != point.value:  # an editable install may list one twice
            raise ConfigError(
                f"the entry point {point.name!r} ({point.value}) has the name of a format of {taken[point.name]}: "
                f"rename it in the group {ENTRY_POINTS!r} of its package, or uninstall one of the two"
            )
        taken[point.name] = point.value
        found[point.name] = point
    return found


@cache
def _loaded(point: EntryPoint) -> Format:
    """The module of an entry point; ConfigError where it cannot be imported or is no format."""
    try:
        module = point.load()
    except Exception as error:
        raise ConfigError(
            f"the format {point.name!r} cannot be imported from {point.value} ({type(error).__name__}: {error}): "
            "mend or uninstall its package"
        ) from error
    lacks = [name for name in ("NAME", "VERSION", "discover", "read") if not hasattr(module, name)]
    if lacks or point.name != module.NAME:
        wrong = f"it lacks {', '.join(lacks)}" if lacks else f"its NAME is {module.NAME!r}"
        raise ConfigError(
            f"the format {point.name!r} ({point.value}) is not what ingest.record.Format asks for: {wrong}; see "
            "docs/formats.md"
        )
    return cast(Format, module)


def _formats() -> Iterator[Format]:
    """Robomix's own formats, then those of other packages."""
    others = _entry_points()  # before the first is tried, so that a clash of names never goes unseen
    yield from map(format_named, FORMATS)
    yield from map(_loaded, others.values())


def detect(location: Location, format_name: str | None) -> tuple[Format, Discovery]:
    """The format and what it discovers; only the named one is tried where there is a name.

    SourceError where no format knows the location.
    """
    for item in _formats() if format_name is None else (format_named(format_name),):
        discovery = item.discover(location)
        if discovery is not None:
            return item, replace(discovery, notes=(*discovery.notes, *_left_alone(location, discovery)))
    kinds = Counter(PurePosixPath(file).suffix or "no extension" for file in location.files)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "none"
    told += "".join(f"; the first is {name!r}" for name in sorted(location.files)[:1])
    told += "".join(
        f"; {name!r} is a link to the folder {path}, not followed" for name, path in location.folder_links.items()
    )
    tried = (
        f"none of the formats {_choices()}; use --format to name one" if format_name is None else f"not {format_name!r}"
    )
    raise SourceError(
        f"found {len(location.files)} files ({told}), {tried}, or point at another folder: {location.uri}"
    )


def _left_alone(location: Location, discovery: Discovery) -> Iterator[str]:
    """What lies in the location and is not taken: links to folders, and logs of other kinds than the records'."""
    for name, target in sorted(location.folder_links.items()):
        yield f"{name!r} is a link to a folder, which is not followed: ingest {target} by itself, or copy it there"
    taken = {file for record in discovery.records for file in record.files}
    ours = {_kind(file) for file in taken}
    others: dict[str, list[str]] = {}
    for file in location.files.keys() - taken:
        if (kind := _kind(file)) not in {*ours, ""}:
            others.setdefault(kind, []).append(file)
    for kind, files in sorted(others.items()):
        told = f"{len(files)} {kind} files are no {discovery.format} logs and are not taken: {min(files)} …"
        yield f"{told}; ingest them by themselves, or name their format by --format"


def _kind(file: str) -> str:
    """The ending of a file that only logs have, or nothing."""
    found = _LOG.search(file)
    return found.group() if found else ""


def _choices() -> str:
    return ", ".join([*FORMATS, *_entry_points()])


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
    if discovery.format == "rlds" and (named := oxe_embodiment(discovery.name)) is not None:
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
