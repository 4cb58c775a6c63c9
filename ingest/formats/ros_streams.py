"""ROS messages as streams: every number by topic and field, each with its own times; pictures by topic.

A path is `/topic.field.field`. A part of a message that holds only numbers (a point, a quaternion) is one vector with
names; joints are ordered by name as the first message has them, and a topic on which several nodes speak of different
joints gives each set of joints its own stream: the largest keeps the topic's name, the others are
`/topic#<first joint>`. What is no number and no colour picture is counted as not stored.
"""
# Legend: N samples of a stream, D its width.

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.record import SourceField
from schema.episode import Numbers
from schema.errors import EpisodeError

_MAX_WIDTH = 64
"""Wider arrays (scans, point clouds) are counted, not kept."""
_MAX_CLOCK_OFFSET_S = 1.0
"""How far a topic's stamps may be from the recorder's clock and still be on one time base with the others."""
_WORDS = re.compile(r"task|instruction|language|prompt")
_COLOUR = {"rgb8", "bgr8", "rgba8", "bgra8", "mono8"}
_SYSTEM = ("rcl_interfaces/", "rosgraph_msgs/", "rosbag2_interfaces/", "diagnostic_msgs/", "tf2_msgs/", "tf/")
"""Types that speak of the system, not of the robot's state: counted, not kept."""
_EPOCH_NS = 1_000_000_000 * 10**9
"""Stamps before 2001 count from a simulation's or a machine's start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message as a bag holds it, decoded."""

    topic: str
    kind: str
    """Its type, such as "sensor_msgs/msg/JointState"."""
    log_ns: int
    """When the recorder received it."""
    value: Any


@dataclass(kw_only=True, slots=True)
class _Series:
    """One stream's samples so far."""

    log_ns: list[int] = field(default_factory=list)
    stamp_ns: list[int] = field(default_factory=list)
    rows: list[Numbers] = field(default_factory=list)
    names: tuple[str, ...] = ()

    def add(self, message: Message, row: Numbers | None = None) -> None:
        self.log_ns.append(message.log_ns)
        self.stamp_ns.append(_stamp(message.value))
        if row is not None:
            self.rows.append(row)


@dataclass(kw_only=True, slots=True)
class Streams:
    """What a bag's messages amount to."""

    fields: dict[str, Numbers] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clocks: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Seconds since `zero_ns` of every stream and camera."""
    cameras: dict[str, str] = field(default_factory=dict)
    """Picture topics and the type of their messages."""
    texts: tuple[str, ...] = ()
    """What topics of words say, each text once."""
    not_stored: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    zero_ns: int = 0
    """The time of the recorder's first message."""

    @property
    def is_wall_clock(self) -> bool:
        """Whether the recorder's times are dates."""
        return self.zero_ns > _EPOCH_NS

    @property
    def robot(self) -> str | None:
        """What the joints' names begin with, all of them ("panda_joint1", "panda_finger_joint1" → "panda")."""
        joints = [
            name for path, names in self.names.items() if path.endswith(".position") for name in names if len(name) > 1
        ]
        parts = [name.split("_") for name in joints]
        common: list[str] = []
        for words in zip(*parts, strict=False):
            if len(set(words)) > 1:
                break
            common.append(words[0])
        return "_".join(common) or None if len(parts) > 1 else None

    def source_fields(self) -> tuple[SourceField, ...]:
        """The numeric streams, for a draft."""
        return tuple(
            SourceField(path=path, dtype=str(rows.dtype), shape=rows.shape[1:], names=self.names.get(path, ()))
            for path, rows in sorted(self.fields.items())
        )


