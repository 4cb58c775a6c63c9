"""Logs as LeRobot v2.1 datasets: Parquet and H.264 per episode, JSON lines of metadata.

Grippers are 0 open, 1 closed. The tasks of LeRobot are the instructions; the robomix task name, success and
whether the episode was perturbed stand beside them in `episodes.jsonl`. Legend: T steps, D state width.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fleet.episode import Episode
from fleet.recording import Json, json_line, pictures, whole_file
from fleet.robot import Robot
from fleet.video import write_video
from schema.errors import ConfigError

VERSION = "v2.1"
_CHUNK = 1000
_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


_STATS_FRAMES = 24
_COUNTERS = ("frame_index", "episode_index", "index", "task_index")


class LeRobotRecorder:
    """Writes one LeRobot v2.1 dataset; `meta/info.json` comes last, when it is closed."""

    def __init__(self, robot: Robot, *, folder: Path, image_size: int) -> None:
        if image_size % 2:
            raise ConfigError(f"H.264 with yuv420p needs an even image size, found {image_size}")
        self._robot, self._folder, self._image_size = robot, folder, image_size
        self._tasks: dict[str, int] = {}
        self._episodes: list[Json] = []
        self._stats: list[Json] = []
        self._num_frames = 0

    def write(self, episode: Episode) -> None:
        """Write one episode's Parquet and videos."""
        index = len(self._episodes)
        task_index = self._tasks.setdefault(episode.instruction, len(self._tasks))
        stats: dict[str, Json] = {}
        for camera in self._robot.cameras:
            key = f"observation.images.{camera.name}"
            path = self._folder / _VIDEO_PATH.format(episode_chunk=index // _CHUNK, video_key=key, episode_index=index)
            frames = list(pictures(episode, camera.name, image_size=self._image_size))
            with whole_file(path) as partial:
                write_video(partial, frames, rate_hz=self._robot.rate_hz)
            stats[key] = picture_stats(frames)
        columns = columns_of(episode, index=index, task_index=task_index, first_frame=self._num_frames)
        for name, values in columns.items():
            stats[name] = column_stats(values.reshape(len(values), -1), count=len(values))
        path = self._folder / _DATA_PATH.format(episode_chunk=index // _CHUNK, episode_index=index)
        with whole_file(path) as partial:
            pq.write_table(episode_table(columns), partial, compression="snappy")
        self._stats.append({"episode_index": index, "stats": stats})
        self._episodes.append(
            {
                "episode_index": index,
                "length": len(episode),
                "perturbed": episode.is_perturbed,
                "seed": episode.seed,
                "simulated": True,
                "success": episode.success,
                "task": episode.task,
                "tasks": [episode.instruction],
            }
        )
        self._num_frames += len(episode)

    def close(self) -> None:
        """Write the metadata."""
        tasks: list[Json] = [{"task_index": index, "task": task} for task, index in self._tasks.items()]
        for name, rows in (("tasks", tasks), ("episodes", self._episodes), ("episodes_stats", self._stats)):
            write_text(self._folder / "meta" / f"{name}.jsonl", map(json_line, rows))
        write_text(self._folder / "meta" / "info.json", [json_line(self._info())])

    def _info(self) -> Json:
        robot, num_episodes = self._robot, len(self._episodes)
        return {
            "codebase_version": VERSION,
            "robot_type": robot.name,
            "simulated": True,
            "total_episodes": num_episodes,
            "total_frames": self._num_frames,
            "total_tasks": len(self._tasks),
            "total_videos": num_episodes * len(robot.cameras),
            "total_chunks": -(-num_episodes // _CHUNK),
            "chunks_size": _CHUNK,
            "fps": robot.rate_hz,
            "splits": {"train": f"0:{num_episodes}"},
            "data_path": _DATA_PATH,
            "video_path": _VIDEO_PATH,
            "features": features_of(robot, self._image_size),
        }


def features_of(robot: Robot, image_size: int) -> Json:
    """What info.json says of each column and video."""
    features: dict[str, Json] = {}
    for key, names in (("observation.state", robot.names), ("action", robot.action_names)):
        features[key] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    for camera in robot.cameras:
        features[f"observation.images.{camera.name}"] = _video_feature(robot.rate_hz, image_size)
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in _COUNTERS:
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return features


def columns_of(
    episode: Episode, *, index: int, task_index: int, first_frame: int
) -> dict[str, npt.NDArray[np.generic]]:
    """The columns of one episode, whose first frame is the dataset's frame number `first_frame`."""
    steps = np.arange(len(episode), dtype=np.int64)
    return {
        "observation.state": episode.state_TD,
        "action": episode.action_TD,
        "timestamp": episode.time_T.astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full_like(steps, index),
        "index": steps + first_frame,
        "task_index": np.full_like(steps, task_index),
    }


def _video_feature(rate_hz: int, image_size: int) -> Json:
    return {
        "dtype": "video",
        "shape": [image_size, image_size, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.fps": float(rate_hz),
            "video.height": image_size,
            "video.width": image_size,
            "video.channels": 3,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "has_audio": False,
        },
    }


def episode_table(columns: dict[str, npt.NDArray[np.generic]]) -> pa.Table:
    """One row per step; vectors are fixed-size lists."""
    arrays = {
        name: pa.array(values)
        if values.ndim == 1
        else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        for name, values in columns.items()
    }
    return pa.table(arrays)


def picture_stats(frames: list[npt.NDArray[np.uint8]]) -> dict[str, Json]:
    """Per-channel statistics of evenly spaced pictures, values in 0 to 1, shaped (3, 1, 1) as LeRobot has them."""
    picked = np.linspace(0, len(frames) - 1, min(_STATS_FRAMES, len(frames))).astype(int)
    pixels = np.stack([frames[step][::2, ::2] for step in picked]).reshape(-1, 3).astype(np.float64) / 255
    flat = column_stats(pixels, count=len(picked))
    shaped: dict[str, Json] = {name: [[[number]] for number in value] for name, value in flat.items()}
    return {**shaped, "count": [len(picked)]}


def column_stats(values_ND: npt.NDArray[np.generic], *, count: int) -> dict[str, list[float]]:
    """Extremes and moments of each column."""
    values = values_ND.astype(np.float64)
    return {
        "min": values.min(0).tolist(),
        "max": values.max(0).tolist(),
        "mean": values.mean(0).tolist(),
        "std": values.std(0).tolist(),
        "count": [count],
    }


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text as a whole file."""
    with whole_file(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
