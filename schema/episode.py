"""One episode in robomix's own terms: named signals in stated units, stored pictures, where it came from.

Adapters make it once at the edge (`ingest.standardize`); nothing later re-checks it. It holds the pictures as the
JPEG bytes that will be stored, so that an hour of robot is a few hundred megabytes and never its raw pixels.
"""
# Legend: T frames, D a signal's own width.

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from schema.embodiment import Embodiment

Numbers = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One stored picture: a JPEG and the size that it decodes to, in pixels."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """What the robot was told, for frames [start, stop); stop None means to the end."""

    text: str
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where an episode came from, down to the bytes, and what read it."""

    raw_uri: str
    record_index: int
    byte_start: int | None = None
    byte_stop: int | None = None
    adapter: str
    adapter_version: int
    notes: tuple[str, ...] = ()
    """What the adapter found odd and how it was taken, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One recorded run of one robot at one task."""

    episode_id: str
    """32 hex characters: the digest of the record's own bytes."""
    source: str
    embodiment: Embodiment
    task: str
    """The name under which episodes are grouped in a mixture."""
    instructions: tuple[Instruction, ...]
    timestamp_T: NDArray[np.float64]
    """Seconds on the control clock from the first frame."""
    signals: Mapping[str, Numbers]
    """By signal name, each `[T, D]` of float32 or float64 in the table's units."""
    extras: Mapping[str, Numbers] = field(default_factory=dict)
    """Numeric streams `[T, …]` that no signal claims, kept under the log's own names."""
    cameras: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)
    """By camera name, T pictures each."""
    camera_timestamps: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Per camera `[T]`: the time at which each used picture was taken, on the control clock."""
    absent_cameras: Mapping[str, str] = field(default_factory=dict)
    """Cameras that the robot has and this episode lacks, each with the reason."""
    not_stored: Mapping[str, int] = field(default_factory=dict)
    """Streams that the log carries and the lake does not take (depth, audio), with their frame counts."""
    provenance: Provenance
    success: bool | None = None
    scene: str | None = None
    operator: str | None = None
    recorded_at: datetime | None = None
    licence: str | None = None
    consent: str | None = None
    is_simulated: bool | None = None

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.timestamp_T)

    @property
    def action_spaces(self) -> tuple[str, ...]:
        """The action spaces that this episode's signals give."""
        return tuple(
            space.name
            for space in self.embodiment.action_spaces
            if set(space.state) <= self.signals.keys() and set(space.action) <= self.signals.keys()
        )
