"""Logs as LeRobot v3.0 datasets: files that hold many episodes, and tables that say where each one is.

Grippers are 0 open, 1 closed; the tasks of LeRobot are the instructions. A file is closed when it has reached its size
and the next episode begins another. Legend: T steps.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.episode import Episode
from fleet.record_lerobot import column_stats, columns_of, episode_table, features_of, picture_stats, write_text
from fleet.recording import Json, json_line, pictures
from fleet.robot import Robot
from fleet.video import VideoWriter
from schema.errors import ConfigError

VERSION = "v3.0"
_DATA_MB, _VIDEO_MB = 100, 200
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
_MB = 1 << 20


class LeRobotV30Recorder:
    """Writes one LeRobot v3.0 dataset; `meta/info.json` comes last, when it is closed."""

    def __init__(
        self, robot: Robot, *, folder: Path, image_size: int, data_mb: float = _DATA_MB, video_mb: float = _VIDEO_MB
    ) -> None:
        if image_size % 2:
            raise ConfigError(f"H.264 with yuv420p needs an even image size, found {image_size}")
        self._robot, self._folder, self._image_size = robot, folder, image_size
        self._limit_bytes = {"data": data_mb * _MB, "video": video_mb * _MB}
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Json]] = []
        self._num_frames = 0
        self._data: tuple[Path, pq.ParquetWriter] | None = None
        self._videos: dict[str, tuple[Path, VideoWriter]] = {}
        self._file_index: dict[str, int] = {}

    def write(self, episode: Episode) -> None:
        """Append one episode to the data file and to each camera's video."""
        index = len(self._episodes)
        task_index = self._tasks.setdefault(episode.instruction, len(self._tasks))
        columns = columns_of(episode, index=index, task_index=task_index, first_frame=self._num_frames)
        row: dict[str, Json] = {
            "episode_index": index,
            "tasks": [episode.instruction],
            "length": len(episode),
            "success": episode.success,
            "task": episode.task,
            "data/chunk_index": 0,
            "data/file_index": self._append_rows(episode_table(columns)),
            "dataset_from_index": self._num_frames,
            "dataset_to_index": self._num_frames + len(episode),
        }
        for name, values in columns.items():
            row |= _named(name, column_stats(values.reshape(len(values), -1), count=len(values)))
        for camera in self._robot.cameras:
            row |= self._append_video(episode, camera.name)
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._episodes.append(row)
        self._num_frames += len(episode)

    def close(self) -> None:
        """Close all files and write the metadata."""
        if self._data is not None:
            self._data[1].close()
        for _, writer in self._videos.values():
            writer.close()
        path = self._folder / _EPISODES_PATH
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path)
        pq.write_table(_tasks_table(self._tasks), self._folder / "meta" / "tasks.parquet")
        write_text(self._folder / "meta" / "info.json", [json_line(self._info())])

    def _append_rows(self, table: pa.Table) -> int:
        """Add an episode's rows as a row group; gives back the number of the file."""
        if self._data is not None and self._data[0].stat().st_size > self._limit_bytes["data"]:
            self._data[1].close()
            self._data = None
        if self._data is None:
            path = self._next("data", _DATA_PATH)
            self._data = (path, pq.ParquetWriter(path, table.schema, compression="snappy"))
        self._data[1].write_table(table)
        return self._file_index["data"]

    def _append_video(self, episode: Episode, camera: str) -> dict[str, Json]:
        """Add an episode's pictures to a camera's video; gives back where they are."""
        key = f"observation.images.{camera}"
        if key in self._videos and self._videos[key][0].stat().st_size > self._limit_bytes["video"]:
            self._videos.pop(key)[1].close()
        if key not in self._videos:
            path = self._next(key, _VIDEO_PATH)
            writer = VideoWriter(path, rate_hz=self._robot.rate_hz, image_size=self._image_size)
            self._videos[key] = (path, writer)
        writer = self._videos[key][1]
        begin, frames = writer.num_frames, list(pictures(episode, camera, image_size=self._image_size))
        for frame in frames:
            writer.add(frame)
        return {
            f"videos/{key}/chunk_index": 0,
            f"videos/{key}/file_index": self._file_index[key],
            f"videos/{key}/from_timestamp": begin / self._robot.rate_hz,
            f"videos/{key}/to_timestamp": writer.num_frames / self._robot.rate_hz,
            **_named(key, picture_stats(frames)),
        }

    def _next(self, key: str, pattern: str) -> Path:
        """The path of the next file of some kind."""
        self._file_index[key] = self._file_index.get(key, -1) + 1
        path = self._folder / pattern.format(video_key=key, chunk_index=0, file_index=self._file_index[key])
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _info(self) -> Json:
        return {
            "codebase_version": VERSION,
            "robot_type": self._robot.name,
            "simulated": True,
            "total_episodes": len(self._episodes),
            "total_frames": self._num_frames,
            "total_tasks": len(self._tasks),
            "chunks_size": 1000,
            "data_files_size_in_mb": _DATA_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": self._robot.rate_hz,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": _DATA_PATH,
            "video_path": _VIDEO_PATH,
            "features": features_of(self._robot, self._image_size),
        }


def _named(feature: str, stats: Mapping[str, Json]) -> dict[str, Json]:
    return {f"stats/{feature}/{name}": values for name, values in stats.items()}


def _tasks_table(tasks: dict[str, int]) -> pa.Table:
    """The instructions as pandas writes a frame indexed by them, which LeRobot reads it back as."""
    table = pa.table({"task_index": list(tasks.values()), "__index_level_0__": list(tasks)})
    index = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    told = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [index],
        "columns": [
            {**index, "name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
            {**index, "field_name": "__index_level_0__"},
        ],
        "pandas_version": "2.2.3",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(told)})
