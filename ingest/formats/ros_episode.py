"""What MCAP files and ROS bags have in common: streams of messages as a discovery and as a raw episode."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol

from ingest.formats.encoded_picture import jpeg_or_pixels
from ingest.formats.local_copy import LocalCopy
from ingest.formats.ros_recording import Recording
from ingest.formats.ros_streams import Message, Streams, collect, is_colour, picture_of
from ingest.location import Location
from ingest.record import Discovery, RawEpisode, Record, SourceField
from schema.digest import Hasher, feed_file
from schema.episode import Instruction
from schema.errors import EpisodeError
from schema.picture import Pixels

SAMPLE_MESSAGES = 2_000
"""How far into a source its streams are looked for."""
_SAMPLE_FILES = 8
_UNDERSTOOD = {
    "task",
    "instruction",
    "language_instruction",
    "robot",
    "robot_type",
    "operator",
    "scene",
    "success",
    "simulated",
    "license",
}
"""What is taken from a bag's own metadata; the rest of it becomes notes."""
_YES, _NO = {"true", "1", "yes"}, {"false", "0", "no"}

Told = Mapping[str, str]
"""A bag's own metadata."""


def discovery_of(
    location: Location,
    recordings: Sequence[Recording],
    *,
    format_name: str,
    sample: Callable[[Record], tuple[Streams, Told]],
    notes: Sequence[str] = (),
) -> Discovery:
    """One record for each recording; what streams they hold is told by the first that can be read."""
    records = [
        Record(
            index=index,
            files=recording.files,
            stored_bytes=sum(location.files[file].size_bytes for file in recording.files),
            problem=recording.problem,
            meta={"told": dict(recording.told)},
        )
        for index, recording in enumerate(sorted(recordings, key=lambda recording: recording.files))
    ]
    streams, told = Streams(), dict[str, str]()
    for record in [record for record in records if record.problem is None][:_SAMPLE_FILES]:
        try:
            streams, found = sample(record)
        except EpisodeError:  # the record says so itself when it is read
            continue
        told.update(found)
        break
    return Discovery(
        format=format_name,
        name=location.name,
        robot=told.get("robot_type") or told.get("robot") or streams.robot,
        rate_hz=None,
        records=tuple(records),
        fields=streams.source_fields(),
        cameras=tuple(SourceField(path=topic, dtype="uint8", shape=(-1, -1, 3)) for topic in sorted(streams.cameras)),
        notes=tuple(notes),
        licence=told.get("license"),
        has_own_clocks=True,
    )


class Bag(Protocol):
    """The files of one recording, read from the first to the last as often as it is asked for."""

    @property
    def copies(self) -> Sequence[LocalCopy]:
        """Of every file of the recording, in order."""

    @property
    def told(self) -> Told:
        """Metadata: the folder's, and what a whole reading met."""

    @property
    def others(self) -> Mapping[str, int]:
        """What a whole reading met that is no message."""

    def messages(self, topics: Collection[str] = ()) -> Iterator[Message]:
        """Those of some topics, or all, decoded."""


def sample_of(bag: Bag) -> tuple[Streams, Told]:
    """The streams of a bag's first messages, and its metadata."""
    return collect(islice(bag.messages(), SAMPLE_MESSAGES)), bag.told


def episode_of(bag: Bag, *, file: str) -> RawEpisode:
    """The episode, whose pictures are read from the bag each time that they are taken; `file` is for messages.

    EpisodeError "no_robot_data" where the log holds no number.
    """
    streams = collect(bag.messages())
    streams.not_stored |= bag.others
    told = bag.told
    if not streams.fields:
        held = ", ".join([*streams.not_stored, *streams.cameras][:20]) or "no message"
        raise EpisodeError(
            "no_robot_data", f"found no stream of numbers, only {held}; is it a robot's log? file {file}"
        )
    texts = [text for key in ("instruction", "language_instruction") if (text := told.get(key))] or list(streams.texts)
    notes = [f"metadata: {key} = {told[key]!r:.200}" for key in sorted(told.keys() - _UNDERSTOOD)]
    if len(texts) > 1:
        notes.append(f"the log holds {len(texts)} instructions, the first is taken: {texts!r:.400}")
    text = texts[0] if texts else told.get("task")
    return RawEpisode(
        digest=_digest(bag.copies),
        fields=streams.fields,
        names=streams.names,
        clocks=streams.clocks,
        pictures={topic: _pictures(bag, topic) for topic in streams.cameras},
        task=told.get("task") or text,
        instructions=(Instruction(text=text),) if text else (),
        not_stored=streams.not_stored,
        notes=(*streams.notes, *notes),
        success=_flag(told.get("success")),
        is_simulated=_flag(told.get("simulated")),
        scene=told.get("scene"),
        operator=told.get("operator"),
        recorded_at=datetime.fromtimestamp(streams.zero_ns / 1e9, UTC) if streams.is_wall_clock else None,
    )


def _digest(copies: Sequence[LocalCopy]) -> str:
    """Over the bytes of an episode's files, one after the other."""
    hasher = Hasher()
    for copy in copies:
        feed_file(hasher, copy.path)
    return hasher.hexdigest()


def _pictures(bag: Bag, topic: str) -> Iterator[Pixels | bytes]:
    for message in filter(is_colour, bag.messages({topic})):
        picture = picture_of(message)
        yield jpeg_or_pixels(picture) if isinstance(picture, bytes) else picture


def _flag(told: str | None) -> bool | None:
    word = (told or "").strip().lower()
    return True if word in _YES else False if word in _NO else None
