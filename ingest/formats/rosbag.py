"""ROS 1 bags (one .bag an episode) and ROS 2 bags in SQLite (one folder with a metadata.yaml an episode).

ROS 2 bags in MCAP are read by `mcap`. A bag without an index was never closed: it is refused, and `rosbag reindex`
makes a whole one of what is there.
"""

import bz2
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import lz4.frame
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Reader as Reader1
from rosbags.typesys import Stores, get_typestore

from ingest.formats.local_copy import LocalCopy
from ingest.formats.ros_episode import discovery_of, episode_of, sample_of
from ingest.formats.ros_recording import METADATA, Recording, recordings_of
from ingest.formats.ros_streams import Message
from ingest.location import Location
from ingest.record import Discovery, RawEpisode, Record
from schema.errors import EpisodeError

NAME = "rosbag"
VERSION = 1

MAX_CHUNK_BYTES = 1 << 28
"""The most that a chunk of a ROS 1 bag may unpack to."""
_STORAGE = ".db3"


def discover(location: Location) -> Discovery | None:
    """Every .bag, and every folder whose metadata.yaml lists SQLite files, at or below; None where there is none."""
    single = [Recording(files=(file,)) for file in location.files if file.endswith(".bag")]
    folders = [item for item in recordings_of(location) if item.problem or item.files[0].endswith(_STORAGE)]
    stray = [file for file in location.files if file.endswith(_STORAGE)]
    if not single and not stray:
        return None
    lost = sorted(set(stray) - {file for folder in folders for file in folder.files})
    notes = [f"{len(lost)} {_STORAGE} files are listed by no sound metadata.yaml: {lost[0]} …"] if lost else []
    return discovery_of(
        location,
        [*single, *folders],
        format_name=NAME,
        sample=lambda record: sample_of(_Bag(location, record)),
        notes=notes,
    )


def read(location: Location, record: Record) -> RawEpisode:
    """One bag; EpisodeError where it is cut, damaged, or unpacks to more than it may."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    return episode_of(_Bag(location, record), file=location.file_uri(record.files[0]))


class _Bag:
    """One recording, read from the first message to the last as often as it is asked for."""

    def __init__(self, location: Location, record: Record) -> None:
        self._uri = location.file_uri(record.files[0])
        self.told: dict[str, str] = dict(record.meta["told"])
        self.copies = [LocalCopy(location, file) for file in record.files]
        self.others: dict[str, int] = {}
        self._path = self.copies[0].path
        if self._path.suffix == _STORAGE:
            self._path = self._folder(location, record.files[0])

    def _folder(self, location: Location, file: str) -> Path:
        """The bag's files side by side, as their reader wants them."""
        metadata = LocalCopy(location, str(PurePosixPath(file).parent / METADATA))
        if "file" in location.fs.protocol:
            return metadata.path.parent
        folder = Path(tempfile.mkdtemp(prefix="robomix-fetch-"))
        weakref.finalize(self, shutil.rmtree, str(folder), ignore_errors=True)
        for copy in (metadata, *self.copies):
            (folder / copy.path.name).symlink_to(copy.path)
        self._metadata = metadata
        return folder

    def messages(self, topics: Collection[str] = ()) -> Iterator[Message]:
        """Those of some topics, or all, decoded; EpisodeError "unreadable_bag" or "too_large"."""
        messages = self._messages(topics)
        while True:
            try:
                message = next(messages)
            except StopIteration:
                return
            except EpisodeError:
                raise
            except Exception as error:  # whatever a library makes of broken bytes
                raise EpisodeError(
                    "unreadable_bag",
                    f"not a whole bag ({type(error).__name__}: {error!s:.300}); fetch it again or `rosbag reindex` "
                    f"{self._uri}",
                ) from error
            yield message

    def _messages(self, topics: Collection[str]) -> Iterator[Message]:
        with AnyReader([self._path], default_typestore=get_typestore(Stores.LATEST)) as reader:
            for part in reader.readers:
                if isinstance(part, Reader1):
                    part.chunks.update(
                        {
                            place: chunk._replace(decompressor=partial(_unpacked, chunk.decompressor, self._uri))
                            for place, chunk in part.chunks.items()
                        }
                    )
            wanted = [item for item in reader.connections if not topics or item.topic in topics]
            if not wanted:
                return
            for connection, log_ns, data in reader.messages(wanted):
                value = reader.deserialize(data, connection.msgtype)
                yield Message(topic=connection.topic, kind=connection.msgtype, log_ns=log_ns, value=value)


def _unpacked(original: Callable[[bytes], bytes], uri: str, data: bytes) -> bytes:
    """A chunk without its compression, by a decoder that stops where it becomes too large."""
    unpacker: Any = {bz2.decompress: bz2.BZ2Decompressor, lz4.frame.decompress: lz4.frame.LZ4FrameDecompressor}.get(
        original
    )
    if unpacker is None:
        return original(data)
    one = unpacker()
    unpacked: bytes = one.decompress(data, max_length=MAX_CHUNK_BYTES)
    if not one.eof:
        raise EpisodeError(
            "too_large", f"a chunk is cut or unpacks to more than {MAX_CHUNK_BYTES} bytes, expected less: file {uri}"
        )
    return unpacked
