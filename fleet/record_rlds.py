"""Logs as TFDS writes RLDS: TFRecord shards of tf.train.Example, written without TensorFlow, and JSON beside them.

The features are those of BridgeData V2 (`bridge_dataset`): views that a robot lacks are blank. Legend: T steps.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from fleet.bridge import bridge_log, bridge_pictures
from fleet.episode import Episode
from fleet.recording import Json, as_jpeg, json_line, whole_file
from fleet.robot import Robot

NAME, VERSION = "bridge_dataset", "1.0.0"
_EPISODES_PER_SHARD = 32
_VIEWS = {"image_0": "base", "image_1": None, "image_2": None, "image_3": "left_wrist"}

Values = Sequence[bytes] | npt.NDArray[np.generic]


class RldsRecorder:
    """Writes `<folder>/bridge_dataset/1.0.0/`; records are gathered in memory until their number of shards is known."""

    def __init__(self, robot: Robot, *, folder: Path, image_size: int) -> None:
        self._robot, self._image_size = robot, image_size
        self._folder = folder / NAME / VERSION
        self._records: list[bytes] = []

    def write(self, episode: Episode) -> None:
        """Add one episode."""
        self._records.append(framed(serialized(self._features(episode))))

    def close(self) -> None:
        """Write the shards and what describes them."""
        count = _EPISODES_PER_SHARD
        shards = [self._records[at : at + count] for at in range(0, len(self._records), count)]
        for number, records in enumerate(shards):
            name = f"{NAME}-train.tfrecord-{number:05d}-of-{len(shards):05d}"
            with whole_file(self._folder / name) as partial:
                partial.write_bytes(b"".join(records))
        for name, told in (("features.json", self._described()), ("dataset_info.json", self._info(shards))):
            with whole_file(self._folder / name) as partial:
                partial.write_text(json_line(told), encoding="utf-8")

    def _features(self, episode: Episode) -> dict[str, Values]:
        log = bridge_log(episode)
        steps = np.arange(len(log.state_T7))
        is_last = (steps == steps[-1]).astype(np.int64)
        blank = as_jpeg(np.zeros((self._image_size, self._image_size, 3), np.uint8))
        features: dict[str, Values] = {
            "steps/action": log.action_T7,
            "steps/observation/state": log.state_T7,
            "steps/is_first": (steps == 0).astype(np.int64),
            "steps/is_last": is_last,
            "steps/is_terminal": is_last,
            "steps/reward": (is_last * episode.success).astype(np.float32),
            "steps/discount": np.ones(len(steps), np.float32),
            "steps/language_instruction": [episode.instruction.encode()] * len(steps),
            "episode_metadata/episode_id": np.array([episode.index], np.int64),
            "episode_metadata/file_path": [f"simulated/{episode.task.replace(' ', '_')}/{episode.index}".encode()],
            "episode_metadata/has_language": np.array([1], np.int64),
            "episode_metadata/simulated": np.array([1], np.int64),
        }
        for view, camera in _VIEWS.items():
            features[f"episode_metadata/has_{view}"] = np.array([camera is not None], np.int64)
            features[f"steps/observation/{view}"] = (
                [blank] * len(steps)
                if camera is None
                else [as_jpeg(frame) for frame in bridge_pictures(episode, camera, image_size=self._image_size)]
            )
        return features

    def _described(self) -> Json:
        """features.json, in TFDS's words."""
        size = [str(self._image_size), str(self._image_size), "3"]
        picture: Json = {"image": {"shape": {"dimensions": size}, "dtype": "uint8", "encodingFormat": "jpeg"}}
        observation = _dict({"state": _tensor("float32", 7), **dict.fromkeys(_VIEWS, picture)})
        flags = {name: _tensor("bool") for name in ("is_first", "is_last", "is_terminal")}
        numbers = {name: _tensor("float32") for name in ("reward", "discount")}
        step = _dict(
            {
                "action": _tensor("float32", 7),
                "observation": observation,
                "language_instruction": {"text": {}},
                **flags,
                **numbers,
            }
        )
        told = {name: _tensor("bool") for name in (*(f"has_{of}" for of in (*_VIEWS, "language")), "simulated")}
        metadata = _dict({"episode_id": _tensor("int64"), "file_path": {"text": {}}, **told})
        return _dict({"steps": {"sequence": {"feature": step, "length": "-1"}}, "episode_metadata": metadata})

    def _info(self, shards: Sequence[Sequence[bytes]]) -> Json:
        split = {
            "name": "train",
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "numBytes": str(sum(map(len, self._records))),
            "shardLengths": [str(len(records)) for records in shards],
        }
        return {
            "name": NAME,
            "version": VERSION,
            "fileFormat": "tfrecord",
            "description": f"Simulated {self._robot.name}.",
            "splits": [split],
        }


def serialized(features: Mapping[str, Values]) -> bytes:
    """A tf.train.Example in protobuf's wire format, features in the order of their names."""
    return _field(1, b"".join(_field(1, _entry(name, features[name])) for name in sorted(features)))


def framed(payload: bytes) -> bytes:
    """One TFRecord: length, its checksum, payload, its checksum."""
    length = struct.pack("<Q", len(payload))
    return length + _checksum(length) + payload + _checksum(payload)


def _entry(name: str, values: Values) -> bytes:
    """One entry of the map of features: bytes are list 1, floats packed in list 2, integers packed in list 3."""
    if not isinstance(values, np.ndarray):
        kind, listed = 1, b"".join(_field(1, value) for value in values)
    elif values.dtype.kind == "f":
        kind, listed = 2, _field(1, values.astype("<f4").tobytes())
    else:
        kind, listed = 3, _field(1, b"".join(map(_varint, values.ravel().tolist())))
    return _field(1, name.encode()) + _field(2, _field(kind, listed))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def _checksum(data: bytes) -> bytes:
    """CRC32C, masked as TFRecord masks it."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _dict(features: Mapping[str, Json]) -> dict[str, Json]:
    return {"featuresDict": {"features": dict(features)}}


def _tensor(dtype: str, *shape: int) -> Json:
    return {"tensor": {"shape": {"dimensions": list(map(str, shape))}, "dtype": dtype, "encoding": "none"}}
