"""Logs as diffusion policy writes them: a Zarr replay buffer, all episodes end to end in `data/*`.

Zarr format 2, as its tools read it. Each arm is `robot<k>_…`, left first; grippers 0 open, 1 closed; cameras are
`camera<k>_rgb`, the wrists first as UMI has them and the exterior one last. Legend: T steps, D state width.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fleet.episode import Episode
from fleet.recording import EPOCH_S, pictures
from fleet.robot import Robot

_NUMBER_CHUNK = 1024


class ZarrRecorder:
    """Writes `<folder>/replay_buffer.zarr`; `meta/episode_ends` grows with each episode."""

    def __init__(self, robot: Robot, *, folder: Path, image_size: int) -> None:
        self._robot, self._image_size = robot, image_size
        self._root = zarr.open_group(str(folder / "replay_buffer.zarr"), mode="w", zarr_format=2)
        self._data, self._meta = self._root.create_group("data"), self._root.create_group("meta")
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._ends: list[int] = []
        self._words: dict[str, list[str]] = {"instruction": [], "task": []}
        self._root.attrs.update({"robot_type": robot.name, "rate_hz": robot.rate_hz, "simulated": True})

    def write(self, episode: Episode) -> None:
        """Append one episode."""
        for name, values in self._numbers(episode).items():
            self._append(name, values, chunk=_NUMBER_CHUNK)
        cameras = sorted(self._robot.cameras, key=lambda camera: camera.mount is None)
        for number, camera in enumerate(cameras):
            frames = np.stack(list(pictures(episode, camera.name, image_size=self._image_size)))
            self._append(f"camera{number}_rgb", frames, chunk=1)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(episode))
        self._words["instruction"].append(episode.instruction)
        self._words["task"].append(episode.task)

    def close(self) -> None:
        """Write where episodes end and what each is about."""
        self._meta.create_array("episode_ends", data=np.array(self._ends, np.int64))
        for name, words in self._words.items():
            self._meta.create_array(name, data=np.array(words, np.str_), compressors=None)

    def _numbers(self, episode: Episode) -> dict[str, npt.NDArray[np.generic]]:
        numbers: dict[str, npt.NDArray[np.generic]] = {"action": episode.action_TD}
        for arm in range(len(self._robot.mounts)):
            joints, gripper = self._robot.joints_of(arm), self._robot.gripper_of(arm)
            numbers[f"robot{arm}_joint_pos"] = episode.state_TD[:, joints]
            numbers[f"robot{arm}_joint_vel"] = episode.velocity_TD[:, joints]
            numbers[f"robot{arm}_gripper"] = episode.state_TD[:, [gripper]]
        numbers["timestamp"] = EPOCH_S + 60.0 * episode.index + episode.time_T
        return numbers

    def _append(self, name: str, values: npt.NDArray[np.generic], *, chunk: int) -> None:
        if name not in self._arrays:
            self._arrays[name] = self._data.create_array(
                name,
                shape=(0, *values.shape[1:]),
                chunks=(chunk, *values.shape[1:]),
                dtype=values.dtype,
                config={"write_empty_chunks": True},
            )
        self._arrays[name].append(values)
