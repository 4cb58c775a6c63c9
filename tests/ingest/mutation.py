"""Damaged logs: a file of a log is mutated, and the log is taken as a worker would take it.

Nobody can see a changed bit among raw numbers, so a record may come out with other numbers, but then its digest is
another too: it never passes for the episode that was recorded.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.location import Location
from ingest.record import Format, Record
from schema.digest import digest_bytes
from schema.embodiment import load_embodiment
from schema.episode import Episode
from schema.errors import RobomixError
from tests.ingest.taking import converted

FORESEEN = (RobomixError, OSError, ValueError, ArithmeticError, EOFError)
"""What a worker puts in quarantine; anything else would stop the job."""


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Bits flipped, the end cut off, bytes overwritten, taken out or put in."""
    kind, at, length = random.integers(5), int(random.integers(len(content))), int(random.integers(1, 64))
    if kind == 0:
        damaged = bytearray(content)
        for place in random.integers(len(content), size=random.integers(1, 9)):
            damaged[place] ^= 1 << int(random.integers(8))
        return bytes(damaged)
    noise = [random.bytes(length), b"\xff" * length, b"\0" * length][random.integers(3)]
    before = content[:at]
    return [
        before,
        before + noise + content[at + length :],
        before + content[at + length :],
        before + noise + content[at:],
    ][kind - 1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What became of a record: an episode, or a message."""

    record: Record
    digest: str | None = None
    content: str | None = None
    """A digest of all that the lake would hold of it."""
    message: str | None = None


def fates(folder: Path, *, reader: Format, embodiment: str) -> list[Fate]:
    """Every record of a folder, taken or refused; whatever else happens is raised."""
    location = Location.of(str(folder))
    discovery = reader.discover(location)
    return [_fate(location, record, reader=reader, embodiment=embodiment) for record in (discovery or _NOTHING).records]


@dataclass(frozen=True)
class _Nothing:
    records: tuple[Record, ...] = ()


_NOTHING = _Nothing()


def _fate(location: Location, record: Record, *, reader: Format, embodiment: str) -> Fate:
    if record.problem is not None:
        return Fate(record=record, message=record.problem.message)
    robot = load_embodiment(embodiment)
    try:
        episode = converted(location, record, reader=reader, robot=robot)
    except FORESEEN as error:
        return Fate(record=record, message=str(error))
    return Fate(record=record, digest=episode.episode_id, content=_content(episode))


def _content(episode: Episode) -> str:
    numbers = [part for name, v in sorted(episode.signals.items()) for part in (name.encode(), v.tobytes())]
    pictures = [part.jpeg for _, pictures in sorted(episode.cameras.items()) for part in pictures]
    words = [instruction.text.encode() for instruction in episode.instructions]
    return digest_bytes(*numbers, *pictures, *words)