def collect(messages: Iterable[Message]) -> Streams:
    """All numbers, and the times of all pictures, without keeping any of these."""
    series: dict[tuple[str, str, tuple[str, ...]], _Series] = {}
    pictures: dict[str, _Series] = {}
    streams = Streams()
    words: dict[str, None] = {}
    others: Counter[str] = Counter()
    for message in messages:
        streams.zero_ns = streams.zero_ns or message.log_ns
        if message.kind.endswith("Image"):
            if is_colour(message):
                pictures.setdefault(message.topic, _Series()).add(message)
                streams.cameras[message.topic] = message.kind
            else:
                others[message.topic] += 1
            continue
        text = getattr(message.value, "data", None)
        if isinstance(text, str) and _WORDS.search(message.topic):
            words.setdefault(text.strip())
            continue
        found = False
        left: list[str] = []
        for name, row, columns in () if message.kind.startswith(_SYSTEM) else _numbers(message):
            if row is None or row.size > _MAX_WIDTH:
                left.append(name)
                continue
            key = (message.topic, name, tuple(sorted(columns)))
            one = series.setdefault(key, _Series(names=columns))
            one.add(message, _ordered(row, columns, one.names))
            found = True
        others.update([f"{message.topic}.{name}" for name in left] if found else [message.topic])
    streams.texts = tuple(text for text in words if text)
    streams.not_stored = {topic: count for topic, count in sorted(others.items()) if count}
    _finish(streams, series, pictures)
    return streams


def _ordered(row: Numbers, columns: tuple[str, ...], wanted: tuple[str, ...]) -> Numbers:
    return row if columns == wanted else row[[columns.index(name) for name in wanted]]


def _finish(
    streams: Streams, series: Mapping[tuple[str, str, tuple[str, ...]], _Series], pictures: Mapping[str, _Series]
) -> None:
    joints: dict[str, set[tuple[str, ...]]] = {}
    for topic, _, columns in series:
        joints.setdefault(topic, set()).add(columns)
    clocks: dict[str, str] = {}
    for (topic, name, columns), one in series.items():
        sets = sorted((found for found in joints[topic] if found), key=lambda found: (-len(found), found))
        is_other = columns in sets[1:] and _is_joints(name, columns, sets)
        path = f"{topic}#{columns[0]}.{name}" if is_other else f"{topic}.{name}"
        if len({row.shape for row in one.rows}) > 1:
            streams.not_stored[path] = len(one.rows)
            streams.notes.append(f"{path!r} changes its width from message to message: not stored")
            continue
        streams.fields[path] = np.stack(one.rows)
        if one.names:
            streams.names[path] = one.names
        streams.clocks[path] = _seconds(one, topic, streams=streams, told=clocks)
    for topic, one in pictures.items():
        streams.clocks[topic] = _seconds(one, topic, streams=streams, told=clocks)
    streams.notes += clocks.values()


def _is_joints(name: str, columns: tuple[str, ...], sets: Sequence[tuple[str, ...]]) -> bool:
    return name in {"position", "velocity", "effort", "accelerations", "positions", "velocities"} and columns in sets


def _seconds(one: _Series, topic: str, *, streams: Streams, told: dict[str, str]) -> NDArray[np.float64]:
    """The messages' own stamps where they have them and these are near the recorder's times, else the latter."""
    log_N, stamp_N = np.array(one.log_ns, np.int64), np.array(one.stamp_ns, np.int64)
    zero = streams.zero_ns
    if not stamp_N.all():
        if stamp_N.any():
            told[topic] = f"{topic}: some messages have no stamp, the recorder's times are taken"
        return (log_N - zero) / 1e9
    offset_s = float(np.median(log_N - stamp_N)) / 1e9
    if abs(offset_s) > _MAX_CLOCK_OFFSET_S:
        told[topic] = f"{topic}: stamps are {offset_s:.3f} s off the recorder's clock, the recorder's times are taken"
        return (log_N - zero) / 1e9
    return (stamp_N - zero) / 1e9


def _stamp(value: Any) -> int:
    stamp = getattr(getattr(value, "header", None), "stamp", None)
    if stamp is None:
        return 0
    return int(getattr(stamp, "sec", 0)) * 10**9 + int(getattr(stamp, "nanosec", 0))


_Part = tuple[str, Numbers | None, tuple[str, ...]]
"""A field, its numbers, and the names of its columns; None for what is no row of numbers."""


