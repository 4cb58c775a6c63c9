"""Logs as DROID writes them: a folder per episode with trajectory.h5, metadata JSON and MP4 of each camera.

Native conventions are kept: float64; velocities as fractions of the largest step of DROID's controller; grippers 0
open, 1 closed; words apart, in aggregated-annotations JSON by episode id. Legend: T steps.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from fleet.episode import Episode
from fleet.kinematics import Floats
from fleet.recording import EPOCH_S, Json, json_line, pictures, whole_file
from fleet.robot import Robot
from fleet.tool_space import euler_xyz, tool_poses, turns
from fleet.video import write_video
from schema.errors import ConfigError

_SERIAL = {"left_wrist": "18026681", "base": "22008760"}
_CAMERA_TYPE = {"left_wrist": 0, "base": 1}
_ANNOTATIONS = "aggregated-annotations-010126.json"
_MOST_JOINT_RAD, _MOST_M, _MOST_RAD, _MOST_GRIPPER = 0.2, 0.075, 0.15, 0.25


class DroidRecorder:
    """Writes `<folder>/SIM/<success or failure>/<date>/<time>/`; the annotations come last."""

    def __init__(self, robot: Robot, *, folder: Path, image_size: int) -> None:
        if image_size % 2:
            raise ConfigError(f"H.264 with yuv420p needs an even image size, found {image_size}")
        self._robot, self._folder, self._image_size = robot, folder, image_size
        self._annotations: dict[str, Json] = {}

    def write(self, episode: Episode) -> None:
        """Write one episode's folder."""
        began = datetime.fromtimestamp(EPOCH_S + 60 * episode.index, UTC)
        success = "success" if episode.success else "failure"
        folder = self._folder / "SIM" / success / f"{began:%Y-%m-%d}" / f"{began:%a_%b_%d_%H:%M:%S_%Y}"
        digest = hashlib.sha256(f"{episode.seed}/{episode.index}".encode()).hexdigest()[:8]
        uuid = f"SIM+{digest}+{began:%Y-%m-%d-%Hh-%Mm-%Ss}"
        for camera, serial in _SERIAL.items():
            with whole_file(folder / "recordings" / "MP4" / f"{serial}.mp4") as partial:
                frames = pictures(episode, camera, image_size=self._image_size)
                write_video(partial, frames, rate_hz=self._robot.rate_hz)
        with (
            whole_file(folder / "trajectory.h5") as partial,
            h5py.File(partial, "w", libver=("earliest", "v110")) as file,
        ):
            self._fill(file, episode)
        with whole_file(folder / f"metadata_{uuid}.json") as partial:
            partial.write_text(json_line(self._metadata(episode, uuid, began)), encoding="utf-8")
        self._annotations[uuid] = {f"language_instruction{number}": episode.instruction for number in (1, 2, 3)}

    def close(self) -> None:
        """Write the words of all episodes."""
        with whole_file(self._folder / _ANNOTATIONS) as partial:
            partial.write_text(json_line(self._annotations), encoding="utf-8")

    def _fill(self, file: h5py.File, episode: Episode) -> None:
        file.attrs["success"], file.attrs["failure"] = episode.success, not episode.success
        file.attrs["simulated"], file.attrs["rate_hz"] = True, self._robot.rate_hz
        file.attrs["robot"], file.attrs["current_task"] = self._robot.name, episode.task
        numbers = _observed(self._robot, episode) | _commanded(self._robot, episode) | _times(episode)
        for path, values in numbers.items():
            file.create_dataset(path, data=values, track_times=False)

    def _metadata(self, episode: Episode, uuid: str, began: datetime) -> Json:
        return {
            "uuid": uuid,
            "lab": "SIM",
            "building": "simulation",
            "user": "script",
            "user_id": "00000000",
            "date": f"{began:%Y-%m-%d}",
            "timestamp": f"{began:%Y-%m-%d-%Hh-%Mm-%Ss}",
            "scene_id": episode.seed,
            "success": episode.success,
            "current_task": episode.task,
            "trajectory_length": len(episode),
            "robot_serial": "simulated",
            "simulated": True,
            "wrist_cam_serial": _SERIAL["left_wrist"],
            "ext1_cam_serial": _SERIAL["base"],
            "hdf5_path": "trajectory.h5",
        }


