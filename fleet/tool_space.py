"""Tool poses of one arm, as logs of Cartesian robots write them: x, y, z (m) and roll, pitch, yaw (rad), base frame.

Roll, pitch, yaw turn about the fixed axes x, y, z in this order. Legend: T steps, J joints.
"""

import numpy as np

from fleet.kinematics import Floats, forward, rotation_vector
from fleet.robot import Robot


def tool_poses(robot: Robot, joint_TJ: Floats) -> Floats:
    """Tool poses (T, 4, 4) of a robot's first arm in its base frame."""
    return forward(robot.mounts[0].arm.chain, joint_TJ)


def euler_xyz(rotation_T33: Floats) -> Floats:
    """Roll, pitch and yaw (T, 3) of rotations."""
    roll = np.arctan2(rotation_T33[:, 2, 1], rotation_T33[:, 2, 2])
    pitch = -np.arcsin(np.clip(rotation_T33[:, 2, 0], -1, 1))
    yaw = np.arctan2(rotation_T33[:, 1, 0], rotation_T33[:, 0, 0])
    return np.stack([roll, pitch, yaw], -1)


def turns(from_T33: Floats, to_T33: Floats) -> Floats:
    """Rotation vectors (T, 3) in the base frame that lead from each rotation to the other."""
    pairs = zip(from_T33, to_T33, strict=True)
    return np.array([rotation_vector(there @ here.T) for here, there in pairs])
