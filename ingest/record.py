"""What a format gives and takes: records to plan by, and raw episodes in the log's own names.

A format is one file under `ingest/formats/` with two functions: `discover` lists the records of a location
without reading them, or says that it is not its format; `read` gives one back as it was logged. Everything that
knows of robots, units and conventions comes after, in `ingest.standardize`.
"""
# Legend: T frames.

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.location import Location
from schema.episode import Instruction, Numbers
from schema.picture import Pixels

STORED_PICTURE_BYTES = 16_000
"""A guess at what one stored picture takes, for formats that must size a record before decoding it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why something cannot be taken: a short class to group by, and a message that names the place."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One episode as it lies in a source; small, JSON-able, and enough to read it again."""

    index: int
    """Its number in source order, from 0."""
    files: tuple[str, ...]
    """Every file that it is made of, relative to the location; the first names it."""
    byte_start: int | None = None
    byte_stop: int | None = None
    num_frames: int | None = None
    stored_bytes: int = 0
    """A guess at the bytes that it will take in a shard, to size bundles by."""
    problem: Problem | None = None
    """Known to be unreadable already: it goes to quarantine unread."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Whatever `read` needs; JSON values only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceField:
    """One stream that a source says it has, for drafting an embodiment table."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    """Per frame."""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """What a location holds, found without reading the episodes."""

    format: str
    name: str
    """The source's name, unless the user gives another."""
    robot: str | None
    """What the log calls its robot, to find the embodiment by."""
    rate_hz: float | None
    records: tuple[Record, ...]
    fields: tuple[SourceField, ...]
    """The numeric streams."""
    cameras: tuple[SourceField, ...]
    """The picture streams, shape [H, W, 3]."""
    notes: tuple[str, ...] = ()
    """What was odd or missing about the source as a whole, for people; nothing is left out in silence."""
    licence: str | None = None
    has_own_clocks: bool = False
    """Whether its streams have no common clock, so that frames are made by `ingest.align`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawEpisode:
    """One record, read: everything it holds in the log's own names and conventions."""

    digest: str
    """`schema.digest` over the record's own bytes: what makes the episode the same wherever it lies."""
    fields: Mapping[str, Numbers]
    """Numeric streams by path, `[T, …]`, as stored."""
    pictures: Mapping[str, Iterable[Pixels | bytes]]
    """Picture streams by camera key, T each, decoded as they are taken: RGB arrays or JPEG bytes."""
    is_checked: bool = False
    """Checksums of the log cover its JPEGs: those that pass through need not all be decoded to be trusted."""
    absent: Mapping[str, Problem] = field(default_factory=dict)
    """Picture streams that the log should have and does not."""
    denied: Collection[str] = ()
    """Picture streams of which the log itself says that they show nothing; they are looked at all the same."""
    timestamp_T: NDArray[np.float64] | None = None
    """Seconds; None means the nominal rate."""
    rate_hz: float | None = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the columns of numeric streams that have them."""
    clocks: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """When each row of a stream and each picture of a camera was taken, in seconds, where streams do not share a
    clock: they then differ in length, there is no `timestamp_T`, and `ingest.align` makes frames of them."""
    camera_timestamps: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Per camera key `[T]`, where a picture was not taken at its frame's own time."""
    task: str | None = None
    instructions: tuple[Instruction, ...] = ()
    not_stored: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    success: bool | None = None
    scene: str | None = None
    operator: str | None = None
    recorded_at: datetime | None = None
    is_simulated: bool | None = None


class Format(Protocol):
    """What each module under `ingest/formats/` is."""

    NAME: str
    VERSION: int
    """Raised whenever the same log would give other numbers; part of what `conversion` digests."""

    def discover(self, location: Location) -> Discovery | None:
        """The records of a location, or None where it is not of this format; SourceError where it is broken."""

    def read(self, location: Location, record: Record) -> RawEpisode:
        """One record; EpisodeError with its reason where it cannot be taken."""


def spelled(text: str) -> str:
    """The text as a table can hold it: of a log's bytes that are no UTF-8 Python makes surrogates, here spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
