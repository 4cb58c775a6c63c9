"""A log taken as far as a worker takes it, without a lake: discovered, read and standardized."""

from pathlib import Path

from ingest.detect import detect, find_embodiment
from ingest.location import Location
from ingest.record import Discovery, Format, RawEpisode, Record
from ingest.standardize import source_frames, standardize
from schema.embodiment import Embodiment
from schema.episode import Episode
from schema.errors import EpisodeError
from schema.picture import ImageSettings


def discovered(folder: Path, format_name: str | None = None) -> Discovery:
    """What the one format that fits discovers."""
    return detect(Location.of(str(folder)), format_name)[1]


def read(folder: Path, index: int = 0) -> RawEpisode:
    """One record as its format reads it."""
    location = Location.of(str(folder))
    reader, discovery = detect(location, None)
    return reader.read(location, discovery.records[index])


def take(folder: Path, index: int = 0, *, embodiment: str | None = None) -> Episode:
    """One record as the lake would hold it."""
    location = Location.of(str(folder))
    reader, discovery = detect(location, None)
    record = discovery.records[index]
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    return converted(location, record, reader=reader, robot=find_embodiment(discovery, embodiment))


def converted(location: Location, record: Record, *, reader: Format, robot: Embodiment) -> Episode:
    """One record, read and standardized by a robot's table."""
    return standardize(
        source_frames(reader.read(location, record), embodiment=robot, binding=robot.sources[reader.NAME]),
        embodiment=robot,
        binding=robot.sources[reader.NAME],
        source="test",
        settings=ImageSettings(),
        record=record,
        location=location,
        adapter=(reader.NAME, reader.VERSION),
    )