def _numbers(message: Message) -> Iterator[_Part]:
    """Every numeric part of a message, and what else it carries: raw bytes, lists of messages."""
    value, kind = message.value, message.kind.rpartition("/")[2]
    try:
        if kind == "JointState":
            return iter(_joints(value, value.name, ("position", "velocity", "effort")))
        if kind == "JointTrajectory":
            points, names = value.points, value.joint_names
            parts = ("positions", "velocities", "accelerations", "effort")
            # More points than one are a plan, not the command of this moment.
            return iter(_joints(points[0], names, parts) if len(points) == 1 else [])
    except (AttributeError, TypeError, ValueError):
        pass  # a bag brings definitions of its own: it is not what its kind's name says
    return _walk(value, "")


def _joints(value: Any, names: Sequence[str], parts: tuple[str, ...]) -> list[_Part]:
    """The parts that hold anything; TypeError, ValueError or AttributeError where it is no such message."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"found the names {names!r:.80}, expected a list of texts")
    rows = [(part, np.asarray(getattr(value, part), np.float64)) for part in parts]
    is_known = len(set(names)) == len(names)
    return [
        (part, row if is_known and len(row) == len(names) else None, tuple(names)) for part, row in rows if len(row)
    ]


def _walk(value: Any, prefix: str) -> Iterator[_Part]:
    for name, part in _parts(value):
        if name in {"header", "layout"}:
            continue
        if _is_number(part):
            yield prefix + name, np.array([part]), ()
        elif _is_numbers(part):
            yield prefix + name, np.asarray(part), ()
        elif inner := _parts(part):
            if all(_is_number(item) for _, item in inner):
                yield prefix + name, np.array([item for _, item in inner]), tuple(key for key, _ in inner)
            else:
                yield from _walk(part, f"{prefix}{name}.")
        elif isinstance(part, bytes | bytearray | list | tuple | np.ndarray) and len(part):
            yield prefix + name, None, ()


def _parts(value: Any) -> list[tuple[str, Any]]:
    """The fields of a decoded message, as either library makes it; none where it is no message."""
    if isinstance(value, str | bytes | list | tuple | np.ndarray | int | float):
        return []
    names = getattr(value, "__slots__", None) or getattr(value, "__dataclass_fields__", None) or ()
    return [(name, getattr(value, name)) for name in names if not name.startswith("_")]


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.number | np.bool_)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub" and value.size > 0
    return isinstance(value, list | tuple) and 0 < len(value) <= _MAX_WIDTH and all(map(_is_number, value))


def is_colour(message: Message) -> bool:
    """Whether an Image or CompressedImage can be stored: depth and raw sensor pictures cannot."""
    if message.kind.endswith("CompressedImage"):
        told = str(getattr(message.value, "format", "")).lower()
        return "depth" not in told and "16uc1" not in told and "32fc1" not in told
    return str(getattr(message.value, "encoding", "")) in _COLOUR


def picture_of(message: Message) -> NDArray[np.uint8] | bytes:
    """The picture of a message: RGB, or its encoded bytes; EpisodeError "bad_picture" where it is none.

    That is where its sizes disagree, or where the bag defines its kind in another way.
    """
    try:
        return _picture_of(message)
    except (AttributeError, TypeError) as error:
        raise EpisodeError("bad_picture", f"{message.topic} is a {message.kind} without a picture: {error}") from error


def _picture_of(message: Message) -> NDArray[np.uint8] | bytes:
    value = message.value
    if message.kind.endswith("CompressedImage"):
        return bytes(value.data)
    height, width, step = int(value.height), int(value.width), int(value.step)
    channels = 1 if value.encoding == "mono8" else 4 if "a" in value.encoding else 3
    data = np.frombuffer(bytes(value.data), np.uint8)
    if not height or not width or step < width * channels or len(data) != height * step:
        raise EpisodeError(
            "bad_picture",
            f"{message.topic} has a picture of {height} × {width} {value.encoding} with rows of {step} bytes and "
            f"{len(data)} bytes in all, which do not fit together",
        )
    pixels = data.reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1] if value.encoding.startswith("b") else pixels[..., :3])
