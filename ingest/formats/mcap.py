"""MCAP files of ROS 2 messages (CDR): one file an episode, or the files that a rosbag2 `metadata.yaml` lists.

Checksums are checked. A file that was cut or never finished has no footer: it is refused, since a part of a log that
passes for a whole one is worse than none; `mcap recover` makes a whole one of what is there.
"""

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard
from mcap.exceptions import EndOfFile
from mcap.records import Attachment, Channel, Chunk, McapRecord, Metadata, Schema
from mcap.records import Message as McapMessage
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap_ros2.decoder import DecoderFactory

from ingest.formats.local_copy import LocalCopy
from ingest.formats.ros_episode import discovery_of, episode_of, sample_of
from ingest.formats.ros_recording import Recording, recordings_of
from ingest.formats.ros_streams import Message
from ingest.location import Location
from ingest.record import Discovery, RawEpisode, Record
from schema.errors import EpisodeError

NAME = "mcap"
VERSION = 1

MAX_CHUNK_BYTES = 1 << 28
"""The most that a chunk may say it unpacks to."""


def discover(location: Location) -> Discovery | None:
    """Every .mcap file at or below, split recordings put together; None where there is none."""
    files = [file for file in location.files if file.endswith(".mcap")]
    if not files:
        return None
    split = [item for item in recordings_of(location) if item.problem or item.files[0].endswith(".mcap")]
    listed = {file for recording in split for file in recording.files}
    single = [Recording(files=(file,)) for file in files if file not in listed]
    return discovery_of(
        location, [*split, *single], format_name=NAME, sample=lambda record: sample_of(_Bag(location, record))
    )


def read(location: Location, record: Record) -> RawEpisode:
    """One recording; EpisodeError where it is cut, damaged, or unpacks to more than it may."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    return episode_of(_Bag(location, record), file=location.file_uri(record.files[0]))


class _Bag:
    """The files of one recording, read from the first to the last as often as it is asked for."""

    def __init__(self, location: Location, record: Record) -> None:
        self.copies = [LocalCopy(location, file) for file in record.files]
        self._uris = [location.file_uri(file) for file in record.files]
        self.told: dict[str, str] = dict(record.meta["told"])
        """Metadata: the folder's, and what a whole reading met."""
        self.others: Counter[str] = Counter()
        """Attachments and channels that are no CDR of ROS 2."""

    def messages(self, topics: Collection[str] = ()) -> Iterator[Message]:
        """Those of some topics, or all, decoded."""
        self.others.clear()
        for copy, uri in zip(self.copies, self._uris, strict=True):
            yield from self._messages(copy.path, topics, uri=uri)

    def _messages(self, path: Path, topics: Collection[str], *, uri: str) -> Iterator[Message]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        factory = DecoderFactory()
        for record in records_of(path, uri=uri):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Metadata) and record.name != "rosbag2":  # a copy of metadata.yaml
                self.told |= record.metadata
            elif isinstance(record, Attachment):
                self.others[f"attachment {record.name}"] += 1
            elif isinstance(record, McapMessage):
                channel = channels.get(record.channel_id)
                if channel is None:
                    raise _broken(uri, f"a message of the unknown channel {record.channel_id}")
                if topics and channel.topic not in topics:
                    continue
                schema = schemas.get(channel.schema_id)
                value = _decoded(factory, channel, schema, record=record, uri=uri)
                if schema is None or value is None:
                    self.others[channel.topic] += 1
                else:
                    yield Message(topic=channel.topic, kind=schema.name, log_ns=record.log_time, value=value)


def _decoded(
    factory: DecoderFactory, channel: Channel, schema: Schema | None, *, record: McapMessage, uri: str
) -> Any | None:
    """The message, or None where it is in no encoding that we read."""
    try:
        decoder: Callable[[bytes], Any] | None = factory.decoder_for(channel.message_encoding, schema)
        return None if decoder is None else decoder(record.data)
    except Exception as error:  # whatever a library makes of broken bytes
        raise _broken(
            uri, f"a message of {channel.topic} cannot be decoded ({type(error).__name__}: {error})"
        ) from error


def records_of(path: Path, *, uri: str) -> Iterator[McapRecord]:
    """Every record in order, those in chunks included; EpisodeError "cut_file", "unreadable_mcap" or "too_large"."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        reader = StreamReader(
            io.BufferedReader(stream.raw), emit_chunks=True, validate_crcs=True, record_size_limit=size
        )
        records = iter(reader.records)
        while True:
            try:
                record = next(records)
                inside = breakup_chunk(_unpacked(record, uri), validate_crc=True) if isinstance(record, Chunk) else []
            except StopIteration:
                return
            except EpisodeError:
                raise
            except EndOfFile as error:
                raise EpisodeError(
                    "cut_file",
                    f"ends before its footer, was cut or never finished: fetch it again or `mcap recover` {uri}",
                ) from error
            except Exception as error:
                raise _broken(uri, f"not a sound MCAP file ({type(error).__name__}: {error})") from error
            yield from inside or [record]


def _unpacked(chunk: Chunk, uri: str) -> Chunk:
    """The chunk without its compression; nothing is allocated before what it says of its size was looked at."""
    told = chunk.uncompressed_size
    if chunk.compression == "zstd":
        told = max(told, zstandard.frame_content_size(chunk.data))
    if told > MAX_CHUNK_BYTES:
        raise EpisodeError(
            "too_large", f"a chunk says it unpacks to {told} bytes, expected {MAX_CHUNK_BYTES} at most: file {uri}"
        )
    if chunk.compression == "lz4":
        chunk.data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=told)
    elif chunk.compression == "zstd":
        chunk.data = zstandard.decompress(chunk.data, told)
    elif chunk.compression:
        raise EpisodeError("unknown_codec", f"chunks are packed by {chunk.compression!r}, expected zstd or lz4: {uri}")
    chunk.compression = ""
    return chunk


def _broken(uri: str, what: str) -> EpisodeError:
    return EpisodeError("unreadable_mcap", f"{what}; fetch again {uri}")
