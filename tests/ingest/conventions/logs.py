"""Sources as the convention check sees them: the episodes of a log, as a probe takes them, and what is found."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ingest.bundle import Job, convert, read
from ingest.conventions.checks import gather, judge
from ingest.conventions.finding import Finding
from ingest.conventions.sample import Sample
from ingest.job import Request, prepare
from ingest.standard_pictures import see_nothing
from schema.episode import Episode
from schema.errors import EpisodeError
from schema.picture import ImageSettings

PICTURES = ImageSettings(quality=100)


def episodes_of(folder: Path, *, embodiment: str | None = None) -> list[Episode]:
    """The readable episodes of a log."""
    prepared = prepare(Request(uri=str(folder), source="log", embodiment=embodiment))
    job = Job(
        lake_uri="",
        location=prepared.location,
        source="log",
        format=prepared.discovery.format,
        embodiment=prepared.embodiment,
        conversion="",
        settings=PICTURES,
        ingest_run="",
    )
    found = []
    for record in prepared.discovery.records:
        try:
            found.append(convert(job, read(job, record), record, see=see_nothing))
        except EpisodeError:
            continue
    return found


def found_in(episodes: Iterable[Episode]) -> tuple[Finding, ...]:
    """Every finding about these episodes."""
    every = list(episodes)
    return judge([gather(Sample.of(episode)) for episode in every], every[0].embodiment)


def odd(findings: Iterable[Finding]) -> set[tuple[str, str, str]]:
    """(status, check, subject) of what contradicts or is noticed."""
    return {(f.status, f.check, f.subject) for f in findings if f.status in {"contradicts", "noticed"}}


def without_pictures(episode: Episode) -> Episode:
    """For checks that need none, and tests that should be quick."""
    return replace(episode, cameras={}, camera_timestamps={})
