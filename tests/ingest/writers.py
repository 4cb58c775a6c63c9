"""Tiny datasets in native formats, written without the code that reads them; each has knobs for its faults."""

import json
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import google_crc32c
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ingest.formats.tf_example import Example
from schema.picture import encode_jpeg

T = 6
INSTRUCTION = "put the cup on the plate"


def picture(number: int = 0, *, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """A smooth picture that tells red from blue: red on the left, blue on the right, green by number."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, : size[1] // 2, 0] = 220
    pixels[:, size[1] // 2 :, 2] = 220
    pixels[..., 1] = 20 * number % 200
    return pixels


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def frame_tfrecord(payload: bytes) -> bytes:
    """One TFRecord: length, its checksum, payload, its checksum."""

    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def example(features: Mapping[str, Any]) -> bytes:
    """A serialized Example: lists of bytes or arrays of floats or integers by name."""
    message = Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            feature.float_list.value.extend(values.reshape(-1).tolist())
        elif isinstance(values, np.ndarray):
            feature.int64_list.value.extend(values.reshape(-1).astype(int).tolist())
        else:
            feature.bytes_list.value.extend(values)
    return message.SerializeToString()


def _tensor(*shape: int, dtype: str = "float32") -> dict[str, Any]:
    return {"tensor": {"shape": {"dimensions": [str(size) for size in shape]}, "dtype": dtype, "encoding": "none"}}


def _image(*shape: int, dtype: str = "uint8") -> dict[str, Any]:
    return {"image": {"shape": {"dimensions": [str(size) for size in shape]}, "dtype": dtype}}


def _dict(**features: Any) -> dict[str, Any]:
    return {"featuresDict": {"features": features}}


def rlds_features(extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A features.json in Bridge's shape, with `extra` step features."""
    observation = _dict(
        image_0=_image(32, 48, 3),
        image_3=_image(32, 48, 3),
        depth_0=_image(32, 48, 1, dtype="uint16"),
        state=_tensor(7),
    )
    step = _dict(
        action=_tensor(7),
        is_first=_tensor(dtype="bool"),
        language_embedding=_tensor(512),
        language_instruction={"text": {}},
        observation=observation,
        **(extra or {}),
    )
    metadata = _dict(file_path={"text": {}}, has_image_0=_tensor(dtype="bool"))
    return _dict(steps={"sequence": {"feature": step, "length": "-1"}}, episode_metadata=metadata)


def rlds_episode(number: int = 0, *, steps: int = T, **changes: Any) -> dict[str, Any]:
    """The Example of one episode by feature name; `changes` replace features, with "__" for "/"."""
    random = np.random.default_rng(number)
    features = {
        "steps/action": random.uniform(0, 1, (steps, 7)).astype(np.float32),
        "steps/is_first": np.arange(steps) == 0,
        "steps/language_embedding": np.zeros((steps, 512), np.float32),
        "steps/language_instruction": [INSTRUCTION.encode()] * steps,
        "steps/observation/image_0": [encode_jpeg(picture(number + step)) for step in range(steps)],
        "steps/observation/image_3": [encode_jpeg(np.zeros((32, 48, 3), np.uint8))] * steps,
        "steps/observation/depth_0": [png(np.zeros((32, 48), np.uint8))] * steps,
        "steps/observation/state": random.uniform(0, 1, (steps, 7)).astype(np.float32),
        "episode_metadata/file_path": [f"/logs/{number}".encode()],
        "episode_metadata/has_image_0": np.zeros(1, np.int64),
    }
    return features | {key.replace("__", "/"): value for key, value in changes.items()}


def write_rlds(
    folder: Path,
    episodes: Sequence[Mapping[str, Any]] | None = None,
    *,
    promised: int | None = None,
    features: Mapping[str, Any] | None = None,
    splits: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """A TFDS version folder with one shard; returns the shard. `promised` is what dataset_info.json says it holds."""
    episodes = [rlds_episode(number) for number in range(3)] if episodes is None else episodes
    folder = folder / "bridge_dataset" / "1.0.0"
    folder.mkdir(parents=True)
    told = len(episodes) if promised is None else promised
    info = {
        "name": "bridge_dataset",
        "version": "1.0.0",
        "fileFormat": "tfrecord",
        "splits": [{"name": "train", "shardLengths": [str(told)]}, *splits],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features or rlds_features()))
    shard = folder / "bridge_dataset-train.tfrecord-00000-of-00001"
    shard.write_bytes(b"".join(frame_tfrecord(example(episode)) for episode in episodes))
    return shard


def write_video(path: Path, pictures: Sequence[np.ndarray], *, fps: int = 10, has_sound: bool = False) -> None:
    """An H.264 file of the pictures, with a second of silence if wanted; size must be even."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        sound = container.add_stream("aac", rate=16_000, layout="mono") if has_sound else None
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 16_000
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))


def lerobot_info(num_episodes: int, **changes: Any) -> dict[str, Any]:
    """An info.json of a UR5e with a video camera `base`."""
    joints = ["shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3", "gripper"]
    video = {"dtype": "video", "shape": [32, 48, 3], "names": ["height", "width", "channel"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": [7], "names": joints},
        "action": {"dtype": "float32", "shape": [7], "names": {"motors": joints}},
        "observation.images.base": video | {"info": {"video.is_depth_map": False}},
        "observation.images.left_wrist": video,
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    return {
        "codebase_version": "v2.1",
        "robot_type": "ur5e",
        "total_episodes": num_episodes,
        "chunks_size": 1000,
        "fps": 10,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    } | changes


def lerobot_columns(number: int = 0, *, rows: int = T, **changes: Any) -> dict[str, pa.Array]:
    """The columns of one episode; `changes` replace or add columns, with "__" for "."."""
    random = np.random.default_rng(number)
    wide = pa.list_(pa.float32(), 7)
    columns = {
        "observation.state": pa.array(random.uniform(0, 1, (rows, 7)).astype(np.float32).tolist(), wide),
        "action": pa.array(random.uniform(0, 1, (rows, 7)).astype(np.float32).tolist(), wide),
        "timestamp": pa.array(np.arange(rows, dtype=np.float32) / 10),
        "frame_index": pa.array(np.arange(rows)),
        "episode_index": pa.array(np.full(rows, number)),
        "index": pa.array(np.arange(rows) + number * rows),
        "task_index": pa.array(np.zeros(rows, np.int64)),
    }
    return columns | {key.replace("__", "."): value for key, value in changes.items()}


def write_lerobot(
    folder: Path,
    *,
    num_episodes: int = 2,
    info: Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
    rows: Sequence[Mapping[str, Any]] | None = None,
    tasks: Sequence[str] = (INSTRUCTION,),
    video_frames: int = T,
) -> Path:
    """A LeRobot v2.1 dataset; returns its folder. `columns` and `info` are changes to the usual ones."""
    told = lerobot_info(num_episodes, **(info or {}))
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(told))
    rows = rows or [{"episode_index": i, "tasks": [tasks[0]], "length": T} for i in range(num_episodes)]
    _write_lines(folder / "meta/episodes.jsonl", rows)
    _write_lines(folder / "meta/tasks.jsonl", [{"task_index": i, "task": text} for i, text in enumerate(tasks)])
    for number in range(num_episodes):
        path = folder / f"data/chunk-000/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(lerobot_columns(number, **(columns or {}))), path)
        for key, feature in told["features"].items():
            if feature["dtype"] == "video":
                pictures = [picture(number + step) for step in range(video_frames)]
                write_video(folder / f"videos/chunk-000/{key}/episode_{number:06d}.mp4", pictures)
    return folder


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


ALOHA_CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def write_aloha(
    path: Path, *, number: int = 0, is_jpeg: bool = False, attrs: Mapping[str, Any] | None = None, steps: int = T
) -> Path:
    """An ALOHA episode file; returns it. Pictures are raw, or JPEG buffers padded with zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(number)
    with h5py.File(path, "w") as file:
        file["action"] = random.uniform(0, 1, (steps, 14)).astype(np.float32)
        for name in ("qpos", "qvel", "effort"):
            file[f"observations/{name}"] = random.uniform(0, 1, (steps, 14))
        for camera in ALOHA_CAMERAS:
            pictures = [picture(number + step) for step in range(steps)]
            if is_jpeg:
                buffers = [np.frombuffer(encode_jpeg(pixels), np.uint8) for pixels in pictures]
                width = max(map(len, buffers)) + 9
                pictures = [np.pad(buffer, (0, width - len(buffer))) for buffer in buffers]
            file[f"observations/images/{camera}"] = np.stack(pictures)
        file.attrs.update(attrs or {})
    return path
