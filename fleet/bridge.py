"""What BridgeData V2 records of a WidowX, whichever file it goes into: tool poses, and displacements as actions.

State: x, y, z (m) in the base frame; roll, pitch, yaw (rad) from the tool pointing straight down, ahead; gripper (1
open). Action: displacement of the same per step, then the gripper commanded. The first action is all zeros: nothing was
asked yet. Legend: T steps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleet.behaviours import tilted
from fleet.episode import Episode
from fleet.recording import pictures
from fleet.tool_space import euler_xyz, tool_poses

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


@dataclass(frozen=True, kw_only=True, eq=False)
class BridgeLog:
    """An episode's numbers; the first step stands twice, before and after the action of zeros."""

    state_T7: npt.NDArray[np.float32]
    action_T7: npt.NDArray[np.float32]
    time_T: npt.NDArray[np.float64]


def bridge_log(episode: Episode) -> BridgeLog:
    """The numbers of an episode of a robot with one arm.

    Angles and grippers are taken from the log's own joints, so that what is wrong with those is wrong here.
    """
    robot = episode.robot
    joints, gripper = robot.joints_of(0), robot.gripper_of(0)
    reached_T6 = _poses(episode, episode.trajectory.state_TD[:, joints])
    wanted_T6 = _poses(episode, episode.command_TD[:, joints])
    state_T7 = np.hstack([reached_T6, 1.0 - episode.state_TD[:, [gripper]]])
    action_T7 = np.hstack([wanted_T6 - reached_T6, 1.0 - episode.action_TD[:, [gripper]]])
    for values_T7 in (state_T7, action_T7):
        values_T7[:, 3:6] *= episode.radian
    time_T = np.concatenate([[0.0], episode.time_T + 1 / robot.rate_hz])
    return BridgeLog(
        state_T7=np.concatenate([state_T7[:1], state_T7]).astype(np.float32),
        action_T7=np.concatenate([np.zeros((1, 7)), action_T7]).astype(np.float32),
        time_T=time_T,
    )


def bridge_pictures(episode: Episode, camera: str, *, image_size: int) -> list[npt.NDArray[np.uint8]]:
    """The pictures that go with the states."""
    frames = list(pictures(episode, camera, image_size=image_size))
    return [frames[0], *frames]


def _poses(episode: Episode, joint_TJ: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Position, and roll, pitch, yaw from straight down: (T, 6)."""
    tool_T44 = tool_poses(episode.robot, joint_TJ)
    turned_T33 = tool_T44[:, :3, :3] @ tilted(0.0, 0.0).T
    return np.hstack([tool_T44[:, :3, 3], euler_xyz(turned_T33)])
