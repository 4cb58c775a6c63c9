"""Logs as ALOHA writes them: one HDF5 file per episode, in a folder per task.

Native conventions are kept: left arm first, grippers normalised with 1 open and 0 closed, `cam_high` for the
exterior camera. Compressed pictures are JPEG buffers padded to the longest, their lengths in `/compress_len`.
Mobile ALOHA adds `/base_action`, the velocities. Legend: T steps, D 14 state and action dimensions, V cameras.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from fleet.episode import Episode
from fleet.recording import as_jpeg, pictures, whole_file
from fleet.robot import Robot

_NATIVE_CAMERA = {"base": "cam_high", "left_wrist": "cam_left_wrist", "right_wrist": "cam_right_wrist"}


@dataclass(frozen=True, kw_only=True)
class AlohaRecorder:
    """Writes `<folder>/<task_slug>/episode_<i>.hdf5`, i counting within the task."""

    folder: Path
    image_size: int
    compress: bool = True
    """JPEG buffers instead of raw pictures, as later ALOHA recordings do; about a tenth of the size."""
    _counts: Counter[str] = field(default_factory=Counter)

    def write(self, episode: Episode) -> None:
        """Write one file."""
        slug = episode.task.replace(" ", "_")
        path = self.folder / slug / f"episode_{self._counts[slug]}.hdf5"
        self._counts[slug] += 1
        # A pinned library version and no time stamps make equal episodes equal bytes.
        with whole_file(path) as partial, h5py.File(partial, "w", libver=("earliest", "v110")) as file:
            self._fill(file, episode)

    def close(self) -> None:
        """There is nothing that describes the dataset as a whole."""

    def _fill(self, file: h5py.File, episode: Episode) -> None:
        robot = episode.robot
        file.attrs["sim"] = True
        file.attrs["simulated"] = True
        file.attrs["compress"] = self.compress
        file.attrs["robot"] = robot.name
        file.attrs["fps"] = robot.rate_hz
        file.attrs["task"] = episode.task
        file.attrs["language"] = episode.instruction
        file.attrs["success"] = episode.success
        file.attrs["perturbed"] = episode.is_perturbed
        file.attrs["seed"] = episode.seed
        width = len(robot.names)
        _dataset(file, "action", _opening(robot, episode.action_TD[:, :width]))
        if robot.base is not None:
            _dataset(file, "base_action", episode.action_TD[:, width:])
        observations = file.create_group("observations")
        _dataset(observations, "qpos", _opening(robot, episode.state_TD))
        _dataset(observations, "qvel", _mirrored(robot, episode.velocity_TD))
        _dataset(observations, "effort", _mirrored(robot, episode.effort_TD))
        images = observations.create_group("images")
        lengths = []
        for camera in robot.cameras:
            frames = list(pictures(episode, camera.name, image_size=self.image_size))
            if self.compress:
                padded, length_T = _compressed(frames)
                lengths.append(length_T)
            else:
                padded = np.stack(frames)
            name = _NATIVE_CAMERA[camera.name]
            images.create_dataset(name, data=padded, chunks=(1, *padded.shape[1:]), track_times=False)
        if self.compress:
            _dataset(file, "compress_len", np.array(lengths, np.float32))


def _dataset(group: h5py.Group, name: str, values: npt.NDArray[np.float32]) -> None:
    group.create_dataset(name, data=values, dtype=np.float32, track_times=False)


def _opening(robot: Robot, values_TD: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Grippers from 0 open, 1 closed to ALOHA's 1 open, 0 closed."""
    native = values_TD.copy()
    for arm in range(len(robot.mounts)):
        gripper = robot.gripper_of(arm)
        native[:, gripper] = 1.0 - native[:, gripper]
    return native


def _mirrored(robot: Robot, rate_TD: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Gripper velocities and efforts change sign with the convention."""
    native = rate_TD.copy()
    for arm in range(len(robot.mounts)):
        native[:, robot.gripper_of(arm)] *= -1.0
    return native


def _compressed(frames: list[npt.NDArray[np.uint8]]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """JPEG buffers padded with zeros to the longest (T, bytes), and the length of each."""
    buffers = [as_jpeg(frame) for frame in frames]
    padded = np.zeros((len(buffers), max(map(len, buffers))), np.uint8)
    for step, buffer in enumerate(buffers):
        padded[step, : len(buffer)] = np.frombuffer(buffer, np.uint8)
    return padded, np.array([len(buffer) for buffer in buffers], np.float32)
