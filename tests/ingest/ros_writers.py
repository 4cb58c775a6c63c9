"""Tiny logs of a UR5e as ROS would record them, and MCAP files and bags of them, written by the real libraries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from schema.embodiment import Embodiment, SourceBinding, builtin_embodiments
from schema.picture import encode_jpeg
from tests.ingest.writers import INSTRUCTION, picture

ROS2 = get_typestore(Stores.ROS2_HUMBLE)
ROS1 = get_typestore(Stores.ROS1_NOETIC)
START_NS = 1_700_000_000 * 10**9
JOINTS = tuple(f"{name}_joint" for name in ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"))
SHUFFLED = (2, 0, 5, 1, 4, 3)
"""The order in which the log's messages have the joints."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One message before it is written."""

    topic: str
    kind: str
    time_s: float
    fields: Mapping[str, Any]
    delay_s: float = 0.0
    """How long after its stamp the recorder got it."""


def joint_state(
    time_s: float, values: Sequence[float], *, topic: str, names: Sequence[str] = JOINTS, **more: Any
) -> Sent:
    fields = {
        "name": list(names),
        "position": np.asarray(values, np.float64),
        "velocity": np.zeros(0),
        "effort": np.zeros(0),
    }
    return Sent(topic=topic, kind="sensor_msgs/msg/JointState", time_s=time_s, fields=fields, **more)


def number(time_s: float, value: float, *, topic: str) -> Sent:
    return Sent(topic=topic, kind="std_msgs/msg/Float64", time_s=time_s, fields={"data": float(value)})


def words(time_s: float, text: str, *, topic: str = "/task_instruction") -> Sent:
    return Sent(topic=topic, kind="std_msgs/msg/String", time_s=time_s, fields={"data": text})


def jpeg(time_s: float, step: int, *, topic: str = "/camera/base", kind: str = "jpeg") -> Sent:
    data = np.frombuffer(encode_jpeg(picture(step)), np.uint8)
    fields = {"format": kind, "data": data}
    return Sent(topic=topic, kind="sensor_msgs/msg/CompressedImage", time_s=time_s, fields=fields)


def image(time_s: float, pixels: np.ndarray, *, encoding: str, topic: str = "/camera/base") -> Sent:
    height, width = pixels.shape[:2]
    fields = {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.nbytes // height,
        "data": np.frombuffer(pixels.tobytes(), np.uint8),
    }
    return Sent(topic=topic, kind="sensor_msgs/msg/Image", time_s=time_s, fields=fields)


def position(time_s: float) -> np.ndarray:
    """Where the arm is: each joint moves at its own speed, so that linear interpolation is exact."""
    return np.arange(1, 7) * 0.1 * time_s


def ur5e_log(*, seconds: float = 1.0, state_hz: float = 50, action_hz: float = 20, camera_hz: float = 10) -> list[Sent]:
    """States, commands, gripper and a camera, each at its own rate and phase; the gripper closes half-way."""
    log = [words(0.0, INSTRUCTION)]
    for step in range(int(seconds * state_hz) + 1):
        time_s = step / state_hz
        names = [JOINTS[i] for i in SHUFFLED]
        log.append(joint_state(time_s, position(time_s)[list(SHUFFLED)], topic="/joint_states", names=names))
    for step in range(int(seconds * action_hz)):
        time_s = 0.013 + step / action_hz
        log.append(joint_state(time_s, position(time_s + 0.1), topic="/joint_commands"))
        log.append(number(time_s + 0.001, step >= action_hz * seconds / 2, topic="/gripper/command"))
    log.append(number(0.005, 0.0, topic="/gripper/state"))
    log.append(number(seconds / 2 + 0.02, 1.0, topic="/gripper/state"))
    log += [jpeg(0.002 + step / camera_hz, step) for step in range(int(seconds * camera_hz) + 1)]
    return sorted(log, key=lambda sent: sent.time_s)


def ur5e(**changes: Any) -> Embodiment:
    """The UR5e with bindings of the topics above for both formats; `changes` are of the binding."""
    joints = ",".join(JOINTS)
    told = {
        "match": ("ur5e",),
        "signals": {
            "state.joint_position": f"/joint_states.position[{joints}]",
            "state.gripper": "/gripper/state.data",
            "action.joint_position": f"/joint_commands.position[{joints}]",
            "action.gripper": "/gripper/command.data",
        },
        "cameras": {"base": "/camera/base"},
    }
    binding = SourceBinding.model_validate(told | changes)
    return builtin_embodiments()["ur5e"].model_copy(update={"sources": {"mcap": binding, "rosbag": binding}})


def _message(sent: Sent, store: Any) -> Any:
    """The message with a header where its type has one; numbers are as ROS's types want them."""
    fields = dict(sent.fields)
    if any(name == "header" for name, _ in store.fielddefs[sent.kind][1]):
        nanoseconds = START_NS + round(sent.time_s * 1e9)
        time = store.types["builtin_interfaces/msg/Time"](*divmod(nanoseconds, 10**9))
        header = store.types["std_msgs/msg/Header"]
        fields["header"] = header(0, time, "") if store is ROS1 else header(time, "")
    return store.types[sent.kind](**fields)


def _log_ns(sent: Sent) -> int:
    return START_NS + round((sent.time_s + sent.delay_s) * 1e9)


def write_mcap(
    path: Path,
    log: Iterable[Sent],
    *,
    metadata: Mapping[str, str] | None = None,
    compression: CompressionType = CompressionType.ZSTD,
    chunk_size: int = 8192,
    is_checked: bool = True,
) -> Path:
    """One MCAP file, with or without checksums; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=compression, chunk_size=chunk_size, enable_crcs=is_checked)
        writer.start(profile="ros2", library="test")
        channels: dict[str, int] = {}
        for sent in log:
            if sent.topic not in channels:
                text, _ = ROS2.generate_msgdef(sent.kind, ros_version=2)
                schema = writer.register_schema(sent.kind, "ros2msg", text.encode())
                channels[sent.topic] = writer.register_channel(sent.topic, "cdr", schema)
            data = bytes(ROS2.serialize_cdr(_message(sent, ROS2), sent.kind))
            writer.add_message(channels[sent.topic], log_time=_log_ns(sent), publish_time=_log_ns(sent), data=data)
        if metadata:
            writer.add_metadata("robomix", dict(metadata))
        writer.finish()
    return path


def write_rosbag1(path: Path, log: Iterable[Sent], *, compression: Writer1.CompressionFormat | None = None) -> Path:
    """One ROS 1 bag; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer1(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connections: dict[str, Any] = {}
        for sent in log:
            if sent.topic not in connections:
                connections[sent.topic] = writer.add_connection(sent.topic, sent.kind, typestore=ROS1)
            data = ROS1.serialize_ros1(_message(sent, ROS1), sent.kind)
            writer.write(connections[sent.topic], _log_ns(sent), bytes(data))
    return path


def write_rosbag2(
    folder: Path,
    log: Iterable[Sent],
    *,
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    custom: Mapping[str, str] | None = None,
) -> Path:
    """One ROS 2 bag's folder; returns it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer2(folder, version=9, storage_plugin=storage)
    for key, value in (custom or {}).items():
        writer.set_custom_data(key, value)
    with writer:
        connections: dict[str, Any] = {}
        for sent in log:
            if sent.topic not in connections:
                connections[sent.topic] = writer.add_connection(sent.topic, sent.kind, typestore=ROS2)
            data = ROS2.serialize_cdr(_message(sent, ROS2), sent.kind)
            writer.write(connections[sent.topic], _log_ns(sent), bytes(data))
    return folder