def _observed(robot: Robot, episode: Episode) -> dict[str, np.ndarray]:
    joints, gripper = robot.joints_of(0), robot.gripper_of(0)
    tool_T44 = tool_poses(robot, episode.trajectory.state_TD[:, joints])
    at = "observation/robot_state"
    return {
        f"{at}/joint_positions": episode.state_TD[:, joints].astype(float),
        f"{at}/joint_velocities": episode.velocity_TD[:, joints].astype(float),
        f"{at}/joint_torques_computed": episode.effort_TD[:, joints].astype(float),
        f"{at}/gripper_position": episode.state_TD[:, gripper].astype(float),
        f"{at}/cartesian_position": np.hstack([tool_T44[:, :3, 3], euler_xyz(tool_T44[:, :3, :3])]),
        **{
            f"observation/camera_type/{serial}": np.full(len(episode), _CAMERA_TYPE[camera])
            for camera, serial in _SERIAL.items()
        },
        "observation/controller_info/movement_enabled": np.ones(len(episode), bool),
        "observation/controller_info/controller_on": np.ones(len(episode), bool),
    }


def _commanded(robot: Robot, episode: Episode) -> dict[str, np.ndarray]:
    joints, gripper = robot.joints_of(0), robot.gripper_of(0)
    reached_T44 = tool_poses(robot, episode.trajectory.state_TD[:, joints])
    wanted_T44 = tool_poses(robot, episode.command_TD[:, joints])
    step_TJ = episode.action_TD[:, joints] - episode.state_TD[:, joints]
    move_T3 = wanted_T44[:, :3, 3] - reached_T44[:, :3, 3]
    turn_T3 = turns(reached_T44[:, :3, :3], wanted_T44[:, :3, :3])
    close_T = episode.action_TD[:, gripper] - episode.state_TD[:, gripper]
    return {
        "action/joint_position": episode.action_TD[:, joints].astype(float),
        "action/joint_velocity": _fraction(step_TJ, _MOST_JOINT_RAD),
        "action/cartesian_position": np.hstack([wanted_T44[:, :3, 3], euler_xyz(wanted_T44[:, :3, :3])]),
        "action/cartesian_velocity": np.hstack([_fraction(move_T3, _MOST_M), _fraction(turn_T3, _MOST_RAD)]),
        "action/gripper_position": episode.action_TD[:, gripper].astype(float),
        "action/gripper_velocity": _fraction(close_T, _MOST_GRIPPER),
    }


def _times(episode: Episode) -> dict[str, np.ndarray]:
    """Milliseconds of the control loop and of each camera, as DROID keeps them."""
    began_s = EPOCH_S + 60 * episode.index
    start_T = np.round((began_s + episode.time_T) * 1000).astype(np.int64)
    seen_T = np.round((began_s + episode.true_T) * 1000).astype(np.int64) + 8
    at = "observation/timestamp"
    return {
        f"{at}/control/step_start": start_T,
        f"{at}/control/step_end": start_T + round(1000 / episode.robot.rate_hz) - 1,
        f"{at}/robot_state/read_start": start_T + 1,
        f"{at}/robot_state/read_end": start_T + 4,
        f"{at}/skip_action": np.zeros(len(episode), bool),
        **{f"{at}/cameras/{serial}_frame_received": seen_T for serial in _SERIAL.values()},
    }


def _fraction(values: npt.NDArray[np.floating[Any]], most: float) -> Floats:
    """Of the largest step, between -1 and 1."""
    held: Floats = np.clip(values.astype(float) / most, -1, 1)
    return held
